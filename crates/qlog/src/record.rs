//! Header, events and trailer, as they stand in a file.

use std::{
    fmt,
    time::{Duration, Instant},
};

use serde::Serialize;

/// Begins each record of a JSON text sequence (RFC 7464).
const RECORD_SEPARATOR: u8 = 0x1e;

/// The form of the whole: draft-ietf-quic-qlog-main-schema-02, which qvis and everyone read.
const VERSION: &str = "0.3";

/// Which end writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Vantage {
    /// The end that has connected.
    Client,
    /// The end that was connected to.
    Server,
}

impl fmt::Display for Vantage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// What a log is about.
#[derive(Debug, Clone)]
pub struct Trace {
    /// The name of the transport.
    pub transport: &'static str,
    /// Which end writes.
    pub vantage: Vantage,
    /// What both ends call the connection, in hexadecimal: the first destination ID.
    pub original_id: String,
    /// The zero of its times.
    pub started: Instant,
}

#[derive(Serialize)]
struct Header<'a> {
    qlog_version: &'a str,
    qlog_format: &'a str,
    title: &'a str,
    trace: TraceHeader<'a>,
}

#[derive(Serialize)]
struct TraceHeader<'a> {
    vantage_point: VantagePoint<'a>,
    title: &'a str,
    common_fields: CommonFields<'a>,
}

#[derive(Serialize)]
struct VantagePoint<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    vantage: Vantage,
}

#[derive(Serialize)]
struct CommonFields<'a> {
    #[serde(rename = "ODCID")]
    original_id: &'a str,
    protocol_type: [&'a str; 1],
    time_format: &'a str,
    reference_time: f64,
}

#[derive(Serialize)]
struct Event<'a, D> {
    time: f64,
    name: &'a str,
    data: &'a D,
}

#[derive(Serialize)]
struct Trailer {
    message: &'static str,
    events: u64,
    dropped: u64,
}

/// Milliseconds, with fractions.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Appends the record that begins a file; `reference` is the time of its zero since 1970.
pub(crate) fn put_header(out: &mut Vec<u8>, trace: &Trace, reference: Duration) {
    let vantage_point = VantagePoint { name: "portolan", vantage: trace.vantage };
    let common_fields = CommonFields {
        original_id: &trace.original_id,
        protocol_type: ["QUIC"],
        time_format: "relative",
        reference_time: milliseconds(reference).round(),
    };
    let title = trace.transport;
    let trace = TraceHeader { vantage_point, title, common_fields };
    put(out, &Header { qlog_version: VERSION, qlog_format: "JSON-SEQ", title: "portolan", trace });
}

/// Appends an event.
pub(crate) fn put_event(out: &mut Vec<u8>, time: Duration, name: &str, data: &impl Serialize) {
    // Microseconds are what clocks and readers have use for.
    let time = (time.as_secs_f64() * 1e6).round() / 1e3;
    put(out, &Event { time, name, data });
}

/// Appends the record that ends a file.
pub(crate) fn put_trailer(out: &mut Vec<u8>, time: Duration, events: u64, dropped: u64) {
    let message = if dropped == 0 { "end of log" } else { "end of log; events are missing" };
    let name = if dropped == 0 { "loglevel:info" } else { "loglevel:warning" };
    put_event(out, time, name, &Trailer { message, events, dropped });
}

fn put(out: &mut Vec<u8>, record: &impl Serialize) {
    let start = out.len();
    out.push(RECORD_SEPARATOR);
    match serde_json::to_writer(&mut *out, record) {
        Ok(()) => out.push(b'\n'),
        // No half record stays behind.
        Err(_) => out.truncate(start),
    }
}
