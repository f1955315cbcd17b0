//! Changes of groups that are asked for again, as after a lost connection.

use portolan_protocol::{CreateGroup, ErrorCode, LeaveGroup, ListGroups, RenameGroup, Reply};

use super::world::{World, limits};
use crate::core::SessionId;

fn create(group: &str, reference: u64) -> CreateGroup {
    CreateGroup { group: group.into(), history: false, reference: Some(reference) }
}

fn rename(group: &str, to: &str, reference: u64) -> RenameGroup {
    RenameGroup { group: group.into(), to: to.into(), reference: Some(reference) }
}

fn groups(world: &mut World, session: SessionId) -> Vec<String> {
    match world.ask(session, ListGroups {}) {
        Some(Ok(Reply::Groups(groups))) => {
            groups.groups.into_iter().map(|group| group.group).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_change_that_is_asked_for_again_is_done_once_and_granted_each_time() {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    for _ in 0..2 {
        assert_eq!(world.refusal(alice, create("crew", 1)), None);
    }
    assert_eq!(world.refusal(alice, create("crew", 2)), Some(ErrorCode::Conflict));
    // The reference is the asker's own: another user's is another one.
    let bob = world.login(2, "bob");
    assert_eq!(world.refusal(bob, create("crew", 1)), Some(ErrorCode::Conflict));

    assert_eq!(world.refusal(alice, rename("crew", "hands", 3)), None);
    world.crash(0);
    let alice = world.login(1, "alice");
    assert_eq!(world.refusal(alice, rename("crew", "hands", 3)), None);
    assert_eq!(groups(&mut world, alice), ["hands"]);
    // With the last member the group goes, its references do not.
    for _ in 0..2 {
        let leave = LeaveGroup { group: "hands".into(), reference: Some(4) };
        assert_eq!(world.refusal(alice, leave), None);
    }
    assert!(groups(&mut world, alice).is_empty());
}

#[test]
fn a_change_that_was_kept_and_never_answered_is_granted_after_a_crash() {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    world.commits_at_once = false;
    assert_eq!(world.ask(alice, create("crew", 1)), None);
    world.crash(1);
    world.commits_at_once = true;
    let alice = world.login(1, "alice");
    assert_eq!(world.refusal(alice, create("crew", 1)), None);
    assert_eq!(groups(&mut world, alice), ["crew"]);
}

#[test]
fn twins_under_way_get_one_outcome() {
    let mut world = World::new(limits());
    let alice = world.login(1, "alice");
    for fails in [true, false] {
        world.commits_at_once = false;
        let twins = [(); 2].map(|()| world.request(alice, create("crew", 1)));
        if fails {
            world.fail();
        } else {
            world.commit(usize::MAX);
        }
        world.commits_at_once = true;
        for request in twins {
            let answer = world.told.get_mut(&alice).unwrap().answers.remove(&request).unwrap();
            assert_eq!(answer.is_err(), fails);
        }
    }
    assert_eq!(groups(&mut world, alice), ["crew"]);
}

#[test]
fn the_oldest_references_are_forgotten_in_memory_as_on_the_disk() {
    let mut world = World::new(limits());
    let mut alice = world.login(1, "alice");
    assert_eq!(world.refusal(alice, create("crew", 0)), None);
    for number in 1..=64 {
        let (from, to) = match number % 2 {
            1 => ("crew", "hands"),
            _ => ("hands", "crew"),
        };
        assert_eq!(world.refusal(alice, rename(from, to, number)), None);
    }
    for _ in 0..2 {
        assert_eq!(world.refusal(alice, create("crew", 0)), Some(ErrorCode::Conflict));
        assert_eq!(world.refusal(alice, rename("crew", "hands", 1)), None);
        assert_eq!(groups(&mut world, alice), ["crew"]);
        world.crash(0);
        alice = world.login(1, "alice");
    }
}
