//! Plays one thing after the other into a sink, on a thread of its own, and obeys.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use thiserror::Error;

use crate::{
    DecodeError, Decoder, FRAME, Info, OpenError, Sink, Source, SourceError, duration_of, mix,
};

/// Orders that wait for the thread.
const ORDERS_MAX: usize = 64;
/// Things that wait to be played.
const QUEUE_MAX: usize = 1000;
/// Samples of a channel between two reports of the position: half a second.
const REPORT_EVERY: u64 = 24_000;

/// Something that can be played: a source that may be able to seek.
pub trait Track: Source {
    /// What is known of it.
    fn info(&self) -> Info;

    /// Where the next sample belongs.
    fn position(&self) -> Duration;

    /// Goes to a place, and says where that is.
    ///
    /// # Errors
    /// [`DecodeError::Seek`] where it cannot.
    fn seek(&mut self, to: Duration) -> Result<Duration, DecodeError>;
}

impl Track for Decoder {
    fn info(&self) -> Info {
        Self::info(self).clone()
    }

    fn position(&self) -> Duration {
        Self::position(self)
    }

    fn seek(&mut self, to: Duration) -> Result<Duration, DecodeError> {
        Self::seek(self, to)
    }
}

/// A source that cannot seek, as a track.
pub struct Endless {
    source: Box<dyn Source>,
    given: u64,
}

impl Endless {
    /// Makes a track of any source.
    #[must_use]
    pub fn new(source: Box<dyn Source>) -> Self {
        Self { source, given: 0 }
    }
}

impl fmt::Debug for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endless").field("given", &self.given).finish_non_exhaustive()
    }
}

impl Source for Endless {
    fn channels(&self) -> u16 {
        self.source.channels()
    }

    fn read(&mut self, out: &mut [f32]) -> Result<usize, SourceError> {
        let count = self.source.read(out)?;
        self.given += count as u64 / u64::from(self.channels().max(1));
        Ok(count)
    }
}

impl Track for Endless {
    fn info(&self) -> Info {
        let mut info = Info::default();
        (info.rate, info.channels, info.codec) = (crate::RATE, self.channels(), "pcm");
        info
    }

    fn position(&self) -> Duration {
        duration_of(self.given)
    }

    fn seek(&mut self, to: Duration) -> Result<Duration, DecodeError> {
        Err(DecodeError::Seek { to, why: "it comes as it is made".into() })
    }
}

/// Says that an order waits: who blocks on behalf of a player returns
/// [`WouldBlock`](std::io::ErrorKind::WouldBlock) then.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Whether an order waits.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// How a thing to be played is opened, on the player's thread.
pub type Open = Box<dyn FnOnce(&Interrupt) -> Result<Box<dyn Track>, OpenError> + Send>;

/// Something to be played.
pub struct Item {
    /// What it is called in reports.
    pub name: String,
    /// Opens it, when its turn has come.
    pub open: Open,
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a player tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The turn of a thing has come, and it is being opened.
    Opening {
        /// Which.
        name: String,
    },
    /// It plays.
    Started {
        /// Which.
        name: String,
        /// What it says of itself.
        info: Info,
    },
    /// How far it has come, about twice a second of sound.
    Position {
        /// What is heard now.
        at: Duration,
    },
    /// It was stopped for now.
    Paused {
        /// Where.
        at: Duration,
    },
    /// It goes on.
    Resumed {
        /// Where.
        at: Duration,
    },
    /// It goes on from another place.
    Sought {
        /// Where.
        at: Duration,
    },
    /// An order could not be followed.
    Refused {
        /// Why.
        reason: String,
    },
    /// It was played to its end, or the next one was ordered.
    Ended {
        /// Which.
        name: String,
        /// How far it had come.
        at: Duration,
    },
    /// It cannot be played (any further).
    Failed {
        /// Which.
        name: String,
        /// Why.
        reason: String,
    },
    /// Nothing waits any more, and everything was heard; the last report.
    Over {
        /// Why it could not go on, if that is so.
        failure: Option<String>,
    },
}

/// Why an order does not reach a player.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OrderError {
    /// It has come to its end.
    #[error("nothing is being played")]
    Over,
    /// Too many orders wait.
    #[error("too many orders wait; try again")]
    Busy,
}

enum Order {
    Enqueue(Item),
    Pause,
    Resume,
    Seek(Duration),
    Next,
    Stop,
}

/// Plays what is enqueued, without a gap between, until nothing waits any more.
///
/// Dropping it stops it and waits for its thread.
pub struct Player {
    orders: SyncSender<Order>,
    interrupt: Interrupt,
    opening: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Player {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Player").finish_non_exhaustive()
    }
}

impl Player {
    /// Opens a sink and plays `items` into it. `report` is called on the player's thread, and what
    /// blocks there holds up the sound.
    pub fn start(
        sink: impl FnOnce() -> Result<Box<dyn Sink>, OpenError> + Send + 'static,
        items: Vec<Item>,
        report: impl FnMut(Report) + Send + 'static,
    ) -> Self {
        let (orders, received) = sync_channel(ORDERS_MAX);
        let interrupt = Interrupt::default();
        let heard = interrupt.clone();
        let opening = Arc::new(AtomicBool::new(true));
        let opens = Arc::clone(&opening);
        let thread = thread::spawn(move || {
            let mut report = report;
            let failure = match sink() {
                Ok(sink) => {
                    let queue = VecDeque::from(items);
                    let report = &mut report;
                    Work { orders: received, interrupt: heard, opening: opens, report, queue }
                        .run(sink)
                        .err()
                }
                Err(error) => Some(error.to_string()),
            };
            report(Report::Over { failure });
        });
        Self { orders, interrupt, opening, thread: Some(thread) }
    }

    /// Plays that too, behind what waits already.
    ///
    /// # Errors
    /// [`OrderError::Over`]: start another player.
    pub fn enqueue(&self, item: Item) -> Result<(), OrderError> {
        self.order(Order::Enqueue(item))
    }

    /// Stops for now.
    ///
    /// # Errors
    /// [`OrderError`].
    pub fn pause(&self) -> Result<(), OrderError> {
        self.order(Order::Pause)
    }

    /// Goes on after [`Self::pause`].
    ///
    /// # Errors
    /// [`OrderError`].
    pub fn resume(&self) -> Result<(), OrderError> {
        self.order(Order::Resume)
    }

    /// Goes on from another place.
    ///
    /// # Errors
    /// [`OrderError`].
    pub fn seek(&self, to: Duration) -> Result<(), OrderError> {
        // What is still being opened is opened first.
        match self.opening.load(Ordering::Acquire) {
            true => self.order(Order::Seek(to)),
            false => self.urgent(Order::Seek(to)),
        }
    }

    /// Plays the next thing now.
    ///
    /// # Errors
    /// [`OrderError`].
    pub fn next(&self) -> Result<(), OrderError> {
        self.urgent(Order::Next)
    }

    /// Stops for good.
    ///
    /// # Errors
    /// [`OrderError::Over`]: it has stopped already.
    pub fn stop(&self) -> Result<(), OrderError> {
        self.urgent(Order::Stop)
    }

    /// Whether it has come to its end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn urgent(&self, order: Order) -> Result<(), OrderError> {
        let given = self.order(order);
        self.interrupt.set();
        given
    }

    fn order(&self, order: Order) -> Result<(), OrderError> {
        use std::sync::mpsc::TrySendError;

        self.orders.try_send(order).map_err(|error| match error {
            TrySendError::Full(_) => OrderError::Busy,
            TrySendError::Disconnected(_) => OrderError::Over,
        })
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // Where it is busy, the end of its orders is as good.
        let _ = self.urgent(Order::Stop);
        let (closed, _) = sync_channel(1);
        self.orders = closed;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's side.
struct Work<'a> {
    orders: Receiver<Order>,
    interrupt: Interrupt,
    /// Something is being opened.
    opening: Arc<AtomicBool>,
    report: &'a mut dyn FnMut(Report),
    queue: VecDeque<Item>,
}

/// What becomes of the thing that plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Plays,
    Paused,
    Skipped,
    Stopped,
}

impl Work<'_> {
    fn run(mut self, mut sink: Box<dyn Sink>) -> Result<(), String> {
        let mut failure = None;
        loop {
            // What was ordered while the last one ended.
            if self.obey_between() == Fate::Stopped {
                break;
            }
            let Some(item) = self.queue.pop_front() else { break };
            (self.report)(Report::Opening { name: item.name.clone() });
            self.opening.store(true, Ordering::Release);
            let opened = (item.open)(&self.interrupt);
            self.opening.store(false, Ordering::Release);
            match opened {
                Ok(track) => {
                    let info = track.info();
                    (self.report)(Report::Started { name: item.name.clone(), info });
                    if self.play(track, &item.name, &mut *sink)? == Fate::Stopped {
                        break;
                    }
                }
                Err(_) if self.interrupt.is_set() => {
                    (self.report)(Report::Ended { name: item.name, at: Duration::ZERO });
                }
                Err(error) => {
                    let reason = error.to_string();
                    failure = Some(reason.clone());
                    (self.report)(Report::Failed { name: item.name, reason });
                }
            }
        }
        sink.finish().map_err(|error| error.to_string())?;
        failure.map_or(Ok(()), Err)
    }

    /// Plays one track to its end or until it is told otherwise.
    fn play(
        &mut self,
        mut track: Box<dyn Track>,
        name: &str,
        sink: &mut dyn Sink,
    ) -> Result<Fate, String> {
        let (from, to) = (track.channels(), sink.channels());
        let mut samples = vec![0.0; FRAME * usize::from(from)];
        let mut mixed = Vec::new();
        let (mut fate, mut since) = (Fate::Plays, 0_u64);
        loop {
            fate = self.obey(fate, &mut *track, sink)?;
            if matches!(fate, Fate::Skipped | Fate::Stopped) {
                break;
            }
            let count = match track.read(&mut samples) {
                Ok(0) => break,
                Ok(count) => count,
                // It was blocked; the order is what counts.
                Err(_) if self.interrupt.is_set() => continue,
                Err(error) => {
                    let reason = error.to_string();
                    (self.report)(Report::Failed { name: name.to_owned(), reason });
                    return Ok(fate);
                }
            };
            mixed.clear();
            mix(samples.get(..count).unwrap_or_default(), from, to, &mut mixed);
            sink.write(&mixed).map_err(|error| error.to_string())?;
            since += count as u64 / u64::from(from.max(1));
            if since >= REPORT_EVERY {
                since = 0;
                (self.report)(Report::Position { at: heard(&*track, sink) });
            }
        }
        (self.report)(Report::Ended { name: name.to_owned(), at: track.position() });
        Ok(fate)
    }

    /// Follows the orders that have come; while paused, waits for more.
    fn obey(
        &mut self,
        mut fate: Fate,
        track: &mut dyn Track,
        sink: &mut dyn Sink,
    ) -> Result<Fate, String> {
        loop {
            let order = match self.order(fate) {
                Some(order) => order,
                None => return Ok(fate),
            };
            match order {
                Order::Enqueue(item) => self.enqueue(item),
                Order::Pause if fate == Fate::Plays => {
                    fate = Fate::Paused;
                    (self.report)(Report::Paused { at: heard(track, sink) });
                }
                Order::Resume if fate == Fate::Paused => {
                    fate = Fate::Plays;
                    (self.report)(Report::Resumed { at: track.position() });
                }
                Order::Pause | Order::Resume => {}
                Order::Seek(to) => self.seek(to, track, sink)?,
                Order::Next => return Ok(Fate::Skipped),
                Order::Stop => return Ok(Fate::Stopped),
            }
        }
    }

    fn seek(
        &mut self,
        to: Duration,
        track: &mut dyn Track,
        sink: &mut dyn Sink,
    ) -> Result<(), String> {
        match track.seek(to) {
            Ok(at) => {
                sink.flush().map_err(|error| error.to_string())?;
                (self.report)(Report::Sought { at });
            }
            // Blocked, and another order has come: that may be the next place.
            Err(_) if self.interrupt.is_set() => {}
            Err(error) => (self.report)(Report::Refused { reason: error.to_string() }),
        }
        Ok(())
    }

    /// The next order; one that is paused waits for it.
    fn order(&mut self, fate: Fate) -> Option<Order> {
        // Cleared first: an order that comes from now on sets it again.
        self.interrupt.clear();
        match fate {
            Fate::Paused => Some(self.orders.recv().unwrap_or(Order::Stop)),
            Fate::Plays | Fate::Skipped | Fate::Stopped => match self.orders.try_recv() {
                Ok(order) => Some(order),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => Some(Order::Stop),
            },
        }
    }

    /// Orders that have come where nothing plays.
    fn obey_between(&mut self) -> Fate {
        while let Some(order) = self.order(Fate::Plays) {
            match order {
                Order::Enqueue(item) => self.enqueue(item),
                Order::Stop => return Fate::Stopped,
                Order::Pause | Order::Resume | Order::Seek(_) | Order::Next => {}
            }
        }
        Fate::Plays
    }

    fn enqueue(&mut self, item: Item) {
        if self.queue.len() < QUEUE_MAX {
            self.queue.push_back(item);
        } else {
            let reason = format!("at most {QUEUE_MAX} things wait to be played");
            (self.report)(Report::Refused { reason });
        }
    }
}

/// What is heard now is behind what was written.
fn heard(track: &dyn Track, sink: &dyn Sink) -> Duration {
    track.position().saturating_sub(sink.delay())
}
