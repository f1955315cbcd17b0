//! What a program's events say about a trouble.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::cast::Heard;

/// Something that a program has told about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Told {
    /// After when it happened.
    pub(super) after_ms: u64,
    /// The event, with its phase or kind.
    pub(super) what: String,
    /// Why, in the program's words.
    pub(super) why: String,
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The longest time between two events that told of more bytes of the file, from the last one
/// before it happened; programs tell a few times a second.
pub(super) fn pause(said: &[Heard], happened_at: Instant) -> Duration {
    let (mut most, mut last, mut longest) = (0, None, Duration::ZERO);
    for heard in said.iter().filter(|heard| heard.is("file")) {
        let is_done = heard.text("phase") == Some("done");
        let Some(bytes) = heard.number("bytes").filter(|bytes| *bytes > most || is_done) else {
            continue;
        };
        if let Some(last) = last.filter(|_| heard.at > happened_at) {
            longest = longest.max(heard.at.saturating_duration_since(last));
        }
        (most, last) = (bytes, Some(heard.at));
    }
    longest
}

/// Everything told from then on, but for how far the file is.
pub(super) fn told(said: &[Heard], happened_at: Instant) -> Vec<Told> {
    let since = said.iter().filter(|heard| heard.at > happened_at);
    let tells = |heard: &&Heard| {
        let of_file = matches!(heard.text("phase"), Some("progress" | "done"));
        !of_file && !heard.is("presence")
    };
    let told = since.filter(tells).map(|heard| {
        let text = |field| heard.text(field).map(ToOwned::to_owned);
        let detail = ["phase", "kind", "code"].into_iter().find_map(text);
        let event = text("event").unwrap_or_default();
        let what = detail.map_or_else(|| event.clone(), |detail| format!("{event} {detail}"));
        let why = ["reason", "why", "text", "message"].into_iter().find_map(text);
        let after_ms = millis(heard.at.saturating_duration_since(happened_at));
        Told { after_ms, what, why: why.unwrap_or_default() }
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn heard(start: Instant, ms: u64, event: serde_json::Value) -> Heard {
        Heard { at: start + Duration::from_millis(ms), event }
    }

    fn file(bytes: u64, phase: &str) -> serde_json::Value {
        json!({"event": "file", "phase": phase, "bytes": bytes, "reason": "because"})
    }

    #[test]
    fn a_pause_is_the_longest_time_without_a_new_byte_around_what_happened() {
        let start = Instant::now();
        let said = [
            heard(start, 0, file(0, "started")),
            heard(start, 3000, file(10, "progress")),
            heard(start, 3300, file(20, "progress")),
            heard(start, 3700, file(20, "interrupted")),
            heard(start, 4000, file(20, "started")),
            heard(start, 4800, file(25, "progress")),
            heard(start, 5000, file(30, "done")),
        ];
        let happened_at = start + Duration::from_millis(3500);
        assert_eq!(pause(&said, happened_at), Duration::from_millis(1500));
        let told = told(&said, happened_at);
        assert_eq!(told.len(), 2);
        assert_eq!((told[0].after_ms, told[0].what.as_str()), (200, "file interrupted"));
        assert_eq!(told[0].why, "because");
    }
}
