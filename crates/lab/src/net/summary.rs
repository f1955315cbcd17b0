//! What a world leaves: counters, and how its programs ended.

use portolan_emulator::{Counters, Emulator, Health, LinkCounters};
use portolan_netsim::{LinkStats, NatStats, WorldStats};
use serde::Serialize;

use super::event::Ended;

/// The closing account.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// Every direction of every attachment that carried anything.
    links: Vec<LinkSummary>,
    /// Every translator.
    nats: Vec<NatSummary>,
    /// What was dropped outside of links.
    elsewhere: WorldSummary,
    /// How well the emulator did.
    emulator: EmulatorSummary,
    /// How every program ended.
    programs: Vec<ProgramSummary>,
}

/// One direction of an attachment.
#[derive(Debug, Serialize)]
struct LinkSummary {
    node: String,
    interface: String,
    direction: &'static str,
    packets: u64,
    bytes: u64,
    lost: u64,
    overflowed: u64,
    oversized: u64,
    blackholed: u64,
    duplicated: u64,
    reordered: u64,
    corrupted: u64,
}

/// A translator.
#[derive(Debug, Serialize)]
struct NatSummary {
    name: String,
    mappings: u64,
    created: u64,
    expired: u64,
    forgotten: u64,
    refused: u64,
    filtered: u64,
    blocked: u64,
    hairpinned: u64,
}

/// Packets that were dropped outside of links.
#[derive(Debug, Serialize)]
struct WorldSummary {
    unrouted: u64,
    hop_limit: u64,
    isolated: u64,
    unheard: u64,
    moved: u64,
    filtered: u64,
    blocked: u64,
    refused: u64,
}

/// How well the emulator did.
#[derive(Debug, Serialize)]
struct EmulatorSummary {
    packets: u64,
    late_p50_us: u128,
    late_p99_us: u128,
    late_max_us: u128,
    realtime: bool,
    doubt: Option<String>,
}

/// How a program ended.
#[derive(Debug, Serialize)]
pub(super) struct ProgramSummary {
    /// The host.
    pub(super) host: String,
    /// What it is called.
    pub(super) label: String,
    /// How.
    pub(super) ended: Ended,
}

impl Summary {
    /// Asks the emulator for the rest.
    pub(super) fn new(emulator: &Emulator, programs: Vec<ProgramSummary>) -> Self {
        let Counters { world, links, nats } = emulator.stats();
        let links = links.into_iter().flat_map(LinkSummary::both);
        Self {
            links: links.filter(|link| link.packets > 0).collect(),
            nats: nats.into_iter().map(|(name, stats)| NatSummary::new(name, stats)).collect(),
            elsewhere: WorldSummary::new(&world),
            emulator: EmulatorSummary::new(&emulator.health()),
            programs,
        }
    }

    /// Whether every program did what it should.
    pub(super) fn succeeded(&self) -> bool {
        self.programs.iter().all(|program| program.ended.succeeded())
    }

    /// In lines, for people.
    pub(super) fn words(&self) -> String {
        let mut lines = vec![String::new()];
        let links: Vec<_> = self.links.iter().map(LinkSummary::cells).collect();
        if !links.is_empty() {
            lines.push("links (what entered, and what did not come out):".to_owned());
            lines.extend(align(&links));
        }
        if !self.nats.is_empty() {
            lines.push("translators:".to_owned());
            let width = self.nats.iter().map(|nat| nat.name.len()).max().unwrap_or_default();
            let line = |nat: &NatSummary| format!("  {:width$}  {}", nat.name, nat.words());
            lines.extend(self.nats.iter().map(line));
        }
        lines.extend(self.elsewhere.words());
        lines.push(self.emulator.words());
        for ProgramSummary { host, label, ended } in &self.programs {
            if !ended.succeeded() {
                lines.push(format!("{label} on {host} {}", ended.words()));
            }
        }
        lines.join("\n")
    }
}

impl LinkSummary {
    /// Both directions of an attachment.
    fn both(link: LinkCounters) -> [Self; 2] {
        let LinkCounters { node, interface, up, down } = link;
        let one = |direction, stats: LinkStats| Self {
            node: node.clone(),
            interface: interface.clone(),
            direction,
            packets: stats.entered,
            bytes: stats.bytes_carried,
            lost: stats.lost,
            overflowed: stats.overflowed,
            oversized: stats.oversized,
            blackholed: stats.blackholed,
            duplicated: stats.duplicated,
            reordered: stats.reordered,
            corrupted: stats.corrupted,
        };
        [one("up", up), one("down", down)]
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![
            format!("{}.{}", self.node, self.interface),
            self.direction.to_owned(),
            format!("{} packets", self.packets),
        ];
        for (count, what) in [
            (self.lost, "lost"),
            (self.overflowed, "for a full queue"),
            (self.oversized, "too long"),
            (self.blackholed, "while cut off"),
            (self.duplicated, "twice"),
            (self.reordered, "overtaken"),
            (self.corrupted, "damaged"),
        ] {
            if count > 0 {
                #[expect(clippy::cast_precision_loss, reason = "for people")]
                let share = 100.0 * count as f64 / self.packets as f64;
                cells.push(format!("{count} {what} ({share:.2} %)"));
            }
        }
        cells
    }
}

impl NatSummary {
    fn new(name: String, stats: NatStats) -> Self {
        let NatStats {
            mappings,
            created,
            expired,
            forgotten,
            refused,
            filtered,
            blocked,
            hairpinned,
        } = stats;
        Self { name, mappings, created, expired, forgotten, refused, filtered, blocked, hairpinned }
    }

    fn words(&self) -> String {
        let counts = [
            (self.created, "mappings made"),
            (self.mappings, "alive"),
            (self.expired, "expired"),
            (self.forgotten, "forgotten"),
            (self.refused, "refused"),
            (self.filtered, "packets not let in"),
            (self.blocked, "UDP packets blocked"),
            (self.hairpinned, "hairpinned"),
        ];
        some(&counts).unwrap_or_else(|| "nothing to do".to_owned())
    }
}

impl WorldSummary {
    const fn new(stats: &WorldStats) -> Self {
        Self {
            unrouted: stats.unrouted,
            hop_limit: stats.hop_limit,
            isolated: stats.isolated,
            unheard: stats.unheard,
            moved: stats.moved,
            filtered: stats.filtered,
            blocked: stats.blocked,
            refused: stats.refused,
        }
    }

    /// A line, if there is anything to say.
    fn words(&self) -> Option<String> {
        let counts = [
            (self.unrouted, "without a route"),
            (self.hop_limit, "at the end of their hops"),
            (self.isolated, "between isolated hosts"),
            (self.unheard, "to groups that nobody heard"),
            (self.moved, "of an interface that had moved"),
            (self.filtered, "that nobody had asked for"),
            (self.blocked, "of blocked UDP"),
            (self.refused, "that no translator took"),
        ];
        some(&counts).map(|words| format!("packets dropped elsewhere: {words}"))
    }
}

/// The counts that are not zero, with their words.
fn some(counts: &[(u64, &str)]) -> Option<String> {
    let words = counts.iter().filter(|(count, _)| *count > 0);
    let words: Vec<_> = words.map(|(count, what)| format!("{count} {what}")).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

impl EmulatorSummary {
    fn new(health: &Health) -> Self {
        Self {
            packets: health.packets_written,
            late_p50_us: health.lateness.p50.as_micros(),
            late_p99_us: health.lateness.p99.as_micros(),
            late_max_us: health.lateness.max.as_micros(),
            realtime: health.realtime,
            doubt: health.doubt(),
        }
    }

    fn words(&self) -> String {
        let Self { packets, late_p50_us, late_p99_us, late_max_us, realtime, doubt } = self;
        let priority = if *realtime { "real-time" } else { "ordinary" };
        let verdict = doubt
            .as_ref()
            .map_or_else(|| "kept its promises".to_owned(), |doubt| format!("DOUBTFUL: {doubt}"));
        format!(
            "emulator: {packets} packets delivered, late by p50 {late_p50_us} us, \
             p99 {late_p99_us} us, at most {late_max_us} us, {priority} priority; {verdict}"
        )
    }
}

/// Pads the first three columns.
fn align(rows: &[Vec<String>]) -> Vec<String> {
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max();
    let widths: Vec<_> = (0..3).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| match widths.get(column) {
            Some(width) if column == 2 => format!("{cell:>width$}"),
            Some(width) => format!("{cell:width$}"),
            None => cell.clone(),
        });
        format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
