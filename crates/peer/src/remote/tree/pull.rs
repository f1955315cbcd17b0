//! The receiver of a directory: it walks the owner's list and has several jobs under way.

use std::sync::Arc;

use portolan_protocol::{
    Entries, ErrorCode, GROUP_MIN, Limits as MessageLimits, Message, Name, PeerEvent, PeerMessage,
    PeerReply, TreeEntry, TreeInfo, Walk,
};
use portolan_protocol_io::ReadMessageError;
use portolan_transport::Priority;
use tokio::{
    task::{JoinError, JoinSet, spawn_blocking},
    time::{Duration, timeout},
};

use super::{
    batch::batch,
    begun,
    budget::{Budget, Reserved},
    directories::Directories,
    ends_all,
    large::large,
    ledger::Ledger,
    queue,
    rounds::Turn,
    wait_after,
};
use crate::{
    Direction, Existing, FileError, Keep, Place, TreePhase, TreeSummary,
    files::{Attributes, Landing, Manifest, Refusal, Tally, check_path},
    remote::{
        Sessions,
        sessions::PeerStream,
        transfer::{answer_within, ask, blocking, unexpected},
        tries::Tries,
    },
};

/// Streams on which files come at once: enough to hide a round trip behind the others.
const JOBS_MAX: usize = 6;
/// Pages whose files are settled while one before them is not: behind a file that takes long, so many
/// are gone through meanwhile.
const PAGES_MAX: usize = 64;
/// How long jobs beside one that failed may take to end.
const LAST_JOBS: Duration = Duration::from_secs(5);

/// What to fetch and where to put it.
#[derive(Debug)]
pub(crate) struct TreeRequest {
    pub(crate) path: String,
    pub(crate) place: Place,
    pub(crate) existing: Existing,
    pub(crate) keep: Keep,
}

/// A directory that is being received.
#[derive(Debug)]
pub(super) struct Pull {
    pub(super) sessions: Arc<Sessions>,
    pub(super) who: Name,
    /// Of an offered directory; none of what is shared.
    pub(super) ticket: Option<u64>,
    /// Which directory there.
    pub(super) path: String,
    pub(super) landing: Landing,
    /// What the directory itself gets at the end, unless it is one that its user has named.
    pub(super) top: Attributes,
    pub(super) tally: Arc<Tally>,
    pub(super) budget: Arc<Budget>,
    /// Of an offered directory: held until nothing of it is written any more.
    pub(super) _turn: Option<Turn>,
}

/// What is known of a directory across breaks.
#[derive(Debug)]
pub(super) struct Course {
    ledger: Ledger,
    manifest: Manifest,
    directories: Directories,
}

/// A file that was listed and may come.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) path: String,
    pub(super) size: u64,
    /// Its part of what may still come; none of one that may be here already, which takes none
    /// unless it comes after all.
    pub(super) reserved: Option<Reserved>,
}

/// What one stream is for.
#[derive(Debug)]
enum Job {
    Batch { directories: Vec<String>, files: Vec<Listed> },
    Large(Listed),
}

/// What became of a job.
struct Done {
    page: u64,
    settled: Vec<String>,
    result: Result<(), FileError>,
}

/// Fetches a directory that `who` shares.
pub(crate) async fn get_tree(
    sessions: &Arc<Sessions>,
    who: &Name,
    request: TreeRequest,
) -> Result<TreeSummary, FileError> {
    let host = sessions.host();
    let path = match request.path.trim_end_matches('/') {
        "." => "",
        path => path,
    };
    let name = path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(who.as_str());
    let begun = begun(host.next_id(), Direction::Receive, who, name);
    let tally = host.tally(begun, Duration::ZERO);
    let fetched = fetch(sessions, who, (path, name), &request, &tally).await;
    match fetched {
        Ok(pull) => {
            let root = pull.landing.root().to_owned();
            tally.end(Some(root.clone())).await;
            Ok(tally.summary(Some(root)))
        }
        Err(error) => {
            tally.failed(error.code(), error.to_string()).await;
            Err(error)
        }
    }
}

async fn fetch(
    sessions: &Arc<Sessions>,
    who: &Name,
    (path, name): (&str, &str),
    request: &TreeRequest,
    tally: &Arc<Tally>,
) -> Result<Arc<Pull>, FileError> {
    let host = sessions.host();
    if !path.is_empty() {
        let shown = || path.chars().take(256).collect();
        check_path(path).map_err(|problem| FileError::Name { name: shown(), problem })?;
    }
    let mut tries = Tries::new(host.limits.retries, host.timing.retry);
    let mut begun: Option<(Arc<Pull>, Course)> = None;
    loop {
        let trying = async {
            let _permit = queue(host, tally).await?;
            match &mut begun {
                Some((pull, course)) => {
                    course.restart();
                    pull.go_on(None, course).await
                }
                None => {
                    let beginning = begin(sessions, who, (path, name), request, tally);
                    let (pull, walk) = tally.orders().unless(beginning).await?;
                    let course = Course::new(&pull);
                    let (pull, course) = begun.insert((pull, course));
                    pull.go_on(Some(walk), course).await
                }
            }
        };
        match (trying.await, &begun) {
            (Ok(()), Some((pull, _))) => return Ok(Arc::clone(pull)),
            (Ok(()), None) => {}
            (Err(error), _) => wait_after(host, &mut tries, error, tally).await?,
        }
    }
}

/// Hears how much there is, and makes the directory for it.
async fn begin(
    sessions: &Arc<Sessions>,
    who: &Name,
    (path, name): (&str, &str),
    request: &TreeRequest,
    tally: &Arc<Tally>,
) -> Result<(Arc<Pull>, PeerStream), FileError> {
    let (walk, info) = open_walk(sessions, who, (None, path), None).await?;
    let landing = {
        let (place, name) = (request.place.clone(), name.to_owned());
        let (existing, keep) = (request.existing, request.keep);
        blocking(move || {
            Landing::check_space(&place, &name, info.bytes)?;
            Landing::new(&place, &name, existing, keep)
        })
        .await?
    };
    tally.expect(&info);
    let pull = Pull {
        sessions: Arc::clone(sessions),
        who: who.clone(),
        ticket: None,
        path: path.to_owned(),
        landing,
        top: top(&request.place, request.keep, &info),
        tally: Arc::clone(tally),
        budget: Budget::new(sessions.host().limits.tree_files, u64::MAX, None),
        _turn: None,
    };
    Ok((Arc::new(pull), walk))
}

/// What a directory that is made gets of the one that it comes from.
pub(super) fn top(place: &Place, keep: Keep, info: &TreeInfo) -> Attributes {
    let keep = if place.is_above() { keep } else { Keep::default() };
    Attributes::kept(keep, info.modified, info.mode)
}

/// Asks for what is in a directory; the entries follow on the stream.
pub(super) async fn open_walk(
    sessions: &Arc<Sessions>,
    who: &Name,
    (ticket, path): (Option<u64>, &str),
    after: Option<&str>,
) -> Result<(PeerStream, TreeInfo), FileError> {
    let walk = Walk { tree: ticket, path: path.to_owned(), after: after.map(str::to_owned) };
    let mut stream = ask(sessions, who, walk.into(), Priority::Bulk).await?;
    let _ = stream.writer.get_mut().finish();
    let patience = sessions.host().timing.request;
    match answer_within(who, &mut stream.reader, patience).await? {
        PeerReply::Tree(info) => Ok((stream, info)),
        other => Err(unexpected(who, &other)),
    }
}

impl Course {
    pub(super) fn new(pull: &Pull) -> Self {
        let limits = pull.sessions.host().limits;
        let manifest = Manifest::new(limits.share_depth, limits.share_entries);
        let directories = Directories::new(pull.landing.keep());
        Self { ledger: Ledger::default(), manifest, directories }
    }

    fn restart(&mut self) {
        self.ledger.restart();
        self.manifest.restart();
        self.directories.restart(self.ledger.behind());
    }

    /// Notes what became of a job.
    fn note(&mut self, done: Result<Done, JoinError>) -> Result<(), FileError> {
        let Done { page, settled, result } = done.map_err(FileError::from_panic)?;
        if self.ledger.settle(page, settled, result.is_ok())
            && let Some(behind) = self.ledger.behind()
        {
            self.directories.settled_to(behind);
        }
        result
    }
}

impl Pull {
    /// Receives what is not settled yet.
    pub(super) async fn go_on(
        self: &Arc<Self>,
        walk: Option<PeerStream>,
        course: &mut Course,
    ) -> Result<(), FileError> {
        let mut walk = match walk {
            Some(walk) => walk,
            None => {
                let directory = (self.ticket, self.path.as_str());
                let after = course.ledger.behind();
                open_walk(&self.sessions, &self.who, directory, after).await?.0
            }
        };
        self.tally.stage(TreePhase::Started).await;
        let mut jobs = JoinSet::new();
        let orders = self.tally.orders();
        let fed = orders.unless(self.feed(&mut walk, course, &mut jobs)).await;
        let drained = async {
            let mut result = Ok(());
            while let Some(done) = jobs.join_next().await {
                result = result.and(course.note(done));
                self.dress(course).await;
            }
            result
        };
        match fed {
            Ok(()) => {
                orders.unless(drained).await?;
                course.directories.settled(self.top);
                self.dress(course).await;
                Ok(())
            }
            // Those beside it mostly fail for the same reason; what they have settled counts.
            Err(error) => {
                let _ = timeout(LAST_JOBS, drained).await;
                Err(error)
            }
        }
    }

    async fn feed(
        self: &Arc<Self>,
        walk: &mut PeerStream,
        course: &mut Course,
        jobs: &mut JoinSet<Done>,
    ) -> Result<(), FileError> {
        loop {
            let entries = loop {
                tokio::select! {
                    entries = self.next_entries(walk) => break entries?,
                    Some(done) = jobs.join_next() => course.note(done)?,
                }
            };
            self.dress(course).await;
            let more = entries.more;
            let last = entries.entries.last().map(|entry| entry.path.clone());
            let work = self.plan(entries, course)?;
            let Some(last) = last else { return Ok(()) };
            let page = course.ledger.begin(last, work.len());
            for job in work {
                while (jobs.len() >= JOBS_MAX || course.ledger.pages() > PAGES_MAX)
                    && let Some(done) = jobs.join_next().await
                {
                    course.note(done)?;
                }
                jobs.spawn(Arc::clone(self).work(page, job));
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// The next part of the list. Cancel safe.
    async fn next_entries(&self, walk: &mut PeerStream) -> Result<Entries, FileError> {
        let who = || self.who.clone();
        let stall = self.sessions.host().timing.stall;
        let message = timeout(stall, walk.reader.next_message()).await;
        let broken = |detail| FileError::Protocol { who: who(), detail };
        match message.map_err(|_| FileError::TimedOut { who: who() })? {
            Ok(PeerMessage::Event(PeerEvent::Entries(entries))) => {
                let page = MessageLimits::V1.page as usize;
                match entries.entries.len() <= page && !(entries.more && entries.entries.is_empty())
                {
                    true => Ok(entries),
                    false => Err(broken("its list has pages that no list has".into())),
                }
            }
            Ok(
                Message::Event(_) | Message::Request(..) | Message::Answer(..) | Message::Error(..),
            ) => Err(broken("no list came".into())),
            Err(ReadMessageError::Decode(error)) => Err(broken(error.to_string())),
            Err(error) => Err(self.interrupted(error.to_string())),
        }
    }

    pub(super) fn interrupted(&self, detail: String) -> FileError {
        let summary = self.tally.summary(None);
        let total = self.tally.total();
        FileError::Interrupted { bytes: summary.bytes, total, kept: Some(summary.bytes), detail }
    }

    /// Checks a page of the list and makes jobs of it.
    fn plan(&self, entries: Entries, course: &mut Course) -> Result<Vec<Job>, FileError> {
        let (mut directories, mut files, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
        for entry in entries.entries {
            let admitted = course.manifest.admit(&entry).map_err(|_| FileError::Protocol {
                who: self.who.clone(),
                detail: "its list is not in order".into(),
            })?;
            if admitted.is_ok() {
                course.directories.note(&entry);
            }
            if course.ledger.is_settled(&entry.path) {
                continue;
            }
            match admitted {
                Err(refusal) => self.refuse(&entry, &refusal),
                Ok(()) if entry.directory => directories.push(entry.path),
                Ok(()) => {
                    let listed = Listed { path: entry.path, size: entry.size, reserved: None };
                    match listed.size <= GROUP_MIN {
                        true => files.push(listed),
                        false => jobs.push(Job::Large(listed)),
                    }
                }
            }
        }
        if !files.is_empty() || !directories.is_empty() {
            jobs.insert(0, Job::Batch { directories, files });
        }
        Ok(jobs)
    }

    /// Gives directories into which nothing more is written what is kept of them.
    async fn dress(self: &Arc<Self>, course: &mut Course) {
        let over = course.directories.take_over();
        if over.is_empty() {
            return;
        }
        let pull = Arc::clone(self);
        let dressing = spawn_blocking(move || {
            for (path, attributes) in over {
                pull.landing.dress(&path, attributes);
            }
        });
        if let Err(error) = dressing.await {
            tracing::error!(%error, "times and modes of directories were not kept");
        }
    }

    fn refuse(&self, entry: &TreeEntry, refusal: &Refusal) {
        let shown: String = entry.path.chars().take(256).collect();
        let (code, reason) = match refusal {
            Refusal::Name(problem) => (ErrorCode::NameInvalid, (*problem).to_owned()),
            Refusal::Depth => (ErrorCode::TooLarge, "it is too deep".to_owned()),
            Refusal::Crowded => {
                (ErrorCode::TooLarge, "its directory has too many entries".to_owned())
            }
            Refusal::Collides(other) => {
                let reason = format!(
                    "only case tells it from {other:?}, or the way in which it is \
                                      written; ask its owner to rename one"
                );
                (ErrorCode::Conflict, reason)
            }
        };
        self.tally.missed(&shown, code, &reason);
    }

    async fn work(self: Arc<Self>, page: u64, job: Job) -> Done {
        match job {
            Job::Batch { directories, files } => {
                let (settled, result) = batch(&self, directories, files).await;
                Done { page, settled, result }
            }
            Job::Large(listed) => {
                let path = listed.path.clone();
                let result = match large(&self, listed).await {
                    Err(error) if !ends_all(&error) => {
                        self.missed(&path, &error);
                        Ok(())
                    }
                    other => other,
                };
                let settled = result.is_ok().then_some(path).into_iter().collect();
                Done { page, settled, result }
            }
        }
    }

    /// Takes room for a file that is not here; `false`: there is none, and it is counted as missed.
    pub(super) fn reserve(&self, listed: &mut Listed) -> bool {
        listed.reserved = self.budget.reserve(listed.size);
        if listed.reserved.is_none() {
            let reason = "it is more than was offered, or larger than files may be here";
            self.tally.missed(&listed.path, ErrorCode::TooLarge, reason);
        }
        listed.reserved.is_some()
    }

    /// Whether a file that has so many bytes after all has room.
    pub(super) fn fits(&self, listed: &mut Listed, bytes: u64) -> bool {
        match &mut listed.reserved {
            Some(reserved) => reserved.fits(bytes),
            none => {
                *none = self.budget.reserve(bytes);
                none.is_some()
            }
        }
    }

    /// Counts a file that does not arrive, for that reason.
    pub(super) fn missed(&self, path: &str, error: &FileError) {
        self.tally.missed(path, error.code(), &error.to_string());
    }
}

impl Listed {
    /// The file has arrived.
    pub(super) fn arrived(&mut self) {
        if let Some(reserved) = self.reserved.take() {
            reserved.spend();
        }
    }
}
