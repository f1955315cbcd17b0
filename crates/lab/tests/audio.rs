//! `lab audio` as people use it: the reviewed table of virtual time, and real packets where this
//! machine can.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    process::{Command, Output, Stdio},
};

const LAB: &str = env!("CARGO_BIN_EXE_lab");

const GOLDEN: &str = "tests/goldens/audio.txt";

/// The links on which packets get lost.
const LOSSY: [&str; 4] = ["congested-wifi", "3g", "lossy-1", "lossy-5"];

fn lab(arguments: &[&str]) -> Output {
    Command::new(LAB).arg("audio").args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the table says of one transport on one link.
#[derive(Debug, Clone, Copy)]
struct Row {
    concealed: f64,
    delay: f64,
    mos: f64,
}

/// The rows by link and transport.
fn rows(table: &str) -> BTreeMap<(String, String), Row> {
    let mut rows = BTreeMap::new();
    let mut link = String::new();
    for line in table.lines() {
        if let Some(rest) = line.strip_prefix("**") {
            link = rest.split("**").next().unwrap().to_owned();
        }
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let number = |index: usize| {
            let cell = cells.get(index)?.split(' ').next()?;
            cell.parse::<f64>().ok()
        };
        if let (Some(concealed), Some(delay), Some(mos)) = (number(4), number(6), number(10)) {
            rows.insert((link.clone(), cells[1].to_owned()), Row { concealed, delay, mos });
        }
    }
    rows
}

/// A minute of a tone over every link, in virtual time.
fn virtual_table(more: &[&str]) -> String {
    let output = lab(&[&["--driver", "virtual", "--time", "60s"], more].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn over_every_lossy_link_our_udp_with_deadlines_sounds_best() {
    let table = virtual_table(&[]);
    println!("{table}");
    let rows = rows(&table);
    assert_eq!(rows.len(), 6 * 3, "{rows:?}");
    for link in LOSSY {
        let row = |over: &str| rows[&(link.to_owned(), over.to_owned())];
        let (udp, quic, once) = (row("udp"), row("quic"), row("udp-once"));
        assert!(udp.mos >= quic.mos && udp.mos >= once.mos, "{link}: {udp:?}, {quic:?}, {once:?}");
        assert!(udp.concealed <= quic.concealed, "{link}: {udp:?}, {quic:?}");
        assert!(udp.delay <= 1_000.0, "{link}: {udp:?}");
    }
    compare(&table);
}

fn compare(table: &str) {
    // Congestion control takes cube roots, and mathematics libraries round them differently.
    if cfg!(not(all(target_os = "linux", target_arch = "x86_64"))) {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, table).unwrap();
        return;
    }
    let reviewed = fs::read_to_string(&path).unwrap();
    assert!(
        table == reviewed,
        "live audio has changed; if for the better, UPDATE_GOLDEN=1 cargo test -p portolan-lab \
         --test audio writes it to {GOLDEN}\n\nreviewed:\n{reviewed}\nnow:\n{table}"
    );
}

#[test]
fn a_file_on_the_same_connection_does_not_disturb_a_talk() {
    let links = ["--link", "lossy-1", "--link", "4g", "--over", "udp"];
    let [alone, beside] =
        [&[][..], &["--beside"]].map(|more| rows(&virtual_table(&[&links[..], more].concat())));
    for (key, alone) in &alone {
        let beside = beside[key];
        println!("{key:?}: alone {alone:?}, beside {beside:?}");
        assert!(beside.mos >= alone.mos - 0.05, "{key:?}: alone {alone:?}, beside {beside:?}");
        let is_as_whole = beside.concealed <= alone.concealed + 0.2;
        assert!(is_as_whole, "{key:?}: alone {alone:?}, beside {beside:?}");
        let is_as_soon = beside.delay <= alone.delay + 40.0;
        assert!(is_as_soon, "{key:?}: alone {alone:?}, beside {beside:?}");
    }
}

#[test]
fn real_packets_are_heard_over_every_transport() {
    let output = lab(&["--driver", "real", "--time", "3s", "--link", "lossy-1"]);
    let error = text(&output.stderr);
    let missing = ["/dev/net/tun", "namespaces", "Linux", "inside"];
    if !output.status.success() && missing.iter().any(|word| error.contains(word)) {
        println!("left out: {}", error.trim());
        return;
    }
    let table = text(&output.stdout);
    assert!(output.status.success(), "{error}{table}");
    let rows = rows(&table);
    for over in ["udp", "udp-once", "quic", "tcp"] {
        let row = rows[&("lossy-1".to_owned(), over.to_owned())];
        assert!(row.concealed < 50.0 && row.delay > 25.0, "{over}: {row:?}");
    }
}

#[test]
fn what_is_not_known_is_said_with_what_is() {
    let output = lab(&["--over", "smoke"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("udp, udp-once, quic, tcp"), "{}", text(&output.stderr));
    let output = lab(&["--driver", "virtual", "--link", "losy-1"]);
    assert!(text(&output.stderr).contains("lossy-1"), "{}", text(&output.stderr));
}
