//! How a call sounds, as a line.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::line::Line;
use crate::{AudioUpdate, CallQuality, ReceivedAudio, SentAudio};

/// How a call sounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AudioLine {
    kind: &'static str,
    id: u64,
    with: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<Sent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<Received>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_us: Option<u64>,
    last: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Sent {
    frames: u64,
    datagrams: u64,
    bytes: u64,
    bitrate: u32,
    level: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Received {
    frames: u64,
    lost: u64,
    late: u64,
    duplicates: u64,
    played: u64,
    repaired: u64,
    concealed: u64,
    silence: u64,
    gaps: u64,
    dropped: u64,
    level: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    position_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    off_ms: Option<i32>,
    lately: Lately,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Lately {
    loss: Decimal<1000>,
    late: Decimal<1000>,
    repaired: Decimal<1000>,
    concealed: Decimal<1000>,
    buffer_ms: u64,
    jitter_us: u64,
    delay_ms: u64,
    mos: Decimal<100>,
}

/// A number with decimals, as whole parts of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decimal<const PARTS: u16>(u16);

impl<const PARTS: u16> Serialize for Decimal<PARTS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / f64::from(PARTS))
    }
}

impl From<&AudioUpdate> for Line {
    fn from(update: &AudioUpdate) -> Self {
        Self::Audio(Box::new(AudioLine {
            kind: "call",
            id: update.id.0,
            with: update.with.to_string(),
            sent: update.sent.as_ref().map(Sent::from),
            received: update.received.as_ref().map(Received::from),
            rtt_us: update.round_trip.map(micros),
            last: update.is_last,
        }))
    }
}

impl From<&SentAudio> for Sent {
    fn from(sent: &SentAudio) -> Self {
        let SentAudio { counts, bitrate, level } = *sent;
        let (frames, datagrams, bytes) = (counts.frames, counts.datagrams, counts.bytes);
        Self { frames, datagrams, bytes, bitrate, level }
    }
}

impl From<&ReceivedAudio> for Received {
    fn from(received: &ReceivedAudio) -> Self {
        let ReceivedAudio { counts, dropped, together, quality, level } = received;
        Self {
            frames: counts.received,
            lost: counts.lost,
            late: counts.late,
            duplicates: counts.duplicates,
            played: counts.played,
            repaired: counts.repaired,
            concealed: counts.concealed,
            silence: counts.silence,
            gaps: counts.gaps,
            dropped: *dropped,
            level: *level,
            position_ms: together.map(|together| millis(together.position)),
            off_ms: together.map(|together| together.off_ms),
            lately: Lately::from(quality),
        }
    }
}

impl From<&CallQuality> for Lately {
    fn from(quality: &CallQuality) -> Self {
        Self {
            loss: Decimal(quality.loss),
            late: Decimal(quality.late),
            repaired: Decimal(quality.repaired),
            concealed: Decimal(quality.concealed),
            buffer_ms: millis(quality.buffer),
            jitter_us: micros(quality.jitter),
            delay_ms: millis(quality.delay),
            mos: Decimal(quality.mos),
        }
    }
}

impl AudioLine {
    /// Which call.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Whether it is over.
    pub(crate) fn is_last(&self) -> bool {
        self.last
    }

    /// The quality line, as people read it.
    pub(crate) fn words(&self) -> String {
        let heard = self.received.as_ref().map(|received| {
            let Lately { loss, late, concealed, buffer_ms, mos, .. } = &received.lately;
            let place = received.position_ms.map(place).unwrap_or_default();
            format!(
                "{place}[{}] loss {} %, late {} %, concealed {} %, buffer {buffer_ms} ms, MOS {}.{}",
                meter(received.level),
                percent(*loss),
                percent(*late),
                percent(*concealed),
                mos.0 / 100,
                mos.0 % 100 / 10
            )
        });
        let said = self.sent.as_ref().map(|sent| {
            format!("you [{}] {} kbit/s", meter(sent.level), (sent.bitrate + 500) / 1000)
        });
        let rtt = self.rtt_us.map(|rtt| format!("RTT {}.{} ms", rtt / 1000, rtt % 1000 / 100));
        let parts: Vec<String> = heard.into_iter().chain(rtt).chain(said).collect();
        format!("* {}: {}", self.with, parts.join(", "))
    }
}

/// A place in what is played: `1:05 `.
fn place(millis: u64) -> String {
    let seconds = millis / 1000;
    format!("{}:{:02} ", seconds / 60, seconds % 60)
}

fn percent(share: Decimal<1000>) -> String {
    format!("{}.{}", share.0 / 10, share.0 % 10)
}

/// Eight steps of 6 dB.
fn meter(level: u8) -> String {
    let steps = (usize::from(54_u8.saturating_sub(level)) / 6).min(8);
    format!("{}{}", "#".repeat(steps), "-".repeat(8 - steps))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portolan_protocol::Name;

    use super::{Line, meter};
    use crate::{AudioUpdate, CallId, CallQuality, ReceivedAudio, SentAudio};

    fn update() -> AudioUpdate {
        let quality = CallQuality {
            loss: 12,
            late: 3,
            repaired: 9,
            concealed: 4,
            buffer: Duration::from_millis(40),
            jitter: Duration::from_micros(1500),
            delay: Duration::from_millis(90),
            mos: 432,
        };
        let (counts, dropped, level, together) = (Default::default(), 0, 20, None);
        AudioUpdate {
            id: CallId(3),
            with: Name::new("bob").unwrap(),
            sent: Some(SentAudio { counts: Default::default(), bitrate: 32_000, level: 6 }),
            received: Some(ReceivedAudio { counts, dropped, together, quality, level }),
            round_trip: Some(Duration::from_micros(23_400)),
            is_last: false,
        }
    }

    #[test]
    fn people_read_one_line_and_programs_numbers() {
        let Line::Audio(line) = Line::from(&update()) else { panic!("not sound") };
        assert_eq!(
            line.words(),
            "* bob: [#####---] loss 1.2 %, late 0.3 %, concealed 0.4 %, buffer 40 ms, MOS 4.3, \
             RTT 23.4 ms, you [########] 32 kbit/s"
        );
        let json = Line::Audio(line).to_json();
        for part in [
            r#"{"event":"audio","kind":"call","id":3,"with":"bob""#,
            r#""loss":0.012"#,
            r#""mos":4.32"#,
            r#""rtt_us":23400"#,
            r#""last":false"#,
        ] {
            assert!(json.contains(part), "{part} is not in {json}");
        }
    }

    #[test]
    fn the_meter_has_eight_steps() {
        assert_eq!(meter(127), "--------");
        assert_eq!(meter(48), "#-------");
        assert_eq!(meter(0), "########");
    }
}
