//! Where a server is: `host`, `host:port`, `udp://host:port`, and the same with IPv6.

use std::{fmt, net::IpAddr, str::FromStr};

use thiserror::Error;

/// The port of servers when none is named.
pub(crate) const DEFAULT_PORT: u16 = 7275;

/// Where a server is, as a person wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    /// The transport, if one is named.
    pub(crate) scheme: Option<String>,
    /// A name of the DNS or an address.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Why a text is no address of a server.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{text:?} is no address of a server: {problem}; write host, host:port or udp://host:port, \
     and IPv6 as [::1]:7275"
)]
pub(crate) struct AddressError {
    text: String,
    problem: &'static str,
}

impl FromStr for ServerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let failed = |problem| AddressError { text: text.chars().take(300).collect(), problem };
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_lowercase()), rest),
            None => (None, text),
        };
        if scheme.as_deref().is_some_and(|scheme| !is_word(scheme)) {
            return Err(failed("what stands before :// is not the name of a transport"));
        }
        let (host, port) = split(rest.strip_suffix('/').unwrap_or(rest)).map_err(failed)?;
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => return Err(failed("a port is a number from 1 to 65535")),
                Ok(port) => port,
            },
        };
        check_host(host).map_err(failed)?;
        Ok(Self { scheme, host: host.to_lowercase(), port })
    }
}

/// `host:port`, as known hosts are written.
impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

fn split(text: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the ] is missing")?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| "between [ and ] stands an IPv6 address")?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err("only :port may follow the ]"),
        };
    }
    // More than one colon: an IPv6 address by itself.
    if text.matches(':').count() > 1 {
        return match text.parse::<IpAddr>() {
            Ok(_) => Ok((text, None)),
            Err(_) => Err("it has too many colons"),
        };
    }
    match text.split_once(':') {
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

fn check_host(host: &str) -> Result<(), &'static str> {
    if host.is_empty() {
        return Err("the host is missing");
    }
    if host.len() > 253 {
        return Err("a host has at most 253 characters");
    }
    if !host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:".contains(c)) {
        return Err("a host has letters, digits, dots and hyphens");
    }
    Ok(())
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::ServerAddress;

    #[test]
    fn every_way_to_write_an_address_is_understood() {
        let rows = [
            ("example.org", None, "example.org:7275"),
            ("Example.org:80", None, "example.org:80"),
            ("udp://example.org:80", Some("udp"), "example.org:80"),
            ("QUIC://127.0.0.1", Some("quic"), "127.0.0.1:7275"),
            ("tcp://example.org/", Some("tcp"), "example.org:7275"),
            ("[::1]:80", None, "[::1]:80"),
            ("[2001:db8::1]", None, "[2001:db8::1]:7275"),
            ("::1", None, "[::1]:7275"),
            ("udp://[::1]:9", Some("udp"), "[::1]:9"),
            ("localhost", None, "localhost:7275"),
        ];
        for (text, scheme, printed) in rows {
            let address: ServerAddress = text.parse().unwrap();
            assert_eq!(address.scheme.as_deref(), scheme, "{text}");
            assert_eq!(address.to_string(), printed);
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_forms_that_are_understood() {
        let long = "h".repeat(300);
        for text in [
            "",
            ":80",
            "host:",
            "host:0",
            "host:65536",
            "host:http",
            "a:b:c",
            "[::1",
            "[host]:80",
            "[::1]80",
            "ud p://host",
            "://host",
            "host name",
            "host/path",
            "hÖst",
            long.as_str(),
        ] {
            let error = text.parse::<ServerAddress>().unwrap_err();
            assert!(error.to_string().contains("host:port"), "{text:?}: {error}");
        }
    }
}
