//! A link while its text is being read: what was given, over what it began as.

use std::time::Duration;

use crate::{
    Discipline, Link, Loss, Order, Queue, Rate, Reorder,
    queue::bytes_for,
    suggest::Suggestion,
    topology::Duplex,
    units::{self, Amount},
};

/// The longest packet of a link that says nothing else: Ethernet's.
pub(crate) const MTU: u32 = 1_500;
/// The queue of a rate that says nothing else.
const QUEUE: Amount = Amount::Time(Duration::from_millis(100));
/// How long packets are held back where only a share was given.
const HOLD: Duration = Duration::from_millis(10);

/// One thing that can be said about a link.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    expected: &'static str,
    set: fn(&mut Draft, &str) -> Option<()>,
}

impl Parameter {
    const fn new(
        name: &'static str,
        expected: &'static str,
        set: fn(&mut Draft, &str) -> Option<()>,
    ) -> Self {
        Self { name, expected, set }
    }
}

/// Everything that can be said about a link.
pub(crate) const PARAMETERS: &[Parameter] = &[
    Parameter::new("delay", TIME, |draft, text| put(&mut draft.link.delay, units::time(text))),
    Parameter::new("jitter", TIME, |draft, text| put(&mut draft.link.jitter, units::time(text))),
    Parameter::new("order", "\"kept\" or \"free\"", |draft, text| {
        put(&mut draft.link.order, order(text))
    }),
    Parameter::new("rate", RATE, |draft, text| set(&mut draft.rate, limit(text, units::rate))),
    Parameter::new("queue", AMOUNT, |draft, text| set(&mut draft.queue, units::amount(text))),
    Parameter::new("discipline", "\"drop-tail\" or \"codel\"", |draft, text| {
        set(&mut draft.discipline, discipline(text))
    }),
    Parameter::new("target", TIME, |draft, text| set(&mut draft.target, units::time(text))),
    Parameter::new("interval", TIME, |draft, text| set(&mut draft.interval, units::time(text))),
    Parameter::new("ecn", THRESHOLD, |draft, text| set(&mut draft.ecn, limit(text, units::amount))),
    Parameter::new("loss", SHARE, |draft, text| set(&mut draft.loss, units::share(text))),
    Parameter::new("burst", "a mean length in packets such as \"4\"", |draft, text| {
        set(&mut draft.burst, units::count(text))
    }),
    Parameter::new("reorder", SHARE, |draft, text| set(&mut draft.reorder, units::share(text))),
    Parameter::new("hold", TIME, |draft, text| set(&mut draft.hold, units::time(text))),
    Parameter::new("duplicate", SHARE, |draft, text| {
        put(&mut draft.link.duplicate, units::share(text))
    }),
    Parameter::new("corrupt", SHARE, |draft, text| {
        put(&mut draft.link.corrupt, units::share(text))
    }),
    Parameter::new("mtu", "a size from 68 bytes such as \"1400\"", |draft, text| {
        put(&mut draft.link.mtu, mtu(text))
    }),
];

const TIME: &str = "a time of at most a day, such as \"25ms\" or \"1.5s\"";
const RATE: &str = "bits a second such as \"100Mbit\", at most 1000Gbit, or \"unlimited\"";
const AMOUNT: &str = "a time such as \"100ms\" or a size such as \"64KiB\"";
const THRESHOLD: &str = "a time such as \"10ms\", a size such as \"30KiB\", or \"off\"";
const SHARE: &str = "a share from \"0%\" to \"100%\"";

/// Which direction something is said about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Both,
    Up,
    Down,
}

/// What is wrong with something that was said about a link.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    /// Nothing of this name can be said.
    UnknownKey(Suggestion),
    /// Not such a value; this is what can be there.
    Value(&'static str),
}

/// Things said about a link that do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Something means nothing alone.
    #[error("\"{key}\" means nothing without \"{other}\": add that, or leave out \"{key}\"")]
    Needs {
        /// What.
        key: &'static str,
        /// What it needs.
        other: &'static str,
    },
    /// So much loss cannot come in such short bursts.
    #[error(
        "so much loss cannot come in such short bursts: give a longer \"burst\" or less \"loss\" (a burst has at least loss / (1 - loss) packets)"
    )]
    ShortBurst,
}

/// Both directions.
#[derive(Debug, Clone)]
pub(crate) struct DuplexDraft {
    up: Draft,
    down: Draft,
}

impl DuplexDraft {
    /// Nothing said yet.
    pub(crate) fn new() -> Self {
        Self::over(Duplex::PERFECT)
    }

    /// Changes of this.
    pub(crate) fn over(base: Duplex) -> Self {
        Self { up: Draft::over(base.up), down: Draft::over(base.down) }
    }

    /// Takes what is said about one parameter.
    pub(crate) fn set(
        &mut self,
        direction: Direction,
        key: &str,
        value: &str,
    ) -> Result<(), Fault> {
        let drafts = match direction {
            Direction::Both => [Some(&mut self.up), Some(&mut self.down)],
            Direction::Up => [Some(&mut self.up), None],
            Direction::Down => [None, Some(&mut self.down)],
        };
        drafts.into_iter().flatten().try_for_each(|draft| draft.set(key, value))
    }

    /// The links, when all that was said fits together.
    pub(crate) fn finish(&self) -> Result<Duplex, Misfit> {
        Ok(Duplex { up: self.up.finish()?, down: self.down.finish()? })
    }
}

/// One direction.
#[derive(Debug, Clone, Default)]
struct Draft {
    link: Link,
    rate: Option<Option<u64>>,
    queue: Option<Amount>,
    discipline: Option<Discipline>,
    target: Option<Duration>,
    interval: Option<Duration>,
    ecn: Option<Option<Amount>>,
    loss: Option<f64>,
    burst: Option<f64>,
    reorder: Option<f64>,
    hold: Option<Duration>,
}

impl Draft {
    fn over(link: Link) -> Self {
        Self { link, ..Self::default() }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Fault> {
        let Some(parameter) = PARAMETERS.iter().find(|parameter| parameter.name == key) else {
            let known = PARAMETERS.iter().map(|parameter| parameter.name);
            return Err(Fault::UnknownKey(Suggestion::among(key, known)));
        };
        (parameter.set)(self, value).ok_or(Fault::Value(parameter.expected))
    }

    fn finish(&self) -> Result<Link, Misfit> {
        let rate = self.finish_rate()?;
        let loss = self.finish_loss()?;
        let reorder = self.finish_reorder()?;
        Ok(Link { rate, loss, reorder, ..self.link })
    }

    fn finish_rate(&self) -> Result<Option<Rate>, Misfit> {
        let base = self.link.rate;
        let Some(bits_per_second) = self.rate.unwrap_or(base.map(|rate| rate.bits_per_second))
        else {
            return self.nothing_about_queues().map(|()| None);
        };
        let discipline = self.finish_discipline(base.map(|base| base.queue.discipline))?;
        let (bytes, ecn_threshold) = self.lengths(bits_per_second);
        let queue = Queue { bytes, discipline, ecn_threshold };
        Ok(Some(Rate { bits_per_second, queue }))
    }

    /// The queue's bytes and how many of them mean marks. A change of the rate alone leaves both
    /// as long as they were in time.
    fn lengths(&self, bits_per_second: u64) -> (u32, Option<u32>) {
        let in_bytes = |amount| match amount {
            Amount::Bytes(bytes) => bytes,
            Amount::Time(time) => bytes_for(time, bits_per_second),
        };
        let scaled = |bytes: u32, old: u64| {
            let bytes = u128::from(bytes) * u128::from(bits_per_second) / u128::from(old.max(1));
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let base = self.link.rate.map(|rate| (rate.bits_per_second, rate.queue));
        let bytes = match (self.queue, base) {
            (Some(amount), _) => in_bytes(amount),
            (None, Some((old, queue))) => scaled(queue.bytes, old).max(MTU),
            (None, None) => in_bytes(QUEUE),
        };
        let before = base.and_then(|(old, queue)| Some(scaled(queue.ecn_threshold?, old)));
        (bytes, self.ecn.map_or(before, |given| given.map(in_bytes)))
    }

    /// Without a rate there is no queue.
    fn nothing_about_queues(&self) -> Result<(), Misfit> {
        let given = [
            ("queue", self.queue.is_some()),
            ("discipline", self.discipline.is_some()),
            ("target", self.target.is_some()),
            ("interval", self.interval.is_some()),
            ("ecn", self.ecn.flatten().is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((key, _)) => Err(Misfit::Needs { key, other: "rate" }),
            None => Ok(()),
        }
    }

    fn finish_discipline(&self, base: Option<Discipline>) -> Result<Discipline, Misfit> {
        match self.discipline.or(base).unwrap_or_default() {
            Discipline::DropTail => {
                let given = [("target", self.target), ("interval", self.interval)];
                match given.iter().find(|(_, time)| time.is_some()) {
                    Some((key, _)) => Err(Misfit::Needs { key, other: "discipline=codel" }),
                    None => Ok(Discipline::DropTail),
                }
            }
            Discipline::CoDel { target, interval } => Ok(Discipline::CoDel {
                target: self.target.unwrap_or(target),
                interval: self.interval.unwrap_or(interval),
            }),
        }
    }

    fn finish_loss(&self) -> Result<Loss, Misfit> {
        if self.loss.is_none() && self.burst.is_none() {
            return Ok(self.link.loss);
        }
        let (base_share, base_burst) = share_and_burst(self.link.loss);
        let share = self.loss.unwrap_or(base_share);
        if share == 0.0 {
            return match self.burst {
                Some(_) if self.loss.is_none() => {
                    Err(Misfit::Needs { key: "burst", other: "loss" })
                }
                Some(_) | None => Ok(Loss::None),
            };
        }
        let burst = self.burst.unwrap_or(base_burst);
        if burst <= 1.0 {
            return Ok(Loss::Random(share));
        }
        let end = 1.0 / burst;
        let begin = share * end / (1.0 - share);
        if begin > 1.0 {
            return Err(Misfit::ShortBurst);
        }
        Ok(Loss::Burst { begin, end, good: 0.0, bad: 1.0 })
    }

    fn finish_reorder(&self) -> Result<Option<Reorder>, Misfit> {
        let base = self.link.reorder;
        let Some(probability) = self.reorder.or(base.map(|base| base.probability)) else {
            return match self.hold {
                Some(_) => Err(Misfit::Needs { key: "hold", other: "reorder" }),
                None => Ok(None),
            };
        };
        let hold = self.hold.or(base.map(|base| base.hold)).unwrap_or(HOLD);
        Ok((probability > 0.0).then_some(Reorder { probability, hold }))
    }
}

/// The share lost, and the mean length of a burst.
fn share_and_burst(loss: Loss) -> (f64, f64) {
    match loss {
        Loss::None => (0.0, 1.0),
        Loss::Random(share) => (share, 1.0),
        Loss::Burst { begin, end, good, bad } => {
            let time_bad = if begin + end > 0.0 { begin / (begin + end) } else { 0.0 };
            let length = if end > 0.0 { 1.0 / end } else { 1.0 };
            (time_bad * bad + (1.0 - time_bad) * good, length)
        }
    }
}

fn put<T>(place: &mut T, value: Option<T>) -> Option<()> {
    *place = value?;
    Some(())
}

fn set<T>(place: &mut Option<T>, value: Option<T>) -> Option<()> {
    *place = Some(value?);
    Some(())
}

/// A value, or a word for none at all.
fn limit<T>(text: &str, read: fn(&str) -> Option<T>) -> Option<Option<T>> {
    match text.trim() {
        "unlimited" | "off" => Some(None),
        text => read(text).map(Some),
    }
}

fn order(text: &str) -> Option<Order> {
    match text.trim() {
        "kept" => Some(Order::Kept),
        "free" => Some(Order::Free),
        _ => None,
    }
}

fn discipline(text: &str) -> Option<Discipline> {
    match text.trim() {
        "drop-tail" => Some(Discipline::DropTail),
        "codel" => Some(Discipline::CODEL),
        _ => None,
    }
}

/// No link may be narrower than the least that every IPv4 router must carry (RFC 791 §3.2).
fn mtu(text: &str) -> Option<u32> {
    units::size(text).filter(|size| (68..=65_535).contains(size))
}
