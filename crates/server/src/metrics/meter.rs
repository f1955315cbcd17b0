//! The counters, and where they are fed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use portolan_nat::ResponderStats;
use portolan_protocol::{Command, ErrorCode, Event, RelayInfo, Timestamp};

use super::{
    exposition::{Exposition, Family},
    families as family,
    histogram::Histogram,
    process::Process,
};
use crate::{
    core::{Census, Effect},
    event_log::{LogEntry, LogHealth},
    store::QueueLength,
};

/// Upper bounds of a commit's time, in seconds: from a cached write to a disk that hangs.
const SECONDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// Upper bounds of the operations in one commit.
const OPERATIONS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Counts, if it is on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(Option<Arc<Counters>>);

/// What is not counted but looked up when somebody asks.
#[derive(Debug)]
pub(crate) struct Gauges {
    pub(crate) census: Census,
    pub(crate) queue: QueueLength,
    /// Carried by relays, since the start.
    pub(crate) relay_bytes: u64,
    /// What became of relays' datagrams.
    pub(crate) channels: ChannelCounts,
    /// Other relays that the server uses.
    pub(crate) relays: Vec<RelayInfo>,
    /// What STUN was asked.
    pub(crate) stun: ResponderStats,
    pub(crate) events: LogHealth,
}

/// What became of relays' datagrams, since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ChannelCounts {
    /// Datagrams that were sent on.
    pub(crate) carried: u64,
    /// Bytes of them.
    pub(crate) bytes: u64,
    /// Datagrams that were not, by why.
    pub(crate) refused: [(&'static str, u64); 6],
}

#[derive(Debug)]
struct Counters {
    started: Timestamp,
    /// In the order of the table of transports.
    registries: Vec<Traffic>,
    logins_refused: Labelled,
    left: Labelled,
    refusals: Labelled,
    stored: AtomicU64,
    stored_bytes: AtomicU64,
    copies: AtomicU64,
    relays_opened: AtomicU64,
    commit_seconds: Histogram<14>,
    commit_operations: Histogram<9>,
    store_failures: AtomicU64,
    lag: Histogram<14>,
}

/// What passes between one registry and its clients.
#[derive(Debug, Default)]
struct Traffic {
    transport: &'static str,
    open: AtomicU64,
    accepted: AtomicU64,
    requests: AtomicU64,
    skipped: AtomicU64,
    received: AtomicU64,
    delivered: AtomicU64,
    events: AtomicU64,
}

/// A count for each of a few words of ours; for what is rare.
#[derive(Debug, Default)]
struct Labelled(Mutex<BTreeMap<&'static str, u64>>);

impl Labelled {
    fn count(&self, word: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(word).or_default() += 1;
    }

    fn read(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Meter {
    /// A meter that counts, for a server with these registries.
    pub(crate) fn on(transports: impl Iterator<Item = &'static str>, started: Timestamp) -> Self {
        let registry = |transport| Traffic { transport, ..Traffic::default() };
        Self(Some(Arc::new(Counters {
            started,
            registries: transports.map(registry).collect(),
            logins_refused: Labelled::default(),
            left: Labelled::default(),
            refusals: Labelled::default(),
            stored: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(0),
            copies: AtomicU64::new(0),
            relays_opened: AtomicU64::new(0),
            commit_seconds: Histogram::new(SECONDS),
            commit_operations: Histogram::new(OPERATIONS),
            store_failures: AtomicU64::new(0),
            lag: Histogram::new(SECONDS),
        })))
    }

    fn traffic(&self, registry: usize) -> Option<&Traffic> {
        self.0.as_ref()?.registries.get(registry)
    }

    /// A client has connected.
    pub(crate) fn connected(&self, registry: usize) {
        if let Some(traffic) = self.traffic(registry) {
            traffic.accepted.fetch_add(1, Relaxed);
            traffic.open.fetch_add(1, Relaxed);
        }
    }

    /// Its connection has ended.
    pub(crate) fn disconnected(&self, registry: usize) {
        if let Some(traffic) = self.traffic(registry) {
            traffic.open.fetch_sub(1, Relaxed);
        }
    }

    /// A request was read.
    pub(crate) fn request(&self, registry: usize, command: &Command) {
        if let Some(traffic) = self.traffic(registry) {
            traffic.requests.fetch_add(1, Relaxed);
            traffic.received.fetch_add(u64::from(matches!(command, Command::Send(_))), Relaxed);
        }
    }

    /// A frame was none.
    pub(crate) fn skipped(&self, registry: usize) {
        if let Some(traffic) = self.traffic(registry) {
            traffic.skipped.fetch_add(1, Relaxed);
        }
    }

    /// An event was queued for a client.
    pub(crate) fn told(&self, registry: usize, is_message: bool) {
        if let Some(traffic) = self.traffic(registry) {
            traffic.events.fetch_add(1, Relaxed);
            traffic.delivered.fetch_add(u64::from(is_message), Relaxed);
        }
    }

    /// The store took so many operations at once.
    pub(crate) fn commit(&self, took: Duration, operations: usize, is_done: bool) {
        if let Some(counters) = &self.0 {
            counters.commit_seconds.record(took.as_secs_f64());
            let operations = u32::try_from(operations).unwrap_or(u32::MAX);
            counters.commit_operations.record(f64::from(operations));
            counters.store_failures.fetch_add(u64::from(!is_done), Relaxed);
        }
    }

    /// A request was refused that did not reach the core as one.
    pub(crate) fn refused(&self, code: ErrorCode) {
        if let Some(counters) = &self.0 {
            counters.refusals.count(code.as_str());
        }
    }

    /// A timer went off so late.
    pub(crate) fn late(&self, by: Duration) {
        if let Some(counters) = &self.0 {
            counters.lag.record(by.as_secs_f64());
        }
    }

    /// The core has decided something.
    pub(crate) fn effect(&self, effect: &Effect) {
        let Some(counters) = &self.0 else { return };
        match effect {
            Effect::Refuse { error, .. } => counters.refusals.count(error.code.as_str()),
            Effect::Log(entry) => counters.on_entry(entry),
            Effect::Answer { .. }
            | Effect::Tell { .. }
            | Effect::Close { .. }
            | Effect::Store { .. }
            | Effect::Hash { .. }
            | Effect::Sighted(_)
            | Effect::Shutdown { .. } => {}
        }
    }

    /// Everything as text; empty if it is off.
    pub(crate) fn expose(&self, gauges: &Gauges) -> String {
        let mut text = Exposition::default();
        if let Some(counters) = &self.0 {
            let version = env!("CARGO_PKG_VERSION");
            text.by(&family::BUILD, "version", [(version, 1)]);
            counters.expose_registries(&mut text, gauges);
            counters.expose_messages(&mut text, gauges);
            counters.expose_store(&mut text, gauges);
            counters.expose_process(&mut text);
        }
        text.finish()
    }
}

/// Whether an event carries a message.
pub(crate) fn is_message(event: &Event) -> bool {
    matches!(event, Event::Message(_))
}

impl Counters {
    fn on_entry(&self, entry: &LogEntry) {
        match entry {
            LogEntry::LoginRefused { code, .. } => self.logins_refused.count(code),
            LogEntry::Left { how, .. } => self.left.count(how),
            LogEntry::Message { bytes, copies, .. } => {
                self.stored.fetch_add(1, Relaxed);
                self.stored_bytes.fetch_add(*bytes as u64, Relaxed);
                self.copies.fetch_add(*copies as u64, Relaxed);
            }
            LogEntry::RelayOpened { .. } | LogEntry::Carrying { .. } => {
                self.relays_opened.fetch_add(1, Relaxed);
            }
            LogEntry::Started { .. }
            | LogEntry::Stopped { .. }
            | LogEntry::Registered { .. }
            | LogEntry::Password { .. }
            | LogEntry::Moved { .. }
            | LogEntry::Login { .. }
            | LogEntry::SentAway { .. }
            | LogEntry::Refused { .. }
            | LogEntry::Conversation { .. }
            | LogEntry::Group { .. }
            | LogEntry::RelayEnded { .. }
            | LogEntry::Carried { .. }
            | LogEntry::RelayServer { .. }
            | LogEntry::Admin { .. }
            | LogEntry::StoreFailed { .. }
            | LogEntry::Dropped { .. } => {}
        }
    }

    fn expose_registries(&self, text: &mut Exposition, gauges: &Gauges) {
        let counted = |family: &Family, text: &mut Exposition, of: fn(&Traffic) -> &AtomicU64| {
            let registries = self.registries.iter();
            text.by(
                family,
                "transport",
                registries.map(|traffic| (traffic.transport, of(traffic).load(Relaxed))),
            );
        };
        let asked = |family: &Family,
                     text: &mut Exposition,
                     of: fn(&portolan_protocol::RegistryInfo) -> u64| {
            let registries = gauges.census.registries.iter();
            text.by(family, "transport", registries.map(|info| (&*info.transport, of(info))));
        };
        asked(&family::CLIENTS, text, |info| info.online);
        counted(&family::CONNECTIONS, text, |traffic| &traffic.open);
        counted(&family::ACCEPTED, text, |traffic| &traffic.accepted);
        asked(&family::LOGINS, text, |info| info.logins);
        text.by(&family::LOGINS_REFUSED, "code", self.logins_refused.read());
        asked(&family::REFUSED, text, |info| info.refused);
        asked(&family::FULL, text, |info| info.counters.full);
        asked(&family::VANISHED, text, |info| info.vanished);
        text.by(&family::LEFT, "how", self.left.read());
        counted(&family::REQUESTS, text, |traffic| &traffic.requests);
        text.by(&family::REFUSALS, "code", self.refusals.read());
        counted(&family::GARBAGE, text, |traffic| &traffic.skipped);
        counted(&family::RECEIVED, text, |traffic| &traffic.received);
        counted(&family::DELIVERED, text, |traffic| &traffic.delivered);
        counted(&family::EVENTS, text, |traffic| &traffic.events);
        asked(&family::BYTES_IN, text, |info| info.counters.bytes_in);
        asked(&family::BYTES_OUT, text, |info| info.counters.bytes_out);
    }

    fn expose_messages(&self, text: &mut Exposition, gauges: &Gauges) {
        let census = &gauges.census;
        text.count(&family::STORED, self.stored.load(Relaxed));
        text.count(&family::STORED_BYTES, self.stored_bytes.load(Relaxed));
        text.count(&family::COPIES, self.copies.load(Relaxed));
        text.count(&family::USERS, census.users);
        text.count(&family::GROUPS, census.groups);
        text.count(&family::CONVERSATIONS, census.conversations);
        text.count(&family::MAILBOX_MESSAGES, census.waiting.messages);
        text.count(&family::MAILBOX_BYTES, census.waiting.bytes);
        text.count(&family::RELAYS, census.relays);
        text.count(&family::RELAYS_OPENED, self.relays_opened.load(Relaxed));
        text.count(&family::RELAY_BYTES, gauges.relay_bytes);
        text.count(&family::RELAY_DATAGRAMS, gauges.channels.carried);
        text.count(&family::RELAY_DATAGRAM_BYTES, gauges.channels.bytes);
        text.by(&family::RELAY_DROPPED, "why", gauges.channels.refused);
        let up = gauges.relays.iter().map(|relay| (&*relay.address, u64::from(relay.up)));
        text.by(&family::RELAY_UP, "relay", up);
        let handed = gauges.relays.iter().map(|relay| (&*relay.address, relay.handed));
        text.by(&family::RELAY_HANDED, "relay", handed);
        text.count(&family::STUN_ANSWERS, gauges.stun.answered);
        let unanswered = [("throttled", gauges.stun.throttled), ("ignored", gauges.stun.ignored)];
        text.by(&family::STUN_UNANSWERED, "why", unanswered);
    }

    fn expose_store(&self, text: &mut Exposition, gauges: &Gauges) {
        text.histogram(&family::COMMIT_SECONDS, &self.commit_seconds.read());
        text.histogram(&family::COMMIT_OPERATIONS, &self.commit_operations.read());
        text.count(&family::STORE_FAILED, self.store_failures.load(Relaxed));
        text.count(&family::STORE_QUEUE, gauges.queue.operations as u64);
        text.count(&family::STORE_QUEUE_BYTES, gauges.queue.bytes as u64);
        text.count(&family::EVENT_LINES, gauges.events.lines);
        text.count(&family::EVENT_DROPPED, gauges.events.dropped);
        text.count(&family::EVENT_FAILED, u64::from(gauges.events.is_failing));
    }

    fn expose_process(&self, text: &mut Exposition) {
        text.histogram(&family::LAG, &self.lag.read());
        let process = Process::read();
        for (family, value) in [
            (&family::RESIDENT, process.resident_bytes),
            (&family::THREADS, process.threads),
            (&family::FILES, process.open_files),
            (&family::FILES_MAX, process.open_files_max),
        ] {
            if let Some(value) = value {
                text.count(family, value);
            }
        }
        if let Some(seconds) = process.cpu_seconds {
            text.value(&family::CPU, seconds);
        }
        let started = Duration::from_millis(self.started.0);
        text.value(&family::START, started.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portolan_protocol::{ErrorBody, ErrorCode, RequestId, Timestamp};
    use prometheus_parse::{Scrape, Value};

    use super::{Gauges, Meter};
    use crate::{
        core::{Effect, SessionId},
        metrics::families::ALL,
    };

    fn nothing() -> Gauges {
        let census = crate::core::Census::default();
        Gauges {
            census,
            queue: Default::default(),
            relay_bytes: 0,
            channels: Default::default(),
            relays: Vec::new(),
            stun: Default::default(),
            events: Default::default(),
        }
    }

    fn scrape(meter: &Meter) -> Scrape {
        let text = meter.expose(&nothing());
        Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap()
    }

    #[test]
    fn a_meter_that_is_off_says_nothing() {
        let meter = Meter::default();
        meter.connected(0);
        meter.skipped(0);
        assert_eq!(meter.expose(&nothing()), "");
    }

    #[test]
    fn every_metric_is_told_and_explained_where_admins_read() {
        let meter = Meter::on(["tcp", "udp"].into_iter(), Timestamp(0));
        let text = meter.expose(&nothing());
        let page = std::fs::read_to_string(
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/server.md"),
        )
        .unwrap();
        for family in ALL {
            let name = family.name;
            assert!(text.contains(&format!("# TYPE {name} ")), "{name} is not told");
            assert!(page.contains(&format!("`{name}")), "docs/server.md does not explain {name}");
        }
        for word in page.split('`').filter(|word| word.starts_with("portolan_")) {
            let name = word.split('{').next().unwrap_or_default();
            assert!(ALL.iter().any(|family| family.name == name), "there is no metric {name}");
        }
    }

    #[test]
    fn names_follow_the_conventions() {
        for family in ALL {
            let is_counter = family.kind == crate::metrics::exposition::Kind::Counter;
            assert_eq!(family.name.ends_with("_total"), is_counter, "{}", family.name);
            let is_ours = family.name.starts_with("portolan_");
            assert!(is_ours || family.name.starts_with("process_"), "{}", family.name);
            assert!(family.help.ends_with('.') && !family.help.contains('\n'), "{}", family.name);
        }
    }

    #[test]
    fn a_parser_of_others_reads_what_was_counted() {
        let meter = Meter::on(["tcp", "udp"].into_iter(), Timestamp(1_500));
        meter.connected(1);
        meter.connected(1);
        meter.disconnected(1);
        meter.commit(Duration::from_millis(2), 3, true);
        meter.commit(Duration::from_secs(9), 300, false);
        for _ in 0..2 {
            let error = ErrorBody::new(ErrorCode::RateLimited, "slowly");
            meter.effect(&Effect::Refuse { session: SessionId(1), id: RequestId(1), error });
        }
        let scrape = scrape(&meter);
        let find = |name: &str, label: Option<(&str, &str)>| {
            let sample = scrape.samples.iter().find(|sample| {
                sample.metric == name
                    && label.is_none_or(|(key, value)| sample.labels.get(key) == Some(value))
            });
            sample.unwrap_or_else(|| panic!("no {name}")).value.clone()
        };
        let udp = Some(("transport", "udp"));
        assert_eq!(find("portolan_connections_accepted_total", udp), Value::Counter(2.0));
        assert_eq!(find("portolan_connections", udp), Value::Gauge(1.0));
        let tcp = Some(("transport", "tcp"));
        assert_eq!(find("portolan_connections", tcp), Value::Gauge(0.0));
        let limited = Some(("code", "rate_limited"));
        assert_eq!(find("portolan_requests_refused_total", limited), Value::Counter(2.0));
        assert_eq!(find("portolan_store_failures_total", None), Value::Counter(1.0));
        assert_eq!(find("process_start_time_seconds", None), Value::Gauge(1.5));
        let Value::Histogram(buckets) = find("portolan_store_commit_seconds", None) else {
            panic!()
        };
        let at_most = |bound: f64| buckets.iter().find(|b| b.less_than == bound).unwrap().count;
        assert_eq!((at_most(0.001), at_most(0.0025), at_most(f64::INFINITY)), (0.0, 1.0, 2.0));
    }
}
