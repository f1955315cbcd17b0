//! A transfer on a connection that was fast and then silent.

use std::{io, time::Duration};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bench::{
    client::{Asked, Bench},
    clock,
    wire::Request,
};

const TRANSFER: u64 = 1 << 20;

const CHUNK: usize = 64 << 10;

/// A connection that has found its speed.
pub(super) struct Rested {
    asked: Asked,
}

impl Rested {
    /// Connects, and transfers for `time`.
    pub(super) async fn warm(bench: &mut Bench, time: Duration) -> io::Result<Self> {
        let link = bench.connect().await?;
        let mut rested = Self { asked: Asked::bulk(link, Request::Confirm).await? };
        let start = clock::now();
        while {
            rested.transfer().await?;
            start.elapsed() < time
        } {}
        Ok(rested)
    }

    /// Sends 1 MiB and waits until the server says that it has come; how long that took.
    pub(super) async fn transfer(&mut self) -> io::Result<Duration> {
        let start = clock::now();
        let chunk = vec![0x5a; CHUNK];
        let write = &mut self.asked.stream.write;
        write.write_u64(TRANSFER).await?;
        for _ in 0..TRANSFER / CHUNK as u64 {
            write.write_all(&chunk).await?;
        }
        write.flush().await?;
        self.asked.stream.read.read_u8().await?;
        Ok(start.elapsed())
    }
}
