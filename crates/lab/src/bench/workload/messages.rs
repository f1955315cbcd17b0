//! Many small messages on one stream, one way.

use std::{io, time::Duration};

use async_trait::async_trait;
use tokio::{io::AsyncWriteExt, task::JoinSet};

use super::{Cost, Figures, Workload, bulk::wait, per_second};
use crate::bench::{
    client::{Asked, Bench},
    wire::Request,
};

const MESSAGE_SIZE: usize = 100;

/// Messages of 100 bytes, a write each.
#[derive(Debug)]
pub(crate) struct Messages {
    name: &'static str,
    metrics: &'static [&'static str; 1],
    /// Messages from one flush to the next.
    flushed_every: usize,
}

pub(crate) static FLUSHED: Messages =
    Messages { name: "small messages, flushed", metrics: &["messages"], flushed_every: 1 };
pub(crate) static BATCHED: Messages = Messages {
    name: "small messages, batched",
    metrics: &["messages-batched"],
    flushed_every: (64 << 10) / MESSAGE_SIZE,
};

#[async_trait]
impl Workload for Messages {
    fn name(&self) -> &'static str {
        self.name
    }

    fn metrics(&self) -> &'static [&'static str] {
        self.metrics
    }

    fn cost(&self) -> Cost {
        Cost::every(250, 60, 40)
    }

    async fn run(&self, bench: &mut Bench, time: Duration) -> io::Result<Figures> {
        let link = bench.connect().await?;
        let asked = Asked::prompt(link, Request::Sink).await?;
        let mut writer = JoinSet::new();
        writer.spawn(write(asked, self.flushed_every));
        wait(&mut writer, time / 4).await?;
        let before = bench.control.count().await?;
        wait(&mut writer, time - time / 4).await?;
        let (bytes, took) = bench.control.count().await?.since(&before);
        if bytes == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "not one message arrived"));
        }
        let rate = per_second(bytes as f64 / MESSAGE_SIZE as f64, took);
        Ok(Figures::default().value(self.metrics[0], rate))
    }
}

async fn write(mut asked: Asked, flushed_every: usize) -> io::Result<()> {
    let message = [0x5a; MESSAGE_SIZE];
    loop {
        for _ in 0..flushed_every {
            asked.stream.write.write_all(&message).await?;
        }
        asked.stream.write.flush().await?;
    }
}
