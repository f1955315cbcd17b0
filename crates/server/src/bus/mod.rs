//! How what the core decides reaches the sessions, wherever their connections are.
//!
//! The core names sessions; a [`Bus`] brings each [`Parcel`] to the [`Doors`] behind which they
//! are. Two exist: [`DirectBus`] knocks at once, [`QueuedBus`] hands encoded parcels over a bounded
//! queue, as it would have to be between processes. One suite of tests runs over both.

mod direct;
mod queued;
#[cfg(test)]
mod tests;
mod wire;

use bytes::Bytes;
use portolan_transport::CloseCode;
use tokio::sync::Notify;

pub use direct::DirectBus;
pub use queued::{Bounds, QueuedBus};

use crate::core::SessionId;

/// Something for sessions: frames are encoded once, however many get them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parcel {
    /// The answer to a request.
    Answer {
        /// Whose.
        to: SessionId,
        /// The frame.
        frame: Bytes,
    },
    /// News, for whoever of these is still there.
    News {
        /// For whom.
        to: Vec<SessionId>,
        /// The frame.
        frame: Bytes,
        /// What it is worth.
        weight: Weight,
        /// Whether it is somebody's message.
        kind: NewsKind,
    },
    /// The last parcel of a session.
    End {
        /// Whose.
        to: SessionId,
        /// The code for the transport.
        code: CloseCode,
        /// Words for the remote.
        reason: String,
    },
}

/// How much news matter to a client that does not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Left out when the queue is half full: it can be asked for, or is only nice to know.
    Advisory,
    /// Never left out: a client that cannot take it is too slow.
    Binding,
    /// The last word; there is always room for it.
    Last,
}

/// What news are counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewsKind {
    /// A message of a user.
    Message,
    /// Anything else.
    Other,
}

/// Where the connections of sessions end: takes parcels for those that it has, and forgets the
/// others.
pub trait Doors: Send + Sync {
    /// Puts a parcel through, without waiting; sessions that are too slow for it go to `slow`.
    fn put_through(&self, parcel: Parcel, slow: &mut Vec<SessionId>);
}

/// Brings parcels to sessions. The seam behind which these can be on other machines.
///
/// Parcels of one session arrive in the order in which they were given. Nothing is promised about a
/// session that is gone, or that a crash takes: what must arrive comes again from the
/// [`Store`](crate::store::Store).
pub trait Bus: Send + Sync {
    /// Takes a parcel, without waiting; sessions that are found to be too slow right away go to
    /// `slow`.
    fn publish(&self, parcel: Parcel, slow: &mut Vec<SessionId>);

    /// Whether another request may be read; if not, `made` tells when to look again.
    fn has_room(&self) -> bool;

    /// Told when there may be room.
    fn made_room(&self) -> &Notify;

    /// Delivers what was taken, and ends. May block for as long as that takes.
    fn close(&self);
}

/// Waits until the bus has room for what another request causes. Cancel safe.
pub(crate) async fn wait_for_room(bus: &dyn Bus) {
    loop {
        let made = bus.made_room().notified();
        tokio::pin!(made);
        made.as_mut().enable();
        if bus.has_room() {
            return;
        }
        made.await;
    }
}
