//! One plays, several listen: the host's side. Everybody who listens gets the same frame at the
//! same time, whenever they came.

use std::sync::Arc;

use portolan_live::FRAME;
use portolan_media::{OpenError, Source};
use tokio::{
    sync::{mpsc, watch},
    time::{Duration, Instant, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Switch,
    sound::{Fed, Feed, LAG, Speed},
};

/// Frames that one listener's sender may not have taken yet.
const AHEAD: usize = 8;
/// Orders that may not have been carried out yet.
const ORDERS_MAX: usize = 16;
/// Channels that are played.
pub(crate) const CHANNELS: u16 = 2;

/// Opens what is played at a place in it.
type Open = Arc<dyn Fn(Duration) -> Result<Box<dyn Source>, OpenError> + Send + Sync>;

/// 20 ms of what is played.
#[derive(Debug, Clone)]
pub(crate) struct StageFrame {
    /// When it is played out.
    pub(crate) at: Instant,
    /// Where it is in what is played.
    pub(crate) position: Duration,
    /// The sound; `None` in a pause.
    pub(crate) pcm: Option<Arc<[f32]>>,
}

pub(crate) enum Order {
    Seat(mpsc::Sender<StageFrame>),
    Pause(Switch),
    Seek(Duration),
}

/// Something that is played to others at the same time. They are invited with
/// [`Peer::invite_to_listen`](crate::Peer::invite_to_listen), early or late; dropped, it ends for
/// all of them.
#[derive(Debug)]
pub struct Stage {
    title: String,
    duration: Option<Duration>,
    orders: mpsc::Sender<Order>,
    position: watch::Receiver<Duration>,
    _task: AbortOnDropHandle<()>,
}

impl Stage {
    /// Plays from the beginning, as `open` opens it; at its end it ends for all.
    #[must_use]
    pub fn start(
        title: &str,
        duration: Option<Duration>,
        open: impl Fn(Duration) -> Result<Box<dyn Source>, OpenError> + Send + Sync + 'static,
    ) -> Self {
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        let (position_in, position) = watch::channel(Duration::ZERO);
        let task = StageTask::new(Arc::new(open), taken, position_in);
        let task = AbortOnDropHandle::new(tokio::spawn(task.run()));
        Self { title: title.to_owned(), duration, orders, position, _task: task }
    }

    /// What is played, in words.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// How long it is, if that is known.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        self.duration
    }

    /// Where it is now.
    #[must_use]
    pub fn position(&self) -> Duration {
        *self.position.borrow()
    }

    /// Pauses for all, or goes on. Cancel safe.
    pub async fn pause(&self, on: Switch) {
        let _ = self.orders.send(Order::Pause(on)).await;
    }

    /// Goes on from there for all. Cancel safe.
    pub async fn seek(&self, to: Duration) {
        let _ = self.orders.send(Order::Seek(to)).await;
    }

    /// Waits until it has ended. Cancel safe.
    pub async fn ended(&self) {
        self.orders.closed().await;
    }

    /// Where listeners come in.
    pub(crate) fn door(&self) -> Door {
        Door(self.orders.clone())
    }
}

/// Where the listeners of a [`Stage`] come in.
#[derive(Debug, Clone)]
pub(crate) struct Door(mpsc::Sender<Order>);

impl Door {
    /// A place for one more listener; it ends with the stage.
    pub(crate) fn seat(&self) -> mpsc::Receiver<StageFrame> {
        let (seat, frames) = mpsc::channel(AHEAD);
        // Where there is no room for the order, the seat has ended from the beginning.
        let _ = self.0.try_send(Order::Seat(seat));
        frames
    }
}

struct StageTask {
    open: Open,
    feed: Feed,
    orders: mpsc::Receiver<Order>,
    seats: Vec<mpsc::Sender<StageFrame>>,
    position: Duration,
    shown: watch::Sender<Duration>,
    is_paused: bool,
}

impl StageTask {
    fn new(open: Open, orders: mpsc::Receiver<Order>, shown: watch::Sender<Duration>) -> Self {
        let feed = feed_from(&open, Duration::ZERO);
        let (seats, position, is_paused) = (Vec::new(), Duration::ZERO, false);
        Self { open, feed, orders, seats, position, shown, is_paused }
    }

    async fn run(mut self) {
        let mut next = Instant::now();
        loop {
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.on_order(order),
                    None => return,
                },
                () = sleep_until(next) => {
                    if !self.play(next) {
                        break;
                    }
                    next += FRAME;
                }
            }
        }
        // The last of it is still to be heard.
        tokio::time::sleep(LAG).await;
    }

    fn on_order(&mut self, order: Order) {
        match order {
            Order::Seat(seat) => self.seats.push(seat),
            Order::Pause(on) => self.is_paused = on.is_on(),
            Order::Seek(to) => {
                self.feed = feed_from(&self.open, to);
                self.position = to;
            }
        }
    }

    /// Gives everybody 20 ms; `false`: it has ended.
    fn play(&mut self, at: Instant) -> bool {
        let mut pcm = None;
        if !self.is_paused && !self.seats.is_empty() {
            match self.feed.take() {
                Fed::Frame(frame) => {
                    pcm = Some(Arc::from(frame.as_slice()));
                    self.feed.give_back(frame);
                }
                Fed::Nothing => {}
                Fed::Ended(why) => {
                    if let Some(why) = why {
                        tracing::warn!(why, "what was played together has broken off");
                    }
                    return false;
                }
            }
        }
        let frame = StageFrame { at, position: self.position, pcm };
        self.seats.retain(|seat| {
            !matches!(seat.try_send(frame.clone()), Err(mpsc::error::TrySendError::Closed(_)))
        });
        if frame.pcm.is_some() {
            self.position += FRAME;
        }
        self.shown.send_replace(self.position);
        true
    }
}

fn feed_from(open: &Open, from: Duration) -> Feed {
    let open = Arc::clone(open);
    Feed::start(move || open(from), Speed::Ours, CHANNELS)
}
