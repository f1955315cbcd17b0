//! Commands that do one thing and end.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use portolan_protocol::{ChangeSettings, Delivery, Name, Recipient, Sent, UserInfo};
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout},
};

use super::{
    args::OneShot,
    calls::{call, duration},
    connect::{Session, Stay, log_in},
    exit::{Exit, Failure},
    lan::{self, Hosts},
    line::Line,
    output::Output,
    password::Source,
    preferences::parse as parse_settings,
    settings::Settings,
    slash::{ListOrder, owners, recipient},
    stage::{Piece, play_all},
    stream,
};
use crate::{
    CallMedia, Event, Existing, FilePhase, NameScope, Peer, Place, ReceiptRule, Reconnect, Stack,
    TreePhase, TreeSummary, Wanted,
};

/// Does one thing, and says how to exit.
pub(crate) async fn run(
    command: OneShot,
    settings: &Settings,
    stack: &Stack,
    output: &Arc<Output>,
) -> Result<Exit, Failure> {
    let command = Checked::new(command)?;
    let reports = command.reports(output);
    // Waiting messages stay at the server: this run shows none.
    let reconnect = match &command {
        // A call outlives its connection.
        Checked::Call { .. } | Checked::Stream { .. } => settings.reconnect,
        _ => Reconnect::Never,
    };
    let stay = Stay { receipts: ReceiptRule::Manual, reconnect, hosts: Hosts::No };
    let Session { peer, mut events, .. } = log_in(settings, stack, stay, output).await?;
    if peer.scope() == NameScope::Lan
        && let Some(who) = command.addressee()
    {
        peer.check_key(who).await?;
    }
    let outcome = {
        let work = execute(&peer, command, settings, output);
        tokio::pin!(work);
        loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                event = events.next() => match event {
                    Some(event) => on_event(&event, output, reports),
                    // The session is over; the command notices by itself.
                    None => break work.await,
                },
                _ = tokio::signal::ctrl_c() => break Err(Failure::interrupted()),
            }
        }
    };
    while let Some(event) = events.try_next() {
        on_event(&event, output, reports);
    }
    peer.logout().await;
    outcome.map(|()| Exit::Done)
}

/// Which failures of transfers are shown as they happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reports {
    /// All of them.
    All,
    /// None: the one there can be is told at the end.
    Successes,
}

/// Shows what belongs to transfers and warnings; what else happens is for another run.
fn on_event(event: &Event, output: &Output, reports: Reports) {
    match event {
        Event::File(update) if reports == Reports::Successes && is_failure(&update.phase) => {}
        Event::Tree(update) if reports == Reports::Successes && ends_badly(&update.phase) => {}
        Event::File(_) | Event::Tree(_) | Event::Call(_) | Event::Audio(_) | Event::Warning(_) => {
            output.show(&event.into());
        }
        Event::Path(_) if output.is_json() => output.show(&event.into()),
        Event::Path(_)
        | Event::Message(_)
        | Event::Receipt(_)
        | Event::Conversation(_)
        | Event::Presence(_)
        | Event::Group(_)
        | Event::Settings(_)
        | Event::Announcement(_)
        | Event::Closing(_)
        | Event::Reconnecting(_)
        | Event::Reconnected(_)
        | Event::Closed(_) => {}
    }
}

fn is_failure(phase: &FilePhase) -> bool {
    matches!(
        phase,
        FilePhase::Failed { .. } | FilePhase::Denied { .. } | FilePhase::Cancelled { .. }
    )
}

fn ends_badly(phase: &TreePhase) -> bool {
    matches!(
        phase,
        TreePhase::Failed { .. } | TreePhase::Denied { .. } | TreePhase::Cancelled { .. }
    )
}

/// A command whose names are names.
enum Checked {
    List(ListOrder),
    Whois { who: Name },
    Say { to: Recipient, text: String },
    Send { who: Name, files: Vec<PathBuf> },
    Get { owners: Vec<Name>, wanted: Vec<Wanted>, place: Place },
    Files { who: Name },
    Play { what: Vec<Piece> },
    Call { who: Name, at_most: Option<Duration> },
    Stream { who: Vec<Name>, file: String },
    Echo { text: String },
    Password { new: Option<Source> },
    Settings { change: ChangeSettings },
    Mailbox { clear: bool },
}

impl Checked {
    fn reports(&self, output: &Output) -> Reports {
        match self {
            Self::Send { files, .. } if files.len() > 1 => Reports::All,
            Self::Get { wanted, .. } if wanted.len() > 1 => Reports::All,
            _ if output.is_json() => Reports::All,
            _ => Reports::Successes,
        }
    }

    /// Who gets a message through the server, whose key nobody else compares.
    fn addressee(&self) -> Option<&Name> {
        match self {
            Self::Say { to: Recipient::User(who), .. } => Some(who),
            _ => None,
        }
    }

    fn new(command: OneShot) -> Result<Self, Failure> {
        Ok(match command {
            OneShot::List { all: true, .. } => Self::List(ListOrder::All),
            OneShot::List { registry: None, .. } => Self::List(ListOrder::Online),
            OneShot::List { registry: Some(transport), .. } => Self::List(ListOrder::By(transport)),
            OneShot::Whois { who } => Self::Whois { who: name(&who)? },
            OneShot::Broadcast { others, text } => {
                let to = if others { Recipient::Others } else { Recipient::All };
                Self::Say { to, text: text.join(" ") }
            }
            OneShot::Say { who, text } => {
                let to = match who.as_str() {
                    "all" => Recipient::All,
                    "others" => Recipient::Others,
                    who => recipient(who).map_err(Failure::usage)?,
                };
                Self::Say { to, text: text.join(" ") }
            }
            OneShot::Send { who, files } => Self::Send { who: name(&who)?, files },
            OneShot::Get { who, files, hash, size, to, into } => {
                let owners = owners(&who).map_err(Failure::usage)?;
                let place = place((&owners, &files), to, into)?;
                let wanted = match hash {
                    Some(hash) => {
                        let hash = hash.parse().map_err(Failure::usage)?;
                        vec![Wanted::Hash { hash, size }]
                    }
                    None => files.into_iter().map(Wanted::Path).collect(),
                };
                Self::Get { owners, wanted, place }
            }
            OneShot::Play { what } => {
                Self::Play { what: what.iter().map(|word| Piece::new(word)).collect() }
            }
            OneShot::Files { who } => Self::Files { who: name(&who)? },
            OneShot::Call { who, for_time } => {
                let at_most = for_time.as_deref().map(duration).transpose();
                Self::Call { who: name(&who)?, at_most: at_most.map_err(Failure::usage)? }
            }
            OneShot::Stream { who, file } => {
                Self::Stream { who: stream::names(&who).map_err(Failure::usage)?, file }
            }
            OneShot::Echo { text } => Self::Echo { text: text.join(" ") },
            OneShot::Password { remove: true, .. } => Self::Password { new: None },
            OneShot::Password { new, remove: false } => {
                Self::Password { new: Source::new(new, true) }
            }
            OneShot::Settings { changes } => {
                let change = parse_settings(&changes.join(" ")).map_err(Failure::usage)?;
                Self::Settings { change }
            }
            OneShot::Mailbox { clear } => Self::Mailbox { clear },
            OneShot::Id
            | OneShot::Doctor
            | OneShot::Demo
            | OneShot::Devices
            | OneShot::Decode { .. } => {
                return Err(Failure::usage("this command needs no server"));
            }
        })
    }
}

fn name(text: &str) -> Result<Name, Failure> {
    Name::new(text).map_err(|error| Failure::usage(format!("{text:.40}: {error}")))
}

async fn execute(
    peer: &Peer,
    command: Checked,
    settings: &Settings,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        Checked::List(order) => {
            let users = peer.users(order.question()).await?;
            output.show(&listed(peer, &users).await?);
        }
        Checked::Whois { who } => output.show(&Line::whois(&peer.whois(&who).await?)),
        Checked::Say { to, text } => {
            let sent = peer.send(to.clone(), text).await?;
            show_sent(&sent, &to, output);
        }
        Checked::Send { who, files } => send_all(peer, &who, &files).await?,
        Checked::Get { owners, wanted, place } => {
            get_all(peer, (&owners, wanted), &place, settings.existing).await?;
        }
        Checked::Files { who } => {
            output.show(&Line::files(who.as_str(), &peer.files(&who).await?));
        }
        Checked::Stream { who, file } => stream::play(peer, &who, file).await?,
        Checked::Call { who, at_most } => {
            let media = CallMedia::words(&settings.source, &settings.sink);
            call(peer, &who, (media, at_most)).await?;
        }
        Checked::Play { what } => play_all(&what, (&settings.sink, Some(peer)), output).await?,
        Checked::Echo { text } => echo(peer, text, output).await?,
        Checked::Password { new } => set_password(peer, new, output).await?,
        Checked::Settings { change } => {
            output.show(&Line::settings(peer.change_settings(change).await?));
        }
        Checked::Mailbox { clear } => {
            if clear {
                peer.clear_mailbox().await?;
            }
            output.show(&Line::mailbox(&waiting(peer).await?));
        }
    }
    Ok(())
}

/// The users, and where there is no server also how well their keys are known.
pub(crate) async fn listed(peer: &Peer, users: &[UserInfo]) -> Result<Line, Failure> {
    match peer.scope() {
        NameScope::Server => Ok(Line::users(users)),
        NameScope::Lan => lan::users(peer, users).await,
    }
}

/// Everything that waits for us, in order; the server bounds it.
pub(crate) async fn waiting(peer: &Peer) -> Result<Vec<Delivery>, Failure> {
    let mut messages: Vec<Delivery> = Vec::new();
    loop {
        let after = messages.last().map(|message| message.id);
        let page = peer.mailbox(after).await?;
        let is_last = !page.more || page.messages.is_empty();
        messages.extend(page.messages);
        if is_last {
            return Ok(messages);
        }
    }
}

async fn set_password(peer: &Peer, new: Option<Source>, output: &Output) -> Result<(), Failure> {
    let name = peer.name().to_string();
    let Some(source) = new else {
        peer.set_password(None).await?;
        output.show(&Line::Password { name, is_set: false });
        return Ok(());
    };
    let read = spawn_blocking(move || source.read_new()).await;
    let password = read.map_err(|error| Failure::failed(error.to_string()))??;
    peer.set_password(Some(password)).await?;
    output.show(&Line::Password { name, is_set: true });
    Ok(())
}

/// Fetches a file from its owner, or from several.
pub(crate) async fn get(
    peer: &Peer,
    (owners, wanted): (&[Name], Wanted),
    to: Option<&Path>,
    existing: Existing,
) -> Result<(), Failure> {
    match (owners, wanted) {
        ([who], Wanted::Path(path)) => peer.get_file(who, &path, to, existing).await?,
        (owners, wanted) => Box::pin(peer.gather_file(owners, wanted, to, existing)).await?,
    };
    Ok(())
}

/// Where fetched files go. Straight into a directory goes what is in one that is fetched alone,
/// and a directory has one owner.
fn place(
    (owners, files): (&[Name], &[String]),
    to: Option<PathBuf>,
    into: Option<PathBuf>,
) -> Result<Place, Failure> {
    if owners.len() > 1 && files.iter().any(|file| is_directory(file)) {
        return Err(Failure::usage("a directory is fetched from one user; name one"));
    }
    match (into, files) {
        (None, _) => Ok(Place::Under(to.unwrap_or_else(|| PathBuf::from(".")))),
        (Some(into), [file]) if is_directory(file) => Ok(Place::Into(into)),
        (Some(_), _) => {
            Err(Failure::usage("--into is for one directory, whose name ends with /; use --to"))
        }
    }
}

/// Whether a shared path means a directory.
pub(crate) fn is_directory(path: &str) -> bool {
    path.ends_with('/') || path == "."
}

/// Fetches files and directories; one that fails stops none, and the first failure is told at the
/// end.
async fn get_all(
    peer: &Peer,
    (owners, wanted): (&[Name], Vec<Wanted>),
    place: &Place,
    existing: Existing,
) -> Result<(), Failure> {
    let mut first: Option<Failure> = None;
    for wanted in wanted {
        let result = match (owners, wanted, place) {
            ([who], Wanted::Path(path), place) if is_directory(&path) => {
                get_directory(peer, who, &path, (Some(place.clone()), existing)).await
            }
            (owners, wanted, Place::Under(to) | Place::Into(to)) => {
                get(peer, (owners, wanted), Some(to), existing).await
            }
        };
        if let Err(failure) = result {
            first.get_or_insert(failure);
        }
    }
    first.map_or(Ok(()), Err)
}

/// Fetches a directory; a failure also when files of it are missing.
pub(crate) async fn get_directory(
    peer: &Peer,
    who: &Name,
    path: &str,
    (place, existing): (Option<Place>, Existing),
) -> Result<(), Failure> {
    let path = path.trim_end_matches('/');
    whole(&peer.get_directory(who, path, place, existing).await?)
}

fn whole(summary: &TreeSummary) -> Result<(), Failure> {
    match summary.failed {
        0 => Ok(()),
        _ => Err(Failure::partial(summary)),
    }
}

/// Sends a file or a directory.
pub(crate) async fn send(peer: &Peer, who: &Name, path: &Path) -> Result<(), Failure> {
    match path.is_dir() {
        true => whole(&peer.send_directory(who, path).await?),
        false => peer.send_file(who, path).await.map(drop).map_err(Failure::from),
    }
}

/// Sends every file; one that fails stops none, and the first failure is told at the end.
async fn send_all(peer: &Peer, who: &Name, files: &[PathBuf]) -> Result<(), Failure> {
    let mut first: Option<Failure> = None;
    for file in files {
        if let Err(failure) = send(peer, who, file).await {
            tracing::info!(%failure, "{} was not sent", file.display());
            first.get_or_insert(failure);
        }
    }
    first.map_or(Ok(()), Err)
}

/// Sends an echo and shows what came back and how soon.
pub(crate) async fn echo(peer: &Peer, text: String, output: &Output) -> Result<(), Failure> {
    let start = Instant::now();
    let text = peer.echo(text).await?;
    let rtt_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    output.show(&Line::Echo { text, rtt_us });
    Ok(())
}

/// Says what became of a message for now.
pub(crate) fn show_sent(sent: &Sent, to: &Recipient, output: &Output) {
    if output.is_json() {
        let by = "server".to_owned();
        return output.show(&Line::Receipt { id: sent.id.0, state: "stored", by });
    }
    let id = sent.id.0;
    match to {
        Recipient::User(who) if sent.waiting > 0 => {
            output.note(&format!("{who} is not there: message {id} waits in the mailbox"));
        }
        Recipient::User(_) => output.note(&format!("message {id} is on its way")),
        Recipient::Group(_) | Recipient::All | Recipient::Others => {
            let (online, waiting) = (sent.online, sent.waiting);
            output.note(&format!("message {id} goes to {online}, and waits for {waiting}"));
        }
    }
}

/// Waits for a future, but not for ever.
pub(crate) async fn at_most<T>(patience: Duration, work: impl Future<Output = T>) -> Option<T> {
    timeout(patience, work).await.ok()
}
