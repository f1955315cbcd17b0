//! Through a relay of datagrams: a transport notices nothing but a longer way, and a relay that
//! does what it likes learns nothing and breaks nothing.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use portolan_datagram_io::{Channel, Lane, LaneSocket, SharedSockets, data_header, is_relayed};
use tokio::task::JoinSet;

use super::*;

/// What alice's and bob's datagrams are marked with.
const NUMBERS: [u64; 2] = [0x0a11_ce00, 0xb0b0_0b0b];

const SECRET: &[u8] = b"a sentence that no relay has any business with";

/// One side: an endpoint, and its channel through a relay at the same port.
struct Side {
    endpoint: Arc<dyn Endpoint>,
    channel: Channel,
    _lane: Arc<LaneSocket>,
}

async fn side(transport: &dyn Transport, of: Identity, relay: SocketAddr, number: u64) -> Side {
    let config = config(of);
    let sockets = config.shared.get_or_default::<SharedSockets>();
    let endpoint = bind(transport, config).await;
    let lane = sockets.open(endpoint.local_addr(), Lane::Relay).expect("the same port");
    let channel = lane.open_channel(relay, number);
    Side { endpoint, channel, _lane: lane }
}

/// How a relay treats what it carries.
#[derive(Clone, Copy, PartialEq)]
enum Manners {
    Honest,
    /// Flips a bit, drops, repeats and holds back, each with one in sixteen.
    Hostile,
}

struct Relay {
    addr: SocketAddr,
    overheard: Arc<AtomicBool>,
    _task: JoinSet<()>,
}

/// Carries between two addresses, which it is told once they are known.
async fn relay(manners: Manners) -> (Relay, tokio::sync::oneshot::Sender<[SocketAddr; 2]>) {
    let socket = UdpSocket::bind(LOOPBACK).await.expect("a free port");
    let addr = socket.local_addr().expect("bound");
    let overheard = Arc::new(AtomicBool::new(false));
    let (tell, told) = tokio::sync::oneshot::channel();
    let ear = Arc::clone(&overheard);
    let mut task = JoinSet::new();
    task.spawn(async move {
        let sides: [SocketAddr; 2] = told.await.expect("two sides");
        let (mut chance, mut held) =
            (0x9e37_79b9_7f4a_7c15_u64, VecDeque::<(Vec<u8>, usize)>::new());
        let mut buffer = vec![0; 1 << 16];
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else { return };
            let Some(side) = sides.iter().position(|side| *side == from) else { continue };
            let mut datagram = buffer[..length].to_vec();
            if datagram.windows(SECRET.len()).any(|window| window == SECRET) {
                ear.store(true, Ordering::Relaxed);
            }
            datagram[..8].copy_from_slice(&data_header(NUMBERS[1 - side]));
            chance = chance
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            match (manners, (chance >> 32) % 16) {
                (Manners::Hostile, 0) => continue,
                (Manners::Hostile, 1) => {
                    let place = 8 + (chance >> 40) as usize % (length - 8);
                    datagram[place] ^= 1 << ((chance >> 36) % 8);
                }
                (Manners::Hostile, 2) => {
                    let _ = socket.send_to(&datagram, sides[1 - side]).await;
                }
                (Manners::Hostile, 3) => {
                    held.push_back((datagram, 1 - side));
                    if held.len() > 4
                        && let Some((late, to)) = held.pop_front()
                    {
                        let _ = socket.send_to(&late, sides[to]).await;
                    }
                    continue;
                }
                _ => {}
            }
            let _ = socket.send_to(&datagram, sides[1 - side]).await;
        }
    });
    (Relay { addr, overheard, _task: task }, tell)
}

async fn meet_through(
    relay: (&Relay, tokio::sync::oneshot::Sender<[SocketAddr; 2]>),
    transport: &dyn Transport,
) -> ([Side; 2], Pair) {
    let (relay, tell) = relay;
    let from = side(transport, alice(), relay.addr, NUMBERS[0]).await;
    let to = side(transport, bob(), relay.addr, NUMBERS[1]).await;
    tell.send([from.endpoint.local_addr(), to.endpoint.local_addr()]).expect("it waits");
    let connect = from.endpoint.connect(from.channel.addr(), Expect::Id(bob().id()));
    let (connected, accepted) = within(async { tokio::join!(connect, to.endpoint.accept()) }).await;
    let pair = (connected.expect("connected"), accepted.expect("accepted"));
    assert_eq!(pair.1.remote_addr(), to.channel.addr());
    assert!(is_relayed(pair.0.remote_addr()));
    ([from, to], pair)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_through_a_relay_carries_streams_and_datagrams() {
    for transport in over_udp() {
        let (relay, tell) = relay(Manners::Honest).await;
        let (_sides, (from, to)) = meet_through((&relay, tell), transport).await;
        assert_echo(&from, &to).await;
        assert_echo(&to, &from).await;
        from.send_datagram(SECRET.into(), portolan::Lifetime::Once).expect("room");
        assert_eq!(within(to.recv_datagram()).await.expect("alive"), SECRET);
        assert!(!relay.overheard.load(Ordering::Relaxed), "{transport:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_flips_drops_repeats_and_reorders_learns_and_breaks_nothing() {
    for transport in over_udp() {
        let (relay, tell) = relay(Manners::Hostile).await;
        let (_sides, (from, to)) = meet_through((&relay, tell), transport).await;
        let text: Vec<u8> = SECRET.iter().copied().cycle().take(300_000).collect();
        let sending = async {
            let (mut send, kept) = from.open_stream(Priority::Bulk).await.expect("open");
            send.write_all(&text).await.expect("write");
            send.finish().expect("finish");
            kept
        };
        let receiving = async {
            let (_send, mut recv) = to.accept_stream().await.expect("stream");
            let mut received = Vec::new();
            recv.read_to_end(&mut received).await.expect("read");
            received
        };
        let (_kept, received) = within(async { tokio::join!(sending, receiving) }).await;
        assert!(received == text, "{transport:?}");
        assert!(!relay.overheard.load(Ordering::Relaxed), "{transport:?}");
    }
}
