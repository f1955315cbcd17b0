//! STUN and punching over real sockets of this machine.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use portolan_datagram_io::{Lane, SharedSockets};
use portolan_nat::{
    AgentConfig, Candidate, CandidateKind, FailReason, Loopback, Mapping, ResponderLimits, Role,
    Scope, Timing,
};
use portolan_nat_io::{AskError, PunchEvent, ServiceError, StunPort, StunService};
use tokio::{net::UdpSocket, task::JoinHandle, time::timeout};

const PATIENCE: Duration = Duration::from_secs(30);
const LIMITS: ResponderLimits =
    ResponderLimits { burst: 1000, per_machine: 1000, per_second: 5000, machines: 16 };

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A port, beside a transport that reads it eagerly if `with_transport`.
fn port(local: &str, seed: u8) -> (Arc<SharedSockets>, StunPort) {
    let sockets = Arc::new(SharedSockets::default());
    let port = StunPort::open(&sockets, at(local), [seed; 32]).unwrap();
    (sockets, port)
}

/// A server on two addresses and two ports of this machine; the ports are free ones.
async fn server(listen: &str, alternate_ip: &str) -> (SocketAddr, JoinHandle<()>) {
    loop {
        let sockets = SharedSockets::default();
        let first = sockets.open(at(listen), Lane::Rudp).unwrap();
        let free = UdpSocket::bind((alternate_ip, 0)).await.unwrap().local_addr().unwrap();
        let main = first.local_addr();
        let Ok(service) = StunService::open(&sockets, main, Some(free), LIMITS) else { continue };
        // Nobody reads the transport's lane: the service reads when it is alone.
        drop(first);
        return (main, tokio::spawn(service.run()));
    }
}

#[tokio::test]
async fn a_port_learns_as_which_a_server_sees_it() {
    let (server, _task) = server("127.0.0.1:0", "127.0.0.2").await;
    let (_sockets, port) = port("127.0.0.1:0", 1);
    assert_eq!(port.reflexive(server).await.unwrap(), port.local_addr());
}

#[tokio::test]
async fn a_port_that_is_bound_to_both_families_learns_its_ipv4_address() {
    let (server, _task) = server("127.0.0.1:0", "127.0.0.2").await;
    let (_sockets, port) = port("[::]:0", 1);
    let seen = port.reflexive(server).await.unwrap();
    assert_eq!(seen, SocketAddr::new(at("127.0.0.1:0").ip(), port.local_addr().port()));
}

#[tokio::test]
async fn who_does_not_answer_is_said_not_to() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (_sockets, port) = port("127.0.0.1:0", 1);
    let asked = port.reflexive(silent.local_addr().unwrap()).await;
    assert!(matches!(asked, Err(AskError::NoAnswer { .. })), "{asked:?}");
}

#[tokio::test]
async fn a_survey_without_a_translator_finds_none() {
    for (listen, alternate) in [("127.0.0.1:0", "127.0.0.2"), ("0.0.0.0:0", "127.0.0.3")] {
        let (main, _task) = server(listen, alternate).await;
        let main = SocketAddr::new(at("127.0.0.1:0").ip(), main.port());
        let (_sockets, port) = port("127.0.0.1:0", 1);
        let found = timeout(PATIENCE, port.survey(main)).await.unwrap().unwrap();
        assert_eq!(found.mapped, Some(port.local_addr()));
        assert_eq!(found.mapping, Some(Scope::EndpointIndependent), "{listen}");
        assert_eq!(found.filtering, Some(Scope::EndpointIndependent), "{listen}");
        let mapping = timeout(PATIENCE, port.mapping(main)).await.unwrap().unwrap();
        assert_eq!(mapping, Mapping::Independent, "{listen}");
    }
}

#[tokio::test]
async fn an_alternate_address_that_is_none_is_refused() {
    let sockets = SharedSockets::default();
    let main = sockets.open(at("127.0.0.1:0"), Lane::Rudp).unwrap().local_addr();
    for alternate in [main, at("127.0.0.1:1"), SocketAddr::new(at("127.0.0.2:0").ip(), main.port())]
    {
        let opened = StunService::open(&sockets, main, Some(alternate), LIMITS);
        assert!(matches!(opened, Err(ServiceError::Alternate { .. })), "{alternate}");
    }
}

fn config(role: Role, ticket: &[u8]) -> AgentConfig {
    AgentConfig { loopback: Loopback::Allowed, ..AgentConfig::new(role, ticket, [0; 32]) }
}

fn host(address: SocketAddr) -> Candidate {
    Candidate::new(CandidateKind::Host, address, 0)
}

#[tokio::test]
async fn two_ports_find_each_other_and_several_introductions_share_them() {
    let (_alices, alice) = port("127.0.0.1:0", 1);
    let (_bobs, bob) = port("127.0.0.1:0", 2);
    let mut all = Vec::new();
    for ticket in [b"one", b"two"] {
        let of_alice = alice.punch(config(Role::Controlling, ticket)).unwrap();
        let of_bob = bob.punch(config(Role::Controlled, ticket)).unwrap();
        of_alice.add_remote(host(bob.local_addr()));
        of_bob.add_remote(host(alice.local_addr()));
        all.push((of_alice, bob.local_addr(), alice.local_addr()));
        all.push((of_bob, alice.local_addr(), bob.local_addr()));
    }
    for (mut punching, remote, own) in all {
        let event = timeout(PATIENCE, punching.next()).await.unwrap().unwrap();
        let PunchEvent::Nominated { path, local } = event else { panic!("{event:?}") };
        assert_eq!((path.remote, local, path.mapped), (remote, own, Some(own)));
        assert!(punching.stats().checks_sent > 0);
    }
}

#[tokio::test]
async fn nobody_there_is_said_in_time() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (_sockets, port) = port("127.0.0.1:0", 1);
    let timing = Timing { give_up: Duration::from_millis(700), ..Timing::default() };
    let config = AgentConfig { timing, ..config(Role::Controlling, b"one") };
    let mut punching = port.punch(config).unwrap();
    punching.add_remote(host(silent.local_addr().unwrap()));
    let event = timeout(PATIENCE, punching.next()).await.unwrap();
    assert_eq!(event, Some(PunchEvent::Failed(FailReason::NoAnswer { pairs: 1 })));
}

#[tokio::test]
async fn a_punching_without_its_port_ends() {
    let (_sockets, port) = port("127.0.0.1:0", 1);
    let mut punching = port.punch(config(Role::Controlling, b"one")).unwrap();
    drop(port);
    assert_eq!(timeout(PATIENCE, punching.next()).await.unwrap(), None);
}
