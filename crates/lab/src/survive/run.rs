//! One file, and what happens to it.

use std::{fs, io, net::SocketAddr, path::Path, time::Duration};

use portolan_netsim::topology::parse;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{
    figures::{self, Told},
    trouble::{Over, Step, Trouble, WORLD, before},
};
use crate::cast::{Actor, CastError, Crew, Heard, Keeps, PORT, Programs, Roles, Signal, Transport};

const ALICE: &str = "alice";
const BOB: &str = "bob";
const SERVER: &str = "server";
const SERVER_ADDRESS: [u8; 4] = [198, 18, 0, 10];
const FILE: &str = "film";
/// The longest that anything takes that has to come, on a machine that does much beside.
const PATIENCE: Duration = Duration::from_secs(60);
/// Who has not got the file by then, from when it happens, does not get it.
const SURVIVAL: Duration = Duration::from_secs(180);

/// Something that happens, over one transport.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) trouble: &'static Trouble,
    pub(super) transport: Transport,
    pub(super) size: u64,
}

/// A file that has arrived whole.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Survived {
    pub(super) trouble: &'static str,
    pub(super) transport: Transport,
    /// The longest time without a new byte, from the last one before it happened.
    pub(super) pause_ms: u64,
    /// From when it happened until the file was whole.
    pub(super) rest_ms: u64,
    /// What the sender's network carried for it, in parts of the file's size.
    pub(super) sent: f64,
    /// Which way the end of it came.
    pub(super) via: String,
    /// What the receiving program said of it.
    pub(super) told: Vec<Told>,
}

impl Run {
    pub(super) fn name(&self) -> String {
        format!("{}, {}", self.trouble.name, self.transport.name())
    }

    /// Lets alice fetch a file of bob's, and it happen.
    ///
    /// # Errors
    /// When the file does not arrive, or is not bob's.
    pub(super) async fn try_it(self, programs: &Programs) -> Result<Survived, CastError> {
        let mut crew = self.crew(programs).await?;
        let theirs = crew.directory(BOB, "share").join(FILE);
        let hash = write_noise(&theirs, self.size)?;
        self.reach(&mut crew.peers[0]).await?;
        let before = carried(&crew);
        crew.peers[0].say(&format!("/get {BOB} {FILE}")).await?;
        let quarter = self.size / 4;
        let is_under_way =
            |heard: &Heard| (heard.number("bytes")? >= quarter && heard.is("file")).then_some(());
        crew.peers[0].until("a quarter of the file", PATIENCE, is_under_way).await?;
        let happened_at = Instant::now();
        for step in self.trouble.steps {
            take(*step, &mut crew).await?;
        }
        let (told_hash, via, done_at) = end_of_file(&mut crew.peers[0]).await?;
        let whole = fs::read(crew.directory(ALICE, "downloads").join(FILE))?;
        if blake3::hash(&whole).to_hex().as_str() != hash || told_hash != hash {
            return Err(CastError::Unexpected("another file has arrived".to_owned()));
        }
        let said = crew.peers[0].said();
        Ok(Survived {
            trouble: self.trouble.name,
            transport: self.transport,
            pause_ms: figures::millis(figures::pause(&said, happened_at)),
            rest_ms: figures::millis(done_at.saturating_duration_since(happened_at)),
            sent: (carried(&crew) - before) as f64 / self.size as f64,
            via,
            told: figures::told(&said, happened_at),
        })
    }

    async fn crew(&self, programs: &Programs) -> Result<Crew, CastError> {
        let topology = parse(WORLD).map_err(|error| CastError::Unexpected(error.to_string()))?;
        let options: &[&str] = match self.trouble.over {
            Over::Direct => &[],
            Over::Relay => &["--relay-only"],
        };
        let roles = Roles {
            server: (SERVER, SocketAddr::new(SERVER_ADDRESS.into(), PORT)),
            alternate: None,
            keeps: Keeps::Everything,
            peers: [ALICE, BOB],
            transports: [self.transport.name(); 2],
            options,
            before: &before(),
        };
        Crew::start(programs, &topology, roles).await
    }

    /// Waits until the way is open that the file is to take.
    async fn reach(&self, alice: &mut Actor) -> Result<(), CastError> {
        alice.say(&format!("/files {BOB}")).await?;
        alice.until("an answer", PATIENCE, |heard| heard.is("files").then_some(())).await?;
        if self.trouble.over == Over::Direct {
            let direct = |heard: &Heard| (heard.text("kind") == Some("direct")).then_some(());
            alice.until("a direct path", PATIENCE, direct).await?;
        }
        Ok(())
    }
}

async fn take(step: Step, crew: &mut Crew) -> Result<(), CastError> {
    match step {
        Step::World(happening) => drop(crew.emulator.apply(&happening())?),
        Step::StopServer => crew.stop_server().await,
        Step::KillServer => crew.kill_server(),
        Step::StartServer => crew.start_server().await?,
        Step::Suspend(peer) => crew.peers[peer].signal(Signal::Suspend),
        Step::Resume(peer) => crew.peers[peer].signal(Signal::Resume),
        Step::Wait(time) => sleep(time).await,
    }
    Ok(())
}

/// Waits until the file is whole; gives its hash, which way the end of it came, and when.
async fn end_of_file(alice: &mut Actor) -> Result<(String, String, Instant), CastError> {
    let ended = |heard: &Heard| {
        let text = |field| heard.text(field).unwrap_or_default().to_owned();
        match heard.text("phase").filter(|_| heard.is("file"))? {
            "done" => Some(Ok((text("hash"), text("via"), heard.at))),
            "failed" | "cancelled" | "denied" => Some(Err(text("reason"))),
            _ => None,
        }
    };
    let ended = alice.until("the end of the file", SURVIVAL, ended).await?;
    ended.map_err(|reason| CastError::Unexpected(format!("the file was given up: {reason}")))
}

/// What bob's network has carried from him so far.
fn carried(crew: &Crew) -> u64 {
    let links = crew.emulator.stats().links;
    let theirs = links.iter().filter(|link| link.node == BOB);
    theirs.map(|link| link.up.bytes_carried).sum()
}

/// Writes a file of which no two pieces are alike, and gives its hash.
fn write_noise(path: &Path, size: u64) -> io::Result<String> {
    let mut noise = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
    blake3::Hasher::new().update(b"a film").finalize_xof().fill(&mut noise);
    fs::write(path, &noise)?;
    Ok(blake3::hash(&noise).to_hex().to_string())
}
