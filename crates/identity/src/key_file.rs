//! The file that keeps a key.
//!
//! ```text
//! portolan secret key, version 1
//! # Whoever has this file is you. Keep a copy in a safe place.
//! id: kq4b…
//! secret: 9f0c…
//! ```
//!
//! The public half is there for people, and finds damage: it must fit the secret.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER_PERMISSIVE;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    Identity, PeerId,
    identity::{Seed, new_seed},
    private_file::{self, Existing},
};

const HEADER: &str = "portolan secret key, version 1";
const REMARK: &str = "# Whoever has this file is you. Keep a copy in a safe place.";
const FILE_MAX: u64 = 4096;

/// Why there is no key.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// Others can read the secret.
    #[error(
        "{path} can be used by others (mode {mode:03o}) and holds your secret key; \
         run: chmod 600 {path}",
        path = .path.display()
    )]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is something else.
    #[error(
        "{} is not a portolan key file (the first line should be {HEADER:?}); \
         name another file, or move it away to get a new key",
        .path.display()
    )]
    NotAKeyFile {
        /// The file.
        path: PathBuf,
    },
    /// The file was a key file once.
    #[error(
        "{} is damaged: {what}; put your copy back, or move it away to get a new key \
         (you will be a stranger to everyone who knows the old one)",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Reading or writing failed.
    #[error("cannot {during} the key file {}", .path.display())]
    Io {
        /// `read` or `create`.
        during: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

pub(crate) fn load_or_create(path: &Path) -> Result<Identity, KeyFileError> {
    match File::open(path) {
        Ok(file) => load(path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path),
        Err(source) => Err(failed("read", path, source)),
    }
}

fn load(path: &Path, mut file: File) -> Result<Identity, KeyFileError> {
    let others = private_file::open_to_others(&file).map_err(|e| failed("read", path, e))?;
    if let Some(mode) = others {
        return Err(KeyFileError::OpenToOthers { path: path.to_owned(), mode });
    }
    // Room for a whole file at once: growing would leave copies of the secret behind.
    let mut content = Zeroizing::new(Vec::with_capacity(8192));
    private_file::read(&mut file, FILE_MAX, &mut content).map_err(|e| failed("read", path, e))?;
    let not_ours = || KeyFileError::NotAKeyFile { path: path.to_owned() };
    let text = std::str::from_utf8(&content).map_err(|_| not_ours())?;
    let body = text.strip_prefix(HEADER).ok_or_else(not_ours)?;
    parse(body).map_err(|what| KeyFileError::Damaged { path: path.to_owned(), what })
}

fn create(path: &Path) -> Result<Identity, KeyFileError> {
    let seed = new_seed();
    let identity = Identity::from_secret(&seed);
    match private_file::write(path, content(&identity, &seed).as_bytes(), Existing::Keep) {
        Ok(()) => Ok(identity),
        // Another program was faster: its key counts.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = File::open(path).map_err(|e| failed("read", path, e))?;
            load(path, file)
        }
        Err(source) => Err(failed("create", path, source)),
    }
}

fn content(identity: &Identity, seed: &Seed) -> Zeroizing<String> {
    let secret = Zeroizing::new(HEXLOWER_PERMISSIVE.encode(&**seed));
    let id = identity.id();
    Zeroizing::new(format!("{HEADER}\n{REMARK}\nid: {id}\nsecret: {}\n", *secret))
}

fn parse(body: &str) -> Result<Identity, &'static str> {
    let id = field(body, "id:").ok_or("the line with `id:` is missing")?;
    let id: PeerId = id.parse().map_err(|_| "the id has a wrong character")?;
    let secret = field(body, "secret:").ok_or("the line with `secret:` is missing")?;
    let identity = Identity::from_secret(&decode(secret)?);
    if identity.id() == id { Ok(identity) } else { Err("the secret does not belong to the id") }
}

fn field<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    body.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

fn decode(secret: &str) -> Result<Seed, &'static str> {
    let mut seed = Zeroizing::new([0; 32]);
    if secret.len() != 2 * seed.len() {
        return Err("the secret is cut short or too long");
    }
    match HEXLOWER_PERMISSIVE.decode_mut(secret.as_bytes(), &mut *seed) {
        Ok(_) => Ok(seed),
        Err(_) => Err("the secret has a wrong character"),
    }
}

fn failed(during: &'static str, path: &Path, source: io::Error) -> KeyFileError {
    KeyFileError::Io { during, path: path.to_owned(), source }
}
