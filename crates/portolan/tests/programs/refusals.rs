//! Bad input on the command line: a clear error and the documented exit code.

use std::net::TcpListener;

use crate::harness::{Harbour, run};

#[test]
fn wrong_usage_is_exit_code_2_with_advice() {
    for args in [
        &["alice", "--transport", "pigeon", "--server", "127.0.0.1"][..],
        &["--no-such-flag"],
        &["say"],
        &["demo", "--transport", "pigeon"],
    ] {
        let (code, _, errors) = run("peer", args);
        assert_eq!(code, Some(2), "{args:?}: {errors}");
        assert!(errors.contains("Usage") || errors.contains("tcp"), "{errors}");
    }
    assert_eq!(run("server", &["--listen", "nonsense"]).0, Some(2));
}

#[test]
fn a_name_of_ten_kilobytes_is_refused_with_the_rule() {
    let harbour = Harbour::open();
    let name = "n".repeat(10_000);
    let data = harbour.data("long").display().to_string();
    let args = ["list", "--as", &name, "--server", &harbour.address, "--data", &data];
    let (code, _, errors) = run("peer", &args);
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("at most 32 characters"), "{errors}");
}

#[test]
fn a_server_that_is_not_there_is_exit_code_3() {
    // Bound and closed again: nobody listens there now.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let data = tempfile::TempDir::new().unwrap();
    let data = data.path().display().to_string();
    for transport in ["tcp", "udp", "quic"] {
        let args = [
            "list",
            "--as",
            "alice",
            "--server",
            &address,
            "--transport",
            transport,
            "--data",
            &data,
            "--accept-new",
        ];
        let (code, _, errors) = run("peer", &args);
        assert_eq!(code, Some(3), "{transport}: {errors}");
        assert!(errors.contains(&address), "{transport}: {errors}");
    }
}

#[test]
fn another_key_than_the_pinned_one_is_exit_code_4() {
    let (one, other) = (Harbour::open(), Harbour::open());
    let data = one.data("alice").display().to_string();
    for transport in ["tcp", "udp", "quic"] {
        let args = [
            "list",
            "--as",
            "alice",
            "--server",
            &one.address,
            "--transport",
            transport,
            "--server-key",
            &other.key,
            "--data",
            &data,
        ];
        let (code, _, errors) = run("peer", &args);
        assert_eq!(code, Some(4), "{transport}: {errors}");
    }
}

#[test]
fn a_taken_name_is_exit_code_4_and_its_owner_is_not_disturbed() {
    let harbour = Harbour::open();
    for transport in ["tcp", "udp", "quic"] {
        let mut alice = harbour.peer("alice", transport);
        let thief = harbour.data("thief").display().to_string();
        let args = [
            "list",
            "--as",
            "Alice",
            "--server",
            &harbour.address,
            "--transport",
            transport,
            "--server-key",
            &harbour.key,
            "--data",
            &thief,
        ];
        let (code, _, errors) = run("peer", &args);
        assert_eq!(code, Some(4), "{transport}: {errors}");
        assert!(errors.contains("name_taken") || errors.contains("another key"), "{errors}");
        alice.say("/echo undisturbed");
        alice.wait_for("the echo", |event| event["text"] == "undisturbed");
    }
}

#[test]
fn a_port_in_use_is_said_to_be_in_use() {
    let harbour = Harbour::open();
    let (code, _, errors) = run("server", &["--ephemeral", "--listen", &harbour.address]);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("in use"), "{errors}");
}

#[test]
fn a_file_for_someone_unknown_or_away_is_refused_and_said_so() {
    let harbour = Harbour::open();
    let file = harbour.file("a.txt", 10, 1).display().to_string();
    let data = harbour.data("alice").display().to_string();
    let args = [
        "send",
        "nobody-here",
        &file,
        "--as",
        "alice",
        "--server",
        &harbour.address,
        "--server-key",
        &harbour.key,
        "--data",
        &data,
    ];
    let (code, _, errors) = run("peer", &args);
    assert_eq!(code, Some(6), "{errors}");
}

#[test]
fn a_name_follows_its_password_to_another_machine_and_nobody_without_it() {
    let harbour = Harbour::open();
    harbour.peer("alice", "tcp").finish();
    let secret = harbour.data("alice").join("secret");
    std::fs::write(&secret, "correct horse\n").unwrap();
    let secret = secret.to_str().unwrap();
    let home = harbour.data("alice");
    let away = harbour.data("away");
    let peer = |data: &std::path::Path, more: &[&str]| {
        let data = data.to_str().unwrap();
        let fixed = [
            "--as",
            "alice",
            "--data",
            data,
            "--server",
            &harbour.address,
            "--server-key",
            &harbour.key,
        ];
        run("peer", &[more, &fixed].concat())
    };
    let (code, _, error) = peer(&home, &["password", "--new", secret]);
    assert_eq!(code, Some(0), "{error}");
    let (code, _, error) = peer(&away, &["list"]);
    assert_eq!(code, Some(4), "{error}");
    assert!(error.contains("password"), "it says what helps: {error}");
    let (code, listed, error) = peer(&away, &["list", "--password-file", secret]);
    assert_eq!(code, Some(0), "{error}");
    assert!(listed.contains("alice"));
    assert_eq!(peer(&away, &["list"]).0, Some(0), "the key of this machine is enough now");
    assert_eq!(peer(&home, &["list"]).0, Some(4));
}
