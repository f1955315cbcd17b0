//! One client of `upc`: who it is, and with whom it talks.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use portolan_protocol::{
    Command, Conversation, ConversationState, Converse, End as EndTalk, ErrorBody, ErrorCode,
    Event, LoggedIn, Name, Password, Recipient, Reply, Send, SetPassword, Whom,
};

use super::wire::{self, HELP, Said, Service};
use crate::{
    bridge::{Action, Bridge, Duplicates, End, Now, Refused, Ticket},
    chunks::Chunks,
    courtesy,
    desk::Desk,
    line_buffer::Line,
    names::{shown, to_native},
    roster::Roster,
    text::pieces,
};

/// Bytes of a message: the buffer of the original server.
const MESSAGE_MAX: usize = 50_000;

/// Messages that wait for those before them; with more, nothing is read.
const TODO_MAX: usize = 64;

/// After the last words the client has so long to close.
const LINGER: Duration = Duration::from_secs(2);

/// A client that has not said who it is is asked so often.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// What an answer is for.
#[derive(Debug)]
enum Asked {
    Menu(Roster),
    Connect(Name),
    Text,
    Password { is_set: bool },
    Ended(Name),
    Group(String),
}

/// The letter in `Servidor[F]`: what kind of words they are.
#[derive(Debug, Clone, Copy)]
enum Flag {
    /// The connection ends.
    Closed,
    /// Something was refused.
    Error,
    /// News.
    Information,
    /// A list of users.
    Menu,
    /// Who are you?
    Username,
}

impl Flag {
    fn letter(self) -> char {
        match self {
            Self::Closed => 'c',
            Self::Error => 'e',
            Self::Information => 'i',
            Self::Menu => 'm',
            Self::Username => 'u',
        }
    }
}

/// One client.
#[derive(Debug)]
pub(super) struct UpcBridge {
    desk: Desk<Asked>,
    chunks: Chunks,
    todo: VecDeque<Line>,
    /// Under which name it is in.
    me: Option<Name>,
    /// The name that waits for the server, or for its password.
    wanted: Option<Name>,
    is_entering: bool,
    partner: Option<Recipient>,
    ask_at: Option<Instant>,
}

impl UpcBridge {
    pub(super) fn new() -> Self {
        Self {
            desk: Desk::default(),
            chunks: Chunks::new(MESSAGE_MAX),
            todo: VecDeque::new(),
            me: None,
            wanted: None,
            is_entering: false,
            partner: None,
            ask_at: None,
        }
    }

    fn write(&mut self, origin: &str, text: &str) {
        let head = format!("{origin}: ");
        let room = MESSAGE_MAX - head.len().min(MESSAGE_MAX / 2) - 2;
        for piece in pieces(text, usize::MAX, room) {
            self.desk.write(format!("{head}{piece}{}", self.chunks.end()));
        }
    }

    fn tell(&mut self, flag: Flag, text: &str) {
        self.write(&format!("Servidor[{}]", flag.letter()), text);
    }

    fn part(&mut self, text: &str) {
        if !self.desk.is_finished() {
            self.tell(Flag::Closed, text);
            self.desk.act(Action::Leave);
            self.desk.finish(LINGER);
        }
    }

    fn ask_who(&mut self) {
        self.tell(Flag::Username, "who are you? say username: NAME");
    }

    /// Does what was said, one after the other.
    fn go_on(&mut self) {
        while !self.desk.is_waiting() && !self.is_entering && !self.desk.is_finished() {
            match self.todo.pop_front() {
                None => return,
                Some(Line::TooLong) => {
                    let text = format!("a message has at most {MESSAGE_MAX} bytes");
                    self.tell(Flag::Error, &text);
                }
                Some(Line::Text(message)) => self.on_message(&message),
            }
        }
    }

    fn on_message(&mut self, message: &str) {
        match wire::read(message) {
            Said::Username(name) => self.enter(name),
            Said::Password(word) => self.try_password(word),
            Said::Service(Service::Exit, _) => self.part("goodbye"),
            Said::Service(Service::Help, _) => self.tell(Flag::Information, HELP),
            Said::Connect(_) | Said::Service(..) | Said::Unknown(_) | Said::Text(_)
                if self.me.is_none() =>
            {
                self.ask_who();
            }
            Said::Connect(user) => self.connect(user),
            Said::Service(service, rest) => self.serve(service, rest),
            Said::Unknown(word) => {
                self.tell(Flag::Error, &format!("there is no {word}; there are {HELP}"));
            }
            Said::Text(text) => self.say(text),
        }
    }

    fn enter(&mut self, name: &str) {
        match to_native(name) {
            Err(error) => self.tell(Flag::Error, &format!("username: {error}")),
            Ok(name) if self.me.as_ref() == Some(&name) => {}
            Ok(name) => {
                self.leave();
                self.begin(name, None);
            }
        }
    }

    fn try_password(&mut self, word: &str) {
        match (&self.me, self.wanted.take()) {
            (None, Some(name)) => self.begin(name, Some(Password(word.to_owned()))),
            (Some(_), _) => self.tell(Flag::Information, "to change it, say ::password WORD"),
            (None, None) => self.ask_who(),
        }
    }

    fn begin(&mut self, name: Name, password: Option<Password>) {
        self.is_entering = true;
        self.wanted = Some(name.clone());
        self.desk.enter(name, Duplicates::Replace, password);
    }

    fn leave(&mut self) {
        if self.me.take().is_some() {
            self.desk.act(Action::Leave);
            self.desk.forget();
        }
        self.partner = None;
    }

    fn connect(&mut self, user: &str) {
        if let Some(group) = user.strip_prefix('#') {
            let group = group.to_owned();
            let members = portolan_protocol::ListMembers {
                group: group.clone(),
                after: None,
                limit: Some(1),
            };
            return self.desk.ask(members, Asked::Group(group));
        }
        match to_native(user) {
            Err(error) => self.tell(Flag::Error, &format!("connect: {error}")),
            Ok(with) => {
                self.desk.ask(Converse { with: with.clone() }, Asked::Connect(with));
            }
        }
    }

    fn serve(&mut self, service: Service, rest: &str) {
        match service {
            Service::Menu => {
                let question = Roster::question(Whom::Online);
                self.desk.ask(question, Asked::Menu(Roster::default()));
            }
            Service::End => self.end(),
            Service::Exit => self.part("goodbye"),
            Service::Password => {
                let password = (!rest.is_empty()).then(|| Password(rest.to_owned()));
                let is_set = password.is_some();
                self.desk.ask(SetPassword { password }, Asked::Password { is_set });
            }
            Service::All => self.send(Recipient::Others, rest),
            Service::Help => self.tell(Flag::Information, HELP),
        }
    }

    fn end(&mut self) {
        match self.partner.take() {
            Some(Recipient::User(with)) => {
                self.desk.ask(EndTalk { with: with.clone() }, Asked::Ended(with));
            }
            Some(Recipient::Group(group)) => {
                self.tell(Flag::Information, &format!("no more words to #{group}"));
            }
            Some(Recipient::All | Recipient::Others) | None => {
                self.tell(Flag::Error, "there is no conversation");
            }
        }
    }

    fn say(&mut self, text: &str) {
        match self.partner.clone() {
            Some(to) => self.send(to, text),
            None => {
                let text = "nobody would hear that: say connect: USER first, or ::menu";
                self.tell(Flag::Error, text);
            }
        }
    }

    fn send(&mut self, to: Recipient, text: &str) {
        let send = Send { to, text: text.to_owned(), reference: None };
        self.desk.ask(Command::Send(send), Asked::Text);
    }

    fn on_reply(&mut self, asked: Asked, reply: Reply) {
        match (asked, reply) {
            (Asked::Menu(mut roster), Reply::Users(page)) => {
                match roster.take(page, Whom::Online) {
                    Some(next) => self.desk.ask(next, Asked::Menu(roster)),
                    None => self.show(roster),
                }
            }
            (Asked::Connect(with), _) => self.partner = Some(Recipient::User(with)),
            (Asked::Group(group), _) => self.partner = Some(Recipient::Group(group)),
            (Asked::Password { is_set }, _) => {
                let text = if is_set { "the password is set" } else { "there is no password now" };
                self.tell(Flag::Information, text);
            }
            (Asked::Ended(with), _) => {
                let text = format!("the conversation with {} is over", shown(&with));
                self.tell(Flag::Information, &text);
            }
            (Asked::Text | Asked::Menu(_), _) => {}
        }
    }

    fn on_refusal(&mut self, asked: Asked, error: &ErrorBody) {
        match (asked, error.code) {
            (Asked::Connect(with), ErrorCode::Conflict) => {
                self.partner = Some(Recipient::User(with));
            }
            (Asked::Connect(with), ErrorCode::Offline) => {
                let text = format!("{} is not here; what you say is kept", shown(&with));
                self.tell(Flag::Information, &text);
                self.partner = Some(Recipient::User(with));
            }
            (Asked::Ended(_), ErrorCode::NoConversation) => {
                self.tell(Flag::Information, "the conversation is over");
            }
            (
                Asked::Connect(_)
                | Asked::Menu(_)
                | Asked::Text
                | Asked::Password { .. }
                | Asked::Ended(_)
                | Asked::Group(_),
                _,
            ) => self.tell(Flag::Error, &error.message),
        }
    }

    fn show(&mut self, roster: Roster) {
        let users = roster.by_name();
        let others = users.iter().filter(|user| Some(&user.name) != self.me.as_ref());
        let names: Vec<String> = others.map(|user| shown(&user.name)).collect();
        if names.is_empty() {
            self.tell(Flag::Menu, "nobody else is here");
        } else {
            self.tell(Flag::Menu, &names.join(", "));
        }
    }

    fn on_conversation(&mut self, news: &Conversation) {
        let who = shown(&news.with);
        let with = Recipient::User(news.with.clone());
        let news = match news.state {
            ConversationState::Requested => {
                let end = self.chunks.end();
                self.desk.write(format!("connect: {who}{end}"));
                self.partner.get_or_insert(with);
                return;
            }
            ConversationState::Asked | ConversationState::Accepted => return,
            ConversationState::Denied => format!("{who} does not want to talk"),
            ConversationState::Busy => format!("{who} is talking with somebody else"),
            ConversationState::TimedOut => format!("{who} does not answer"),
            ConversationState::Ended => format!("{who} has ended the conversation"),
            ConversationState::Vanished => format!("{who} is not here any more"),
        };
        if self.partner.as_ref() == Some(&with) {
            self.partner = None;
        }
        self.tell(Flag::Information, &news);
    }
}

impl Bridge for UpcBridge {
    fn handle_connected(&mut self, now: Now) {
        self.ask_at = Some(now.instant + ASK_EVERY);
    }

    fn handle_bytes(&mut self, now: Now, bytes: &[u8]) {
        let todo = &mut self.todo;
        self.chunks.push(bytes, |line| match line {
            Line::Text(read) => {
                todo.extend(wire::split(&read).into_iter().map(|one| Line::Text(one.to_owned())));
            }
            Line::TooLong => todo.push_back(Line::TooLong),
        });
        if self.ask_at.is_some() {
            self.ask_at = Some(now.instant + ASK_EVERY);
        }
        self.go_on();
    }

    fn handle_entered(&mut self, _now: Now, outcome: Result<LoggedIn, Refused>) {
        self.is_entering = false;
        match outcome {
            Ok(logged_in) => {
                self.me = Some(logged_in.name);
                self.wanted = None;
                self.ask_at = None;
                courtesy::arrive(&mut self.desk);
            }
            Err(Refused::Server(error)) if error.code == ErrorCode::WrongPassword => {
                self.tell(Flag::Error, "this name has a password: say password: WORD");
            }
            Err(refused) => {
                self.wanted = None;
                let text = format!("{}; say username: with another name", refused.reason());
                self.tell(Flag::Error, &text);
            }
        }
        self.go_on();
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
        if let Some(me) = self.me.clone()
            && let Some(group) = courtesy::accept(&mut self.desk, &me, &event)
        {
            self.tell(Flag::Information, &format!("you are in #{group} now"));
        }
        match event {
            Event::Message(message) => {
                let from = shown(&message.from);
                match &message.to {
                    Recipient::Group(group) => {
                        self.write(&format!("{from}#{group}"), &message.text);
                    }
                    Recipient::User(_) | Recipient::All | Recipient::Others => {
                        self.write(&from, &message.text);
                    }
                }
                self.desk.confirm(message.id);
            }
            Event::Conversation(news) => self.on_conversation(&news),
            Event::Announcement(news) => self.tell(Flag::Information, &news.text),
            Event::Closing(closing) => self.part(&closing.text),
            Event::Receipt(_)
            | Event::Presence(_)
            | Event::Group(_)
            | Event::Settings(_)
            | Event::Candidates(_) => {}
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.ask_at.is_some_and(|at| at <= now.instant) {
            self.ask_at = Some(now.instant + ASK_EVERY);
            self.ask_who();
        }
    }

    fn handle_end(&mut self, _now: Now, end: &End) {
        match end {
            End::Closing => self.part("the server closes"),
            End::SessionOver(reason) => self.part(reason),
            End::Silent => self.part("no username: in time"),
        }
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
        self.ask_at.filter(|_| !self.desk.is_finished())
    }
}
