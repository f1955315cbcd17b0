//! A session whose server is another one from time to time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use portolan_identity::{Expect, PeerId};
use portolan_peer::{
    Backoff, Config, Event, FoundServer, NameScope, Peer, Reconnect, ServerSource,
};
use portolan_protocol::Recipient;
use portolan_server::Server;

use support::{Harbour, TRANSPORTS, identity, name, wait_for, within};

/// Says which server is the right one just now.
#[derive(Debug, Default)]
struct Signpost(Mutex<Option<FoundServer>>);

impl Signpost {
    fn point_to(&self, server: &Server) {
        let addresses = vec![server.addresses()[0].1];
        *self.0.lock().unwrap() = Some(FoundServer { id: server.id(), addresses });
    }
}

#[async_trait::async_trait]
impl ServerSource for Signpost {
    async fn find(&self) -> Option<FoundServer> {
        self.0.lock().unwrap().clone()
    }

    fn reached(&self, _id: PeerId) {}
}

fn config(harbour: &Harbour, of: &str, (server, signpost): (&Server, &Arc<Signpost>)) -> Config {
    let mut config = harbour.config(of);
    (config.server, config.expect) = (server.addresses()[0].1, Expect::Id(server.id()));
    config.source = Some(Arc::clone(signpost) as Arc<dyn ServerSource>);
    config.scope = NameScope::Lan;
    let soon = Duration::from_millis(20);
    config.reconnect = Reconnect::With(Backoff { start: soon, cap: soon, give_up_after: None });
    config
}

async fn start_server(of: &str) -> Server {
    let listen = "127.0.0.1:0".parse().unwrap();
    let mut config = portolan_server::Config::new(listen, TRANSPORTS, identity(of));
    config.timing.restart = Duration::ZERO;
    within("starting", Server::start(config)).await.unwrap()
}

async fn say(from: &Peer, to: &str, text: &str) {
    within("sending", from.send(Recipient::User(name(to)), text)).await.unwrap();
}

#[tokio::test]
async fn a_session_goes_on_at_the_server_that_is_there_now_with_its_names_and_messages() {
    let harbour = Harbour::open().await;
    let signpost = Arc::new(Signpost::default());
    let first = start_server("first").await;
    let config = |of| config(&harbour, of, (&first, &signpost));
    let (alice, mut news_of_alice) = harbour.peer_with(config("alice")).await;
    let (bob, mut news_of_bob) = harbour.peer_with(config("bob")).await;
    say(&alice, "bob", "first").await;
    let is = |text: &'static str| move |event: &Event| matches!(event, Event::Message(message) if message.text == text);
    wait_for(&mut news_of_bob, "a message", is("first")).await;

    // For a while there is none at all, and what is asked then waits.
    let first_id = first.id();
    within("the end", first.shutdown("gone")).await;
    let waits = tokio::spawn({
        let alice = alice.clone();
        async move { say(&alice, "alice", "to myself").await }
    });
    let attempt = |event: &Event| matches!(event, Event::Reconnecting(news) if news.attempt > 1);
    wait_for(&mut news_of_alice, "a second attempt", attempt).await;
    let second = start_server("second").await;
    signpost.point_to(&second);
    for (peer, news) in [(&alice, &mut news_of_alice), (&bob, &mut news_of_bob)] {
        wait_for(news, "the next server", |event| matches!(event, Event::Reconnected(_))).await;
        assert_eq!(peer.server_id(), second.id());
        assert_ne!(peer.server_id(), first_id);
    }
    within("the request", waits).await.unwrap();
    wait_for(&mut news_of_alice, "a message", is("to myself")).await;
    say(&bob, "alice", "second").await;
    wait_for(&mut news_of_alice, "a message", is("second")).await;

    // It may move again.
    let third = start_server("third").await;
    signpost.point_to(&third);
    within("the end", second.shutdown("gone")).await;
    wait_for(&mut news_of_bob, "the last server", |event| matches!(event, Event::Reconnected(_)))
        .await;
    assert_eq!(bob.server_id(), third.id());
    alice.logout().await;
    bob.logout().await;
    third.shutdown("done").await;
}
