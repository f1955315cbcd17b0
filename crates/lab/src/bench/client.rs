//! The asking side of a measurement: one visit of one subject in one round.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_identity::{Identity, PeerId};
use portolan_subject::{Client, Link, Stream, Traits};
use tokio::{io::AsyncWriteExt, sync::mpsc, time::timeout};

use crate::bench::{
    clock,
    control::{Control, Count},
    machine::Load,
    server,
    subjects::SubjectRef,
    wire::Request,
    workload::{Figures, Workload},
};

/// What a step may take beyond its time and its round trips.
const GRACE: Duration = Duration::from_secs(4);

/// Round trips that a step may take beyond its time: lost handshake packets are sent again.
const GRACE_ROUND_TRIPS: u32 = 20;

/// How long a server side may take to answer out of band.
const CONTROL_PATIENCE: Duration = Duration::from_secs(5);

/// After so many steps that hung, the rest of a visit is left out.
const HANGS_MAX: u32 = 2;

/// One workload and the time for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) workload: &'static dyn Workload,
    pub(crate) time: Duration,
}

impl Step {
    /// After this it is given up.
    fn patience(&self, round_trip: Duration) -> Duration {
        patience(self.time, round_trip) + self.workload.grace()
    }
}

/// News from a visit.
#[derive(Debug)]
pub(crate) enum News {
    /// It has begun, with this congestion control.
    Began { congestion_control: String },
    /// A step begins.
    Step { name: &'static str },
    /// A step has ended.
    Done { step: Step, outcome: Result<Figures, String> },
    /// All is done; whether the machine was disturbed.
    Over { doubt: Option<String> },
}

/// What the client side is told.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) subject: SubjectRef,
    pub(crate) local: SocketAddr,
    pub(crate) round_trip: Duration,
    /// When in their interval its live flows send.
    pub(crate) phase: Duration,
    pub(crate) steps: Vec<Step>,
    pub(crate) news: mpsc::Sender<News>,
}

/// The asking side of one subject: what workloads work with.
pub(crate) struct Bench {
    subject: SubjectRef,
    local: SocketAddr,
    server: SocketAddr,
    client: Box<dyn Client>,
    round_trip: Duration,
    phase: Duration,
    /// The line to the server beside the subject.
    pub(crate) control: Control,
}

/// A stream that has been asked for something.
pub(crate) struct Asked {
    pub(crate) stream: Stream,
    _link: Arc<dyn Link>,
}

impl Asked {
    /// A stream that somebody waits for.
    pub(crate) async fn prompt(link: Arc<dyn Link>, request: Request) -> io::Result<Self> {
        let stream = link.open().await?;
        Self { stream, _link: link }.asking(request).await
    }

    /// A stream that may wait for others.
    pub(crate) async fn bulk(link: Arc<dyn Link>, request: Request) -> io::Result<Self> {
        let stream = link.open_bulk().await?;
        Self { stream, _link: link }.asking(request).await
    }

    async fn asking(mut self, request: Request) -> io::Result<Self> {
        self.stream.write.write_all(&[request.code()]).await?;
        if request == Request::Source {
            self.stream.write.flush().await?;
        }
        Ok(self)
    }
}

impl Bench {
    async fn new(errand: &Errand, mut control: Control) -> io::Result<Self> {
        let server = control.ready().await?;
        let client = errand.subject.client(errand.local, client_identity()).await?;
        Ok(Self {
            subject: errand.subject,
            local: errand.local,
            server,
            client,
            round_trip: errand.round_trip,
            phase: errand.phase,
            control,
        })
    }

    /// A new connection.
    pub(crate) async fn connect(&mut self) -> io::Result<Arc<dyn Link>> {
        Ok(Arc::from(self.client.connect(self.server, self.server_id()).await?))
    }

    /// Links to open `streams` streams on, one each: the same one where it carries several.
    pub(crate) async fn links(&mut self, streams: usize) -> io::Result<Vec<Arc<dyn Link>>> {
        if self.traits().multiplexes {
            let link = self.connect().await?;
            return Ok(vec![link; streams]);
        }
        let mut links = Vec::new();
        for _ in 0..streams {
            links.push(self.connect().await?);
        }
        Ok(links)
    }

    /// One more asking side, with sockets of its own.
    pub(crate) async fn another_client(&mut self) -> io::Result<Box<dyn Client>> {
        self.subject.client(self.local, client_identity()).await
    }

    pub(crate) fn server(&self) -> SocketAddr {
        self.server
    }

    pub(crate) fn server_id(&self) -> PeerId {
        server::identity().id()
    }

    pub(crate) fn traits(&self) -> Traits {
        self.subject.traits()
    }

    /// The link's own round trip.
    pub(crate) fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// When in their interval live flows send.
    pub(crate) fn phase(&self) -> Duration {
        self.phase
    }
}

/// When something that should take `time` over a link of this round trip is given up.
fn patience(time: Duration, round_trip: Duration) -> Duration {
    time * 2 + GRACE + round_trip * GRACE_ROUND_TRIPS
}

fn client_identity() -> Identity {
    Identity::from_seed([2; 32])
}

/// Runs every step and tells of each; ends when all are done or nobody listens.
pub(crate) async fn visit(errand: Errand, control: Control) {
    let congestion_control = errand.subject.congestion_control();
    let news = errand.news.clone();
    if news.send(News::Began { congestion_control }).await.is_err() {
        return;
    }
    let bench = timeout(patience(Duration::ZERO, errand.round_trip), Bench::new(&errand, control));
    let doubt = match bench.await {
        Ok(Ok(bench)) => Visit { bench, hangs: 0 }.run(errand).await,
        Ok(Err(error)) => give_up(errand, &format!("could not begin: {error}")).await,
        Err(_) => give_up(errand, "could not begin in time").await,
    };
    let _ = news.send(News::Over { doubt }).await;
}

async fn give_up(errand: Errand, why: &str) -> Option<String> {
    for step in errand.steps {
        let outcome = Err(why.to_owned());
        let _ = errand.news.send(News::Done { step, outcome }).await;
    }
    None
}

struct Visit {
    bench: Bench,
    hangs: u32,
}

impl Visit {
    async fn run(mut self, errand: Errand) -> Option<String> {
        let before = self.load().await;
        for step in errand.steps {
            let name = step.workload.name();
            if errand.news.send(News::Step { name }).await.is_err() {
                return None;
            }
            let outcome = self.step(step).await;
            if errand.news.send(News::Done { step, outcome }).await.is_err() {
                return None;
            }
        }
        before?.doubt(&self.load().await?)
    }

    async fn step(&mut self, step: Step) -> Result<Figures, String> {
        if self.hangs >= HANGS_MAX {
            return Err("left out: two steps before it had hung".into());
        }
        let limit = step.patience(self.bench.round_trip);
        let ended = timeout(limit, step.workload.run(&mut self.bench, step.time)).await;
        let outcome = match ended {
            Ok(Ok(figures)) => Ok(figures),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => {
                self.hangs += 1;
                Err(format!("no result within {:.0} s", limit.as_secs_f64()))
            }
        };
        if !matches!(timeout(CONTROL_PATIENCE, self.bench.control.reset()).await, Ok(Ok(()))) {
            self.hangs = HANGS_MAX;
        }
        outcome
    }

    async fn load(&mut self) -> Option<Load> {
        let count = timeout(CONTROL_PATIENCE, self.bench.control.count()).await.ok()?.ok()?;
        Load::now(clock::process_cpu() + other_process(&count))
    }
}

/// CPU time of the server, if it is not in this process.
fn other_process(count: &Count) -> Duration {
    if count.process == std::process::id() {
        Duration::ZERO
    } else {
        Duration::from_nanos(count.process_cpu_nanos)
    }
}

/// When everything that this errand may take is over, whatever hangs.
pub(crate) fn last_moment(steps: &[Step], round_trip: Duration) -> Instant {
    let begin = patience(Duration::ZERO, round_trip) + CONTROL_PATIENCE;
    let each = |step: &Step| step.patience(round_trip) + CONTROL_PATIENCE;
    clock::now() + begin + steps.iter().map(each).sum::<Duration>()
}
