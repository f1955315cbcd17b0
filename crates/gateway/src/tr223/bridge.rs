//! One client of `tr223`.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_protocol::{
    Availability, Delivery, Echo, ErrorBody, Event, LoggedIn, Lookup, Name, Recipient, Reply, Send,
    UserInfo, Users, Whom,
};

use super::{
    dialect::{Dialect, list, message, messages, tuple, without_bars},
    shared::Shared,
    wire::{self, Message, Operation},
};
use crate::{
    bridge::{Action, Bridge, Duplicates, End, Now, Refused, Ticket, Visitor},
    courtesy,
    desk::Desk,
    names::{legacy_id, shown, to_native},
    roster::Roster,
};

/// Names that the old programs use for the server and for everyone.
const NOBODY: &[&str] = &["server", "Server", "client", "all clients", "broadcast"];

/// Bytes of a message whose beginning alone has come.
const PARTIAL_MAX: usize = 8 << 10;

/// How long the rest of a message is waited for.
const PARTIAL_TIME: Duration = Duration::from_millis(500);

/// How long it is seen whether a refused client speaks the second dialect: it says its name twice.
const DIALECT_TIME: Duration = Duration::from_millis(150);

/// Messages that were none; with more, the client is sent away.
const WRONG_MAX: u32 = 16;

/// Clients close by themselves two seconds after a farewell.
const LINGER: Duration = Duration::from_secs(10);

/// Characters of a name that is repeated although it cannot be one.
const FIELD_MAX: usize = 64;

/// Leaves a group.
const LEAVE: &str = "/leave";

/// What an answer is for.
#[derive(Debug)]
enum Asked {
    Echo {
        sender: String,
        destination: String,
    },
    List(Roster),
    /// Whether one to whom a text goes is there.
    Recipient {
        destination: String,
        text: String,
    },
    /// What became of a text.
    Sent(Operation),
    /// Whether one exists whose files are asked for, and who is no client of this gateway.
    Files {
        destination: String,
    },
}

#[derive(Debug)]
enum Phase {
    /// It has not said its name.
    Nameless,
    /// The server is asked for it.
    Entering {
        legacy: String,
    },
    /// The name was refused; the answer waits until the dialect is known.
    Refused {
        legacy: String,
        refused: Refused,
        at: Instant,
    },
    In {
        legacy: String,
        name: Name,
    },
}

/// One client of `tr223`.
#[derive(Debug)]
pub(super) struct Tr223Bridge {
    visitor: Visitor,
    shared: Arc<Shared>,
    desk: Desk<Asked>,
    phase: Phase,
    dialect: Dialect,
    todo: VecDeque<String>,
    partial: String,
    partial_at: Option<Instant>,
    wrong: u32,
}

impl Tr223Bridge {
    pub(super) fn new(visitor: Visitor, shared: Arc<Shared>) -> Self {
        Self {
            visitor,
            shared,
            desk: Desk::default(),
            phase: Phase::Nameless,
            dialect: Dialect::default(),
            todo: VecDeque::new(),
            partial: String::new(),
            partial_at: None,
            wrong: 0,
        }
    }

    /// The name that the client has, as it says it.
    fn legacy(&self) -> String {
        match &self.phase {
            Phase::Nameless => String::new(),
            Phase::Entering { legacy }
            | Phase::Refused { legacy, .. }
            | Phase::In { legacy, .. } => legacy.clone(),
        }
    }

    fn ask_name(&mut self) {
        self.desk.write(message("server", "client", "name", "no data"));
    }

    /// The server's own words for this client.
    fn reply(&mut self, word: &str, text: &str) {
        for part in messages(self.dialect.server(), &self.legacy(), word, text) {
            self.desk.write(part);
        }
    }

    fn go_on(&mut self) {
        loop {
            let can_go_on = match self.phase {
                Phase::Nameless | Phase::In { .. } => !self.desk.is_waiting(),
                Phase::Entering { .. } | Phase::Refused { .. } => false,
            };
            if !can_go_on || self.desk.is_finished() {
                return;
            }
            let Some(text) = self.todo.pop_front() else { return };
            match Message::parse(&text) {
                Some(message) => self.on_message(&message),
                None => self.on_wrong(&text),
            }
        }
    }

    fn on_wrong(&mut self, text: &str) {
        self.wrong += 1;
        if self.wrong > WRONG_MAX {
            return self.close();
        }
        match self.phase {
            Phase::In { .. } => {
                let typed: String = text.chars().take(64).collect();
                let answer = self.dialect.unknown(&without_bars(&typed));
                self.reply(self.dialect.unknown_word(), &answer);
            }
            Phase::Nameless | Phase::Entering { .. } | Phase::Refused { .. } => self.ask_name(),
        }
    }

    fn on_message(&mut self, message: &Message<'_>) {
        self.dialect.hear(message);
        match &self.phase {
            Phase::In { legacy, name } => {
                let (legacy, name) = (legacy.clone(), name.clone());
                self.on_operation(message, &legacy, &name);
            }
            Phase::Nameless if message.operation() == Some(Operation::Name) => {
                self.on_name(message.field());
            }
            Phase::Nameless | Phase::Entering { .. } | Phase::Refused { .. } => self.ask_name(),
        }
    }

    fn on_name(&mut self, legacy: &str) {
        let legacy = legacy.trim().to_owned();
        if NOBODY.contains(&legacy.as_str()) {
            let taken = self.dialect.taken(&legacy);
            return self.turn_away(taken);
        }
        match to_native(&legacy) {
            Ok(name) => {
                self.desk.enter(name, Duplicates::Refuse, None);
                self.phase = Phase::Entering { legacy };
            }
            Err(error) => {
                let refused = self.dialect.refused(&cut(&legacy), &error.to_string());
                self.turn_away(refused);
            }
        }
    }

    fn turn_away(&mut self, words: String) {
        self.desk.write(words);
        self.desk.finish(LINGER);
    }

    fn close(&mut self) {
        if !self.desk.is_finished() {
            self.desk.write(self.dialect.closed());
            self.desk.finish(LINGER);
        }
    }

    fn on_operation(&mut self, message: &Message<'_>, legacy: &str, me: &Name) {
        let Some(operation) = message.operation() else { return self.on_unknown_word(message) };
        match operation {
            // The second dialect says it twice.
            Operation::Name => self.on_name_again(),
            Operation::Echo => {
                let (sender, destination) = (cut(message.sender), cut(message.destination));
                let text = message.field().to_owned();
                self.desk.ask(Echo { text }, Asked::Echo { sender, destination });
            }
            Operation::ListClients => {
                let question = Roster::question(Whom::Online);
                self.desk.ask(question, Asked::List(Roster::default()));
            }
            Operation::ListFiles => self.on_list_files(message, legacy),
            Operation::PrivateMessage => self.on_private(message, legacy, me),
            Operation::Broadcast => self.broadcast(Recipient::All, operation, message.data),
            Operation::BroadcastNotMe => {
                self.acknowledge();
                self.broadcast(Recipient::Others, operation, message.data);
            }
            Operation::Unknown => {
                let answer = self.dialect.unknown(message.field());
                self.reply(self.dialect.unknown_word(), &answer);
            }
            Operation::Exit => {
                let words = self.dialect.good_bye(legacy);
                self.desk.act(Action::Leave);
                self.turn_away(words);
            }
            Operation::CloseServer => self.on_close_server(legacy),
            Operation::Video(_) => {
                if let Ok(to) = to_native(message.destination) {
                    let bytes = self.verbatim(message, legacy);
                    self.desk.act(Action::Note { to, bytes });
                }
            }
        }
    }

    /// The old server did not answer what it did not know, unless it was asked itself.
    fn on_unknown_word(&mut self, message: &Message<'_>) {
        if message.destination.eq_ignore_ascii_case("server") {
            let answer = self.dialect.unknown(message.word);
            self.reply(self.dialect.unknown_word(), &answer);
        }
    }

    fn on_name_again(&mut self) {
        if !self.dialect.is_second() {
            self.dialect = Dialect::Second;
            let confirmation = self.dialect.confirmation(&self.legacy(), self.visitor.address);
            self.desk.write(confirmation);
        }
    }

    /// The message, with its sender's true name.
    fn verbatim(&self, message: &Message<'_>, legacy: &str) -> Vec<u8> {
        let Message { destination, word, data, .. } = *message;
        [legacy, destination, word, data].join(wire::BAR).into_bytes()
    }

    fn on_list_files(&mut self, message: &Message<'_>, legacy: &str) {
        if message.destination.trim().is_empty() {
            return self.reply(message.word, "Client name not informed!");
        }
        match to_native(message.destination) {
            Ok(to) => {
                let bytes = self.verbatim(message, legacy);
                self.desk.act(Action::Note { to, bytes });
            }
            Err(_) => self.say_not_found(Operation::ListFiles, message.destination),
        }
    }

    fn say_not_found(&mut self, operation: Operation, destination: &str) {
        if !self.dialect.is_second() {
            let text = format!("Destination client ({destination}) not found!");
            self.reply(self.dialect.word(operation), &text);
        }
    }

    /// The second dialect says first that it has the message.
    fn acknowledge(&mut self) {
        if self.dialect.is_second() {
            self.reply("message received", "message sent");
        }
    }

    fn on_private(&mut self, message: &Message<'_>, legacy: &str, me: &Name) {
        self.acknowledge();
        let destination = message.destination.to_owned();
        if destination.is_empty() && !self.dialect.is_second() {
            return self.reply(message.word, "Client name not informed!");
        }
        if let Some(group) = destination.strip_prefix('#') {
            return self.send_to_group(group, message.data);
        }
        match to_native(&destination) {
            Ok(name) if name == *me => {
                for part in messages(legacy, &destination, message.word, message.data) {
                    self.desk.write(part);
                }
            }
            Ok(name) => {
                let text = message.data.to_owned();
                let question = Lookup { name, whom: Whom::All };
                self.desk.ask(question, Asked::Recipient { destination, text });
            }
            Err(_) => self.say_not_found(Operation::PrivateMessage, &destination),
        }
    }

    fn send_to_group(&mut self, group: &str, text: &str) {
        let group = group.to_owned();
        let asked = Asked::Sent(Operation::PrivateMessage);
        if text.trim() == LEAVE {
            let leave = portolan_protocol::LeaveGroup { group, reference: None };
            return self.desk.ask(leave, asked);
        }
        let to = Recipient::Group(group);
        self.desk.ask(Send { to, text: text.to_owned(), reference: None }, asked);
    }

    fn broadcast(&mut self, to: Recipient, operation: Operation, text: &str) {
        let send = Send { to, text: text.to_owned(), reference: None };
        self.desk.ask(send, Asked::Sent(operation));
    }

    fn on_close_server(&mut self, legacy: &str) {
        if self.shared.is_admin(legacy) {
            return self.desk.act(Action::CloseGateway);
        }
        match self.dialect.is_second() {
            true => {
                let text = "You do not have enough permissions to execute that action!";
                self.reply("private message", text);
            }
            false => {
                let answer = self.dialect.unknown("close_server");
                self.reply(self.dialect.unknown_word(), &answer);
            }
        }
    }

    fn on_reply(&mut self, asked: Asked, reply: Reply) {
        match (asked, reply) {
            (Asked::Echo { sender, destination }, Reply::Echo(echo)) => {
                for part in messages(&sender, &destination, "echo", &echo.text) {
                    self.desk.write(part);
                }
            }
            (Asked::List(roster), Reply::Users(page)) => self.on_users(roster, page),
            (Asked::Recipient { destination, text }, Reply::User(info)) => {
                self.on_recipient(&destination, text, info);
            }
            (Asked::Files { destination }, Reply::User(info)) => {
                let text = format!("client: {}, files = ", shown(&info.name));
                let word = self.dialect.word(Operation::ListFiles);
                self.desk.write(message(&destination, &self.legacy(), word, &text));
            }
            (
                Asked::Echo { .. }
                | Asked::List(_)
                | Asked::Recipient { .. }
                | Asked::Sent(_)
                | Asked::Files { .. },
                _,
            ) => {}
        }
    }

    fn on_refusal(&mut self, asked: Asked, error: &ErrorBody) {
        match asked {
            Asked::Recipient { destination, .. } => {
                self.say_not_found(Operation::PrivateMessage, &destination);
            }
            Asked::Files { destination } => {
                self.say_not_found(Operation::ListFiles, &destination);
            }
            Asked::Echo { .. } => self.say_error("echo", error),
            Asked::List(_) => self.say_error(self.dialect.word(Operation::ListClients), error),
            Asked::Sent(operation) => self.say_error(self.dialect.word(operation), error),
        }
    }

    fn say_error(&mut self, word: &str, error: &ErrorBody) {
        let word = if self.dialect.is_second() { "error message" } else { word };
        self.reply(word, &without_bars(&error.message));
    }

    /// Who has come by an old program and left is gone, as ever; others have a mailbox.
    fn on_recipient(&mut self, destination: &str, text: String, info: UserInfo) {
        let is_gone = info.state == Availability::Offline
            && info.id == legacy_id(self.visitor.server, &info.name);
        if is_gone {
            return self.say_not_found(Operation::PrivateMessage, destination);
        }
        let to = Recipient::User(info.name);
        let asked = Asked::Sent(Operation::PrivateMessage);
        self.desk.ask(Send { to, text, reference: None }, asked);
    }

    fn on_users(&mut self, mut roster: Roster, page: Users) {
        if let Some(next) = roster.take(page, Whom::Online) {
            return self.desk.ask(next, Asked::List(roster));
        }
        let word = self.dialect.word(Operation::ListClients);
        let head = message(self.dialect.server(), &self.legacy(), word, "");
        let users = roster.by_arrival();
        let parts = match self.dialect.is_second() {
            true => {
                let lines: Vec<String> = users.iter().map(|user| self.list_line(user)).collect();
                list(&head, "", "", &lines)
            }
            false => {
                let names: Vec<String> = users.iter().map(|user| shown(&user.name)).collect();
                list(&head, "clients connected: ", " ,", &names)
            }
        };
        for part in parts {
            self.desk.write(part);
        }
    }

    /// Where others are is theirs to tell: of them the transport stands there.
    fn list_line(&self, user: &UserInfo) -> String {
        let place = match self.shared.address(&user.name) {
            Some(address) => tuple(address),
            None => format!("('{}', 0)", user.transport),
        };
        format!("{} -> {place}\n", shown(&user.name))
    }

    fn on_delivery(&mut self, delivery: &Delivery) {
        let Phase::In { legacy, name } = &self.phase else { return };
        let dialect = self.dialect;
        let is_own_kind = self.shared.address(&delivery.from).is_some() || delivery.from == *name;
        let text = match is_own_kind {
            true => delivery.text.clone(),
            false => without_bars(&delivery.text),
        };
        let mut sender = shown(&delivery.from);
        let (destination, operation) = match &delivery.to {
            Recipient::All => (dialect.everyone(), Operation::Broadcast),
            Recipient::Others => (dialect.everyone(), Operation::BroadcastNotMe),
            // Who has written so knows the operation; its reader ignores it or does too.
            Recipient::User(_) if is_own_kind => (legacy.as_str(), Operation::PrivateMessage),
            Recipient::User(_) => (legacy.as_str(), dialect.private()),
            Recipient::Group(group) => {
                sender = format!("{sender}#{group}");
                (legacy.as_str(), dialect.private())
            }
        };
        for part in messages(&sender, destination, dialect.word(operation), &text) {
            self.desk.write(part);
        }
    }
}

impl Bridge for Tr223Bridge {
    fn handle_connected(&mut self, _now: Now) {
        self.ask_name();
    }

    fn handle_bytes(&mut self, now: Now, bytes: &[u8]) {
        self.partial.push_str(&String::from_utf8_lossy(bytes));
        let text = std::mem::take(&mut self.partial);
        self.partial_at = None;
        let mut parts = wire::part(&text);
        let rest = parts.pop().unwrap_or_default();
        let is_begun = Message::parse(rest).is_none() && rest.len() <= PARTIAL_MAX;
        self.todo.extend(parts.into_iter().map(str::to_owned));
        if is_begun && !rest.is_empty() {
            self.partial = rest.to_owned();
            self.partial_at = Some(now.instant + PARTIAL_TIME);
        } else {
            self.todo.push_back(rest.to_owned());
        }
        if let Phase::Refused { at, .. } = &mut self.phase {
            // It has said its name again.
            self.dialect = Dialect::Second;
            *at = now.instant;
        }
        self.go_on();
    }

    fn handle_entered(&mut self, now: Now, outcome: Result<LoggedIn, Refused>) {
        let Phase::Entering { legacy } = &self.phase else { return };
        let legacy = legacy.clone();
        match outcome {
            Ok(logged_in) => {
                self.shared.arrive(&logged_in.name, self.visitor.address);
                self.desk.write(self.dialect.confirmation(&legacy, self.visitor.address));
                courtesy::arrive(&mut self.desk);
                self.phase = Phase::In { legacy, name: logged_in.name };
                self.go_on();
            }
            Err(refused) => {
                let at =
                    now.instant + if self.todo.is_empty() { DIALECT_TIME } else { Duration::ZERO };
                if !self.todo.is_empty() {
                    self.dialect = Dialect::Second;
                }
                self.phase = Phase::Refused { legacy, refused, at };
            }
        }
    }

    fn handle_answer(&mut self, _now: Now, ticket: Ticket, answer: Result<Reply, ErrorBody>) {
        let Some(asked) = self.desk.take(ticket) else { return };
        match answer {
            Ok(reply) => self.on_reply(asked, reply),
            Err(error) => self.on_refusal(asked, &error),
        }
        self.go_on();
    }

    fn handle_event(&mut self, _now: Now, event: Event) {
        if let Phase::In { name, .. } = &self.phase {
            courtesy::accept(&mut self.desk, name, &event);
        }
        match event {
            Event::Message(delivery) => {
                self.on_delivery(&delivery);
                self.desk.confirm(delivery.id);
            }
            Event::Announcement(news) => {
                let word = self.dialect.word(Operation::BroadcastNotMe);
                let text = without_bars(&news.text);
                for part in messages(self.dialect.server(), self.dialect.everyone(), word, &text) {
                    self.desk.write(part);
                }
            }
            Event::Closing(closing) => {
                if !self.desk.is_finished() {
                    let word = self.dialect.word(Operation::BroadcastNotMe);
                    self.reply(word, &without_bars(&closing.text));
                    self.close();
                }
            }
            Event::Receipt(_)
            | Event::Conversation(_)
            | Event::Presence(_)
            | Event::Group(_)
            | Event::Settings(_)
            | Event::Candidates(_) => {}
        }
    }

    fn handle_note(&mut self, _now: Now, _from: &Name, bytes: &[u8]) {
        if matches!(self.phase, Phase::In { .. }) {
            self.desk.write(bytes.get(..wire::MESSAGE_MAX).unwrap_or(bytes));
        }
    }

    fn handle_note_missed(&mut self, _now: Now, to: &Name, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let Some(message) = Message::parse(&text) else { return };
        // An answer to one who has left is for nobody.
        let is_question = message.operation() == Some(Operation::ListFiles)
            && !message.data.starts_with("client: ");
        if is_question {
            let destination = message.destination.to_owned();
            self.desk.ask(Lookup::online(to.clone()), Asked::Files { destination });
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.partial_at.is_some_and(|at| at <= now.instant) {
            self.partial_at = None;
            let rest = std::mem::take(&mut self.partial);
            self.todo.push_back(rest);
            self.go_on();
        }
        if let Phase::Refused { legacy, refused, at } = &self.phase
            && *at <= now.instant
            && !self.desk.is_finished()
        {
            let words = match refused.is_taken() {
                true => self.dialect.taken(legacy),
                false => self.dialect.refused(legacy, refused.reason()),
            };
            self.turn_away(words);
        }
    }

    fn handle_end(&mut self, _now: Now, end: &End) {
        match end {
            End::Closing | End::SessionOver(_) => self.close(),
            End::Silent => {
                let words = self.dialect.refused("", "You did not say your name in time");
                self.turn_away(words);
            }
        }
    }

    fn wants_input(&self) -> bool {
        self.todo.is_empty()
    }

    fn is_idle(&self) -> bool {
        self.todo.is_empty()
            && !self.desk.is_waiting()
            && !matches!(self.phase, Phase::Entering { .. })
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.desk.poll_action()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let refused = match &self.phase {
            Phase::Refused { at, .. } if !self.desk.is_finished() => Some(*at),
            Phase::Nameless | Phase::Entering { .. } | Phase::Refused { .. } | Phase::In { .. } => {
                None
            }
        };
        [refused, self.partial_at].into_iter().flatten().min()
    }
}

/// A field that others wrote, no longer than fits beside the rest.
fn cut(field: &str) -> String {
    field.chars().take(FIELD_MAX).collect()
}

impl Drop for Tr223Bridge {
    fn drop(&mut self) {
        if let Phase::In { name, .. } = &self.phase {
            self.shared.leave(name, self.visitor.address);
        }
    }
}
