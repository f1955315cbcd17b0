//! The file from which Wireshark can decrypt connections.

use std::{
    fmt,
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rustls::KeyLog;
use zeroize::Zeroizing;

/// A file of secrets in NSS's form (draft-ietf-tls-keylogfile), which Wireshark reads. Clones are
/// the same file.
///
/// Nothing here reads the environment: that a person has set `SSLKEYLOGFILE` is for programs to
/// see, and to warn of.
#[derive(Clone)]
pub struct KeyLogFile(Arc<Open>);

struct Open {
    path: PathBuf,
    file: Mutex<File>,
}

impl KeyLogFile {
    /// Writes to the end of the file at `path`; a new one is readable by its owner only.
    ///
    /// # Errors
    /// When the file cannot be opened or made.
    pub fn append(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = Mutex::new(options.open(path)?);
        Ok(Self(Arc::new(Open { path: path.to_owned(), file })))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

impl KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = Zeroizing::new(String::with_capacity(
            label.len() + 3 + 2 * (client_random.len() + secret.len()),
        ));
        line.push_str(label);
        for part in [client_random, secret] {
            line.push(' ');
            for byte in part {
                // Strings take everything.
                let _fits = write!(line, "{byte:02x}");
            }
        }
        line.push('\n');
        let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not end connections; what is missing, Wireshark says.
        let _written = file.write_all(line.as_bytes());
    }
}

impl fmt::Debug for KeyLogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyLogFile").field(&self.0.path).finish()
    }
}
