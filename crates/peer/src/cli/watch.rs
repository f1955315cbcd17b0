//! What is written down for those who look for a fault: qlog files, and the keys of connections.

use std::{
    env,
    io::{self, Write},
    path::Path,
};

use portolan_identity::{Identity, KeyLogFile};
use portolan_protocol::ErrorCode;
use portolan_qlog::{Qlog, QlogError};
use portolan_transport::Shared;

use super::exit::{Exit, Failure};

/// The variable by which people ask for keys, here as everywhere.
const KEY_LOG: &str = "SSLKEYLOGFILE";

/// What endpoints share, with qlog turned on if there is a directory for it.
pub(crate) fn shared(qlog: Option<&Path>) -> Result<Shared, Failure> {
    let shared = Shared::default();
    if let Some(directory) = qlog {
        let switch = shared.get_or_default::<Qlog>();
        let failed = |error: QlogError| Failure::new(Exit::Failed, ErrorCode::Internal, &error);
        switch.write_to(directory).map_err(failed)?;
    }
    Ok(shared)
}

/// Writes out what qlog files still lack.
pub(crate) fn finish(shared: &Shared) {
    shared.get_or_default::<Qlog>().finish();
}

/// The same identity; if the environment asks for it, one that writes its connections' keys down.
pub(crate) fn with_key_log(identity: Identity) -> Result<Identity, Failure> {
    let Some(path) = env::var_os(KEY_LOG).filter(|path| !path.is_empty()) else {
        return Ok(identity);
    };
    let path = Path::new(&path);
    let file = KeyLogFile::append(path).map_err(|error| {
        Failure::failed(format!("{KEY_LOG}: cannot write {}: {error}", path.display()))
    })?;
    let warning = format!(
        "peer: {KEY_LOG} is set: whoever can read {} can read everything that is said\n",
        path.display()
    );
    // Without anyone to warn there is nobody to stop either.
    let _written = io::stderr().write_all(warning.as_bytes());
    Ok(identity.with_key_log(file))
}
