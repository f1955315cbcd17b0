//! `lab probe discover`: who else is on the local network (mDNS, RFC 6762; DNS-SD, RFC 6763).

use std::{
    collections::{BTreeSet, HashMap},
    process::ExitCode,
    time::Duration,
};

use mdns_sd::{ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::time::{Instant, timeout_at};

use super::{Problem, cannot, say, units};

/// What we announce and look for.
const SERVICE: &str = "_portolan-lab._udp.local.";

/// The port that is announced; nothing listens there.
const PORT: u16 = 7275;

/// Names that are remembered.
const SEEN_MAX: usize = 1024;

/// `lab probe discover`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// How others see us; the name of the host otherwise
    #[arg(long, env = "PORTOLAN_LAB_HOST", default_value = "peer")]
    name: String,
    /// How long to look
    #[arg(long = "for", default_value = "5s", value_parser = units::duration, value_name = "TIME")]
    time: Duration,
    /// End with an error unless so many others were seen
    #[arg(long)]
    expect: Option<usize>,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode, Problem> {
    let daemon = ServiceDaemon::new().map_err(cannot("start multicast DNS"))?;
    let host = format!("{}.local.", options.name);
    let none: HashMap<String, String> = HashMap::new();
    let info = ServiceInfo::new(SERVICE, &options.name, &host, "", PORT, none)
        .map_err(cannot(format!("announce {:?}", options.name)))?
        .enable_addr_auto();
    let begun = Instant::now();
    daemon.register(info).map_err(cannot("announce ourselves"))?;
    let events = daemon.browse(SERVICE).map_err(cannot("look for others"))?;
    say(format_args!("{} announces itself and looks for others", options.name));

    let mut seen = BTreeSet::new();
    let end = begun + options.time;
    while let Ok(Ok(event)) = timeout_at(end, events.recv_async()).await {
        if let ServiceEvent::ServiceResolved(found) = event {
            on_found(options, &found, begun, &mut seen);
        }
    }
    conclude(options, &seen, begun);
    // Others on the network are told that we go (RFC 6762 §10.1), if there is a moment for it.
    if let Ok(stopped) = daemon.shutdown() {
        let _ = tokio::time::timeout(Duration::from_secs(1), stopped.recv_async()).await;
    }
    let enough = options.expect.is_none_or(|expected| seen.len() >= expected);
    Ok(if enough { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn on_found(
    options: &Options,
    found: &ResolvedService,
    begun: Instant,
    seen: &mut BTreeSet<String>,
) {
    let full = found.get_fullname();
    let name = full.strip_suffix(SERVICE).map_or(full, |name| name.trim_end_matches('.'));
    if name == options.name || seen.len() >= SEEN_MAX || !seen.insert(name.to_owned()) {
        return;
    }
    let addresses: BTreeSet<String> =
        found.get_addresses().iter().map(ToString::to_string).collect();
    let addresses = addresses.into_iter().collect::<Vec<_>>().join(", ");
    say(format_args!("saw {name} after {}: {addresses}", units::show(begun.elapsed())));
}

fn conclude(options: &Options, seen: &BTreeSet<String>, begun: Instant) {
    let time = units::show(begun.elapsed());
    if seen.is_empty() {
        say(format_args!("{} saw nobody in {time}", options.name));
    } else {
        say(format_args!("{} saw {} in {time}", options.name, join(seen)));
    }
}

fn join(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
