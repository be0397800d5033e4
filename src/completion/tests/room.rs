//! What a completion that waits takes: there may be 100 000 of them.
//!
//! Spec: DESIGN §6.

use crate::completion::Input;
use crate::completion::entry::Completion;
use crate::completion::names::Names;
use crate::completion::service::Route;
use crate::completion::user::User;

use super::kit::{ALICE, BOB, CAROL, World, rung, seconds, user};

/// One field more in each costs a hundred thousand times as much: it has to be worth that.
#[test]
fn a_completion_that_waits_takes_little_room() {
    let rooms = [
        ("completion", size_of::<Completion>(), 248),
        ("names", size_of::<Names>(), 144),
        ("route", size_of::<Route>(), 16),
        ("user", size_of::<User>(), 104),
    ];
    for (what, bytes, most) in rooms {
        assert!(bytes <= most, "{what}: {bytes} bytes");
    }
}

/// How many machines a service has.
fn machines(world: &World) -> usize {
    let users = [ALICE, BOB, CAROL];
    let users = users.map(|name| world.service.users.get(&user(name)));
    let users = users.iter().flatten();
    let machines = users.map(|user| {
        let queue = usize::from(user.queue.awake().is_some());
        queue + usize::from(user.agent.is_some())
    });
    machines.sum()
}

/// A story of two who wait, one of them elsewhere: nothing happens, then something does.
#[test]
fn who_only_waits_has_no_machines_and_is_served_when_something_happens() {
    let mut world = World::new();
    world.waits(ALICE, BOB);
    let elsewhere = world.waits_elsewhere(CAROL, BOB);
    assert_eq!(machines(&world), 0);
    world.pass(seconds(600));
    assert_eq!(machines(&world), 0);
    assert_eq!(world.service.waiting_for(&user(BOB)), 2);

    world.hangs_up(BOB);
    assert_eq!(machines(&world), 1, "his guard time runs");
    let out = world.pass(seconds(5));
    assert_eq!(rung(&out), [user(ALICE)], "who came first");
    assert_eq!(machines(&world), 2);

    world.service.stop_selecting();
    world.step(Input::NotifyFailed {
        subscription: elsewhere,
    });
    assert_eq!(world.service.waiting_for(&user(BOB)), 1);
    world.ends_empty();
}

/// What was kept of him is taken up by the next process, where it is as it was.
#[test]
fn who_only_waits_is_kept_as_he_waits() {
    let mut world = World::new();
    world.waits(ALICE, BOB);
    // Its record is written again, while it rests.
    let id = world.id_of(ALICE);
    let completion = world.service.completions.get(&id).expect("it waits");
    let (entry, _, place) = world.service.kept_entry(completion).expect("a place");
    let kept = world.service.kept_request(completion).expect("a request");
    assert_eq!((place.expires, place.passed), (completion.ends, 0));
    let subscriptions: Vec<_> = kept.subscriptions.iter().map(|sub| sub.id).collect();
    assert_eq!(subscriptions, [entry]);
    world.restarts(&[]);
    assert_eq!(world.unrestored, 0);
}
