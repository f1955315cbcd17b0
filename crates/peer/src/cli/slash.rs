//! Slash commands: one table, and the parser that help, completion and advice share with it.

use std::time::Duration;

use portolan_protocol::{ChangeSettings, List, MessageId, Name, Recipient, Whom};

use super::{
    group::{self, GroupOrder},
    playing::parse_place,
    preferences,
    stage::Piece,
    stream::{self, StreamOrder},
};
use crate::{RuleChanges, Switch, Wanted};

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slash {
    Help,
    List(ListOrder),
    Whois(Name),
    /// With words for others, or back.
    Away(Option<String>),
    Chat(Name),
    Accept(Option<Name>),
    Deny(Option<Name>, Option<String>),
    End(Option<Name>),
    Switch(Option<Name>),
    Set(ChangeSettings),
    Mailbox,
    ClearMailbox,
    Seen(Vec<MessageId>),
    Message(Recipient, String),
    Echo(String),
    Share(Option<String>),
    Files(Name),
    Send(Name, String),
    Get(Vec<Name>, Wanted),
    AcceptFile(u64),
    DenyFile(u64),
    Call(Name),
    HangUp(Option<Name>),
    Mute(Switch),
    Hold(Switch),
    Stream(StreamOrder),
    AcceptFiles(Option<RuleChanges>),
    Transfers,
    PauseFile(u64),
    ResumeFile(u64),
    CancelFile(u64),
    Group(GroupOrder),
    History(Recipient, Option<u16>),
    Play(Piece),
    Resume,
    Pause,
    Seek(Duration),
    Next,
    Stop,
    Status,
    Path(Name),
    Quit,
    /// Bare text, for the conversation that runs.
    Say(String),
    /// Nothing at all.
    Nothing,
}

/// Messages in one `/seen`.
const SEEN_MAX: usize = 256;

/// Whom a list is to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum ListOrder {
    /// Those who are there.
    #[default]
    Online,
    /// Also those who are not, as far as we know them.
    All,
    /// Those who are there by this transport.
    By(String),
}

impl ListOrder {
    /// In the words of the protocol.
    pub(crate) fn question(&self) -> List {
        match self {
            Self::Online => List::default(),
            Self::All => List { whom: Whom::All, ..List::default() },
            Self::By(transport) => List { transport: Some(transport.clone()), ..List::default() },
        }
    }
}

/// A command as help shows it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) word: &'static str,
    pub(crate) arguments: &'static str,
    pub(crate) help: &'static str,
    parse: fn(&Row, &str) -> Result<Slash, String>,
}

/// Every command, in the order of `/help`.
pub(crate) const TABLE: &[Row] = &[
    row("help", "", "shows this list", |row, rest| none(row, rest, Slash::Help)),
    row(
        "list",
        "[all|TRANSPORT]",
        "shows who is there, all whom you know, or who came by TRANSPORT",
        |row, rest| list(row, rest).map(Slash::List),
    ),
    row("whois", "WHO", "shows WHO, there or not", |row, rest| name(row, rest, Slash::Whois)),
    row("away", "[WORDS]", "tells others that you are not at the keyboard", |_, rest| {
        Ok(Slash::Away(Some(rest.to_owned())))
    }),
    row("back", "", "tells others that you are here again", |row, rest| {
        none(row, rest, Slash::Away(None))
    }),
    row("chat", "WHO", "asks WHO for a conversation", |row, rest| name(row, rest, Slash::Chat)),
    row("accept", "[WHO]", "accepts a request, the latest by default", |row, rest| {
        optional_name(row, rest).map(Slash::Accept)
    }),
    row("deny", "[WHO [WORDS]]", "denies a request, the latest by default", |row, rest| {
        let (who, words) = split(rest);
        let words = Some(words.to_owned()).filter(|words| !words.is_empty());
        optional_name(row, who).map(|who| Slash::Deny(who, words))
    }),
    row("end", "[WHO]", "ends the conversation, or takes a request back", |row, rest| {
        optional_name(row, rest).map(Slash::End)
    }),
    row(
        "switch",
        "[WHO]",
        "goes on with WHO; shows with whom you talk without WHO",
        |row, rest| optional_name(row, rest).map(Slash::Switch),
    ),
    row(
        "msg",
        "WHO TEXT",
        "sends a message; WHO need not be there, or is a #group",
        |row, rest| {
            let (who, text) = split(rest);
            if who.is_empty() || text.is_empty() {
                return Err(row.usage());
            }
            Ok(Slash::Message(recipient(who)?, text.to_owned()))
        },
    ),
    row("all", "TEXT", "tells everyone who is there, yourself included", |row, rest| {
        text(row, rest, |text| Slash::Message(Recipient::All, text))
    }),
    row("others", "TEXT", "tells everyone else who is there", |row, rest| {
        text(row, rest, |text| Slash::Message(Recipient::Others, text))
    }),
    row("echo", "TEXT", "lets the server send TEXT back", |row, rest| text(row, rest, Slash::Echo)),
    row("share", "[DIR]", "shares the files of DIR; nothing without DIR", |_, rest| {
        Ok(Slash::Share(Some(unquoted(rest)).filter(|rest| !rest.is_empty())))
    }),
    row("files", "WHO", "shows what WHO shares", |row, rest| name(row, rest, Slash::Files)),
    row("send", "WHO FILE", "offers WHO a file or a directory", |row, rest| {
        let (who, file) = name_and(row, rest)?;
        Ok(Slash::Send(who, unquoted(&file)))
    }),
    row(
        "get",
        "WHO[,WHO…] FILE",
        "fetches a file that WHO shares, or a directory: DIR/; of several each sends a part",
        |row, rest| {
            let (who, file) = split(rest);
            if who.is_empty() || file.is_empty() {
                return Err(row.usage());
            }
            Ok(Slash::Get(owners(who)?, Wanted::Path(unquoted(file))))
        },
    ),
    row(
        "get-hash",
        "WHO[,WHO…] HASH [BYTES]",
        "fetches the file with that BLAKE3",
        |row, rest| {
            let (who, rest) = split(rest);
            let (hash, size) = split(rest);
            let size = match size {
                "" => None,
                size => Some(size.parse().map_err(|_| row.usage())?),
            };
            let hash = hash.parse().map_err(|_| row.usage())?;
            Ok(Slash::Get(owners(who)?, Wanted::Hash { hash, size }))
        },
    ),
    row("accept-file", "ID", "takes an offered file", |row, rest| {
        number(row, rest).map(Slash::AcceptFile)
    }),
    row("deny-file", "ID", "refuses an offered file", |row, rest| {
        number(row, rest).map(Slash::DenyFile)
    }),
    row("call", "WHO", "calls WHO; /accept and /deny answer a call", |row, rest| {
        name(row, rest, Slash::Call)
    }),
    row("hangup", "[WHO]", "ends a call, or takes it back", |row, rest| {
        optional_name(row, rest).map(Slash::HangUp)
    }),
    row("mute", "[off]", "switches your microphone off, or on again", |row, rest| {
        switch(row, rest).map(Slash::Mute)
    }),
    row(
        "stream",
        "WHO,… FILE | WHO,… | pause | on | seek TIME | stop",
        "plays FILE to several at the same time; others may join later",
        |row, rest| {
            stream::parse(rest).map(Slash::Stream).map_err(|why| format!("{why}; {}", row.usage()))
        },
    ),
    row("hold", "[off]", "holds the call, or goes on with it", |row, rest| {
        switch(row, rest).map(Slash::Hold)
    }),
    row(
        "accept-files",
        "[RULE][,WHO=RULE…]",
        "changes whose files are taken: all, none or ask; shows it without a rule",
        |_, rest| match rest {
            "" => Ok(Slash::AcceptFiles(None)),
            rest => rest.parse().map(|changes| Slash::AcceptFiles(Some(changes))),
        },
    ),
    row("transfers", "", "shows the files that are on their way, wait or are held", |row, rest| {
        none(row, rest, Slash::Transfers)
    }),
    row("pause-file", "ID", "holds a file, whoever sends it", |row, rest| {
        number(row, rest).map(Slash::PauseFile)
    }),
    row("resume-file", "ID", "lets a file go on that you hold", |row, rest| {
        number(row, rest).map(Slash::ResumeFile)
    }),
    row("cancel-file", "ID", "gives a file up; what has arrived is removed", |row, rest| {
        number(row, rest).map(Slash::CancelFile)
    }),
    row(
        "play",
        "[WHO FILE]",
        "plays a file that WHO shares, a file of yours or tone:HZ:SECONDS; goes on without one",
        |_, rest| Ok(play(rest)),
    ),
    row("pause", "", "stops what plays for now; /play goes on", |row, rest| {
        none(row, rest, Slash::Pause)
    }),
    row("seek", "PLACE", "goes to PLACE in what plays: 90 or 1:30", |row, rest| {
        parse_place(rest).map(Slash::Seek).ok_or_else(|| row.usage())
    }),
    row("next", "", "plays the next thing", |row, rest| none(row, rest, Slash::Next)),
    row("stop", "", "plays nothing any more", |row, rest| none(row, rest, Slash::Stop)),
    row("group", "…", "makes, changes and shows groups; /group help lists how", |_, rest| {
        group::parse(rest).map(Slash::Group)
    }),
    row("history", "WHO [COUNT]", "shows what was said with WHO or in a #group", |row, rest| {
        let (who, count) = split(rest);
        if who.is_empty() {
            return Err(row.usage());
        }
        let count = match count {
            "" => None,
            count => Some(count.parse().map_err(|_| row.usage())?),
        };
        Ok(Slash::History(recipient(who)?, count))
    }),
    row("mailbox", "[clear]", "shows what waits at the server, or throws it away", |row, rest| {
        match rest {
            "" => Ok(Slash::Mailbox),
            "clear" => Ok(Slash::ClearMailbox),
            _ => Err(row.usage()),
        }
    }),
    row("seen", "ID…", "tells the writers of these messages that they were seen", |row, rest| {
        let ids: Result<Vec<u64>, _> = rest.split_whitespace().map(str::parse).collect();
        match ids {
            Ok(ids) if (1..=SEEN_MAX).contains(&ids.len()) => {
                Ok(Slash::Seen(ids.into_iter().map(MessageId).collect()))
            }
            Ok(_) | Err(_) => Err(row.usage()),
        }
    }),
    row("set", "[NAME=VALUE]", "changes a setting; shows them all without one", |_, rest| {
        preferences::parse(rest).map(Slash::Set)
    }),
    row("status", "", "shows the session and the server", |row, rest| {
        none(row, rest, Slash::Status)
    }),
    row("path", "WHO", "shows how WHO is reached, and why so", |row, rest| {
        name(row, rest, Slash::Path)
    }),
    row("quit", "", "logs out and leaves", |row, rest| none(row, rest, Slash::Quit)),
];

const fn row(
    word: &'static str,
    arguments: &'static str,
    help: &'static str,
    parse: fn(&Row, &str) -> Result<Slash, String>,
) -> Row {
    Row { word, arguments, help, parse }
}

/// Reads a line: `/command` or `::command` with its arguments, or bare text.
///
/// # Errors
/// Advice for people.
pub(crate) fn parse(line: &str) -> Result<Slash, String> {
    let line = line.trim();
    let Some(order) = line.strip_prefix('/').or_else(|| line.strip_prefix("::")) else {
        return Ok(if line.is_empty() { Slash::Nothing } else { Slash::Say(line.to_owned()) });
    };
    let (word, rest) = split(order);
    match TABLE.iter().find(|row| row.word.eq_ignore_ascii_case(word)) {
        Some(row) => (row.parse)(row, rest),
        None => Err(unknown(word)),
    }
}

impl Row {
    fn usage(&self) -> String {
        format!("usage: /{} {}", self.word, self.arguments).trim_end().to_owned()
    }
}

fn unknown(word: &str) -> String {
    let shown: String = word.chars().take(40).collect();
    match nearest(word) {
        Some(row) => format!("there is no /{shown}; did you mean /{}?", row.word),
        None => format!("there is no /{shown}; /help shows what there is"),
    }
}

/// The command that a typing error most likely meant.
fn nearest(word: &str) -> Option<&'static Row> {
    if word.is_empty() || word.chars().count() > 20 {
        return None;
    }
    let word = word.to_lowercase();
    let scored = TABLE.iter().map(|row| {
        let prefix = row.word.starts_with(&word) && word.len() > 1;
        (if prefix { 0 } else { distance(&word, row.word) }, row)
    });
    let (score, row) = scored.min_by_key(|(score, _)| *score)?;
    (score <= 1 + word.chars().count() / 4).then_some(row)
}

/// Steps that turn one word into the other: insert, delete or replace a letter, or swap two
/// neighbours (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=other.len()).collect()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(a != b);
            let mut best = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && one[i - 1] == *b && other[j - 1] == *a {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

fn split(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((first, rest)) => (first, rest.trim_start()),
        None => (text, ""),
    }
}

fn none(row: &Row, rest: &str, slash: Slash) -> Result<Slash, String> {
    if rest.is_empty() { Ok(slash) } else { Err(row.usage()) }
}

fn list(row: &Row, rest: &str) -> Result<ListOrder, String> {
    match rest {
        "" => Ok(ListOrder::Online),
        "all" => Ok(ListOrder::All),
        rest if rest.contains(char::is_whitespace) => Err(row.usage()),
        transport => Ok(ListOrder::By(transport.to_owned())),
    }
}

/// `WHO FILE`, one word or what stands in quotes, or nothing.
fn play(rest: &str) -> Slash {
    let (who, file) = split(rest);
    match Name::new(who) {
        _ if rest.is_empty() => Slash::Resume,
        Ok(who) if !file.is_empty() => Slash::Play(Piece::Shared(who, unquoted(file))),
        Ok(_) | Err(_) => Slash::Play(Piece::new(&unquoted(rest))),
    }
}

fn text(row: &Row, rest: &str, slash: fn(String) -> Slash) -> Result<Slash, String> {
    if rest.is_empty() { Err(row.usage()) } else { Ok(slash(rest.to_owned())) }
}

fn name(row: &Row, rest: &str, slash: fn(Name) -> Slash) -> Result<Slash, String> {
    if rest.is_empty() {
        return Err(row.usage());
    }
    Name::new(rest).map(slash).map_err(|error| error.to_string())
}

fn optional_name(_row: &Row, rest: &str) -> Result<Option<Name>, String> {
    if rest.is_empty() {
        return Ok(None);
    }
    Name::new(rest).map(Some).map_err(|error| error.to_string())
}

fn name_and(row: &Row, rest: &str) -> Result<(Name, String), String> {
    let (who, rest) = split(rest);
    if who.is_empty() || rest.is_empty() {
        return Err(row.usage());
    }
    let who = Name::new(who).map_err(|error| error.to_string())?;
    Ok((who, rest.to_owned()))
}

/// Users with commas between them.
pub(crate) fn owners(text: &str) -> Result<Vec<Name>, String> {
    let name = |name: &str| Name::new(name).map_err(|error| format!("{name:.40}: {error}"));
    text.split(',').map(name).collect()
}

/// A user, or `#` and a group.
pub(crate) fn recipient(who: &str) -> Result<Recipient, String> {
    match who.strip_prefix('#') {
        Some(group) => Ok(Recipient::Group(group.to_owned())),
        None => Name::new(who).map(Recipient::User).map_err(|error| error.to_string()),
    }
}

fn number(row: &Row, rest: &str) -> Result<u64, String> {
    rest.parse().map_err(|_| row.usage())
}

fn switch(row: &Row, rest: &str) -> Result<Switch, String> {
    match rest {
        "" | "on" => Ok(Switch::On),
        "off" => Ok(Switch::Off),
        _ => Err(row.usage()),
    }
}

/// A path in quotes means what is between them.
fn unquoted(text: &str) -> String {
    let text = text.trim();
    let inside = ['"', '\'']
        .iter()
        .find_map(|quote| text.strip_prefix(*quote).and_then(|rest| rest.strip_suffix(*quote)));
    inside.unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portolan_protocol::{ChangeSettings, Hash, MessageId, Name, Recipient};

    use super::{GroupOrder, ListOrder, Piece, Slash, StreamOrder, Switch, TABLE, Wanted, parse};

    #[test]
    fn every_command_is_understood_with_slash_and_with_colons() {
        let bob = || Name::new("bob").unwrap();
        let rows = [
            ("help", Slash::Help),
            ("list", Slash::List(ListOrder::Online)),
            ("LIST ", Slash::List(ListOrder::Online)),
            ("list all", Slash::List(ListOrder::All)),
            ("list udp", Slash::List(ListOrder::By("udp".into()))),
            ("whois bob", Slash::Whois(bob())),
            ("away", Slash::Away(Some(String::new()))),
            ("away tea, until four", Slash::Away(Some("tea, until four".into()))),
            ("back", Slash::Away(None)),
            ("chat bob", Slash::Chat(bob())),
            ("accept", Slash::Accept(None)),
            ("accept bob", Slash::Accept(Some(bob()))),
            ("deny", Slash::Deny(None, None)),
            ("deny bob not now, please", Slash::Deny(Some(bob()), Some("not now, please".into()))),
            ("end", Slash::End(None)),
            ("end bob", Slash::End(Some(bob()))),
            ("switch", Slash::Switch(None)),
            ("switch bob", Slash::Switch(Some(bob()))),
            ("mailbox", Slash::Mailbox),
            ("mailbox clear", Slash::ClearMailbox),
            ("seen 3 4", Slash::Seen(vec![MessageId(3), MessageId(4)])),
            (
                "set seen=off",
                Slash::Set(ChangeSettings { seen: Some(false), ..ChangeSettings::default() }),
            ),
            ("msg bob  two  words", Slash::Message(Recipient::User(bob()), "two  words".into())),
            ("all hello", Slash::Message(Recipient::All, "hello".into())),
            ("others hello", Slash::Message(Recipient::Others, "hello".into())),
            ("echo /list", Slash::Echo("/list".into())),
            ("share", Slash::Share(None)),
            ("share /tmp/a b", Slash::Share(Some("/tmp/a b".into()))),
            ("share \"/tmp/a b\"", Slash::Share(Some("/tmp/a b".into()))),
            ("files bob", Slash::Files(bob())),
            ("send bob a file.txt", Slash::Send(bob(), "a file.txt".into())),
            (
                "get bob deep/file.txt",
                Slash::Get(vec![bob()], Wanted::Path("deep/file.txt".into())),
            ),
            ("get bob,bob \"a b\"", Slash::Get(vec![bob(), bob()], Wanted::Path("a b".into()))),
            (
                "get-hash bob 0101010101010101010101010101010101010101010101010101010101010101 7",
                Slash::Get(vec![bob()], Wanted::Hash { hash: Hash([1; 32]), size: Some(7) }),
            ),
            ("accept-file 7", Slash::AcceptFile(7)),
            ("deny-file 7", Slash::DenyFile(7)),
            ("call bob", Slash::Call(bob())),
            ("hangup", Slash::HangUp(None)),
            ("hangup bob", Slash::HangUp(Some(bob()))),
            ("mute", Slash::Mute(Switch::On)),
            ("mute off", Slash::Mute(Switch::Off)),
            ("stream stop", Slash::Stream(StreamOrder::Stop)),
            ("hold", Slash::Hold(Switch::On)),
            ("hold off", Slash::Hold(Switch::Off)),
            ("accept-files", Slash::AcceptFiles(None)),
            ("accept-files ask,bob=all", Slash::AcceptFiles("ask,bob=all".parse().ok())),
            ("transfers", Slash::Transfers),
            ("pause-file 7", Slash::PauseFile(7)),
            ("resume-file 7", Slash::ResumeFile(7)),
            ("cancel-file 7", Slash::CancelFile(7)),
            ("msg #crew hi all", Slash::Message(Recipient::Group("crew".into()), "hi all".into())),
            ("group join crew", Slash::Group(GroupOrder::Join("crew".into()))),
            ("history bob", Slash::History(Recipient::User(bob()), None)),
            ("history #crew 5", Slash::History(Recipient::Group("crew".into()), Some(5))),
            ("play", Slash::Resume),
            ("play bob a b.mp3", Slash::Play(Piece::Shared(bob(), "a b.mp3".into()))),
            ("play bob:a.mp3", Slash::Play(Piece::Shared(bob(), "a.mp3".into()))),
            ("play tone:440:1", Slash::Play(Piece::Source("tone:440:1".into()))),
            ("play \"a b.mp3\"", Slash::Play(Piece::File("a b.mp3".into()))),
            ("pause", Slash::Pause),
            ("seek 1:30", Slash::Seek(Duration::from_secs(90))),
            ("next", Slash::Next),
            ("stop", Slash::Stop),
            ("status", Slash::Status),
            ("path bob", Slash::Path(bob())),
            ("quit", Slash::Quit),
        ];
        for (text, wanted) in rows {
            for start in ["/", "::", "  /"] {
                assert_eq!(parse(&format!("{start}{text}")), Ok(wanted.clone()), "{start}{text}");
            }
        }
        for row in TABLE {
            let used = rows_words().any(|word| word == row.word);
            assert!(used, "/{} has no row in this test", row.word);
        }
    }

    fn rows_words() -> impl Iterator<Item = &'static str> {
        "help list whois away back chat accept deny end switch mailbox seen set msg all others echo share files send get get-hash accept-file \
         deny-file call stream hangup mute hold accept-files transfers pause-file resume-file cancel-file group history \
         status path quit play pause seek next stop"
            .split_whitespace()
    }

    #[test]
    fn bare_text_is_for_the_conversation() {
        assert_eq!(parse("  hello /list "), Ok(Slash::Say("hello /list".into())));
        assert_eq!(parse(""), Ok(Slash::Nothing));
        assert_eq!(parse(": one colon"), Ok(Slash::Say(": one colon".into())));
    }

    #[test]
    fn mistakes_are_answered_with_advice() {
        let rows = [
            ("/lst", "/list"),
            ("/mgs bob hi", "/msg"),
            ("/fil", "/files"),
            ("/acept", "/accept"),
            ("/frobnicate", "/help"),
            ("/", "/help"),
            ("/msg", "usage: /msg WHO TEXT"),
            ("/msg bob", "usage: /msg WHO TEXT"),
            ("/list every thing", "usage: /list [all|TRANSPORT]"),
            ("/back soon", "usage: /back"),
            ("/group hlep", "usage:\n/group list"),
            ("/history bob many", "usage: /history WHO [COUNT]"),
            ("/chat", "usage: /chat WHO"),
            ("/mute maybe", "usage: /mute [off]"),
            ("/chat two people", "letters"),
            ("/msg all hi", "reserved"),
            ("/accept-file seven", "usage: /accept-file ID"),
        ];
        for (line, advice) in rows {
            let error = parse(line).unwrap_err();
            assert!(error.contains(advice), "{line}: {error}");
        }
    }
}
