//! The files that a QUIC connection leaves behind, checked as a reader of qlog would read them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs, net::Ipv4Addr, path::Path, sync::Arc};

use portolan_qlog::Qlog;
use portolan_transport::{BindConfig, CloseCode, Endpoint, Expect, Identity, Priority, Transport};
use portolan_transport_quic::Quic;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What no file may contain.
const SECRET: &str = "meet me at the old bridge";

/// Bytes of the transfer.
const LEN: usize = 500_000;

async fn bind(seed: u8, directory: &Path) -> (Arc<dyn Endpoint>, Qlog) {
    let local = (Ipv4Addr::LOCALHOST, 0).into();
    let config = BindConfig::new(local, Identity::from_seed([seed; 32]));
    let switch = Qlog::clone(&config.shared.get_or_default::<Qlog>());
    switch.write_to(directory).unwrap();
    (Quic.bind(config).await.unwrap(), switch)
}

/// Connects, sends much to bob, and closes.
async fn talk(directory: &Path) -> [Qlog; 2] {
    let (alice, alices) = bind(1, directory).await;
    let (bob, bobs) = bind(2, directory).await;
    let expect = Expect::Id(Identity::from_seed([2; 32]).id());
    let (connected, accepted) = tokio::join!(alice.connect(bob.local_addr(), expect), bob.accept());
    let (connected, accepted) = (connected.unwrap(), accepted.unwrap());
    let sending = async {
        let (mut send, mut receive) = connected.open_stream(Priority::Bulk).await.unwrap();
        send.write_all(&SECRET.repeat(LEN / SECRET.len()).into_bytes()).await.unwrap();
        send.finish().unwrap();
        receive.read_to_end(&mut Vec::new()).await.unwrap();
    };
    let receiving = async {
        let (mut send, mut receive) = accepted.accept_stream().await.unwrap();
        receive.read_to_end(&mut Vec::new()).await.unwrap();
        send.finish().unwrap();
    };
    tokio::join!(sending, receiving);
    connected.close(CloseCode(7), "enough");
    accepted.closed().await;
    alice.close(CloseCode(0), "").await;
    bob.close(CloseCode(0), "").await;
    [alices, bobs]
}

fn records(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    assert!(!text.contains(SECRET), "a log holds nothing of what was said");
    let records = text.split_terminator('\n').map(|line| line.strip_prefix('\u{1e}').unwrap());
    records.map(|record| serde_json::from_str(record).unwrap()).collect()
}

#[tokio::test]
async fn both_ends_of_a_connection_write_what_they_sent_and_received() {
    let directory = tempfile::tempdir().unwrap();
    for switch in talk(directory.path()).await {
        switch.finish();
        let totals = switch.totals();
        assert_eq!((totals.logs, totals.dropped, totals.failed), (1, 0, 0));
        assert!(totals.events > 100, "{totals:?}");
    }
    let files = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.collect();
    files.sort();
    let names: Vec<_> =
        files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    let [client, server] = names[..] else { panic!("{names:?}") };
    let id = client.strip_suffix("_client.sqlog").unwrap();
    assert_eq!(server, format!("{id}_server.sqlog"), "both ends call it the same");
    for file in &files {
        let records = records(file);
        assert_eq!(records[0]["trace"]["title"], "quic");
        assert_eq!(records[0]["trace"]["common_fields"]["ODCID"], id);
        let names: BTreeSet<_> =
            records.iter().filter_map(|record| record["name"].as_str()).collect();
        for name in
            ["transport:packet_sent", "transport:packet_received", "recovery:metrics_updated"]
        {
            assert!(names.contains(name), "{name} is not among {names:?}");
        }
        let times: Vec<_> = records.iter().filter_map(|record| record["time"].as_f64()).collect();
        // In the order in which quinn tells, which looks at the clock once for several.
        assert!(times.iter().all(|time| (0.0..60_000.0).contains(time)), "{times:?}");
        assert!(times.last().is_some_and(|last| *last > 0.0));
        let sent = records.iter().filter(|record| record["name"] == "transport:packet_sent");
        let kinds: BTreeSet<_> =
            sent.filter_map(|record| record["data"]["header"]["packet_type"].as_str()).collect();
        assert!(kinds.contains("1RTT") && kinds.contains("handshake"), "{kinds:?}");
    }
}
