//! One transfer of a directory after another: who comes back with it takes over from the one before,
//! which may not have noticed that it broke off.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard, watch};

/// The transfers of one directory that was agreed to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rounds {
    begun: Arc<watch::Sender<u64>>,
    turn: Arc<Mutex<()>>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Round {
    number: u64,
    begun: watch::Receiver<u64>,
    turn: Arc<Mutex<()>>,
}

/// Held while anything of a round goes on.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "released when dropped")] OwnedMutexGuard<()>);

impl Rounds {
    /// Begins another one, which ends those before it.
    pub(super) fn begin(&self) -> Round {
        let mut number = 0;
        self.begun.send_modify(|begun| {
            *begun += 1;
            number = *begun;
        });
        Round { number, begun: self.begun.subscribe(), turn: Arc::clone(&self.turn) }
    }
}

impl Round {
    /// Waits until the next one has begun. Cancel safe.
    pub(super) async fn taken_over(&self) {
        let mut begun = self.begun.clone();
        if begun.wait_for(|&begun| begun > self.number).await.is_err() {
            // Nobody agrees to it any more, so nobody takes over.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until those before have come to rest: what they write is written, and what they had
    /// kept free for it is free or used. Cancel safe.
    pub(super) async fn turn(&self) -> Turn {
        Turn(Arc::clone(&self.turn).lock_owned().await)
    }
}

#[cfg(test)]
mod tests {
    use super::Rounds;

    #[tokio::test]
    async fn the_next_round_ends_the_one_before_and_waits_until_it_rests() {
        let rounds = Rounds::default();
        let first = rounds.begin();
        let turn = first.turn().await;
        let second = rounds.begin();
        first.taken_over().await;
        let waiting = tokio::select! {
            biased;
            _ = second.turn() => false,
            () = second.taken_over() => false,
            () = std::future::ready(()) => true,
        };
        assert!(waiting, "the first is still at it");
        drop(turn);
        second.turn().await;
        drop(rounds);
    }
}
