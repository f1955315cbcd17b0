//! Datagrams from other peers: each goes to whom its stream number belongs, or is counted and
//! dropped.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use portolan_protocol::{DatagramHead, Name};
use tokio::sync::mpsc;

/// Datagrams of one stream that wait to be taken: more than a second of audio in frames of 20 ms.
const WAITING_MAX: usize = 64;

/// All streams that datagrams may belong to.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    streams: Mutex<Streams>,
    /// Of unknown kinds, or too short.
    unknown: AtomicU64,
    /// For streams that nobody has, or that are another's.
    stray: AtomicU64,
    /// Came faster than they were taken.
    overflowed: AtomicU64,
}

#[derive(Debug, Default)]
struct Streams {
    last: u32,
    by_number: HashMap<u32, (Name, mpsc::Sender<Bytes>)>,
}

impl Datagrams {
    /// Gives out a stream number to `who`, whose datagrams come in from now on.
    pub(crate) fn register(self: &Arc<Self>, who: &Name) -> DatagramInbox {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let mut streams = self.lock();
        let mut number = streams.last.wrapping_add(1);
        while streams.by_number.contains_key(&number) {
            number = number.wrapping_add(1);
        }
        streams.last = number;
        streams.by_number.insert(number, (who.clone(), sender));
        drop(streams);
        DatagramInbox { number, receiver, datagrams: Arc::clone(self) }
    }

    /// Takes a datagram of `who`. Never waits.
    pub(crate) fn on_datagram(&self, who: &Name, datagram: Bytes) {
        let Some(head) = DatagramHead::read(&datagram) else {
            self.unknown.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let streams = self.lock();
        match streams.by_number.get(&head.stream) {
            Some((owner, queue)) if owner == who => {
                if queue.try_send(datagram).is_err() {
                    self.overflowed.fetch_add(1, Ordering::Relaxed);
                }
            }
            Some(_) | None => drop(self.stray.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Datagrams that were dropped: unknown, stray, overflowed.
    #[cfg(test)]
    fn dropped(&self) -> [u64; 3] {
        [&self.unknown, &self.stray, &self.overflowed].map(|count| count.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What comes in under one stream number. Dropping it takes the number back.
#[derive(Debug)]
pub(crate) struct DatagramInbox {
    number: u32,
    #[cfg_attr(not(test), expect(dead_code, reason = "sound is taken from it next"))]
    receiver: mpsc::Receiver<Bytes>,
    datagrams: Arc<Datagrams>,
}

impl DatagramInbox {
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Waits for the next one. Cancel safe.
    #[cfg(test)]
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        self.receiver.recv().await
    }
}

impl Drop for DatagramInbox {
    fn drop(&mut self) {
        self.datagrams.lock().by_number.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use portolan_protocol::{DatagramHead, DatagramKind, Name};

    use super::{Datagrams, WAITING_MAX};

    fn audio(stream: u32) -> Bytes {
        Bytes::copy_from_slice(&DatagramHead { kind: DatagramKind::Audio, stream }.bytes())
    }

    #[tokio::test]
    async fn each_datagram_reaches_its_stream_and_no_other() {
        let (alice, bob) = (Name::new("alice").unwrap(), Name::new("bob").unwrap());
        let datagrams = Arc::new(Datagrams::default());
        let mut first = datagrams.register(&alice);
        let second = datagrams.register(&bob);
        assert_ne!(first.number(), second.number());

        datagrams.on_datagram(&alice, audio(first.number()));
        assert_eq!(first.next().await, Some(audio(first.number())));
        // Another's number, a number of nobody, an unknown kind, no datagram of ours.
        datagrams.on_datagram(&bob, audio(first.number()));
        datagrams.on_datagram(&bob, audio(77));
        datagrams.on_datagram(&bob, Bytes::from_static(&[0x3f, 0, 0, 0, 1]));
        datagrams.on_datagram(&bob, Bytes::new());
        assert_eq!(datagrams.dropped(), [2, 2, 0]);

        for _ in 0..WAITING_MAX + 3 {
            datagrams.on_datagram(&bob, audio(second.number()));
        }
        assert_eq!(datagrams.dropped(), [2, 2, 3]);
        let number = second.number();
        drop(second);
        datagrams.on_datagram(&bob, audio(number));
        assert_eq!(datagrams.dropped(), [2, 3, 3]);
    }
}
