//! The files that a connection leaves behind, checked as a reader of qlog would read them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use portolan_qlog::Qlog;
use portolan_transport::{BindConfig, CloseCode, Endpoint, Expect, Identity, Priority, Transport};
use portolan_transport_udp::Udp;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What no file may contain.
const SECRET: &str = "meet me at the old bridge";

/// Bytes of the transfer.
const LEN: usize = 2_000_000;

async fn bind(seed: u8, directory: &Path) -> (Arc<dyn Endpoint>, Qlog) {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = BindConfig::new(local, Identity::from_seed([seed; 32]));
    let switch = Qlog::clone(&config.shared.get_or_default::<Qlog>());
    switch.write_to(directory).unwrap();
    (Udp.bind(config).await.unwrap(), switch)
}

/// Connects, sends much to bob and little to alice, and closes.
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
        let mut answer = Vec::new();
        receive.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, SECRET.as_bytes());
    };
    let receiving = async {
        let (mut send, mut receive) = accepted.accept_stream().await.unwrap();
        let mut all = Vec::new();
        receive.read_to_end(&mut all).await.unwrap();
        send.write_all(SECRET.as_bytes()).await.unwrap();
        send.finish().unwrap();
    };
    tokio::join!(sending, receiving);
    connected.close(CloseCode(7), "enough");
    accepted.closed().await;
    alice.close(CloseCode(0), "").await;
    bob.close(CloseCode(0), "").await;
    alices.finish();
    bobs.finish();
    [alices, bobs]
}

/// A file: its header, and its events.
struct Trace {
    header: Value,
    events: Vec<Value>,
}

impl Trace {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        assert!(!text.contains(&SECRET[..12]), "bytes of a stream stand in the file");
        let mut records = text.split('\u{1e}').skip(1).map(|record| {
            assert!(record.ends_with('\n'), "a record is one line");
            serde_json::from_str::<Value>(record).unwrap()
        });
        let header = records.next().unwrap();
        Self { header, events: records.collect() }
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["name"] == name).map(|event| &event["data"])
    }

    fn numbers(&self, name: &str) -> Vec<u64> {
        let data = self.named(name).filter(|data| data["header"]["packet_type"] == "1RTT");
        data.map(|data| data["header"]["packet_number"].as_u64().unwrap()).collect()
    }
}

fn traces(directory: &Path) -> [Trace; 2] {
    let mut paths: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let [client, server] = &paths[..] else { panic!("two files: {paths:?}") };
    let stem = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let id = stem(client).strip_suffix("_client").unwrap().to_owned();
    assert_eq!(id.len(), 16, "a connection ID");
    assert_eq!(stem(server), format!("{id}_server"), "both ends name the connection alike");
    [Trace::read(client), Trace::read(server)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_can_be_read_from_its_two_files() {
    let directory = tempfile::tempdir().unwrap();
    let [alices, _] = talk(directory.path()).await;
    assert_eq!(alices.totals().dropped, 0);
    let [client, server] = traces(directory.path());
    for (trace, side) in [(&client, "client"), (&server, "server")] {
        check_form(trace, side);
        check_content(trace);
    }
    // What one says to have received, the other says to have sent.
    for (from, to) in [(&client, &server), (&server, &client)] {
        let sent: BTreeSet<u64> = from.numbers("transport:packet_sent").into_iter().collect();
        let received = to.numbers("transport:packet_received");
        assert!(received.iter().all(|number| sent.contains(number)));
    }
    // Every byte of the stream stands in some frame.
    let frames = client.named("transport:packet_sent").flat_map(|data| {
        data["frames"].as_array().unwrap().iter().filter(|frame| frame["frame_type"] == "stream")
    });
    let end =
        frames.map(|frame| frame["offset"].as_u64().unwrap() + frame["length"].as_u64().unwrap());
    assert_eq!(end.max(), Some((LEN / SECRET.len() * SECRET.len()) as u64));
    let closed = client.named("connectivity:connection_closed").next().unwrap();
    assert_eq!((&closed["owner"], &closed["application_code"]), (&"local".into(), &7.into()));
    let closed = server.named("connectivity:connection_closed").next().unwrap();
    assert_eq!(closed["owner"], "remote");
}

/// What every reader needs.
fn check_form(trace: &Trace, side: &str) {
    assert_eq!(trace.header["qlog_version"], "0.3");
    assert_eq!(trace.header["qlog_format"], "JSON-SEQ");
    assert_eq!(trace.header["trace"]["vantage_point"]["type"], side);
    assert_eq!(trace.header["trace"]["common_fields"]["time_format"], "relative");
    let times = trace.events.iter().map(|event| event["time"].as_f64().unwrap());
    assert!(times.is_sorted(), "readers want times in order");
    assert!(trace.events.iter().all(|event| event["data"].is_object()));
    assert_eq!(trace.events[0]["name"], "connectivity:connection_started");
    let last = trace.events.last().unwrap();
    assert_eq!(last["name"], "loglevel:info");
    assert_eq!(last["data"]["events"], trace.events.len() - 1);
    for name in ["transport:packet_sent", "transport:packet_received"] {
        for data in trace.named(name) {
            let kind = data["header"]["packet_type"].as_str().unwrap();
            assert!(["initial", "handshake", "1RTT"].contains(&kind), "{kind}");
            assert!(data["raw"]["length"].as_u64().unwrap() > 0);
            for frame in data["frames"].as_array().unwrap() {
                check_frame(frame);
            }
        }
    }
    let sent = trace.numbers("transport:packet_sent");
    assert!(sent.windows(2).all(|pair| pair[0] < pair[1]), "numbers rise");
}

fn check_frame(frame: &Value) {
    let kind = frame["frame_type"].as_str().unwrap();
    assert!(kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{frame}");
    match kind {
        "ack" => {
            let ranges = frame["acked_ranges"].as_array().unwrap();
            let mut numbers = ranges.iter().flat_map(|range| range.as_array().unwrap());
            assert!(!ranges.is_empty() && numbers.all(Value::is_u64), "{frame}");
        }
        "stream" => {
            let fields = ["stream_id", "offset", "length"];
            assert!(fields.iter().all(|field| frame[field].is_u64()), "{frame}");
        }
        _ => {}
    }
}

/// What the drawings of qvis are made from.
fn check_content(trace: &Trace) {
    let metrics: Vec<_> = trace.named("recovery:metrics_updated").collect();
    assert!(metrics.iter().all(|metrics| metrics["congestion_window"].as_u64().unwrap() > 0));
    let last = metrics.last().unwrap();
    for field in ["smoothed_rtt", "min_rtt", "latest_rtt", "rtt_variance"] {
        assert!(last[field].as_f64().unwrap() >= 0.0, "{field} in {last}");
    }
    for name in [
        "transport:parameters_set",
        "recovery:congestion_state_updated",
        "recovery:loss_timer_updated",
        "connectivity:connection_state_updated",
    ] {
        assert!(trace.named(name).next().is_some(), "no {name}");
    }
    let states: Vec<_> = trace.named("connectivity:connection_state_updated").collect();
    assert_eq!(states[0]["new"], "attempted");
    assert!(states.iter().any(|state| state["new"] == "handshake_confirmed"));
}
