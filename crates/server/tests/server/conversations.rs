//! Conversations, with all their outcomes.

use std::time::Duration;

use portolan_protocol::{
    Accept, Conversation, ConversationState, Converse, Deny, End, ErrorCode, Event, Logout, Reply,
};

use crate::client::{Client, Harness, config, name};

async fn ask(client: &mut Client, with: &str) -> u32 {
    match client.ask(Converse { with: name(with) }).await.unwrap() {
        Reply::Requested(requested) => requested.expires_ms,
        other => panic!("{other:?}"),
    }
}

async fn state(client: &mut Client) -> Conversation {
    match client.event().await {
        Event::Conversation(conversation) => conversation,
        other => panic!("{other:?}"),
    }
}

/// Checks the next news of a conversation.
async fn sees(client: &mut Client, with: &str, expected: ConversationState) -> Option<String> {
    let conversation = state(client).await;
    assert_eq!((conversation.with, conversation.state), (name(with), expected));
    conversation.reason
}

async fn talk(alice: &mut Client, bob: &mut Client) {
    ask(alice, "bob").await;
    sees(bob, "alice", ConversationState::Requested).await;
    bob.ask(Accept { with: name("alice") }).await.unwrap();
    sees(alice, "bob", ConversationState::Accepted).await;
    sees(bob, "alice", ConversationState::Accepted).await;
}

#[tokio::test]
async fn a_request_is_accepted_and_either_side_ends_it() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let mut bob = harness.login(2, "bob").await;
    talk(&mut alice, &mut bob).await;
    bob.ask(End { with: name("alice") }).await.unwrap();
    sees(&mut alice, "bob", ConversationState::Ended).await;
    assert_eq!(alice.refusal(End { with: name("bob") }).await, ErrorCode::NoConversation);
    talk(&mut alice, &mut bob).await;
}

#[tokio::test]
async fn a_request_is_denied_with_words() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let mut bob = harness.login(2, "bob").await;
    assert_eq!(ask(&mut alice, "bob").await, 30_000);
    sees(&mut bob, "alice", ConversationState::Requested).await;
    bob.ask(Deny { with: name("alice"), reason: Some("later".into()) }).await.unwrap();
    let reason = sees(&mut alice, "bob", ConversationState::Denied).await;
    assert_eq!(reason.as_deref(), Some("later"));
    assert_eq!(bob.refusal(Accept { with: name("alice") }).await, ErrorCode::NoConversation);
}

#[tokio::test]
async fn requests_that_cross_are_an_agreement() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let mut bob = harness.login(2, "bob").await;
    ask(&mut alice, "bob").await;
    assert_eq!(ask(&mut bob, "alice").await, 0);
    sees(&mut bob, "alice", ConversationState::Requested).await;
    sees(&mut bob, "alice", ConversationState::Accepted).await;
    sees(&mut alice, "bob", ConversationState::Accepted).await;
}

#[tokio::test]
async fn a_busy_user_is_not_disturbed() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let mut bob = harness.login(2, "bob").await;
    let mut carol = harness.login(3, "carol").await;
    ask(&mut carol, "bob").await;
    sees(&mut bob, "carol", ConversationState::Requested).await;
    talk(&mut alice, &mut bob).await;
    // She asked before he was busy, and again after.
    sees(&mut carol, "bob", ConversationState::Busy).await;
    assert_eq!(carol.refusal(Converse { with: name("bob") }).await, ErrorCode::Busy);
    assert_eq!(alice.refusal(Converse { with: name("carol") }).await, ErrorCode::Conflict);
    assert_eq!(alice.refusal(Converse { with: name("alice") }).await, ErrorCode::BadRequest);
}

#[tokio::test]
async fn a_request_without_an_answer_lapses_on_both_sides() {
    let mut config = config();
    config.timing.request = Duration::from_millis(50);
    let harness = Harness::with(config).await;
    let mut alice = harness.login(1, "alice").await;
    let mut bob = harness.login(2, "bob").await;
    ask(&mut alice, "bob").await;
    sees(&mut bob, "alice", ConversationState::Requested).await;
    sees(&mut bob, "alice", ConversationState::TimedOut).await;
    sees(&mut alice, "bob", ConversationState::TimedOut).await;
    assert_eq!(bob.refusal(Accept { with: name("alice") }).await, ErrorCode::NoConversation);
}

#[tokio::test]
async fn a_request_is_taken_back() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let mut bob = harness.login(2, "bob").await;
    ask(&mut alice, "bob").await;
    alice.ask(End { with: name("bob") }).await.unwrap();
    sees(&mut bob, "alice", ConversationState::Requested).await;
    sees(&mut bob, "alice", ConversationState::Ended).await;
}

#[tokio::test]
async fn a_partner_who_goes_is_told_of_with_the_reason() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let mut bob = harness.login(2, "bob").await;
    talk(&mut alice, &mut bob).await;
    bob.ask(Logout {}).await.unwrap();
    let reason = sees(&mut alice, "bob", ConversationState::Vanished).await;
    assert_eq!(reason.as_deref(), Some("logged out"));

    let mut bob = harness.login(2, "bob").await;
    talk(&mut alice, &mut bob).await;
    drop(bob);
    let reason = sees(&mut alice, "bob", ConversationState::Vanished).await;
    assert!(reason.is_some_and(|reason| !reason.is_empty()));
}

#[tokio::test]
async fn a_conversation_outlives_a_login_from_elsewhere() {
    let harness = Harness::start().await;
    let mut alice = harness.login(1, "alice").await;
    let mut bob = harness.login(2, "bob").await;
    talk(&mut alice, &mut bob).await;
    let mut bob_again = harness.login(2, "bob").await;
    sees(&mut bob_again, "alice", ConversationState::Accepted).await;
    bob_again.ask(End { with: name("alice") }).await.unwrap();
    sees(&mut alice, "bob", ConversationState::Ended).await;
}
