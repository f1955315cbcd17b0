//! Lines in, lines out, until one side ends it: for people and, with `--json`, for programs.

use std::{
    io::{self, IsTerminal},
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use portolan_protocol::{
    Conversation, ConversationState, ErrorCode, MessageId, Name, ReceiptState, Recipient,
};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    calls::{AnswerRule, CallBook},
    connect::{Session, Stay, log_in},
    exit::{Exit, Failure},
    group::GroupOrder,
    input::{Input, Names, TerminalGuard, edit_lines, learn, read_lines},
    key_checks::KeyChecks,
    lan::Hosts,
    line::Line,
    mail::{Mail, Resends},
    one_shot::{at_most, echo, get, get_directory, is_directory, listed, send, waiting},
    output::Output,
    settings::Settings,
    slash::{ListOrder, Slash, parse},
    stage::{Piece, Stage, show},
    status_line::{PathLine, Status},
    stream::{self, StreamOrder},
    talks::Talks,
};
use crate::{
    AudioUpdate, CallDirection, CallMedia, CallPhase, CallUpdate, Event, Events, Existing,
    FileRule, NameScope, Peer, ReceiptRule, RequestError, SessionEnd, Stack, TransferId, Wanted,
};

/// Transfers that one person may have started and not seen the end of.
const TRANSFERS_MAX: usize = 4096;
/// Seen messages whose writers wait to be told; of more nobody is.
const SHOWN_MAX: usize = 256;
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// Runs until the input ends, `/quit`, Ctrl-C, or the end of the session.
pub(crate) async fn run(
    mut settings: Settings,
    stack: &Stack,
    output: Arc<Output>,
) -> Result<Exit, Failure> {
    let _terminal = TerminalGuard::new();
    let edits = !output.is_json() && io::stdin().is_terminal() && io::stdout().is_terminal();
    if settings.accept_files.is_none() && edits {
        settings.accept_files = Some(FileRule::Ask);
    }
    if settings.answer.is_none() && edits {
        settings.answer = Some(AnswerRule::Ask);
    }
    let answer = settings.answer.clone().unwrap_or_default();
    let sound = (settings.source.clone(), settings.sink.clone());
    let reconnect = settings.reconnect;
    let stay = Stay { receipts: ReceiptRule::Automatic, reconnect, hosts: Hosts::Yes };
    let Session { peer, events, lan } = log_in(&settings, stack, stay, &output).await?;
    let names = Names::default();
    let lines = if edits {
        let edited = edit_lines(settings.history(), Arc::clone(&names));
        let (lines, printer) = edited
            .map_err(|error| Failure::failed(format!("the terminal cannot be used: {error}")))?;
        output.print_above_prompt(printer);
        lines
    } else {
        read_lines()
    };
    output.show(&Line::ready(&peer));
    if edits {
        output.note("* /help shows the commands");
    }
    let reader = if edits { Reader::Person } else { Reader::Program };
    let existing = settings.existing;
    let stage = Mutex::new(Stage::new(&settings.sink));
    let (talks, book) = (Mutex::default(), Mutex::default());
    let stream = Mutex::default();
    let mail = Mail::new(peer.clone(), Arc::clone(&output));
    let resends = Resends::new(mail.clone());
    let app =
        App { peer, mail, output, names, existing, stage, answer, sound, talks, book, stream };
    let shown = Shown { reader, ids: Vec::new(), telling: JoinSet::new() };
    let (transfers, running) = (JoinSet::new(), None);
    let app = Arc::new(app);
    let checks = KeyChecks::new(app.peer.scope());
    let done = Loop { app, lines, events, transfers, running, shown, checks, resends }.run().await;
    if let Some(lan) = lan {
        tokio::select! {
            () = lan.leave() => {}
            // Whoever cannot wait leaves without a farewell.
            _ = tokio::signal::ctrl_c() => {}
        }
    }
    done
}

/// What commands work on.
struct App {
    peer: Peer,
    mail: Mail,
    output: Arc<Output>,
    names: Names,
    existing: Existing,
    /// Where things are played.
    stage: Mutex<Stage>,
    answer: AnswerRule,
    /// The words of the source and the sink of calls.
    sound: (String, String),
    talks: Mutex<Talks>,
    book: Mutex<CallBook>,
    /// What we play to others.
    stream: Mutex<Option<Arc<crate::Stage>>>,
}

/// Who reads what is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// Somebody at a terminal: what is shown there is seen.
    Person,
    /// A program or a file, which says itself what was seen.
    Program,
}

/// Messages that a person has seen and whose writers are not told yet.
struct Shown {
    reader: Reader,
    ids: Vec<MessageId>,
    telling: JoinSet<()>,
}

impl Shown {
    fn note(&mut self, id: MessageId) {
        if self.reader == Reader::Person && self.ids.len() < SHOWN_MAX {
            self.ids.push(id);
        }
    }

    /// Tells the writers of what has gathered, one request at a time.
    fn tell(&mut self, peer: &Peer) {
        if self.ids.is_empty() || !self.telling.is_empty() {
            return;
        }
        let (peer, ids) = (peer.clone(), std::mem::take(&mut self.ids));
        self.telling.spawn(async move {
            if let Err(error) = peer.receipts(ids, ReceiptState::Seen).await {
                tracing::debug!(%error, "nobody was told what was seen");
            }
        });
    }
}

type Running = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// The loop over lines, events and commands under way.
struct Loop {
    app: Arc<App>,
    lines: mpsc::Receiver<Input>,
    events: Events,
    transfers: JoinSet<()>,
    /// One command at a time, so that they are carried out in order; no line is read meanwhile.
    running: Option<Running>,
    shown: Shown,
    checks: KeyChecks,
    resends: Resends,
}

/// Why the loop ends.
enum Ending {
    /// The input has ended: what was begun is finished first.
    Input,
    Quit,
    Interrupted,
    Session(SessionEnd),
}

impl Loop {
    async fn run(mut self) -> Result<Exit, Failure> {
        let ending = loop {
            if let Some(ending) = self.step().await {
                break ending;
            }
        };
        let ending = match ending {
            Ending::Input => self.finish_transfers().await,
            other => other,
        };
        self.transfers.abort_all();
        let peer = &self.app.peer;
        match ending {
            Ending::Input | Ending::Quit => {
                at_most(FAREWELL, peer.logout()).await;
                self.app.output.show(&(&SessionEnd::Local).into());
                Ok(Exit::Done)
            }
            Ending::Interrupted => {
                at_most(FAREWELL, peer.logout()).await;
                Ok(Exit::Interrupted)
            }
            // The event has told why.
            Ending::Session(end) => Ok(Failure::from(&end).exit),
        }
    }

    async fn step(&mut self) -> Option<Ending> {
        self.shown.tell(&self.app.peer);
        let running = self.running.is_some();
        tokio::select! {
            result = async { self.running.as_mut()?.await.err() }, if running => {
                self.running = None;
                result.inspect(|failure| self.app.output.show(&failure.into()));
                None
            }
            event = self.events.next() => self.on_event(event),
            input = self.lines.recv(), if !running => self.on_input(input),
            Some(_) = self.transfers.join_next(), if !self.transfers.is_empty() => None,
            Some(_) = self.shown.telling.join_next(), if !self.shown.telling.is_empty() => None,
            Some(warning) = self.checks.next() => {
                self.app.output.show(&warning);
                None
            }
            _ = tokio::signal::ctrl_c() => Some(Ending::Interrupted),
        }
    }

    /// After the end of the input: events go on until the last transfer is done.
    async fn finish_transfers(&mut self) -> Ending {
        while !self.transfers.is_empty() {
            let ending = tokio::select! {
                event = self.events.next() => self.on_event(event),
                Some(_) = self.transfers.join_next() => None,
                _ = tokio::signal::ctrl_c() => Some(Ending::Interrupted),
            };
            if let Some(ending) = ending {
                return ending;
            }
        }
        while let Some(event) = self.events.try_next() {
            if let Some(ending) = self.on_event(Some(event)) {
                return ending;
            }
        }
        Ending::Input
    }

    fn on_event(&mut self, event: Option<Event>) -> Option<Ending> {
        let event = event?;
        self.app.on_event(&event);
        if let Some(id) = event.message_id() {
            self.shown.note(id);
        }
        self.checks.on_event(&event, &self.app.peer);
        self.resends.on_event(&event);
        let Event::Closed(end) = event else { return None };
        Some(Ending::Session(end))
    }

    fn on_input(&mut self, input: Option<Input>) -> Option<Ending> {
        match input {
            None => return Some(Ending::Input),
            Some(Input::Interrupted) => return Some(Ending::Interrupted),
            Some(Input::TooLong) => {
                let message = "that line is too long; send a file instead".to_owned();
                self.app.complain(ErrorCode::TooLarge.as_str(), message);
            }
            Some(Input::Line(line)) => match parse(&line) {
                Ok(Slash::Quit) => return Some(Ending::Quit),
                Ok(Slash::Send(who, file)) => self.transfer(move |app| async move {
                    send(&app.peer, &who, Path::new(&file)).await
                }),
                Ok(Slash::Get(owners, wanted)) => self.transfer(move |app| async move {
                    match (owners.as_slice(), wanted) {
                        ([who], Wanted::Path(path)) if is_directory(&path) => {
                            get_directory(&app.peer, who, &path, (None, app.existing)).await
                        }
                        (owners, wanted) => {
                            get(&app.peer, (owners, wanted), None, app.existing).await
                        }
                    }
                }),
                Ok(Slash::Play(piece)) => self.play(&piece),
                Ok(slash) => {
                    let app = Arc::clone(&self.app);
                    self.running = Some(Box::pin(async move { app.execute(slash).await }));
                }
                Err(advice) => self.app.complain("usage", advice),
            },
        }
        None
    }

    /// Plays beside the commands.
    fn play(&mut self, piece: &Piece) {
        let begun = self.app.stage().play(std::slice::from_ref(piece), Some(&self.app.peer));
        match begun {
            Ok(Some(news)) => {
                self.transfer(move |app| async move { show(news, &app.output).await });
            }
            Ok(None) => {}
            Err(failure) => self.app.output.show(&(&failure).into()),
        }
    }

    /// Starts a transfer beside the commands.
    fn transfer<F>(&mut self, work: impl FnOnce(Arc<App>) -> F)
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        if self.transfers.len() >= TRANSFERS_MAX {
            let message = format!("{TRANSFERS_MAX} files wait already; wait for one to arrive");
            return self.app.complain(ErrorCode::Quota.as_str(), message);
        }
        let app = Arc::clone(&self.app);
        let work = work(Arc::clone(&app));
        self.transfers.spawn(async move {
            // People are told by the transfer's own last line.
            if let Err(failure) = work.await
                && app.output.is_json()
            {
                app.output.show(&(&failure).into());
            }
        });
    }
}

impl App {
    fn talks(&self) -> MutexGuard<'_, Talks> {
        self.talks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn book(&self) -> MutexGuard<'_, CallBook> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complain(&self, code: &str, message: String) {
        self.output.show(&Line::Error { code: code.to_owned(), message });
    }

    fn on_event(&self, event: &Event) {
        match event {
            Event::Conversation(news) => {
                self.talks().on_news(news);
                self.book().on_conversation(news);
            }
            Event::Call(update) => self.book().on_call(update),
            Event::Audio(update) => return self.on_audio(update),
            Event::Message(message) => learn(&self.names, message.from.as_str()),
            Event::Presence(presence) => learn(&self.names, presence.user.name.as_str()),
            Event::Receipt(_)
            | Event::Group(_)
            | Event::Settings(_)
            | Event::Announcement(_)
            | Event::File(_)
            | Event::Tree(_)
            | Event::Path(_)
            | Event::Warning(_)
            | Event::Closing(_)
            | Event::Reconnecting(_)
            | Event::Reconnected(_)
            | Event::Closed(_) => {}
        }
        // People hear from receipts only when they ask; the sender was told `stored` already.
        let quiet = matches!(event, Event::Receipt(_) | Event::Path(_));
        if self.output.is_json() || !quiet {
            self.output.show(&self.line(event));
        }
        match event {
            Event::Conversation(news) => self.advise(news),
            Event::Call(update) => self.answer(update),
            _ => {}
        }
    }

    fn line(&self, event: &Event) -> Line {
        let us = self.peer.name();
        match event {
            Event::Message(message) if message.from == *us => match &message.to {
                Recipient::User(to) if to == us => event.into(),
                Recipient::User(_) | Recipient::Group(_) => Line::own(message),
                Recipient::All | Recipient::Others => event.into(),
            },
            _ => event.into(),
        }
    }

    /// Programs are told every second how a call sounds, people now and then.
    fn on_audio(&self, update: &AudioUpdate) {
        let is_due = self.book().is_due(update);
        if self.output.is_json() || is_due {
            self.output.show(&Line::from(update));
        }
    }

    /// Takes the calls of those who are always answered.
    fn answer(&self, update: &CallUpdate) {
        let rings = update.phase == CallPhase::Ringing
            && update.direction == CallDirection::Incoming
            && self.answer.answers(&update.with);
        if rings && let Err(error) = self.peer.accept_call(update.id, self.media()) {
            tracing::debug!(%error, "the call is over already");
        }
    }

    /// What a person may want to know when a conversation ends and others go on.
    fn advise(&self, news: &Conversation) {
        let talks = self.talks();
        if talks.current().is_none()
            && let Some(other) = talks.others().last()
            && news.state != ConversationState::Requested
        {
            self.output.note(&format!("* /switch {other} goes on with {other}"));
        }
    }

    async fn execute(&self, slash: Slash) -> Result<(), Failure> {
        match slash {
            Slash::Help => self.output.show(&Line::help()),
            Slash::List(order) => self.list(&order).await?,
            Slash::Whois(who) => self.output.show(&Line::whois(&self.peer.whois(&who).await?)),
            Slash::Resume => self.stage().resume()?,
            Slash::Pause => self.stage().pause()?,
            Slash::Seek(to) => self.stage().seek(to)?,
            Slash::Next => self.stage().next()?,
            Slash::Stop => self.stage().stop()?,
            Slash::Away(words) => self.peer.set_away(words).await?,
            Slash::Chat(who) => self.chat(who).await?,
            Slash::Accept(who) => self.accept(who).await?,
            Slash::Deny(who, words) => self.deny(who, words).await?,
            Slash::End(who) => self.end(who).await?,
            Slash::Switch(who) => self.switch(who)?,
            Slash::Set(change) => {
                self.output.show(&Line::settings(self.peer.change_settings(change).await?));
            }
            Slash::Mailbox => self.output.show(&Line::mailbox(&waiting(&self.peer).await?)),
            Slash::ClearMailbox => {
                self.peer.clear_mailbox().await?;
                self.output.show(&Line::mailbox(&[]));
            }
            Slash::Seen(ids) => self.peer.receipts(ids, ReceiptState::Seen).await?,
            Slash::Message(to, text) => self.mail.say(to, text).await?,
            Slash::Echo(text) => echo(&self.peer, text, &self.output).await?,
            Slash::Share(directory) => self.share(directory).await?,
            Slash::Files(who) => self.files(&who).await?,
            Slash::AcceptFile(id) => self.peer.accept_file(TransferId(id))?,
            Slash::DenyFile(id) => self.peer.deny_file(TransferId(id), "not wanted")?,
            Slash::Call(who) => self.call(&who)?,
            Slash::HangUp(who) => {
                let id = self.book().current(who.as_ref())?;
                self.peer.hang_up(id, None)?;
            }
            Slash::Stream(order) => self.stream(order).await?,
            Slash::Mute(on) => {
                let id = self.book().current(None)?;
                self.peer.mute(id, on)?;
            }
            Slash::Hold(on) => {
                let id = self.book().current(None)?;
                self.peer.hold(id, on)?;
            }
            Slash::AcceptFiles(changes) => {
                changes.iter().for_each(|changes| self.peer.change_file_rules(changes));
                self.output.show(&Line::rules(&self.peer.file_rules()));
            }
            Slash::Transfers => self.output.show(&Line::transfers(&self.peer.transfers())),
            Slash::PauseFile(id) => self.peer.pause_file(TransferId(id)).await?,
            Slash::ResumeFile(id) => self.peer.resume_file(TransferId(id)).await?,
            Slash::CancelFile(id) => self.peer.cancel_file(TransferId(id)).await?,
            Slash::Group(order) => self.group(order).await?,
            Slash::History(with, count) => {
                let page = self.peer.history(with.clone(), None, count).await?;
                self.output.show(&Line::history(&with, &page));
            }
            Slash::Status => self.status().await?,
            Slash::Path(who) => self.path(&who),
            Slash::Say(text) => self.say_here(text).await?,
            // The loop has taken these.
            Slash::Send(..) | Slash::Get(..) | Slash::Play(_) | Slash::Quit | Slash::Nothing => {}
        }
        Ok(())
    }

    async fn list(&self, order: &ListOrder) -> Result<(), Failure> {
        let users = self.peer.users(order.question()).await?;
        users.iter().for_each(|user| learn(&self.names, user.name.as_str()));
        self.output.show(&listed(&self.peer, &users).await?);
        Ok(())
    }

    async fn chat(&self, who: Name) -> Result<(), Failure> {
        self.check_key(&who).await?;
        match self.peer.converse(&who).await {
            Ok(requested) => {
                let seconds = requested.expires_ms / 1000;
                self.output.note(&format!("* asked {who}, who has {seconds} s to answer"));
                self.talks().note_asked(&who);
                Ok(())
            }
            // The same news, whichever way the server tells it.
            Err(RequestError::Refused(body)) if body.code == ErrorCode::Busy => {
                let (state, reason) = (ConversationState::Busy, None);
                let news = Conversation { with: who, state, reason, elsewhere: false };
                self.on_event(&Event::Conversation(news));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn streamed(&self) -> MutexGuard<'_, Option<Arc<crate::Stage>>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plays to others, or changes what is played.
    async fn stream(&self, order: StreamOrder) -> Result<(), Failure> {
        if let StreamOrder::Play { who, file } = order {
            let stage = Arc::new(stream::open(file).await?);
            *self.streamed() = Some(Arc::clone(&stage));
            return self.invite(&who, &stage);
        }
        let stage = self.streamed().clone();
        let stage = stage.ok_or_else(|| Failure::usage("nothing is played to others"))?;
        match order {
            StreamOrder::Invite(who) => self.invite(&who, &stage)?,
            StreamOrder::Pause(on) => stage.pause(on).await,
            StreamOrder::Seek(to) => stage.seek(to).await,
            StreamOrder::Stop => *self.streamed() = None,
            StreamOrder::Play { .. } => {}
        }
        Ok(())
    }

    fn invite(&self, who: &[Name], stage: &crate::Stage) -> Result<(), Failure> {
        who.iter().try_for_each(|who| Ok(self.peer.invite_to_listen(who, stage).map(drop)?))
    }

    fn media(&self) -> CallMedia {
        let (source, sink) = &self.sound;
        CallMedia::words(source, sink)
    }

    /// Calls `who`, or takes the call if `who` calls.
    fn call(&self, who: &Name) -> Result<(), Failure> {
        let rings = self.book().asked(Some(who));
        match rings {
            Some(id) => Ok(self.peer.accept_call(id, self.media())?),
            None => Ok(self.peer.call(who, self.media()).map(drop)?),
        }
    }

    async fn accept(&self, who: Option<Name>) -> Result<(), Failure> {
        let call = self.book().asked(who.as_ref());
        if let Some(id) = call {
            return Ok(self.peer.accept_call(id, self.media())?);
        }
        let who = who.or_else(|| self.talks().asking().cloned());
        let who = who.ok_or_else(|| Failure::usage("nobody calls or asks for a conversation"))?;
        self.check_key(&who).await?;
        Ok(self.peer.accept(&who).await?)
    }

    /// Where there is no server, somebody else may have the name.
    async fn check_key(&self, who: &Name) -> Result<(), Failure> {
        match self.peer.scope() {
            NameScope::Server => Ok(()),
            NameScope::Lan => Ok(self.peer.check_key(who).await.map(drop)?),
        }
    }

    async fn deny(&self, who: Option<Name>, words: Option<String>) -> Result<(), Failure> {
        let call = self.book().asked(who.as_ref());
        if let Some(id) = call {
            return Ok(self.peer.deny_call(id, &words.unwrap_or_default())?);
        }
        let who = who.or_else(|| self.talks().asking().cloned());
        let who = who.ok_or_else(|| Failure::usage("nobody calls or asks for a conversation"))?;
        self.peer.deny(&who, words).await?;
        self.talks().forget(&who);
        Ok(())
    }

    async fn end(&self, who: Option<Name>) -> Result<(), Failure> {
        let who = who.or_else(|| self.talks().to_end().cloned());
        let who = who.ok_or_else(|| Failure::usage("there is no conversation to end"))?;
        self.peer.end(&who).await?;
        self.talks().forget(&who);
        Ok(())
    }

    async fn say_here(&self, text: String) -> Result<(), Failure> {
        let (current, others) = {
            let talks = self.talks();
            (talks.current().cloned(), talks.others().len())
        };
        let advice = match others {
            0 => "you are in no conversation: /chat WHO asks for one, /msg WHO TEXT needs none",
            _ => "say with whom to go on: /switch WHO",
        };
        let who = current.ok_or_else(|| Failure::usage(advice))?;
        if others > 0 {
            self.output.note(&format!("* to {who}:"));
        }
        self.mail.say(Recipient::User(who), text).await
    }

    fn switch(&self, who: Option<Name>) -> Result<(), Failure> {
        let mut talks = self.talks();
        if let Some(who) = who
            && !talks.switch(&who)
        {
            return Err(Failure::usage(format!("you are not talking with {who}")));
        }
        let with = talks.current().map(ToString::to_string);
        let others = talks.others().iter().map(ToString::to_string).collect();
        self.output.show(&Line::Talking { with, others });
        Ok(())
    }

    async fn group(&self, order: GroupOrder) -> Result<(), Failure> {
        let peer = &self.peer;
        match order {
            GroupOrder::List => self.output.show(&Line::groups(&peer.groups().await?)),
            GroupOrder::Members(group) => {
                let members = peer.group_members(&group).await?;
                self.output.show(&Line::members(&group, &members));
            }
            GroupOrder::Create(group, history) => {
                peer.create_group(&group, history).await?;
                self.output.show(&Line::groups(&peer.groups().await?));
            }
            GroupOrder::Invite(group, who) => peer.invite_to_group(&group, &who).await?,
            GroupOrder::Join(group) => peer.join_group(&group).await?,
            GroupOrder::Leave(group) => peer.leave_group(&group).await?,
            GroupOrder::Remove(group, who) => peer.remove_from_group(&group, &who).await?,
            GroupOrder::Role(group, who, role) => peer.set_role(&group, &who, role).await?,
            GroupOrder::Rename(group, to) => peer.rename_group(&group, &to).await?,
        }
        Ok(())
    }

    async fn share(&self, directory: Option<String>) -> Result<(), Failure> {
        self.peer.share(directory.as_deref().map(Path::new)).await?;
        let path = self.peer.shared().map(|path| path.display().to_string());
        self.output.show(&Line::Share { path });
        Ok(())
    }

    async fn files(&self, who: &Name) -> Result<(), Failure> {
        let files = self.peer.files(who).await?;
        self.output.show(&Line::files(who.as_str(), &files));
        Ok(())
    }

    fn path(&self, who: &Name) {
        let traffic = self.peer.path_stats(who).map(|stats| (&stats).into());
        let path = PathLine { traffic, ..(&self.peer.path(who)).into() };
        self.output.show(&Line::Path(path));
    }

    async fn status(&self) -> Result<(), Failure> {
        let server = self.peer.server_info().await?;
        let conversation = self.talks().current().map(ToString::to_string);
        let status = Status::new(&self.peer, &server, conversation);
        self.output.show(&Line::Status(Box::new(status)));
        Ok(())
    }
}
