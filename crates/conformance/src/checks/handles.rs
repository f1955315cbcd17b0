//! Dropping is a defined act.

use portolan_transport::{CloseCode, CloseReason};

use crate::{Harness, net::Pair, payload};

fn is_dropped(reason: &CloseReason) -> bool {
    matches!(reason, CloseReason::Remote { code: CloseCode::DROPPED, .. })
}

pub(super) async fn a_dropped_connection_is_closed(harness: Harness) {
    let pair = Pair::new(harness).await;
    pair.round_trip().await;
    drop(pair.alice);
    let reason = pair.bob.closed().await;
    assert!(is_dropped(&reason), "{reason:?}");
}

pub(super) async fn streams_keep_their_connection_open(harness: Harness) {
    let pair = Pair::new(harness).await;
    let [(mut send, near), (_far, mut recv)] = pair.stream().await;
    drop(pair.alice);
    drop(near);
    for tag in 0..10 {
        payload::write(&mut send, tag, 10_000).await;
        payload::read(&mut recv, tag, 0, 10_000).await;
    }
    drop(send);
    let reason = pair.bob.closed().await;
    assert!(is_dropped(&reason), "{reason:?}");
}
