//! The shipped programs behind emulated translators, where this machine can: a few pairs of the
//! table of docs/nat.md.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

const LAB: &str = env!("CARGO_BIN_EXE_lab");

/// Who asks, who is asked, and how they reach each other.
type Pair = (&'static str, &'static str, &'static str);

/// Over UDP.
const UDP: [Pair; 4] = [
    ("open", "symmetric", "direct"),
    ("address-restricted", "port-restricted", "direct"),
    ("symmetric", "symmetric", "relayed"),
    ("udp-blocked", "open", "relayed"),
];

/// Over TCP: both dial at the same moment.
const TCP: [Pair; 2] =
    [("port-restricted", "udp-blocked", "direct"), ("symmetric", "symmetric", "relayed")];

#[test]
fn two_programs_reach_each_other_directly_where_translators_let_them_and_else_through_the_server() {
    let folder = Path::new(LAB).parent().unwrap();
    let missing = ["server", "peer"]
        .into_iter()
        .find(|name| !folder.join(name).with_extension(std::env::consts::EXE_EXTENSION).is_file());
    if let Some(name) = missing {
        eprintln!("left out, {name} was not built: cargo test --workspace builds it");
        return;
    }
    try_out("udp", &UDP);
    try_out("tcp", &TCP);
}

fn try_out(transport: &str, pairs: &[Pair]) {
    let mut command = Command::new(LAB);
    command.args(["nat", "--programs", "--json", "--transport", transport, "--patience", "4s"]);
    for (asks, asked, _) in pairs {
        command.args(["--only", &format!("{asks},{asked}")]);
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lacking = ["/dev/net/tun", "namespaces", "Linux", "inside"];
    if output.stdout.is_empty() && lacking.iter().any(|word| said.contains(word)) {
        eprintln!("left out, worlds cannot be built here: {}", said.trim());
        return;
    }
    assert!(output.status.success(), "{said}");
    let cells: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let ways: Vec<_> = cells.iter().map(|cell| cell["way"].as_str().unwrap()).collect();
    assert_eq!(ways, pairs.iter().map(|(_, _, way)| *way).collect::<Vec<_>>(), "{said}");
    for cell in &cells {
        assert_eq!(cell["direct_ms"].is_u64(), cell["way"] == "direct", "{cell}");
        assert!(cell["first_byte_ms"].is_u64(), "{cell}");
    }
}
