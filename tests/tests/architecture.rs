//! The walls of the house: who may depend on whom.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

/// Crates that reach no runtime, socket, file, thread, clock or system randomness.
const PURE: &[&str] = &["peer-id", "netsim", "mux", "rudp", "protocol", "nat", "gateway", "live"];

/// What would bring any of these in, even indirectly.
const IMPURE: &[&str] = &[
    "tokio",
    "mio",
    "socket2",
    "quinn",
    "quinn-udp",
    "rusqlite",
    "getrandom",
    "aws-lc-rs",
    "ring",
    "tempfile",
    "rustix",
    "polling",
    "async-io",
    "libc",
];

/// What pure source files do not name.
const IMPURE_PATHS: &[&str] = &[
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "Instant::now",
    "SystemTime::now",
    "tokio::",
];

/// The transports: nobody but the facade may know them.
const CONCRETE: &[&str] =
    &["portolan-transport-tcp", "portolan-transport-udp", "portolan-transport-quic"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Everything that `package` is built from, itself included.
fn dependencies(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "-e", "normal", "--prefix", "none", "--package", package])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn pure_crates_reach_no_runtime_socket_file_clock_or_system_randomness() {
    for name in PURE {
        let tree = dependencies(&format!("portolan-{name}"));
        assert!(tree.contains(&format!("portolan-{name}")), "{name}: the tree is empty");
        let found: Vec<_> = IMPURE.iter().filter(|impure| tree.contains(**impure)).collect();
        assert!(found.is_empty(), "{name} is pure but depends on {found:?}");
    }
}

#[test]
fn pure_sources_name_nothing_impure() {
    for name in PURE {
        visit(&root().join("crates").join(name).join("src"), &mut |path, text| {
            for (index, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                let found = IMPURE_PATHS.iter().find(|impure| code.contains(**impure));
                let in_tests = path.components().any(|part| part.as_os_str() == "tests")
                    || path.ends_with("tests.rs")
                    || text.lines().take(index).any(|line| line.trim() == "#[cfg(test)]");
                assert!(
                    found.is_none() || in_tests,
                    "{}:{} names {found:?}",
                    path.display(),
                    index + 1
                );
            }
        });
    }
}

#[test]
fn protocol_does_not_know_that_transports_exist() {
    let tree = dependencies("portolan-protocol");
    assert!(tree.iter().all(|name| !name.contains("transport")), "{tree:?}");
}

#[test]
fn server_and_peer_name_no_transport() {
    for package in
        ["portolan-server", "portolan-peer", "portolan-transport", "portolan-protocol-io"]
    {
        let tree = dependencies(package);
        let found: Vec<_> = CONCRETE.iter().filter(|name| tree.contains(**name)).collect();
        assert!(found.is_empty(), "{package} knows {found:?}");
    }
}

#[test]
fn embedders_never_build_the_yardsticks() {
    let tree = dependencies("portolan");
    let yardsticks = [
        "criterion",
        "proptest",
        "portolan-conformance",
        "portolan-netsim",
        "portolan-subject",
        "portolan-baselines",
        "portolan-emulator",
        "portolan-lab",
        "s2n-quic",
        "tokio_kcp",
    ];
    for yardstick in yardsticks {
        assert!(!tree.contains(yardstick), "the facade brings {yardstick} along");
    }
}

#[test]
fn every_direct_dependency_is_explained() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let explained = fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let section = manifest.split("[workspace.dependencies]").nth(1).unwrap();
    let section = section.split("\n[").next().unwrap();
    for line in section.lines().filter(|line| line.contains(" = ")) {
        let name = line.split(" = ").next().unwrap();
        let ours = name.starts_with("portolan");
        assert!(ours || explained.contains(&format!("`{name}`")), "{name} is not explained");
    }
}

/// Docs name tests as proof; a renamed test must not leave them behind.
#[test]
fn every_test_that_the_docs_name_exists() {
    let mut sources = String::new();
    for place in ["crates", "tests"] {
        visit(&root().join(place), &mut |_, text| sources.push_str(text));
    }
    let mut named = 0;
    for page in ["docs/security.md", "ARCHITECTURE.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        // Words of three parts and more between back quotes are names of tests.
        for word in text.split('`').filter(|word| word.matches('_').count() >= 3) {
            let start = word.trim_end_matches('…');
            if start.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
                named += 1;
                assert!(sources.contains(&format!("fn {start}")), "{page} names {word}");
            }
        }
    }
    assert!(named > 30, "only {named} names were found");
}

fn visit(directory: &Path, check: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, check);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            check(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}
