//! What holds for this run: command line over environment over configuration file.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use directories::{ProjectDirs, UserDirs};
use portolan_identity::{Identity, PeerId};
use portolan_protocol::{DeviceId, Name};
use portolan_transport::{Shared, Transport};
use serde::Deserialize;

use super::{
    address::ServerAddress, args::Options, calls::AnswerRule, device::Slot, exit::Failure,
    password::Source, text::parse_size, watch::shared,
};
use crate::{
    Existing, FileRule, FileRules, Keep, PathRule, Reconnect, RouterRule, RuleChanges, Stack,
};

/// Bytes of a configuration file that are read.
const CONFIG_MAX: u64 = 64 << 10;

/// What holds for this run.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// `None`, or the word `lan`: whoever is on this network.
    pub(crate) server: Option<ServerAddress>,
    /// Never to host a network where nobody does.
    pub(crate) no_host: bool,
    pub(crate) transport: Choice,
    pub(crate) name: Option<String>,
    pub(crate) trust: Trust,
    /// What proves that the name is ours, if our key does not.
    pub(crate) password: Option<Source>,
    /// Whether this run stands beside others of its name, and as which device.
    pub(crate) standing: Standing,
    pub(crate) data: PathBuf,
    pub(crate) share: Option<PathBuf>,
    pub(crate) downloads: PathBuf,
    pub(crate) accept_files: Option<FileRule>,
    /// Rules of single users, and bounds.
    pub(crate) file_rules: FileRules,
    pub(crate) answer: Option<AnswerRule>,
    /// What others hear of us in a call.
    pub(crate) source: String,
    /// Where sound goes.
    pub(crate) sink: String,
    /// Our own transfers at once; `None`: as many as the library says.
    pub(crate) at_once: Option<u16>,
    pub(crate) existing: Existing,
    pub(crate) keep: Keep,
    /// What happens when the connection is lost; commands that do one thing end with it.
    pub(crate) reconnect: Reconnect,
    /// Which ways to other peers are used.
    pub(crate) paths: PathRule,
    /// Whether the router is asked for a port.
    pub(crate) router: RouterRule,
    pub(crate) output: Format,
    /// What the endpoints of this run share, the switch of qlog among it.
    pub(crate) shared: Shared,
}

/// Which transport is used.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Choice {
    /// The first of the table that gets through.
    Auto,
    /// This one.
    One(&'static dyn Transport),
}

/// What makes us trust a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trust {
    /// It has this key.
    pub(crate) pinned: Option<PeerId>,
    /// Whether a first meeting is enough; a person is asked otherwise.
    pub(crate) first_meeting: FirstMeeting,
}

/// What happens when a server is met for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstMeeting {
    /// Its key is remembered.
    Accept,
    /// A person decides, if one is there.
    Ask,
}

/// What becomes of the other sessions of the name.
#[derive(Debug, Clone)]
pub(crate) enum Standing {
    /// They are replaced.
    Alone,
    /// They stay.
    Beside,
    /// They stay, and this is the device that we are.
    Device(Arc<Slot>),
}

/// For whom the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Human,
    Json,
}

/// The configuration file; every field may be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    server: Option<String>,
    transport: Option<String>,
    name: Option<String>,
    server_key: Option<String>,
    accept_new: Option<bool>,
    data: Option<PathBuf>,
    share: Option<PathBuf>,
    downloads: Option<PathBuf>,
    accept_files: Option<String>,
    accept_max: Option<String>,
    downloads_max: Option<String>,
    answer: Option<String>,
    source: Option<String>,
    sink: Option<String>,
    at_once: Option<u16>,
    overwrite: Option<bool>,
    keep_times: Option<bool>,
    keep_modes: Option<bool>,
    no_reconnect: Option<bool>,
    no_host: Option<bool>,
    paths: Option<String>,
    no_port_mapping: Option<bool>,
    beside: Option<bool>,
    qlog: Option<PathBuf>,
}

impl Settings {
    /// Puts command line, environment and configuration file together.
    ///
    /// # Errors
    /// [`Failure`] with exit code 2 says which value is wrong and what it may be.
    pub(crate) fn new(options: &Options, stack: &Stack) -> Result<Self, Failure> {
        let file = read_config(options.config.as_deref())?;
        let server = options.server.as_ref().or(file.server.as_ref());
        let server: Option<ServerAddress> =
            server.map(|text| text.parse()).transpose().map_err(usage)?;
        let transport = options.transport.as_ref().or(file.transport.as_ref());
        let transport = choose(transport.map(String::as_str), server.as_ref(), stack)?;
        let pinned = options.server_key.as_ref().or(file.server_key.as_ref());
        let pinned: Option<PeerId> = pinned.map(|text| text.parse()).transpose().map_err(usage)?;
        let accept_new = options.accept_new || file.accept_new.unwrap_or(false);
        let first_meeting = if accept_new { FirstMeeting::Accept } else { FirstMeeting::Ask };
        let rule = options.accept_files.as_ref().or(file.accept_files.as_ref());
        let changes = rule.map(|text| text.parse::<RuleChanges>()).transpose();
        let changes = changes.map_err(Failure::usage)?.unwrap_or_default();
        let accept_files = changes.default;
        let mut file_rules = FileRules::default();
        changes.apply(&mut file_rules);
        let bound = |option: &Option<String>, file: &Option<String>| {
            let text = option.as_ref().or(file.as_ref());
            text.map(|text| parse_size(text)).transpose().map_err(Failure::usage)
        };
        file_rules.file_max = bound(&options.accept_max, &file.accept_max)?;
        file_rules.total_max = bound(&options.downloads_max, &file.downloads_max)?;
        let answer = options.answer.as_ref().or(file.answer.as_ref());
        let answer =
            answer.map(|text| text.parse::<AnswerRule>()).transpose().map_err(Failure::usage)?;
        let overwrite = options.overwrite || file.overwrite.unwrap_or(false);
        let keep = Keep {
            times: options.keep_times || file.keep_times.unwrap_or(false),
            modes: options.keep_modes || file.keep_modes.unwrap_or(false),
        };
        let is_beside = options.beside || file.beside.unwrap_or(false);
        let no_mapping = options.no_port_mapping || file.no_port_mapping.unwrap_or(false);
        let is_final = options.no_reconnect || file.no_reconnect.unwrap_or(false);
        Ok(Self {
            server,
            no_host: options.no_host || file.no_host.unwrap_or(false),
            transport,
            name: options.as_name.clone().or(file.name),
            trust: Trust { pinned, first_meeting },
            password: Source::new(options.password_file.clone(), options.ask_password),
            standing: if is_beside { Standing::Beside } else { Standing::Alone },
            data: options.data.clone().or(file.data).map_or_else(default_data, Ok)?,
            share: options.share.clone().or(file.share),
            downloads: options.downloads.clone().or(file.downloads).unwrap_or_else(downloads),
            accept_files,
            file_rules,
            answer,
            source: options.source.clone().or(file.source).unwrap_or_else(device),
            sink: options.sink.clone().or(file.sink).unwrap_or_else(device),
            at_once: options.at_once.or(file.at_once),
            existing: if overwrite { Existing::Replace } else { Existing::Keep },
            keep,
            reconnect: if is_final { Reconnect::Never } else { Reconnect::default() },
            paths: path_rule(options, file.paths.as_deref())?,
            router: if no_mapping { RouterRule::Never } else { RouterRule::Default },
            output: if options.json { Format::Json } else { Format::Human },
            shared: shared(options.qlog.as_deref().or(file.qlog.as_deref()))?,
        })
    }

    /// The name of this run, checked.
    pub(crate) fn name(&self) -> Result<Name, Failure> {
        let text = self
            .name
            .as_deref()
            .ok_or_else(|| Failure::usage("who are you? use --as NAME, or PORTOLAN_NAME"))?;
        Name::new(text).map_err(usage)
    }

    /// The key of `name`, made at first use.
    pub(crate) fn identity(&self, name: &Name) -> Result<Identity, Failure> {
        Ok(Identity::load_or_create(&self.data.join(format!("{}.key", name.key())))?)
    }

    /// Takes a device of this machine that no other run has, if this run is to be one.
    pub(crate) fn take_device(&mut self) -> Result<(), Failure> {
        if let Standing::Beside = self.standing {
            let slot = Slot::take(&self.data, &self.name()?)?;
            self.standing = Standing::Device(Arc::new(slot));
        }
        Ok(())
    }

    pub(crate) fn device(&self) -> Option<DeviceId> {
        match &self.standing {
            Standing::Device(slot) => Some(slot.id()),
            Standing::Alone | Standing::Beside => None,
        }
    }

    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.data.join("known_hosts")
    }

    pub(crate) fn known_peers(&self) -> PathBuf {
        self.data.join("known_peers")
    }

    pub(crate) fn networks(&self) -> PathBuf {
        self.data.join("networks")
    }

    pub(crate) fn history(&self) -> PathBuf {
        self.data.join("history")
    }
}

/// The word of a microphone, and of a loudspeaker.
fn device() -> String {
    "device".to_owned()
}

/// Which ways to other peers are used: an option counts more than the file.
fn path_rule(options: &Options, written: Option<&str>) -> Result<PathRule, Failure> {
    match (options.direct_only, options.relay_only, options.lan_only) {
        (true, ..) => Ok(PathRule::DirectOnly),
        (_, true, _) => Ok(PathRule::RelayOnly),
        (.., true) => Ok(PathRule::LanOnly),
        (false, false, false) => written
            .unwrap_or("any")
            .parse()
            .map_err(|error| Failure::usage(format!("paths: {error}"))),
    }
}

fn usage<E: std::fmt::Display>(error: E) -> Failure {
    Failure::usage(format!("{error}"))
}

/// The transport that is named, by option or in the address; both must agree.
fn choose(
    option: Option<&str>,
    server: Option<&ServerAddress>,
    stack: &Stack,
) -> Result<Choice, Failure> {
    let scheme = server.and_then(|server| server.scheme.as_deref());
    let word = match (option, scheme) {
        (Some(option), Some(scheme)) if option != scheme && option != "auto" => {
            let message = format!("--transport {option} and {scheme}:// contradict each other");
            return Err(Failure::usage(message));
        }
        (_, Some(scheme)) => scheme,
        (Some(option), None) => option,
        (None, None) => "auto",
    };
    check_transport(word, stack, "auto")?;
    Ok(stack.transport(word).map_or(Choice::Auto, Choice::One))
}

/// Checks a transport's word; `besides` is the word that means more than one.
pub(crate) fn check_transport(word: &str, stack: &Stack, besides: &str) -> Result<(), Failure> {
    if word == besides || stack.transport(word).is_some() {
        return Ok(());
    }
    let mut words: Vec<&str> = stack.transports.iter().map(|one| one.scheme()).collect();
    words.push(besides);
    let words = words.join(", ");
    Err(Failure::usage(format!("there is no transport {word:?}; there are {words}")))
}

fn read_config(path: Option<&Path>) -> Result<ConfigFile, Failure> {
    let (path, asked_for) = match (path, project()) {
        (Some(path), _) => (path.to_owned(), true),
        (None, Some(project)) => (project.config_dir().join("peer.toml"), false),
        (None, None) => return Ok(ConfigFile::default()),
    };
    let shown = path.display();
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !asked_for => {
            return Ok(ConfigFile::default());
        }
        Ok(metadata) if metadata.len() > CONFIG_MAX => {
            return Err(Failure::usage(format!("{shown} is longer than {CONFIG_MAX} bytes")));
        }
        Ok(_) | Err(_) => {}
    }
    let text = fs::read_to_string(&path).map_err(|error| {
        Failure::usage(format!("cannot read the configuration {shown}: {error}"))
    })?;
    toml::from_str(&text).map_err(|error| Failure::usage(format!("{shown}: {error}")))
}

fn default_data() -> Result<PathBuf, Failure> {
    match project() {
        Some(project) => Ok(project.data_dir().to_owned()),
        None => Err(Failure::usage("there is no home directory for keys; use --data DIR")),
    }
}

fn project() -> Option<ProjectDirs> {
    ProjectDirs::from("", "", "portolan")
}

fn downloads() -> PathBuf {
    let user = UserDirs::new();
    let downloads = user.as_ref().and_then(UserDirs::download_dir);
    downloads.unwrap_or(Path::new(".")).to_owned()
}
