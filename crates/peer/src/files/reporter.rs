//! How a transfer is told of, be it a file or a directory: on the list of transfers and as events,
//! stages always, progress a few times a second.

use std::{fmt, time::Duration};

use tokio::{sync::mpsc, time::timeout};

use super::{Orders, Ticket};
use crate::{Event, FileUpdate, Via};

/// Tells how bytes go at the moment.
pub(crate) type Ways = Box<dyn Fn() -> Option<Via> + Send + Sync>;

/// Tells of one transfer.
pub(crate) struct Reporter {
    /// Its place on the list.
    pub(crate) ticket: Ticket,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) ways: Ways,
    /// Between two reports of progress.
    pub(crate) every: Duration,
    /// How long a stage waits for room with the application; then it is dropped.
    pub(crate) patience: Duration,
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

impl Reporter {
    /// What people want of the transfer.
    pub(crate) fn orders(&self) -> Orders {
        self.ticket.orders()
    }

    pub(crate) fn every(&self) -> Duration {
        self.every
    }

    /// Brings up to date how bytes go. Where nothing is known of it any more, the last word stays.
    pub(crate) fn look_at_the_way(&self, via: &mut Option<Via>) {
        if let Some(way) = (self.ways)() {
            *via = Some(way);
        }
    }

    /// Brings the list of transfers up to date.
    pub(crate) fn note(&self, listed: &FileUpdate) {
        self.ticket.note(listed);
    }

    /// Tells what is worth waiting for.
    pub(crate) async fn tell(&self, event: Event) {
        let _ = timeout(self.patience, self.events.send(event)).await;
    }

    /// Tells if the application has room for it.
    pub(crate) fn mention(&self, event: Event) {
        let _ = self.events.try_send(event);
    }

    /// Leaves the transfer on the list when this is dropped.
    pub(crate) fn park(&self) {
        self.ticket.park();
    }
}
