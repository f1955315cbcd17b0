//! Live audio: Opus frames in datagrams, an adaptive jitter buffer, repair, concealment and
//! quality, without I/O.
//!
//! ```text
//!   source ──PCM──► Sender ──datagram──►  any connection   ──► Receiver ──PCM──► sink
//!   (its clock)        ▲                  (loses, delays)        │            (its clock)
//!                      └───────── report, once a second ─────────┘
//! ```
//!
//! A [`Sender`] takes 20 ms of PCM at a time and makes a datagram of it ([`Audio`], WIRE.md): an
//! Opus frame with its number, its time and its loudness. In a pause it makes none. Reports of the
//! receiver set the rate and how much the codec protects against loss.
//!
//! A [`Receiver`] takes datagrams in whatever order and at whatever time they come, and has sound
//! whenever it is asked ([`Receiver::pull`]): the frame itself, what the next frame carries of it,
//! or what could have been there. It waits as long as all but one frame in a hundred need, and
//! longer only where that is worth more than the delay; sound is made a little shorter or longer to keep to that, which makes up for clocks that
//! differ as well. [`Quality`] is what to show: loss, lateness, delay, and a mean opinion score.
//!
//! What it does not do: it opens no device and no socket, knows neither calls nor who may speak,
//! and does not send anything again. That is the transport's work (`Lifetime::Until`).
//!
//! # Invariants
//! - No bytes make it panic or hold more than two and a half seconds of frames: the fuzz target
//!   `live_receiver`, `tests/hostile.rs`.
//! - What is asked for is given at once, whatever came: `tests/receiving.rs`.
//! - Late frames are at most one in a hundred at nearly the least delay that allows it, over all
//!   kinds of paths: `tests/traces.rs` and its table.
//! - Clocks that differ by 200 ppm neither fill nor drain the buffer: `tests/receiving.rs`.
//!
//! Start with [`Sender`] and [`Receiver`], then `playout.rs`.

mod adapt;
mod arrivals;
mod codec;
mod datagram;
mod delays;
mod fifo;
mod playout;
mod quality;
mod receiver;
mod sender;
mod store;
mod stretch;
mod tally;
mod units;

pub use codec::{CodecError, Content};
pub use datagram::{
    AUDIO_HEADER, Audio, Datagram, DecodeError, KIND_AUDIO, KIND_REPORT, Moment, PAYLOAD_MAX,
    Report, StreamNumber,
};
pub use fifo::Made;
pub use quality::{Quality, mos, r_factor};
pub use receiver::{
    Buffer, Pulled, ReceiveError, Receiver, ReceiverConfig, ReceiverStats, Waiting,
};
pub use sender::{ReportError, SendError, Sender, SenderConfig, SenderStats};
pub use store::Refused;
pub use units::{Channels, FRAME, FRAME_SAMPLES, SAMPLE_RATE, level};
