//! `lab probe meet`: the meeting place of `punch`, and who reached whom as a table.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use tokio::{
    io::BufReader,
    net::{
        TcpListener,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Problem, cannot,
    rendezvous::{self, Direct, Order, Over, Report, read_line, write_line},
    say, stun_server,
};

/// Peers at most.
const PEERS_MAX: u16 = 64;

/// Messages from peers that wait to be handled.
const REPORTS_MAX: usize = 256;

/// A new connection must say who it is within this time.
const HELLO: Duration = Duration::from_secs(5);

/// An attempt that nobody reports on is given up after this.
const PATIENCE: Duration = Duration::from_secs(30);

/// `lab probe meet`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Where to listen: TCP on this port, STUN on the two after it
    #[arg(long, default_value = "0.0.0.0:7020", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Wait for so many peers, then introduce one pair of each two kinds
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=i64::from(PEERS_MAX)))]
    peers: u16,
    /// How long to wait for them
    #[arg(long, default_value = "60s", value_parser = super::units::duration)]
    wait: Duration,
    /// Attempts under way at once
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=256))]
    at_once: u16,
    /// Print one JSON object an attempt instead of the table
    #[arg(long)]
    json: bool,
}

/// Somebody who waits to be introduced.
struct Peer {
    name: String,
    kind: String,
    write: OwnedWriteHalf,
}

/// One try of one pair.
#[derive(Debug)]
struct Attempt {
    pair: [usize; 2],
    over: Over,
    /// What each side sees of itself from outside.
    ready: [Option<Option<SocketAddr>>; 2],
    /// What each side got.
    ended: [Option<Option<Direct>>; 2],
    begun: Option<Instant>,
    verdict: Verdict,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Open,
    Direct {
        after_ms: u64,
    },
    NotDirect,
    /// One side has no such protocol at all.
    Blocked,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Open => "?",
            Self::Direct { .. } => "yes",
            Self::NotDirect => "no",
            Self::Blocked => "-",
        }
    }
}

/// Who said what; `None`: gone.
type Heard = (usize, Option<Report>);

pub(super) async fn run(options: &Options) -> Result<ExitCode, Problem> {
    let mut tasks = JoinSet::new();
    let port = options.listen.port();
    let stun = [port.wrapping_add(1), port.wrapping_add(2)];
    stun_server::serve(&mut tasks, vec![options.listen.ip()], stun).await?;
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(cannot(format!("listen on {}", options.listen)))?;
    say(format_args!("waiting for {} peers on {}", options.peers, options.listen));
    let (heard, mut reports) = mpsc::channel(REPORTS_MAX);
    let joined = timeout(options.wait, gather(&listener, options.peers, &heard, &mut tasks)).await;
    let peers = joined
        .map_err(|_| Problem(format!("fewer than {} peers came", options.peers)))?
        .map_err(cannot("accept peers"))?;
    let mut meeting = Meeting { attempts: plan(&peers), peers, running: BTreeSet::new() };
    meeting.hold(usize::from(options.at_once), &mut reports).await;
    for peer in &mut meeting.peers {
        let _ = write_line(&mut peer.write, &Order::Done).await;
    }
    if options.json {
        meeting.print_json();
    } else {
        meeting.print();
    }
    Ok(ExitCode::SUCCESS)
}

/// Accepts until `count` peers have said who they are.
async fn gather(
    listener: &TcpListener,
    count: u16,
    heard: &mpsc::Sender<Heard>,
    tasks: &mut JoinSet<()>,
) -> std::io::Result<Vec<Peer>> {
    let mut peers: Vec<Peer> = Vec::new();
    while peers.len() < usize::from(count) {
        let (stream, _) = listener.accept().await?;
        let (read, write) = stream.into_split();
        let mut read = BufReader::new(read);
        let hello = timeout(HELLO, read_line::<Report>(&mut read)).await;
        let Ok(Ok(Some(Report::Hello { name, kind }))) = hello else { continue };
        say(format_args!("{name} is here ({kind})"));
        tasks.spawn(listen(peers.len(), read, heard.clone()));
        peers.push(Peer { name, kind, write });
    }
    Ok(peers)
}

/// Hands on what a peer says, until it goes.
async fn listen(peer: usize, mut read: BufReader<OwnedReadHalf>, heard: mpsc::Sender<Heard>) {
    loop {
        let report = read_line(&mut read).await.unwrap_or_default();
        let gone = report.is_none();
        if heard.send((peer, report)).await.is_err() || gone {
            return;
        }
    }
}

/// One pair for each two kinds, kinds with themselves included where two peers are of one.
fn plan(peers: &[Peer]) -> Vec<Attempt> {
    let mut seen = BTreeSet::new();
    let mut attempts = Vec::new();
    for (left, first) in peers.iter().enumerate() {
        for (right, second) in peers.iter().enumerate().skip(left + 1) {
            let mut kinds = [&first.kind, &second.kind];
            kinds.sort();
            if seen.insert(kinds) {
                attempts.extend(Over::ALL.map(|over| Attempt::new([left, right], over)));
            }
        }
    }
    attempts
}

impl Attempt {
    const fn new(pair: [usize; 2], over: Over) -> Self {
        let (ready, ended) = ([None; 2], [None; 2]);
        Self { pair, over, ready, ended, begun: None, verdict: Verdict::Open }
    }

    /// Which side of it a peer is.
    fn side(&self, peer: usize) -> Option<usize> {
        self.pair.iter().position(|side| *side == peer)
    }

    /// What both reports together mean.
    fn judge(&mut self) {
        if self.verdict != Verdict::Open {
            return;
        }
        if let [Some(left), Some(right)] = self.ended {
            self.verdict = match (left, right) {
                (Some(left), Some(right)) => {
                    Verdict::Direct { after_ms: left.after_ms.max(right.after_ms) }
                }
                _ => Verdict::NotDirect,
            };
        }
    }
}

/// All peers and all attempts.
struct Meeting {
    peers: Vec<Peer>,
    attempts: Vec<Attempt>,
    running: BTreeSet<usize>,
}

impl Meeting {
    /// Makes every attempt, `at_once` of them at a time.
    async fn hold(&mut self, at_once: usize, reports: &mut mpsc::Receiver<Heard>) {
        let mut waiting: VecDeque<usize> = (0..self.attempts.len()).collect();
        loop {
            while self.running.len() < at_once {
                let Some(number) = waiting.pop_front() else { break };
                self.begin(number).await;
            }
            let Some(oldest) = self.oldest() else { return };
            match timeout_at(oldest + PATIENCE, reports.recv()).await {
                Ok(Some((peer, Some(report)))) => self.on_report(peer, &report).await,
                Ok(Some((peer, None))) => self.on_gone(peer),
                Ok(None) => return,
                Err(_) => self.give_up(),
            }
            self.running.retain(|number| {
                self.attempts.get(*number).is_some_and(|attempt| attempt.verdict == Verdict::Open)
            });
        }
    }

    fn oldest(&self) -> Option<Instant> {
        let running = self.running.iter().filter_map(|number| self.attempts.get(*number));
        running.filter_map(|attempt| attempt.begun).min()
    }

    async fn begin(&mut self, number: usize) {
        let Some(attempt) = self.attempts.get_mut(number) else { return };
        attempt.begun = Some(Instant::now());
        let (pair, over) = (attempt.pair, attempt.over);
        self.running.insert(number);
        for (side, other) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            let with = self.peers.get(other).map(|peer| peer.name.clone()).unwrap_or_default();
            self.order(side, &Order::Prepare { attempt: wire(number), over, with }).await;
        }
    }

    /// Tells a peer; one that is gone is noticed by its reader.
    async fn order(&mut self, peer: usize, order: &Order) {
        if let Some(peer) = self.peers.get_mut(peer) {
            let _ = write_line(&mut peer.write, order).await;
        }
    }

    async fn on_report(&mut self, peer: usize, report: &Report) {
        match report {
            Report::Hello { .. } => {}
            Report::Ready { attempt, mapped } => self.on_ready(peer, *attempt, *mapped).await,
            Report::Ended { attempt, direct } => {
                let place = usize::try_from(*attempt).unwrap_or(usize::MAX);
                let Some(attempt) = self.attempts.get_mut(place) else { return };
                if let Some(side) = attempt.side(peer) {
                    attempt.ended[side] = Some(*direct);
                    attempt.judge();
                }
            }
        }
    }

    async fn on_ready(&mut self, peer: usize, number: u32, mapped: Option<SocketAddr>) {
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        let Some(attempt) = self.attempts.get_mut(place) else { return };
        let Some(side) = attempt.side(peer) else { return };
        attempt.ready[side] = Some(mapped);
        let pair = attempt.pair;
        match attempt.ready {
            [Some(Some(left)), Some(Some(right))] => {
                for (side, remote) in [(pair[0], right), (pair[1], left)] {
                    self.order(side, &Order::Punch { attempt: number, remote }).await;
                }
            }
            [Some(_), Some(_)] => {
                attempt.verdict = Verdict::Blocked;
                for side in pair {
                    self.order(side, &Order::Forget { attempt: number }).await;
                }
            }
            [None, _] | [_, None] => {}
        }
    }

    /// A peer that went reaches nobody.
    fn on_gone(&mut self, peer: usize) {
        for attempt in &mut self.attempts {
            if let Some(side) = attempt.side(peer) {
                attempt.ended = [attempt.ended[0].or(Some(None)), attempt.ended[1].or(Some(None))];
                attempt.ready[side] = Some(None);
                attempt.judge();
            }
        }
    }

    fn give_up(&mut self) {
        for number in &self.running {
            if let Some(attempt) = self.attempts.get_mut(*number) {
                attempt.verdict = Verdict::NotDirect;
            }
        }
    }

    /// The verdicts by kinds and protocol.
    fn cells(&self) -> BTreeMap<(&str, &str, Over), Verdict> {
        let mut cells = BTreeMap::new();
        for attempt in &self.attempts {
            let kind = |side: usize| {
                self.peers.get(attempt.pair[side]).map_or("", |peer| peer.kind.as_str())
            };
            cells.insert((kind(0), kind(1), attempt.over), attempt.verdict);
            cells.insert((kind(1), kind(0), attempt.over), attempt.verdict);
        }
        cells
    }

    fn print(&self) {
        let cells = self.cells();
        let mut kinds: Vec<&str> = cells.keys().map(|(kind, _, _)| *kind).collect();
        kinds.dedup();
        // Who reaches most comes first.
        let reached = |kind: &str| {
            let mine = cells.iter().filter(|((left, _, _), _)| *left == kind);
            mine.filter(|(_, verdict)| matches!(verdict, Verdict::Direct { .. })).count()
        };
        kinds.sort_by_key(|kind| (std::cmp::Reverse(reached(kind)), *kind != "open", *kind));
        say("direct connections, UDP/TCP (- means that one side has no way out at all):");
        for line in table(&kinds, &cells) {
            say(line);
        }
    }

    fn print_json(&self) {
        for attempt in &self.attempts {
            let name = |side: usize| self.peers.get(attempt.pair[side]).map(|peer| &peer.name);
            let kind = |side: usize| self.peers.get(attempt.pair[side]).map(|peer| &peer.kind);
            let after = match attempt.verdict {
                Verdict::Direct { after_ms } => Some(after_ms),
                Verdict::Open | Verdict::NotDirect | Verdict::Blocked => None,
            };
            say(serde_json::json!({
                "peers": [name(0), name(1)],
                "kinds": [kind(0), kind(1)],
                "over": attempt.over,
                "direct": after.is_some(),
                "blocked": attempt.verdict == Verdict::Blocked,
                "after_ms": after,
            }));
        }
    }
}

fn wire(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Lines of a table: a row and a column a kind, the lower triangle left blank.
fn table(kinds: &[&str], cells: &BTreeMap<(&str, &str, Over), Verdict>) -> Vec<String> {
    let first = kinds.iter().map(|kind| kind.len()).max().unwrap_or_default();
    let width = |kind: &str| kind.len().max("yes/yes".len());
    let head = kinds.iter().map(|kind| format!("{kind:>width$}", width = width(kind)));
    let mut lines = vec![format!("{:first$}  {}", "", head.collect::<Vec<_>>().join("  "))];
    for (row, left) in kinds.iter().enumerate() {
        let cell = |(column, right): (usize, &&str)| {
            let word = |over| cells.get(&(*left, *right, over)).map_or("", |v| v.word());
            let (udp, tcp) = (word(Over::Udp), word(Over::Tcp));
            let blank = column < row || (udp.is_empty() && tcp.is_empty());
            let text = if blank { String::new() } else { format!("{udp}/{tcp}") };
            format!("{text:>width$}", width = width(right))
        };
        let row = kinds.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ");
        lines.push(format!("{left:first$}  {row}").trim_end().to_owned());
    }
    lines
}

/// Where STUN is, of a meeting place at `address` and `port`.
pub(super) const fn stun_of(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port.wrapping_add(1))
}

/// Where a meeting place is if nothing else is said.
pub(super) const PORT: u16 = rendezvous::PORT;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_each_pair_once() {
        let yes = Verdict::Direct { after_ms: 5 };
        let mut cells = BTreeMap::new();
        for (left, right, udp, tcp) in [
            ("open", "open", yes, yes),
            ("open", "symmetric", yes, Verdict::NotDirect),
            ("symmetric", "open", yes, Verdict::NotDirect),
            ("symmetric", "symmetric", Verdict::NotDirect, Verdict::Blocked),
        ] {
            cells.insert((left, right, Over::Udp), udp);
            cells.insert((left, right, Over::Tcp), tcp);
        }
        assert_eq!(
            table(&["open", "symmetric"], &cells),
            [
                "              open  symmetric",
                "open       yes/yes     yes/no",
                "symmetric                no/-",
            ]
        );
    }

    #[test]
    fn a_connection_is_direct_when_both_sides_say_so() {
        let direct = Some(Direct { after_ms: 3, remote: SocketAddr::from(([1, 2, 3, 4], 5)) });
        for (ended, verdict) in [
            ([Some(direct), None], Verdict::Open),
            ([Some(direct), Some(None)], Verdict::NotDirect),
            ([Some(direct), Some(direct)], Verdict::Direct { after_ms: 3 }),
        ] {
            let mut attempt = Attempt::new([0, 1], Over::Udp);
            attempt.ended = ended;
            attempt.judge();
            assert_eq!(attempt.verdict, verdict);
        }
    }
}
