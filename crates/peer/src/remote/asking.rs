//! What is asked for of a file on one stream: everything at once where there is no better way, else
//! little by little, so that the transfer can go over to a better way without a byte going twice.

use std::{collections::VecDeque, io, ops::Range, sync::Arc};

use portolan_protocol::{GroupRange, PeerEvent, PeerMessage, Want};
use tokio::time::{Duration, Instant, timeout};

use super::{exchange::Writer, way::Way};
use crate::files::{
    Partial, Tree,
    content::{ContentError, Sequence},
};

/// Bytes of the first runs.
const RUN_FIRST: u64 = 1 << 20;
/// Bytes of the shortest runs, if groups are no longer.
const RUN_MIN: u64 = 256 << 10;
/// Bytes of the longest run.
const RUN_MAX: u64 = 64 << 20;
/// A run that comes sooner is followed by longer ones.
const SHORT: Duration = Duration::from_millis(200);
/// One that takes longer, by shorter ones: when a better way is found, two are still to come.
const LONG: Duration = Duration::from_millis(800);

/// The asking side of a stream.
pub(crate) struct Asking<'a> {
    writer: &'a mut Writer,
    way: Option<&'a Way>,
    tree: Arc<Tree>,
    stall: Duration,
    /// Bytes that were there at the beginning.
    have: u64,
    /// Not asked for yet.
    left: VecDeque<GroupRange>,
    /// Asked for and not handed out yet.
    due: VecDeque<Range<u32>>,
    due_bytes: u64,
    run: u64,
    asked_at: Instant,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nothing was asked for.
    New,
    /// More may be asked for.
    Open,
    /// Everything was asked for.
    Complete,
    /// What is left is asked for elsewhere.
    Moved,
}

impl<'a> Asking<'a> {
    /// Asks for what `partial` misses; each word goes over within `stall`.
    pub(crate) fn new(
        partial: &Partial,
        (writer, way): (&'a mut Writer, Option<&'a Way>),
        stall: Duration,
    ) -> Self {
        Self {
            writer,
            way,
            tree: Arc::clone(partial.tree()),
            stall,
            have: partial.bytes(),
            left: partial.missing().into(),
            due: VecDeque::new(),
            due_bytes: 0,
            run: RUN_FIRST,
            asked_at: Instant::now(),
            standing: Standing::New,
        }
    }

    /// Whether the transfer goes on elsewhere once what was asked for is there.
    pub(crate) fn has_moved(&self) -> bool {
        self.standing == Standing::Moved
    }

    /// Sees to it that enough is asked for.
    pub(crate) async fn ask(&mut self) -> Result<(), ContentError> {
        let waits = self.way.filter(|way| !way.is_the_best());
        match (self.standing, waits) {
            (Standing::Complete | Standing::Moved, _) => Ok(()),
            (Standing::New | Standing::Open, None) => {
                let groups = self.left.drain(..).collect();
                self.say(groups, Standing::Complete).await
            }
            // A stream that has just been opened has its reasons.
            (Standing::Open, Some(way)) if way.is_outdone() => {
                self.say(Vec::new(), Standing::Moved).await
            }
            (Standing::New | Standing::Open, Some(_)) => self.ask_for_runs().await,
        }
    }

    async fn ask_for_runs(&mut self) -> Result<(), ContentError> {
        if self.standing == Standing::Open {
            if self.due_bytes > self.run {
                return Ok(());
            }
            self.run = next_run(self.run, self.asked_at.elapsed());
        }
        self.asked_at = Instant::now();
        while self.standing == Standing::New
            || (self.standing == Standing::Open && self.due_bytes <= self.run)
        {
            let run = self.take_run();
            let standing = if self.left.is_empty() { Standing::Complete } else { Standing::Open };
            self.say(run, standing).await?;
        }
        Ok(())
    }

    /// The next groups, about `run` bytes.
    fn take_run(&mut self) -> Vec<GroupRange> {
        let group = self.tree.span(0).1.max(1) as u64;
        let mut room = u32::try_from(self.run / group).unwrap_or(u32::MAX).max(1);
        let mut run = Vec::new();
        while room > 0
            && let Some(next) = self.left.front_mut()
        {
            let count = room.min(next.count);
            run.push(GroupRange { first: next.first, count });
            room -= count;
            (next.first, next.count) = (next.first + count, next.count - count);
            if next.count == 0 {
                self.left.pop_front();
            }
        }
        run
    }

    async fn say(
        &mut self,
        groups: Vec<GroupRange>,
        standing: Standing,
    ) -> Result<(), ContentError> {
        self.due_bytes += self.tree.bytes_of(&groups);
        self.due.extend(groups.iter().map(|range| range.first..range.first + range.count));
        let is_all = standing == Standing::Complete && self.standing == Standing::New;
        let want = Want {
            groups,
            more: standing == Standing::Open,
            have: (!is_all).then_some(self.have),
            moved: standing == Standing::Moved,
            pieces: Vec::new(),
        };
        self.standing = standing;
        let want = PeerMessage::Event(PeerEvent::Want(want));
        match timeout(self.stall, self.writer.send(&want)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(ContentError::Stream(io::Error::other(error))),
            Err(_) => Err(ContentError::Stalled),
        }
    }
}

/// How long runs are after one of `run` bytes took so long.
fn next_run(run: u64, took: Duration) -> u64 {
    match took {
        took if took < SHORT => RUN_MAX.min(run * 2),
        took if took > LONG => RUN_MIN.max(run / 2),
        _ => run,
    }
}

impl Sequence for Asking<'_> {
    async fn next(&mut self) -> Result<Option<u32>, ContentError> {
        self.ask().await?;
        while let Some(range) = self.due.front_mut() {
            if let Some(number) = range.next() {
                self.due_bytes -= self.tree.span(number).1 as u64;
                return Ok(Some(number));
            }
            self.due.pop_front();
        }
        Ok(None)
    }
}
