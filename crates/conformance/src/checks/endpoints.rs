//! Endpoints: whom they reach, whom they take, and how they go.

use std::{sync::Arc, time::Duration};

use futures_util::future::select_all;
use portolan_transport::{
    AcceptError, BindConfig, BindError, CloseCode, CloseReason, ConnectError, Connection, Expect,
    Identity, Lifetime,
};
use tokio::task::JoinSet;

use crate::{
    Dial, Harness,
    net::{Net, Pair, alice, bob, round_trip, unchanged, until},
};

pub(super) async fn both_sides_know_whom_they_talk_to(harness: Harness) {
    let net = Net::new(harness);
    let near = net.bind(alice(), unchanged).await;
    let far = net.bind(bob(), unchanged).await;
    let (dialled, accepted) = net.meet(&*near, &*far).await;
    assert_eq!(dialled.remote_id(), bob().id());
    assert_eq!(accepted.remote_id(), alice().id());
    assert_eq!(dialled.path().remote, dialled.remote_addr());
    assert_eq!(accepted.path().remote, accepted.remote_addr());
    match net.harness.dial {
        Dial::Straight => assert_eq!(dialled.remote_addr(), far.local_addr()),
        Dial::Through(_) => assert_ne!(dialled.remote_addr(), far.local_addr()),
    }
    assert_ne!(near.local_addr().port(), 0);
}

pub(super) async fn another_key_than_the_expected_is_refused(harness: Harness) {
    let net = Net::new(harness);
    let near = net.bind(alice(), unchanged).await;
    let far = net.bind(bob(), unchanged).await;
    let expected = Identity::from_seed([3; 32]).id();
    let way = net.way_to(far.local_addr()).await;
    for _ in 0..3 {
        match near.connect(way, Expect::Id(expected)).await {
            Err(ConnectError::WrongPeer { addr, expected: said }) => {
                assert_eq!((addr, said), (way, expected));
            }
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("an impostor was taken for carol"),
        }
    }
    let (dialled, accepted) = net.meet(&*near, &*far).await;
    round_trip(&*dialled, &*accepted).await;
}

pub(super) async fn whoever_expects_anyone_learns_the_key(harness: Harness) {
    let net = Net::new(harness);
    let near = net.bind(alice(), unchanged).await;
    let far = net.bind(bob(), unchanged).await;
    let (dialled, accepted) = tokio::join!(net.dial(&*near, &*far, Expect::Any), far.accept());
    let (dialled, accepted) = (dialled.expect("reached"), accepted.expect("open"));
    assert_eq!(dialled.remote_id(), bob().id());
    round_trip(&*accepted, &*dialled).await;
}

pub(super) async fn a_closed_port_is_reported_in_time(harness: Harness) {
    let net = Net::new(harness);
    let near = net.bind(alice(), |config| {
        config.timing.handshake = Duration::from_secs(3);
    });
    let near = near.await;
    let far = net.bind(bob(), unchanged).await;
    let gone = far.local_addr();
    far.close(CloseCode::DONE, "").await;
    drop(far);
    match near.connect(gone, Expect::Any).await {
        Err(
            ConnectError::Unreachable { addr, .. }
            | ConnectError::TimedOut(addr)
            | ConnectError::Refused { addr, .. },
        ) => assert_eq!(addr, gone),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("reached somebody where nobody is"),
    }
    let far = net.bind(bob(), unchanged).await;
    let (dialled, accepted) = net.meet(&*near, &*far).await;
    round_trip(&*dialled, &*accepted).await;
}

pub(super) async fn a_taken_port_is_reported(harness: Harness) {
    let net = Net::new(harness);
    let far = net.bind(bob(), unchanged).await;
    let taken = far.local_addr();
    for identity in [alice(), bob()] {
        match net.bind_at(BindConfig::new(taken, identity)).await {
            Err(BindError::InUse(addr)) => assert_eq!(addr, taken),
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("two endpoints on one address"),
        }
    }
    let near = net.bind(alice(), unchanged).await;
    let (dialled, accepted) = net.meet(&*near, &*far).await;
    round_trip(&*dialled, &*accepted).await;
}

pub(super) async fn closing_an_endpoint_ends_everything(harness: Harness) {
    let net = Net::new(harness);
    let near = net.bind(alice(), unchanged).await;
    let far = net.bind(bob(), unchanged).await;
    let (dialled, accepted) = net.meet(&*near, &*far).await;
    let (again, _accepted) = net.meet(&*near, &*far).await;
    let waiting = Arc::clone(&far);
    let waiting = tokio::spawn(async move { waiting.accept().await.map(drop) });
    far.close(CloseCode(8), "going home").await;
    for connection in [&dialled, &again] {
        assert_eq!(
            connection.closed().await,
            CloseReason::Remote { code: CloseCode(8), reason: "going home".to_owned() }
        );
    }
    assert_eq!(
        accepted.closed().await,
        CloseReason::Local { code: CloseCode(8), reason: "going home".to_owned() }
    );
    assert_eq!(waiting.await.expect("no panic"), Err(AcceptError::Closed));
    assert_eq!(far.accept().await.expect_err("it is closed"), AcceptError::Closed);
    match far.connect(near.local_addr(), Expect::Any).await {
        Err(ConnectError::Unusable { addr, .. }) => assert_eq!(addr, near.local_addr()),
        other => panic!("{other:?}"),
    }
    // A second call finds nothing to do.
    far.close(CloseCode(9), "again").await;
}

pub(super) async fn a_closed_endpoint_frees_its_port(harness: Harness) {
    let net = Net::new(harness);
    let near = net.bind(alice(), unchanged).await;
    let mut far = net.bind(bob(), unchanged).await;
    let port = far.local_addr();
    for _ in 0..3 {
        let (dialled, accepted) = net.meet(&*near, &*far).await;
        round_trip(&*dialled, &*accepted).await;
        // Its handle is still held: closing is what frees the port.
        far.close(CloseCode::DONE, "").await;
        dialled.closed().await;
        let again = net.bind_at(BindConfig::new(port, bob())).await;
        far = again.expect("the port is free after close");
    }
}

pub(super) async fn a_dropped_endpoint_closes_its_connections(harness: Harness) {
    let net = Net::new(harness);
    let near = net.bind(alice(), unchanged).await;
    let far = net.bind(bob(), unchanged).await;
    let (dialled, accepted) = net.meet(&*near, &*far).await;
    drop(far);
    accepted.closed().await;
    dialled.closed().await;
}

pub(super) async fn many_clients_are_served_at_once(harness: Harness) {
    const ENDPOINTS: usize = 8;
    const EACH: usize = 5;
    let net = Arc::new(Net::new(harness));
    let far = net.bind(bob(), unchanged).await;
    let mut work = JoinSet::new();
    for number in 0..ENDPOINTS {
        let identity = Identity::from_seed([10 + u8::try_from(number).expect("few"); 32]);
        let near = net.bind(identity, unchanged).await;
        for _ in 0..EACH {
            let (net, near, far) = (Arc::clone(&net), Arc::clone(&near), Arc::clone(&far));
            work.spawn(async move {
                let dialled = net.dial(&*near, &*far, Expect::Id(bob().id())).await;
                let dialled = dialled.expect("bob serves all");
                listen_once(&*dialled).await;
            });
        }
    }
    for _ in 0..ENDPOINTS * EACH {
        let connection = far.accept().await.expect("bob is open");
        work.spawn(async move { tell_once(&*connection).await });
    }
    work.join_all().await;
}

/// Tells the other side whom it is taken for, and waits until it is gone.
async fn tell_once(connection: &dyn Connection) {
    use tokio::io::AsyncWriteExt;

    let (mut send, _recv) = connection.open_stream(Default::default()).await.expect("room");
    send.write_all(connection.remote_id().as_bytes()).await.expect("room for an id");
    send.finish().expect("the end passes");
    connection.closed().await;
}

async fn listen_once(connection: &dyn Connection) {
    use tokio::io::AsyncReadExt;

    let (_send, mut recv) = connection.accept_stream().await.expect("a stream comes");
    let mut said = Vec::new();
    recv.read_to_end(&mut said).await.expect("an id comes");
    assert_eq!(said.len(), 32);
    connection.close(CloseCode::DONE, "heard");
}

pub(super) async fn several_tasks_may_accept(harness: Harness) {
    const TASKS: usize = 6;
    let net = Net::new(harness);
    let near = net.bind(alice(), unchanged).await;
    let far = net.bind(bob(), unchanged).await;
    let mut acceptors = JoinSet::new();
    for _ in 0..TASKS {
        let far = Arc::clone(&far);
        acceptors.spawn(async move { far.accept().await.expect("bob is open") });
    }
    let mut dialled = Vec::new();
    for _ in 0..TASKS {
        let connection = net.dial(&*near, &*far, Expect::Id(bob().id())).await;
        dialled.push(connection.expect("alice reaches bob"));
    }
    let accepted = acceptors.join_all().await;
    // Each went to one task: as many ends as beginnings, all of them alive.
    let mut telling = JoinSet::new();
    for connection in accepted {
        telling.spawn(async move { tell_once(&*connection).await });
    }
    for connection in dialled {
        listen_once(&*connection).await;
    }
    telling.join_all().await;
}

pub(super) async fn a_full_backlog_turns_away_and_recovers(harness: Harness) {
    const BACKLOG: usize = 3;
    let net = Net::new(harness);
    let near = net.bind(alice(), |config| {
        config.timing.handshake = Duration::from_secs(4);
    });
    let near = near.await;
    let far = net.bind(bob(), |config| config.limits.accept_backlog = 3).await;
    let way = net.way_to(far.local_addr()).await;
    let mut attempts = JoinSet::new();
    for _ in 0..BACKLOG + 5 {
        let near = Arc::clone(&near);
        attempts.spawn(async move { near.connect(way, Expect::Id(bob().id())).await });
    }
    // Some are refused at once, others learn it as soon as they are connected.
    let mut living: Vec<_> = attempts.join_all().await.into_iter().flatten().collect();
    while living.len() > BACKLOG {
        let (_refused, index, _) = select_all(living.iter().map(|living| living.closed())).await;
        living.swap_remove(index);
    }
    let mut taken = JoinSet::new();
    for _ in 0..BACKLOG {
        let connection = far.accept().await.expect("those that fit are kept");
        taken.spawn(async move { tell_once(&*connection).await });
    }
    for connection in living {
        listen_once(&*connection).await;
    }
    taken.join_all().await;
    let (dialled, accepted) = net.meet(&*near, &*far).await;
    round_trip(&*dialled, &*accepted).await;
}

pub(super) async fn the_limit_of_connections_is_kept(harness: Harness) {
    let net = Net::new(harness);
    let near = net.bind(alice(), |config| {
        config.timing.handshake = Duration::from_secs(2);
    });
    let near = near.await;
    let far = net.bind(bob(), |config| config.limits.connections = 2).await;
    let (first, _accepted) = net.meet(&*near, &*far).await;
    let (second, accepted) = net.meet(&*near, &*far).await;
    let way = net.way_to(far.local_addr()).await;
    match near.connect(way, Expect::Id(bob().id())).await {
        Ok(third) => drop(third.closed().await),
        Err(ConnectError::Refused { .. } | ConnectError::TimedOut(_)) => {}
        Err(other) => panic!("{other:?}"),
    }
    round_trip(&*second, &*accepted).await;
    first.close(CloseCode::DONE, "room for another");
    // The place is free once bob has heard of it, and not before.
    loop {
        let Ok(fourth) = near.connect(way, Expect::Id(bob().id())).await else { continue };
        tokio::select! {
            taken = far.accept() => {
                let taken = taken.expect("bob is open");
                if let Some(_reason) = ended(&*taken).await { continue }
                break round_trip(&*fourth, &*taken).await;
            }
            _refused = fourth.closed() => {}
        }
    }
}

async fn ended(connection: &dyn Connection) -> Option<CloseReason> {
    tokio::select! {
        biased;
        reason = connection.closed() => Some(reason),
        () = tokio::task::yield_now() => None,
    }
}

pub(super) async fn counters_move(harness: Harness) {
    let pair = Pair::new(harness).await;
    let before = [pair.alice.stats(), pair.bob.stats()];
    pair.round_trip().await;
    until(&pair, || {
        pair.alice.send_datagram("count me".into(), Lifetime::Once).expect("it fits");
        pair.bob.stats().datagrams_received > before[1].datagrams_received
    })
    .await;
    let after = [pair.alice.stats(), pair.bob.stats()];
    for (before, after) in before.iter().zip(&after) {
        assert!(after.bytes_sent > before.bytes_sent, "{before:?} {after:?}");
        assert!(after.bytes_received > before.bytes_received, "{before:?} {after:?}");
        assert!(after.packets_sent > before.packets_sent, "{before:?} {after:?}");
        assert!(after.packets_received > before.packets_received, "{before:?} {after:?}");
    }
    assert!(after[0].datagrams_sent > before[0].datagrams_sent);
}
