//! One lean client: a stream, a dialect, and what it was told to do.

use std::{any::Any, collections::HashMap, io, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    dialect::{Dialect, Gibberish, Heard, Target},
    ledger::{Fault, Ledger},
    pipe::{Pipe, READ_SIZE},
    stamp::Stamp,
    tally::{Counts, Tally, note},
};
use crate::bench::clock::shared_nanos;

/// A slow reader takes so many bytes …
const SLOW_READ: usize = 512;

/// … this often.
const SLOW_EVERY: Duration = Duration::from_millis(50);

/// What all clients of a fleet are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Listen only.
    Rest,
    /// Say something to everyone on the list, in turn.
    Say(Pace),
    /// Go.
    Leave,
}

/// How fast texts are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As fast as answers come, with so many unanswered.
    Window(usize),
    /// One each interval, whatever comes back.
    Every(Duration),
}

/// How a client treats what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Reads and confirms at once.
    Prompt,
    /// Never reads.
    Deaf,
    /// Reads a little now and then.
    Slow,
    /// Reads and never confirms.
    Mute,
}

/// What one client does in a load.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// To whom it speaks, in turn; to nobody if it is empty.
    pub(crate) script: Vec<Target>,
    /// Copies of each of its texts, where the server does not tell.
    pub(crate) copies: u64,
    /// How it treats what comes.
    pub(crate) habit: Habit,
}

impl Part {
    /// Who only listens.
    pub(crate) fn listener() -> Self {
        Self { script: Vec::new(), copies: 0, habit: Habit::Prompt }
    }

    /// Who speaks to these.
    pub(crate) fn speaker(script: Vec<Target>, copies: u64) -> Self {
        Self { script, copies, habit: Habit::Prompt }
    }
}

/// A client that has logged in and does nothing yet.
pub(crate) struct Member {
    pub(crate) pipe: Pipe,
    pub(crate) dialect: Box<dyn Dialect>,
    /// Lives as long as the client.
    pub(crate) _keep: Box<dyn Any + Send>,
}

/// Why a client is no more.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the stream failed: {0}")]
    Stream(#[from] io::Error),
    #[error("the server ended the stream")]
    Ended,
    #[error("the server sent it away: {0}")]
    SentAway(String),
    #[error(transparent)]
    Gibberish(#[from] Gibberish),
}

/// What a client knows of its fleet.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) tally: Arc<Tally>,
    pub(crate) orders: watch::Receiver<Order>,
    /// Bytes of a text.
    pub(crate) size: usize,
    /// Clients that speak.
    pub(crate) speakers: u32,
}

/// A client at work.
pub(crate) struct Client {
    number: u32,
    member: Member,
    part: Part,
    setting: Setting,
    ledger: Ledger,
    /// Texts without an answer, with the time of each.
    open: HashMap<u16, u64>,
    last_request: u16,
    said: u32,
    due: Option<Instant>,
    text: String,
    confirm: Vec<u64>,
}

impl Client {
    pub(crate) fn new(number: u32, member: Member, part: Part, setting: Setting) -> Self {
        Self {
            number,
            member,
            part,
            setting,
            ledger: Ledger::default(),
            open: HashMap::new(),
            last_request: 0,
            said: 0,
            due: None,
            text: String::new(),
            confirm: Vec::new(),
        }
    }

    /// Does what is ordered until it is told to go.
    pub(crate) async fn run(mut self) {
        if let Err(lost) = self.live().await
            && self.part.habit == Habit::Prompt
        {
            self.setting.tally.blame(&format_args!("client {} is gone: {lost}", self.number));
        }
    }

    async fn live(&mut self) -> Result<(), Lost> {
        let mut next_read = Instant::now();
        loop {
            let order = *self.setting.orders.borrow_and_update();
            match order {
                Order::Leave => return Ok(()),
                Order::Rest => self.due = None,
                Order::Say(pace) => self.keep_pace(pace),
            }
            let due = self.due;
            let slow_down = self.part.habit == Habit::Slow;
            let share = if slow_down { SLOW_READ } else { READ_SIZE };
            let Member { pipe, dialect, .. } = &mut self.member;
            let read = async {
                match self.part.habit {
                    Habit::Prompt | Habit::Mute => {}
                    Habit::Slow => sleep_until(next_read).await,
                    Habit::Deaf => {
                        pipe.flush().await?;
                        std::future::pending::<()>().await;
                    }
                }
                pipe.read(dialect.input(), share).await
            };
            tokio::select! {
                read = read => {
                    if read? == 0 {
                        return Err(Lost::Ended);
                    }
                    next_read = Instant::now() + SLOW_EVERY;
                    self.listen()?;
                }
                changed = self.setting.orders.changed() => if changed.is_err() { return Ok(()) },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    /// Says what is due.
    fn keep_pace(&mut self, pace: Pace) {
        if self.part.script.is_empty() {
            return;
        }
        match pace {
            Pace::Window(window) => {
                while self.open.len() < window {
                    self.say();
                }
            }
            Pace::Every(interval) => {
                let now = Instant::now();
                // The first ones are spread over an interval.
                let share = f64::from(self.number % self.setting.speakers.max(1))
                    / f64::from(self.setting.speakers.max(1));
                let mut due = self.due.unwrap_or(now + interval.mul_f64(share));
                while due <= now {
                    self.say();
                    due += interval;
                }
                self.due = Some(due);
            }
        }
    }

    fn say(&mut self) {
        let index = usize::try_from(self.said).unwrap_or_default() % self.part.script.len();
        let Some(to) = self.part.script.get(index) else { return };
        self.said += 1;
        let nanos = shared_nanos();
        let stamp = Stamp { sender: self.number, number: self.said, nanos };
        stamp.write(self.setting.size, &mut self.text);
        loop {
            self.last_request = self.last_request.checked_add(1).unwrap_or(1);
            if !self.open.contains_key(&self.last_request) {
                break;
            }
        }
        self.open.insert(self.last_request, nanos);
        let Member { pipe, dialect, .. } = &mut self.member;
        dialect.say(self.last_request, to, &self.text, &mut pipe.out);
        self.setting.tally.add_sent();
    }

    /// Takes everything that was heard, and confirms it.
    fn listen(&mut self) -> Result<(), Lost> {
        let now = shared_nanos();
        let tally = Arc::clone(&self.setting.tally);
        let mut latencies = tally.latencies(self.number);
        let mut heard_of = Counts::default();
        while let Some(heard) = self.member.dialect.hear()? {
            match heard {
                Heard::Stored { request, copies } => {
                    let Some(said) = self.close(request) else { continue };
                    heard_of.stored += 1;
                    heard_of.copies += copies.unwrap_or(self.part.copies);
                    if let Some(latencies) = &mut latencies {
                        note(&mut latencies.stored, now.saturating_sub(said));
                    }
                }
                Heard::Refused { request, why } => {
                    heard_of.refused += u64::from(self.close(request).is_some());
                    tally.note_refusal(why);
                }
                Heard::Text { id, text } => {
                    heard_of.delivered += 1;
                    self.confirm.push(id);
                    let stamp = Stamp::read(&text).ok_or(Fault::Foreign);
                    if let (Ok(stamp), Some(latencies)) = (&stamp, &mut latencies) {
                        note(&mut latencies.delivered, now.saturating_sub(stamp.nanos));
                    }
                    if let Err(fault) = stamp.and_then(|stamp| self.ledger.enter(&stamp)) {
                        tally.blame(&fault);
                    }
                }
                Heard::Closing(why) => return Err(Lost::SentAway(why)),
                Heard::Other => {}
            }
        }
        tally.add(heard_of);
        if self.part.habit != Habit::Mute && !self.confirm.is_empty() {
            let Member { pipe, dialect, .. } = &mut self.member;
            dialect.confirm(&self.confirm, &mut pipe.out);
        }
        self.confirm.clear();
        Ok(())
    }

    /// When the text was said that was answered for.
    fn close(&mut self, request: u64) -> Option<u64> {
        self.open.remove(&u16::try_from(request).ok()?)
    }
}
