//! Where sound comes from and where it goes: files of every usual format, devices, pipes, tones.
//!
//! ```text
//!    a word such as tone:440 ──> SOURCES ──┐                      ┌── SINKS <── a word such as
//!                                          ▼                      ▼             wav:out.wav
//!    any Input (a file, one that is     Source ── samples ──>   Sink
//!    still arriving) ──> Decoder ───────┘  │                      ▲
//!                                          └──── Player ──────────┘
//!                                     pause, seek, next: a thread of its own
//! ```
//!
//! Sound is the same everywhere inside Portolan: samples of 32-bit floats between -1 and 1,
//! [`RATE`] of them a second and channel, [one or two channels](CHANNELS_MAX) interleaved.
//! A [`Source`] gives such samples and a [`Sink`] takes them; both block, and each has a thread of
//! its own. What a sink takes paces whoever gives: a device at its own speed, a file as fast as it
//! is written unless [`Pacing::RealTime`] is asked for.
//!
//! [`Decoder`] reads MP3, FLAC, Ogg Vorbis, Ogg Opus, WAV and AAC (raw and in MP4) from an
//! [`Input`], converts the rate, mixes down to two channels, and leaves out what encoders add
//! before and behind the sound, so that one file follows another without a gap. It trusts nothing
//! in a file: what is broken is silence or an error, and memory stays within bounds.
//!
//! What this crate does not do: it knows no network and no peer; live sound with deadlines is
//! `portolan-live`'s. It links no system library: a device is reached through whichever player
//! the system has ([`SINKS`], `device`).
//!
//! | invariant | shown by |
//! |---|---|
//! | every format has the length and the waveform that another decoder gives | `tests/formats.rs` |
//! | no file crashes the decoder or makes it take without bound | `tests/hostile.rs`, fuzz target `media_decode` |
//! | a seek lands on the sample | `tests/formats.rs` |
//! | what follows gaplessly has no sample between | `tests/player.rs` |
//!
//! Start with [`open_source`], [`open_sink`] and [`Decoder`].

mod decode;
mod device;
mod error;
mod pace;
mod pcm;
mod player;
mod raw;
mod sink;
mod source;
mod table;
mod tone;
mod wav;

pub use decode::{Decoder, Info, Input, Seeking};
pub use device::{Device, devices};
pub use error::{DecodeError, OpenError, SinkError, SourceError};
pub use pace::{Clock, Pacing, WallClock};
pub use pcm::{CHANNELS_MAX, FRAME, RATE, duration_of, frames_in, mix};
pub use player::{Endless, Interrupt, Item, Open, OrderError, Player, Report, Track};
pub use sink::{Paced, Sink};
pub use source::Source;
pub use table::{
    Kind, SINKS, SOURCES, SinkKind, SourceKind, open_file, open_sink, open_source, open_track,
};
pub use tone::{Silence, Tone};
pub use wav::WavSink;
