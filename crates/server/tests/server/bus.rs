//! The same server by both kinds of bus.

use portolan_protocol::{ClosingReason, Event, Heartbeat, Logout, Recipient, Reply, Send};
use portolan_server::BusKind;

use crate::client::{Harness, config, within};

async fn harness(bus: BusKind) -> Harness {
    Harness::with(portolan_server::Config { bus, ..config() }).await
}

#[tokio::test]
async fn messages_to_everyone_come_in_the_same_order_to_everyone() {
    for (bus, _) in BusKind::TABLE {
        let harness = harness(bus).await;
        let mut alice = harness.login(1, "alice").await;
        let mut others = Vec::new();
        for seed in 2..6 {
            others.push(harness.login(seed, &format!("user{seed}")).await);
        }
        for number in 0..20 {
            let send = Send { to: Recipient::Others, text: number.to_string(), reference: None };
            assert!(matches!(alice.ask(send).await, Ok(Reply::Sent(_))), "{bus:?}");
        }
        for other in &mut others {
            for number in 0..20 {
                let Event::Message(delivery) = other.event().await else { panic!() };
                assert_eq!(delivery.text, number.to_string(), "{bus:?}");
            }
        }
    }
}

#[tokio::test]
async fn last_words_come_before_the_end() {
    for (bus, _) in BusKind::TABLE {
        let harness = harness(bus).await;
        let mut older = harness.login(1, "alice").await;
        let mut newer = harness.login(1, "alice").await;
        assert_eq!(older.closing().await.why, ClosingReason::Replaced, "{bus:?}");
        assert!(within(older.connection.closed()).await.to_string().contains("elsewhere"));
        assert!(matches!(newer.ask(Heartbeat { nonce: 1 }).await, Ok(Reply::Heartbeat(_))));
        assert!(matches!(newer.ask(Logout {}).await, Ok(Reply::Done(_))), "{bus:?}");
        let mut bob = harness.login(2, "bob").await;
        let ending = tokio::spawn(async move {
            let closing = bob.closing().await;
            drop(bob);
            closing.text
        });
        within(harness.server.shutdown("maintenance")).await;
        assert_eq!(within(ending).await.unwrap(), "maintenance", "{bus:?}");
    }
}
