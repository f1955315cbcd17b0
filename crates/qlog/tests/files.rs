//! What stands in the files, and what does not fit.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use portolan_qlog::{BUFFER_MAX, LOGS_MAX, Log, Qlog, QlogError, Trace, Vantage};
use serde::Serialize;
use serde_json::Value;

#[derive(Serialize)]
struct Thing {
    number: u32,
    text: String,
}

#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
fn epoch() -> Instant {
    Instant::now()
}

fn open(qlog: &Qlog, started: Instant, id: &str) -> Option<Log> {
    qlog.open(|| Trace {
        transport: "udp",
        vantage: Vantage::Client,
        original_id: id.to_owned(),
        started,
    })
}

/// The records of the one file of `directory`.
fn records(directory: &Path) -> Vec<Value> {
    let mut files = fs::read_dir(directory).unwrap();
    let path = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none(), "one file");
    let text = fs::read_to_string(path).unwrap();
    assert!(text.starts_with('\u{1e}') && text.ends_with('\n'));
    text.split('\u{1e}').skip(1).map(|record| serde_json::from_str(record).unwrap()).collect()
}

#[test]
fn a_switch_that_is_off_opens_nothing() {
    let qlog = Qlog::default();
    assert!(!qlog.is_on());
    let log = qlog.open(|| panic!("nobody is asked what it would be about"));
    assert!(log.is_none());
}

#[test]
fn a_log_is_a_sequence_of_records_between_a_header_and_a_trailer() {
    let directory = tempfile::tempdir().unwrap();
    let qlog = Qlog::default();
    qlog.write_to(directory.path()).unwrap();
    let start = epoch();
    let log = open(&qlog, start, "0102030405060708").unwrap();
    for number in 0..3 {
        let thing = Thing { number, text: "a \"line\"\n\u{1e}".to_owned() };
        log.record(start + Duration::from_micros(1_500) * number, "test:thing", &thing);
    }
    drop(log);
    qlog.finish();

    let name = fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().file_name();
    assert_eq!(name, "0102030405060708_client.sqlog");
    let records = records(directory.path());
    let [header, events @ .., trailer] = &records[..] else { panic!("too short") };
    assert_eq!(header["qlog_version"], "0.3");
    assert_eq!(header["qlog_format"], "JSON-SEQ");
    assert_eq!(header["trace"]["vantage_point"]["type"], "client");
    assert_eq!(header["trace"]["common_fields"]["time_format"], "relative");
    assert!(header["trace"]["common_fields"]["reference_time"].as_f64().unwrap() > 1.6e12);
    assert_eq!(events.len(), 3);
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["name"], "test:thing");
        assert_eq!(event["data"]["number"], number);
        assert_eq!(event["data"]["text"], "a \"line\"\n\u{1e}");
    }
    assert_eq!(events[2]["time"], 3.0);
    assert_eq!(trailer["name"], "loglevel:info");
    assert_eq!(trailer["data"]["events"], 3);
    assert_eq!(trailer["data"]["dropped"], 0);
    assert_eq!((qlog.totals().logs, qlog.totals().events), (1, 3));
}

#[test]
fn a_log_that_is_still_open_is_written_by_finish() {
    let directory = tempfile::tempdir().unwrap();
    let qlog = Qlog::default();
    qlog.write_to(directory.path()).unwrap();
    let start = epoch();
    let log = open(&qlog, start, "aa").unwrap();
    log.record(start, "test:thing", &Thing { number: 1, text: String::new() });
    qlog.finish();
    assert_eq!(records(directory.path()).len(), 3);
    log.record(start, "test:thing", &Thing { number: 2, text: String::new() });
    drop(log);
    assert!(open(&qlog, start, "bb").is_none(), "nobody writes any more");
}

#[test]
fn what_does_not_fit_is_counted_in_the_trailer() {
    let directory = tempfile::tempdir().unwrap();
    let qlog = Qlog::default();
    qlog.write_to(directory.path()).unwrap();
    let start = epoch();
    let log = open(&qlog, start, "aa").unwrap();
    let thing = Thing { number: 7, text: "x".repeat(BUFFER_MAX) };
    // One that is as long as the buffer; whether more fit is for the disk to say.
    let told = 50_u64;
    for _ in 0..told {
        log.record(start, "test:thing", &thing);
    }
    drop(log);
    qlog.finish();
    let records = records(directory.path());
    let trailer = records.last().unwrap();
    let events = records.len() as u64 - 2;
    assert!(events >= 1);
    assert_eq!(trailer["data"]["events"], events);
    assert_eq!(trailer["data"]["dropped"], told - events);
    let name = if events == told { "loglevel:info" } else { "loglevel:warning" };
    assert_eq!(trailer["name"], name);
}

#[test]
fn more_connections_than_may_be_logged_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let qlog = Qlog::default();
    qlog.write_to(directory.path()).unwrap();
    let start = epoch();
    let logs: Vec<Log> =
        (0..LOGS_MAX).map(|id| open(&qlog, start, &format!("{id:04x}")).unwrap()).collect();
    assert!(open(&qlog, start, "ffff").is_none());
    assert_eq!(qlog.totals().refused, 1);
    drop(logs);
    qlog.finish();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), LOGS_MAX);
}

#[cfg(unix)]
#[test]
fn files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let inside = directory.path().join("logs");
    let qlog = Qlog::default();
    qlog.write_to(&inside).unwrap();
    drop(open(&qlog, epoch(), "aa"));
    qlog.finish();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inside), 0o700);
    assert_eq!(mode(&inside.join("aa_client.sqlog")), 0o600);
}

#[test]
fn a_file_that_is_there_already_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("aa_client.sqlog");
    fs::write(&path, "mine").unwrap();
    let qlog = Qlog::default();
    qlog.write_to(directory.path()).unwrap();
    drop(open(&qlog, epoch(), "aa"));
    qlog.finish();
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    let other = fs::read_to_string(directory.path().join("aa_client-1.sqlog")).unwrap();
    assert!(other.contains("end of log"));
    assert_eq!(qlog.totals().failed, 0);
}

#[test]
fn a_switch_is_turned_on_once_and_where_it_can_be() {
    let directory = tempfile::tempdir().unwrap();
    let qlog = Qlog::default();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(qlog.write_to(&file.join("below")), Err(QlogError::Io { .. })));
    qlog.write_to(directory.path()).unwrap();
    assert!(matches!(qlog.write_to(directory.path()), Err(QlogError::AlreadyOn)));
}
