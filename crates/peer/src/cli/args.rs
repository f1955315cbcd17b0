//! The command line as clap reads it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  peer demo                                  see everything at work, in one process
  peer alice --server chat.example.org       talk; /help shows the commands
  peer alice                                 talk with those on this network, no server needed
  peer alice --server udp://127.0.0.1:7275 --accept-files ask --share ~/Public
  peer list --as alice --server 127.0.0.1
  peer list --registry udp --as alice --server 127.0.0.1
  peer whois bob --as alice --server 127.0.0.1
  peer say bob 'see you at eight' --as alice --server 127.0.0.1
  peer send bob photo.jpg song.flac --as alice --server 127.0.0.1
  peer send bob photos/ --as alice --server 127.0.0.1
  peer get bob music/old/ --into ~/Music --keep-times --as alice --server 127.0.0.1
  peer get bob music/song.flac --to ~/Music --as alice --server 127.0.0.1
  peer get bob,carol film.mkv --as alice --server 127.0.0.1
  peer call bob --as alice --server 127.0.0.1
  peer call bob --source tone:440 --sink wav:bob.wav --for 10s --as alice --server 127.0.0.1
  peer play song.mp3 tone:440:2 --sink wav:both.wav
  peer decode song.mp3 --to song.wav
  echo '/msg bob hello' | peer alice --json --server 127.0.0.1

Options may also stand in the environment (PORTOLAN_SERVER, PORTOLAN_TRANSPORT, …) and in the
configuration file (server = \"chat.example.org\", …); the command line counts first.

Exit codes: 0 done, 1 failed, 2 usage, 3 unreachable, 4 refused (key, name, login), 5 integrity,
6 refused by the other user or a quota, 7 time-out, 8 some files are missing: run it again,
130 interrupted.";

/// Chats, calls, shares and sends files, over any transport.
#[derive(Debug, Parser)]
#[command(
    name = "peer",
    version,
    after_help = EXAMPLES,
    args_override_self = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Arguments {
    /// Your name: interactive, or with --json for programs
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Option<OneShot>,
}

/// What every use of the program may say.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Options {
    /// The server: host, host:port or udp://host:port; without it, or with `lan`: the one that
    /// announces itself on this network, or else whoever is there (docs/lan.md)
    #[arg(long, global = true, env = "PORTOLAN_SERVER", value_name = "HOST[:PORT]")]
    pub(crate) server: Option<String>,
    /// How to get there: tcp, udp, quic or auto (the first that gets through)
    #[arg(long, global = true, env = "PORTOLAN_TRANSPORT", value_name = "TRANSPORT")]
    pub(crate) transport: Option<String>,
    /// Your name, for the commands that do one thing
    #[arg(long = "as", global = true, env = "PORTOLAN_NAME", value_name = "NAME")]
    pub(crate) as_name: Option<String>,
    /// The key that the server must have
    #[arg(long, global = true, env = "PORTOLAN_SERVER_KEY", value_name = "KEY")]
    pub(crate) server_key: Option<String>,
    /// Trust a server met for the first time without asking, and remember its key
    #[arg(long, global = true, env = "PORTOLAN_ACCEPT_NEW")]
    pub(crate) accept_new: bool,
    /// Prove that the name is yours with the password in the first line of this file, and move it
    /// to the key of this machine
    #[arg(long, global = true, env = "PORTOLAN_PASSWORD_FILE", value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// The same with a password that is asked for
    #[arg(long, global = true)]
    pub(crate) ask_password: bool,
    /// Stand beside other sessions of your name, on this machine or elsewhere, instead of replacing
    /// them; the server keeps for each device what it misses
    #[arg(long, global = true, env = "PORTOLAN_BESIDE")]
    pub(crate) beside: bool,
    /// Where keys and known hosts are kept
    #[arg(long, global = true, env = "PORTOLAN_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Share the files of this directory, for others to list and get
    #[arg(long, global = true, env = "PORTOLAN_SHARE", value_name = "DIR")]
    pub(crate) share: Option<PathBuf>,
    /// Where received files go
    #[arg(long, global = true, env = "PORTOLAN_DOWNLOADS", value_name = "DIR")]
    pub(crate) downloads: Option<PathBuf>,
    /// What happens to files that others offer: all, none or ask, and for single users
    /// otherwise: ask,bob=all,mallory=none
    #[arg(long, global = true, env = "PORTOLAN_ACCEPT_FILES", value_name = "RULE[,WHO=RULE…]")]
    pub(crate) accept_files: Option<String>,
    /// What happens to calls of others: none, ask, all, or names that are always answered
    #[arg(long, global = true, env = "PORTOLAN_ANSWER", value_name = "RULE")]
    pub(crate) answer: Option<String>,
    /// The largest file that is taken from others: 500M, 2GiB
    #[arg(long, global = true, env = "PORTOLAN_ACCEPT_MAX", value_name = "SIZE")]
    pub(crate) accept_max: Option<String>,
    /// Take no more from others when the directory of received files would hold more than this
    #[arg(long, global = true, env = "PORTOLAN_DOWNLOADS_MAX", value_name = "SIZE")]
    pub(crate) downloads_max: Option<String>,
    /// So many of your own transfers at once; the others wait in a queue
    #[arg(long, global = true, env = "PORTOLAN_AT_ONCE", value_name = "COUNT",
          value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) at_once: Option<u16>,
    /// What others hear of you in a call: device, tone:440, wav:FILE, … (see `peer devices`)
    #[arg(long, global = true, env = "PORTOLAN_SOURCE", value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    /// Where sound goes: device, wav:FILE, pcm:- or null; `peer devices` lists them
    #[arg(long, global = true, env = "PORTOLAN_SINK", value_name = "SINK")]
    pub(crate) sink: Option<String>,
    /// Replace files that are there already
    #[arg(long, global = true, env = "PORTOLAN_OVERWRITE")]
    pub(crate) overwrite: bool,
    /// Give received files the time of their last change
    #[arg(long, global = true, env = "PORTOLAN_KEEP_TIMES")]
    pub(crate) keep_times: bool,
    /// Give received files who may read, write and execute them, as their sender has it
    #[arg(long, global = true, env = "PORTOLAN_KEEP_MODES")]
    pub(crate) keep_modes: bool,
    /// End when the connection to the server is lost, instead of coming back
    #[arg(long, global = true, env = "PORTOLAN_NO_RECONNECT")]
    pub(crate) no_reconnect: bool,
    /// Never host the network yourself where there is no server and nobody else does
    #[arg(long, global = true, env = "PORTOLAN_NO_HOST")]
    pub(crate) no_host: bool,
    /// Reach other peers directly or not at all; the server only introduces (docs/nat.md)
    #[arg(long, global = true, env = "PORTOLAN_DIRECT_ONLY")]
    pub(crate) direct_only: bool,
    /// Reach other peers through the server alone: nobody learns your address
    #[arg(long, global = true, env = "PORTOLAN_RELAY_ONLY", conflicts_with = "direct_only")]
    pub(crate) relay_only: bool,
    /// Use addresses of private networks alone, directly, and of servers likewise
    #[arg(
        long,
        global = true,
        env = "PORTOLAN_LAN_ONLY",
        conflicts_with_all = ["direct_only", "relay_only"]
    )]
    pub(crate) lan_only: bool,
    /// Do not ask the router to forward a port to us (docs/nat.md)
    #[arg(long, global = true, env = "PORTOLAN_NO_PORT_MAPPING")]
    pub(crate) no_port_mapping: bool,
    /// One JSON object a line on standard output (docs/events.md)
    #[arg(long, global = true, env = "PORTOLAN_JSON")]
    pub(crate) json: bool,
    /// The configuration file
    #[arg(long, global = true, env = "PORTOLAN_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Write what connections do into this directory, a qlog file each (docs/observing.md)
    #[arg(long, global = true, env = "QLOGDIR", value_name = "DIR")]
    pub(crate) qlog: Option<PathBuf>,
    /// Results and failures only: no progress, no notes
    #[arg(long, short, global = true, env = "PORTOLAN_QUIET")]
    pub(crate) quiet: bool,
    /// Log to standard error; PORTOLAN_LOG chooses what
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
}

/// The commands that do one thing.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum OneShot {
    /// Show who is there
    List {
        /// Also those who are not there and whom you know: you share a group, or have written to
        /// each other
        #[arg(long, conflicts_with = "registry")]
        all: bool,
        /// Only those of one transport
        #[arg(long, value_name = "TRANSPORT")]
        registry: Option<String>,
    },
    /// Show one user, there or not: key, transport, since when or when last
    Whois {
        /// Who
        who: String,
    },
    /// Tell everyone who is there, if the server gives you the right
    Broadcast {
        /// Everyone but yourself
        #[arg(long)]
        others: bool,
        /// What
        #[arg(required = true)]
        text: Vec<String>,
    },
    /// Send a message; it waits for those who are not there
    Say {
        /// To whom: a user, `all` or `others`
        who: String,
        /// What
        #[arg(required = true)]
        text: Vec<String>,
    },
    /// Offer files and directories, and send them if they are wanted
    Send {
        /// To whom
        who: String,
        /// Which; of a directory everything but hidden files, links and special files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Fetch files and directories that someone shares
    Get {
        /// From whom; with several names, and commas between them, each sends a part
        #[arg(value_name = "WHO[,WHO…]")]
        who: String,
        /// The paths, as `files` shows them; a directory ends with /, and / alone is all of it
        #[arg(required_unless_present = "hash")]
        files: Vec<String>,
        /// The file with this BLAKE3, whatever it is called
        #[arg(long, value_name = "HASH", conflicts_with = "files")]
        hash: Option<String>,
        /// Its bytes: then owners who have not hashed it lately find it too
        #[arg(long, value_name = "BYTES", requires = "hash")]
        size: Option<u64>,
        /// Where to put them, under their names; the current directory otherwise
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
        /// Put what is in a directory straight into this one
        #[arg(long, value_name = "DIR", conflicts_with = "to")]
        into: Option<PathBuf>,
    },
    /// Show what someone shares
    Files {
        /// Who
        who: String,
    },
    /// Call someone, and talk until one of you hangs up
    Call {
        /// Whom
        who: String,
        /// Hang up after so long: 10s, 2m
        #[arg(long = "for", value_name = "TIME")]
        for_time: Option<String>,
    },
    /// Play files and tones, one after the other without a gap
    Play {
        /// A file, or tone:HZ[:SECONDS] and what else `devices` lists as a source
        #[arg(required = true)]
        what: Vec<String>,
    },
    /// Decode an audio file: MP3, FLAC, Ogg, Opus, WAV or AAC
    Decode {
        /// Which
        file: PathBuf,
        /// A WAV file to be made, or a sink such as pcm:-
        #[arg(long, value_name = "FILE")]
        to: String,
    },
    /// Show what sound can come from and go to
    Devices,
    /// Play a file to several at the same time, until it ends
    Stream {
        /// To whom, with commas between
        who: String,
        /// What: an audio file, or a source such as tone:440:10
        file: String,
    },
    /// Let the server send a text back
    Echo {
        /// What
        #[arg(required = true)]
        text: Vec<String>,
    },
    /// Give your name a password, by which you can move it to a new key; asks for it, or takes the
    /// first line of --new
    Password {
        /// A file with the new password
        #[arg(long, value_name = "FILE")]
        new: Option<PathBuf>,
        /// Remove the password: the name belongs to the key alone
        #[arg(long, conflicts_with = "new")]
        remove: bool,
    },
    /// Show or change how the server treats your name: seen=on|off, last-seen=on|off,
    /// conversations=1…8
    Settings {
        /// What to change
        #[arg(value_name = "NAME=VALUE")]
        changes: Vec<String>,
    },
    /// Show the messages that wait for you at the server, or throw them away
    Mailbox {
        /// Throw them away, on every device
        #[arg(long)]
        clear: bool,
    },
    /// Show your own key, which is made at first use
    Id,
    /// Examine the network: what it does to paths between peers, what that means, and what can be
    /// done; --server names the server to ask
    Doctor,
    /// See everything at work: a server and two peers in one process, over each transport
    Demo,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Arguments, OneShot};

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_may_stand_before_and_behind_a_command_and_the_last_counts() {
        let arguments = Arguments::parse_from([
            "peer", "--data", "one", "say", "bob", "hello", "there", "--as", "alice", "--data",
            "two",
        ]);
        assert_eq!(arguments.options.as_name.as_deref(), Some("alice"));
        assert_eq!(arguments.options.data.unwrap().to_str(), Some("two"));
        let Some(OneShot::Say { who, text }) = arguments.command else { panic!("not say") };
        assert_eq!((who.as_str(), text.join(" ").as_str()), ("bob", "hello there"));

        let arguments =
            Arguments::parse_from(["peer", "alice", "--data", "one", "--json", "--data", "two"]);
        assert_eq!(arguments.name.as_deref(), Some("alice"));
        assert_eq!(arguments.options.data.unwrap().to_str(), Some("two"));
        assert!(arguments.options.json && arguments.command.is_none());
    }

    #[test]
    fn what_is_not_there_is_not_offered() {
        for word in ["doctor", "group"] {
            let arguments = Arguments::try_parse_from(["peer", word, "bob"]);
            assert!(arguments.is_err(), "{word}");
        }
    }
}
