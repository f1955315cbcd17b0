//! What `lab load` can be told.

use std::{net::SocketAddr, path::PathBuf};

use portolan::PeerId;

use super::scenario;

/// `lab load`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{}\n\n{EXAMPLES}", scenario::table()))]
pub struct Options {
    /// What is done to the server; everything without this (`lab load --help` lists them)
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenarios: Vec<String>,
    /// By which transports clients come [default: tcp,udp,quic]
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub(crate) transports: Vec<String>,
    /// How many clients, instead of each scenario's own number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=60_000))]
    pub(crate) clients: Option<u32>,
    /// Bytes of a text
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(32..=65_536))]
    pub(crate) size: u32,
    /// Rounds; more make narrower intervals [default: 5; quick 3]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: Option<u32>,
    /// Seconds that each round measures [default: 2; quick 0.5]
    #[arg(long, value_parser = seconds)]
    pub(crate) window: Option<f64>,
    /// Another server's work in the same rounds, if it is installed
    #[arg(long, value_enum, value_name = "PROGRAM")]
    pub(crate) beside: Option<Beside>,
    /// Few clients and short rounds: the whole table in a minute or two
    #[arg(long)]
    pub(crate) quick: bool,
    /// Load this server instead of starting one; its limits apply, its CPU time is not seen
    #[arg(long, value_name = "ADDR", requires = "server_id")]
    pub(crate) server: Option<SocketAddr>,
    /// The key of that server, as it prints it
    #[arg(long, value_name = "KEY", requires = "server")]
    pub(crate) server_id: Option<PeerId>,
    /// Where databases are made and removed again: a directory on the disk that matters
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Threads of the load itself [default: one a core]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) threads: Option<u32>,
    /// Print the result as JSON instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

/// A server that does the same work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Beside {
    /// Eclipse Mosquitto: MQTT 3.1.1, QoS 1, persistent sessions, TLS
    Mosquitto,
}

const EXAMPLES: &str = "Examples:
  lab load --quick                               everything, with few clients
  lab load direct fanout --transports tcp        two scenarios over one transport
  lab load idle --clients 10000                  what ten thousand idle clients cost
  lab load durable --data /var/tmp               a database on the disk that matters
  lab load direct fanout --beside mosquitto      the same work by another server, as a ratio
  lab load direct --server 192.0.2.7:7275 --server-id KEY   somebody else's server, within its limits";

fn seconds(word: &str) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(value) if (0.05..=3_600.0).contains(&value) => Ok(value),
        Ok(_) | Err(_) => Err("write seconds, from 0.05 to 3600".into()),
    }
}
