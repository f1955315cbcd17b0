//! Sending texts; where there is no server, to the keys that we know, and again when the host that
//! has taken them is gone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portolan_protocol::{Name, PresenceChange, ReceiptState, Recipient, Sent};
use tokio::task::JoinSet;

use super::{
    exit::Failure,
    one_shot::show_sent,
    output::Output,
    undelivered::{Text, Undelivered},
};
use crate::{Event, NameScope, Peer};

/// Sends texts. Clones are the same.
#[derive(Clone)]
pub(super) struct Mail {
    peer: Peer,
    output: Arc<Output>,
    undelivered: Arc<Mutex<Undelivered>>,
    /// Texts of one writer go in order.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Mail {
    pub(super) fn new(peer: Peer, output: Arc<Output>) -> Self {
        let undelivered = Arc::new(Mutex::new(Undelivered::new(peer.server_id())));
        Self { peer, output, undelivered, turn: Arc::default() }
    }

    /// Sends a text and says what becomes of it for now.
    pub(super) async fn say(&self, to: Recipient, text: String) -> Result<(), Failure> {
        let sent = match (self.peer.scope(), &to) {
            (NameScope::Lan, Recipient::User(who)) => {
                let key = self.peer.check_key(who).await?.id;
                self.send(Text { to: who.clone(), key, text }).await.map_err(|(error, _)| error)?
            }
            (NameScope::Lan | NameScope::Server, _) => self.peer.send(to.clone(), text).await?,
        };
        let direct = matches!(to, Recipient::User(_)) && sent.waiting == 0;
        if self.output.is_json() || !direct {
            show_sent(&sent, &to, &self.output);
        }
        Ok(())
    }

    /// Gives the text back if the host has not taken it.
    async fn send(&self, text: Text) -> Result<Sent, (Failure, Text)> {
        let to = Recipient::User(text.to.clone());
        match self.peer.send(to, text.text.clone()).await {
            Ok(sent) => {
                self.undelivered().on_taken(self.peer.server_id(), sent.id, text);
                Ok(sent)
            }
            Err(error) => Err((error.into(), text)),
        }
    }

    /// Sends what waits for `who`, as long as that is who it was written to.
    async fn send_again(&self, who: &Name) {
        let _turn = self.turn.lock().await;
        let Ok(user) = self.peer.check_key(who).await else { return };
        loop {
            let next = self.undelivered().take(who);
            let Some(text) = next else { return };
            if text.key != user.id {
                let note =
                    format!("* {who} is somebody else now: {:?} was not sent again", text.text);
                self.output.note(&note);
                continue;
            }
            match self.send(text).await {
                Ok(sent) if self.output.is_json() => {
                    show_sent(&sent, &Recipient::User(who.clone()), &self.output);
                }
                Ok(_) => self.output.note(&format!("* a message to {who} was sent again")),
                Err((_, text)) => return self.undelivered().return_first(text),
            }
        }
    }

    fn undelivered(&self) -> MutexGuard<'_, Undelivered> {
        self.undelivered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends again what a host has taken along.
pub(super) struct Resends {
    mail: Mail,
    running: JoinSet<()>,
}

impl Resends {
    pub(super) fn new(mail: Mail) -> Self {
        Self { mail, running: JoinSet::new() }
    }

    /// Follows what arrives, where we are, and who comes.
    pub(super) fn on_event(&mut self, event: &Event) {
        if self.mail.peer.scope() != NameScope::Lan {
            return;
        }
        match event {
            Event::Receipt(receipt) => match receipt.state {
                ReceiptState::Delivered | ReceiptState::Seen => {
                    self.mail.undelivered().on_arrived(receipt.id);
                }
                ReceiptState::Stored => {}
            },
            Event::Reconnected(_) => {
                let names = {
                    let mut undelivered = self.mail.undelivered();
                    undelivered.on_host(self.mail.peer.server_id());
                    undelivered.names()
                };
                names.into_iter().for_each(|who| self.begin(who));
            }
            Event::Presence(news) if news.change == PresenceChange::Online => {
                let is_waited_for = self.mail.undelivered().names().contains(&news.user.name);
                if is_waited_for {
                    self.begin(news.user.name.clone());
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, who: Name) {
        // Those that have ended make room.
        while self.running.try_join_next().is_some() {}
        let mail = self.mail.clone();
        self.running.spawn(async move { mail.send_again(&who).await });
    }
}
