//! One run, drawn from its seed: the network, the bounds, what both applications do, how it ends.

use std::{net::SocketAddr, time::Duration};

use portolan_mux::{Config, Priority, Side};
use portolan_netsim::{Link, Loss, Queue, Rate, Reorder};

use portolan_rudp::{Congestion, CookiePolicy};

use crate::{
    app::{Message, Script},
    chance::Chance,
    setup::Setup,
};

/// Everything about one run.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    /// From the client to the server, and back.
    pub(crate) links: [Link; 2],
    /// When both directions swallow everything, from the start, for five seconds.
    pub(crate) blackhole: Option<Duration>,
    /// When both directions carry no more than IPv6's least MTU, from the start.
    pub(crate) narrows: Option<Duration>,
    /// When the client's address changes, from the start.
    pub(crate) moves: Vec<Move>,
    /// Whether someone on the way adds packets of his own.
    pub(crate) is_attacked: bool,
    /// How client and server are set up.
    pub(crate) setups: [Setup; 2],
    /// What client and server do.
    pub(crate) scripts: [Script; 2],
    pub(crate) end: End,
}

/// A change of the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) after: Duration,
    /// Where it is seen then.
    pub(crate) seen_as: SocketAddr,
    pub(crate) cause: Cause,
}

/// Why an address changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A translator has lost its mapping: the client knows nothing of it.
    Translator,
    /// The client has gone to another network, and knows.
    Client,
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// This side closes when everything has arrived.
    Orderly(Side),
    /// This side closes after this time, whatever is under way.
    Abrupt(Side, Duration),
    /// This side falls silent after this time, as a killed process does.
    Vanish(Side, Duration),
}

pub(crate) const BLACKHOLE: Duration = Duration::from_secs(5);

/// IPv6's least, Ethernet's twice as often, jumbo frames.
const MTUS: [u32; 4] = [MTU_LEAST, 1_500, 1_500, 9_000];

pub(crate) const MTU_LEAST: u32 = 1_280;

impl Scenario {
    /// The run of this seed over links that lose this share of the packets.
    pub(crate) fn new(seed: u64, loss: f64) -> Self {
        let mut chance = Chance::new(seed, 1);
        let mut width = Chance::new(seed, 7);
        let mtu = MTUS[usize::try_from(width.within(0..=3)).unwrap_or_default()];
        let rtt = Duration::from_millis(10 * (1 << chance.within(0..=5))) + chance.millis(0..=80);
        let link = link(&mut chance, rtt / 2, loss);
        // Every other network is alike in both directions.
        let other = self::link(&mut chance, rtt / 2, loss);
        let back = if chance.one_in(2) { other } else { link };
        Self {
            seed,
            links: [link, back].map(|link| Link { mtu, ..link }),
            blackhole: chance.one_in(4).then(|| chance.millis(0..=8_000)),
            narrows: width.one_in(4).then(|| width.millis(0..=4_000)),
            setups: [setup(&mut chance), setup(&mut chance)],
            moves: moves(&mut Chance::new(seed, 9)),
            is_attacked: Chance::new(seed, 4).one_in(5),
            scripts: [script(&mut Chance::new(seed, 2)), script(&mut Chance::new(seed, 3))],
            end: end(&mut Chance::new(seed, 5)),
        }
    }

    /// Streams that both sides open.
    pub(crate) fn streams(&self, side: Side) -> usize {
        self.scripts[side as usize].opens.len()
    }
}

fn link(chance: &mut Chance, delay: Duration, loss: f64) -> Link {
    let burst_end = 1.0 / chance.within(2..=4) as f64;
    let burst =
        Loss::Burst { begin: loss * burst_end / (1.0 - loss), end: burst_end, good: 0.0, bad: 1.0 };
    let reorder =
        Reorder { probability: chance.within(1..=20) as f64 / 100.0, hold: chance.millis(1..=60) };
    let rate = Rate {
        bits_per_second: 1_000_000 << chance.within(0..=6),
        queue: Queue::drop_tail(1_500 * u32::try_from(chance.within(10..=200)).unwrap_or(10)),
    };
    Link {
        delay,
        jitter: if chance.one_in(2) { chance.millis(0..=20) } else { Duration::ZERO },
        rate: chance.one_in(2).then_some(rate),
        loss: if chance.one_in(2) { burst } else { Loss::Random(loss) },
        reorder: chance.one_in(2).then_some(reorder),
        duplicate: if chance.one_in(2) { chance.within(0..=5) as f64 / 100.0 } else { 0.0 },
        corrupt: if chance.one_in(2) { chance.within(0..=20) as f64 / 1000.0 } else { 0.0 },
        mtu: 1_500,
        ..Link::default()
    }
}

/// Every third client moves, some more than once.
fn moves(chance: &mut Chance) -> Vec<Move> {
    if !chance.one_in(3) {
        return Vec::new();
    }
    let count = chance.within(1..=3);
    let mut moves: Vec<_> = (0..count).map(|number| a_move(chance, number)).collect();
    moves.sort_by_key(|a_move| a_move.after);
    moves
}

/// To an address that nobody had before: mostly only the port is another.
fn a_move(chance: &mut Chance, number: u64) -> Move {
    let after = chance.millis(0..=8_000);
    let port = 10_000 + u16::try_from(number).unwrap_or_default();
    let host = if chance.one_in(3) { [10, 9, 0, 1] } else { [10, 0, 0, 1] };
    let cause = if chance.one_in(3) { Cause::Client } else { Cause::Translator };
    Move { after, seen_as: (host, port).into(), cause }
}

fn setup(chance: &mut Chance) -> Setup {
    let usual = Setup::default();
    let algorithm = usize::try_from(chance.within(0..=2)).unwrap_or_default();
    Setup {
        cookies: if chance.one_in(2) { CookiePolicy::Always } else { usual.cookies },
        congestion: Congestion::ALL[algorithm],
        key_update_after: match chance.one_in(3) {
            true => chance.within(10..=300),
            false => usual.key_update_after,
        },
        bounds: bounds(chance),
    }
}

/// Mostly the usual ones, sometimes so tight that every limit is reached.
fn bounds(chance: &mut Chance) -> Config {
    if chance.one_in(3) {
        return Config {
            streams: 2,
            stream_window: 4_096,
            connection_window: 8_192,
            send_buffer: 8_192,
            datagram_queue: 4_096,
            ..Config::default()
        };
    }
    Config::default()
}

fn script(chance: &mut Chance) -> Script {
    let mut script = Script::default();
    let mut at = Duration::ZERO;
    for _ in 0..chance.within(0..=6) {
        at += pause(chance);
        let class = usize::try_from(chance.within(0..=3)).unwrap_or_default();
        script.opens.push_back((at, Priority::ALL[class]));
    }
    let mut at = chance.millis(0..=1_000);
    for _ in 0..chance.size(5) {
        at += chance.millis(1..=100);
        let lifetime = chance.one_in(2).then(|| chance.millis(20..=1_000));
        let size = usize::try_from(chance.within(4..=1_400)).unwrap_or(4);
        script.datagrams.push_back(Message { after: at, size, lifetime });
    }
    script
}

/// Mostly a moment, sometimes longer than heartbeats and time-outs take.
fn pause(chance: &mut Chance) -> Duration {
    match chance.within(1..=20) {
        1 => chance.millis(5_000..=30_000),
        2..=5 => chance.millis(100..=3_000),
        _ => chance.millis(0..=20),
    }
}

fn end(chance: &mut Chance) -> End {
    let side = side(chance);
    match chance.within(1..=20) {
        1 => End::Vanish(side, chance.millis(0..=4_000)),
        2..=4 => End::Abrupt(side, chance.millis(0..=4_000)),
        _ => End::Orderly(side),
    }
}

fn side(chance: &mut Chance) -> Side {
    if chance.one_in(2) { Side::Client } else { Side::Server }
}
