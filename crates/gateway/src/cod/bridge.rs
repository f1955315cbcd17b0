//! One client of `cod`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use portolan_protocol::{
    CreateGroup, Delivery, ErrorBody, Event, InviteToGroup, ListMembers, LoggedIn, Lookup,
    MessageId, Name, Receipt, ReceiptState, Receipts, Recipient, Reply, Send, Users, Whom,
};

use super::{
    directory::{DIRECTORY, HELP, Question},
    ids::own_id,
    shared::Shared,
    wire::{self, Frame, Id, TEXT_MAX},
};
use crate::{
    bridge::{Action, Bridge, Duplicates, End, Now, Refused, Ticket, Visitor},
    courtesy,
    desk::Desk,
    names::{shown, to_native},
    roster::Roster,
    text::pieces,
};

/// What the clients read at once.
const READ_MAX: usize = 1_024;

/// Code, two ids and a time before a text.
const HEAD: usize = 2 + 2 * wire::ID_LEN + 10;

/// Frames that were none; with more, the client is sent away.
const WRONG_MAX: u32 = 16;

/// Texts of one writer that were not said to be read; of more, the first are not told.
const UNREAD_MAX: usize = 256;

/// Writers of whom that is remembered.
const WRITERS_MAX: usize = 1_024;

/// Texts to groups of which it is remembered whether they have come.
const GROUP_TEXTS_MAX: usize = 1_024;

/// After the last word the client has so long to close.
const LINGER: Duration = Duration::from_secs(2);

/// What an answer is for.
#[derive(Debug)]
enum Asked {
    /// A text; to which group, if to one.
    Sent(Option<Id>),
    /// A group is being made.
    Group {
        group: Id,
        members: Vec<Id>,
    },
    /// The members of a group that others made.
    Members(Id),
    /// For the directory.
    List(Roster),
    Id(String),
}

#[derive(Debug)]
enum Phase {
    Stranger,
    Entering(Id),
    In { id: Id, name: Name },
}

/// One client of `cod`.
#[derive(Debug)]
pub(super) struct CodBridge {
    visitor: Visitor,
    shared: Arc<Shared>,
    desk: Desk<Asked>,
    phase: Phase,
    /// The id that was given to it.
    given: Option<Id>,
    draws: u64,
    todo: VecDeque<Frame>,
    unread: HashMap<Name, VecDeque<MessageId>>,
    group_texts: BTreeMap<MessageId, Id>,
    /// Groups whose texts have come to one member at least.
    arrived: BTreeSet<MessageId>,
    /// Who was told of last, and when: several texts are read at once.
    last_read: Option<(Id, u64)>,
    wrong: u32,
}

impl CodBridge {
    pub(super) fn new(visitor: Visitor, shared: Arc<Shared>) -> Self {
        Self {
            visitor,
            shared,
            desk: Desk::default(),
            phase: Phase::Stranger,
            given: None,
            draws: 0,
            todo: VecDeque::new(),
            unread: HashMap::new(),
            group_texts: BTreeMap::new(),
            arrived: BTreeSet::new(),
            last_read: None,
            wrong: 0,
        }
    }

    fn me(&self) -> Option<Id> {
        match &self.phase {
            Phase::In { id, .. } | Phase::Entering(id) => Some(*id),
            Phase::Stranger => self.given,
        }
    }

    fn id_of(&self, name: &Name) -> Option<Id> {
        self.shared.ids(|ids| ids.of_user(name))
    }

    /// The next number of this client's share of chance (SplitMix64, Steele et al. 2014).
    fn draw(&mut self) -> u64 {
        self.draws = self.draws.wrapping_add(1);
        let mut z = self.visitor.seed.wrapping_add(self.draws.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn new_id(&mut self, first: char) -> Option<Id> {
        (0..16).find_map(|_| {
            let id = Id::new(first, self.draw())?;
            let is_free = id.as_str() != DIRECTORY && !self.shared.ids(|ids| ids.is_followed(id));
            is_free.then_some(id)
        })
    }

    fn go_on(&mut self, now: Now) {
        while !self.desk.is_waiting()
            && !matches!(self.phase, Phase::Entering(_))
            && !self.desk.is_finished()
        {
            let Some(frame) = self.todo.pop_front() else { return };
            self.on_frame(now, frame);
        }
    }

    fn on_frame(&mut self, now: Now, frame: Frame) {
        match frame {
            Frame::Register => self.on_register(),
            Frame::Login(id) => self.on_login(now, id),
            Frame::Text { from, to, text } => self.on_text(now, from, to, text),
            Frame::Read { of, time } => self.on_read(of, &time),
            Frame::Group { time, members } => self.on_group(&time, members),
            Frame::Wrong => self.on_wrong(now),
        }
    }

    /// There is no word for it: what cannot be read is borne for a while.
    fn on_wrong(&mut self, now: Now) {
        self.wrong += 1;
        if self.wrong > WRONG_MAX {
            self.close(now, "too much that cannot be read");
        }
    }

    fn on_register(&mut self) {
        if let Some(id) = self.new_id('0') {
            self.given = Some(id);
            self.desk.write(wire::registered(id));
        }
    }

    fn on_login(&mut self, now: Now, id: Id) {
        if matches!(self.phase, Phase::In { id: known, .. } if known == id) {
            return;
        }
        let is_others = self.shared.ids(|ids| ids.is_followed(id)) || id.as_str() == DIRECTORY;
        match Name::new(id.as_str()) {
            Ok(name) if id.is_user() && !is_others => {
                self.phase = Phase::Entering(id);
                self.desk.enter(name, Duplicates::Replace, None);
            }
            Ok(_) | Err(_) => self.say(now, id, "this id is not yours to use; register anew"),
        }
    }

    /// The directory's words; there are no others for what the server has to say.
    fn say(&mut self, now: Now, to: Id, words: &str) {
        if let Some(from) = Id::parse(DIRECTORY) {
            self.write_text(from, to, now.wall.0 / 1_000, words);
        }
    }

    fn write_text(&mut self, from: Id, to: Id, seconds: u64, text: &str) {
        for piece in pieces(text, TEXT_MAX, READ_MAX - HEAD) {
            self.desk.write(wire::text(from, to, seconds, piece));
        }
    }

    fn on_text(&mut self, now: Now, from: Id, to: Id, text: String) {
        let Phase::In { id, .. } = self.phase else { return };
        if from != id || text.is_empty() {
            return;
        }
        if to.as_str() == DIRECTORY {
            return self.on_question(now, id, &text);
        }
        let recipient = match to.is_group() {
            true => Some(Recipient::Group(self.shared.ids(|ids| ids.group(to)))),
            false => self.shared.ids(|ids| ids.user(to)).map(Recipient::User),
        };
        if let Some(recipient) = recipient {
            let group = to.is_group().then_some(to);
            let send = Send { to: recipient, text, reference: None };
            self.desk.ask(send, Asked::Sent(group));
        }
    }

    fn on_question(&mut self, now: Now, me: Id, text: &str) {
        match Question::parse(text) {
            Question::List => {
                let question = Roster::question(Whom::Online);
                self.desk.ask(question, Asked::List(Roster::default()));
            }
            Question::Id(text) => match to_native(&text) {
                Ok(name) => {
                    let asked = Asked::Id(text);
                    self.desk.ask(Lookup { name, whom: Whom::All }, asked);
                }
                Err(error) => self.say(now, me, &error.to_string()),
            },
            Question::Who(text) => {
                let name = Id::parse(&text).and_then(|id| self.shared.ids(|ids| ids.user(id)));
                let words = match name {
                    Some(name) => format!("{text} {}", shown(&name)),
                    None => format!("{text} is nobody's"),
                };
                self.say(now, me, &words);
            }
            Question::All(text) => {
                // Whether it has come is told once, as of a group.
                let send = Send { to: Recipient::Others, text, reference: None };
                self.desk.ask(send, Asked::Sent(Id::parse(DIRECTORY)));
            }
            Question::Help => self.say(now, me, HELP),
        }
    }

    /// Tells the writer at once, in its own words if it is a client of this gateway.
    fn on_read(&mut self, of: Id, time: &str) {
        let Phase::In { id, .. } = self.phase else { return };
        let Some(writer) = self.shared.ids(|ids| ids.user(of)) else { return };
        let ids: Vec<MessageId> = self.unread.remove(&writer).unwrap_or_default().into();
        if !ids.is_empty() {
            self.desk.tell(Receipts { ids, state: ReceiptState::Seen });
        }
        if own_id(&writer).is_some() {
            let bytes = wire::read(id, time).into_bytes();
            self.desk.act(Action::Note { to: writer, bytes });
        }
    }

    fn on_group(&mut self, time: &str, members: Vec<Id>) {
        let Phase::In { .. } = self.phase else { return };
        let Some(group) = self.new_id('1') else { return };
        self.shared.make_group(group, time, &members);
        let create =
            CreateGroup { group: group.as_str().to_owned(), history: false, reference: None };
        self.desk.ask(create, Asked::Group { group, members });
    }

    fn invite_all(&mut self, group: Id, members: &[Id]) {
        let Phase::In { id, .. } = self.phase else { return };
        for member in members.iter().filter(|member| **member != id) {
            let Some(user) = self.shared.ids(|ids| ids.user(*member)) else { continue };
            let group = group.as_str().to_owned();
            self.desk.tell(InviteToGroup { group, user, reference: None });
        }
        if let Some(notice) = self.shared.joined(group) {
            self.desk.write(notice);
        }
    }

    fn on_reply(&mut self, now: Now, asked: Asked, reply: Reply) {
        let Phase::In { id: me, .. } = self.phase else { return };
        match (asked, reply) {
            (Asked::Sent(Some(group)), Reply::Sent(sent)) => {
                self.group_texts.insert(sent.id, group);
                if self.group_texts.len() > GROUP_TEXTS_MAX {
                    self.group_texts.pop_first();
                    self.arrived.pop_first();
                }
            }
            (Asked::Group { group, members }, Reply::Done(_)) => self.invite_all(group, &members),
            (Asked::Members(group), Reply::Members(page)) => {
                let ids: Vec<Id> =
                    page.members.iter().filter_map(|member| self.id_of(&member.name)).collect();
                let time = wire::time_field(now.wall.0 / 1_000);
                let ids = ids.get(..wire::MEMBERS_MAX).unwrap_or(&ids);
                self.desk.write(wire::joined(group, &time, ids));
            }
            (Asked::List(roster), Reply::Users(page)) => self.on_users(now, me, roster, page),
            (Asked::Id(text), Reply::User(info)) => {
                if let Some(id) = self.id_of(&info.name) {
                    self.say(now, me, &format!("{id} {text}"));
                }
            }
            (
                Asked::Sent(_)
                | Asked::Group { .. }
                | Asked::Members(_)
                | Asked::List(_)
                | Asked::Id(_),
                _,
            ) => {}
        }
    }

    /// The old server says nothing when a text finds nobody; the rest the directory says.
    fn on_refusal(&mut self, now: Now, asked: &Asked, error: &ErrorBody) {
        let Phase::In { id, .. } = self.phase else { return };
        let is_nobody = matches!(
            error.code,
            portolan_protocol::ErrorCode::UnknownUser | portolan_protocol::ErrorCode::UnknownGroup
        );
        match asked {
            Asked::Sent(_) if is_nobody => {}
            Asked::Id(text) if is_nobody => self.say(now, id, &format!("{text} is nobody's name")),
            Asked::Members(_) => {}
            Asked::Sent(_) | Asked::Group { .. } | Asked::List(_) | Asked::Id(_) => {
                self.say(now, id, &error.message);
            }
        }
    }

    fn on_users(&mut self, now: Now, me: Id, mut roster: Roster, page: Users) {
        if let Some(next) = roster.take(page, Whom::Online) {
            return self.desk.ask(next, Asked::List(roster));
        }
        let lines: Vec<String> = roster
            .by_arrival()
            .iter()
            .filter_map(|user| Some(format!("{} {}", self.id_of(&user.name)?, shown(&user.name))))
            .collect();
        // As many whole lines as a text may have.
        let mut text = String::new();
        for line in lines {
            if !text.is_empty() && text.chars().count() + line.chars().count() >= TEXT_MAX {
                self.say(now, me, &std::mem::take(&mut text));
            }
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&line);
        }
        self.say(now, me, &text);
    }

    fn on_delivery(&mut self, delivery: &Delivery) {
        let Phase::In { id: me, .. } = self.phase else { return };
        let Some(writer) = self.id_of(&delivery.from) else { return };
        let seconds = delivery.at.0 / 1_000;
        match &delivery.to {
            Recipient::Group(group) => {
                let Some(group) = self.shared.ids(|ids| ids.of_group(group)) else { return };
                let text = format!("{}: {}", shown(&delivery.from), delivery.text);
                self.write_text(group, me, seconds, &text);
            }
            Recipient::User(_) | Recipient::All | Recipient::Others => {
                self.write_text(writer, me, seconds, &delivery.text);
            }
        }
        if self.unread.len() < WRITERS_MAX || self.unread.contains_key(&delivery.from) {
            let unread = self.unread.entry(delivery.from.clone()).or_default();
            if unread.len() >= UNREAD_MAX {
                unread.pop_front();
            }
            unread.push_back(delivery.id);
        }
    }

    fn on_receipt(&mut self, now: Now, receipt: &Receipt) {
        let seconds = now.wall.0 / 1_000;
        let Some(by) = self.id_of(&receipt.by) else { return };
        match receipt.state {
            ReceiptState::Stored => {}
            ReceiptState::Delivered => match self.group_texts.get(&receipt.id) {
                Some(group) => {
                    let notice = wire::delivered(*group, seconds);
                    if self.arrived.insert(receipt.id) {
                        self.desk.write(notice);
                    }
                }
                None => self.desk.write(wire::delivered(by, seconds)),
            },
            // Clients of this gateway tell it themselves.
            ReceiptState::Seen if own_id(&receipt.by).is_some() => {}
            ReceiptState::Seen => {
                if self.last_read.replace((by, seconds)) != Some((by, seconds)) {
                    self.desk.write(wire::read(by, &wire::time_field(seconds)));
                }
            }
        }
    }

    fn on_invited(&mut self, group: String) {
        let Some(id) = self.shared.ids(|ids| ids.of_group(&group)) else { return };
        match self.shared.joined(id) {
            Some(notice) => self.desk.write(notice),
            None => {
                let asked = Asked::Members(id);
                self.desk.ask(ListMembers { group, after: None, limit: None }, asked);
            }
        }
    }

    fn close(&mut self, now: Now, words: &str) {
        if !self.desk.is_finished() {
            if let Phase::In { id, .. } = self.phase {
                self.say(now, id, words);
            }
            self.desk.finish(LINGER);
        }
    }
}

impl Bridge for CodBridge {
    fn handle_connected(&mut self, _now: Now) {}

    fn handle_bytes(&mut self, now: Now, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        self.todo.extend(wire::parse(&text, self.me()));
        self.go_on(now);
    }

    fn handle_entered(&mut self, now: Now, outcome: Result<LoggedIn, Refused>) {
        let Phase::Entering(id) = self.phase else { return };
        match outcome {
            Ok(logged_in) => {
                courtesy::arrive(&mut self.desk);
                for notice in self.shared.collect(&logged_in.name) {
                    self.desk.write(notice);
                }
                self.phase = Phase::In { id, name: logged_in.name };
            }
            Err(refused) => {
                self.phase = Phase::Stranger;
                self.say(now, id, refused.reason());
            }
        }
        self.go_on(now);
    }

    fn handle_answer(&mut self, now: Now, ticket: Ticket, answer: Result<Reply, ErrorBody>) {
        let Some(asked) = self.desk.take(ticket) else { return };
        match answer {
            Ok(reply) => self.on_reply(now, asked, reply),
            Err(error) => self.on_refusal(now, &asked, &error),
        }
        self.go_on(now);
    }

    fn handle_event(&mut self, now: Now, event: Event) {
        if let Phase::In { name, .. } = &self.phase
            && let Some(group) = courtesy::accept(&mut self.desk, name, &event)
        {
            self.on_invited(group);
        }
        match event {
            Event::Message(delivery) => {
                self.on_delivery(&delivery);
                self.desk.confirm(delivery.id);
            }
            Event::Receipt(receipt) => self.on_receipt(now, &receipt),
            Event::Announcement(news) => {
                if let Phase::In { id, .. } = self.phase {
                    self.say(now, id, &news.text);
                }
            }
            Event::Closing(closing) => self.close(now, &closing.text),
            Event::Conversation(_)
            | Event::Presence(_)
            | Event::Group(_)
            | Event::Settings(_)
            | Event::Candidates(_) => {}
        }
    }

    fn handle_note(&mut self, _now: Now, _from: &Name, bytes: &[u8]) {
        self.desk.write(bytes);
    }

    fn handle_note_missed(&mut self, _now: Now, to: &Name, bytes: &[u8]) {
        self.shared.keep(to, bytes);
    }

    fn handle_timeout(&mut self, _now: Now) {}

    fn handle_end(&mut self, now: Now, end: &End) {
        match end {
            End::Closing => self.close(now, "the server is going down"),
            End::SessionOver(reason) => self.close(now, reason),
            End::Silent => self.desk.finish(LINGER),
        }
    }

    fn wants_input(&self) -> bool {
        self.todo.is_empty()
    }

    fn is_idle(&self) -> bool {
        self.todo.is_empty() && !self.desk.is_waiting() && !matches!(self.phase, Phase::Entering(_))
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.desk.poll_action()
    }
}
