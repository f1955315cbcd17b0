//! Bridges of gateways, with a hub that grants everything and gives back what it is sent.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use portolan_gateway::{
    Action, Bridge, Call, CallNews, Door, End, Entry, Now, Refused, Ticket, Visitor, find,
    legacy_id,
};
use portolan_peer_id::PeerId;
use portolan_protocol::{
    Availability, Command, Conversation, ConversationState, Delivery, EchoReply, Empty, ErrorBody,
    ErrorCode, Event, GroupChange, GroupNews, LoggedIn, Members, MessageId, Messages, Name,
    Receipt, ReceiptState, Recipient, Reply, Send, Sent, Timestamp, UserInfo, Users,
};

use crate::start;

/// What the old clients without framing take for one message.
const MESSAGE_MAX: usize = 1_024;

/// Actions that one read may cause: a request takes two bytes at least, an answer is a piece for
/// each few.
const ACTIONS_MAX: usize = 1 << 16;

const SERVER: PeerId = PeerId::from_bytes([7; PeerId::LEN]);

pub(crate) fn lines(bytes: &[u8]) {
    run("lines", bytes);
}

pub(crate) fn lines_seeds() -> Vec<Vec<u8>> {
    let lines = concat!(
        "{\"do\":\"login\",\"name\":\"ana\"}\n{\"do\":\"list\",\"all\":true,\"id\":1}\n",
        "{\"do\":\"send\",\"to\":\"#team\",\"text\":\"x\"}\n{\"do\":\"seen\",\"ids\":[1,2]}\n",
        "{\"do\":\"history\",\"with\":\"bob\",\"before\":9}\r\n{\"do\":\"quit\"}\n",
    );
    seeds(&[lines, "{\"do\":\"fly\"}\nnonsense\n\n{\"do\":\"echo\",\"text\":\"\\ud800\"}\n"])
}

pub(crate) fn tr223(bytes: &[u8]) {
    run("tr223", bytes);
}

pub(crate) fn tr223_seeds() -> Vec<Vec<u8>> {
    seeds(&[
        "ana | server | name | anaana | server | list_clients | no dataana | ana | echo | x | y",
        "ana | server | name | anaana | server | name | anaana | server | list clients | ",
        "a | server | name | aa | b | private message | oia | b | list_files | no data",
        "a | server | name | aa | all clients | broadcast | server closed",
        "ana maria | server | name | ana mariaana maria | #t | private_message | /leave",
    ])
}

pub(crate) fn cod(bytes: &[u8]) {
    run("cod", bytes);
}

pub(crate) fn cod_seeds() -> Vec<Vec<u8>> {
    seeds(&[
        "030050452041144030050452041144",
        "01030050452041144050050452041144040204760538517952401440402047605385oi",
        "030050452041144\u{0}0500504520411440999999999999179524014list",
        "0300504520411440800504520411441795240146",
        "030050452041144100050452041144179524016604020476053850050452041144",
    ])
}

pub(crate) fn inf452(bytes: &[u8]) {
    run("inf452", bytes);
}

pub(crate) fn inf452_seeds() -> Vec<Vec<u8>> {
    seeds(&[
        "USER Ana:43577\r\nKEEP\r\nLIST\r\nADDR bob\r\nDISC\r\n",
        "USER ana maria: 43577\nLIST\nADDR  \r\nADDR b:1\r\nFLY\r\n",
        "USER a:0\r\nUSER a:99999\r\nUSER a\r\n",
    ])
}

pub(crate) fn mac0448(bytes: &[u8]) {
    run("mac0448", bytes);
}

pub(crate) fn mac0448_seeds() -> Vec<Vec<u8>> {
    seeds(&[
        "CONNECT\r\nLOGIN ana\r\nLIST_USERS\r\nREQUEST_CHAT bob\r\nEND_CHAT bob\r\nLOGOUT\r\nQUIT\r\n",
        "CONNECT\r\nLOGIN ana\r\n{\"result\": \"confirmed\", \"port\": 55555, \"state\": \"x\"}\r\n",
        "LOGIN\r\nCONNECT\r\nLOGIN a b\r\nHEARTBEAT\r\nREQUEST_CHAT ana\r\n{}\r\n",
    ])
}

pub(crate) fn upc(bytes: &[u8]) {
    run("upc", bytes);
}

pub(crate) fn upc_seeds() -> Vec<Vec<u8>> {
    seeds(&[
        "username: ana\nconnect: bob\nhello\n::menu\n::end\n::password word\n::exit\n",
        "username:ana",
        "username: ana\r\nconnect: #team\r\noi\r\n::all oi\r\n::fly\r\nconnect:\r\n",
    ])
}

/// The same text in one read and in pieces.
fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
    let with = |piece: u8| move |text: &&str| [&[piece][..], text.as_bytes()].concat();
    texts.iter().map(with(255)).chain(texts.iter().map(with(14))).collect()
}

/// The first byte says how long each read is, and by which lane the client has come.
fn run(name: &str, bytes: &[u8]) {
    let Some((&piece, stream)) = bytes.split_first() else { return };
    let gateway = find(name).expect("a gateway of the table");
    let service = gateway.open(&portolan_gateway::Options::default()).expect("no options");
    let visitor = Visitor {
        address: SocketAddr::from(([127, 0, 0, 1], 50_000)),
        lane: usize::from(piece) % gateway.lanes().len(),
        seed: 1,
        server: SERVER,
    };
    let write_max = if service.pacing() > Duration::ZERO { MESSAGE_MAX } else { usize::MAX };
    let mut drive = Drive {
        bridge: service.accept(visitor),
        now: Now { instant: start(), wall: Timestamp(1_795_240_144_000) },
        name: None,
        last: 0,
        write_max,
    };
    drive.bridge.handle_connected(drive.now);
    drive.carry_out();
    for read in stream.chunks(usize::from(piece) + 1) {
        drive.now.instant += Duration::from_millis(u64::from(piece) * 8);
        if drive.bridge.poll_timeout().is_some_and(|at| at <= drive.now.instant) {
            drive.bridge.handle_timeout(drive.now);
            drive.carry_out();
        }
        if drive.bridge.wants_input() {
            drive.bridge.handle_bytes(drive.now, read);
            drive.carry_out();
        }
    }
    drive.bridge.handle_end(drive.now, &End::Closing);
    drive.carry_out();
}

struct Drive {
    bridge: Box<dyn Bridge>,
    now: Now,
    name: Option<Name>,
    last: u64,
    write_max: usize,
}

impl Drive {
    fn carry_out(&mut self) {
        let mut events = VecDeque::new();
        for _ in 0..ACTIONS_MAX {
            match (self.bridge.poll_action(), events.pop_front()) {
                (None, None) => return,
                (None, Some(event)) => self.bridge.handle_event(self.now, event),
                (Some(action), event) => {
                    events.extend(event);
                    self.act(action, &mut events);
                }
            }
        }
        panic!("one read causes no end of actions");
    }

    fn act(&mut self, action: Action, events: &mut VecDeque<Event>) {
        match action {
            Action::Write(bytes) => {
                assert!(!bytes.is_empty() && bytes.len() <= self.write_max, "{}", bytes.len());
            }
            Action::Enter(entry) => self.enter(entry),
            Action::Ask(ticket, command) => self.answer(ticket, command, events),
            Action::Note { to, bytes } => {
                // Every other one is for somebody who is not there.
                match bytes.len() % 2 {
                    0 => self.bridge.handle_note(self.now, &to, &bytes),
                    _ => self.bridge.handle_note_missed(self.now, &to, &bytes),
                }
            }
            Action::Leave => self.name = None,
            Action::OpenDoor(door) => self.open(door),
            Action::Dial { call, .. } => self.talk(call, CallNews::Connected),
            Action::HangUp(call) => self.bridge.handle_call(self.now, call, CallNews::Ended),
            Action::Say { bytes, .. } => assert!(!bytes.is_empty()),
            Action::Finish(_) | Action::CloseGateway | Action::CloseDoor(_) => {}
        }
    }

    /// Somebody comes to every other door that is opened.
    fn open(&mut self, door: Door) {
        self.last += 1;
        let address = SocketAddr::from(([127, 0, 0, 1], 40_000));
        match self.last.is_multiple_of(2) {
            true => self.bridge.handle_door(self.now, door, Err("no port".to_owned())),
            false => {
                self.bridge.handle_door(self.now, door, Ok(address));
                self.talk(Call(Call::CAME + door.0 % 16), CallNews::Came(door));
            }
        }
    }

    /// What is said on a call beside the client's own connection.
    fn talk(&mut self, call: Call, begin: CallNews<'_>) {
        self.bridge.handle_call(self.now, call, begin);
        for said in ["USER ana\r\noi", "CONNECT\r\nSEND_CHAT oi\r\n", "{\"state\": 1}\r\n", "\u{0}"]
        {
            self.bridge.handle_call(self.now, call, CallNews::Said(said.as_bytes()));
        }
    }

    fn enter(&mut self, entry: Entry) {
        let outcome = match entry.name.as_str().starts_with('t') {
            true => Err(Refused::InUse),
            false => {
                self.name = Some(entry.name.clone());
                Ok(LoggedIn {
                    name: entry.name,
                    transport: "fuzz".to_owned(),
                    waiting: 0,
                    admin: false,
                    moved: false,
                    beside: 0,
                })
            }
        };
        self.bridge.handle_entered(self.now, outcome);
    }

    fn answer(&mut self, ticket: Ticket, command: Command, events: &mut VecDeque<Event>) {
        self.last += 1;
        let answer = match (self.name.clone(), command) {
            (None, _) => Err(ErrorBody::new(ErrorCode::NotLoggedIn, "log in first")),
            (Some(me), Command::Send(send)) => Ok(self.send(&me, send, events)),
            (Some(_), Command::Echo(echo)) => Ok(EchoReply { text: echo.text }.into()),
            (Some(me), Command::List(_)) => {
                Ok(Users { users: vec![user(me.clone()), user(me)], more: false }.into())
            }
            (Some(_), Command::Lookup(lookup)) if lookup.name.as_str().len() % 2 == 0 => {
                Err(ErrorBody::new(ErrorCode::UnknownUser, "nobody"))
            }
            (Some(_), Command::Lookup(lookup)) => Ok(user(lookup.name).into()),
            (Some(_), Command::History(_)) => Ok(Messages::default().into()),
            (Some(_), Command::ListMembers(_)) => Ok(Members::default().into()),
            (Some(me), Command::CreateGroup(create)) => {
                events.push_back(invitation(me, create.group));
                Ok(Reply::Done(Empty {}))
            }
            (Some(_), Command::Converse(converse)) => {
                let with = converse.with;
                let state = ConversationState::Requested;
                events
                    .push_back(Conversation { with, state, reason: None, elsewhere: false }.into());
                Ok(Reply::Done(Empty {}))
            }
            (Some(_), _) => Ok(Reply::Done(Empty {})),
        };
        self.bridge.handle_answer(self.now, ticket, answer);
    }

    /// What is sent comes back, and was read.
    fn send(&self, me: &Name, send: Send, events: &mut VecDeque<Event>) -> Reply {
        let id = MessageId(self.last);
        let at = self.now.wall;
        let (from, text) = (me.clone(), send.text);
        let to = match send.to {
            Recipient::User(_) => Recipient::User(me.clone()),
            to @ (Recipient::Group(_) | Recipient::All | Recipient::Others) => to,
        };
        events.push_back(Delivery { id, from, to, text, at }.into());
        for state in [ReceiptState::Delivered, ReceiptState::Seen] {
            events.push_back(Receipt { id, state, by: me.clone() }.into());
        }
        Sent { id, at, online: 1, waiting: 0 }.into()
    }
}

fn invitation(me: Name, group: String) -> Event {
    GroupNews {
        group,
        change: GroupChange::Invited,
        by: me.clone(),
        user: Some(me),
        role: None,
        to: None,
    }
    .into()
}

fn user(name: Name) -> UserInfo {
    UserInfo {
        id: legacy_id(SERVER, &name),
        name,
        transport: "fuzz".to_owned(),
        state: Availability::Free,
        since: Timestamp(1),
        online_since: Timestamp(1),
        with: None,
        away: None,
        also: Vec::new(),
    }
}
