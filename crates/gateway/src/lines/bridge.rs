//! From lines to commands, and from replies and events to lines.

use std::{collections::VecDeque, time::Duration};

use portolan_protocol::{
    Accept, ClosingReason, Converse, CreateGroup, Delivery, Deny, Echo, Empty, End as EndTalk,
    ErrorBody, ErrorCode, Event, History, InviteToGroup, JoinGroup, LeaveGroup, ListGroups,
    ListMembers, LoggedIn, Lookup, MessageId, Name, ReceiptState, Receipts, RemoveFromGroup, Reply,
    Send, SetAway, UserInfo, Whom,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::request::{self, Request, millis, target_word};
use crate::{
    bridge::{Action, Bridge, Duplicates, End, Now, Refused, Ticket},
    desk::Desk,
    line_buffer::{Line as RawLine, LineBuffer},
    roster::Roster,
};

/// Bytes of a line: the longest text, with every byte of it escaped.
const LINE_MAX: usize = 6 * (64 << 10) + 1_024;

/// Lines that were no requests; with more, the client is sent away.
const WRONG_MAX: u32 = 16;

/// After the last line the client has so long to close.
const LINGER: Duration = Duration::from_secs(2);

const HELP: &[&str] = &[
    "login name",
    "logout",
    "list [all]",
    "who name",
    "send to text",
    "echo text",
    "seen ids",
    "history with [before] [limit]",
    "ask name",
    "accept name",
    "deny name [reason]",
    "end name",
    "away [text]",
    "back",
    "groups",
    "members group",
    "create group",
    "invite group name",
    "join group",
    "leave group",
    "remove group name",
    "help",
    "quit",
];

/// What an answer is for.
#[derive(Debug)]
struct Asked {
    what: Head,
    roster: Option<(Roster, Whom)>,
}

/// How an answer begins.
#[derive(Debug, Clone, Default)]
struct Head {
    id: Option<Value>,
    word: String,
}

#[derive(Debug)]
enum Todo {
    Request(request::Line),
    TooLong,
}

/// One client of `lines`.
#[derive(Debug)]
pub(super) struct LinesBridge {
    desk: Desk<Asked>,
    lines: LineBuffer,
    todo: VecDeque<Todo>,
    wrong: u32,
    /// The login that waits.
    entering: Option<Head>,
    is_in: bool,
}

impl LinesBridge {
    pub(super) fn new() -> Self {
        Self {
            desk: Desk::default(),
            lines: LineBuffer::new(LINE_MAX),
            todo: VecDeque::new(),
            wrong: 0,
            entering: None,
            is_in: false,
        }
    }

    fn print(&mut self, value: &Value) {
        let mut line = value.to_string();
        line.push('\n');
        self.desk.write(line);
    }

    fn grant(&mut self, head: &Head, fields: Value) {
        let mut line = json!({ "re": head.word, "ok": true });
        if let (Some(id), Some(object)) = (&head.id, line.as_object_mut()) {
            object.insert("id".to_owned(), id.clone());
        }
        self.print(&joined(line, fields));
    }

    fn refuse(&mut self, head: &Head, error: &ErrorBody) {
        let mut line = json!({
            "re": head.word, "ok": false, "error": error.code.as_str(), "message": error.message,
        });
        if let (Some(id), Some(object)) = (&head.id, line.as_object_mut()) {
            object.insert("id".to_owned(), id.clone());
        }
        self.print(&line);
    }

    fn tell(&mut self, event: &str, fields: Value) {
        self.print(&joined(json!({ "event": event }), fields));
    }

    /// Does what is to be done, one after the other.
    fn go_on(&mut self) {
        while !self.desk.is_waiting() && self.entering.is_none() && !self.desk.is_finished() {
            match self.todo.pop_front() {
                None => return,
                Some(Todo::TooLong) => {
                    let message = format!("a line has at most {LINE_MAX} bytes");
                    self.on_wrong(&Head::default(), &ErrorBody::new(ErrorCode::TooLarge, message));
                }
                Some(Todo::Request(line)) => {
                    let head = Head { id: line.id, word: line.word };
                    match line.request {
                        Ok(request) => self.start(head, request),
                        Err(why) => {
                            self.on_wrong(&head, &ErrorBody::new(ErrorCode::BadRequest, why));
                        }
                    }
                }
            }
        }
    }

    fn on_wrong(&mut self, head: &Head, error: &ErrorBody) {
        self.refuse(head, error);
        self.wrong += 1;
        if self.wrong > WRONG_MAX {
            self.say_closing("abuse", "too many lines that are no requests");
        }
    }

    fn say_closing(&mut self, why: &str, text: &str) {
        if !self.desk.is_finished() {
            self.tell("closing", json!({ "why": why, "text": text }));
            self.desk.finish(LINGER);
        }
    }

    fn start(&mut self, head: Head, request: Request) {
        match request {
            Request::Login { name } => self.login(head, name),
            Request::Logout {} => self.logout(&head),
            Request::List { all } => {
                let whom = if all { Whom::All } else { Whom::Online };
                let roster = Some((Roster::default(), whom));
                self.desk.ask(Roster::question(whom), Asked { what: head, roster });
            }
            Request::Who { name } => self.ask(head, Lookup { name, whom: Whom::All }),
            Request::Send { to, text } => self.ask(head, Send { to: to.0, text, reference: None }),
            Request::Echo { text } => self.ask(head, Echo { text }),
            Request::Seen { ids } => {
                let ids = ids.into_iter().map(MessageId).collect();
                self.ask(head, Receipts { ids, state: ReceiptState::Seen });
            }
            Request::History { with, before, limit } => {
                self.ask(head, History { with: with.0, before: before.map(MessageId), limit });
            }
            Request::Ask { name } => self.ask(head, Converse { with: name }),
            Request::Accept { name } => self.ask(head, Accept { with: name }),
            Request::Deny { name, reason } => self.ask(head, Deny { with: name, reason }),
            Request::End { name } => self.ask(head, EndTalk { with: name }),
            Request::Away { text } => self.ask(head, SetAway { text: Some(text) }),
            Request::Back {} => self.ask(head, SetAway { text: None }),
            Request::Groups {} => self.ask(head, ListGroups {}),
            Request::Members { group } => {
                self.ask(head, ListMembers { group, after: None, limit: None });
            }
            Request::Create { group } => {
                self.ask(head, CreateGroup { group, history: false, reference: None });
            }
            Request::Invite { group, name } => {
                self.ask(head, InviteToGroup { group, user: name, reference: None });
            }
            Request::Join { group } => self.ask(head, JoinGroup { group, reference: None }),
            Request::Leave { group } => self.ask(head, LeaveGroup { group, reference: None }),
            Request::Remove { group, name } => {
                self.ask(head, RemoveFromGroup { group, user: name, reference: None });
            }
            Request::Help {} => self.grant(&head, json!({ "requests": HELP })),
            Request::Quit {} => {
                self.grant(&head, json!({}));
                self.desk.act(Action::Leave);
                self.desk.finish(LINGER);
            }
        }
    }

    fn ask(&mut self, what: Head, command: impl Into<portolan_protocol::Command>) {
        self.desk.ask(command, Asked { what, roster: None });
    }

    fn login(&mut self, head: Head, name: Name) {
        if self.is_in {
            let message = "you have logged in already; log out first";
            return self.refuse(&head, &ErrorBody::new(ErrorCode::Conflict, message));
        }
        self.entering = Some(head);
        self.desk.enter(name, Duplicates::Refuse, None);
    }

    fn logout(&mut self, head: &Head) {
        if std::mem::take(&mut self.is_in) {
            self.desk.act(Action::Leave);
            self.grant(head, json!({}));
        } else {
            self.refuse(head, &ErrorBody::new(ErrorCode::NotLoggedIn, "nobody is logged in"));
        }
    }

    fn on_reply(&mut self, asked: Asked, reply: Reply) {
        let Asked { what, roster } = asked;
        let fields = match reply {
            Reply::Users(page) => {
                let Some((mut roster, whom)) = roster else { return };
                if let Some(next) = roster.take(page, whom) {
                    return self.desk.ask(next, Asked { what, roster: Some((roster, whom)) });
                }
                let users = roster.by_name();
                json!({ "users": users.iter().map(user).collect::<Vec<_>>() })
            }
            Reply::User(info) => json!({ "user": user(&info) }),
            Reply::Sent(sent) => json!({
                "message": sent.id, "at": sent.at, "online": sent.online, "waiting": sent.waiting,
            }),
            Reply::Echo(echo) => json!({ "text": echo.text }),
            Reply::Messages(page) => json!({
                "messages": page.messages.iter().map(delivery).collect::<Vec<_>>(),
                "more": page.more,
            }),
            Reply::Requested(requested) => json!({ "expires_ms": requested.expires_ms }),
            Reply::Groups(groups) => json!({ "groups": words(&groups.groups) }),
            Reply::Members(page) => json!({ "members": words(&page.members), "more": page.more }),
            Reply::Done(Empty {})
            | Reply::Welcome(_)
            | Reply::LoggedIn(_)
            | Reply::Heartbeat(_)
            | Reply::Settings(_)
            | Reply::Bans(_)
            | Reply::BackedUp(_)
            | Reply::ServerInfo(_) => json!({}),
        };
        self.grant(&what, fields);
    }
}

impl Bridge for LinesBridge {
    fn handle_connected(&mut self, _now: Now) {
        self.tell("hello", json!({ "software": "portolan", "help": r#"{"do":"help"}"# }));
    }

    fn handle_bytes(&mut self, _now: Now, bytes: &[u8]) {
        let todo = &mut self.todo;
        self.lines.push(bytes, |line| match line {
            RawLine::Text(text) => todo.extend(request::parse(&text).map(Todo::Request)),
            RawLine::TooLong => todo.push_back(Todo::TooLong),
        });
        self.go_on();
    }

    fn handle_entered(&mut self, _now: Now, outcome: Result<LoggedIn, Refused>) {
        let head = self.entering.take().unwrap_or_default();
        match outcome {
            Ok(logged_in) => {
                self.is_in = true;
                let waiting = logged_in.waiting;
                self.grant(&head, json!({ "name": logged_in.name, "waiting": waiting }));
            }
            Err(Refused::Server(error)) => self.refuse(&head, &error),
            Err(refused @ Refused::InUse) => {
                self.refuse(&head, &ErrorBody::new(ErrorCode::NameTaken, refused.reason()));
            }
        }
        self.go_on();
    }

    fn handle_answer(&mut self, _now: Now, ticket: Ticket, answer: Result<Reply, ErrorBody>) {
        let Some(asked) = self.desk.take(ticket) else { return };
        match answer {
            Ok(reply) => self.on_reply(asked, reply),
            Err(error) => self.refuse(&asked.what, &error),
        }
        self.go_on();
    }

    fn handle_event(&mut self, _now: Now, event: Event) {
        match event {
            Event::Message(message) => {
                self.tell("message", delivery(&message));
                self.desk.confirm(message.id);
            }
            Event::Receipt(receipt) => self.tell("receipt", word_fields(&receipt)),
            Event::Conversation(news) => self.tell("conversation", word_fields(&news)),
            Event::Presence(news) => {
                self.tell("presence", json!({ "user": user(&news.user), "change": news.change }));
            }
            Event::Group(news) => self.tell("group", word_fields(&news)),
            Event::Announcement(news) => {
                self.tell("announcement", json!({ "text": news.text, "at": news.at }));
            }
            Event::Closing(closing) => {
                self.say_closing(closing_word(closing.why), &closing.text);
            }
            Event::Settings(_) | Event::Candidates(_) => {}
        }
    }

    fn handle_timeout(&mut self, _now: Now) {}

    fn handle_end(&mut self, _now: Now, end: &End) {
        self.is_in = false;
        match end {
            End::Closing => self.say_closing("shutdown", "the server is going down"),
            End::SessionOver(reason) => self.say_closing("over", reason),
            End::Silent => self.say_closing("silent", "no login in time"),
        }
    }

    fn wants_input(&self) -> bool {
        self.todo.is_empty()
    }

    fn is_idle(&self) -> bool {
        self.todo.is_empty() && !self.desk.is_waiting() && self.entering.is_none()
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.desk.poll_action()
    }
}

/// One object: the fields of the first, then those of the second.
fn joined(mut first: Value, second: Value) -> Value {
    if let (Some(object), Value::Object(more)) = (first.as_object_mut(), second) {
        for (key, value) in more {
            object.entry(key).or_insert(value);
        }
    }
    first
}

fn user(info: &UserInfo) -> Value {
    let mut fields = json!({ "name": info.name, "by": info.transport, "state": info.state });
    if let Some(object) = fields.as_object_mut() {
        object.extend(millis(info.online_since).map(|at| ("since".to_owned(), at.into())));
        object.extend(info.away.clone().map(|away| ("away".to_owned(), away.into())));
    }
    fields
}

fn delivery(message: &Delivery) -> Value {
    json!({
        "id": message.id, "from": message.from, "to": target_word(&message.to),
        "text": message.text, "at": message.at,
    })
}

/// The fields of a message as it has them.
fn word_fields(body: &impl Serialize) -> Value {
    serde_json::to_value(body).unwrap_or_default()
}

fn words<T: Serialize>(all: &[T]) -> Vec<Value> {
    all.iter().map(word_fields).collect()
}

fn closing_word(why: ClosingReason) -> &'static str {
    match why {
        ClosingReason::Shutdown => "shutdown",
        ClosingReason::Replaced => "replaced",
        ClosingReason::Kicked => "kicked",
        ClosingReason::Banned => "banned",
        ClosingReason::TooSlow => "too_slow",
        ClosingReason::Abuse => "abuse",
    }
}
