//! `lab audio record`: how long frames take over a link, one by one, for a jitter buffer to be
//! tried on.

use std::{fmt::Write, process::ExitCode, time::Duration};

use super::{Beside, table::say};
use crate::{
    bench::link::LinkChoice,
    probe::units,
    virtual_time::{self, Outage, Scene, Subject},
};

/// Delays in a line of the file.
const IN_A_LINE: usize = 20;

/// `lab audio record`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The network between the two: a profile (`4g`, …) or terms (`delay=25ms,loss=1%`)
    #[arg(long, value_name = "LINK", default_value = "congested-wifi")]
    link: String,
    /// Over what: udp or quic
    #[arg(long, value_name = "NAME", default_value = "udp")]
    over: String,
    /// For how long
    #[arg(long, default_value = "40s", value_parser = units::duration)]
    time: Duration,
    /// Send bytes without end on the same connection, with the priority of files
    #[arg(long)]
    beside: bool,
    /// How long a frame is of use and repaired; without it each is sent once
    #[arg(long, value_parser = units::duration)]
    until: Option<Duration>,
    /// Let nothing through for so long, again and again
    #[arg(long, value_name = "TIME", value_parser = units::duration, requires = "every")]
    away: Option<Duration>,
    /// How often that happens
    #[arg(long, value_name = "TIME", value_parser = units::duration, requires = "away")]
    every: Option<Duration>,
    /// Where the link's chance comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Prints the trace: the time of each frame on its way in tenths of a millisecond, `-` for one
/// that was lost.
pub(super) fn run(options: &Options) -> Result<ExitCode, String> {
    let link = LinkChoice::parse(&options.link).map_err(|error| error.to_string())?;
    let subject = Subject::find(&options.over)
        .ok_or_else(|| format!("{:?} is not there in virtual time: udp, quic", options.over))?;
    let outages = outages(options);
    let scene = Scene { link: link.duplex, outages: &outages, seed: options.seed };
    let beside = if options.beside { Beside::Bulk } else { Beside::Nothing };
    let trace = virtual_time::trace(subject, &scene, (options.time, options.until, beside))?;
    let mut text = String::new();
    for line in trace.chunks(IN_A_LINE) {
        let cells = line.iter().map(|delay| match delay {
            Some(delay) => (delay.as_micros() / 100).to_string(),
            None => "-".to_owned(),
        });
        let cells: Vec<_> = cells.collect();
        let _ = writeln!(text, "{}", cells.join(" "));
    }
    say(text.trim_end());
    Ok(ExitCode::SUCCESS)
}

fn outages(options: &Options) -> Vec<Outage> {
    let (Some(lasting), Some(every)) = (options.away, options.every) else { return Vec::new() };
    let every = every.max(Duration::from_millis(10));
    let times = (1..).map(|number| every * number);
    let times = times.take_while(|from| *from < options.time);
    times.map(|from| Outage { from, lasting }).collect()
}
