//! Where those meet whom another server has introduced: each shows a pass, and the second finds
//! the first.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use portolan_protocol::{
    Enter, Message, Opened, OpeningMessage, PassTerms, Ready, RelayChannel, RequestId, Side,
};
use portolan_protocol_io::{FrameReader, FrameWriter};
use portolan_transport::{RecvStream, SendStream};
use tokio::{sync::oneshot, time::timeout};

use super::{
    channels::{OpenChannel, Quota},
    relay::{Bounds, End, Ending, reset, splice},
    session::{Context, refuse},
};
use crate::{
    close_code,
    core::{Entrance, RelayId, SessionId},
};

/// Those who wait for the other side.
#[derive(Default)]
pub(super) struct Lobby(Mutex<HashMap<RelayId, Waiting>>);

struct Waiting {
    seat: oneshot::Sender<End>,
    /// The way for datagrams of the one who is waited for.
    channel: Option<RelayChannel>,
}

/// What a pass has led to.
pub(super) enum Seat {
    /// The other side will come.
    First(First),
    /// The other side waits.
    Second(Option<RelayChannel>, oneshot::Sender<End>),
}

/// Who came first carries for both.
pub(super) struct First {
    relay: RelayId,
    arrives: oneshot::Receiver<End>,
    quota: Quota,
    /// Our way for datagrams.
    own: Option<RelayChannel>,
    /// Closed when this is dropped.
    _channel: Option<OpenChannel>,
}

impl Lobby {
    /// Finds the seat of somebody whom the core has let in.
    pub(super) fn seat(
        &self,
        entrance: Entrance,
        terms: &PassTerms,
        open: impl FnOnce(&Quota) -> Option<OpenChannel>,
    ) -> Option<Seat> {
        let relay = match entrance {
            Entrance::First(relay) => relay,
            Entrance::Second(relay) => {
                let Waiting { seat, channel } = self.lock().remove(&relay)?;
                return Some(Seat::Second(channel, seat));
            }
        };
        let quota = Quota::of(terms.bytes);
        let channel = open(&quota);
        let sides = channel.as_ref().map(|open| (open.caller.clone(), open.callee.clone()));
        let (own, theirs) = match (sides, terms.side) {
            (None, _) => (None, None),
            (Some((caller, callee)), Side::Caller) => (Some(caller), Some(callee)),
            (Some((caller, callee)), Side::Callee) => (Some(callee), Some(caller)),
        };
        let (seat, arrives) = oneshot::channel();
        self.lock().insert(relay, Waiting { seat, channel: theirs });
        Some(Seat::First(First { relay, arrives, quota, own, _channel: channel }))
    }

    /// Nobody is waited for any more.
    pub(super) fn leave(&self, relay: RelayId) {
        self.lock().remove(&relay);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RelayId, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves a stream on which somebody shows a pass.
pub(super) async fn serve(
    context: &Arc<Context>,
    (session, id, enter): (SessionId, RequestId, Enter),
    reader: FrameReader<RecvStream>,
    mut writer: FrameWriter<SendStream>,
) {
    match context.hub.enter_relay(session, &enter.pass) {
        Err(error) => {
            tracing::debug!(code = %error.code, "a pass was refused");
            refuse(&mut writer, id, error).await;
        }
        Ok(Seat::Second(channel, seat)) => {
            if ready(&mut writer, id, channel).await {
                // Given back if the first has left meanwhile; dropped, it resets the stream.
                drop(seat.send(End { recv: reader.into_raw(), send: writer.into_inner() }));
            }
        }
        Ok(Seat::First(first)) => {
            let lasts = Duration::from_millis(enter.pass.terms.lasts_ms);
            let mut ending = Ending::new(&context.hub, first.relay);
            "the other side has not come".clone_into(&mut ending.how);
            if !ready(&mut writer, id, first.own.clone()).await {
                return;
            }
            let own = End { recv: reader.into_raw(), send: writer.into_inner() };
            carry(context, first, own, (lasts, &mut ending)).await;
        }
    }
}

/// Waits for the other side, and carries between the two.
async fn carry(
    context: &Arc<Context>,
    first: First,
    mut own: End,
    (lasts, ending): (Duration, &mut Ending<'_>),
) {
    let Ok(Ok(mut other)) = timeout(context.timing.relay_open, first.arrives).await else {
        return reset([&mut own], close_code::RELAY_GONE);
    };
    "the session of one side ended".clone_into(&mut ending.how);
    let bounds = Bounds::new(context, first.quota.clone());
    let carrying = splice(context, (&mut own, &mut other), &bounds, &ending.bytes);
    let how = match timeout(lasts, carrying).await {
        Ok(how) => how,
        Err(_) => {
            reset([&mut own, &mut other], close_code::RELAY_SPENT);
            "the time of the pass is over"
        }
    };
    how.clone_into(&mut ending.how);
}

async fn ready(
    writer: &mut FrameWriter<SendStream>,
    id: RequestId,
    channel: Option<RelayChannel>,
) -> bool {
    let ready: OpeningMessage =
        Message::Answer(id, Opened::Ready(Ready { channel, ..Ready::default() }));
    writer.send(&ready).await.is_ok()
}
