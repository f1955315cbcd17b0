//! How a call sounds, told once a second.

use std::time::Duration;

use portolan_live::{Quality, ReceiverStats, SenderStats};
use portolan_protocol::Name;

use crate::CallId;

/// How a call sounds; about once a second, and once more at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioUpdate {
    /// Which call.
    pub id: CallId,
    /// With whom.
    pub with: Name,
    /// What we have sent since the call was taken, if we send.
    pub sent: Option<SentAudio>,
    /// What has come since then, if anything is to come.
    pub received: Option<ReceivedAudio>,
    /// There and back, if it is known.
    pub round_trip: Option<Duration>,
    /// Whether it is the last one.
    pub is_last: bool,
}

/// What one side of a call has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentAudio {
    /// Frames, datagrams and bytes.
    pub counts: SenderStats,
    /// Bits a second now.
    pub bitrate: u32,
    /// Loudness of the newest frame, 0 (as loud as can be) to 127 dB below that.
    pub level: u8,
}

/// What one side of a call has heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceivedAudio {
    /// Frames by what became of them.
    pub counts: ReceiverStats,
    /// Frames that our own sink did not take in time.
    pub dropped: u64,
    /// Where it is, if it is listened to together.
    pub together: Option<Listening>,
    /// How it has sounded lately.
    pub quality: CallQuality,
    /// Loudness of the newest frame, 0 (as loud as can be) to 127 dB below that.
    pub level: u8,
}

/// Where the sound is that several people hear at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// From the beginning of what is played.
    pub position: Duration,
    /// How far from its time it is heard, in milliseconds; early below zero.
    pub off_ms: i32,
}

/// How it has sounded in the last seconds; shares are in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallQuality {
    /// Frames that never came.
    pub loss: u16,
    /// Frames that came when their time had passed.
    pub late: u16,
    /// Sound made from the copy that the next frame carried.
    pub repaired: u16,
    /// Sound made up because there was none.
    pub concealed: u16,
    /// How long a frame waits that nothing held up.
    pub buffer: Duration,
    /// How unevenly frames come.
    pub jitter: Duration,
    /// From mouth to ear.
    pub delay: Duration,
    /// The mean opinion score, in hundredths: 100 (bad) to 450.
    pub mos: u16,
}

impl From<&Quality> for CallQuality {
    fn from(quality: &Quality) -> Self {
        Self {
            loss: scaled(quality.loss, 1000.0),
            late: scaled(quality.late, 1000.0),
            repaired: scaled(quality.repaired, 1000.0),
            concealed: scaled(quality.concealed, 1000.0),
            buffer: quality.buffer,
            jitter: quality.jitter,
            delay: quality.delay,
            mos: scaled(quality.mos, 100.0),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the range before"
)]
fn scaled(value: f64, by: f64) -> u16 {
    (value * by).round().clamp(0.0, f64::from(u16::MAX)) as u16
}
