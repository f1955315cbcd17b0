//! When a broken transfer is tried again, and when it is given up.

use portolan_protocol::ErrorCode;
use tokio::time::Duration;

use crate::{FileError, ReachError, RequestError};

/// The longest pause is the first one doubled so many times.
const DOUBLINGS: u32 = 4;

/// What a transfer that has broken off has to expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// The session goes on by another way: so does the transfer, at once.
    OtherWay,
    /// The other side may be gone, or on the way back.
    Unknown,
}

/// Counts tries that brought nothing; one that brought bytes begins the count anew.
#[derive(Debug)]
pub(crate) struct Tries {
    max: u32,
    made: u32,
    first: Duration,
    best: u64,
}

impl Tries {
    /// At most `max` in a row without a byte; the first after a pause of `first`.
    pub(crate) fn new(max: u32, first: Duration) -> Self {
        Self { max, made: 0, first, best: 0 }
    }

    /// The pause before the next try of a transfer that has come to `bytes`; `None`: give it up.
    pub(crate) fn pause_after(
        &mut self,
        error: &FileError,
        bytes: u64,
        outlook: Outlook,
    ) -> Option<Duration> {
        if bytes > self.best {
            (self.best, self.made) = (bytes, 0);
        }
        if !may_pass(error) || self.made >= self.max {
            return None;
        }
        let pause = match (outlook, self.made) {
            (Outlook::OtherWay, 0) if is_of_the_way(error) => Duration::ZERO,
            (Outlook::OtherWay | Outlook::Unknown, made) => self.first * (1 << made.min(DOUBLINGS)),
        };
        self.made += 1;
        Some(pause)
    }
}

/// Whether the way has failed, and not the other side.
fn is_of_the_way(error: &FileError) -> bool {
    matches!(error, FileError::Interrupted { .. } | FileError::Reach(ReachError::Broken { .. }))
}

/// Whether another try may find things changed.
fn may_pass(error: &FileError) -> bool {
    match error {
        FileError::Interrupted { .. } | FileError::TimedOut { .. } => true,
        FileError::Reach(reach) => may_be_reached(reach),
        FileError::Refused { body, .. } => is_passing(body.code),
        FileError::Integrity { .. }
        | FileError::Size { .. }
        | FileError::Corrupt { .. }
        | FileError::TooLarge { .. }
        | FileError::Outdated { .. }
        | FileError::Name { .. }
        | FileError::Exists(_)
        | FileError::NoSpace { .. }
        | FileError::DiskFull { .. }
        | FileError::NotAFile(_)
        | FileError::Changed { .. }
        | FileError::Io { .. }
        | FileError::Protocol { .. }
        | FileError::Stopped { .. }
        | FileError::NoOwner
        | FileError::NoSuchOffer(_)
        | FileError::NoSuchTransfer(_) => false,
    }
}

fn may_be_reached(error: &ReachError) -> bool {
    match error {
        ReachError::Broken { .. } | ReachError::TimedOut { .. } | ReachError::Tunnel { .. } => true,
        // Who is not there may be on the way back.
        ReachError::Refused { body, .. } | ReachError::Request(RequestError::Refused(body)) => {
            matches!(body.code, ErrorCode::UnknownUser | ErrorCode::Offline)
                || is_passing(body.code)
        }
        ReachError::Request(RequestError::Broken(_) | RequestError::TimedOut) => true,
        ReachError::Request(RequestError::Closed(_) | RequestError::Unexpected(_))
        | ReachError::KeyChanged(_)
        | ReachError::TwoKeys { .. }
        | ReachError::TooMany { .. }
        | ReachError::Ourselves { .. } => false,
    }
}

fn is_passing(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Quota | ErrorCode::RateLimited | ErrorCode::Internal)
}

#[cfg(test)]
mod tests {
    use tokio::time::Duration;

    use super::{Outlook, Tries};
    use crate::FileError;

    fn broken() -> FileError {
        FileError::Interrupted { bytes: 0, total: 9, kept: None, detail: String::new() }
    }

    #[test]
    fn tries_end_unless_bytes_come_and_their_pauses_grow_to_a_bound() {
        let first = Duration::from_millis(500);
        let mut tries = Tries::new(7, first);
        let mut pauses = || {
            let pauses = std::iter::from_fn(|| tries.pause_after(&broken(), 1, Outlook::Unknown));
            pauses.map(|pause| pause.as_millis() / 500).take(100).collect::<Vec<_>>()
        };
        assert_eq!(pauses(), [1, 2, 4, 8, 16, 16, 16]);
        assert_eq!(tries.pause_after(&broken(), 1, Outlook::OtherWay), None);
        let again = tries.pause_after(&broken(), 2, Outlook::Unknown);
        assert_eq!(again, Some(first), "it has come further");
    }

    #[test]
    fn a_transfer_goes_on_at_once_where_another_way_is_left_and_not_in_circles() {
        let first = Duration::from_millis(500);
        let mut tries = Tries::new(7, first);
        let mut pause = |bytes| tries.pause_after(&broken(), bytes, Outlook::OtherWay);
        assert_eq!(pause(1), Some(Duration::ZERO));
        assert_eq!(pause(1), Some(first * 2), "that did not help");
        assert_eq!(pause(2), Some(Duration::ZERO));
    }

    #[test]
    fn what_will_not_change_is_not_tried_again() {
        let mut tries = Tries::new(7, Duration::ZERO);
        let changed = FileError::Changed { name: "a".into() };
        assert_eq!(tries.pause_after(&changed, 5, Outlook::OtherWay), None);
        let size = FileError::Size { announced: 1 };
        assert_eq!(tries.pause_after(&size, 6, Outlook::OtherWay), None);
    }
}
