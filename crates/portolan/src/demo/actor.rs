//! A peer on the stage: what it asks and what it hears.

use std::{path::Path, time::Duration};

use crate::{
    Expect, Identity, TUNNEL, Transport,
    peer::{CallRule, Config, Event, Events, FileRule, Peer},
    protocol::{ConversationState, Delivery, Name},
    server::Server,
};

/// Nothing on loopback takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A logged-in peer with its news.
pub(super) struct Actor {
    pub(super) peer: Peer,
    events: Events,
}

impl Actor {
    /// Connects and logs in.
    pub(super) async fn enter(
        server: &Server,
        transport: &'static dyn Transport,
        name: &str,
        downloads: &Path,
    ) -> Result<Self, String> {
        let address = server
            .addresses()
            .into_iter()
            .find(|(scheme, _)| *scheme == transport.scheme())
            .map(|(_, address)| address)
            .ok_or("the server does not listen there")?;
        let name = Name::new(name).map_err(|error| error.to_string())?;
        let expect = Expect::Id(server.id());
        let identity = Identity::generate();
        let mut config = Config::new(name, identity, address, expect, transport, TUNNEL);
        config.downloads = downloads.to_owned();
        config.accept_files = FileRule::All;
        config.accept_calls = CallRule::Ask;
        let (peer, events) = Peer::connect(config).await.map_err(|error| error.to_string())?;
        Ok(Self { peer, events })
    }

    /// Waits for the first event that `wanted` makes something of.
    pub(super) async fn wait<T>(
        &mut self,
        what: &str,
        wanted: impl Fn(Event) -> Option<T>,
    ) -> Result<T, String> {
        let search = async {
            while let Some(event) = self.events.next().await {
                if let Some(found) = wanted(event) {
                    return Ok(found);
                }
            }
            Err(format!("{} was disconnected while waiting for {what}", self.peer.name()))
        };
        let result = tokio::time::timeout(PATIENCE, search).await;
        result.unwrap_or_else(|_| Err(format!("{what} did not come")))
    }

    /// Waits for a message with this text.
    pub(super) async fn hear(&mut self, text: &str) -> Result<Delivery, String> {
        self.wait(&format!("the message {text:?}"), |event| match event {
            Event::Message(message) if message.text == text => Some(message),
            _ => None,
        })
        .await
    }

    /// Waits until the conversation with the other is in this state.
    pub(super) async fn see(
        &mut self,
        with: &Name,
        state: ConversationState,
    ) -> Result<(), String> {
        self.wait(&format!("{state:?}"), |event| match event {
            Event::Conversation(news) if news.with == *with && news.state == state => Some(()),
            _ => None,
        })
        .await
    }

    /// Takes what was said before, so that the event queue is empty.
    pub(super) fn skip(&mut self) {
        while self.events.try_next().is_some() {}
    }
}
