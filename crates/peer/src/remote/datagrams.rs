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
use portolan_protocol::{DatagramHead, DatagramKind, Name};
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
    /// Where reports of what we send go, by who tells and the number that they have given out.
    reports: HashMap<(Name, u32), mpsc::Sender<Bytes>>,
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
        let (who, reports) = (who.clone(), None);
        DatagramInbox { number, who, reports, receiver, datagrams: Arc::clone(self) }
    }

    /// Takes a datagram of `who`. Never waits.
    pub(crate) fn on_datagram(&self, who: &Name, datagram: Bytes) {
        let Some(head) = DatagramHead::read(&datagram) else {
            self.unknown.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let streams = self.lock();
        match streams.queue(who, head) {
            Some(queue) => {
                if queue.try_send(datagram).is_err() {
                    self.overflowed.fetch_add(1, Ordering::Relaxed);
                }
            }
            None => drop(self.stray.fetch_add(1, Ordering::Relaxed)),
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

impl Streams {
    fn queue(&self, who: &Name, head: DatagramHead) -> Option<&mpsc::Sender<Bytes>> {
        match head.kind {
            DatagramKind::Audio => {
                let (owner, queue) = self.by_number.get(&head.stream)?;
                (owner == who).then_some(queue)
            }
            DatagramKind::Report => self.reports.get(&(who.clone(), head.stream)),
        }
    }
}

/// What comes in under one stream number. Dropping it takes the number back.
#[derive(Debug)]
pub(crate) struct DatagramInbox {
    number: u32,
    who: Name,
    /// Of which number of theirs reports come here.
    reports: Option<u32>,
    receiver: mpsc::Receiver<Bytes>,
    datagrams: Arc<Datagrams>,
}

impl DatagramInbox {
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Lets reports about what we send under their number `stream` come here too.
    pub(crate) fn take_reports(&mut self, stream: u32) {
        let mut streams = self.datagrams.lock();
        if let Some((_, queue)) = streams.by_number.get(&self.number) {
            let queue = queue.clone();
            streams.reports.insert((self.who.clone(), stream), queue);
            self.reports = Some(stream);
        }
    }

    /// Waits for the next one. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        self.receiver.recv().await
    }
}

impl Drop for DatagramInbox {
    fn drop(&mut self) {
        let mut streams = self.datagrams.lock();
        streams.by_number.remove(&self.number);
        if let Some(stream) = self.reports {
            streams.reports.remove(&(self.who.clone(), stream));
        }
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

        // Reports go to who sends what they speak of.
        let report = |stream| {
            let head = DatagramHead { kind: DatagramKind::Report, stream };
            Bytes::copy_from_slice(&head.bytes())
        };
        first.take_reports(900);
        datagrams.on_datagram(&alice, report(900));
        assert_eq!(first.next().await, Some(report(900)));
        datagrams.on_datagram(&bob, report(900));
        datagrams.on_datagram(&alice, report(first.number()));
        assert_eq!(datagrams.dropped(), [2, 4, 0]);

        for _ in 0..WAITING_MAX + 3 {
            datagrams.on_datagram(&bob, audio(second.number()));
        }
        assert_eq!(datagrams.dropped(), [2, 4, 3]);
        let number = second.number();
        drop(second);
        datagrams.on_datagram(&bob, audio(number));
        assert_eq!(datagrams.dropped(), [2, 5, 3]);
    }
}
