//! The handle on a session, and how it is made.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use portolan_identity::{KnownHostsError, PeerId};
use portolan_protocol::{
    Accept, AskServerInfo, ChangeSettings, ClearMailbox, Command, Converse, Deny, Echo, End,
    FileInfo, FileList, Hash, Heartbeat, List, Listen, LoggedIn, Logout, Lookup, Mailbox,
    MessageId, Messages, Name, Password, ReceiptState, Receipts, Recipient, Reply, Requested, Send,
    Sent, ServerInfo, SetAway, SetPassword, Settings, Table, UserInfo, Users, Welcome, Whom,
};
use portolan_transport::{CloseCode, ConnectionStats};
use tokio::{sync::mpsc, task::spawn_blocking, time::timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    CallError, CallId, CallMedia, CallWatch, Config, ConnectError, Events, Existing, Familiarity,
    FileError, FileRules, FileUpdate, NameScope, PathInfo, Place, ReachError, RemoteAudio,
    RequestError, RuleChanges, SessionEnd, ShareError, Stage, Stop, Switch, TransferId,
    TreeSummary, Wanted, Way,
    calls::Part,
    dial::{Connected, dial},
    files::{Order, Share},
    remote::{
        Decision, GatherRequest, GetRequest, Host, Introducer, KnownPeers, Ports, Sessions,
        TreeRequest, all_files, files_page, gather, get, get_tree, offer, offer_tree,
    },
    session::{Established, Link, Requests, Supervisor, SupervisorParts, log_in},
};

/// Characters of a title that are told.
const TITLE_MAX: usize = 200;

/// A connection to a server that has proved its key, before anything was said on it.
///
/// For callers who decide about the key themselves; the others use [`Peer::connect`].
#[derive(Debug)]
pub struct Dialed {
    config: Config,
    connected: Connected,
    way: usize,
}

impl Dialed {
    /// Connects to the server of `config`. Cancel safe: the attempt is abandoned.
    ///
    /// # Errors
    /// [`ConnectError::Bind`] and [`ConnectError::Transport`].
    pub async fn connect(config: Config) -> Result<Self, ConnectError> {
        let ways = config.ways();
        Self::connect_by(config, &ways).await
    }

    /// The same by some of its ways; at least one.
    pub(crate) async fn connect_by(config: Config, ways: &[Way]) -> Result<Self, ConnectError> {
        let (way, connected) = dial(&config, ways).await?;
        Ok(Self { config, connected, way })
    }

    /// The way that got through, by its place.
    pub(crate) fn way(&self) -> usize {
        self.way
    }

    /// The key that the server has proved.
    #[must_use]
    pub fn server_id(&self) -> PeerId {
        self.connected.connection.remote_id()
    }

    /// Logs in. Not cancel safe: a dropped call closes the connection.
    ///
    /// # Errors
    /// [`ConnectError`]; the server's refusal says what to do.
    pub async fn login(self) -> Result<(Peer, Events), ConnectError> {
        let Self { config, connected, .. } = self;
        let (events_in, events) = mpsc::channel(config.limits.events.max(1));
        let host = {
            let (config, events) = (config.clone(), events_in.clone());
            let task = spawn_blocking(move || Host::new(&config, events)).await;
            Arc::new(task.expect("opening what is shared does not panic")?)
        };
        let (control, welcome, logged_in) = log_in(&connected.connection, &config).await?;
        let name = logged_in.name.clone();
        let link = Arc::new(Link::new(Arc::new(Established { connected, welcome, logged_in })));
        let (asks_in, asks) = mpsc::channel(config.limits.requests.max(1));
        let end = Arc::new(OnceLock::new());
        let requests = Requests::new(asks_in, Arc::clone(&end), config.timing);
        let introducer = introducer(&config, &name, &link, requests.clone());
        let sessions = Sessions::new(introducer, host);
        let leaving = CancellationToken::new();
        let supervisor = Supervisor::new(SupervisorParts {
            config: config.clone(),
            asks,
            events: events_in,
            end,
            link: Arc::clone(&link),
            sessions: Arc::clone(&sessions),
            leaving: leaving.clone(),
        });
        let session = AbortOnDropHandle::new(tokio::spawn(supervisor.run(control)));
        let inner = Inner { config, name, requests, sessions, link, leaving, _session: session };
        Ok((Peer(Arc::new(inner)), Events::new(events)))
    }
}

fn introducer(config: &Config, name: &Name, link: &Arc<Link>, requests: Requests) -> Introducer {
    let server = link.current().connected.connection.remote_id();
    Introducer {
        name: name.clone(),
        identity: config.identity.clone(),
        link: Arc::clone(link),
        tunnel: config.tunnel,
        requests,
        known: KnownPeers::new(config.known_peers.clone(), config.scope, server),
        streams: config.limits.streams,
        request_timeout: config.timing.request,
        ports: Arc::new(Ports::new(config)),
        vouched: Arc::default(),
    }
}

/// A session with a server, and through it with other peers. Clones are the same session; it ends
/// with [`Peer::logout`] or when the last clone is dropped.
///
/// The session outlives its connection: when that is lost, another one is made as
/// [`Config::reconnect`] says, by any of the configured ways. Requests without an answer are asked
/// again, new ones wait; messages come once and are sent once.
///
/// Requests may be made from many tasks at once; each waits for its own answer, at most twice
/// [`Timing::request`](crate::Timing::request). All of them are cancel safe in the sense that the
/// session goes on; a request that was dropped may have been carried out.
#[derive(Debug, Clone)]
pub struct Peer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    name: Name,
    requests: Requests,
    sessions: Arc<Sessions>,
    link: Arc<Link>,
    leaving: CancellationToken,
    _session: AbortOnDropHandle<()>,
}

impl Drop for Inner {
    /// Work for other peers may hold the sessions, and they it: so they are ended by name.
    fn drop(&mut self) {
        self.sessions.end();
    }
}

/// Asks and takes the one reply that fits.
macro_rules! ask {
    ($peer:expr, $command:expr, $reply:ident) => {
        match $peer.ask($command.into()).await? {
            Reply::$reply(body) => Ok(body),
            other => Err(RequestError::Unexpected(other.kind())),
        }
    };
}

pub(crate) use ask;

impl Peer {
    /// Connects to the server of `config` and logs in. Cancel safe: the attempt is abandoned.
    ///
    /// # Errors
    /// [`ConnectError`] says which of address, key, name and time stood in the way.
    pub async fn connect(config: Config) -> Result<(Self, Events), ConnectError> {
        Dialed::connect(config).await?.login().await
    }

    /// The name that we have, as the directory writes it.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// Our key.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.0.config.identity.id()
    }

    /// Where the names of users mean something.
    #[must_use]
    pub fn scope(&self) -> NameScope {
        self.0.config.scope
    }

    /// The server's key.
    #[must_use]
    pub fn server_id(&self) -> PeerId {
        self.0.link.current().connected.connection.remote_id()
    }

    /// The server's address on the connection of this moment.
    #[must_use]
    pub fn server_addr(&self) -> SocketAddr {
        self.0.link.current().connected.connection.remote_addr()
    }

    /// The transport of this moment.
    #[must_use]
    pub fn transport(&self) -> &'static str {
        self.0.link.current().connected.way.transport.scheme()
    }

    /// What the server said in answer to our last hello.
    #[must_use]
    pub fn welcome(&self) -> Welcome {
        self.0.link.current().welcome.clone()
    }

    /// What the server said in answer to our last login.
    #[must_use]
    pub fn logged_in(&self) -> LoggedIn {
        self.0.link.current().logged_in.clone()
    }

    /// Counters of the connection of this moment to the server.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        self.0.link.current().connected.connection.stats()
    }

    /// Waits until the session is over. Cancel safe.
    pub async fn closed(&self) -> SessionEnd {
        self.0.requests.closed().await
    }

    /// One page of the users who are there.
    ///
    /// # Errors
    /// [`RequestError`], as for every request.
    pub async fn users_page(&self, list: List) -> Result<Users, RequestError> {
        ask!(self, list, Users)
    }

    /// All users who are there, in order of name; `transport` keeps to one registry.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn list(&self, transport: Option<&str>) -> Result<Vec<UserInfo>, RequestError> {
        self.users(List { transport: transport.map(str::to_owned), ..List::default() }).await
    }

    /// All users that `list` asks for, page after page: with [`Whom::All`] also those who are not
    /// there and whom we know.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn users(&self, list: List) -> Result<Vec<UserInfo>, RequestError> {
        let mut users: Vec<UserInfo> = Vec::new();
        let mut after = list.after.clone();
        loop {
            let page = self.users_page(List { after, ..list.clone() }).await?;
            let empty = page.users.is_empty();
            users.extend(page.users);
            if !page.more || empty {
                return Ok(users);
            }
            after = users.last().map(|user| user.name.clone());
        }
    }

    /// One user by name.
    ///
    /// # Errors
    /// [`RequestError::Refused`] when nobody has the name or the user is not there.
    pub async fn lookup(&self, who: &Name) -> Result<UserInfo, RequestError> {
        ask!(self, Lookup::online(who.clone()), User)
    }

    /// One user by name, there or not.
    ///
    /// # Errors
    /// [`RequestError::Refused`] when nobody has the name.
    pub async fn whois(&self, who: &Name) -> Result<UserInfo, RequestError> {
        ask!(self, Lookup { name: who.clone(), whom: Whom::All }, User)
    }

    /// How well the keys are known that the server names for these users, in their order.
    ///
    /// # Errors
    /// [`KnownHostsError`] when the file of known peers cannot be read.
    pub async fn familiarity(
        &self,
        users: &[UserInfo],
    ) -> Result<Vec<Familiarity>, KnownHostsError> {
        let users = users.iter().map(|user| (&user.name, user.id));
        self.0.sessions.introducer().known.judge(users).await
    }

    /// Compares the key that the server names for `who` with the one that we remember, and tells
    /// what the server says of `who`.
    ///
    /// # Errors
    /// [`ReachError::KeyChanged`] when it is another one, and [`ReachError::Request`].
    pub async fn check_key(&self, who: &Name) -> Result<UserInfo, ReachError> {
        let user = self.whois(who).await?;
        let known = &self.0.sessions.introducer().known;
        known.check(who, user.id).await.map_err(ReachError::KeyChanged)?;
        Ok(user)
    }

    /// Tells others that we are away, in these words, or that we are back.
    ///
    /// # Errors
    /// [`RequestError::Refused`] when the words are too long or it changes too often.
    pub async fn set_away(&self, words: Option<String>) -> Result<(), RequestError> {
        self.done(SetAway { text: words }.into()).await
    }

    /// Asks `who` for a conversation; what becomes of it is an event.
    ///
    /// # Errors
    /// [`RequestError::Refused`] when the user is not there or one of us is in a conversation.
    pub async fn converse(&self, who: &Name) -> Result<Requested, RequestError> {
        ask!(self, Converse { with: who.clone() }, Requested)
    }

    /// Accepts the request of `who`.
    ///
    /// # Errors
    /// [`RequestError::Refused`] when there is none any more.
    pub async fn accept(&self, who: &Name) -> Result<(), RequestError> {
        self.done(Accept { with: who.clone() }.into()).await
    }

    /// Denies the request of `who`.
    ///
    /// # Errors
    /// [`RequestError::Refused`] when there is none any more.
    pub async fn deny(&self, who: &Name, reason: Option<String>) -> Result<(), RequestError> {
        self.done(Deny { with: who.clone(), reason }.into()).await
    }

    /// Ends the conversation with `who`, or takes our request back.
    ///
    /// # Errors
    /// [`RequestError::Refused`] when there is none.
    pub async fn end(&self, who: &Name) -> Result<(), RequestError> {
        self.done(End { with: who.clone() }.into()).await
    }

    /// Sends a text. The answer says that the server has it safe; receipts say more later.
    ///
    /// # Errors
    /// [`RequestError::Refused`] when the text is too long or nobody has the name.
    pub async fn send(&self, to: Recipient, text: impl Into<String>) -> Result<Sent, RequestError> {
        ask!(self, Send { to, text: text.into(), reference: None }, Sent)
    }

    /// Lets the server send the text back.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn echo(&self, text: impl Into<String>) -> Result<String, RequestError> {
        let reply: Result<_, RequestError> = ask!(self, Echo { text: text.into() }, Echo);
        Ok(reply?.text)
    }

    /// Asks the server for a sign of life.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn heartbeat(&self) -> Result<(), RequestError> {
        let reply: Result<_, RequestError> = ask!(self, Heartbeat { nonce: 0 }, Heartbeat);
        reply.map(drop)
    }

    /// Tells the senders what became of their messages: `seen`, or all of it with
    /// [`ReceiptRule::Manual`](crate::ReceiptRule::Manual).
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn receipts(
        &self,
        ids: Vec<MessageId>,
        state: ReceiptState,
    ) -> Result<(), RequestError> {
        self.done(Receipts { ids, state }.into()).await
    }

    /// A page of what waits for us at the server.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn mailbox(&self, after: Option<MessageId>) -> Result<Messages, RequestError> {
        ask!(self, Mailbox { after, limit: None }, Messages)
    }

    /// Throws away what waits for us at the server.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn clear_mailbox(&self) -> Result<(), RequestError> {
        self.done(ClearMailbox {}.into()).await
    }

    /// Gives our name a password, by which it can be moved to a new key, or none.
    ///
    /// # Errors
    /// [`RequestError::Refused`] when it is shorter than 8 bytes or longer than 1,024.
    pub async fn set_password(&self, password: Option<Password>) -> Result<(), RequestError> {
        self.done(SetPassword { password }.into()).await
    }

    /// How the server treats our name.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn settings(&self) -> Result<Settings, RequestError> {
        self.change_settings(ChangeSettings::default()).await
    }

    /// Changes how the server treats our name, and says how it does now.
    ///
    /// # Errors
    /// [`RequestError::Refused`] when a value is out of its bounds.
    pub async fn change_settings(&self, change: ChangeSettings) -> Result<Settings, RequestError> {
        ask!(self, change, Settings)
    }

    /// What the server is and how it fares.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn server_info(&self) -> Result<ServerInfo, RequestError> {
        ask!(self, AskServerInfo {}, ServerInfo)
    }

    /// Makes any request of the protocol: for what has no method of its own here.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn ask(&self, command: Command) -> Result<Reply, RequestError> {
        self.0.requests.ask(command).await
    }

    /// Shares `directory` from now on, or nothing.
    ///
    /// # Errors
    /// [`ShareError`] when it is no readable directory; what was shared before stays shared.
    pub async fn share(&self, directory: Option<&Path>) -> Result<(), ShareError> {
        let host = self.0.sessions.host();
        let share = match directory {
            Some(path) => {
                let (path, limits) = (path.to_owned(), host.limits);
                let task = spawn_blocking(move || Share::new(&path, &limits)).await;
                Some(Arc::new(task.expect("looking at a directory does not panic")?))
            }
            None => None,
        };
        host.set_share(share);
        Ok(())
    }

    /// The directory that is shared now.
    #[must_use]
    pub fn shared(&self) -> Option<PathBuf> {
        self.0.sessions.host().share().map(|share| share.root().to_owned())
    }

    /// Everything that `who` shares, in order of path, at most
    /// [`Limits::files`](crate::Limits::files).
    ///
    /// # Errors
    /// [`FileError::Reach`] when there is no way to `who`.
    pub async fn files(&self, who: &Name) -> Result<Vec<FileInfo>, FileError> {
        all_files(&self.0.sessions, who).await
    }

    /// One page of what `who` shares, behind the path `after`.
    ///
    /// # Errors
    /// As for [`Self::files`].
    pub async fn files_page(
        &self,
        who: &Name,
        after: Option<String>,
    ) -> Result<FileList, FileError> {
        files_page(&self.0.sessions, who, after).await
    }

    /// Fetches a file that `who` shares into the directory `to` (the downloads of
    /// [`Config`] by default) and verifies it.
    ///
    /// The file appears under its name when it has arrived whole and its hash is right, not
    /// before. Cancel safe: nothing is kept.
    ///
    /// # Errors
    /// [`FileError`]; whatever it is, nothing was kept.
    pub async fn get_file(
        &self,
        who: &Name,
        path: &str,
        to: Option<&Path>,
        existing: Existing,
    ) -> Result<ReceivedFile, FileError> {
        let to = to.unwrap_or(&self.0.config.downloads).to_owned();
        let request = GetRequest { path: path.to_owned(), to, existing };
        let (path, hash) = get(&self.0.sessions, who, request).await?;
        Ok(ReceivedFile { path, hash })
    }

    /// Fetches one file from several users who share it, each of whom sends a part, into the
    /// directory `to` (the downloads of [`Config`] by default).
    ///
    /// Those who do not have it, go away or send wrong bytes are left out; the last is told by
    /// [`Event::Warning`](crate::Event::Warning). Cancel safe, as [`Self::get_file`] is.
    ///
    /// # Errors
    /// [`FileError`], as for [`Self::get_file`]; where several failed, that of the last.
    pub async fn gather_file(
        &self,
        owners: &[Name],
        wanted: Wanted,
        to: Option<&Path>,
        existing: Existing,
    ) -> Result<ReceivedFile, FileError> {
        let to = to.unwrap_or(&self.0.config.downloads).to_owned();
        let request = GatherRequest { owners: owners.to_vec(), wanted, to, existing };
        let (path, hash) = gather(&self.0.sessions, request).await?;
        Ok(ReceivedFile { path, hash })
    }

    /// A file that `who` shares, to be heard while it arrives. Nothing is asked for until it
    /// begins or is opened, and nothing of it is kept.
    ///
    /// # Panics
    /// Outside of a runtime: it arrives in a task.
    #[must_use]
    pub fn audio(&self, who: &Name, path: &str) -> RemoteAudio {
        RemoteAudio::new(Arc::clone(&self.0.sessions), who.clone(), path.to_owned())
    }

    /// Offers a file to `who`, sends it if it is wanted, and waits until `who` has verified it.
    ///
    /// Cancel safe: the other side keeps nothing.
    ///
    /// # Errors
    /// [`FileError::Refused`] with `denied` when it is not wanted, and the others.
    pub async fn send_file(&self, who: &Name, path: &Path) -> Result<SentFile, FileError> {
        let (size, hash) = offer(&self.0.sessions, who, path).await?;
        Ok(SentFile { size, hash })
    }

    /// Fetches a directory that `who` shares, or all of it with an empty path, into `place`: file
    /// by file, each of them verified. One that cannot be had stops none, and what is there
    /// already is not fetched again. Links in `place` are not followed.
    ///
    /// Cancel safe: files that have arrived stay.
    ///
    /// # Errors
    /// [`FileError`] when it ended early; the summary tells of single files.
    pub async fn get_directory(
        &self,
        who: &Name,
        path: &str,
        place: Option<Place>,
        existing: Existing,
    ) -> Result<TreeSummary, FileError> {
        let place = place.unwrap_or_else(|| Place::Under(self.0.config.downloads.clone()));
        let keep = self.0.config.keep;
        let request = TreeRequest { path: path.to_owned(), place, existing, keep };
        get_tree(&self.0.sessions, who, request).await
    }

    /// Offers a directory to `who`, who decides about it once, and lets them fetch it. Hidden
    /// files, links and what is no ordinary file are passed over.
    ///
    /// Cancel safe: files that have arrived stay with `who`.
    ///
    /// # Errors
    /// [`FileError::Refused`] with `denied` when it is not wanted, and the others when it ended
    /// early; the summary tells of single files.
    pub async fn send_directory(&self, who: &Name, path: &Path) -> Result<TreeSummary, FileError> {
        offer_tree(&self.0.sessions, who, path).await
    }

    /// Takes the offered file or directory `id`.
    ///
    /// # Errors
    /// [`FileError::NoSuchOffer`] when it does not wait (any more).
    pub fn accept_file(&self, id: TransferId) -> Result<(), FileError> {
        self.0.sessions.host().on_decision(id, Decision::Accept)
    }

    /// Refuses the offered file or directory `id`.
    ///
    /// # Errors
    /// [`FileError::NoSuchOffer`] when it does not wait (any more).
    pub fn deny_file(&self, id: TransferId, reason: &str) -> Result<(), FileError> {
        let reason = reason.to_owned();
        self.0.sessions.host().on_decision(id, Decision::Deny { reason })
    }

    /// Calls `who`, and lets `media` be heard when the call is taken. What becomes of it is told by [`Event::Call`](crate::Event::Call).
    ///
    /// # Errors
    /// [`CallError::InCall`] when there is another call.
    pub fn call(&self, who: &Name, media: CallMedia) -> Result<CallId, CallError> {
        if who == self.name() {
            return Err(CallError::Ourselves { who: who.clone() });
        }
        self.0.sessions.host().calls.call(who, Part::Talk(media), None)
    }

    /// Invites `who` to hear what `stage` plays, together with the others whom it plays to. Early
    /// or late: all hear the same at the same time.
    ///
    /// # Errors
    /// [`CallError::InCall`] when there is a call with `who`, and [`CallError::TooMany`].
    pub fn invite_to_listen(&self, who: &Name, stage: &Stage) -> Result<CallId, CallError> {
        if who == self.name() {
            return Err(CallError::Ourselves { who: who.clone() });
        }
        let duration_ms =
            stage.duration().map(|all| u64::try_from(all.as_millis()).unwrap_or(u64::MAX));
        let title = stage.title().chars().take(TITLE_MAX).collect();
        let listen = Listen { title, duration_ms };
        self.0.sessions.host().calls.call(who, Part::Host(stage.door()), Some(listen))
    }

    /// Lets wait for what becomes of the call `id`.
    ///
    /// # Errors
    /// [`CallError::NoSuchCall`] when it is over.
    pub fn watch_call(&self, id: CallId) -> Result<CallWatch, CallError> {
        self.0.sessions.host().calls.watch(id)
    }

    /// Takes the call `id`.
    ///
    /// # Errors
    /// [`CallError::NoSuchCall`] when it does not ring (any more).
    pub fn accept_call(&self, id: CallId, media: CallMedia) -> Result<(), CallError> {
        self.0.sessions.host().calls.accept(id, media)
    }

    /// Refuses the call `id`, in these words.
    ///
    /// # Errors
    /// [`CallError::NoSuchCall`] when it does not ring (any more).
    pub fn deny_call(&self, id: CallId, reason: &str) -> Result<(), CallError> {
        self.0.sessions.host().calls.deny(id, reason.to_owned())
    }

    /// Ends the call `id`, or takes it back.
    ///
    /// # Errors
    /// [`CallError::NoSuchCall`] when it is over.
    pub fn hang_up(&self, id: CallId, reason: Option<String>) -> Result<(), CallError> {
        self.0.sessions.host().calls.hang_up(id, reason)
    }

    /// Switches our microphone off in the call `id`, or on again.
    ///
    /// # Errors
    /// [`CallError::NoSuchCall`] when it is over.
    pub fn mute(&self, id: CallId, on: Switch) -> Result<(), CallError> {
        self.0.sessions.host().calls.mute(id, on)
    }

    /// Holds the call `id`, so that neither side sends, or goes on with it.
    ///
    /// # Errors
    /// [`CallError::NoSuchCall`] when it is over.
    pub fn hold(&self, id: CallId, on: Switch) -> Result<(), CallError> {
        self.0.sessions.host().calls.hold(id, on)
    }

    /// Whose offered files are taken, and how much of them.
    #[must_use]
    pub fn file_rules(&self) -> FileRules {
        self.0.sessions.host().rules()
    }

    /// Changes whose offered files are taken, from the next one on.
    pub fn change_file_rules(&self, changes: &RuleChanges) {
        self.0.sessions.host().change_rules(changes);
    }

    /// The transfers that are queued, under way or held, in order of number.
    #[must_use]
    pub fn transfers(&self) -> Vec<FileUpdate> {
        self.0.sessions.host().transfers.list()
    }

    /// Holds a transfer, whoever began it: what has arrived is kept, and the other side is told.
    ///
    /// # Errors
    /// [`FileError::NoSuchTransfer`] when it has ended.
    pub async fn pause_file(&self, id: TransferId) -> Result<(), FileError> {
        self.order(id, Order::Stop(Stop::Paused)).await
    }

    /// Lets a transfer go on that we hold: behind those that are queued, or as soon as the other
    /// side, if that began it, asks again.
    ///
    /// # Errors
    /// [`FileError::NoSuchTransfer`] when it has ended, [`FileError::Stopped`] when it is the other
    /// side that holds it.
    pub async fn resume_file(&self, id: TransferId) -> Result<(), FileError> {
        self.order(id, Order::Run).await
    }

    /// Ends a transfer, whoever began it: the other side is told, and what has arrived here is
    /// removed.
    ///
    /// # Errors
    /// [`FileError::NoSuchTransfer`] when it has ended.
    pub async fn cancel_file(&self, id: TransferId) -> Result<(), FileError> {
        self.order(id, Order::Stop(Stop::Cancelled)).await
    }

    async fn order(&self, id: TransferId, order: Order) -> Result<(), FileError> {
        self.0.sessions.host().on_order(id, order).await
    }

    /// How `who` is reached now, and why so.
    #[must_use]
    pub fn path(&self, who: &Name) -> PathInfo {
        self.0.sessions.path(who)
    }

    /// What the connection to `who` that takes what is new has carried; `None`: none is open.
    #[must_use]
    pub fn path_stats(&self, who: &Name) -> Option<ConnectionStats> {
        self.0.sessions.path_stats(who)
    }

    /// Ends the session in good order. Not cancel safe: dropped half way, the server may or may
    /// not have heard of it.
    pub async fn logout(&self) {
        // From now on no connection is made, and none is waited for.
        self.0.leaving.cancel();
        self.0.sessions.host().calls.hang_up_all().await;
        // Whatever the answer: the session is over.
        let bidding_farewell = timeout(self.0.config.timing.request, self.ask(Logout {}.into()));
        let ports = &self.0.sessions.introducer().ports;
        let _ = tokio::join!(bidding_farewell, ports.give_back());
        let connected = self.0.link.current().connected.clone();
        connected.connection.close(CloseCode::DONE, "logged out");
        connected.endpoint.close(CloseCode::DONE, "logged out").await;
    }

    pub(crate) async fn done(&self, command: Command) -> Result<(), RequestError> {
        let reply: Result<_, RequestError> = ask!(self, command, Done);
        reply.map(drop)
    }
}

/// A file that has arrived whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedFile {
    /// Where it is.
    pub path: PathBuf,
    /// BLAKE3, the same as the sender's.
    pub hash: Hash,
}

/// A file that the other side has verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentFile {
    /// Bytes.
    pub size: u64,
    /// BLAKE3, the same as the receiver's.
    pub hash: Hash,
}
