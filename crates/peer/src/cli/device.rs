//! Which device of a name this run is: a number that the machine keeps, one for each run that goes
//! on beside others.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use portolan_protocol::{DeviceId, Name};

use super::exit::Failure;
use crate::session::random;

/// Runs of one name beside each other on one machine; the server has its own bound.
const SLOTS: usize = 8;
/// Bytes of a file that are looked at.
const CONTENT_MAX: u64 = 64;

/// A device of this machine, which no other run is for as long as this lasts.
#[derive(Debug)]
pub(crate) struct Slot {
    id: DeviceId,
    _lock: File,
}

impl Slot {
    /// Takes the first one that is free. Its number is made at first use.
    ///
    /// # Errors
    /// When all are in use, or the data directory cannot be.
    pub(crate) fn take(data: &Path, name: &Name) -> Result<Self, Failure> {
        fs::create_dir_all(data).map_err(|error| cannot_use(data, &error))?;
        for number in 1..=SLOTS {
            let path = data.join(format!("{}.device-{number}", name.key()));
            let file = open(&path).map_err(|error| cannot_use(&path, &error))?;
            match file.try_lock() {
                Ok(()) => return Self::of(file).map_err(|error| cannot_use(&path, &error)),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(cannot_use(&path, &error)),
            }
        }
        let message = format!("{SLOTS} runs of {name} go on beside each other already; end one");
        Err(Failure::failed(message))
    }

    pub(crate) fn id(&self) -> DeviceId {
        self.id
    }

    fn of(mut file: File) -> std::io::Result<Self> {
        let mut text = String::new();
        // What cannot be read is no number of ours: a new one is made.
        let _ = (&file).take(CONTENT_MAX).read_to_string(&mut text);
        if let Ok(known @ 1..) = u64::from_str_radix(text.trim(), 16) {
            return Ok(Self { id: DeviceId(known), _lock: file });
        }
        let new = random().max(1);
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        writeln!(file, "{new:016x}")?;
        file.sync_all()?;
        Ok(Self { id: DeviceId(new), _lock: file })
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn cannot_use(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot use {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use portolan_protocol::Name;

    use super::{SLOTS, Slot};

    #[test]
    fn runs_beside_each_other_are_devices_of_their_own_and_the_same_ones_again() {
        let data = tempfile::tempdir().unwrap();
        let alice = Name::new("Alice").unwrap();
        let take = || Slot::take(data.path(), &alice);
        let (first, second) = (take().unwrap(), take().unwrap());
        assert_ne!(first.id(), second.id());
        let known = first.id();
        drop(first);
        assert_eq!(take().unwrap().id(), known);
        let _third = take().unwrap();
        let _others: Vec<Slot> = (2..SLOTS).map(|_| take().unwrap()).collect();
        let refused = take().unwrap_err().to_string();
        assert!(refused.contains("end one"), "{refused}");
        let bob = Name::new("bob").unwrap();
        assert_ne!(Slot::take(data.path(), &bob).unwrap().id(), known);
    }

    #[test]
    fn a_damaged_number_is_made_anew() {
        let data = tempfile::tempdir().unwrap();
        let alice = Name::new("alice").unwrap();
        std::fs::write(data.path().join("alice.device-1"), "what?").unwrap();
        let made = Slot::take(data.path(), &alice).unwrap().id();
        assert_eq!(Slot::take(data.path(), &alice).unwrap().id(), made);
    }
}
