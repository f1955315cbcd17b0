//! One suite over both kinds of bus, and what only the one with a queue can show.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use bytes::Bytes;
use portolan_transport::CloseCode;

use super::{
    Bounds, Bus, DirectBus, Doors, NewsKind, Parcel, QueuedBus, Weight, wait_for_room, wire,
};
use crate::core::SessionId;

const ALICE: SessionId = SessionId(1);
const BOB: SessionId = SessionId(2);
const SLOW: SessionId = SessionId(9);

/// What came through each door, in order. They can be held shut.
#[derive(Default)]
struct Hall {
    through: Mutex<BTreeMap<SessionId, Vec<Parcel>>>,
    is_shut: Mutex<bool>,
    opened: Condvar,
}

impl Hall {
    fn set_shut(&self, shut: bool) {
        *self.is_shut.lock().unwrap_or_else(PoisonError::into_inner) = shut;
        self.opened.notify_all();
    }

    fn came_to(&self, session: SessionId) -> Vec<Parcel> {
        self.through.lock().unwrap().get(&session).cloned().unwrap_or_default()
    }
}

impl Doors for Hall {
    fn put_through(&self, parcel: Parcel, slow: &mut Vec<SessionId>) {
        let shut = self.is_shut.lock().unwrap();
        drop(self.opened.wait_while(shut, |shut| *shut).unwrap());
        let to = match &parcel {
            Parcel::Answer { to, .. } | Parcel::End { to, .. } => vec![*to],
            Parcel::News { to, .. } => to.clone(),
        };
        slow.extend(to.iter().filter(|session| **session == SLOW));
        let mut through = self.through.lock().unwrap();
        for session in to {
            through.entry(session).or_default().push(parcel.clone());
        }
    }
}

fn news(to: &[SessionId], text: &str) -> Parcel {
    Parcel::News {
        to: to.to_vec(),
        frame: Bytes::copy_from_slice(text.as_bytes()),
        weight: Weight::Binding,
        kind: NewsKind::Message,
    }
}

fn answer(to: SessionId, text: &str) -> Parcel {
    Parcel::Answer { to, frame: Bytes::copy_from_slice(text.as_bytes()) }
}

fn end(to: SessionId) -> Parcel {
    Parcel::End { to, code: CloseCode(20), reason: "you logged in elsewhere".into() }
}

const BOUNDS: Bounds = Bounds { parcels: 4, bytes: 1_000 };

/// Runs a test over both: the bus, what came through, and who was too slow once it is closed.
fn over_both(test: impl Fn(&dyn Bus, &Hall, &dyn Fn() -> Vec<SessionId>)) {
    let hall = Arc::new(Hall::default());
    let direct = DirectBus::new(Arc::clone(&hall) as Arc<dyn Doors>);
    let told = Arc::new(Mutex::new(Vec::new()));
    let none = || Vec::new();
    test(&direct, &hall, &none);

    let hall = Arc::new(Hall::default());
    let slow = Arc::clone(&told);
    let queued = QueuedBus::start(Arc::clone(&hall) as Arc<dyn Doors>, BOUNDS, move |session| {
        slow.lock().unwrap().push(session);
    })
    .unwrap();
    test(&queued, &hall, &|| told.lock().unwrap().clone());
}

#[test]
fn every_session_gets_its_parcels_whole_and_in_order() {
    over_both(|bus, hall, _| {
        let slow = &mut Vec::new();
        let both = news(&[ALICE, BOB], "to both");
        for parcel in [answer(ALICE, "yes"), both.clone(), news(&[], "to nobody"), end(ALICE)] {
            bus.publish(parcel, slow);
        }
        bus.publish(answer(BOB, ""), slow);
        bus.close();
        assert_eq!(hall.came_to(ALICE), [answer(ALICE, "yes"), both.clone(), end(ALICE)]);
        assert_eq!(hall.came_to(BOB), [both, answer(BOB, "")]);
        assert!(slow.is_empty());
    });
}

#[test]
fn who_is_too_slow_is_named_and_holds_up_nobody() {
    over_both(|bus, hall, found_later| {
        let mut slow = Vec::new();
        bus.publish(news(&[ALICE, SLOW, BOB], "x"), &mut slow);
        bus.close();
        slow.extend(found_later());
        assert_eq!(slow, [SLOW]);
        assert_eq!((hall.came_to(ALICE).len(), hall.came_to(BOB).len()), (1, 1));
    });
}

#[tokio::test]
async fn a_full_queue_has_no_room_until_it_was_carried_away() {
    let hall = Arc::new(Hall::default());
    hall.set_shut(true);
    let doors = Arc::clone(&hall) as Arc<dyn Doors>;
    let bus = QueuedBus::start(doors, BOUNDS, |_| {}).unwrap();
    // The first few may be on their way to the door already.
    while bus.has_room() {
        bus.publish(news(&[ALICE], "x"), &mut Vec::new());
    }
    let mut waiting = Box::pin(wait_for_room(&bus));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    hall.set_shut(false);
    waiting.await;
    bus.publish(news(&[ALICE], &"x".repeat(1_001)), &mut Vec::new());
    bus.close();
    let direct = DirectBus::new(hall);
    wait_for_room(&direct).await;
}

#[test]
fn parcels_read_back_as_they_were_written_and_nothing_else_is_one() {
    let mut parcels = vec![answer(SessionId(u64::MAX), "yes"), answer(ALICE, ""), end(BOB)];
    for weight in [Weight::Advisory, Weight::Binding, Weight::Last] {
        for kind in [NewsKind::Message, NewsKind::Other] {
            for to in [vec![], vec![ALICE], vec![ALICE, BOB, SLOW]] {
                let frame = Bytes::from_static(b"frame");
                parcels.push(Parcel::News { to, frame, weight, kind });
            }
        }
    }
    for parcel in parcels {
        let bytes = wire::encode(&parcel);
        assert_eq!(wire::decode(&bytes), Some(parcel.clone()));
        // Whatever is cut off or changed, reading it is total, and never gives more sessions than
        // there are bytes for.
        for length in 0..bytes.len() {
            assert_ne!(wire::decode(&bytes.slice(..length)), Some(parcel.clone()));
        }
        for (place, value) in (0..bytes.len()).flat_map(|at| [(at, 0), (at, 0x7f), (at, 0xff)]) {
            let mut wrong = bytes.to_vec();
            wrong[place] = value;
            if let Some(Parcel::News { to, .. }) = wire::decode(&Bytes::from(wrong)) {
                assert!(to.len() <= bytes.len() / 8);
            }
        }
    }
}
