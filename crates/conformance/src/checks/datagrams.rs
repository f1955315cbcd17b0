//! Messages that may be lost.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use portolan_transport::{CloseCode, Connection, Lifetime, RecvDatagramError, SendDatagramError};

use crate::{
    Harness,
    net::{Pair, until},
    payload,
};

const LIFETIMES: [Lifetime; 2] = [Lifetime::Once, Lifetime::Until(Duration::from_secs(5))];

fn message(tag: usize, size: usize) -> Bytes {
    payload::bytes(tag, size).into()
}

pub(super) async fn datagrams_of_every_size_that_fits_arrive(harness: Harness) {
    let pair = Pair::new(harness).await;
    for lifetime in LIFETIMES {
        for (from, to) in [(&pair.alice, &pair.bob), (&pair.bob, &pair.alice)] {
            // The limit may grow while we try; what counts is the limit of the moment.
            let mut sizes: Vec<usize> = vec![0, 1, 2, 63, 64, 1000, from.max_datagram_size()];
            sizes.push(from.max_datagram_size() / 2);
            sizes.retain(|size| *size <= from.max_datagram_size());
            for size in sizes {
                from.send_datagram(message(size, size), lifetime).expect("it fits");
                let got = to.recv_datagram().await.expect("it comes");
                assert!(got == message(size, size), "{size} bytes came as {}", got.len());
            }
        }
    }
}

pub(super) async fn a_longer_datagram_than_fits_is_an_error(harness: Harness) {
    let pair = Pair::new(harness).await;
    for lifetime in LIFETIMES {
        let fits = pair.alice.max_datagram_size();
        assert!(fits >= 1000, "{fits} bytes is too little for a frame of audio");
        for longer in [1, 100, 1 << 20] {
            let size = fits + longer;
            let result = pair.alice.send_datagram(message(0, size), lifetime);
            // Discovery of the path may have raised the limit since.
            match result {
                Err(SendDatagramError::TooLarge { size: said, max }) => {
                    assert_eq!(said, size);
                    assert!(max >= fits.min(1000) && max < size);
                }
                Ok(()) => assert!(pair.alice.max_datagram_size() >= size, "it was split"),
                Err(error) => panic!("{error}"),
            }
        }
    }
    pair.round_trip().await;
}

/// Numbered messages in both directions, under load and with both lifetimes.
pub(super) async fn datagrams_come_whole_and_at_most_once(harness: Harness) {
    let pair = Pair::new(harness).await;
    tokio::join!(number(&pair, &*pair.alice, &*pair.bob), number(&pair, &*pair.bob, &*pair.alice));
}

async fn number(pair: &Pair, from: &dyn Connection, to: &dyn Connection) {
    const COUNT: usize = 1500;
    let mut seen = HashSet::new();
    let mut take = |got: Bytes| {
        let (number, body) = got.split_at_checked(4).expect("whole");
        let number = u32::from_be_bytes(number.try_into().expect("four bytes")) as usize;
        assert!(number < COUNT, "a number that was never sent");
        assert!(body == payload::bytes(number, number % 900), "message {number} was changed");
        assert!(seen.insert(number), "message {number} came twice");
    };
    for number in 0..COUNT {
        let mut body = u32::try_from(number).expect("few").to_be_bytes().to_vec();
        body.extend(payload::bytes(number, number % 900));
        from.send_datagram(body.into(), LIFETIMES[number % 2]).expect("it fits");
        if number % 25 == 24 {
            pair.round_trip().await;
        }
        while let Some(got) = ready(to).await {
            take(got);
        }
    }
    // Copies of the last ones would come within a few round trips.
    for _ in 0..50 {
        pair.round_trip().await;
        while let Some(got) = ready(to).await {
            take(got);
        }
    }
    assert!(seen.len() > COUNT / 2, "only {} of {COUNT} came", seen.len());
}

/// A message that has come already.
async fn ready(connection: &dyn Connection) -> Option<Bytes> {
    tokio::select! {
        biased;
        got = connection.recv_datagram() => Some(got.expect("the connection is open")),
        () = tokio::task::yield_now() => None,
    }
}

pub(super) async fn datagrams_that_came_before_the_end_are_handed_out(harness: Harness) {
    let pair = Pair::new(harness).await;
    // Sent again until three have come: on a bad network some do not.
    let mut tag = 0;
    until(&pair, || {
        pair.alice.send_datagram(message(tag, 10), Lifetime::Once).expect("it fits");
        tag += 1;
        pair.bob.stats().datagrams_received >= 3
    })
    .await;
    pair.alice.close(CloseCode(9), "over");
    pair.bob.closed().await;
    for _ in 0..3 {
        let got = pair.bob.recv_datagram().await.expect("it came before the end");
        assert_eq!(got.len(), 10);
    }
    loop {
        match pair.bob.recv_datagram().await {
            Ok(_) => {}
            Err(RecvDatagramError::Closed(_)) => return,
        }
    }
}

/// Where a transport tells what became of messages with a deadline, it accounts for each.
pub(super) async fn every_message_with_a_deadline_has_an_outcome(harness: Harness) {
    const COUNT: u64 = 60;
    let pair = Pair::new(harness).await;
    for tag in 0..COUNT {
        let lifetime = if tag % 3 == 0 { Duration::ZERO } else { Duration::from_secs(30) };
        let message = message(usize::try_from(tag).expect("few"), 100);
        pair.alice.send_datagram(message, Lifetime::Until(lifetime)).expect("it fits");
        pair.round_trip().await;
    }
    assert_eq!(pair.alice.stats().datagrams_expired, COUNT / 3, "no time is no time");
    if pair.alice.stats().datagram_outcomes.is_none() {
        return;
    }
    until(&pair, || {
        let stats = pair.alice.stats();
        let outcomes = stats.datagram_outcomes.expect("it was known before");
        let told = outcomes.in_time + outcomes.late + outcomes.lost;
        assert!(told <= stats.datagrams_sent, "{told} outcomes of {}", stats.datagrams_sent);
        told == COUNT - COUNT / 3
    })
    .await;
    let outcomes = pair.alice.stats().datagram_outcomes.expect("it was known before");
    assert_eq!((outcomes.late, outcomes.lost), (0, 0), "half a minute is long");
}

pub(super) async fn a_full_queue_drops_the_oldest(harness: Harness) {
    const SIZE: usize = 1000;
    const COUNT: usize = 400;
    let pair = Pair::with(harness, |config| config.limits.datagram_queue = 32 << 10).await;
    for tag in 0..COUNT {
        pair.alice.send_datagram(message(tag, SIZE), Lifetime::Once).expect("it fits");
    }
    let dropped = || pair.alice.stats().datagrams_dropped + pair.bob.stats().datagrams_dropped;
    until(&pair, || dropped() > 0).await;
    let mut got = Vec::new();
    while got.last() != Some(&message(COUNT - 1, SIZE)) {
        got.push(pair.bob.recv_datagram().await.expect("the newest comes"));
    }
    assert!(got.len() < COUNT, "nothing was dropped");
    pair.round_trip().await;
}
