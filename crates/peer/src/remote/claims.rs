//! Which stream an offered file comes by: one that the same transfer begins on another way takes over
//! from the one before, which may not have heard yet that its way is dead.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::{Notify, watch},
    time::{Duration, timeout},
};

use super::way::Way;
use crate::TransferId;

/// Who is to give way has so long.
const GIVE_WAY: Duration = Duration::from_secs(5);

/// The streams by which transfers come.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    held: Mutex<HashMap<TransferId, Held>>,
}

#[derive(Debug)]
struct Held {
    way: Option<Way>,
    leave: Arc<Notify>,
    gone: watch::Receiver<()>,
}

/// A transfer's stream holds it; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Arc<Claims>,
    id: TransferId,
    leave: Arc<Notify>,
    _held: watch::Sender<()>,
}

impl Claims {
    /// Claims a transfer for a stream that came by `way`; one that came by another way gives it
    /// up, and is waited for a little.
    pub(crate) async fn take(self: &Arc<Self>, id: TransferId, way: Option<&Way>) -> Claim {
        let (_held, gone) = watch::channel(());
        let leave = Arc::<Notify>::default();
        let held = Held { way: way.cloned(), leave: Arc::clone(&leave), gone };
        let before = self.lock().insert(id, held);
        let claim = Claim { claims: Arc::clone(self), id, leave, _held };
        if let Some(mut before) = before
            && let (Some(way), Some(other)) = (way, &before.way)
            && !way.is_same(other)
        {
            before.leave.notify_one();
            // Nothing is ever sent: this ends with its claim.
            let _in_time = timeout(GIVE_WAY, before.gone.changed()).await;
        }
        claim
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TransferId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Waits until another stream takes over. Cancel safe.
    pub(crate) async fn taken_over(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut held = self.claims.lock();
        if held.get(&self.id).is_some_and(|held| Arc::ptr_eq(&held.leave, &self.leave)) {
            held.remove(&self.id);
        }
    }
}
