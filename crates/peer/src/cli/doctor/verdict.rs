//! What facts mean for peers, and what can be done.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use portolan_nat::{Scope, Survey};
use portolan_nat_io::{LanRole, LanServer};

use super::{
    super::{line::FindingLine, text::plain},
    facts::{ETHERNET, Facts, NEEDED, RouterFacts, ServerFacts},
};

/// A clock that is so much earlier than the program is wrong.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(24 * 3600);

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// As good as it can be.
    Good,
    /// Could not be found out.
    Unknown,
    /// Some things go slower, or through the server.
    Limited,
    /// Something does not work.
    Broken,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unknown => "unknown",
            Self::Limited => "limited",
            Self::Broken => "broken",
        }
    }
}

/// One thing that was found, what it means, and what can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) state: State,
    found: String,
    means: Option<&'static str>,
    fix: Option<&'static str>,
}

impl Finding {
    fn new(check: &'static str, state: State, found: impl Into<String>) -> Self {
        Self { check, state, found: found.into(), means: None, fix: None }
    }

    fn means(self, means: &'static str) -> Self {
        Self { means: Some(means), ..self }
    }

    fn fix(self, fix: &'static str) -> Self {
        Self { fix: Some(fix), ..self }
    }

    pub(super) fn line(self) -> FindingLine {
        let Self { check, state, found, means, fix } = self;
        FindingLine { check, state: state.word(), found, means, fix }
    }
}

/// Everything that can be said about a network, in the order in which people look for faults.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![addresses(&facts.own), ipv6(&facts.own)];
    match &facts.server {
        Some(server) => of_server(facts, server, &mut findings),
        None => findings.push(
            Finding::new("server", State::Unknown, "no server was named")
                .fix("say which with --server HOST: it can tell as which you are seen"),
        ),
    }
    findings.push(lan(&facts.lan));
    findings.push(router(facts.router.as_ref()));
    findings.extend(facts.router.as_ref().and_then(|router| second_translator(router, facts)));
    findings.push(clock(facts));
    findings
}

fn of_server(facts: &Facts, server: &ServerFacts, findings: &mut Vec<Finding>) {
    findings.push(tcp(server));
    findings.push(udp(server));
    let Some(mapped) = server.survey.mapped else { return };
    let is_translated = !mapped.ip().is_loopback() && !facts.own.contains(&mapped.ip());
    findings.push(translation(mapped, is_translated));
    if is_translated || server.survey.filtering != Some(Scope::EndpointIndependent) {
        findings.push(mapping(&server.survey, mapped.port() == server.local_port));
        findings.push(filtering(&server.survey));
    }
    if is_translated {
        findings.push(hairpin(&server.survey));
    }
    findings.push(mtu(server));
}

fn addresses(own: &[IpAddr]) -> Finding {
    if own.is_empty() {
        return Finding::new("addresses", State::Broken, "this machine has no address")
            .means("nobody can be reached")
            .fix("connect it to a network");
    }
    let all: Vec<String> = own.iter().map(ToString::to_string).collect();
    Finding::new("addresses", State::Good, all.join(", "))
}

fn ipv6(own: &[IpAddr]) -> Finding {
    // 2000::/3 is what the internet routes (RFC 4291 §2.4).
    let is_global = |ip: &&IpAddr| matches!(ip, IpAddr::V6(ip) if ip.segments()[0] >> 13 == 1);
    match own.iter().find(is_global) {
        Some(ip) => Finding::new("ipv6", State::Good, format!("{ip}"))
            .means("peers with IPv6 are reached without address translation"),
        None => Finding::new("ipv6", State::Limited, "no address that the internet routes")
            .means("every path goes through IPv4 and its translators")
            .fix("switch IPv6 on in the router, if the provider has it"),
    }
}

fn lan(found: &Result<Vec<LanServer>, String>) -> Finding {
    let servers = match found {
        Err(why) => {
            return Finding::new("lan", State::Limited, plain(why))
                .means("nobody on this network is found without --server")
                .fix("let UDP port 5353 through the firewall of this machine, or use --server");
        }
        Ok(servers) => servers,
    };
    if servers.is_empty() {
        return Finding::new("lan", State::Unknown, "nobody announces a server on this network")
            .means("nobody is here, or the network keeps devices apart")
            .fix("if somebody is, use --server with the address that `peer NAME` shows there");
    }
    let line = |server: &LanServer| {
        let address = server.addresses.first().map(ToString::to_string).unwrap_or_default();
        match server.role {
            LanRole::SetUp => format!("{} at {address}", plain(&server.name)),
            LanRole::Passing => format!("somebody's program at {address}"),
        }
    };
    let all: Vec<String> = servers.iter().map(line).collect();
    Finding::new("lan", State::Good, all.join(", ")).means("`peer NAME` needs no --server here")
}

fn tcp(server: &ServerFacts) -> Finding {
    match &server.tcp {
        Ok(time) => {
            let found = format!("{} in {} ms", server.address, time.as_millis());
            Finding::new("tcp", State::Good, found)
        }
        Err(why) => Finding::new("tcp", State::Broken, format!("{}: {why}", server.address))
            .means("--transport tcp does not work with this server")
            .fix("is the server up, and do the firewalls on both sides let its port through?"),
    }
}

fn udp(server: &ServerFacts) -> Finding {
    let Some(rtt) = server.survey.rtt else {
        let state = if server.tcp.is_ok() { State::Limited } else { State::Broken };
        return Finding::new("udp", state, format!("{} does not answer", server.address))
            .means("UDP, QUIC and live audio fall back to TCP through the server")
            .fix("let UDP to the server's port out of the firewall of this network");
    };
    let found = format!("{} in {} ms", server.address, rtt.as_millis());
    Finding::new("udp", State::Good, found)
}

fn translation(mapped: SocketAddr, is_translated: bool) -> Finding {
    if is_translated {
        return Finding::new("translation", State::Limited, format!("seen as {mapped}"))
            .means("others cannot call you before you have sent to them; peers punch holes");
    }
    Finding::new("translation", State::Good, format!("none: seen as {mapped}"))
}

const ASK_ADMIN: &str = "ask who runs the server to give it a second address (--stun-alternate)";

fn mapping(survey: &Survey, keeps_port: bool) -> Finding {
    let Some(scope) = survey.mapping else {
        return Finding::new("mapping", State::Unknown, "the server has one address only")
            .means("peers try everything but birthday probing")
            .fix(ASK_ADMIN);
    };
    let port = if keeps_port { ", the port is kept" } else { "" };
    let found = format!("{}{port}", scope.word());
    match scope {
        Scope::EndpointIndependent => Finding::new("mapping", State::Good, found)
            .means("your outside port is the same for everyone: peers find it"),
        Scope::AddressDependent | Scope::AddressAndPortDependent => {
            Finding::new("mapping", State::Limited, found)
                .means(
                    "every peer sees another port: paths to peers behind strict filters take \
                     seconds, and to another such translator go through the server",
                )
                .fix("switch UPnP or PCP on in the router, or its \"symmetric NAT\" off")
        }
    }
}

fn filtering(survey: &Survey) -> Finding {
    match survey.filtering {
        None => Finding::new("filtering", State::Unknown, "the server has one address only")
            .fix(ASK_ADMIN),
        Some(Scope::EndpointIndependent) => {
            Finding::new("filtering", State::Good, Scope::EndpointIndependent.word())
                .means("whoever knows your port reaches you")
        }
        Some(scope) => Finding::new("filtering", State::Good, scope.word())
            .means("only those to whom you have sent reach you; peers send both at once"),
    }
}

fn hairpin(survey: &Survey) -> Finding {
    match survey.hairpin {
        Some(true) => Finding::new("hairpin", State::Good, "yes"),
        Some(false) => Finding::new("hairpin", State::Good, "no")
            .means("peers behind the same router meet by their inside addresses, which is better"),
        None => Finding::new("hairpin", State::Unknown, "not found out"),
    }
}

fn mtu(server: &ServerFacts) -> Finding {
    match (server.passes_needed, server.passes_ethernet) {
        (true, true) => {
            Finding::new("mtu", State::Good, format!("datagrams of {ETHERNET} bytes pass"))
        }
        (true, false) => {
            let found = format!("datagrams of {NEEDED} bytes pass, of {ETHERNET} bytes do not");
            Finding::new("mtu", State::Good, found)
                .means("a tunnel or DSL on the way; packet sizes are found out by themselves")
        }
        (false, _) => {
            let found = format!("datagrams of {NEEDED} bytes do not pass");
            Finding::new("mtu", State::Limited, found)
                .means("QUIC and our UDP cannot connect; TCP can")
                .fix("raise the MTU of the tunnel or VPN to 1280 at least")
        }
    }
}

fn router(router: Option<&RouterFacts>) -> Finding {
    let Some(router) = router else {
        return Finding::new("router", State::Unknown, "no default route was found");
    };
    let word = |(protocol, found): &(_, Result<SocketAddr, String>)| match found {
        Ok(external) => format!("{protocol} gives {external}"),
        Err(why) => format!("{protocol}: {why}"),
    };
    let all: Vec<String> = router.ports.iter().map(word).collect();
    let found = format!("{}: {}", router.gateway, all.join("; "));
    if router.ports.iter().any(|(_, found)| found.is_ok()) {
        return Finding::new("router", State::Good, found)
            .means("peers reach a port that the router forwards");
    }
    Finding::new("router", State::Limited, found)
        .means("no port can be had from the router; peers punch holes")
        .fix("switch UPnP, NAT-PMP or PCP on in the router, if you trust what runs on the network")
}

/// The router's outside address is not ours in the internet: there is another one behind it.
fn second_translator(router: &RouterFacts, facts: &Facts) -> Option<Finding> {
    let outside = router.ports.iter().find_map(|(_, found)| found.as_ref().ok())?.ip();
    let mapped = facts.server.as_ref().and_then(|server| server.survey.mapped);
    let is_other = mapped.is_some_and(|mapped| mapped.ip() != outside);
    (is_other || is_private(outside)).then(|| {
        Finding::new("carrier", State::Limited, format!("the router itself is seen as {outside}"))
            .means("the provider translates addresses too: ports of your router are not reachable")
            .fix("ask the provider for an address of your own, or for IPv6")
    })
}

/// Addresses that are no internet's (RFC 1918, and RFC 6598 for carriers).
const fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || is_carrier(ip) || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

const fn is_carrier(ip: Ipv4Addr) -> bool {
    ip.octets()[0] == 100 && ip.octets()[1] & 0xC0 == 64
}

fn clock(facts: &Facts) -> Finding {
    let Some(installed) = facts.installed else {
        return Finding::new("clock", State::Unknown, "nothing to compare it with");
    };
    if facts.now + CLOCK_TOLERANCE < installed {
        return Finding::new("clock", State::Limited, "it is earlier than this program was made")
            .means("your files and logs have wrong times")
            .fix("set the clock, or let it be set (NTP)");
    }
    Finding::new("clock", State::Good, "plausible")
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use portolan_nat_io::MappingProtocol;

    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn home() -> Facts {
        let survey = Survey {
            mapped: Some(at("198.51.100.7:7000")),
            rtt: Some(Duration::from_millis(20)),
            other: Some(at("203.0.113.2:7276")),
            mapping: Some(Scope::EndpointIndependent),
            filtering: Some(Scope::AddressAndPortDependent),
            hairpin: Some(false),
        };
        Facts {
            own: vec!["192.168.1.2".parse().unwrap(), "2001:db8::7".parse().unwrap()],
            server: Some(ServerFacts {
                address: at("203.0.113.1:7275"),
                tcp: Ok(Duration::from_millis(21)),
                survey,
                local_port: 7000,
                passes_needed: true,
                passes_ethernet: true,
            }),
            lan: Ok(vec![LanServer {
                name: "home".to_owned(),
                key: "KEY".to_owned(),
                role: LanRole::SetUp,
                addresses: vec![at("192.168.1.9:7275")],
            }]),
            router: Some(RouterFacts {
                gateway: "192.168.1.1".parse().unwrap(),
                ports: vec![(MappingProtocol::Pcp, Ok(at("198.51.100.7:7000")))],
            }),
            now: SystemTime::UNIX_EPOCH + CLOCK_TOLERANCE * 100,
            installed: Some(SystemTime::UNIX_EPOCH + CLOCK_TOLERANCE * 99),
        }
    }

    /// What becomes of one check when something is changed.
    fn state(check: &str, change: impl FnOnce(&mut Facts)) -> Option<State> {
        let mut facts = home();
        change(&mut facts);
        let all = judge(&facts);
        all.into_iter().find(|finding| finding.check == check).map(|finding| finding.state)
    }

    fn survey(facts: &mut Facts) -> &mut Survey {
        &mut facts.server.as_mut().unwrap().survey
    }

    #[test]
    fn an_ordinary_home_has_nothing_broken_and_knows_its_limits() {
        for finding in judge(&home()) {
            let expected = match finding.check {
                // 2001:db8::/32 lies within what the internet would route.
                "translation" => State::Limited,
                _ => State::Good,
            };
            assert_eq!(finding.state, expected, "{finding:?}");
        }
    }

    #[test]
    fn what_limits_or_breaks_is_found_with_a_fix() {
        type Change = fn(&mut Facts);
        let rows: [(&str, State, Change); 12] = [
            ("addresses", State::Broken, |facts| facts.own.clear()),
            ("ipv6", State::Limited, |facts| facts.own.truncate(1)),
            ("tcp", State::Broken, |facts| {
                facts.server.as_mut().unwrap().tcp = Err("refused".to_owned());
            }),
            ("udp", State::Limited, |facts| *survey(facts) = Survey::default()),
            ("mapping", State::Limited, |facts| {
                survey(facts).mapping = Some(Scope::AddressAndPortDependent);
            }),
            ("mapping", State::Unknown, |facts| survey(facts).mapping = None),
            ("mtu", State::Limited, |facts| {
                facts.server.as_mut().unwrap().passes_needed = false;
            }),
            ("lan", State::Limited, |facts| facts.lan = Err("port 5353 is taken".to_owned())),
            ("lan", State::Unknown, |facts| facts.lan = Ok(Vec::new())),
            ("router", State::Limited, |facts| {
                facts.router.as_mut().unwrap().ports[0].1 = Err("no answer".to_owned());
            }),
            ("carrier", State::Limited, |facts| {
                facts.router.as_mut().unwrap().ports[0].1 = Ok(at("100.64.3.4:7000"));
            }),
            ("clock", State::Limited, |facts| facts.now = SystemTime::UNIX_EPOCH),
        ];
        for (check, expected, change) in rows {
            assert_eq!(state(check, change), Some(expected), "{check}");
            let mut facts = home();
            change(&mut facts);
            let all = judge(&facts);
            let finding = all.iter().find(|finding| finding.check == check).unwrap();
            assert!(finding.fix.is_some(), "{check} has no advice");
        }
    }

    #[test]
    fn without_a_server_or_a_translator_less_is_said() {
        assert_eq!(state("server", |facts| facts.server = None), Some(State::Unknown));
        assert_eq!(state("udp", |facts| facts.server = None), None);
        let open = |facts: &mut Facts| {
            survey(facts).mapped = Some(at("192.168.1.2:7000"));
            survey(facts).filtering = Some(Scope::EndpointIndependent);
        };
        assert_eq!(state("translation", open), Some(State::Good));
        assert_eq!(state("mapping", open), None);
        assert_eq!(state("hairpin", open), None);
    }
}
