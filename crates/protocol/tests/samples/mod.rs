//! One message of every kind.

use portolan_protocol::*;

/// A name that keeps the rules.
pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn id() -> PeerId {
    PeerId::from_bytes(std::array::from_fn(|i| u8::try_from(i).unwrap()))
}

fn user() -> UserInfo {
    UserInfo {
        name: name("Alice"),
        id: id(),
        transport: "udp".into(),
        state: Availability::Busy,
        since: Timestamp(1_700_000_000_123),
        online_since: Timestamp(1_700_000_000_000),
        with: Some(name("bob")),
        away: Some("tea".into()),
        also: vec!["tcp".into()],
    }
}

fn delivery() -> Delivery {
    Delivery {
        id: MessageId(42),
        from: name("Alice"),
        to: Recipient::User(name("bob")),
        text: "ahoy ⚓".into(),
        at: Timestamp(1_700_000_000_123),
    }
}

fn hello() -> Hello {
    Hello { versions: vec![1], features: vec!["relay".into()], software: "portolan 0.1.0".into() }
}

fn welcome() -> Welcome {
    Welcome {
        version: 1,
        features: vec![],
        software: "portolan 0.1.0".into(),
        limits: Limits::V1,
        heartbeat_ms: 20_000,
        keep_alive_ms: 5_000,
        attention_ms: 20_000,
        seen_as: "127.0.0.1:4000".into(),
    }
}

fn candidate() -> Candidate {
    Candidate {
        transport: "udp".into(),
        address: "192.0.2.1:7275".into(),
        found: CandidateKind::Reflexive,
        priority: 100,
    }
}

fn pass() -> RelayPass {
    RelayPass {
        terms: PassTerms {
            issuer: id(),
            relay: id(),
            introduction: Introduction([6; 16]),
            side: Side::Callee,
            holder: id(),
            other: id(),
            until: Timestamp(1_700_000_060_000),
            lasts_ms: 86_400_000,
            bytes: 1 << 40,
        },
        signature: Signature::new(&[7; 64]),
    }
}

fn channel(number: u64) -> RelayChannel {
    RelayChannel { number, key: ChannelKey([9; 32]), port: 7275 }
}

/// Every command.
pub(crate) fn commands() -> Vec<Command> {
    let bob = || name("bob");
    vec![
        hello().into(),
        Login {
            name: "Alice".into(),
            password: Some(Password("secret".into())),
            device: Some(DeviceId(9)),
            attempt: Some(LoginAttempt { client: 5, number: 2 }),
        }
        .into(),
        Logout {}.into(),
        Heartbeat { nonce: 7 }.into(),
        List {
            transport: Some("udp".into()),
            after: Some(bob()),
            limit: Some(10),
            whom: Whom::All,
        }
        .into(),
        Lookup { name: bob(), whom: Whom::All }.into(),
        Converse { with: bob() }.into(),
        Accept { with: bob() }.into(),
        Deny { with: bob(), reason: Some("later".into()) }.into(),
        End { with: bob() }.into(),
        Send { to: Recipient::Group("crew".into()), text: "ahoy".into(), reference: Some(3) }
            .into(),
        Echo { text: "ahoy".into() }.into(),
        Receipts { ids: vec![MessageId(1), MessageId(2)], state: ReceiptState::Seen }.into(),
        Mailbox { after: Some(MessageId(9)), limit: None }.into(),
        ClearMailbox {}.into(),
        SetPassword { password: Some(Password("secret".into())) }.into(),
        SetAway { text: Some("tea".into()) }.into(),
        ChangeSettings { seen: Some(false), conversations: Some(3), last_seen: Some(false) }.into(),
        History { with: Recipient::User(bob()), before: Some(MessageId(9)), limit: Some(5) }.into(),
        CreateGroup { group: "crew".into(), history: true, reference: Some(3) }.into(),
        InviteToGroup { group: "crew".into(), user: bob(), reference: None }.into(),
        JoinGroup { group: "crew".into(), reference: None }.into(),
        LeaveGroup { group: "crew".into(), reference: None }.into(),
        RemoveFromGroup { group: "crew".into(), user: bob(), reference: None }.into(),
        SetRole { group: "crew".into(), user: bob(), role: Role::Admin, reference: None }.into(),
        RenameGroup { group: "crew".into(), to: "hands".into(), reference: Some(4) }.into(),
        ListGroups {}.into(),
        ListMembers { group: "crew".into(), after: Some(bob()), limit: Some(5) }.into(),
        Candidates { to: bob(), candidates: vec![candidate()] }.into(),
        AskServerInfo {}.into(),
        Shutdown { reason: "upgrade".into(), restart_after_ms: Some(2_000) }.into(),
        Kick { name: bob(), reason: "noise".into() }.into(),
        Ban {
            name: Some(bob()),
            id: Some(id()),
            reason: "noise".into(),
            until: Some(Timestamp(1_800_000_000_000)),
        }
        .into(),
        Unban { id: id() }.into(),
        ListBans { after: Some(id()) }.into(),
        Backup {}.into(),
        Announce { text: "tea".into() }.into(),
    ]
}

/// Every reply.
pub(crate) fn replies() -> Vec<Reply> {
    vec![
        welcome().into(),
        LoggedIn {
            name: name("Alice"),
            transport: "tcp".into(),
            waiting: 2,
            admin: false,
            moved: true,
            beside: 1,
        }
        .into(),
        Empty {}.into(),
        HeartbeatReply { nonce: 7, at: Timestamp(1_700_000_000_123) }.into(),
        Users { users: vec![user()], more: true }.into(),
        user().into(),
        Requested { expires_ms: 30_000 }.into(),
        Sent { id: MessageId(42), at: Timestamp(1_700_000_000_123), online: 1, waiting: 0 }.into(),
        EchoReply { text: "ahoy".into() }.into(),
        Messages { messages: vec![delivery()], more: false }.into(),
        Settings { seen: false, conversations: 3, last_seen: false }.into(),
        Groups {
            groups: vec![GroupInfo {
                group: "crew".into(),
                role: Some(Role::Owner),
                members: 2,
                history: true,
            }],
        }
        .into(),
        Members { members: vec![Member { name: name("bob"), role: None }], more: false }.into(),
        Bans {
            bans: vec![BanInfo {
                id: id(),
                reason: "noise".into(),
                since: Timestamp(1_700_000_000_000),
                until: None,
            }],
            more: false,
        }
        .into(),
        BackedUp { path: "backups/server.db".into(), bytes: 4096 }.into(),
        server_info().into(),
    ]
}

fn server_info() -> ServerInfo {
    ServerInfo {
        id: id(),
        software: "portolan 0.1.0".into(),
        since: Timestamp(1_700_000_000_000),
        registries: vec![RegistryInfo {
            transport: "quic".into(),
            address: "127.0.0.1:7275".into(),
            users: vec![name("carol")],
            online: 1,
            logins: 3,
            vanished: 1,
            refused: 2,
            clients: 20_000,
            heartbeat_ms: 20_000,
            counters: RegistryCounters {
                peak: 2,
                full: 1,
                logged_out: 1,
                replaced: 1,
                kicked: 1,
                too_slow: 1,
                frames_in: 30,
                bytes_in: 900,
                frames_out: 40,
                bytes_out: 1_200,
            },
        }],
        conversations: 1,
        waiting: 4,
        relays: 2,
        relay_servers: vec![RelayInfo {
            id: id(),
            address: "192.0.2.9:7275".into(),
            up: true,
            load: RelayLoad { relays: 3, bytes: 4_000 },
            handed: 5,
            why: String::new(),
        }],
    }
}

/// Every event.
pub(crate) fn events() -> Vec<Event> {
    vec![
        delivery().into(),
        Receipt { id: MessageId(42), state: ReceiptState::Delivered, by: name("bob") }.into(),
        Conversation {
            with: name("bob"),
            state: ConversationState::TimedOut,
            reason: Some("no answer".into()),
            elsewhere: true,
        }
        .into(),
        Presence { user: user(), change: PresenceChange::Vanished }.into(),
        GroupNews {
            group: "crew".into(),
            change: GroupChange::Role,
            by: name("Alice"),
            user: Some(name("bob")),
            role: Some(Role::Admin),
            to: Some("hands".into()),
        }
        .into(),
        Settings::default().into(),
        PeerCandidates { from: name("bob"), candidates: vec![candidate()], seen: None }.into(),
        Announcement { text: "tea".into(), at: Timestamp(1_700_000_000_123) }.into(),
        Closing {
            why: ClosingReason::Shutdown,
            text: "upgrade".into(),
            reconnect_after_ms: Some(5_000),
        }
        .into(),
    ]
}

/// Every opening.
pub(crate) fn openings() -> Vec<Opening> {
    vec![
        Empty {}.into(),
        Relay { to: name("bob"), elsewhere: None }.into(),
        Relayed { from: name("Alice"), id: id(), channel: Some(channel(7)), places: vec![] }.into(),
        Enter { pass: pass() }.into(),
        AskLoad {}.into(),
    ]
}

/// The answers to openings.
pub(crate) fn opened() -> Vec<Opened> {
    vec![
        Ready { id: Some(id()), channel: Some(channel(8)), ..Ready::default() }.into(),
        RelayLoad { relays: 3, bytes: 4_000 }.into(),
    ]
}

fn edges() -> Edges {
    Edges { first: 2, last: 5 }
}

/// Every request between peers.
pub(crate) fn peer_commands() -> Vec<PeerCommand> {
    vec![
        hello().into(),
        Files { after: Some("a/b.txt".into()), limit: Some(10) }.into(),
        Get { path: "a/b.txt".into(), groups: true, tree: Some(7), edges: Some(edges()) }.into(),
        Offer {
            name: "b.txt".into(),
            size: 5,
            modified: Some(Timestamp(1)),
            hash: Some(Hash([0xab; 32])),
            mode: Some(0o644),
            more: true,
        }
        .into(),
        Find { hash: Hash([0xab; 32]), size: Some(5) }.into(),
        Call {
            id: 5,
            stream: 6,
            codecs: vec![CODEC_OPUS.into()],
            resumes: true,
            listen: Some(Listen { title: "song.flac".into(), duration_ms: Some(1000) }),
        }
        .into(),
        Walk { tree: Some(7), path: "a".into(), after: Some("b".into()) }.into(),
        Batch {
            tree: None,
            path: "a".into(),
            files: vec![BatchFile {
                path: "b.txt".into(),
                have: Some(Hash([0xab; 32])),
                keep: true,
            }],
        }
        .into(),
        OfferTree { name: "a".into(), files: 2, bytes: 5, tree: 7 }.into(),
        Meet { ticket: Ticket([0xcd; 32]), ends: ends() }.into(),
        Join { ticket: Ticket([0xcd; 32]), by: Way::Direct }.into(),
    ]
}

fn ends() -> Ends {
    let candidate = Candidate {
        transport: "udp".into(),
        address: "192.0.2.1:7275".into(),
        found: CandidateKind::Reflexive,
        priority: 100,
    };
    Ends { transport: "udp".into(), candidates: vec![candidate], relay: true, mapping: None }
}

/// Every answer between peers.
pub(crate) fn peer_replies() -> Vec<PeerReply> {
    let file =
        FileInfo { path: "a/b.txt".into(), size: 5, modified: Some(Timestamp(1)), audio: None };
    let sound = AudioInfo {
        codec: "mp3".into(),
        rate: 44_100,
        channels: 2,
        duration_ms: Some(181_000),
        title: Some("a".into()),
        artist: Some("b".into()),
        album: Some("c".into()),
    };
    let song = FileInfo { path: "c.mp3".into(), size: 6, modified: None, audio: Some(sound) };
    let miss = Miss { path: "c".into(), code: "conflict".into(), message: "it is there".into() };
    vec![
        welcome().into(),
        FileList { files: vec![file, song], more: false }.into(),
        Content {
            size: 5,
            modified: None,
            hash: Some(Hash([0xab; 32])),
            mode: Some(0o644),
            pieces: true,
        }
        .into(),
        Accepted { groups: true }.into(),
        Verified { hash: Hash([0xab; 32]) }.into(),
        Found { path: "a/b.txt".into(), size: 5, modified: Some(Timestamp(1)) }.into(),
        Answered { codec: CODEC_OPUS.into(), stream: 6 }.into(),
        TreeInfo {
            files: 2,
            bytes: 5,
            left_out: LeftOut { links: 1, ..LeftOut::default() },
            ..TreeInfo::default()
        }
        .into(),
        Sending {}.into(),
        Received { files: 1, same: 1, failed: 1, misses: vec![miss] }.into(),
        ends().into(),
        Joined {}.into(),
    ]
}

/// What is said on the streams of requests.
pub(crate) fn peer_events() -> Vec<PeerEvent> {
    vec![
        Hashing { bytes: 1 << 30 }.into(),
        Want {
            groups: vec![GroupRange { first: 2, count: 3 }],
            more: true,
            pieces: vec![GroupRange { first: 7, count: 1 }],
            have: Some(1 << 20),
            moved: true,
        }
        .into(),
        FileEnd { hash: Hash([0xab; 32]) }.into(),
        Ringing {}.into(),
        HangUp { reason: Some("bye".into()) }.into(),
        Muted { on: true }.into(),
        Held { on: false }.into(),
        Clock { asked: 7, told: Some(8) }.into(),
        Position { timestamp: 960, at: 9, position_ms: 20, plays: true }.into(),
        Entries {
            entries: vec![TreeEntry { path: "b".into(), directory: true, ..TreeEntry::default() }],
            more: false,
        }
        .into(),
        Small { size: 5, hash: Hash([0xab; 32]), modified: Some(Timestamp(1)), mode: Some(0o644) }
            .into(),
        Compared { same: true }.into(),
        Unsent::new(ErrorCode::Conflict, "it changed").into(),
    ]
}
