//! The shapes of the JSON lines, as golden text: a change here breaks programs of others.

use std::time::Duration;

use portolan_identity::Identity;
use portolan_media::Report;
use portolan_protocol::{
    Availability, Closing, ClosingReason, Conversation, ConversationState, Delivery, ErrorCode,
    GroupChange, GroupInfo, GroupNews, Hash, LeftOut, Member, MessageId, Messages, Name, Presence,
    PresenceChange, Receipt, ReceiptState, Recipient, Role, Timestamp, UserInfo,
};
use portolan_transport::{CloseReason, PathKind};

use super::{Line, Playing};
use crate::{
    Direction, Event, FilePhase, FileUpdate, PathInfo, Reconnected, Reconnecting, SessionEnd,
    TransferId, TreePhase, TreeUpdate, Via, Warning,
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn user() -> UserInfo {
    UserInfo {
        name: name("bob"),
        id: Identity::from_seed([2; 32]).id(),
        transport: "udp".into(),
        state: Availability::Busy,
        since: Timestamp(7),
        online_since: Timestamp(5),
        with: Some(name("alice")),
        away: Some("tea".into()),
        also: Vec::new(),
    }
}

fn message(to: Recipient) -> Event {
    let (id, from, text, at) = (MessageId(3), name("bob"), "hi".into(), Timestamp(9));
    Event::Message(Delivery { id, from, to, text, at })
}

fn file(phase: FilePhase) -> Event {
    Event::File(FileUpdate {
        id: TransferId(4),
        with: name("bob"),
        direction: Direction::Receive,
        name: "a.txt".into(),
        phase,
        bytes: 5,
        total: 10,
        resumed: 0,
        via: Some(Via { kind: PathKind::Relayed, transport: "udp" }),
        rate: Some(100),
        eta: Some(Duration::from_millis(50)),
    })
}

fn tree(phase: TreePhase) -> Event {
    Event::Tree(TreeUpdate {
        id: TransferId(4),
        with: name("bob"),
        direction: Direction::Receive,
        name: "a".into(),
        phase,
        files: 1,
        files_total: 3,
        bytes: 5,
        total: 10,
        same: 1,
        failed: 1,
        left_out: LeftOut { links: 2, ..LeftOut::default() },
        via: Some(Via { kind: PathKind::Direct, transport: "quic" }),
        rate: Some(100),
        eta: Some(Duration::from_millis(50)),
    })
}

#[test]
fn every_event_has_the_documented_shape() {
    let user_json = format!(
        r#"{{"name":"bob","id":"{}","transport":"udp","state":"busy","since":7,"online_since":5,"with":"alice","away":"tea"}}"#,
        user().id
    );
    let hash = "00".repeat(32);
    let rows: Vec<(Line, String)> = vec![
        (Line::users(&[user()]), format!(r#"{{"event":"users","users":[{user_json}]}}"#)),
        (
            (&message(Recipient::User(name("alice")))).into(),
            r#"{"event":"message","id":3,"from":"bob","to":"alice","text":"hi","at":9}"#.into(),
        ),
        (
            (&message(Recipient::Group("crew".into()))).into(),
            r#"{"event":"message","id":3,"from":"bob","to":"crew","group":"crew","text":"hi","at":9}"#
                .into(),
        ),
        (
            (&message(Recipient::All)).into(),
            r#"{"event":"message","id":3,"from":"bob","to":"all","text":"hi","at":9}"#.into(),
        ),
        (
            (&Event::Group(GroupNews {
                group: "crew".into(),
                change: GroupChange::Role,
                by: name("alice"),
                user: Some(name("bob")),
                role: Some(Role::Admin),
                to: None,
            }))
                .into(),
            r#"{"event":"group","group":"crew","change":"role","by":"alice","user":"bob","role":"admin"}"#
                .into(),
        ),
        (
            Line::Password { name: "bob".into(), is_set: true },
            r#"{"event":"password","name":"bob","set":true}"#.into(),
        ),
        (
            Line::groups(&[GroupInfo {
                group: "crew".into(),
                role: None,
                members: 2,
                history: true,
            }]),
            r#"{"event":"groups","groups":[{"group":"crew","members":2,"history":true}]}"#.into(),
        ),
        (
            Line::members(
                "crew",
                &[Member { name: name("bob"), role: Some(Role::Owner) }],
            ),
            r#"{"event":"members","group":"crew","members":[{"name":"bob","role":"owner"}]}"#
                .into(),
        ),
        (
            Line::history(&Recipient::Group("crew".into()), &Messages::default()),
            r#"{"event":"history","with":"crew","messages":[],"more":false}"#.into(),
        ),
        (
            (&Event::Receipt(Receipt {
                id: MessageId(3),
                state: ReceiptState::Delivered,
                by: name("bob"),
            }))
                .into(),
            r#"{"event":"receipt","id":3,"state":"delivered","by":"bob"}"#.into(),
        ),
        (
            (&Event::Conversation(Conversation {
                with: name("bob"),
                state: ConversationState::TimedOut,
                reason: None,
                elsewhere: false,
            }))
                .into(),
            r#"{"event":"conversation","with":"bob","state":"timed_out"}"#.into(),
        ),
        (
            (&Event::Presence(Presence { user: user(), change: PresenceChange::LoggedOut })).into(),
            format!(r#"{{"event":"presence","change":"logged_out","user":{user_json}}}"#),
        ),
        (
            (&file(FilePhase::Progress)).into(),
            r#"{"event":"file","id":4,"phase":"progress","name":"a.txt","bytes":5,"total":10,"with":"bob","direction":"receive","via":"relayed","transport":"udp","rate":100,"eta_ms":50}"#.into(),
        ),
        (
            (&tree(TreePhase::Missed { file: "b".into(), code: ErrorCode::Conflict, reason: "it is there".into() })).into(),
            r#"{"event":"tree","id":4,"phase":"missed","name":"a","files":1,"files_total":3,"bytes":5,"total":10,"same":1,"failed":1,"left_out":{"hidden":0,"links":2,"special":0,"names":0,"unreadable":0,"beyond":0},"with":"bob","direction":"receive","via":"direct","transport":"quic","rate":100,"eta_ms":50,"file":"b","code":"conflict","reason":"it is there"}"#.into(),
        ),
        (
            (&tree(TreePhase::Partial { path: Some("d/a".into()) })).into(),
            r#"{"event":"tree","id":4,"phase":"partial","name":"a","files":1,"files_total":3,"bytes":5,"total":10,"same":1,"failed":1,"left_out":{"hidden":0,"links":2,"special":0,"names":0,"unreadable":0,"beyond":0},"with":"bob","direction":"receive","via":"direct","transport":"quic","rate":100,"eta_ms":50,"path":"d/a"}"#.into(),
        ),
        (
            (&file(FilePhase::Interrupted { reason: "gone".into() })).into(),
            r#"{"event":"file","id":4,"phase":"interrupted","name":"a.txt","bytes":5,"total":10,"with":"bob","direction":"receive","via":"relayed","transport":"udp","rate":100,"eta_ms":50,"reason":"gone"}"#.into(),
        ),
        (
            (&file(FilePhase::Done { hash: Hash([0; 32]), path: Some("d/a.txt".into()) })).into(),
            format!(
                r#"{{"event":"file","id":4,"phase":"done","name":"a.txt","bytes":5,"total":10,"hash":"{hash}","with":"bob","direction":"receive","via":"relayed","transport":"udp","rate":100,"eta_ms":50,"path":"d/a.txt"}}"#
            ),
        ),
        (
            (&file(FilePhase::Failed { code: ErrorCode::Integrity, reason: "bad".into() })).into(),
            r#"{"event":"file","id":4,"phase":"failed","name":"a.txt","bytes":5,"total":10,"with":"bob","direction":"receive","via":"relayed","transport":"udp","rate":100,"eta_ms":50,"code":"integrity","reason":"bad"}"#.into(),
        ),
        (
            (&Event::Path(PathInfo {
                with: Some(name("bob")),
                kind: Some(PathKind::Relayed),
                transport: "udp",
                addr: Some("127.0.0.1:7275".parse().unwrap()),
                why: "because".into(),
            }))
                .into(),
            r#"{"event":"path","with":"bob","kind":"relayed","transport":"udp","addr":"127.0.0.1:7275","why":"because"}"#.into(),
        ),
        (
            (&Event::Path(PathInfo {
                with: None,
                kind: Some(PathKind::Direct),
                transport: "quic",
                addr: Some("127.0.0.1:7275".parse().unwrap()),
                why: "moved".into(),
            }))
                .into(),
            r#"{"event":"path","kind":"direct","transport":"quic","addr":"127.0.0.1:7275","why":"moved"}"#.into(),
        ),
        (
            (&Event::Warning(Warning { code: ErrorCode::UnknownPeer, message: "no".into() })).into(),
            r#"{"event":"error","code":"unknown_peer","message":"no"}"#.into(),
        ),
        (
            (&Event::Reconnecting(Reconnecting {
                attempt: 2,
                after: Duration::from_millis(750),
                why: "timed out".into(),
            }))
                .into(),
            r#"{"event":"reconnecting","attempt":2,"after_ms":750,"why":"timed out"}"#.into(),
        ),
        (
            Line::Playing(Playing::of(&Report::Position { at: Duration::from_millis(500) })),
            r#"{"event":"audio","kind":"play","phase":"position","at_ms":500}"#.into(),
        ),
        (
            Line::Playing(Playing::waiting("buffering", "bob:a.mp3")),
            r#"{"event":"audio","kind":"play","phase":"buffering","name":"bob:a.mp3"}"#.into(),
        ),
        (
            (&Event::Reconnected(Reconnected {
                transport: "udp",
                server: "127.0.0.1:7275".parse().unwrap(),
            }))
                .into(),
            r#"{"event":"reconnected","transport":"udp","server":"127.0.0.1:7275"}"#.into(),
        ),
        (
            (&Event::Closing(Closing {
                why: ClosingReason::TooSlow,
                text: "bye".into(),
                reconnect_after_ms: Some(5),
            }))
                .into(),
            r#"{"event":"closing","why":"too_slow","text":"bye","reconnect_after_ms":5}"#.into(),
        ),
        (
            (&Event::Closed(SessionEnd::Lost(CloseReason::TimedOut))).into(),
            r#"{"event":"closed","reason":"timed out: nothing heard from the other side"}"#.into(),
        ),
        (
            Line::Ready {
                name: "alice".into(),
                id: "k".into(),
                transport: "tcp".into(),
                server: "127.0.0.1:7275".into(),
                beside: 0,
            },
            r#"{"event":"ready","name":"alice","id":"k","transport":"tcp","server":"127.0.0.1:7275"}"#.into(),
        ),
        (
            Line::settings(portolan_protocol::Settings::default()),
            r#"{"event":"settings","seen":true,"last_seen":true,"conversations":1}"#.into(),
        ),
        (
            Line::Talking { with: Some("bob".into()), others: vec!["carol".into()] },
            r#"{"event":"talking","with":"bob","others":["carol"]}"#.into(),
        ),
        (Line::mailbox(&[]), r#"{"event":"mailbox","messages":[]}"#.into()),
        (
            Line::Echo { text: "hi".into(), rtt_us: 120 },
            r#"{"event":"echo","text":"hi","rtt_us":120}"#.into(),
        ),
    ];
    for (line, golden) in rows {
        assert_eq!(line.to_json(), golden);
    }
}

#[test]
fn a_line_is_one_line_whatever_others_write() {
    let line = Line::Echo { text: "a\nb\u{1b}\u{2028}".into(), rtt_us: 1 }.to_json();
    assert!(!line.contains(['\n', '\u{1b}']), "{line:?}");
}
