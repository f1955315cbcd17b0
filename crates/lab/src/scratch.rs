//! Directories for the files of one run.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use portolan_identity::Identity;

/// A directory that goes with its owner.
#[derive(Debug)]
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    /// Makes one inside of `parent`, or where the system keeps temporary files.
    pub(crate) fn new(parent: Option<&Path>) -> io::Result<Self> {
        let parent = parent.map_or_else(env::temp_dir, Path::to_path_buf);
        let id = Identity::generate().id().to_string();
        let unique: String = id.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        let path = parent.join(format!("portolan-lab-{unique}"));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
