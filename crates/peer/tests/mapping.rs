//! A port of the router, which is played by this test on an address of this machine.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use std::{net::IpAddr, sync::Arc};

use portolan_peer::{PathRule, RouterRule};
use portolan_protocol::{
    Candidate, CandidateKind, Ends, Meet, PeerCommand, PeerMessage, PeerReply, RequestId, Ticket,
};
use portolan_transport::{Connection, Transport};
use portolan_transport_tcp::Tcp;
use portolan_transport_udp::Udp;
use tokio::{net::UdpSocket, sync::mpsc, task::JoinSet};

use self::support::{Harbour, open, within};

static TCP: &[&dyn Transport] = &[&Tcp];
static UDP: &[&dyn Transport] = &[&Udp];

/// Where NAT-PMP is spoken (RFC 6886 §3.1).
const NAT_PMP_PORT: u16 = 5351;

/// What the router was asked.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    /// 1: UDP, 2: TCP (RFC 6886 §3.3).
    operation: u8,
    lifetime: u32,
}

/// A router that forwards port 4711 for two seconds, and tells what it was asked. It ends with the
/// returned tasks.
async fn router(gateway: IpAddr) -> (JoinSet<()>, mpsc::Receiver<Asked>) {
    let socket = UdpSocket::bind((gateway, NAT_PMP_PORT)).await.unwrap();
    let (tell, told) = mpsc::channel(1024);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut buffer = [0; 1100];
        loop {
            let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
            let epoch = [0, 0, 0, 9];
            let answer: Vec<u8> = match buffer[..len] {
                [0, 0] => [&[0, 128, 0, 0][..], &epoch, &[198, 51, 100, 7]].concat(),
                [0, operation @ 1..=2, _, _, a, b, _, _, ref life @ ..] => {
                    let lifetime = u32::from_be_bytes(life.try_into().unwrap());
                    // Who does not listen any more has seen enough.
                    let _ = tell.try_send(Asked { operation, lifetime });
                    let given = lifetime.min(2).to_be_bytes();
                    let (head, port) = ([0, 128 + operation, 0, 0], 4711_u16.to_be_bytes());
                    [&head[..], &epoch, &[a, b], &port, &given].concat()
                }
                // Version 0 is the nearest that is spoken: unsupported version.
                _ => [&[0, 128, 0, 1][..], &epoch].concat(),
            };
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    (tasks, told)
}

/// Where bob says he can be reached.
async fn candidates(session: &Arc<dyn Connection>, scheme: &str) -> Vec<Candidate> {
    let (mut writer, mut reader) = open(session).await;
    let ends = Ends { transport: scheme.into(), ..Ends::default() };
    let meet = PeerCommand::Meet(Meet { ticket: Ticket([5; 32]), ends });
    writer.send(&PeerMessage::Request(RequestId(1), meet)).await.unwrap();
    let answer: PeerMessage = reader.next_message().await.unwrap();
    let PeerMessage::Answer(_, PeerReply::Ends(ends)) = answer else { panic!("{answer:?}") };
    ends.candidates
}

#[tokio::test]
async fn a_port_of_the_router_is_told_to_others_renewed_and_given_back() {
    for (transports, operation, gateway) in [(UDP, 1, [127, 0, 53, 61]), (TCP, 2, [127, 0, 53, 62])]
    {
        let scheme = transports[0].scheme();
        let (_router, mut told) = router(gateway.into()).await;
        let harbour = Harbour::open_with(transports).await;
        let mut config = harbour.config("bob");
        let own = IpAddr::from([127, 0, 0, 1]);
        let ssdp = (own, 9).into();
        let router = portolan_nat_io::Router { gateway: gateway.into(), own, ssdp };
        config.router = RouterRule::This(router);
        let (bob, _events) = harbour.peer_with(config).await;
        let mallory = harbour.raw("mallory").await;
        let session = within("calling", mallory.call("bob", bob.id())).await;
        let found = within("the router's port", async {
            loop {
                let all = candidates(&session, scheme).await;
                let mapped = |candidate: &Candidate| candidate.found == CandidateKind::Mapped;
                if let Some(mapped) = all.into_iter().find(mapped) {
                    return mapped;
                }
            }
        });
        let found = found.await;
        assert_eq!((found.address.as_str(), &*found.transport), ("198.51.100.7:4711", scheme));
        for what in ["the first lease", "its renewal", "another one"] {
            let asked = within(what, told.recv()).await.unwrap();
            assert!(asked.operation == operation && asked.lifetime > 0, "{what}: {asked:?}");
        }
        within("the farewell", bob.logout()).await;
        let given_back = async {
            while let Some(asked) = told.recv().await {
                if asked == (Asked { operation, lifetime: 0 }) {
                    return;
                }
            }
        };
        within("giving it back", given_back).await;
    }
}

#[tokio::test]
async fn who_is_reached_through_the_server_alone_asks_no_router() {
    let gateway = IpAddr::from([127, 0, 53, 63]);
    let (_router, mut told) = router(gateway).await;
    let harbour = Harbour::open_with(UDP).await;
    let mut config = harbour.config("bob");
    let own = IpAddr::from([127, 0, 0, 1]);
    let router = portolan_nat_io::Router { gateway, own, ssdp: (own, 9).into() };
    (config.router, config.paths) = (RouterRule::This(router), PathRule::RelayOnly);
    let (bob, _events) = harbour.peer_with(config).await;
    let mallory = harbour.raw("mallory").await;
    let session = within("calling", mallory.call("bob", bob.id())).await;
    let all = within("the ends", candidates(&session, "udp")).await;
    assert!(all.is_empty(), "{all:?}");
    within("the farewell", bob.logout()).await;
    assert!(told.try_recv().is_err());
}
