//! The bounds and times that the configuration can change: `[limits]` and `[times]`.

use std::{ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Deserializer, de};

use crate::config::{Limits, Rate, Timing};

/// How a value is written down, and how it is checked.
trait Knob {
    type Written: Clone;
    fn set(&mut self, written: &Self::Written, range: &RangeInclusive<u64>) -> Result<(), String>;
    /// As TOML.
    fn show(&self) -> String;
}

macro_rules! number {
    ($($type:ty),+) => {$(
        impl Knob for $type {
            type Written = u64;

            fn set(&mut self, written: &u64, range: &RangeInclusive<u64>) -> Result<(), String> {
                *self = Self::try_from(check(*written, range)?).unwrap_or(Self::MAX);
                Ok(())
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

number!(u8, u32, u64, usize);

fn check(value: u64, range: &RangeInclusive<u64>) -> Result<u64, String> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(format!("expected {} to {}, not {value}", range.start(), range.end()))
}

/// A rate as it is written down.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenRate {
    per_second: f64,
    burst: f64,
}

impl Knob for Rate {
    type Written = WrittenRate;

    fn set(&mut self, written: &WrittenRate, range: &RangeInclusive<u64>) -> Result<(), String> {
        let &WrittenRate { per_second, burst } = written;
        #[expect(clippy::cast_precision_loss, reason = "bounds are round numbers")]
        let most = *range.end() as f64;
        // A burst below one would let nothing through, ever.
        if !(per_second > 0.0 && per_second <= most && (1.0..=most).contains(&burst)) {
            return Err(format!(
                "expected per_second above 0 and burst from 1, both to {most}, not {per_second} \
                 and {burst}"
            ));
        }
        *self = Self { per_second, burst };
        Ok(())
    }

    fn show(&self) -> String {
        format!("{{ per_second = {}, burst = {} }}", self.per_second, self.burst)
    }
}

/// A time as it is written down: seconds, or a number with its unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct WrittenTime(Duration);

impl<'de> Deserialize<'de> for WrittenTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Seconds(u32),
            Text(String),
        }
        let parsed = match Form::deserialize(deserializer) {
            Ok(Form::Seconds(seconds)) => Some(Duration::from_secs(seconds.into())),
            Ok(Form::Text(text)) => parse_time(&text),
            Err(_) => None,
        };
        let advice =
            "expected seconds, or a number with its unit, like \"500ms\", \"10s\", \"30d\"";
        parsed.map(Self).ok_or_else(|| de::Error::custom(advice))
    }
}

/// Milliseconds of each unit, `ms` before what it ends with.
const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

fn parse_time(text: &str) -> Option<Duration> {
    UNITS.iter().find_map(|(unit, ms)| {
        let number: u32 = text.strip_suffix(unit)?.trim().parse().ok()?;
        u64::from(number).checked_mul(*ms).map(Duration::from_millis)
    })
}

impl Knob for Duration {
    type Written = WrittenTime;

    fn set(&mut self, written: &WrittenTime, range: &RangeInclusive<u64>) -> Result<(), String> {
        let ms = u64::try_from(written.0.as_millis()).unwrap_or(u64::MAX);
        if !range.contains(&ms) {
            let (least, most) = (show_ms(*range.start()), show_ms(*range.end()));
            return Err(format!("expected {least} to {most}, not {}", show_ms(ms)));
        }
        *self = written.0;
        Ok(())
    }

    fn show(&self) -> String {
        show_ms(u64::try_from(self.as_millis()).unwrap_or(u64::MAX))
    }
}

/// In the largest unit that it is a whole number of.
fn show_ms(ms: u64) -> String {
    let fits = UNITS.iter().rev().find(|(_, unit)| ms > 0 && ms.is_multiple_of(*unit));
    match fits {
        Some((name, unit)) => format!("\"{}{name}\"", ms / unit),
        None => "\"0s\"".to_owned(),
    }
}

macro_rules! knobs {
    ($(#[doc = $doc:literal])+ $name:ident of $target:ty {
        $($key:ident: $type:ty = $($path:ident).+ in $range:expr;)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($key: Option<<$type as Knob>::Written>,)+
        }

        impl $name {
            /// Changes what is written down here.
            pub(super) fn apply(&self, to: &mut $target) -> Result<(), String> {
                $(if let Some(written) = &self.$key {
                    let result = to.$($path).+.set(written, &$range);
                    result.map_err(|why| format!(concat!(stringify!($key), ": {}"), why))?;
                })+
                Ok(())
            }

            /// Each key with its value as TOML.
            pub(super) fn show(of: &$target) -> Vec<(&'static str, String)> {
                vec![$((stringify!($key), of.$($path).+.show())),+]
            }
        }
    };
}

/// More is a mistake, or another server.
const MANY: u64 = 100_000_000;
/// Bytes that one client may make the server hold for one purpose.
const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;

knobs! {
    /// `[limits]`
    WrittenLimits of Limits {
        users: usize = users in 1..=MANY;
        names_per_key: usize = names_per_key in 1..=MANY;
        users_per_registry: usize = users_per_registry in 1..=MANY;
        acquaintances: usize = acquaintances in 0..=MANY;
        devices: usize = devices in 1..=1_000;
        conversations_per_user: u8 = conversations_per_user in 1..=255;
        requests_per_user: usize = requests_per_user in 1..=10_000;
        mailbox_messages: u64 = mailbox_messages in 1..=MANY;
        mailbox_bytes: u64 = mailbox_bytes in 64 * KIB..=64 * GIB;
        window_messages: usize = window_messages in 1..=100_000;
        window_bytes: u64 = window_bytes in 1..=GIB;
        outbox_frames: usize = outbox_frames in 16..=1_000_000;
        outbox_bytes: usize = outbox_bytes in 256 * KIB..=GIB;
        open_requests: usize = open_requests in 1..=10_000;
        hashes: usize = hashes in 1..=10_000;
        bans: usize = bans in 1..=MANY;
        groups: usize = groups in 0..=MANY;
        group_members: usize = group_members in 1..=1_000_000;
        groups_per_user: usize = groups_per_user in 0..=100_000;
        invitations_per_user: usize = invitations_per_user in 0..=100_000;
        history_bytes: u64 = history_bytes in 0..=1024 * GIB;
        history_bytes_in_memory: u64 = history_bytes_in_memory in 0..=64 * GIB;
        relays_per_user: u32 = relays_per_user in 0..=10_000;
        relay_buffer: usize = relay_buffer in KIB..=16 << 20;
        relay_rate: u64 = relay_rate in 0..=64 * GIB;
        relay_datagrams: u32 = relay_datagrams in 0..=100_000_000;
        relay_queue: usize = relay_queue in 0..=64 << 20;
        pass_bytes: u64 = pass_bytes in 64 * KIB..=1024 * 1024 * GIB;
        stun: Rate = stun in 1..=1_000_000;
        presence_users: usize = presence_users in 0..=MANY;
        store_queue: usize = store_queue in 1..=1_000_000;
        store_queue_bytes: usize = store_queue_bytes in 64 * KIB..=16 * GIB;
        bus_parcels: usize = bus_parcels in 1..=1_000_000;
        bus_bytes: usize = bus_bytes in 64 * KIB..=16 * GIB;
        garbage: u32 = garbage in 0..=1_000_000;
        event_log: u64 = event_log in 0..=1024 * GIB;
        event_log_files: usize = event_log_files in 0..=1_000;
        keys: usize = keys in 16..=MANY;
        strangers_per_address: usize = strangers_per_address in 1..=MANY;
        gateway_strangers: usize = gateway_strangers in 1..=1_000_000;
        address_logins: Rate = address_logins in 0..=MANY;
        address_names: Rate = address_names in 0..=MANY;
        address_passwords: Rate = address_passwords in 0..=MANY;
        commands: Rate = commands in 0..=MANY;
        broadcasts: Rate = broadcasts in 0..=MANY;
        requests: Rate = requests in 0..=MANY;
        absent: Rate = absent in 0..=MANY;
        logins: Rate = logins in 0..=MANY;
        passwords: Rate = passwords in 0..=MANY;
        guesses: Rate = guesses in 0..=MANY;
        group_messages: Rate = group_messages in 0..=MANY;
        group_changes: Rate = group_changes in 0..=MANY;
        streams: u32 = transport.streams in 2..=100_000;
        stream_window: u32 = transport.stream_window in 16 * KIB..=GIB;
        connection_window: u32 = transport.connection_window in 64 * KIB..=GIB;
        send_buffer: u32 = transport.send_buffer in 16 * KIB..=GIB;
        datagram_queue: u32 = transport.datagram_queue in 2 * KIB..=GIB;
        accept_backlog: u32 = transport.accept_backlog in 1..=1_000_000;
        half_open: u32 = transport.half_open in 1..=1_000_000;
    }
}

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;

knobs! {
    /// `[times]`
    WrittenTimes of Timing {
        login: Duration = login in SECOND..=HOUR;
        request: Duration = request in SECOND..=DAY;
        attention: Duration = attention in 2 * SECOND..=HOUR;
        relay_open: Duration = relay_open in 100..=HOUR;
        relay_idle: Duration = relay_idle in SECOND..=DAY;
        pass_lasts: Duration = pass_lasts in 60 * SECOND..=30 * DAY;
        farewell: Duration = farewell in 0..=60 * SECOND;
        retention: Duration = retention in HOUR..=36_500 * DAY;
        restart: Duration = restart in 0..=600 * SECOND;
        handshake: Duration = transport.handshake in 500..=600 * SECOND;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{WrittenLimits, WrittenTimes, parse_time, show_ms};
    use crate::config::{Limits, Timing};

    #[test]
    fn what_is_shown_can_be_written() {
        let (limits, times) = (Limits::default(), Timing::default());
        for (table, shown) in
            [("limits", WrittenLimits::show(&limits)), ("times", WrittenTimes::show(&times))]
        {
            let page = std::fs::read_to_string(
                std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/server.md"),
            )
            .unwrap();
            for (key, value) in shown {
                let text = format!("{key} = {value}");
                let result = match table {
                    "limits" => toml::from_str::<WrittenLimits>(&text)
                        .map_err(|error| error.to_string())
                        .and_then(|written| written.apply(&mut limits.clone())),
                    _ => toml::from_str::<WrittenTimes>(&text)
                        .map_err(|error| error.to_string())
                        .and_then(|written| written.apply(&mut times.clone())),
                };
                assert_eq!(result, Ok(()), "{text}");
                assert!(page.contains(&format!("`{key}`")), "docs/server.md lacks {table}.{key}");
            }
        }
    }

    /// The fields of a struct, and those of the structs in it.
    fn fields(shown: &str) -> Vec<String> {
        let words = shown.split([' ', '{', ',']).filter_map(|word| word.strip_suffix(':'));
        words.map(str::to_owned).collect()
    }

    #[test]
    fn nothing_is_forgotten() {
        // What has an option of its own, follows from another, or is but the name of a group.
        let elsewhere =
            ["transport", "per_second", "burst", "connections", "idle", "keep_alive", "drain"];
        let limits = format!("{:?}", Limits::default());
        let times = format!("{:?}", Timing::default());
        for (fields, shown) in [
            (fields(&limits), WrittenLimits::show(&Limits::default())),
            (fields(&times), WrittenTimes::show(&Timing::default())),
        ] {
            for field in fields.iter().filter(|field| !elsewhere.contains(&field.as_str())) {
                let is_there = shown.iter().any(|(key, _)| key == field);
                assert!(is_there, "{field} cannot be configured: add a line here");
            }
        }
    }

    #[test]
    fn values_are_taken_and_nonsense_is_explained() {
        let mut limits = Limits::default();
        let written: WrittenLimits =
            toml::from_str("users = 5\nstreams = 7\nlogins = { per_second = 0.5, burst = 3 }")
                .unwrap();
        written.apply(&mut limits).unwrap();
        assert_eq!((limits.users, limits.transport.streams, limits.logins.burst), (5, 7, 3.0));
        for (text, expected) in [
            ("users = 0", "users: expected 1 to 100000000, not 0"),
            ("logins = { per_second = 0, burst = 3 }", "logins: expected per_second above 0"),
            ("logins = { per_second = nan, burst = 3 }", "logins: expected"),
        ] {
            let written: WrittenLimits = toml::from_str(text).unwrap();
            let why = written.apply(&mut limits).unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
        let written: WrittenTimes = toml::from_str("login = '12h'").unwrap();
        let why = written.apply(&mut Timing::default()).unwrap_err();
        assert!(why.contains("expected \"1s\" to \"1h\", not \"12h\""), "{why}");
    }

    #[test]
    fn times_have_units() {
        for (text, ms) in [("500ms", 500), ("10s", 10_000), ("90 m", 5_400_000), ("0s", 0)] {
            assert_eq!(parse_time(text), Some(Duration::from_millis(ms)));
        }
        for wrong in ["", "s", "-1s", "10", "1w", "99999999999s"] {
            assert_eq!(parse_time(wrong), None, "{wrong}");
        }
        assert_eq!([show_ms(90_000), show_ms(86_400_000)], ["\"90s\"", "\"1d\""]);
    }
}
