//! One client of `inf452`: its instructions, and its talks with those who are no clients of it.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_protocol::{
    Conversation, ConversationState, Converse, Delivery, End as EndTalk, ErrorBody, Event,
    LoggedIn, Lookup, Name, Recipient, Reply, Send, Whom,
};

use super::{
    Addresses, Dialect,
    talk::{Heard, Talk},
    wire::{self, Instruction},
};
use crate::{
    bridge::{
        Action, Bridge, Call, CallNews, Door, Duplicates, End, Now, Refused, Ticket, Visitor,
    },
    courtesy,
    desk::Desk,
    line_buffer::{Line, LineBuffer},
    names::{shown, to_native},
    roster::Roster,
};

/// Bytes of an instruction.
const LINE_MAX: usize = 1_024;
/// Instructions that wait for those before them; with more, nothing is read.
const TODO_MAX: usize = 32;
/// Lines that were no instructions; with more, the client is sent away.
const WRONG_MAX: u32 = 16;
/// Talks of one client at a time.
const TALKS_MAX: usize = 16;
/// A client that has not said `KEEP` for so long is gone.
const KEEP_WITHIN: Duration = Duration::from_secs(15);

/// What an answer is for.
#[derive(Debug)]
enum Asked {
    Users(Roster),
    Where,
    Text(Name),
}

/// One client.
#[derive(Debug)]
pub(super) struct InfBridge {
    visitor: Visitor,
    dialect: Dialect,
    addresses: Arc<Addresses>,
    desk: Desk<Asked>,
    lines: LineBuffer,
    todo: VecDeque<String>,
    wrong: u32,
    /// Under which name it is in, and where it listens.
    me: Option<(Name, SocketAddr)>,
    entering: Option<SocketAddr>,
    alive_until: Option<Instant>,
    talks: BTreeMap<Name, Talk>,
    /// Whose port is being opened for an `ADDR`.
    opening: Option<Name>,
    last_id: u32,
}

impl InfBridge {
    pub(super) fn new(visitor: Visitor, dialect: Dialect, addresses: Arc<Addresses>) -> Self {
        Self {
            visitor,
            dialect,
            addresses,
            desk: Desk::default(),
            lines: LineBuffer::new(LINE_MAX),
            todo: VecDeque::new(),
            wrong: 0,
            me: None,
            entering: None,
            alive_until: None,
            talks: BTreeMap::new(),
            opening: None,
            last_id: 0,
        }
    }

    /// Does what was said, one after the other.
    fn go_on(&mut self, now: Now) {
        while !self.is_busy() && !self.desk.is_finished() {
            let Some(line) = self.todo.pop_front() else { return };
            match (wire::read(&line), &self.me) {
                (Some(Instruction::User { name, port }), None) => self.enter(name, port),
                (Some(Instruction::Disc), _) => self.part(),
                (Some(instruction), Some(_)) => self.on_instruction(now, instruction),
                (Some(_), None) | (None, _) => self.on_wrong(),
            }
        }
    }

    fn is_busy(&self) -> bool {
        self.desk.is_waiting() || self.entering.is_some() || self.opening.is_some()
    }

    /// There is no answer for what is wrong.
    fn on_wrong(&mut self) {
        self.wrong += 1;
        if self.wrong > WRONG_MAX {
            self.part();
        }
    }

    fn on_instruction(&mut self, now: Now, instruction: Instruction<'_>) {
        match instruction {
            Instruction::User { .. } => self.on_wrong(),
            Instruction::Keep => self.alive_until = Some(now.instant + KEEP_WITHIN),
            Instruction::List => {
                let question = Roster::question(Whom::Online);
                self.desk.ask(question, Asked::Users(Roster::default()));
            }
            Instruction::Addr(name) => self.look_for(name),
            Instruction::Disc => self.part(),
        }
    }

    fn enter(&mut self, name: &str, port: u16) {
        match to_native(name) {
            Ok(name) => {
                self.entering = Some(SocketAddr::new(self.visitor.address.ip(), port));
                self.desk.enter(name, Duplicates::Refuse, None);
            }
            Err(error) => self.refuse_name(&error.to_string()),
        }
    }

    /// There is no word for it; clients report a line that they do not know.
    fn refuse_name(&mut self, why: &str) {
        self.desk.write(format!("ERRO nome recusado, {why}\r\n").replace(':', ","));
        self.part();
    }

    fn part(&mut self) {
        for talk in std::mem::take(&mut self.talks).into_values() {
            self.drop_talk(&talk);
        }
        if let Some((name, address)) = self.me.take() {
            self.addresses.forget(&name, address);
            self.desk.act(Action::Leave);
        }
        self.alive_until = None;
        if !self.desk.is_finished() {
            self.desk.finish(Duration::ZERO);
        }
    }

    fn drop_talk(&mut self, talk: &Talk) {
        talk.call().into_iter().for_each(|call| self.desk.act(Action::HangUp(call)));
        talk.door.into_iter().for_each(|door| self.desk.act(Action::CloseDoor(door)));
    }

    fn look_for(&mut self, name: &str) {
        let Ok(native) = to_native(name) else { return self.say_unknown() };
        let known = self.addresses.get(&native);
        let opened = self.talks.get(&native).and_then(|talk| talk.address);
        match known.or(opened) {
            Some(address) => self.say_where(&native, address),
            None => {
                let lookup = Lookup { name: native, whom: Whom::Online };
                self.desk.ask(lookup, Asked::Where);
            }
        }
    }

    fn say_where(&mut self, name: &Name, address: SocketAddr) {
        let line = match self.dialect {
            Dialect::Of2024 => format!("ADDR {address}\r\n"),
            Dialect::Of2026 => format!("ADDR {}:{address}\r\n", shown(name)),
        };
        self.desk.write(line);
    }

    fn say_unknown(&mut self) {
        match self.dialect {
            Dialect::Of2024 => self.desk.write("ERRO usuario nao encontrado\r\n"),
            Dialect::Of2026 => {}
        }
    }

    /// Opens a port on which the client finds one who is no client of this gateway.
    fn open_door(&mut self, name: Name) {
        self.forget_over();
        if self.talks.len() >= TALKS_MAX && !self.talks.contains_key(&name) {
            return self.say_unknown();
        }
        let door = Door(self.next_id());
        self.talks.entry(name.clone()).or_default().door = Some(door);
        self.opening = Some(name);
        self.desk.act(Action::OpenDoor(door));
    }

    fn next_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    fn forget_over(&mut self) {
        self.talks.retain(|_, talk| !talk.is_over());
    }

    fn list(&mut self, roster: Roster) {
        let users = roster.by_arrival();
        let me = self.me.as_ref().map(|(name, _)| name);
        let names =
            users.iter().filter(|user| Some(&user.name) != me).map(|user| shown(&user.name));
        // Lists are separated by colons, lines by line ends.
        let names: Vec<_> = names.filter(|name| !name.contains([':', '\r', '\n'])).collect();
        self.desk.write(format!("LIST {}\r\n", names.join(":")));
    }

    fn on_reply(&mut self, asked: Asked, reply: Reply) {
        match (asked, reply) {
            (Asked::Users(mut roster), Reply::Users(page)) => {
                match roster.take(page, Whom::Online) {
                    Some(next) => self.desk.ask(next, Asked::Users(roster)),
                    None => self.list(roster),
                }
            }
            (Asked::Where, Reply::User(user)) => self.open_door(user.name),
            (Asked::Users(_) | Asked::Where | Asked::Text(_), _) => {}
        }
    }

    fn on_refusal(&mut self, asked: Asked, error: &ErrorBody) {
        match asked {
            Asked::Users(_) => self.list(Roster::default()),
            Asked::Where => self.say_unknown(),
            Asked::Text(with) => {
                if let Some(call) = self.talks.get(&with).and_then(Talk::call) {
                    let bytes = format!("ERRO {}\r\n", error.message).into_bytes();
                    self.desk.act(Action::Say { call, bytes });
                }
            }
        }
    }

    /// Brings a text to the client: on the talk that there is, or by calling it.
    fn on_delivery(&mut self, delivery: Delivery) {
        let Some((_, listens)) = self.me else { return };
        let from = delivery.from.clone();
        self.forget_over();
        if self.talks.len() >= TALKS_MAX && !self.talks.contains_key(&from) {
            return;
        }
        let id = self.next_id();
        let talk = self.talks.entry(from.clone()).or_default();
        talk.push(delivery);
        if talk.call().is_none() {
            talk.dial(Call(id));
            self.desk.act(Action::Dial { call: Call(id), to: listens });
        }
        self.settle(&from);
    }

    /// Writes what waits for a talk.
    fn settle(&mut self, with: &Name) {
        let Some(talk) = self.talks.get_mut(with) else { return };
        while let Some((call, id, text)) = talk.pop() {
            self.desk.act(Action::Say { call, bytes: text.into_bytes() });
            self.desk.confirm(id);
        }
    }

    fn on_came(&mut self, door: Door, call: Call) {
        let found = self.talks.iter_mut().find(|(_, talk)| talk.door == Some(door));
        let Some((with, talk)) = found else { return self.desk.act(Action::HangUp(call)) };
        let (with, older) = (with.clone(), talk.call());
        talk.stand(call);
        older.into_iter().for_each(|older| self.desk.act(Action::HangUp(older)));
        self.desk.tell(Converse { with: with.clone() });
        self.settle(&with);
    }

    fn on_connected(&mut self, call: Call) {
        let Some(with) = self.with(call) else { return self.desk.act(Action::HangUp(call)) };
        let bytes = format!("USER {}\r\n", shown(&with)).into_bytes();
        self.desk.act(Action::Say { call, bytes });
        if let Some(talk) = self.talks.get_mut(&with) {
            talk.stand(call);
        }
        self.settle(&with);
    }

    fn with(&self, call: Call) -> Option<Name> {
        let mut all = self.talks.iter();
        all.find(|(_, talk)| talk.call() == Some(call)).map(|(with, _)| with.clone())
    }

    fn on_said(&mut self, call: Call, bytes: &[u8]) {
        let Some(with) = self.with(call) else { return };
        let Some(talk) = self.talks.get_mut(&with) else { return };
        for heard in talk.hear(bytes) {
            match heard {
                Heard::Text(text) => {
                    let to = Recipient::User(with.clone());
                    let send = Send { to, text, reference: None };
                    self.desk.ask(send, Asked::Text(with.clone()));
                }
                Heard::Name(name) if self.is_me(&name) => {}
                Heard::Name(_) | Heard::End => return self.hang_up(&with),
            }
        }
    }

    fn is_me(&self, name: &str) -> bool {
        let me = self.me.as_ref().map(|(name, _)| name);
        to_native(name).ok().as_ref() == me
    }

    /// Ends a talk for good.
    fn hang_up(&mut self, with: &Name) {
        let Some(talk) = self.talks.get_mut(with) else { return };
        if let Some(call) = talk.call() {
            talk.end();
            self.desk.act(Action::HangUp(call));
            self.desk.tell(EndTalk { with: with.clone() });
        }
    }

    fn on_ended(&mut self, call: Call) {
        let Some(with) = self.with(call) else { return };
        if let Some(talk) = self.talks.get_mut(&with) {
            talk.end();
        }
        self.desk.tell(EndTalk { with });
    }

    /// The other side of a talk has gone, or does not want it.
    fn on_conversation(&mut self, news: &Conversation) {
        match news.state {
            ConversationState::Denied
            | ConversationState::Busy
            | ConversationState::Ended
            | ConversationState::Vanished => self.hang_up(&news.with),
            ConversationState::Asked
            | ConversationState::Requested
            | ConversationState::Accepted
            | ConversationState::TimedOut => {}
        }
    }
}

impl Bridge for InfBridge {
    fn handle_connected(&mut self, _now: Now) {}

    fn handle_bytes(&mut self, now: Now, bytes: &[u8]) {
        let mut is_too_long = false;
        let todo = &mut self.todo;
        self.lines.push(bytes, |line| match line {
            Line::Text(text) if text.trim().is_empty() => {}
            Line::Text(text) => todo.push_back(text),
            Line::TooLong => is_too_long = true,
        });
        if is_too_long {
            return self.part();
        }
        self.go_on(now);
    }

    fn handle_entered(&mut self, now: Now, outcome: Result<LoggedIn, Refused>) {
        let Some(address) = self.entering.take() else { return };
        match outcome {
            Ok(logged_in) => {
                self.addresses.set(logged_in.name.clone(), address);
                self.me = Some((logged_in.name, address));
                self.alive_until = Some(now.instant + KEEP_WITHIN);
                courtesy::arrive(&mut self.desk);
            }
            Err(refused) if refused.is_taken() => self.refuse_name("nome em uso"),
            Err(refused) => self.refuse_name(refused.reason()),
        }
        self.go_on(now);
    }

    fn handle_answer(&mut self, now: Now, ticket: Ticket, answer: Result<Reply, ErrorBody>) {
        let Some(asked) = self.desk.take(ticket) else { return };
        match answer {
            Ok(reply) => self.on_reply(asked, reply),
            Err(error) => self.on_refusal(asked, &error),
        }
        self.go_on(now);
    }

    fn handle_event(&mut self, _now: Now, event: Event) {
        if let Some((me, _)) = self.me.clone() {
            courtesy::accept(&mut self.desk, &me, &event);
        }
        match event {
            Event::Message(delivery) => self.on_delivery(delivery),
            Event::Conversation(news) => self.on_conversation(&news),
            Event::Closing(_) => self.part(),
            Event::Receipt(_)
            | Event::Presence(_)
            | Event::Group(_)
            | Event::Announcement(_)
            | Event::Settings(_)
            | Event::Candidates(_) => {}
        }
    }

    fn handle_door(&mut self, now: Now, _door: Door, opened: Result<SocketAddr, String>) {
        let Some(name) = self.opening.take() else { return };
        match (opened, self.talks.get_mut(&name)) {
            (Ok(address), Some(talk)) => {
                talk.address = Some(address);
                self.say_where(&name, address);
            }
            (Ok(_) | Err(_), _) => {
                self.talks.remove(&name);
                self.say_unknown();
            }
        }
        self.go_on(now);
    }

    fn handle_call(&mut self, now: Now, call: Call, news: CallNews<'_>) {
        match news {
            CallNews::Came(door) => self.on_came(door, call),
            CallNews::Connected => self.on_connected(call),
            CallNews::Said(bytes) => self.on_said(call, bytes),
            CallNews::Ended => self.on_ended(call),
        }
        self.go_on(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.alive_until.is_some_and(|until| until <= now.instant) {
            self.part();
        }
    }

    fn handle_end(&mut self, _now: Now, _end: &End) {
        self.part();
    }

    fn wants_input(&self) -> bool {
        self.todo.len() < TODO_MAX
    }

    fn is_idle(&self) -> bool {
        self.todo.is_empty() && !self.is_busy()
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.desk.poll_action()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.alive_until
    }
}
