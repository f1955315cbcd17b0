//! `--server lan`: the server that announces itself on this network.

use std::time::Duration;

use portolan_nat_io::{LanServer, find_servers};

use super::{address::ServerAddress, exit::Failure, text::plain};

/// The word in place of a host.
const WORD: &str = "lan";
/// Who is there has answered by then.
const SEARCH: Duration = Duration::from_millis(1500);

/// The address, or if it is the word for it that of the one server of this network. Its key is
/// asked about as that of any other.
pub(super) async fn find(address: &ServerAddress) -> Result<ServerAddress, Failure> {
    if address.host != WORD {
        return Ok(address.clone());
    }
    let found = find_servers(SEARCH).await.map_err(|error| Failure::failed(error.to_string()))?;
    choose(address.scheme.clone(), &found)
}

fn choose(scheme: Option<String>, found: &[LanServer]) -> Result<ServerAddress, Failure> {
    let [server] = found else { return Err(advise(found)) };
    let first = server.addresses.first().ok_or_else(|| advise(&[]))?;
    Ok(ServerAddress { scheme, host: first.ip().to_string(), port: first.port() })
}

fn advise(found: &[LanServer]) -> Failure {
    if found.is_empty() {
        return Failure::unreachable(
            "no server announces itself on this network; a server does with --lan NAME. Guest \
             networks often keep devices apart: then name the server with --server HOST",
        );
    }
    let line = |server: &LanServer| {
        let address = server.addresses.first().map(ToString::to_string).unwrap_or_default();
        format!("\n  {} at {address}, key {}", plain(&server.name), plain(&server.key))
    };
    let all: String = found.iter().map(line).collect();
    Failure::usage(format!("several servers are on this network; choose with --server:{all}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, address: &str) -> LanServer {
        let addresses = vec![address.parse().unwrap()];
        LanServer { name: name.to_owned(), key: "KEY".to_owned(), addresses }
    }

    #[test]
    fn the_only_server_is_taken_and_others_are_shown() {
        let home = server("home", "192.168.1.9:7275");
        let scheme = Some("udp".to_owned());
        let chosen = choose(scheme.clone(), std::slice::from_ref(&home)).unwrap();
        assert_eq!(chosen.to_string(), "192.168.1.9:7275");
        assert_eq!(chosen.scheme, scheme);
        let several = choose(None, &[home, server("evil\u{1b}[2J", "10.0.0.1:1")]).unwrap_err();
        assert!(several.message.contains("home at 192.168.1.9:7275, key KEY"), "{several}");
        assert!(!several.message.contains('\u{1b}'), "names are shown without control characters");
        assert!(choose(None, &[]).unwrap_err().message.contains("--lan NAME"));
    }
}
