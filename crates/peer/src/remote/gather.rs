//! One file from several of its owners at once.
//!
//! ```text
//!   owner 0 ── RemoteFile ─┐ groups                 ┌─ written ─► progress
//!   owner 1 ── RemoteFile ─┼───────► disk's thread ─┤
//!   owner 2 ── RemoteFile ─┘         proves, writes └─ a lie ───► that owner is dropped
//!         ▲ runs of groups
//!         └── Pool
//! ```
//!
//! Runs grow with the speed of their owner, so that a slow one holds up the end by a moment only.

use std::{collections::VecDeque, path::PathBuf, sync::Arc};

use bytes::Bytes;
use portolan_protocol::{ErrorCode, GroupRange, Hash, Name};
use tokio::{
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
    time::{Duration, Instant, sleep},
};

use super::{
    Sessions,
    drive::{Attempt, drive},
    exchange::{holds, name_whole, open_partial, unwritten},
    find::{find, name_of},
    pool::{Pool, Work},
    remote_file::RemoteFile,
    transfer::remove_part,
    tries::Tries,
};
use crate::{
    Direction, Existing, FileError, FilePhase, Wanted,
    files::{
        Attributes, Orders, Partial, Progress, Target,
        content::{ContentError, unwritten_of},
    },
};

/// Owners that one file is fetched from.
const OWNERS_MAX: usize = 16;
/// Reports that wait to be heard.
const REPORTS: usize = 16;
/// Runs that an owner has been asked for and not sent yet.
const AHEAD: usize = 2;
/// Groups of a run, at first and at most.
const RUN_FIRST: u32 = 2;
const RUN_MAX: u32 = 128;
/// A run that takes less is doubled, one that takes four times that is halved.
const RUN_TIME: Duration = Duration::from_millis(250);

/// What to fetch and where to put it.
#[derive(Debug)]
pub(crate) struct GatherRequest {
    pub(crate) owners: Vec<Name>,
    pub(crate) wanted: Wanted,
    pub(crate) to: PathBuf,
    pub(crate) existing: Existing,
}

/// Fetches a file from all of its owners that answer.
pub(crate) async fn gather(
    sessions: &Arc<Sessions>,
    request: GatherRequest,
) -> Result<(PathBuf, Hash), FileError> {
    let host = sessions.host();
    let Some(first) = request.owners.first().cloned() else {
        return Err(FileError::NoOwner);
    };
    let name = match &request.wanted {
        Wanted::Path(path) => path.clone(),
        Wanted::Hash { hash, .. } => hash.to_string(),
    };
    let (_, mut progress) = host.progress_of_ours(Direction::Receive, &first, &name, 0);
    let mut gathering = Gathering { sessions: Arc::clone(sessions), request, pinned: None };
    gathering.request.owners.truncate(OWNERS_MAX);
    let (path, hash) = drive(host, &mut gathering, &mut progress).await?;
    progress.done(hash, Some(path.clone())).await;
    Ok((path, hash))
}

/// What the file is, once one of its owners has said so.
#[derive(Debug, Clone)]
struct Pinned {
    name: String,
    size: u64,
    hash: Hash,
    /// As the first of its owners has them.
    attributes: Attributes,
}

struct Gathering {
    sessions: Arc<Sessions>,
    request: GatherRequest,
    pinned: Option<Pinned>,
}

impl Attempt for Gathering {
    type Outcome = (PathBuf, Hash);

    async fn once(&mut self, progress: &mut Progress) -> Result<(PathBuf, Hash), FileError> {
        let orders = progress.orders();
        let (owner, file) = orders.unless(self.first_owner()).await?;
        let pinned = self.pin(&file)?;
        progress.set_total(pinned.size);
        let target = match self.target(&pinned).await {
            Err(FileError::Exists(path)) => {
                let proven = (pinned.size, pinned.hash);
                if !holds(self.sessions.host(), &path, proven, None).await {
                    return Err(FileError::Exists(path));
                }
                progress.resume_with(pinned.size);
                file.finish().await;
                return Ok((path, pinned.hash));
            }
            target => target?,
        };
        let directory = target.directory().to_owned();
        let opening = open_partial(&directory, Arc::clone(file.tree()), None);
        let partial = orders.unless(async { Ok(opening.await) }).await?;
        let partial = partial.map_err(|error| unwritten(error, &target, progress, None))?;
        progress.resume_with(partial.bytes());
        progress.stage(FilePhase::Started).await;
        let (partial, ended) = self.fetch(partial, (owner, file), &pinned, progress).await?;
        if partial.is_whole() {
            let path = name_whole(self.sessions.host(), partial, target).await?;
            return Ok((path, pinned.hash));
        }
        let kept = partial.bytes();
        progress.fall_back_to(kept);
        let _ = spawn_blocking(move || drop(partial)).await;
        Err(match ended {
            Ended::Disk(error) => unwritten(error, &target, progress, Some(kept)),
            Ended::Owners(error) => why(error, progress, kept),
        })
    }

    async fn discard(&mut self) {
        if let Some(pinned) = &self.pinned {
            remove_part(&self.request.to, pinned.hash).await;
        }
    }
}

/// Why not everything came.
enum Ended {
    Disk(ContentError),
    /// What the owner said that was the last to give up.
    Owners(Option<FileError>),
}

fn why(error: Option<FileError>, progress: &Progress, kept: u64) -> FileError {
    let (bytes, total, kept) = (progress.bytes(), progress.total(), Some(kept));
    match error {
        Some(FileError::Interrupted { detail, .. }) => {
            FileError::Interrupted { bytes, total, kept, detail }
        }
        Some(error) => error,
        None => {
            let detail = "its owners have gone".to_owned();
            FileError::Interrupted { bytes, total, kept, detail }
        }
    }
}

impl Gathering {
    /// The first owner who has the file, and the stream on which it comes.
    async fn first_owner(&self) -> Result<(usize, RemoteFile), FileError> {
        let mut last = None;
        for (number, who) in self.request.owners.iter().enumerate() {
            match self.open(who).await {
                Ok(file) => return Ok((number, file)),
                Err(error) => {
                    tracing::info!(%error, "{who} does not send the file");
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or(FileError::NoOwner))
    }

    async fn open(&self, who: &Name) -> Result<RemoteFile, FileError> {
        let sessions = &self.sessions;
        match (&self.pinned, &self.request.wanted) {
            (Some(pinned), _) => open_same(sessions, who, (Some(pinned.size), pinned.hash)).await,
            (None, Wanted::Path(path)) => RemoteFile::open(sessions, who, path).await,
            (None, Wanted::Hash { hash, size }) => open_same(sessions, who, (*size, *hash)).await,
        }
    }

    /// Every owner sends the same content, and every try goes on with it.
    fn pin(&mut self, file: &RemoteFile) -> Result<Pinned, FileError> {
        let (size, hash) = (file.tree().size(), file.hash());
        match &self.pinned {
            Some(pinned) if pinned.hash == hash => Ok(pinned.clone()),
            Some(pinned) => Err(FileError::Changed { name: pinned.name.clone() }),
            None => {
                let name = match &self.request.wanted {
                    Wanted::Path(path) => name_of(path),
                    Wanted::Hash { .. } => name_of(file.path()),
                };
                Ok(self
                    .pinned
                    .insert(Pinned { name, size, hash, attributes: file.attributes() })
                    .clone())
            }
        }
    }

    async fn target(&self, pinned: &Pinned) -> Result<Target, FileError> {
        let (to, existing) = (self.request.to.clone(), self.request.existing);
        let pinned = pinned.clone();
        let made = spawn_blocking(move || {
            let proven = (pinned.size, pinned.hash);
            Ok(Target::new(&to, &pinned.name, proven, existing)?.with(pinned.attributes))
        });
        made.await.unwrap_or_else(|error| Err(FileError::from_panic(error)))
    }

    /// Lets all owners send until everything is there or none is left.
    async fn fetch(
        &self,
        partial: Partial,
        (first, file): (usize, RemoteFile),
        pinned: &Pinned,
        progress: &mut Progress,
    ) -> Result<(Partial, Ended), FileError> {
        let pool = Arc::new(Pool::new(&partial.missing()));
        let (filled, to_write) = mpsc::channel(unwritten_of(partial.tree()));
        let (reports, mut reported) = mpsc::channel(REPORTS);
        let writer = {
            let (pool, reports) = (Arc::clone(&pool), reports.clone());
            spawn_blocking(move || write(partial, &pool, to_write, &reports))
        };
        let mut file = Some(file);
        let mut owners = JoinSet::new();
        for (number, who) in self.request.owners.iter().enumerate() {
            let owner = Owner {
                number,
                who: who.clone(),
                proven: (pinned.size, pinned.hash),
                sessions: Arc::clone(&self.sessions),
                pool: Arc::clone(&pool),
                orders: progress.orders(),
                filled: filled.clone(),
            };
            let (file, reports) = (file.take_if(|_| number == first), reports.clone());
            owners.spawn(async move {
                let error = owner.send_all(file).await.err();
                let _ = reports.send(Report::Gone(error)).await;
            });
        }
        drop((filled, reports));
        let mut last = None;
        while let Some(report) = reported.recv().await {
            match report {
                Report::Written(bytes) => progress.advance(bytes),
                Report::Lied { owner, start, length } => self.warn(owner, start, length),
                Report::Gone(error) => last = error.or(last),
            }
        }
        let (partial, written) = writer.await.map_err(FileError::from_panic)?;
        Ok((partial, written.err().map_or(Ended::Owners(last), Ended::Disk)))
    }

    fn warn(&self, owner: usize, start: u64, length: usize) {
        let Some(who) = self.request.owners.get(owner) else { return };
        let message = format!(
            "{who} sent {length} bytes from {start} on that are not those of the file; nothing is \
             taken from {who} any more, the others go on"
        );
        self.sessions.host().warn(ErrorCode::Integrity, message);
    }
}

/// What is told while a file comes.
enum Report {
    /// So many bytes are on the disk.
    Written(u64),
    /// An owner sent what is not of the file.
    Lied { owner: usize, start: u64, length: usize },
    /// An owner sends nothing more.
    Gone(Option<FileError>),
}

/// Proves and writes groups until no owner is left.
fn write(
    mut partial: Partial,
    pool: &Pool,
    mut groups: mpsc::Receiver<(usize, u32, Bytes)>,
    reports: &mpsc::Sender<Report>,
) -> (Partial, Result<(), ContentError>) {
    while let Some((owner, number, bytes)) = groups.blocking_recv() {
        let report = match partial.write(number, &bytes) {
            Ok(()) => {
                pool.wrote(number);
                Report::Written(bytes.len() as u64)
            }
            Err(ContentError::Corrupt { start, length }) => match pool.ban(owner) {
                true => Report::Lied { owner, start, length },
                false => continue,
            },
            Err(error) => {
                pool.end();
                return (partial, Err(error));
            }
        };
        if reports.blocking_send(report).is_err() {
            break;
        }
    }
    pool.end();
    (partial, Ok(()))
}

/// One of those who send.
struct Owner {
    number: usize,
    who: Name,
    proven: (u64, Hash),
    sessions: Arc<Sessions>,
    pool: Arc<Pool>,
    orders: Orders,
    filled: mpsc::Sender<(usize, u32, Bytes)>,
}

impl Owner {
    /// Sends until everything is there, it is stopped, or it has failed too often.
    async fn send_all(&self, mut file: Option<RemoteFile>) -> Result<(), FileError> {
        let host = self.sessions.host();
        let mut tries = Tries::new(host.limits.retries, host.timing.retry);
        let mut bytes = 0;
        loop {
            let result = self.send_some(file.take(), &mut bytes).await;
            self.pool.give_back(self.number);
            let Err(error) = result else { return Ok(()) };
            if self.pool.is_banned(self.number) {
                return Err(error);
            }
            let Some(pause) = tries.pause_after(&error, bytes, host.outlook(&self.who)) else {
                return Err(error);
            };
            let waited = self.orders.unless(async {
                tokio::select! {
                    () = sleep(pause) => Ok(false),
                    () = self.pool.done() => Ok(true),
                }
            });
            if waited.await? {
                return Ok(());
            }
        }
    }

    async fn send_some(&self, file: Option<RemoteFile>, bytes: &mut u64) -> Result<(), FileError> {
        let mut file = match file {
            Some(file) => file,
            None => {
                let (size, hash) = self.proven;
                let opening = open_same(&self.sessions, &self.who, (Some(size), hash));
                let opened = self.orders.unless(async {
                    tokio::select! {
                        opened = opening => opened.map(Some),
                        () = self.pool.done() => Ok(None),
                    }
                });
                let Some(file) = Box::pin(opened).await? else { return Ok(()) };
                file
            }
        };
        let result = self.orders.unless(self.pull(&mut file, bytes)).await;
        match result {
            Ok(()) => file.finish().await,
            Err(_) => file.leave(&result),
        }
        result
    }

    async fn pull(&self, file: &mut RemoteFile, bytes: &mut u64) -> Result<(), FileError> {
        let mut ahead: VecDeque<GroupRange> = VecDeque::new();
        let mut run_max = RUN_FIRST;
        loop {
            while ahead.len() < AHEAD {
                let work = match ahead.is_empty() {
                    true => Some(self.pool.work(self.number, run_max).await),
                    false => self.pool.take(self.number, run_max),
                };
                match work {
                    Some(Work::Run(run)) => {
                        file.want(vec![run]).await?;
                        ahead.push_back(run);
                    }
                    Some(Work::Banned) => return Err(self.banned()),
                    Some(Work::Done) | None => break,
                }
            }
            let Some(run) = ahead.pop_front() else { return Ok(()) };
            let began = Instant::now();
            for number in run.first..run.first + run.count {
                let group = file.receive(number).await?;
                *bytes += group.len() as u64;
                if self.filled.send((self.number, number, group)).await.is_err() {
                    // The disk's side has gone and knows why.
                    return Ok(());
                }
            }
            run_max = next_run(run_max, began.elapsed());
        }
    }

    fn banned(&self) -> FileError {
        let detail = "it sent bytes that are not those of the file".to_owned();
        FileError::Protocol { who: self.who.clone(), detail }
    }
}

fn next_run(run: u32, took: Duration) -> u32 {
    match took {
        took if took < RUN_TIME => (run * 2).min(RUN_MAX),
        took if took > RUN_TIME * 4 => (run / 2).max(1),
        _ => run,
    }
}

/// Opens the file with that hash at `who`, whatever it is called there.
async fn open_same(
    sessions: &Arc<Sessions>,
    who: &Name,
    (size, hash): (Option<u64>, Hash),
) -> Result<RemoteFile, FileError> {
    let path = find(sessions, who, hash, size).await?;
    let file = RemoteFile::open(sessions, who, &path).await?;
    match file.hash() {
        same if same == hash => Ok(file),
        computed => Err(FileError::Integrity { expected: hash, computed }),
    }
}
