//! Passwords: set, tried, and what they move.

use std::time::Duration;

use portolan_protocol::{
    ErrorCode, Event, Login, Mailbox, Password, Recipient, Reply, Send, SetPassword,
};

use super::world::{Answer, World, limits, name};
use crate::{
    config::{Limits, Rate},
    core::SessionId,
    event_log::LogEntry,
};

const SECRET: &str = "correct horse";

fn password(text: &str) -> Password {
    Password(text.to_owned())
}

fn set(text: Option<&str>) -> SetPassword {
    SetPassword { password: text.map(password) }
}

fn try_login(world: &mut World, session: SessionId, text: Option<&str>) -> Option<Answer> {
    world.ask(
        session,
        Login { name: "alice".into(), password: text.map(password), device: None, attempt: None },
    )
}

fn refusal(answer: Option<Answer>) -> ErrorCode {
    answer.unwrap().unwrap_err().code
}

/// Alice with a password and a waiting message; not there.
fn alice_with_a_password(limits: Limits) -> World {
    let mut world = World::new(limits);
    let alice = world.login(1, "alice");
    assert_eq!(world.refusal(alice, set(Some(SECRET))), None);
    world.gone(alice);
    let to = Recipient::User(name("alice"));
    let bob = world.login(2, "bob");
    world.ask(bob, Send { to, text: "for alice".into(), reference: None });
    world
}

#[test]
fn a_password_moves_a_name_with_all_it_has_to_a_new_key_for_good() {
    let mut world = alice_with_a_password(limits());
    let older = world.connect(1, 0);
    assert!(matches!(try_login(&mut world, older, None), Some(Ok(Reply::LoggedIn(_)))));
    let newer = world.connect(7, 1);
    let Some(Ok(Reply::LoggedIn(welcome))) = try_login(&mut world, newer, Some(SECRET)) else {
        panic!()
    };
    assert!(welcome.moved && welcome.waiting == 1);
    assert!(world.told[&older].closed.is_some(), "the old key's session has ended");
    let Some(Ok(Reply::Messages(page))) = world.ask(newer, Mailbox::default()) else { panic!() };
    assert_eq!(page.messages[0].text, "for alice");

    world.crash(0);
    let old_key = world.connect(1, 0);
    assert_eq!(refusal(try_login(&mut world, old_key, None)), ErrorCode::NameTaken);
    let new_key = world.connect(7, 0);
    let Some(Ok(Reply::LoggedIn(welcome))) = try_login(&mut world, new_key, None) else { panic!() };
    assert!(!welcome.moved);
}

#[test]
fn a_wrong_password_moves_nothing_and_does_not_end_the_session() {
    let mut world = alice_with_a_password(limits());
    let mallory = world.connect(7, 0);
    let wrong = refusal(try_login(&mut world, mallory, Some("correct hors")));
    assert_eq!(wrong, ErrorCode::WrongPassword);
    assert!(world.log.iter().any(|entry| matches!(entry,
        LogEntry::LoginRefused { code, .. } if *code == "wrong_password")));
    assert!(world.told[&mallory].closed.is_none());
    assert!(matches!(try_login(&mut world, mallory, Some(SECRET)), Some(Ok(_))));
}

#[test]
fn a_name_without_a_password_answers_as_one_with_another_key_does() {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    let mallory = world.connect(7, 0);
    assert_eq!(refusal(try_login(&mut world, mallory, Some(SECRET))), ErrorCode::NameTaken);
    assert_eq!(world.refusal(alice, set(Some(SECRET))), None);
    assert_eq!(world.refusal(alice, set(None)), None);
    assert_eq!(refusal(try_login(&mut world, mallory, Some(SECRET))), ErrorCode::NameTaken);
}

#[test]
fn a_password_has_a_length_and_belongs_to_a_session_that_is_logged_in() {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    for wrong in ["", "seven77", &"x".repeat(1_025)] {
        assert_eq!(world.refusal(alice, set(Some(wrong))), Some(ErrorCode::BadRequest));
    }
    let stranger = world.connect(2, 0);
    assert_eq!(world.refusal(stranger, set(Some(SECRET))), Some(ErrorCode::NotLoggedIn));
}

#[test]
fn guessing_is_bounded_for_a_name_whoever_guesses_and_costs_its_owner_nothing() {
    let guesses = Rate { per_second: 0.1, burst: 3.0 };
    let mut world = alice_with_a_password(Limits { guesses, ..limits() });
    for seed in 10..13 {
        let guesser = world.connect(seed, 0);
        let answer = try_login(&mut world, guesser, Some("123456789"));
        assert_eq!(refusal(answer), ErrorCode::WrongPassword);
    }
    let guesser = world.connect(13, 0);
    assert_eq!(refusal(try_login(&mut world, guesser, Some(SECRET))), ErrorCode::RateLimited);
    let owner = world.connect(1, 0);
    assert!(matches!(try_login(&mut world, owner, None), Some(Ok(_))));
    world.advance(Duration::from_secs(10));
    let later = world.connect(14, 0);
    assert!(matches!(try_login(&mut world, later, Some(SECRET)), Some(Ok(_))));
}

#[test]
fn one_key_may_try_few_passwords() {
    let passwords = Rate { per_second: 0.1, burst: 2.0 };
    let mut world = alice_with_a_password(Limits { passwords, ..limits() });
    let guesser = world.connect(7, 0);
    for expected in [ErrorCode::WrongPassword, ErrorCode::WrongPassword, ErrorCode::RateLimited] {
        assert_eq!(refusal(try_login(&mut world, guesser, Some("123456789"))), expected);
    }
}

#[test]
fn what_could_not_be_stored_has_moved_nothing() {
    let mut world = alice_with_a_password(limits());
    world.commits_at_once = false;
    let newer = world.connect(7, 0);
    assert_eq!(try_login(&mut world, newer, Some(SECRET)), None);
    world.fail();
    world.commits_at_once = true;
    let old_key = world.connect(1, 0);
    assert!(matches!(try_login(&mut world, old_key, None), Some(Ok(_))));
}

#[test]
fn names_that_are_kept_back_are_nobodys() {
    let mut world = World::new(limits());
    let session = world.connect(1, 0);
    let login = Login { name: "Harbourmaster".into(), password: None, device: None, attempt: None };
    assert_eq!(world.refusal(session, login), Some(ErrorCode::NameInvalid));
    assert!(world.events(session).iter().all(|event| !matches!(event, Event::Closing(_))));
}
