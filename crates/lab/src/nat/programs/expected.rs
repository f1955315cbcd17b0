//! What is possible, and so what has to come out.
//!
//! Who asks stands on the left, who is asked above; the places are those of [`PLACES`], in order.
//!
//! *UDP and QUIC* (one port, one hole): a translator that gives one outside port to all remotes can
//! be punched, whatever it lets in, because what goes out opens the way in. A symmetric one uses
//! another port for each remote than the one that the server saw, so only a side that lets in every
//! port of an address it has sent to can be met for certain. Opposite a strict filter, many sockets
//! on one side and many guesses on the other meet by lot, mostly; two symmetric ones never do.
//! Where UDP is blocked, that side is logged in over TCP and the other one over UDP or QUIC: they
//! have nothing in common but the relay, unless both are so.
//!
//! *TCP*: both dial each other at the same moment from the ports that outside is known of, so the
//! same holds; a translator that blocks UDP maps TCP as any other does (here: one outside port,
//! strict filter).

use serde::Serialize;

use super::super::{PLACES, Place};

/// How two peers reach each other in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Way {
    Direct,
    Relayed,
}

/// `d`: direct, `r`: relayed, `l`: a lot decides.
type Table = [&'static str; PLACES.len()];

/// What UDP and QUIC can.
const DATAGRAMS: Table = [
    // open, full cone, address-restricted, port-restricted, symmetric, carrier, UDP blocked
    "ddddddr", // open
    "ddddddr", // full cone
    "ddddddr", // address-restricted
    "ddddldr", // port-restricted
    "dddlrlr", // symmetric
    "ddddldr", // carrier
    "rrrrrrd", // UDP blocked
];

/// What TCP can.
const TCP: Table = [
    // open, full cone, address-restricted, port-restricted, symmetric, carrier, UDP blocked
    "ddddddd", // open
    "ddddddd", // full cone
    "ddddddd", // address-restricted
    "ddddrdd", // port-restricted
    "dddrrrr", // symmetric
    "ddddrdd", // carrier
    "ddddrdd", // UDP blocked
];

/// What has to come out where the first asks the second over this transport; `None`: a lot decides.
pub(crate) fn expected(transport: &str, places: [&Place; 2]) -> Option<Way> {
    let table = if transport == "tcp" { TCP } else { DATAGRAMS };
    let [one, other] = places
        .map(|place| PLACES.iter().position(|known| known.word == place.word).unwrap_or_default());
    let mark = table.get(one).and_then(|row| row.chars().nth(other));
    match mark {
        Some('d') => Some(Way::Direct),
        Some('l') => None,
        Some(_) | None => Some(Way::Relayed),
    }
}

#[cfg(test)]
mod tests {
    use super::{DATAGRAMS, TCP, Way, expected};
    use crate::nat::PLACES;

    #[test]
    fn every_pair_of_places_is_in_the_tables_and_both_may_ask() {
        for table in [DATAGRAMS, TCP] {
            for row in table {
                assert_eq!(row.chars().filter(|mark| "drl".contains(*mark)).count(), PLACES.len());
            }
        }
        for transport in ["tcp", "udp", "quic"] {
            for one in &PLACES {
                for other in &PLACES {
                    let ways = [[one, other], [other, one]].map(|pair| expected(transport, pair));
                    assert_eq!(ways[0], ways[1], "{transport}: {} - {}", one.name, other.name);
                }
            }
        }
        let symmetric = &PLACES[4];
        assert_eq!(expected("udp", [symmetric, symmetric]), Some(Way::Relayed));
    }
}
