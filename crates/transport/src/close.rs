//! How connections end.

use std::fmt;

/// Why the application closed a connection: a number of its own, sent to the remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u32);

impl CloseCode {
    /// A normal end.
    pub const DONE: Self = Self(0);
    /// The last handle was dropped without a word.
    pub const DROPPED: Self = Self(1);
    /// The endpoint has no room for another connection: try later.
    pub const BUSY: Self = Self(2);
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a connection is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// This side closed it.
    Local {
        /// The code given to `close`.
        code: CloseCode,
        /// The reason given to `close`.
        reason: String,
    },
    /// The remote closed it.
    Remote {
        /// The remote's code.
        code: CloseCode,
        /// The remote's words, at most 256 bytes; untrusted text.
        reason: String,
    },
    /// Nothing was heard for the agreed idle time: the peer or the path has died.
    TimedOut,
    /// One side broke the protocol, or the carrier ended without a farewell.
    Lost {
        /// What happened.
        detail: String,
    },
}

impl CloseReason {
    /// Bytes of a reason that travel to the remote, at most.
    pub const WORDS_MAX: usize = 256;

    /// Cuts `reason` to what travels, at a whole character.
    #[must_use]
    pub fn cut(reason: &str) -> &str {
        &reason[..reason.floor_char_boundary(Self::WORDS_MAX)]
    }

    /// A remote's words as text, cut in the same way; what is not text is shown as far as possible.
    #[must_use]
    pub fn words(bytes: &[u8]) -> String {
        Self::cut(&String::from_utf8_lossy(bytes)).to_owned()
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { code, reason } => write!(f, "closed by us (code {code}): {reason}"),
            Self::Remote { code, reason } => {
                write!(f, "closed by the other side (code {code}): {reason}")
            }
            Self::TimedOut => f.write_str("timed out: nothing heard from the other side"),
            Self::Lost { detail } => write!(f, "connection lost: {detail}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CloseReason;

    #[test]
    fn a_long_farewell_is_cut_at_a_whole_character() {
        let long = "é".repeat(200);
        assert_eq!(CloseReason::cut(&long).len(), 256);
        assert_eq!(CloseReason::cut(&format!("x{long}")).len(), 255);
        assert_eq!(CloseReason::cut("short"), "short");
    }

    #[test]
    fn words_that_are_no_text_are_shown_as_far_as_possible() {
        assert_eq!(CloseReason::words(b"bye\xff"), "bye\u{fffd}");
        assert!(CloseReason::words(&[0xff; 256]).len() <= CloseReason::WORDS_MAX);
    }
}
