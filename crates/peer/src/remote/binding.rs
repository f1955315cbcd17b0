//! Our side of a relay's channel: tells the relay where we are, again and again.

use std::{net::SocketAddr, sync::Arc};

use portolan_datagram_io::{Channel, LaneSocket, RelayFrame, RelayKey, Transmit};
use portolan_protocol::RelayChannel;
use tokio::{
    sync::{mpsc, watch},
    time::{Duration, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::port::RelayLane;

/// Between two bindings: within the shortest time that translators keep a mapping, and often
/// enough to notice soon that a relay has gone.
const REFRESH: Duration = Duration::from_secs(5);
/// For the first answer; doubled for each that does not come.
const ANSWER_FIRST: Duration = Duration::from_millis(250);
/// At most.
const ANSWER_MAX: Duration = Duration::from_secs(4);

/// A relay that has left so many bindings unanswered, one after the other, may be gone.
const SILENT_AFTER: u32 = 3;

/// A channel through the relay, kept open until this is dropped.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) channel: Channel,
    seen: watch::Receiver<Option<SocketAddr>>,
    unanswered: watch::Receiver<u32>,
    _keeping: AbortOnDropHandle<()>,
}

impl Binding {
    /// Binds our side of `channel` at the relay of the server at `server`.
    pub(super) fn new(lane: &RelayLane, server: SocketAddr, channel: &RelayChannel) -> Self {
        let relay = SocketAddr::new(server.ip().to_canonical(), channel.port);
        let (tell, seen) = watch::channel(None);
        let (count, unanswered) = watch::channel(0);
        let keeper = Keeper {
            socket: Arc::clone(&lane.socket),
            relay,
            number: channel.number,
            key: RelayKey(channel.key.0),
            answers: lane.listen(relay, channel.number),
            tell,
            unanswered: count,
            counter: 0,
        };
        let channel = lane.socket.open_channel(relay, channel.number);
        let _keeping = AbortOnDropHandle::new(tokio::spawn(keeper.run()));
        Self { channel, seen, unanswered, _keeping }
    }

    /// Where the relay sees us, once it has answered; `None`: it does not answer in time.
    pub(super) async fn bound(&self, patience: Duration) -> Option<SocketAddr> {
        let mut seen = self.seen.clone();
        let bound = timeout(patience, seen.wait_for(Option::is_some)).await;
        bound.ok()?.ok().and_then(|seen| *seen)
    }

    /// Waits until a relay that has answered before does so no more. Cancel safe.
    pub(super) async fn fell_silent(&self) {
        let (mut seen, mut unanswered) = (self.seen.clone(), self.unanswered.clone());
        let has_ended = seen.wait_for(Option::is_some).await.is_err()
            || unanswered.wait_for(|count| *count >= SILENT_AFTER).await.is_err();
        if has_ended {
            std::future::pending::<()>().await;
        }
    }
}

struct Keeper {
    socket: Arc<LaneSocket>,
    relay: SocketAddr,
    number: u64,
    key: RelayKey,
    answers: mpsc::Receiver<Vec<u8>>,
    tell: watch::Sender<Option<SocketAddr>>,
    /// Bindings, since the last answer.
    unanswered: watch::Sender<u32>,
    counter: u64,
}

impl Keeper {
    async fn run(mut self) {
        loop {
            let mut patience = ANSWER_FIRST;
            while !self.bind(patience).await {
                patience = ANSWER_MAX.min(patience * 2);
                self.unanswered.send_modify(|count| *count = count.saturating_add(1));
            }
            self.unanswered.send_if_modified(|count| std::mem::take(count) > 0);
            sleep(REFRESH).await;
        }
    }

    /// Asks once; whether the relay has answered.
    async fn bind(&mut self, patience: Duration) -> bool {
        self.counter += 1;
        let frame = RelayFrame::bind(&self.key, self.number, self.counter);
        let transmit = Transmit {
            destination: self.relay,
            ecn: None,
            contents: &frame,
            segment_size: None,
            src_ip: None,
        };
        // One that the system has no room for is lost, and asked again.
        let _ = self.socket.try_send(&transmit);
        timeout(patience, self.answer()).await.is_ok_and(|seen| {
            self.tell.send_if_modified(|known| std::mem::replace(known, seen) != seen);
            true
        })
    }

    /// Waits for a genuine answer to the last question.
    async fn answer(&mut self) -> Option<SocketAddr> {
        loop {
            let frame = self.answers.recv().await?;
            match RelayFrame::decode(&frame) {
                Some(RelayFrame::Bound { counter, seen, .. })
                    if counter == self.counter && self.key.has_made(&frame) =>
                {
                    return Some(seen);
                }
                Some(
                    RelayFrame::Bound { .. } | RelayFrame::Bind { .. } | RelayFrame::Data { .. },
                )
                | None => {}
            }
        }
    }
}
