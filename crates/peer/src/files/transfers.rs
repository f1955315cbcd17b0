//! The transfers there are: what people see of them, and what they want of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{FileError, FileUpdate, Stop, TransferId};

/// What a person wants of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Run,
    Stop(Stop),
}

/// Whom an order has reached.
#[derive(Debug)]
pub(crate) enum Reached {
    /// The transfer is under way, or waits in the queue, and has heard it.
    UnderWay,
    /// Nothing of it runs: the side that began it will come back with it.
    Parked(FileUpdate),
}

/// Every transfer that is queued, under way or parked, by number.
#[derive(Debug)]
pub(crate) struct Transfers {
    parked_max: usize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_id: BTreeMap<TransferId, Entry>,
    begun: u64,
}

#[derive(Debug)]
struct Entry {
    /// Tells who holds the entry from who held the number before.
    begun: u64,
    update: FileUpdate,
    orders: watch::Sender<Order>,
    parked: bool,
}

impl Transfers {
    /// Keeps at most so many that are parked; the oldest go first.
    pub(crate) fn new(parked_max: usize) -> Self {
        Self { parked_max, entries: Mutex::default() }
    }

    /// Puts a transfer on the list for as long as its ticket lives.
    pub(crate) fn begin(self: &Arc<Self>, update: FileUpdate) -> Ticket {
        let (orders, heard) = watch::channel(Order::Run);
        let id = update.id;
        let mut entries = self.lock();
        entries.begun += 1;
        let begun = entries.begun;
        entries.by_id.insert(id, Entry { begun, update, orders, parked: false });
        Ticket { transfers: Arc::clone(self), id, begun, orders: Orders(heard) }
    }

    /// All of them, in order of number.
    pub(crate) fn list(&self) -> Vec<FileUpdate> {
        self.lock().by_id.values().map(|entry| entry.update.clone()).collect()
    }

    /// Passes an order on; `None`: there is no such transfer.
    pub(crate) fn order(&self, id: TransferId, order: Order) -> Option<Reached> {
        let entries = self.lock();
        let entry = entries.by_id.get(&id)?;
        if entry.parked {
            return Some(Reached::Parked(entry.update.clone()));
        }
        entry.orders.send_replace(order);
        Some(Reached::UnderWay)
    }

    /// Notes what has become of one that is parked.
    pub(crate) fn note_parked(&self, update: FileUpdate) {
        let mut entries = self.lock();
        if let Some(entry) = entries.by_id.get_mut(&update.id).filter(|entry| entry.parked) {
            entry.update = update;
        }
    }

    /// Takes one that is parked off the list.
    pub(crate) fn end_parked(&self, id: TransferId) {
        let mut entries = self.lock();
        if entries.by_id.get(&id).is_some_and(|entry| entry.parked) {
            entries.by_id.remove(&id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place on the list.
#[derive(Debug)]
pub(crate) struct Ticket {
    transfers: Arc<Transfers>,
    id: TransferId,
    begun: u64,
    orders: Orders,
}

impl Ticket {
    pub(crate) fn orders(&self) -> Orders {
        self.orders.clone()
    }

    /// Notes where the transfer stands.
    pub(crate) fn note(&self, update: &FileUpdate) {
        self.with_entry(|entry| entry.update = update.clone());
    }

    /// Leaves the transfer on the list when the ticket goes.
    pub(crate) fn park(&self) {
        self.with_entry(|entry| entry.parked = true);
        let mut entries = self.transfers.lock();
        let parked = entries.by_id.iter().filter(|(_, entry)| entry.parked);
        let parked: Vec<TransferId> = parked.map(|(id, _)| *id).collect();
        let excess = parked.len().saturating_sub(self.transfers.parked_max);
        for id in parked.into_iter().take(excess) {
            entries.by_id.remove(&id);
        }
    }

    fn with_entry(&self, act: impl FnOnce(&mut Entry)) {
        let mut entries = self.transfers.lock();
        if let Some(entry) = entries.by_id.get_mut(&self.id)
            && entry.begun == self.begun
        {
            act(entry);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut entries = self.transfers.lock();
        let entry = entries.by_id.get(&self.id);
        if entry.is_some_and(|entry| entry.begun == self.begun && !entry.parked) {
            entries.by_id.remove(&self.id);
        }
    }
}

/// What people want of one transfer, as it hears it.
#[derive(Debug, Clone)]
pub(crate) struct Orders(watch::Receiver<Order>);

impl Orders {
    /// Does `work` unless a person stops it; then it is dropped half way. Cancel safe if it is.
    pub(crate) async fn unless<T>(
        &self,
        work: impl Future<Output = Result<T, FileError>>,
    ) -> Result<T, FileError> {
        tokio::select! {
            biased;
            stop = self.stop() => Err(FileError::Stopped { stop, by: None }),
            done = work => done,
        }
    }

    /// Waits until a person stops it. Cancel safe.
    pub(crate) async fn stopped(&self) -> FileError {
        FileError::Stopped { stop: self.stop().await, by: None }
    }

    /// Waits until it may go on; an error says that it will not. Cancel safe.
    pub(crate) async fn run(&self) -> Result<(), FileError> {
        let mut orders = self.0.clone();
        let may = |order: &Order| *order != Order::Stop(Stop::Paused);
        match orders.wait_for(may).await.map(|order| *order) {
            Ok(Order::Stop(stop)) => Err(FileError::Stopped { stop, by: None }),
            // Without a list there is nobody to stop it.
            Ok(Order::Run) | Err(_) => Ok(()),
        }
    }

    async fn stop(&self) -> Stop {
        let mut orders = self.0.clone();
        let stops = |order: &Order| matches!(order, Order::Stop(_));
        match orders.wait_for(stops).await.map(|order| *order) {
            Ok(Order::Stop(stop)) => stop,
            Ok(Order::Run) | Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use portolan_protocol::Name;

    use super::{Order, Reached, Transfers};
    use crate::{Direction, FileError, FilePhase, FileUpdate, Stop, TransferId};

    fn update(id: u64) -> FileUpdate {
        FileUpdate {
            id: TransferId(id),
            with: Name::new("bob").unwrap(),
            direction: Direction::Send,
            name: "file".into(),
            phase: FilePhase::Queued,
            bytes: 0,
            resumed: 0,
            total: 0,
            via: None,
            rate: None,
            eta: None,
        }
    }

    #[tokio::test]
    async fn work_is_stopped_by_an_order_and_goes_on_by_another() {
        let transfers = Arc::new(Transfers::new(4));
        let ticket = transfers.begin(update(1));
        let orders = ticket.orders();
        assert_eq!(orders.unless(async { Ok(5) }).await.unwrap(), 5);
        let pause = Order::Stop(Stop::Paused);
        assert!(matches!(transfers.order(TransferId(1), pause), Some(Reached::UnderWay)));
        let stopped = orders.unless(std::future::pending::<Result<(), _>>()).await;
        assert!(matches!(stopped, Err(FileError::Stopped { stop: Stop::Paused, by: None })));
        let waits = tokio::time::timeout(Duration::from_millis(10), orders.run()).await;
        assert!(waits.is_err(), "it is paused");
        transfers.order(TransferId(1), Order::Run);
        orders.run().await.unwrap();
        transfers.order(TransferId(1), Order::Stop(Stop::Cancelled));
        assert!(orders.run().await.is_err());
        drop(ticket);
        assert!(transfers.order(TransferId(1), Order::Run).is_none());
    }

    #[test]
    fn the_parked_stay_within_a_bound_and_a_number_taken_again_is_not_taken_off() {
        let transfers = Arc::new(Transfers::new(2));
        for id in 1..=3 {
            transfers.begin(update(id)).park();
        }
        let listed = |transfers: &Transfers| {
            transfers.list().iter().map(|update| update.id.0).collect::<Vec<_>>()
        };
        assert_eq!(listed(&transfers), [2, 3]);
        assert!(matches!(transfers.order(TransferId(3), Order::Run), Some(Reached::Parked(_))));
        let again = transfers.begin(update(3));
        let other = transfers.begin(update(3));
        drop(again);
        assert_eq!(listed(&transfers), [2, 3]);
        drop(other);
        transfers.end_parked(TransferId(2));
        assert_eq!(listed(&transfers), [] as [u64; 0]);
    }
}
