//! What is written down for those who look for a fault: qlog files, and the keys of connections.

use std::{env, path::Path};

use portolan_identity::{Identity, KeyLogFile};
use portolan_qlog::Qlog;
use portolan_transport::Shared;

use super::{exit::Failure, output::note};

/// The variable by which people ask for keys, here as everywhere.
const KEY_LOG: &str = "SSLKEYLOGFILE";

/// What endpoints share, with qlog turned on if there is a directory for it.
pub(super) fn shared(qlog: Option<&Path>) -> Result<Shared, Failure> {
    let shared = Shared::default();
    if let Some(directory) = qlog {
        let switch = shared.get_or_default::<Qlog>();
        switch.write_to(directory).map_err(|error| Failure::error(&error))?;
    }
    Ok(shared)
}

/// Writes out what qlog files still lack.
pub(super) fn finish(shared: &Shared) {
    shared.get_or_default::<Qlog>().finish();
}

/// The same identity; if the environment asks for it, one that writes its connections' keys down.
pub(super) fn with_key_log(identity: Identity) -> Result<Identity, Failure> {
    let Some(path) = env::var_os(KEY_LOG).filter(|path| !path.is_empty()) else {
        return Ok(identity);
    };
    let path = Path::new(&path);
    let file = KeyLogFile::append(path).map_err(|error| {
        Failure::error(&error).during(&format!("{KEY_LOG}: cannot write {}", path.display()))
    })?;
    let path = path.display();
    note(&format!(
        "server: {KEY_LOG} is set: whoever can read {path} can read everything that is said"
    ));
    Ok(identity.with_key_log(file))
}
