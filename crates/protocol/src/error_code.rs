//! Why a request was not granted: a documented table of codes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An error as an answer: a code for programs, a message for people, and a detail for either.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong; travels as the header's `kind`.
    #[serde(skip)]
    pub code: ErrorCode,
    /// What happened, what was expected, and what to do.
    pub message: String,
    /// The field, name or bound concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl ErrorBody {
    /// An error without a detail.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None }
    }

    /// Names the field, name or bound concerned.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

impl fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for ErrorBody {}

/// Declares the codes once: variant, wire word and meaning.
macro_rules! codes {
    ($( $(#[doc = $doc:literal])+ $variant:ident = $word:literal, )+) => {
        /// What went wrong with a request.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub enum ErrorCode {
            $( $(#[doc = $doc])+ $variant, )+
            /// A code of a newer version; treat as a refusal.
            #[default]
            Unknown,
        }

        impl ErrorCode {
            /// Every code with its word and meaning, as `docs/protocol.md` prints it.
            pub const TABLE: &'static [(Self, &'static str, &'static str)] =
                &[$( (Self::$variant, $word, concat!($($doc),+)), )+];

            /// The word on the wire and in `--json`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $word, )+
                    Self::Unknown => "unknown",
                }
            }

            /// Reads a word; words of newer versions are [`ErrorCode::Unknown`].
            #[must_use]
            pub fn from_word(word: &str) -> Self {
                match word {
                    $( $word => Self::$variant, )+
                    _ => Self::Unknown,
                }
            }
        }
    };
}

codes! {
    /// The request could not be read: a field is missing, too long or of another type.
    BadRequest = "bad_request",
    /// This side does not know that kind of request.
    Unsupported = "unsupported",
    /// No common version of the messages.
    Version = "version",
    /// A bound of `Limits` was passed.
    TooLarge = "too_large",
    /// Too many requests in too short a time.
    RateLimited = "rate_limited",
    /// Not logged in.
    NotLoggedIn = "not_logged_in",
    /// The right for it is missing.
    Forbidden = "forbidden",
    /// The name breaks a rule.
    NameInvalid = "name_invalid",
    /// The name belongs to another key.
    NameTaken = "name_taken",
    /// The password is wrong.
    WrongPassword = "wrong_password",
    /// The key or name is banned.
    Banned = "banned",
    /// Nobody has that name.
    UnknownUser = "unknown_user",
    /// The user exists and is not there.
    Offline = "offline",
    /// The user is in another conversation.
    Busy = "busy",
    /// The user said no.
    Denied = "denied",
    /// The user holds it; it goes on when that user says so.
    Paused = "paused",
    /// The user has given it up.
    Cancelled = "cancelled",
    /// No answer in time.
    TimedOut = "timed_out",
    /// There is no such conversation, or it has ended.
    NoConversation = "no_conversation",
    /// There is one already.
    Conflict = "conflict",
    /// No such group, or not a member of it.
    UnknownGroup = "unknown_group",
    /// No such file in what the user shares.
    UnknownFile = "unknown_file",
    /// The peer does not know us.
    UnknownPeer = "unknown_peer",
    /// A quota is used up: mailbox, relay or disk.
    Quota = "quota",
    /// What arrived is not what was sent.
    Integrity = "integrity",
    /// The server is going down.
    ShuttingDown = "shutting_down",
    /// A fault of this side; it is logged there.
    Internal = "internal",
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
