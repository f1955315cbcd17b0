//! Calls between two peers: what is said on a call's own stream.
//!
//! The stream stays open for as long as the call. When it breaks, the caller opens another one with
//! the same `id`, and both go on.

use serde::{Deserialize, Serialize};

use crate::{ErrorBody, ErrorCode, Limits};

/// The codec that every version knows: Opus, 48 kHz, 20 ms a frame.
pub const CODEC_OPUS: &str = "opus";

/// Rings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Made at random by the caller. When both call each other at once, the smaller one stays.
    pub id: u64,
    /// The stream number that datagrams to the caller carry.
    pub stream: u32,
    /// What the caller can decode and send, best first.
    pub codecs: Vec<String>,
    /// Whether the call was answered before, and its stream has broken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resumes: bool,
    /// Sound goes from the caller to the called side only: they listen together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<Listen>,
}

impl Call {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// [`ErrorCode::TooLarge`] when a word or a list is longer than its bound.
    pub fn check(&self) -> Result<(), ErrorBody> {
        let max = Limits::V1.short_text as usize;
        let is_long = |text: &String| text.len() > max;
        let title = self.listen.as_ref().map(|listen| &listen.title);
        if self.codecs.len() > CODECS_MAX
            || self.codecs.iter().any(is_long)
            || title.is_some_and(is_long)
        {
            let message = format!("a call has at most {CODECS_MAX} codecs, and no long words");
            return Err(ErrorBody::new(ErrorCode::TooLarge, message));
        }
        Ok(())
    }
}

/// Codecs in one call.
const CODECS_MAX: usize = 16;

/// What is listened to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// In words; untrusted.
    pub title: String,
    /// How long it is, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

/// The called side has taken the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The one of the caller's codecs that both use.
    pub codec: String,
    /// The stream number that datagrams to the called side carry.
    pub stream: u32,
}

/// The called side rings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ringing {}

/// One side ends the call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HangUp {
    /// Why, for people; untrusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One side has switched its microphone off, or on again: silence is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Muted {
    /// Whether it is off now.
    pub on: bool,
}

/// One side holds the call, or goes on with it: while either does, neither sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Whether it is held now.
    pub on: bool,
}

/// What time is it with you? Both ask about once a second; it is also the sign of life of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// The asker's clock when it asked, in microseconds; comes back as it was.
    pub asked: u64,
    /// In the answer: the other's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<u64>,
}

/// To those who listen: where the sound is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The media time stamp, 48,000 a second, of the frame that is to be heard …
    pub timestamp: u32,
    /// … at this time of the sender's clock, in microseconds.
    pub at: u64,
    /// Where that is in what is played, in milliseconds from its beginning.
    pub position_ms: u64,
    /// Whether it goes on from there, or pauses.
    pub plays: bool,
}
