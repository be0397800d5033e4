//! What a place's caller is told, and when.

use super::*;
use crate::flow::kit::party::assert_came_at;

#[test]
fn every_change_of_a_place_is_told_at_once() {
    let scene = Scene::new();
    let Scene { alice, bob, .. } = &scene;
    let queue = offered_to(alice);
    let place = Place::taken(alice, subscribe(alice, &queue));
    scene.world.advance(SECOND);
    scene.frees_bob();
    let ready = news(alice);
    assert_eq!(said(&ready), "active ready"); // CC-38
    scene.world.advance(SECOND);
    let sent = bob.sends(invite("dave").with_sdp(OFFER));
    let withdrawn = news(alice);
    assert_eq!(said(&withdrawn), "active queued"); // CC-63
    // The third within ten seconds, for which there was room.
    assert_came_at(&[withdrawn], ready.at, &[1_000]); // CC-66
    let other = scene.dave.receives("INVITE");
    let answer = scene.dave.takes_call(&other, bob, &sent);
    scene.world.advance(WINDOW);
    hang_up(bob, &Dialog::of_caller(&sent, &answer), &scene.dave);
    scene.world.advance(GUARD);
    assert_eq!(said(&news(alice)), "active ready"); // CC-38
    place.talks(bob);
}

#[test]
fn every_notify_holds_the_whole_state_of_the_place() {
    let scene = Scene::new();
    let Scene { alice, bob, .. } = &scene;
    let place = scene.place(alice);
    scene.frees_bob();
    let ready = news(alice);
    for (notify, state) in [(&place.first, "queued"), (&ready, "ready")] {
        let media_type = notify.header("Content-Type");
        assert_eq!(media_type, "application/call-completion"); // CC-57
        assert_eq!(line(notify, "cc-state"), state); // CC-61
        assert_eq!(line(notify, "cc-service-retention"), "true"); // CC-40
        assert_eq!(line(notify, "cc-URI"), place.cc_uri);
    }
    place.talks(bob);
}

#[test]
fn a_caller_who_does_not_come_in_his_turn_goes_back_to_the_queue() {
    let scene = Scene::new();
    let alice = &scene.alice;
    let place = scene.place(alice);
    scene.frees_bob();
    let ready = news(alice);
    let back = news_within(alice, SECOND * 21);
    assert_came_at(std::slice::from_ref(&back), ready.at, &[20_000]); // CC-42
    assert_eq!(said(&back), "active queued"); // CC-44
    assert_eq!(line(&back, "cc-URI"), place.cc_uri);
    place.left();
}

#[test]
fn a_call_that_has_arrived_may_ring_for_longer_than_a_recall_lasts() {
    let scene = Scene::new();
    let Scene { alice, bob, .. } = &scene;
    let place = scene.place(alice);
    scene.frees_bob();
    news(alice);
    scene.world.advance(SECOND * 15);
    let (sent, invite) = place.rings(bob);
    scene.world.advance(SECOND * 40);
    alice.receives_nothing(); // CC-43
    let (dialog, last) = place.answered(bob, &sent, &invite);
    assert_eq!(said(&last), "terminated;reason=noresource queued"); // CC-46
    hang_up(alice, &dialog, bob);
}

#[test]
fn when_the_first_has_talked_it_is_the_turn_of_the_second() {
    let scene = Scene::new();
    let Scene {
        alice, bob, carol, ..
    } = &scene;
    let (first, second) = (scene.place(alice), scene.place(carol));
    scene.frees_bob();
    news(alice);
    first.talks(bob);
    carol.receives_nothing();
    scene.world.advance(GUARD);
    let ready = news(carol);
    assert_eq!(said(&ready), "active ready"); // CC-41, CC-47
    second.talks(bob);
}

#[test]
fn a_caller_gets_no_fourth_notify_within_ten_seconds() {
    let scene = Scene::new();
    let alice = &scene.alice;
    let queue = offered_to(alice);
    let place = Place::taken(alice, subscribe(alice, &queue));
    for _ in 0..2 {
        scene.world.advance(SECOND);
        place.refreshed("3600");
    }
    scene.world.advance(SECOND);
    alice.sends(place.refresh("3600"));
    alice.receives("200");
    let fourth = news_within(alice, SECOND * 8);
    assert_came_at(&[fourth], place.first.at, &[10_000]); // CC-65
    scene.world.advance(WINDOW);
    place.left();
    hang_up(&scene.dave, &scene.talk.caller, &scene.bob);
}

#[test]
fn a_turn_is_not_told_where_no_withdrawal_could_follow() {
    let scene = Scene::new();
    let Scene { alice, bob, .. } = &scene;
    let queue = offered_to(alice);
    let place = Place::taken(alice, subscribe(alice, &queue));
    scene.world.advance(SECOND);
    place.refreshed("3600");
    // Bob is free and left alone until the sixth second.
    scene.frees_bob();
    alice.receives_nothing(); // CC-67
    let ready = news_within(alice, SECOND * 5);
    assert_eq!(said(&ready), "active ready");
    assert_came_at(&[ready], place.first.at, &[10_000]); // CC-67
    scene.world.advance(SECOND);
    place.talks(bob);
}

#[test]
fn a_caller_who_knows_nothing_of_his_place_has_lost_it() {
    let scene = Scene::new();
    let Scene {
        alice, bob, carol, ..
    } = &scene;
    let (lost, second) = (scene.place(alice), scene.place(carol));
    scene.frees_bob();
    let ready = alice.receives("NOTIFY");
    alice.answers(&ready, 481);
    assert_eq!(said(&news(carol)), "active ready"); // S-124
    alice.sends(lost.refresh("3600"));
    alice.receives("481"); // S-124
    second.talks(bob);
}

#[test]
fn a_caller_who_answers_no_notify_has_lost_his_place() {
    let scene = Scene::new();
    let Scene {
        alice, bob, carol, ..
    } = &scene;
    let second = {
        scene.place(alice);
        scene.place(carol)
    };
    scene.frees_bob();
    alice.receives("NOTIFY");
    // Longer than her turn would be: it is passed on to Carol.
    let passed_on = news_within(carol, SECOND * 21);
    assert_eq!(said(&passed_on), "active ready");
    second.talks(bob);
    scene.world.advance(SECOND * 40);
    alice.receives_copies("NOTIFY");
    scene.world.advance(SECOND * 600);
    alice.receives_nothing(); // S-124
}

#[test]
fn a_call_that_meets_a_busy_callee_again_waits_for_his_next_change() {
    let scene = Scene::new();
    let Scene {
        alice,
        bob,
        dave,
        world,
        ..
    } = &scene;
    let place = scene.place(alice);
    scene.frees_bob();
    news(alice);
    let (sent, invite) = place.rings(bob);
    bob.refuses(&invite, 486);
    let [busy, back] = alice.receives_each(["486", "NOTIFY"]);
    alice.acks(&sent, &busy);
    alice.answers(&back, 200);
    assert_eq!(said(&back), "active queued"); // CC-45
    world.advance(SECOND * 60);
    alice.receives_nothing(); // CC-45
    let talk = call(dave, bob);
    world.advance(SECOND);
    hang_up(dave, &talk.caller, bob);
    world.advance(GUARD);
    let again = news(alice);
    assert_eq!(line(&again, "cc-URI"), place.cc_uri); // CC-45
    place.talks(bob);
}
