//! Files of other peers that are heard while they arrive.
//!
//! ```text
//!   player's thread ── read, seek ──> Arriving ── what is missing ──> fetch, a task
//!                                        ▲                              │ want, receive
//!                                    a file without a name <── proven ── PiecewiseFile
//! ```
//!
//! Every piece of 16 KiB is proven before it is heard, and a first sound needs no more than one and
//! what its decoder looks up at the end of the file: those come unasked with the first answer. What a reader waits for is asked for next; otherwise
//! the file comes in order, so that what plays never waits, and the next file has time to come.

mod arriving;
mod fetch;

use std::{fmt, sync::Arc};

use portolan_media::{DecodeError, Decoder, Interrupt, Seeking};
use portolan_protocol::Name;
use tokio_util::task::AbortOnDropHandle;

use self::arriving::{Arriving, Shared};
use crate::{FileError, remote::Sessions};

/// A file of another peer that can be heard while it arrives. Dropped, with everything that was
/// opened from it, it arrives no more, and nothing of it is kept.
#[derive(Clone)]
pub struct RemoteAudio(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    _fetch: AbortOnDropHandle<()>,
}

impl fmt::Debug for RemoteAudio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteAudio").finish_non_exhaustive()
    }
}

impl RemoteAudio {
    pub(crate) fn new(sessions: Arc<Sessions>, who: Name, path: String) -> Self {
        let shared = Arc::new(Shared::default());
        let fetch = fetch::fetch(sessions, who, path, Arc::clone(&shared));
        let fetch = AbortOnDropHandle::new(tokio::spawn(fetch));
        Self(Arc::new(Inner { shared, _fetch: fetch }))
    }

    /// Lets it arrive from now on; opening it does so too.
    pub fn begin(&self) {
        self.0.shared.begin();
    }

    /// Waits until all of it is there. Cancel safe.
    ///
    /// # Errors
    /// [`FileError`], in the words of whatever ended it.
    pub async fn whole(&self) -> Result<(), FileError> {
        self.0.shared.whole().await
    }

    /// Makes ready to decode it as it arrives. Blocks until its beginning is there: for a thread.
    ///
    /// `waits` is called with `true` when what is asked for has not arrived, and with `false`
    /// when it has. When `interrupt` is set, who waits is told
    /// [`WouldBlock`](std::io::ErrorKind::WouldBlock).
    ///
    /// # Errors
    /// [`DecodeError::Read`] when it does not arrive, and what else may be wrong with a file.
    pub fn open(
        &self,
        interrupt: &Interrupt,
        waits: impl Fn(bool) + Send + Sync + 'static,
    ) -> Result<Decoder, DecodeError> {
        self.begin();
        let arriving = Arriving::new(self.clone(), interrupt.clone(), Box::new(waits));
        Decoder::open(Box::new(arriving?), Seeking::Quick)
    }

    fn shared(&self) -> &Shared {
        &self.0.shared
    }
}
