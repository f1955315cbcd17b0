//! What outlives the server.

use portolan_identity::Identity;
use portolan_protocol::ErrorCode;
use portolan_server::{Config, Server, StartError, Storage, store::StoreError};

use crate::{
    client::{Harness, config, say, within},
    messages::{confirm, receive, send},
};

fn stored_in(path: &std::path::Path) -> Config {
    Config { storage: Storage::Directory(path.to_owned()), ..config() }
}

#[tokio::test]
async fn names_and_waiting_messages_outlive_a_server_that_was_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let harness = Harness::with(stored_in(&path)).await;
    let mut alice = harness.login(1, "alice").await;
    let mut bob = harness.login(2, "bob").await;
    let first = send(&mut alice, say("bob", "first")).await.id;
    let second = send(&mut alice, say("bob", "second")).await.id;
    assert_eq!(receive(&mut bob).await.id, first);
    confirm(&mut bob, first).await;
    drop((alice, bob));
    let Harness { server, .. } = harness;
    within(server.shutdown("")).await;

    let harness = Harness::with(stored_in(&path)).await;
    let mut mallory = harness.connect(3).await;
    assert_eq!(mallory.login("bob").await.unwrap_err().code, ErrorCode::NameTaken);
    let mut bob = harness.login(2, "bob").await;
    let delivery = receive(&mut bob).await;
    assert_eq!((delivery.id, delivery.text.as_str()), (second, "second"));
    let third = send(&mut bob, say("alice", "third")).await.id;
    assert!(third > second);
}

#[tokio::test]
async fn two_servers_do_not_share_a_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    let _running = Harness::with(stored_in(directory.path())).await;
    let error = Server::start(stored_in(directory.path())).await.unwrap_err();
    assert!(matches!(error, StartError::Store(StoreError::InUse(_))), "{error}");
}

#[tokio::test]
async fn a_server_without_a_disk_forgets() {
    let harness = Harness::start().await;
    harness.login(1, "alice").await;
    within(harness.server.shutdown("")).await;
    let harness = Harness::start().await;
    let mut other = harness.connect(2).await;
    other.login("alice").await.unwrap();
    assert_ne!(Identity::from_seed([1; 32]).id(), Identity::from_seed([2; 32]).id());
}
