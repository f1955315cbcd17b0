//! The other relays of this server: which of them answer, how much they have to do, and the passes
//! that bring two users to one of them (`docs/relay.md`).

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use portolan_identity::{Expect, Identity, PeerId};
use portolan_protocol::{
    AskLoad, Elsewhere, Introduction, Message, Opened, Opening, OpeningMessage, PLACES_MAX,
    PassTerms, RelayInfo, RelayLoad, RelayPass, RelayPlace, RequestId, Side, Signature, Timestamp,
};
use portolan_protocol_io::{FrameReader, FrameWriter};
use portolan_transport::{CloseCode, Connection, Endpoint, Priority};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{clock, hub::Hub};
use crate::{
    config::{Config, RelayServer},
    event_log::LogEntry,
};

/// Between two questions.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// A relay that does not answer in this time does not answer.
const ANSWER_TIME: Duration = Duration::from_secs(3);
/// A pass is to be shown within this time.
const PASS_MS: u64 = 60_000;

/// Every other relay.
pub(super) struct Relays {
    identity: Identity,
    known: Vec<Known>,
    /// Whose turn it is among those who have as much to do.
    turn: AtomicUsize,
    lasts_ms: u64,
    bytes: u64,
}

/// One of them.
struct Known {
    server: RelayServer,
    state: Mutex<State>,
    /// Introductions, since the start.
    handed: AtomicU64,
}

#[derive(Default)]
struct State {
    up: bool,
    load: RelayLoad,
    /// Introductions since the last answer.
    since: u64,
    why: String,
}

/// Where two can meet: what the caller and the callee are given.
pub(super) struct Meeting {
    pub(super) caller: RelayPlace,
    pub(super) callee: RelayPlace,
}

impl Relays {
    pub(super) fn new(config: &Config) -> Self {
        let lasts = config.timing.pass_lasts.as_millis();
        let known = |server: &RelayServer| Known {
            server: *server,
            state: Mutex::default(),
            handed: AtomicU64::new(0),
        };
        Self {
            identity: config.identity.clone(),
            known: config.relays.iter().map(known).collect(),
            turn: AtomicUsize::new(0),
            lasts_ms: u64::try_from(lasts).unwrap_or(u64::MAX),
            bytes: config.limits.pass_bytes,
        }
    }

    /// Where the two can meet, those with the least to do first; nowhere: only here.
    pub(super) fn places(
        &self,
        wish: &Elsewhere,
        (caller, callee): (PeerId, PeerId),
    ) -> Vec<Meeting> {
        let count = self.known.len().max(1);
        let turn = self.turn.fetch_add(1, Relaxed) % count;
        let mut usable: Vec<(u64, &Known)> = self
            .known
            .iter()
            .cycle()
            .skip(turn)
            .take(self.known.len())
            .filter(|known| !wish.without.contains(&known.server.id))
            .filter_map(|known| Some((known.work()?, known)))
            .collect();
        usable.sort_by_key(|(work, _)| *work);
        let offered = usable.into_iter().take(PLACES_MAX);
        offered.filter_map(|(_, known)| self.meeting(known, (caller, callee))).collect()
    }

    /// Notes that two have gone there.
    pub(super) fn on_handed(&self, relay: PeerId) {
        if let Some(known) = self.known.iter().find(|known| known.server.id == relay) {
            known.handed.fetch_add(1, Relaxed);
            known.lock().since += 1;
        }
    }

    /// How each of them fares.
    pub(super) fn info(&self) -> Vec<RelayInfo> {
        self.known.iter().map(Known::info).collect()
    }

    /// Asks all of them again and again, for as long as it is awaited.
    pub(super) async fn watch(self: Arc<Self>, hub: Arc<Hub>, endpoints: Vec<Arc<dyn Endpoint>>) {
        let mut watching = JoinSet::new();
        for place in 0..self.known.len() {
            let (relays, hub, endpoints) = (Arc::clone(&self), Arc::clone(&hub), endpoints.clone());
            watching.spawn(async move {
                // Another transport each time: one of them may be blocked on the way.
                for endpoint in endpoints.iter().cycle() {
                    let Some(known) = relays.known.get(place) else { return };
                    let Err(why) = known.ask(&hub, endpoint).await;
                    known.set_down(&hub, why);
                    sleep(ASK_EVERY).await;
                }
            });
        }
        while watching.join_next().await.is_some() {}
    }

    fn meeting(&self, known: &Known, (caller, callee): (PeerId, PeerId)) -> Option<Meeting> {
        let mut number = [0; 16];
        portolan_identity::provider().secure_random.fill(&mut number).ok()?;
        let until = Timestamp(clock::now().wall.0.saturating_add(PASS_MS));
        let place = |side, holder, other| {
            let terms = PassTerms {
                issuer: self.identity.id(),
                relay: known.server.id,
                introduction: Introduction(number),
                side,
                holder,
                other,
                until,
                lasts_ms: self.lasts_ms,
                bytes: self.bytes,
            };
            let signature = Signature::new(&self.identity.sign(&terms.to_be_signed()));
            let pass = RelayPass { terms, signature };
            RelayPlace { id: known.server.id, address: known.server.address.to_string(), pass }
        };
        Some(Meeting {
            caller: place(Side::Caller, caller, callee),
            callee: place(Side::Callee, callee, caller),
        })
    }
}

impl Known {
    /// How much it has to do, as far as is known; `None`: it does not answer.
    fn work(&self) -> Option<u64> {
        let state = self.lock();
        state.up.then(|| state.load.relays + state.since)
    }

    fn info(&self) -> RelayInfo {
        let state = self.lock();
        RelayInfo {
            id: self.server.id,
            address: self.server.address.to_string(),
            up: state.up,
            load: state.load,
            handed: self.handed.load(Relaxed),
            why: state.why.clone(),
        }
    }

    /// Asks over one connection until that fails.
    async fn ask(
        &self,
        hub: &Hub,
        endpoint: &Arc<dyn Endpoint>,
    ) -> Result<std::convert::Infallible, String> {
        let connecting = endpoint.connect(self.server.address, Expect::Id(self.server.id));
        let connected = timeout(ANSWER_TIME, connecting).await;
        let connection = match connected {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("it does not answer".to_owned()),
        };
        loop {
            let load = tokio::select! {
                load = timeout(ANSWER_TIME, ask_load(&*connection)) => load,
                reason = connection.closed() => return Err(reason.to_string()),
            };
            match load {
                Ok(Ok(load)) => self.set_up(hub, load),
                Ok(Err(why)) => {
                    connection.close(CloseCode::DONE, "");
                    return Err(why);
                }
                Err(_) => {
                    connection.close(CloseCode::DONE, "");
                    return Err("it does not answer any more".to_owned());
                }
            }
            tokio::select! {
                () = sleep(ASK_EVERY) => {}
                reason = connection.closed() => return Err(reason.to_string()),
            }
        }
    }

    fn set_up(&self, hub: &Hub, load: RelayLoad) {
        let mut state = self.lock();
        let is_news = !state.up;
        *state = State { up: true, load, since: 0, why: String::new() };
        drop(state);
        if is_news {
            self.log(hub, true, String::new());
        }
    }

    fn set_down(&self, hub: &Hub, why: String) {
        let mut state = self.lock();
        // Words of the first failure; what follows is mostly the same.
        let is_news = state.up || state.why.is_empty();
        state.up = false;
        state.why.clone_from(&why);
        drop(state);
        if is_news {
            tracing::warn!(address = %self.server.address, why, "a relay does not answer");
            self.log(hub, false, why);
        }
    }

    fn log(&self, hub: &Hub, up: bool, reason: String) {
        let RelayServer { address, id } = self.server;
        hub.log(LogEntry::RelayServer { id, address: address.to_string(), up, reason });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask_load(connection: &dyn Connection) -> Result<RelayLoad, String> {
    let opened = connection.open_stream(Priority::Control).await;
    let (send, receive) = opened.map_err(|error| error.to_string())?;
    let (mut reader, mut writer) = (FrameReader::new(receive), FrameWriter::new(send));
    let question: OpeningMessage = Message::Request(RequestId(1), Opening::Load(AskLoad {}));
    writer.send(&question).await.map_err(|error| error.to_string())?;
    let _ended = writer.get_mut().finish();
    let answer: Result<OpeningMessage, _> = reader.next_message().await;
    match answer.map_err(|error| error.to_string())? {
        Message::Answer(_, Opened::Load(load)) => Ok(load),
        Message::Error(_, error) => Err(error.to_string()),
        Message::Answer(_, Opened::Ready(_)) | Message::Request(..) => {
            Err("it answers something that was not asked".to_owned())
        }
        Message::Event(nothing) => match nothing {},
    }
}

#[cfg(test)]
mod tests {
    use portolan_identity::verify;

    use super::*;

    fn key(of: u8) -> PeerId {
        PeerId::from_bytes([of; 32])
    }

    /// Relays with so much to do each; `None`: it does not answer.
    fn relays(work: &[Option<u64>]) -> Relays {
        let listen = ([127, 0, 0, 1], 0).into();
        let mut config = Config::new(listen, &[], Identity::from_seed([7; 32]));
        let server = |of| RelayServer { address: ([192, 0, 2, of], 7275).into(), id: key(of) };
        config.relays = (1..).zip(work).map(|(of, _)| server(of)).collect();
        let relays = Relays::new(&config);
        for (known, work) in relays.known.iter().zip(work) {
            let load = RelayLoad { relays: work.unwrap_or_default(), bytes: 0 };
            *known.lock() = State { up: work.is_some(), load, ..State::default() };
        }
        relays
    }

    fn offered(relays: &Relays, without: &[u8]) -> Vec<PeerId> {
        let wish = Elsewhere { without: without.iter().map(|of| key(*of)).collect() };
        let places = relays.places(&wish, (key(101), key(102)));
        places.iter().map(|meeting| meeting.caller.id).collect()
    }

    #[test]
    fn those_with_the_least_to_do_are_offered_first_and_those_that_are_down_never() {
        let relays = relays(&[Some(5), None, Some(1), Some(3), Some(4)]);
        assert_eq!(offered(&relays, &[]), [3, 4, 5].map(key), "three at most");
        assert_eq!(offered(&relays, &[3, 5]), [4, 1].map(key), "without those of no use");
        for _ in 0..3 {
            relays.on_handed(key(3));
        }
        assert_eq!(offered(&relays, &[])[0], key(4), "before it has said so itself");
        assert_eq!(relays.info()[2].handed, 3);
        assert_eq!(offered(&relays, &[1, 3, 4, 5]), []);
    }

    #[test]
    fn those_with_as_much_to_do_take_turns() {
        let relays = relays(&[Some(2), Some(2), Some(2)]);
        let first: Vec<PeerId> = (0..6).map(|_| offered(&relays, &[])[0]).collect();
        assert_eq!(first, [1, 2, 3, 1, 2, 3].map(key));
    }

    #[test]
    fn both_sides_get_a_pass_for_the_same_introduction_and_no_other() {
        let relays = relays(&[Some(0)]);
        let meet = || relays.places(&Elsewhere::default(), (key(101), key(102))).remove(0);
        let (meeting, other) = (meet(), meet());
        let (caller, callee) = (meeting.caller.pass, meeting.callee.pass);
        for pass in [&caller, &callee] {
            let signed = (pass.terms.to_be_signed(), pass.signature.to_bytes());
            assert!(verify(&relays.identity.id(), &signed.0, &signed.1).is_ok());
            assert_eq!(pass.terms.relay, key(1));
        }
        assert_eq!((caller.terms.holder, caller.terms.other), (key(101), key(102)));
        assert_eq!((callee.terms.holder, callee.terms.other), (key(102), key(101)));
        assert_eq!(caller.terms.introduction, callee.terms.introduction);
        assert_ne!(caller.terms.introduction, other.caller.pass.terms.introduction);
    }
}
