//! Where a running server writes down who and where it is, for those who ask it later.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use portolan_identity::PeerId;
use serde::{Deserialize, Serialize};

/// Its name in the data directory.
const NAME: &str = "runtime.json";

/// Who and where a running server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Runtime {
    /// Its key.
    pub(super) id: PeerId,
    /// Its process.
    pub(super) pid: u32,
    /// One a transport, in the order of the table.
    pub(super) addresses: Vec<Address>,
    /// One a lane of a gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) gateways: Vec<Address>,
    /// Where metrics and health are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) metrics: Option<SocketAddr>,
}

/// Where one transport listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Address {
    /// The transport's name.
    pub(super) transport: String,
    /// Where.
    pub(super) address: SocketAddr,
}

impl Runtime {
    pub(super) fn read(directory: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(directory.join(NAME))?)?)
    }
}

/// The file of a running server; removed when it ends.
#[derive(Debug)]
pub(super) struct RuntimeFile(PathBuf);

impl RuntimeFile {
    pub(super) fn write(directory: &Path, runtime: &Runtime) -> io::Result<Self> {
        let path = directory.join(NAME);
        let unfinished = directory.join(format!("{NAME}.new"));
        fs::write(&unfinished, serde_json::to_vec(runtime)?)?;
        fs::rename(unfinished, &path)?;
        Ok(Self(path))
    }
}

impl Drop for RuntimeFile {
    fn drop(&mut self) {
        // A file that stays behind points to nobody: asking then says "unreachable".
        let _removed = fs::remove_file(&self.0);
    }
}
