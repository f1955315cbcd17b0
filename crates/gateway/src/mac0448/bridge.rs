//! One client of `mac0448`: the states of the original server, and the chats with those who are
//! not clients of it.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use portolan_protocol::{
    Accept, Conversation, ConversationState, Converse, Deny, End as EndTalk, ErrorBody, ErrorCode,
    Event, LoggedIn, Lookup, Name, Reply, UserInfo, Whom,
};

use super::{
    LANES, Lists,
    state::{Asking, State},
    talk::Talk,
    wire::{self, Answer, Refusal, Request},
};
use crate::{
    bridge::{
        Action, Bridge, Call, CallNews, Carrier, Door, Duplicates, End, Now, Refused, Ticket,
        Visitor,
    },
    desk::Desk,
    line_buffer::{Line, LineBuffer},
    names::{shown, to_native},
    roster::Roster,
};

/// Requests that wait for those before them; with more, nothing is read.
const TODO_MAX: usize = 16;
/// Clients wait ten seconds for an answer: who is asked has a little less.
const PATIENCE: Duration = Duration::from_secs(9);
/// A client on UDP that says nothing is asked whether it is there; three times, then it is not.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(20);
const HEARTBEATS_MISSED: u32 = 3;
const LINGER: Duration = Duration::from_secs(2);
/// A denial in words that the caller's bridge understands.
const NOT_AVAILABLE: &str = "USER_NOT_AVAILABLE";

/// What an answer is for.
#[derive(Debug)]
enum Asked {
    Users(Roster),
    Callee,
    Converse { with: Name, is_ours: bool },
}

/// One client.
#[derive(Debug)]
pub(super) struct MacBridge {
    visitor: Visitor,
    lists: Lists,
    desk: Desk<Asked>,
    lines: LineBuffer,
    todo: VecDeque<String>,
    state: State,
    me: Option<Name>,
    is_entering: bool,
    /// Who asks for a chat while a request of the client is being answered.
    caller: Option<Name>,
    talk: Talk,
    /// The name that it has asked for.
    wanted: String,
    heard_at: Option<Instant>,
    beats: u32,
}

impl MacBridge {
    pub(super) fn new(visitor: Visitor, lists: Lists) -> Self {
        Self {
            visitor,
            lists,
            desk: Desk::default(),
            lines: LineBuffer::new(wire::LINE_MAX),
            todo: VecDeque::new(),
            state: State::WaitingConnection,
            me: None,
            is_entering: false,
            caller: None,
            talk: Talk::default(),
            wanted: String::new(),
            heard_at: None,
            beats: 0,
        }
    }

    fn carrier(&self) -> Carrier {
        LANES.get(self.visitor.lane).map_or(Carrier::Tcp, |lane| lane.carrier)
    }

    fn say_state(&mut self) {
        self.desk.write(wire::state(self.state.word()));
    }

    fn refuse(&mut self, refusal: Refusal) {
        let word = refusal.word();
        self.desk.write(wire::error(word, word, self.state.word()));
    }

    /// Does what was asked, one after the other.
    fn go_on(&mut self, now: Now) {
        while self.is_ready() {
            if let Some(line) = self.todo.pop_front() {
                self.on_line(&line);
            } else if let Some(caller) = self.caller.take() {
                self.ring(now, caller);
            } else {
                return;
            }
        }
    }

    /// Whether the client waits for nothing.
    fn is_ready(&self) -> bool {
        let is_answering = matches!(self.state, State::WaitingOther(_));
        !self.desk.is_waiting() && !self.is_entering && !is_answering && !self.desk.is_finished()
    }

    fn on_line(&mut self, line: &str) {
        if let State::WaitingClient { with, .. } = &self.state
            && let Some(answer) = wire::read_answer(line)
        {
            let with = with.clone();
            return self.on_client_answer(with, &answer);
        }
        // A reply that came too late, or to a heartbeat.
        if wire::is_reply(line) {
            return;
        }
        match wire::read(line) {
            None => {
                let message = "Invalid or unknown command";
                self.desk.write(wire::error("INVALID_COMMAND", message, self.state.word()));
            }
            Some(request) if !self.state.takes(request) => {
                let (word, state) = (request.word(), self.state.word());
                let message = format!("Invalid command {word} for state {state}");
                self.desk.write(wire::error("INVALID_COMMAND_FOR_STATE", &message, state));
            }
            Some(request) => self.on_request(request),
        }
    }

    fn on_request(&mut self, request: Request<'_>) {
        match request {
            Request::Connect => {
                self.state = State::WaitingLogin;
                self.say_state();
            }
            Request::Login(name) => self.login(name),
            Request::Logout => self.logout(),
            Request::ListUsers => {
                let question = Roster::question(Whom::Online);
                self.desk.ask(question, Asked::Users(Roster::default()));
            }
            Request::Chat(name) => self.look_for(name),
            Request::EndChat(name) => self.end_chat(name),
            Request::Quit => self.part(),
            Request::Heartbeat => self.say_state(),
        }
    }

    fn login(&mut self, name: &str) {
        match to_native(name) {
            Ok(name) => {
                self.is_entering = true;
                self.wanted = shown(&name);
                self.desk.enter(name, Duplicates::Refuse, None);
            }
            Err(error) => {
                let (code, message) = ("LOGIN_FAILED_USER_NAME_INVALID", error.to_string());
                self.desk.write(wire::error(code, &message, self.state.word()));
            }
        }
    }

    /// The original does not answer one who is not logged in.
    fn logout(&mut self) {
        if self.me.is_some() {
            self.leave();
            self.state = State::WaitingLogin;
            self.say_state();
        }
    }

    fn leave(&mut self) {
        self.drop_talk();
        if self.me.take().is_some() {
            self.desk.act(Action::Leave);
            self.desk.forget();
        }
        self.caller = None;
        self.talk.forget();
    }

    fn part(&mut self) {
        if !self.desk.is_finished() {
            self.leave();
            self.desk.finish(LINGER);
        }
    }

    /// Ends what there is between the client and another.
    fn drop_talk(&mut self) {
        match std::mem::replace(&mut self.state, State::LoggedIn) {
            State::WaitingOther(Asking { with, .. }) | State::Chatting { with } => {
                self.desk.tell(EndTalk { with });
            }
            State::WaitingClient { with, .. } => self.deny(with, None),
            State::WaitingConnection | State::WaitingLogin | State::LoggedIn => {}
        }
        self.talk.hang_up(&mut self.desk);
    }

    fn deny(&mut self, with: Name, reason: Option<&str>) {
        self.desk.tell(Deny { with, reason: reason.map(str::to_owned) });
    }

    fn look_for(&mut self, name: &str) {
        match to_native(name) {
            Ok(name) if Some(&name) == self.me.as_ref() => self.refuse(Refusal::CannotChatWithSelf),
            Ok(name) => {
                let lookup = Lookup { name, whom: Whom::Online };
                self.desk.ask(lookup, Asked::Callee);
            }
            Err(_) => self.refuse(Refusal::UserNotLoggedIn),
        }
    }

    /// Whether the client's list has this user.
    fn sees(&self, user: &UserInfo) -> bool {
        let carrier = match user.transport.as_str() {
            "udp" | "quic" => Carrier::Udp,
            registry => LANES
                .iter()
                .find(|lane| lane.registry == registry)
                .map_or(Carrier::Tcp, |lane| lane.carrier),
        };
        self.lists == Lists::All || carrier == self.carrier()
    }

    fn on_callee(&mut self, user: &UserInfo) {
        if !self.sees(user) {
            return self.refuse(Refusal::UserNotLoggedIn);
        }
        let is_ours = LANES.iter().any(|lane| lane.registry == user.transport);
        let with = user.name.clone();
        self.desk.ask(Converse { with: with.clone() }, Asked::Converse { with, is_ours });
    }

    fn end_chat(&mut self, name: &str) {
        let State::Chatting { with } = &self.state else { return };
        if to_native(name).is_ok_and(|name| name == *with) {
            self.drop_talk();
            self.say_state();
        } else {
            self.refuse(Refusal::UserNotAvailable);
        }
    }

    /// Asks the client's human.
    fn ring(&mut self, now: Now, with: Name) {
        if self.state != State::LoggedIn {
            return self.deny(with, Some(NOT_AVAILABLE));
        }
        self.desk.write(format!("CHAT_REQUESTED {}\r\n", shown(&with)));
        self.state = State::WaitingClient { with, until: now.instant + PATIENCE };
    }

    fn on_client_answer(&mut self, with: Name, answer: &Answer) {
        match answer {
            Answer::Rejected => {
                self.state = State::LoggedIn;
                self.deny(with, None);
            }
            Answer::Confirmed(port) => {
                let address = SocketAddr::new(self.visitor.address.ip(), *port);
                self.talk.listens_at(address);
                let bytes = address.to_string().into_bytes();
                self.desk.act(Action::Note { to: with.clone(), bytes });
                self.desk.tell(Accept { with: with.clone() });
                self.state = State::Chatting { with };
            }
        }
    }

    /// The other listens there.
    fn confirm(&mut self, address: SocketAddr) {
        let State::WaitingOther(Asking { with, .. }) = &self.state else { return };
        self.state = State::Chatting { with: with.clone() };
        self.desk.write(wire::confirmed(address.ip(), address.port()));
    }

    fn on_conversation(&mut self, news: &Conversation) {
        if news.state == ConversationState::Requested {
            return self.on_caller(news.with.clone());
        }
        match &self.state {
            State::WaitingOther(asking) if asking.with == news.with => {
                let asking = asking.clone();
                self.on_outcome(&asking, news);
            }
            State::Chatting { with } if *with == news.with => self.on_chat_news(news.state),
            State::WaitingConnection
            | State::WaitingLogin
            | State::LoggedIn
            | State::WaitingOther(_)
            | State::WaitingClient { .. }
            | State::Chatting { .. } => {}
        }
    }

    fn on_caller(&mut self, with: Name) {
        let is_free = self.state == State::LoggedIn && self.caller.is_none();
        if is_free {
            self.caller = Some(with);
        } else {
            self.deny(with, Some(NOT_AVAILABLE));
        }
    }

    fn on_outcome(&mut self, asking: &Asking, news: &Conversation) {
        match news.state {
            ConversationState::Accepted if asking.is_ours => {}
            ConversationState::Accepted => self.talk.open_door(&mut self.desk),
            ConversationState::Denied if news.reason.as_deref() == Some(NOT_AVAILABLE) => {
                self.state = State::LoggedIn;
                self.refuse(Refusal::UserNotAvailable);
            }
            ConversationState::Busy => {
                self.state = State::LoggedIn;
                self.refuse(Refusal::UserNotAvailable);
            }
            ConversationState::Denied
            | ConversationState::TimedOut
            | ConversationState::Ended
            | ConversationState::Vanished => self.reject(),
            ConversationState::Asked | ConversationState::Requested => {}
        }
    }

    fn reject(&mut self) {
        self.state = State::LoggedIn;
        self.desk.write(wire::rejected());
    }

    /// Two old clients talk without us: their chat lasts until they say so.
    fn on_chat_news(&mut self, state: ConversationState) {
        let is_over = match state {
            ConversationState::Ended | ConversationState::Vanished => true,
            ConversationState::Asked
            | ConversationState::Requested
            | ConversationState::Accepted
            | ConversationState::Denied
            | ConversationState::Busy
            | ConversationState::TimedOut => false,
        };
        let is_ours = self.talk.is_ours();
        if is_over {
            self.talk.hang_up(&mut self.desk);
        }
        if is_over && is_ours {
            self.state = State::LoggedIn;
        }
    }

    fn answer(&mut self, now: Now, asked: Asked, reply: Reply) {
        match (asked, reply) {
            (Asked::Users(mut roster), Reply::Users(page)) => {
                match roster.take(page, Whom::Online) {
                    Some(next) => self.desk.ask(next, Asked::Users(roster)),
                    None => self.list(roster),
                }
            }
            (Asked::Callee, Reply::User(user)) => self.on_callee(&user),
            (Asked::Converse { with, is_ours }, _) => {
                let until = now.instant + PATIENCE;
                self.state = State::WaitingOther(Asking { with, is_ours, until });
            }
            (Asked::Users(_) | Asked::Callee, _) => {}
        }
    }

    fn list(&mut self, roster: Roster) {
        let users = roster.by_arrival();
        let seen = users.iter().filter(|user| self.sees(user));
        let all: Vec<_> = seen.map(|user| (shown(&user.name), user.online_since)).collect();
        self.desk.write(wire::users(&all));
    }

    fn on_refusal(&mut self, asked: &Asked, error: &ErrorBody) {
        match (asked, error.code) {
            (Asked::Converse { .. }, ErrorCode::Busy | ErrorCode::Conflict) => {
                self.refuse(Refusal::UserNotAvailable);
            }
            (Asked::Callee | Asked::Converse { .. }, _) => self.refuse(Refusal::UserNotLoggedIn),
            (Asked::Users(_), _) => {
                let state = self.state.word();
                self.desk.write(wire::error("FAILED", &error.message, state));
            }
        }
    }

    fn on_beat(&mut self, now: Now) {
        let Some(heard) = self.heard_at else { return };
        if now.instant < heard + HEARTBEAT_EVERY * (self.beats + 1) {
            return;
        }
        self.beats += 1;
        if self.beats > HEARTBEATS_MISSED {
            self.part();
        } else if self.is_ready() && !matches!(self.state, State::WaitingClient { .. }) {
            self.desk.write("HEARTBEAT\r\n");
        }
    }

    fn asked_until(&self) -> Option<Instant> {
        match &self.state {
            State::WaitingOther(Asking { until, .. }) | State::WaitingClient { until, .. } => {
                Some(*until)
            }
            State::WaitingConnection
            | State::WaitingLogin
            | State::LoggedIn
            | State::Chatting { .. } => None,
        }
    }

    fn give_up(&mut self, now: Now) {
        if self.asked_until().is_none_or(|until| now.instant < until) {
            return;
        }
        match std::mem::replace(&mut self.state, State::LoggedIn) {
            State::WaitingOther(Asking { with, .. }) => {
                self.desk.tell(EndTalk { with });
                self.reject();
            }
            State::WaitingClient { with, .. } => self.deny(with, Some("no answer in time")),
            State::WaitingConnection
            | State::WaitingLogin
            | State::LoggedIn
            | State::Chatting { .. } => {}
        }
    }
}

impl Bridge for MacBridge {
    fn handle_connected(&mut self, now: Now) {
        self.heard_at = (self.carrier() == Carrier::Udp).then_some(now.instant);
    }

    fn handle_bytes(&mut self, now: Now, bytes: &[u8]) {
        let mut is_too_long = false;
        let todo = &mut self.todo;
        let mut found = |line| match line {
            Line::Text(text) => todo.push_back(text),
            Line::TooLong => is_too_long = true,
        };
        self.lines.push(bytes, &mut found);
        if self.heard_at.is_some() {
            // A datagram is a line, whether it has an end or not.
            self.lines.rest().into_iter().for_each(&mut found);
            (self.heard_at, self.beats) = (Some(now.instant), 0);
        }
        self.todo.retain(|line| !line.trim().is_empty());
        if is_too_long {
            return self.part();
        }
        self.go_on(now);
    }

    fn handle_entered(&mut self, now: Now, outcome: Result<LoggedIn, Refused>) {
        self.is_entering = false;
        match outcome {
            Ok(logged_in) => {
                self.state = State::LoggedIn;
                let from = (self.visitor.address.ip(), self.visitor.address.port());
                self.desk.write(wire::logged_in(&shown(&logged_in.name), from, now.wall));
                self.me = Some(logged_in.name);
            }
            Err(refused) => {
                let (code, message) = if refused.is_taken() {
                    let name = &self.wanted;
                    let message = format!("An user with name '{name}' is already logged in");
                    ("LOGIN_FAILED_USER_NAME_TAKEN", message)
                } else {
                    ("LOGIN_FAILED", refused.reason().to_owned())
                };
                self.desk.write(wire::error(code, &message, self.state.word()));
            }
        }
        self.go_on(now);
    }

    fn handle_answer(&mut self, now: Now, ticket: Ticket, answer: Result<Reply, ErrorBody>) {
        let Some(asked) = self.desk.take(ticket) else { return };
        match answer {
            Ok(reply) => self.answer(now, asked, reply),
            Err(error) => self.on_refusal(&asked, &error),
        }
        self.go_on(now);
    }

    fn handle_event(&mut self, now: Now, event: Event) {
        match event {
            Event::Conversation(news) => self.on_conversation(&news),
            Event::Message(delivery) => {
                self.talk.deliver(&mut self.desk, self.state.partner(), delivery);
            }
            Event::Closing(_) => self.part(),
            Event::Receipt(_)
            | Event::Presence(_)
            | Event::Group(_)
            | Event::Announcement(_)
            | Event::Settings(_)
            | Event::Candidates(_) => {}
        }
        self.go_on(now);
    }

    fn handle_note(&mut self, now: Now, from: &Name, bytes: &[u8]) {
        let address = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
        if let (State::WaitingOther(asking), Some(address)) = (&self.state, address)
            && asking.with == *from
        {
            self.confirm(address);
        }
        // They talk without us.
        self.go_on(now);
    }

    fn handle_note_missed(&mut self, now: Now, to: &Name, _bytes: &[u8]) {
        // The caller is no client of this gateway: we call in its place.
        if self.state.partner() == Some(to) {
            self.talk.call_soon(now);
        }
    }

    fn handle_door(&mut self, now: Now, _door: Door, opened: Result<SocketAddr, String>) {
        match opened {
            Ok(address) => self.confirm(address),
            Err(_) => {
                self.drop_talk();
                self.refuse(Refusal::UserNotAvailable);
            }
        }
        self.go_on(now);
    }

    fn handle_call(&mut self, now: Now, call: Call, news: CallNews<'_>) {
        self.talk.on_call(&mut self.desk, self.state.partner(), (call, news));
        self.go_on(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.give_up(now);
        self.on_beat(now);
        self.talk.handle_timeout(&mut self.desk, now);
        self.go_on(now);
    }

    fn handle_end(&mut self, _now: Now, _end: &End) {
        self.part();
    }

    fn wants_input(&self) -> bool {
        self.todo.len() < TODO_MAX
    }

    fn is_idle(&self) -> bool {
        self.todo.is_empty() && !self.desk.is_waiting() && !self.is_entering
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.desk.poll_action()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let beat = self.heard_at.map(|heard| heard + HEARTBEAT_EVERY * (self.beats + 1));
        let due = [self.asked_until(), beat, self.talk.poll_timeout()].into_iter().flatten().min();
        due.filter(|_| !self.desk.is_finished())
    }
}
