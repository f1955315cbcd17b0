//! One pair of places: a server, two peers, and whether they find each other.

use std::{fs, net::SocketAddr, time::Duration};

use serde::Serialize;
use tokio::time::Instant;

use super::{
    super::{
        Place,
        places::{NAMES, STUN, STUN_ALTERNATE, pair},
    },
    expected::{Way, expected},
};
use crate::cast::{Actor, CastError, Crew, Heard, Keeps, PORT, Programs, Roles, Transport};

/// The longest that anything takes that has to come, on a machine that does much beside.
const PATIENCE: Duration = Duration::from_secs(60);
/// How the program begins to say why there is no direct path.
const NOT_DIRECTLY: &str = "not directly: ";
/// The host of the server.
const SERVER: &str = "stun";
/// The file that is fetched in the end.
const FILE: &str = "greeting";
const FILE_SIZE: usize = 64 << 10;

/// One pair of places over one transport.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) transport: Transport,
    pub(crate) places: [&'static Place; 2],
}

/// How a pair got on.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cell {
    pub(crate) transport: Transport,
    /// Who asks, by the place.
    pub(crate) asks: &'static str,
    /// Who is asked.
    pub(crate) asked: &'static str,
    pub(crate) way: Way,
    /// `None`: a lot decides.
    pub(crate) expected: Option<Way>,
    /// From the question to the first byte of the answer, session and all.
    pub(crate) first_byte_ms: u64,
    /// From the question to the direct path.
    pub(crate) direct_ms: Option<u64>,
    /// What the asking program says of it.
    pub(crate) why: String,
}

impl Cell {
    pub(crate) fn is_as_expected(&self) -> bool {
        self.expected.is_none_or(|expected| expected == self.way)
    }
}

impl Pair {
    /// Lets the first ask the second something, waits for a direct path, and fetches a file over
    /// what there is. Where none is expected, none within `patience` is enough.
    ///
    /// # Errors
    /// When they cannot even talk through the server.
    pub(crate) async fn try_it(
        self,
        programs: &Programs,
        patience: Duration,
    ) -> Result<Cell, CastError> {
        let Self { transport, places } = self;
        let world = pair(places, 1);
        let roles = Roles {
            server: (SERVER, SocketAddr::new(STUN[0].ip(), PORT)),
            alternate: Some(STUN_ALTERNATE),
            keeps: Keeps::Nothing,
            peers: NAMES,
            // Where there is no UDP, a person would not insist on it.
            transports: places
                .map(|place| if place.blocks_udp() { "auto" } else { transport.name() }),
            options: &[],
            before: &[],
        };
        let mut crew = Crew::start(programs, &world.topology, roles).await?;
        let ours = crew.directory(NAMES[1], "share").join(FILE);
        fs::write(ours, [b'.'; FILE_SIZE])?;
        let [alice, _] = &mut crew.peers;
        let asked_at = Instant::now();
        alice.say(&format!("/files {}", NAMES[1])).await?;
        let answered = |heard: &Heard| heard.is("files").then_some(heard.at);
        let first_byte_at = alice.until("an answer", PATIENCE, answered).await?;
        let expected = expected(transport.name(), places);
        let found = search(alice, expected, patience).await?;
        let way = fetch(alice).await?;
        let after = |at: Instant| {
            let after = at.saturating_duration_since(asked_at);
            u64::try_from(after.as_millis()).unwrap_or(u64::MAX)
        };
        let (direct_at, why) = match found {
            Found::Direct(at, why) => (Some(at), why),
            Found::Nothing(why) => (None, why),
        };
        Ok(Cell {
            transport,
            asks: places[0].name,
            asked: places[1].name,
            way,
            expected,
            first_byte_ms: after(first_byte_at),
            direct_ms: direct_at.filter(|_| way == Way::Direct).map(after),
            why,
        })
    }
}

/// What came of the search for a direct path, in the program's words.
enum Found {
    Direct(Instant, String),
    Nothing(String),
}

/// Waits for a direct path. Where one has to come, the first try may have had no luck; where none
/// has, the program's word after the first try is enough.
async fn search(
    alice: &mut Actor,
    expected: Option<Way>,
    patience: Duration,
) -> Result<Found, CastError> {
    let news = |heard: &Heard| {
        let why = heard.text("why").filter(|_| heard.is("path"))?.to_owned();
        match heard.text("kind") {
            Some("direct") => Some(Found::Direct(heard.at, why)),
            _ if why.contains(NOT_DIRECTLY) => Some(Found::Nothing(why)),
            _ => None,
        }
    };
    let mut last = Found::Nothing(String::new());
    let patience = match expected {
        Some(Way::Direct) => PATIENCE,
        Some(Way::Relayed) | None => patience,
    };
    let end = Instant::now() + patience;
    while let Some(found) =
        alice.within(end.saturating_duration_since(Instant::now()), news).await?
    {
        last = found;
        if expected != Some(Way::Direct) || matches!(last, Found::Direct(..)) {
            break;
        }
    }
    Ok(last)
}

/// Fetches the file, and says which way it came.
async fn fetch(alice: &mut Actor) -> Result<Way, CastError> {
    alice.say(&format!("/get {} {FILE}", NAMES[1])).await?;
    let ended = |heard: &Heard| match heard.text("phase").filter(|_| heard.is("file"))? {
        "done" => Some(Ok(heard.text("via") == Some("direct"))),
        "failed" => Some(Err(heard.text("reason").unwrap_or_default().to_owned())),
        _ => None,
    };
    match alice.until("a file", PATIENCE, ended).await? {
        Ok(true) => Ok(Way::Direct),
        Ok(false) => Ok(Way::Relayed),
        Err(reason) => Err(CastError::Unexpected(format!("the file did not arrive: {reason}"))),
    }
}
