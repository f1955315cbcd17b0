//! Which transport got through in which network, so that `auto` need not wait for those that did
//! not.
//!
//! The file has a line for each network and server: `192.168.1.0/24 chat.example:7275 tcp 1795240144`,
//! the last being when that was seen, in seconds since 1970. What is old is forgotten, so that a
//! network that has changed is looked at anew.

use std::{
    fs,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use portolan_transport::Transport;
use tempfile::NamedTempFile;

/// How long it is believed that the others are blocked.
const BELIEVED: Duration = Duration::from_secs(60 * 60);

/// Lines that are kept; the oldest go first.
const LINES_MAX: usize = 64;

/// Bytes of a file that is read.
const FILE_MAX: u64 = 64 << 10;

/// What was seen, oldest first.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Networks(Vec<Line>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    place: Place,
    scheme: String,
    seen: u64,
}

/// A network of ours, and a server that is reached from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    network: String,
    server: String,
}

impl Place {
    /// `ours` is the address from which packets to the server leave.
    pub(crate) fn new(ours: IpAddr, server: &str) -> Self {
        let network = match ours.to_canonical() {
            IpAddr::V4(ip) => format!("{}/24", Ipv4Addr::from_bits(ip.to_bits() & (!0 << 8))),
            IpAddr::V6(ip) => format!("{}/64", Ipv6Addr::from_bits(ip.to_bits() & (!0 << 64))),
        };
        Self { network, server: server.to_owned() }
    }
}

impl Networks {
    /// Reads the file; what cannot be read is not remembered. Blocking.
    pub(crate) fn load(path: &Path) -> Self {
        let mut text = String::new();
        let read =
            fs::File::open(path).and_then(|file| file.take(FILE_MAX).read_to_string(&mut text));
        match read {
            Ok(_) => Self::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "networks are not remembered");
                Self::default()
            }
        }
    }

    fn parse(text: &str) -> Self {
        let mut networks = Self(text.lines().filter_map(Line::parse).collect());
        networks.shrink();
        networks
    }

    /// Writes the file, whole or not at all. Blocking.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = NamedTempFile::new_in(folder)?;
        for Line { place: Place { network, server }, scheme, seen } in &self.0 {
            writeln!(file, "{network} {server} {scheme} {seen}")?;
        }
        file.persist(path).map(drop).map_err(|error| error.error)
    }

    /// Puts the transport that got through here lately before the others.
    pub(crate) fn prefer(
        &self,
        place: &Place,
        now: u64,
        transports: &mut [&'static dyn Transport],
    ) {
        let is_fresh =
            |line: &&Line| now.saturating_sub(line.seen) < BELIEVED.as_secs() && line.seen <= now;
        let line = self.0.iter().find(|line| line.place == *place).filter(is_fresh);
        let scheme = line.map(|line| line.scheme.as_str());
        transports.sort_by_key(|transport| Some(transport.scheme()) != scheme);
    }

    /// Remembers which transport got through; nothing when it is the one that is `usual`.
    ///
    /// One that is remembered already keeps its time: the others are tried again some day.
    pub(crate) fn note(&mut self, place: Place, scheme: &str, usual: &str, now: u64) {
        let fresh = |line: &Line| now.saturating_sub(line.seen) < BELIEVED.as_secs();
        let is_same = |line: &Line| line.place == place && line.scheme == scheme && fresh(line);
        if scheme != usual && self.0.iter().any(is_same) {
            return;
        }
        self.0.retain(|line| line.place != place);
        if scheme != usual {
            self.0.push(Line { place, scheme: scheme.to_owned(), seen: now });
        }
        self.shrink();
    }

    fn shrink(&mut self) {
        let excess = self.0.len().saturating_sub(LINES_MAX);
        self.0.drain(..excess);
    }
}

impl Line {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ').map(str::to_owned);
        let place = Place { network: words.next()?, server: words.next()? };
        let (scheme, seen) = (words.next()?, words.next()?.parse().ok()?);
        words.next().is_none().then_some(Self { place, scheme, seen })
    }
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "files are compared with people's clocks")]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{BELIEVED, LINES_MAX, Networks, Place};

    const HOUR: u64 = BELIEVED.as_secs();

    fn place(ours: &str) -> Place {
        Place::new(ours.parse::<IpAddr>().unwrap(), "chat.example:7275")
    }

    fn first(networks: &Networks, place: &Place, now: u64) -> Option<String> {
        let line = networks.0.iter().find(|line| line.place == *place)?;
        (now.saturating_sub(line.seen) < HOUR).then(|| line.scheme.clone())
    }

    #[test]
    fn addresses_of_one_network_are_one_place() {
        assert_eq!(place("192.168.1.7"), place("192.168.1.99"));
        assert_ne!(place("192.168.1.7"), place("192.168.2.7"));
        assert_eq!(place("2001:db8::1"), place("2001:db8::ffff:1"));
        assert_ne!(place("2001:db8::1"), place("2001:db8:0:1::1"));
        assert_eq!(place("::ffff:192.168.1.7"), place("192.168.1.7"));
    }

    #[test]
    fn what_got_through_is_remembered_for_an_hour_and_the_usual_one_not_at_all() {
        let mut networks = Networks::default();
        networks.note(place("10.0.0.1"), "udp", "udp", 1_000);
        assert_eq!(networks, Networks::default());
        networks.note(place("10.0.0.1"), "tcp", "udp", 1_000);
        assert_eq!(first(&networks, &place("10.0.0.2"), 1_000 + HOUR - 1).as_deref(), Some("tcp"));
        // Its being used does not make it last: the others are tried again.
        networks.note(place("10.0.0.1"), "tcp", "udp", 1_000 + HOUR / 2);
        assert_eq!(first(&networks, &place("10.0.0.1"), 1_000 + HOUR), None);
        networks.note(place("10.0.0.1"), "udp", "udp", 1_000 + HOUR);
        assert_eq!(networks, Networks::default());
    }

    #[test]
    fn the_file_comes_back_as_it_was_and_what_is_no_line_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("networks");
        assert_eq!(Networks::load(&path), Networks::default());
        let mut networks = Networks::default();
        for number in 0..100 {
            networks.note(place(&format!("10.0.{number}.1")), "tcp", "udp", number);
        }
        assert_eq!(networks.0.len(), LINES_MAX);
        networks.save(&path).unwrap();
        assert_eq!(Networks::load(&path), networks);
        std::fs::write(&path, "10.0.0.0/24 h:1 tcp 5\nnonsense\na b c d\n\u{fffd}\n").unwrap();
        assert_eq!(Networks::load(&path).0.len(), 1);
    }
}
