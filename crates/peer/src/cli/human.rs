//! Lines as people read them. Everything that others may have written goes through `plain`.

use std::collections::BTreeMap;

use portolan_protocol::{AudioInfo, Timestamp};

use super::{
    line::{
        CallLine, ConversationLine, File, FindingLine, Group, GroupLine, Help, LanLine, Line,
        Member, Message, SettingsLine, Shared, User,
    },
    status_line::{path_text, status_text},
    text::{plain, size, span, time},
    tree_line::tree_text,
};

/// Where a line belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// What was asked for: standard output.
    Result,
    /// What happened besides: standard error.
    Message,
}

/// The line for people; `None`: they need not read it.
pub(crate) fn render(line: &Line) -> Option<(Channel, String)> {
    let result = |text| Some((Channel::Result, text));
    let message = |text| Some((Channel::Message, text));
    match line {
        Line::Ready { name, transport, server, beside, .. } => {
            let beside = match beside {
                0 => String::new(),
                count => format!("; {count} other sessions of yours are there"),
            };
            message(format!("* you are {name}, connected to {server} over {transport}{beside}"))
        }
        Line::Users { users } => result(user_table(users)),
        Line::Whois(user) => result(whois(user)),
        Line::Message(delivery) => result(message_text(delivery)),
        Line::Receipt { id, state, by } => message(format!("* message {id}: {state} by {by}")),
        Line::Conversation(news) => message(conversation(news)),
        Line::Presence { change, user } => presence(change, user).and_then(message),
        Line::Group(news) => message(group_news(news)),
        Line::Groups { groups } => result(group_table(groups)),
        Line::Members { members, .. } => result(member_table(members)),
        Line::History { messages, more, .. } => result(history(messages, *more)),
        Line::Settings(settings) => result(settings_text(settings)),
        Line::Mailbox { messages } if messages.is_empty() => result("nothing waits for you".into()),
        Line::Mailbox { messages } => result(history(messages, false)),
        Line::Talking { with, others } => result(talking_text(with.as_deref(), others)),
        Line::Announcement { text, .. } => message(format!("* announcement: {}", plain(text))),
        Line::File(update) => file(update).and_then(message),
        Line::Call(update) => message(call(update)),
        Line::Audio(update) => message(update.words()),
        Line::AcceptFiles { rule, users, file_max, total_max } => {
            result(rules_text(rule, users, (*file_max, *total_max)))
        }
        Line::Transfers { files } => result(transfer_table(files)),
        Line::Tree(update) => tree_text(update).map(|text| (Channel::Message, text)),
        Line::Lan(line) => message(lan(line)),
        Line::Path(path) => result(path_text(path)),
        Line::Finding(finding) => result(finding_text(finding)),
        Line::Files { with, files } => result(file_table(with, files)),
        Line::Playing(playing) => playing.text().and_then(message),
        Line::Decoded(decoded) => result(decoded.text()),
        Line::Devices(devices) => result(devices.text()),
        Line::Share { path: Some(path) } => message(format!("* sharing {}", plain(path))),
        Line::Share { path: None } => message("* sharing nothing".to_owned()),
        Line::Echo { text, rtt_us } => {
            let rtt = *rtt_us / 100;
            result(format!("{} ({}.{} ms)", plain(text), rtt / 10, rtt % 10))
        }
        Line::Status(status) => result(status_text(status)),
        Line::Help { commands } => result(help(commands)),
        Line::Id { id, .. } => result(id.clone()),
        Line::Password { name, is_set: true } => message(format!("* {name} has a password now")),
        Line::Password { name, is_set: false } => message(format!("* {name} has no password now")),
        Line::Error { message: text, .. } => message(format!("error: {}", plain_lines(text))),
        Line::Closing { text, .. } => message(format!("* the server says: {}", plain(text))),
        Line::Reconnecting { attempt: 1, why, .. } => {
            message(format!("* {}; connecting again", plain(why)))
        }
        // Once is enough: it goes on until there is other news.
        Line::Reconnecting { .. } => None,
        Line::Reconnected { transport, server } => {
            message(format!("* connected again to {server} over {transport}"))
        }
        Line::Closed { reason } => message(format!("* the session is over: {}", plain(reason))),
    }
}

/// Our own words keep their lines, set in: there may be words of others among them.
fn plain_lines(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n  ")
}

fn user_table(users: &[User]) -> String {
    if users.is_empty() {
        return "nobody is there".to_owned();
    }
    table(users.iter().map(|user| {
        [user.name.clone(), transports(user), state(user), since(user), key(user), away(user)]
    }))
}

/// The key; where there is no server, its beginning and whether it is the one that we know.
fn key(user: &User) -> String {
    match user.known {
        None => user.id.clone(),
        Some("changed") => format!("{} CHANGED", short(&user.id)),
        Some(word) => format!("{} {word}", short(&user.id)),
    }
}

/// Enough of a key to tell people apart; whoever wants to be sure compares all of it.
fn short(id: &str) -> String {
    id.split('-').take(2).collect::<Vec<_>>().join("-")
}

/// Who hosts, and what that means for those who are here.
fn lan(line: &LanLine) -> String {
    let host = short(&line.id);
    let lost = match line.again {
        true => ". Groups are gone with the one before",
        false => "",
    };
    match line.state {
        "joining" if line.role == Some("server") => {
            format!("* {host} is the server of this network{lost}")
        }
        "hosting" => {
            let first = line.addresses.first().map_or("ADDRESS", String::as_str);
            format!(
                "* there is no server on this network: this program hosts it as {host}{lost}. \
                 Others find it with `peer NAME`, and where devices are kept apart with \
                 `peer NAME --server {first}`"
            )
        }
        "joining" => format!(
            "* {host} hosts this network, in the program of somebody who is here{lost}. It sees \
             messages, as any server does; files and calls are sealed for the key of the other"
        ),
        _ => format!("* {host} hosts this network too and counts more: everybody goes there"),
    }
}

/// The transports of all sessions of a name, the latest first.
fn transports(user: &User) -> String {
    let all = std::iter::once(&user.transport).chain(&user.also);
    all.map(|transport| plain(transport)).collect::<Vec<_>>().join("+")
}

fn state(user: &User) -> String {
    match &user.with {
        Some(with) => format!("{} with {with}", user.state),
        None => user.state.to_owned(),
    }
}

/// Since when, or when last, as far as that may be known.
fn since(user: &User) -> String {
    match (user.state, user.since) {
        (_, 0) => String::new(),
        ("offline", at) => format!("last seen {}", time(Timestamp(at))),
        (_, at) => format!("since {}", time(Timestamp(at))),
    }
}

fn away(user: &User) -> String {
    match user.away.as_deref() {
        None => String::new(),
        Some("") => "away".to_owned(),
        Some(words) => format!("away: {}", plain(words)),
    }
}

fn whois(user: &User) -> String {
    let mut lines = vec![format!("name   {}", user.name), format!("key    {}", user.id)];
    if user.state == "offline" {
        let last = Some(since(user)).filter(|since| !since.is_empty());
        let last = last.unwrap_or_else(|| "last seen: not known to you".to_owned());
        lines.push(format!("there  no; {last}"));
    } else {
        let online = time(Timestamp(user.online_since));
        lines.push(format!("there  since {online} over {}", plain(&user.transport)));
        lines.push(format!("state  {} {}", state(user), since(user)));
    }
    if user.away.is_some() {
        lines.push(format!("       {}", away(user)));
    }
    lines.join("\n")
}

/// Columns as wide as their widest entry, by characters.
fn table<const N: usize>(rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = rows.collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn message_text(message: &Message) -> String {
    let text = plain(&message.text);
    if message.own {
        return format!("you to {}: {text}", plain(&message.to));
    }
    match message.to.as_str() {
        to @ ("all" | "others") => format!("{} to {to}: {text}", message.from),
        _ => match &message.group {
            Some(group) => format!("{} to {}: {text}", message.from, plain(group)),
            None => format!("{}: {text}", message.from),
        },
    }
}

fn conversation(news: &ConversationLine) -> String {
    let with = &news.with;
    if news.elsewhere {
        return elsewhere(news);
    }
    let words = match news.state {
        "asked" => format!("you have asked {with} for a conversation"),
        "requested" => format!("{with} asks for a conversation: /accept {with} or /deny {with}"),
        "accepted" => format!("you are talking with {with}: just type; /end ends it"),
        "denied" => format!("{with} does not want to talk now"),
        "busy" => format!("{with} is in another conversation"),
        "timed_out" => format!("the request between you and {with} has lapsed"),
        "ended" => format!("the conversation with {with} is over"),
        "vanished" => format!("{with} has vanished"),
        other => format!("conversation with {with}: {other}"),
    };
    match &news.reason {
        Some(reason) if !reason.is_empty() => format!("* {words} ({})", plain(reason)),
        Some(_) | None => format!("* {words}"),
    }
}

fn call(update: &CallLine) -> String {
    let with = &update.with;
    if let Some(title) = &update.title {
        return listening(update, &plain(title));
    }
    let is_incoming = update.direction == "incoming";
    let words = match update.phase {
        "calling" => format!("calling {with}"),
        "ringing" if is_incoming => format!("{with} calls: /accept {with} or /deny {with}"),
        "ringing" => format!("it rings with {with}"),
        "accepted" => format!("the call with {with} is on; /hangup ends it"),
        "interrupted" => format!("the call with {with} is interrupted"),
        "resumed" => format!("the call with {with} goes on"),
        "muted" | "held" => switched(update),
        "denied" if is_incoming => format!("you did not take the call of {with}"),
        "denied" => format!("{with} does not take the call"),
        "busy" if is_incoming => format!("{with} has called; you are in another call"),
        "busy" => format!("{with} is in another call"),
        "timed_out" if is_incoming => format!("you have missed a call of {with}"),
        "timed_out" => format!("{with} does not answer"),
        "ended" => format!("the call with {with} is over"),
        "failed" => format!("there is no call with {with}"),
        other => format!("call with {with}: {other}"),
    };
    match &update.reason {
        Some(reason) => format!("* {words} ({})", plain(reason)),
        None => format!("* {words}"),
    }
}

/// A call in which one side plays and the other listens.
fn listening(update: &CallLine, title: &str) -> String {
    let with = &update.with;
    let is_incoming = update.direction == "incoming";
    let words = match update.phase {
        "calling" => format!("inviting {with} to listen to {title}"),
        "ringing" if is_incoming => {
            format!("{with} plays {title}: /accept {with} or /deny {with}")
        }
        "ringing" => format!("{with} is asked"),
        "accepted" if is_incoming => format!("you listen to {title} with {with}; /hangup leaves"),
        "accepted" => format!("{with} listens"),
        "ended" if is_incoming => format!("{title} is over, or you have left"),
        "ended" => format!("{with} listens no more"),
        "denied" => format!("{title} is not listened to"),
        "busy" => format!("{with} is in a call"),
        "timed_out" => format!("nobody has answered about {title}"),
        other => format!("{title} with {with}: {other}"),
    };
    format!("* {words}")
}

/// A microphone or a call that was switched.
fn switched(update: &CallLine) -> String {
    let with = &update.with;
    match (update.phase, update.by_us == Some(true), update.on == Some(true)) {
        ("muted", true, true) => "your microphone is off; /mute off switches it on".to_owned(),
        ("muted", true, false) => "your microphone is on".to_owned(),
        ("muted", false, true) => format!("the microphone of {with} is off"),
        ("muted", false, false) => format!("the microphone of {with} is on"),
        (_, true, true) => "you hold the call; /hold off goes on".to_owned(),
        (_, true, false) => "the call goes on".to_owned(),
        (_, false, true) => format!("{with} holds the call"),
        (_, false, false) => format!("{with} goes on with the call"),
    }
}

/// What another of our devices has done.
fn elsewhere(news: &ConversationLine) -> String {
    let with = &news.with;
    let words = match news.state {
        "asked" => format!("you have asked {with} for a conversation"),
        "accepted" => format!("you are talking with {with}"),
        "denied" => format!("the request between you and {with} was denied"),
        "busy" => format!("{with} is in another conversation"),
        "timed_out" => format!("the request between you and {with} has lapsed"),
        "vanished" => format!("{with} has vanished"),
        _ => format!("the conversation with {with} is over"),
    };
    format!("* {words}, on another device")
}

fn settings_text(settings: &SettingsLine) -> String {
    let word = |is_on| if is_on { "on" } else { "off" };
    let rows = [
        (
            "seen",
            word(settings.seen).to_owned(),
            "others learn what you have seen, and you of them",
        ),
        ("last-seen", word(settings.last_seen).to_owned(), "others learn when you were there last"),
        ("conversations", settings.conversations.to_string(), "as many at a time"),
    ];
    table(rows.into_iter().map(|(name, value, help)| [name.to_owned(), value, help.to_owned()]))
}

fn talking_text(with: Option<&str>, others: &[String]) -> String {
    match (with, others) {
        (None, []) => "you are in no conversation".to_owned(),
        (None, others) => format!("also talking with {}: /switch WHO", others.join(", ")),
        (Some(with), []) => format!("talking with {with}"),
        (Some(with), others) => format!("talking with {with}; also with {}", others.join(", ")),
    }
}

fn group_news(news: &GroupLine) -> String {
    let (group, by) = (plain(&news.group), &news.by);
    let user = news.user.as_deref().unwrap_or(by);
    let words = match news.change {
        "invited" => format!("{by} invites {user} to #{group}: /group join {group}"),
        "joined" => format!("{by} is in #{group} now"),
        "left" => format!("{by} has left #{group}"),
        "removed" => format!("{by} has put {user} out of #{group}"),
        "role" => format!("{user} is {} of #{group} now", news.role.unwrap_or("member")),
        "renamed" => {
            format!("#{group} is called #{} now", plain(news.to.as_deref().unwrap_or_default()))
        }
        other => format!("#{group}: {other}"),
    };
    format!("* {words}")
}

fn group_table(groups: &[Group]) -> String {
    if groups.is_empty() {
        return "you are in no group; /group create GROUP makes one".to_owned();
    }
    table(groups.iter().map(|group| {
        [
            format!("#{}", plain(&group.group)),
            group.role.unwrap_or("invited").to_owned(),
            format!("{} members", group.members),
            if group.history { "with history".to_owned() } else { String::new() },
        ]
    }))
}

fn member_table(members: &[Member]) -> String {
    table(
        members
            .iter()
            .map(|member| [member.name.clone(), member.role.unwrap_or("invited").to_owned()]),
    )
}

fn history(messages: &[Message], more: bool) -> String {
    if messages.is_empty() {
        return "nothing is kept of what was said".to_owned();
    }
    let lines = messages
        .iter()
        .map(|message| format!("{}  {}", time(Timestamp(message.at)), message_text(message)));
    let first = more.then(|| "… there is more before this".to_owned());
    first.into_iter().chain(lines).collect::<Vec<_>>().join("\n")
}

fn presence(change: &str, user: &User) -> Option<String> {
    let name = &user.name;
    match change {
        "online" => Some(format!("* {name} is there ({})", plain(&user.transport))),
        "logged_out" => Some(format!("* {name} has left")),
        "vanished" => Some(format!("* {name} has vanished")),
        "kicked" => Some(format!("* {name} was sent away")),
        // Free or busy: `/list` says so.
        _ => None,
    }
}

fn file(file: &File) -> Option<String> {
    let (id, name, with) = (file.id, plain(&file.name), &file.with);
    let sending = file.direction == "send";
    let arrow = if sending { format!("{name} to {with}") } else { format!("{name} from {with}") };
    let reason = plain(file.reason.as_deref().unwrap_or_default());
    match file.phase {
        "offered" => Some(format!(
            "* {with} offers {name} ({}): /accept-file {id} or /deny-file {id}",
            size(file.total)
        )),
        "queued" => Some(format!("* file {id}: {arrow}, waits for its turn")),
        "paused" => Some(format!("* file {id}: {arrow}, {reason}")),
        "cancelled" => Some(format!("* file {id}: {arrow}, {reason}")),
        "waiting" => Some(format!("* waiting for {with} to take {name}")),
        "started" => {
            let badge = Some(badge(file)).filter(|badge| !badge.is_empty());
            let badge = badge.map(|badge| format!(", {badge}")).unwrap_or_default();
            let resumed = file.resumed.map(|bytes| format!(", {} of it there", size(bytes)));
            let resumed = resumed.unwrap_or_default();
            Some(format!("* file {id}: {arrow}, {}{resumed}{badge}", size(file.total)))
        }
        "progress" => None,
        "done" => {
            let hash = file.hash.as_deref().unwrap_or_default();
            let place = file.path.as_deref().map(|path| format!(", saved as {}", plain(path)));
            let place = place.unwrap_or_default();
            Some(format!("* file {id}: {arrow}, verified{place}\n    blake3 {hash}"))
        }
        "interrupted" => Some(format!("* file {id}: {arrow}, tried again soon: {reason}")),
        "denied" => Some(format!("* file {id}: {arrow}, refused: {reason}")),
        _ => Some(format!("* file {id}: {arrow}, failed: {reason}")),
    }
}

fn rules_text(
    rule: &str,
    users: &BTreeMap<String, String>,
    (file_max, total_max): (Option<u64>, Option<u64>),
) -> String {
    let mut lines = vec![format!("files of others  {rule}")];
    lines.extend(users.iter().map(|(who, rule)| format!("files of {who}  {rule}")));
    lines.extend(file_max.map(|max| format!("at most {} a file", size(max))));
    lines.extend(total_max.map(|max| format!("at most {} among the files received", size(max))));
    lines.join("\n")
}

/// `relayed/udp`.
pub(crate) fn badge(file: &File) -> String {
    match (file.via, file.transport) {
        (Some(via), Some(transport)) => format!("{via}/{transport}"),
        _ => String::new(),
    }
}

/// `3.1 MiB/s, 12 s left`, as far as it is known.
pub(crate) fn speed(file: &File) -> String {
    let rate = file.rate.map(|rate| format!("{}/s", size(rate)));
    let eta = file.eta_ms.map(|eta| format!("{} left", span(eta / 1000)));
    [rate, eta].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn transfer_table(files: &[File]) -> String {
    if files.is_empty() {
        return "no file is on its way".to_owned();
    }
    table(files.iter().map(|file| {
        let arrow = if file.direction == "send" { "to" } else { "from" };
        [
            file.id.to_string(),
            format!("{} {arrow} {}", plain(&file.name), file.with),
            file.phase.to_owned(),
            format!("{} of {}", size(file.bytes), size(file.total)),
            file.rate.map(|rate| format!("{}/s", size(rate))).unwrap_or_default(),
            file.eta_ms.map(|eta| format!("{} left", span(eta / 1000))).unwrap_or_default(),
            badge(file),
        ]
    }))
}

fn finding_text(finding: &FindingLine) -> String {
    let FindingLine { check, state, found, means, fix } = finding;
    let mut text = format!("{check:<12} {state:<8} {}", plain(found));
    for (word, more) in [("means", means), ("fix", fix)] {
        if let Some(more) = more {
            text.push_str(&format!("\n{:21} {word}: {more}", ""));
        }
    }
    text
}

fn file_table(with: &str, files: &[Shared]) -> String {
    if files.is_empty() {
        return format!("{with} shares nothing");
    }
    table(files.iter().map(|file| {
        let modified = file.modified.map(|at| time(Timestamp(at))).unwrap_or_default();
        let heard = file.audio.as_ref().map(heard).unwrap_or_default();
        [format!("{:>10}", size(file.size)), modified, plain(&file.path), heard]
    }))
}

/// What is heard in a file, in a few words.
fn heard(audio: &AudioInfo) -> String {
    let time = audio.duration_ms.map(super::playing::clock);
    let words = [&audio.artist, &audio.title].into_iter().flatten();
    let name = words.map(|word| plain(word)).collect::<Vec<_>>().join(": ");
    let parts = [time.unwrap_or_default(), plain(&audio.codec), name];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn help(commands: &[Help]) -> String {
    let rows = commands.iter().map(|command| [command.usage.clone(), command.help.to_owned()]);
    table(rows) + "\nAnything else is said in the conversation that runs. :: works like /."
}

#[cfg(test)]
mod tests {
    use super::{Channel, render};
    use crate::cli::line::{ConversationLine, Line, Message};

    fn message(to: &str, text: &str) -> Line {
        Line::Message(Message {
            id: 1,
            from: "bob".into(),
            to: to.into(),
            group: None,
            text: text.into(),
            at: 0,
            own: false,
        })
    }

    #[test]
    fn results_and_messages_go_different_ways() {
        let (channel, text) = render(&message("alice", "hi\u{1b}[2J")).unwrap();
        assert_eq!((channel, text.as_str()), (Channel::Result, "bob: hi\u{fffd}[2J"));
        assert_eq!(render(&message("all", "hi")).unwrap().1, "bob to all: hi");
        let error = Line::Error { code: "x".into(), message: "no\nfix: \u{7}do".into() };
        let (channel, text) = render(&error).unwrap();
        assert_eq!((channel, text.as_str()), (Channel::Message, "error: no\n  fix: \u{fffd}do"));
    }

    #[test]
    fn a_request_says_what_to_type() {
        let news = ConversationLine {
            with: "bob".into(),
            state: "requested",
            reason: None,
            elsewhere: false,
        };
        let text = render(&Line::Conversation(news)).unwrap().1;
        assert!(text.contains("/accept bob") && text.contains("/deny bob"), "{text}");
    }
}
