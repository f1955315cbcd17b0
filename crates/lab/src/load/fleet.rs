//! All clients of a load on one server: what they are told, and whether they have settled.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    client::{Client, Member, Order, Part, Setting},
    tally::{Counts, Tally},
};

/// How often it is looked whether all has come.
const POLL: Duration = Duration::from_millis(2);

/// What was said and stored has this long to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// Clients at work, a task each.
pub(crate) struct Fleet {
    tasks: JoinSet<()>,
    orders: watch::Sender<Order>,
    pub(crate) tally: Arc<Tally>,
    /// Clients that speak.
    pub(crate) speakers: u32,
}

impl Fleet {
    /// Sets every client to work; they rest until they are told otherwise. Speakers come first.
    pub(crate) fn start(members: impl IntoIterator<Item = (Member, Part)>, size: usize) -> Self {
        let members: Vec<(Member, Part)> = members.into_iter().collect();
        let speakers = members.iter().filter(|(_, part)| !part.script.is_empty()).count();
        let speakers = u32::try_from(speakers).unwrap_or(u32::MAX);
        let orders = watch::Sender::new(Order::Rest);
        let tally = Arc::new(Tally::default());
        let mut tasks = JoinSet::new();
        for (number, (member, part)) in (0..).zip(members) {
            let setting =
                Setting { tally: Arc::clone(&tally), orders: orders.subscribe(), size, speakers };
            tasks.spawn(Client::new(number, member, part, setting).run());
        }
        Self { tasks, orders, tally, speakers }
    }

    pub(crate) fn order(&self, order: Order) {
        self.orders.send_replace(order);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.tally.counts()
    }

    /// Waits until all that was said is answered and all that was stored has come.
    pub(crate) async fn settle(&self) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let counts = self.counts();
            if counts.is_settled() {
                break;
            }
            if Instant::now() >= until {
                return Err(format!(
                    "after {} s, {} texts are without an answer and {} of {} copies have not come",
                    PATIENCE.as_secs(),
                    counts.sent - counts.stored - counts.refused,
                    counts.copies.saturating_sub(counts.delivered),
                    counts.copies,
                ));
            }
            sleep(POLL).await;
        }
        let Counts { copies, delivered, .. } = self.counts();
        if delivered > copies {
            return Err(format!("{delivered} texts have come of {copies} that were promised"));
        }
        self.tally.take_faults().map_or(Ok(()), Err)
    }

    /// Sends all clients home and waits until they are gone.
    pub(crate) async fn leave(mut self) {
        self.order(Order::Leave);
        while self.tasks.join_next().await.is_some() {}
    }
}
