//! Relays besides the server: the server says where one is and gives a pass for it; it is dialled
//! like a peer, pinned to its key, and brings us together with whoever holds the other pass.

use std::{net::SocketAddr, sync::Arc};

use portolan_identity::{Expect, PeerId};
use portolan_protocol::{
    Enter, Message, Opened, Opening, OpeningMessage, PLACES_MAX, RelayChannel, RelayPlace,
    RequestId,
};
use portolan_protocol_io::{FrameReader, FrameWriter};
use portolan_transport::{ByteStream, CloseCode, Connection, Priority};
use tokio::{
    task::JoinSet,
    time::{Duration, sleep, timeout},
};

use super::port::{Port, canonical, is_sane};

/// A relay that has not let us in by then is given up.
const ENTER_PATIENCE: Duration = Duration::from_secs(2);
/// Before the next relay is tried beside one that has not answered yet.
const NEXT_RELAY: Duration = Duration::from_millis(500);

/// A relay that carries a session.
#[derive(Debug, Clone)]
pub(crate) struct At {
    pub(crate) id: PeerId,
    pub(crate) addr: SocketAddr,
    /// How it was reached.
    pub(crate) scheme: &'static str,
    /// What its streams and its channel last as long as.
    pub(crate) connection: Arc<dyn Connection>,
}

/// What a relay has let us in with.
pub(super) struct Entered {
    pub(super) at: At,
    pub(super) carrier: Box<dyn ByteStream>,
    pub(super) channel: Option<RelayChannel>,
}

/// Shows the pass at the relay of `place`.
pub(super) async fn enter(
    port: Arc<Port>,
    place: RelayPlace,
    is_same_host: bool,
) -> Result<Entered, String> {
    let addr = place.address.parse().map(canonical);
    let addr = addr.map_err(|_| format!("{} is no address", place.address))?;
    if !is_sane(addr, is_same_host) {
        return Err(format!("{addr} is no place for a relay"));
    }
    let entering = async {
        let connection = port.endpoint.connect(addr, Expect::Id(place.id)).await;
        let connection = connection.map_err(|error| error.to_string())?;
        let shown = show(&connection, place).await;
        shown.inspect_err(|_| connection.close(CloseCode::DONE, "not let in")).map(
            |(carrier, channel, id)| {
                let at = At { id, addr, scheme: port.transport.scheme(), connection };
                Entered { at, carrier, channel }
            },
        )
    };
    let entered = timeout(ENTER_PATIENCE, entering).await;
    entered.unwrap_or_else(|_| Err(format!("the relay at {addr} does not answer")))
}

/// Tries relays, one beside the other, until one has let us in.
pub(super) async fn enter_any(
    port: &Arc<Port>,
    places: &[RelayPlace],
    is_same_host: bool,
) -> Option<Entered> {
    let mut places = places.iter().take(PLACES_MAX);
    let mut attempts = JoinSet::new();
    loop {
        if let Some(place) = places.next() {
            attempts.spawn(enter(Arc::clone(port), place.clone(), is_same_host));
        } else if attempts.is_empty() {
            return None;
        }
        let next = async {
            match places.len() {
                0 => std::future::pending().await,
                _ => sleep(NEXT_RELAY).await,
            }
        };
        tokio::select! {
            Some(attempt) = attempts.join_next() => match attempt {
                Ok(Ok(entered)) => return Some(entered),
                Ok(Err(why)) => tracing::debug!(why, "a relay is of no use"),
                Err(error) => tracing::error!(%error, "entering a relay failed"),
            },
            () = next => {}
        }
    }
}

type Shown = (Box<dyn ByteStream>, Option<RelayChannel>, PeerId);

async fn show(connection: &Arc<dyn Connection>, place: RelayPlace) -> Result<Shown, String> {
    let opened = connection.open_stream(Priority::Bulk).await;
    let (send, receive) = opened.map_err(|error| error.to_string())?;
    let (mut reader, mut writer) = (FrameReader::new(receive), FrameWriter::new(send));
    let RelayPlace { id, pass, .. } = place;
    let request: OpeningMessage = Message::Request(RequestId(1), Opening::Enter(Enter { pass }));
    writer.send(&request).await.map_err(|error| error.to_string())?;
    let answer: Result<OpeningMessage, _> = reader.next_message().await;
    match answer.map_err(|error| error.to_string())? {
        Message::Answer(_, Opened::Ready(ready)) => {
            let carrier = tokio::io::join(reader.into_raw(), writer.into_inner());
            Ok((Box::new(carrier), ready.channel, id))
        }
        Message::Error(_, body) => Err(body.to_string()),
        Message::Answer(_, Opened::Load(_)) | Message::Request(..) => {
            Err("the relay answered something else".to_owned())
        }
        Message::Event(nothing) => match nothing {},
    }
}
