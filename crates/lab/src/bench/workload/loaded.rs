//! Small questions beside a bulk transfer.

use std::{io, time::Duration};

use async_trait::async_trait;
use tokio::task::JoinSet;

use super::{
    Cost, Figures, Workload,
    bulk::{wait, write},
    round_trip::Asker,
};
use crate::bench::{
    client::{Asked, Bench},
    wire::Request,
};

const QUESTION_SIZE: u32 = 64;

/// Questions on one stream while another sends all it can: on the same connection where the
/// subject carries several streams, on a second one where it does not.
#[derive(Debug)]
pub(crate) struct Loaded;

#[async_trait]
impl Workload for Loaded {
    fn name(&self) -> &'static str {
        "loaded-rtt"
    }

    fn metrics(&self) -> &'static [&'static str] {
        &["loaded-rtt-p50", "loaded-rtt-p99"]
    }

    fn cost(&self) -> Cost {
        Cost::every(300, 120, 80)
    }

    async fn run(&self, bench: &mut Bench, time: Duration) -> io::Result<Figures> {
        let mut links = bench.links(2).await?.into_iter();
        let (Some(bulk), Some(prompt)) = (links.next(), links.next()) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let mut asker =
            Asker::new(Asked::prompt(prompt, Request::Echo).await?, QUESTION_SIZE).await?;
        asker.ask_for(Duration::ZERO).await?;
        let mut writer = JoinSet::new();
        writer.spawn(write(Asked::bulk(bulk, Request::Sink).await?));
        wait(&mut writer, time / 4).await?;
        let latencies = asker.ask_for(time - time / 4).await?;
        let mut figures = Figures::default();
        figures.quantile("loaded-rtt-p50", &latencies, 0.5);
        figures.quantile("loaded-rtt-p99", &latencies, 0.99);
        figures.distributions.push(("loaded-rtt", latencies));
        Ok(figures)
    }
}
