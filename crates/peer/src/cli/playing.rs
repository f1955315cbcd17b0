//! Lines about sound.

use std::time::Duration;

use portolan_media::{Info, Report};
use serde::Serialize;

use super::text::plain;

/// How what plays goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Playing {
    pub(crate) kind: &'static str,
    pub(crate) phase: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at_ms: Option<u64>,
    #[serde(flatten)]
    pub(crate) sound: Option<Described>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// What a file says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Described {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) artist: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) album: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duration_ms: Option<u64>,
    pub(crate) codec: String,
    pub(crate) rate: u32,
    pub(crate) channels: u16,
}

/// A file that was decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Decoded {
    /// Where it was written.
    pub(crate) to: String,
    /// Samples a channel that were written, and so many of them a second.
    pub(crate) frames: u64,
    #[serde(rename = "written_rate")]
    pub(crate) rate: u32,
    #[serde(flatten)]
    pub(crate) sound: Playing,
}

/// What sound can come from and go to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Devices {
    pub(crate) sources: Vec<Sound>,
    pub(crate) sinks: Vec<Sound>,
    pub(crate) programs: Vec<Program>,
}

/// A kind of source or sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Sound {
    pub(crate) word: String,
    pub(crate) about: &'static str,
}

/// A program that plays or records for us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Program {
    pub(crate) program: &'static str,
    pub(crate) path: String,
    pub(crate) does: &'static str,
}

impl Sound {
    pub(crate) fn of(name: &str, argument: &str, about: &'static str) -> Self {
        let word = match argument {
            "" => name.to_owned(),
            argument => format!("{name}:{argument}"),
        };
        Self { word, about }
    }
}

impl Described {
    pub(crate) fn of(info: &Info) -> Self {
        Self {
            title: info.title.clone(),
            artist: info.artist.clone(),
            album: info.album.clone(),
            duration_ms: info.duration.map(milliseconds),
            codec: info.codec.to_owned(),
            rate: info.rate,
            channels: info.channels,
        }
    }
}

impl Playing {
    pub(crate) fn of(report: &Report) -> Self {
        let line = |phase| Self { kind: "play", phase, ..Self::default() };
        let named = |phase, name: &str| Self { name: Some(name.to_owned()), ..line(phase) };
        let placed = |phase, at| Self { at_ms: Some(milliseconds(at)), ..line(phase) };
        match report {
            Report::Opening { name } => named("opening", name),
            Report::Started { name, info } => {
                Self { sound: Some(Described::of(info)), ..named("started", name) }
            }
            Report::Position { at } => placed("position", *at),
            Report::Paused { at } => placed("paused", *at),
            Report::Resumed { at } => placed("resumed", *at),
            Report::Sought { at } => placed("sought", *at),
            Report::Refused { reason } => Self { reason: Some(reason.clone()), ..line("refused") },
            Report::Ended { name, at } => {
                Self { at_ms: Some(milliseconds(*at)), ..named("ended", name) }
            }
            Report::Failed { name, reason } => {
                Self { reason: Some(reason.clone()), ..named("failed", name) }
            }
            Report::Over { failure } => Self { reason: failure.clone(), ..line("over") },
        }
    }

    /// What is to be heard has not arrived, or has.
    pub(crate) fn waiting(phase: &'static str, name: &str) -> Self {
        Self { kind: "play", phase, name: Some(name.to_owned()), ..Self::default() }
    }

    /// A file that was decoded and not played.
    pub(crate) fn described(name: &str, info: &Info) -> Self {
        let sound = Some(Described::of(info));
        Self {
            kind: "decode",
            phase: "done",
            name: Some(name.to_owned()),
            sound,
            ..Self::default()
        }
    }

    /// The line for people; positions are for programs.
    pub(crate) fn text(&self) -> Option<String> {
        let name = self.name.as_deref().map(plain).unwrap_or_default();
        let at = self.at_ms.map(clock).unwrap_or_default();
        let reason = self.reason.as_deref().map(plain).unwrap_or_default();
        match self.phase {
            "started" => {
                let what = self.sound.as_ref().map(|sound| sound.text(&name)).unwrap_or(name);
                Some(format!("* playing {what}"))
            }
            "paused" => Some(format!("* paused at {at}; /play goes on")),
            "resumed" | "sought" => Some(format!("* playing from {at}")),
            "buffering" => Some(format!("* {name}: waiting for more of it")),
            "refused" => Some(format!("* {reason}")),
            "failed" => Some(format!("* cannot play {name}: {reason}")),
            _ => None,
        }
    }
}

impl Described {
    /// Title and artist where they are known, `name` otherwise, and the rest.
    pub(crate) fn text(&self, name: &str) -> String {
        let shown = |words: &Option<String>| words.as_deref().map(plain);
        let title = match (shown(&self.title), shown(&self.artist)) {
            (Some(title), Some(artist)) => format!("{title} by {artist} ({name})"),
            (Some(title), None) => format!("{title} ({name})"),
            (None, _) => name.to_owned(),
        };
        format!("{title}, {}", self.facts())
    }

    /// Length, codec and rate.
    pub(crate) fn facts(&self) -> String {
        let length = self.duration_ms.map(|length| format!("{}, ", clock(length)));
        let sides = match self.channels {
            1 => "mono".to_owned(),
            2 => "stereo".to_owned(),
            more => format!("{more} channels"),
        };
        let (khz, rest) = (self.rate / 1000, self.rate % 1000 / 100);
        format!("{}{} {khz}.{rest} kHz {sides}", length.unwrap_or_default(), plain(&self.codec))
    }
}

impl Decoded {
    pub(crate) fn text(&self) -> String {
        let name = self.sound.name.as_deref().map(plain).unwrap_or_default();
        let what = self.sound.sound.as_ref().map(|sound| sound.text(&name)).unwrap_or(name);
        format!("{what}: {} samples at {} Hz in {}", self.frames, self.rate, plain(&self.to))
    }
}

impl Devices {
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (title, sounds) in [("sources", &self.sources), ("sinks", &self.sinks)] {
            text.push_str(title);
            text.push('\n');
            for sound in sounds {
                text.push_str(&format!("  {:<22} {}\n", sound.word, sound.about));
            }
        }
        text.push_str("device is reached through");
        if self.programs.is_empty() {
            text.push_str(" nothing: no pacat, pw-cat, aplay or ffplay was found");
        }
        for program in &self.programs {
            text.push_str(&format!("\n  {:<22} {}", program.program, program.path));
            text.push_str(&format!(" ({})", program.does));
        }
        text
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Minutes and seconds, and hours where there are some.
pub(crate) fn clock(ms: u64) -> String {
    let (seconds, tenths) = (ms / 1000, ms % 1000 / 100);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}.{tenths}"),
        hours => format!("{hours}:{minutes:02}:{seconds:02}.{tenths}"),
    }
}

/// A place in something that plays: `90`, `1:30`, `1:02:03`, each with a fraction if need be.
pub(crate) fn parse_place(text: &str) -> Option<Duration> {
    let mut seconds = 0.0_f64;
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 {
        return None;
    }
    for part in &parts {
        let digits = part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let number: f64 = part.parse().ok().filter(|_| digits && part.len() <= 9)?;
        seconds = seconds * 60.0 + number;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{clock, parse_place};

    #[test]
    fn places_are_read_as_people_write_them() {
        let rows = [
            ("90", Some(90_000)),
            ("1:30", Some(90_000)),
            ("1:30.5", Some(90_500)),
            ("1:02:03", Some(3_723_000)),
            ("0", Some(0)),
            ("", None),
            ("-1", None),
            ("1:2:3:4", None),
            ("1e9", None),
            ("nan", None),
            (":", None),
        ];
        for (text, wanted) in rows {
            assert_eq!(parse_place(text), wanted.map(Duration::from_millis), "{text}");
        }
        assert_eq!((clock(90_500).as_str(), clock(3_723_000).as_str()), ("1:30.5", "1:02:03.0"));
    }
}
