//! A place in a queue: how it is had, how long, and how it ends.

use super::*;
use crate::flow::kit::draft::options;

#[test]
fn a_place_is_a_subscription_like_any_other() {
    let scene = Scene::new();
    let place = scene.place(&scene.alice);
    let Place {
        accepted, first, ..
    } = &place;
    assert_eq!(accepted.header("Allow-Events"), "call-completion"); // S-132
    assert_eq!(accepted.all("Contact").len(), 1);
    assert_eq!(first.header("Event"), "call-completion");
    assert_eq!(first.header("Subscription-State"), "active;expires=3600"); // S-123
    // CC-34: in the dialog that the answer makes.
    assert_eq!(first.call_id(), accepted.call_id());
    assert_eq!(first.header("From"), accepted.header("To"));
    assert_eq!(first.header("To"), accepted.header("From"));
    assert_eq!(first.uri(), scene.alice.uri());
    place.left();
    hang_up(&scene.dave, &scene.talk.caller, &scene.bob);
}

#[test]
fn a_new_place_is_queued_and_its_caller_there_for_a_recall() {
    let scene = Scene::new();
    let place = scene.place(&scene.alice);
    assert_eq!(line(&place.first, "cc-state"), "queued"); // CC-03
    scene.frees_bob();
    assert_eq!(said(&news(&scene.alice)), "active ready"); // CC-03
    place.talks(&scene.bob);
}

#[test]
fn a_place_lasts_an_hour_unless_its_caller_asks_for_less() {
    let scene = Scene::new();
    let alice = &scene.alice;
    let place = Place::taken(alice, subscribe_for(alice, &offered_to(alice)));
    assert_eq!(place.accepted.header("Expires"), "3600"); // CC-54, CC-55
    place.left();
    scene.world.advance(WINDOW);
    let draft = subscribe_for(alice, &offered_to(alice)).with("Expires", "60");
    let place = Place::taken(alice, draft);
    assert_eq!(place.accepted.header("Expires"), "60");
    place.left();
    hang_up(&scene.dave, &scene.talk.caller, &scene.bob);
}

#[test]
fn a_place_does_not_last_longer_than_a_recall_may_come() {
    let scene = Scene::new();
    let alice = &scene.alice;
    let draft = subscribe_for(alice, &offered_to(alice)).with("Expires", "86400");
    let place = Place::taken(alice, draft);
    assert_eq!(place.accepted.header("Expires"), "3600"); // CC-56
    let life = place.first.header("Subscription-State");
    assert_eq!(life, "active;expires=3600");
    place.left();
    hang_up(&scene.dave, &scene.talk.caller, &scene.bob);
}

#[test]
fn a_place_that_is_refreshed_does_not_last_longer() {
    let scene = Scene::new();
    let place = scene.place(&scene.alice);
    scene.world.advance(SECOND * 589);
    let (answer, told) = place.refreshed("3600");
    assert_eq!(answer.header("Expires"), "3000"); // CC-59
    assert_eq!(told.header("Subscription-State"), "active;expires=3000"); // CC-59
    place.left();
    hang_up(&scene.dave, &scene.talk.caller, &scene.bob);
}

#[test]
fn a_place_whose_time_is_over_ends_and_its_caller_is_told() {
    let scene = Scene::new();
    let place = scene.place(&scene.alice);
    scene.world.advance(SECOND * 3589);
    let last = news(&scene.alice);
    assert_eq!(said(&last), "terminated;reason=timeout queued"); // CC-37
    scene.alice.sends(place.refresh("3600"));
    scene.alice.receives("481");
    scene.frees_bob();
}

#[test]
fn a_caller_who_asks_again_has_one_place_where_it_was() {
    let scene = Scene::new();
    let Scene { alice, carol, .. } = &scene;
    let first = scene.place(alice);
    let second = scene.place(carol);
    alice.sends(publish(&first.cc_uri, "closed"));
    alice.receives("200");
    let queue = offered_to(alice);
    alice.sends(subscribe(alice, &queue));
    let accepted = alice.receives("200"); // CC-36
    let mut told = [news(alice), news(alice)];
    told.sort_by_key(|notify| notify.call_id() != accepted.call_id());
    let [new, old] = told;
    assert_eq!(said(&new), "active queued");
    assert_eq!(old.call_id(), first.accepted.call_id());
    assert!(said(&old).starts_with("terminated;reason="), "{old}"); // CC-36
    assert_eq!(line(&new, "cc-URI"), first.cc_uri);
    scene.world.advance(WINDOW);
    scene.frees_bob();
    // CC-06: and she who asks again is there.
    let ready = news(alice);
    assert_eq!(
        (ready.call_id(), said(&ready)),
        (new.call_id(), "active ready".to_owned())
    );
    first.talks(&scene.bob);
    scene.world.advance(GUARD);
    assert_eq!(said(&news(carol)), "active ready");
    second.talks(&scene.bob);
}

#[test]
fn a_subscription_to_something_else_is_refused_and_told_what_there_is() {
    let scene = Scene::new();
    let Scene { alice, .. } = &scene;
    let queue = offered_to(alice);
    alice.sends(subscribe(alice, &queue).with_only("Event", "dialog"));
    let refused = alice.receives("489");
    assert_eq!(refused.header("Allow-Events"), "call-completion"); // S-120
    alice.sends(subscribe(alice, &queue).with("Accept", "application/dialog-info+xml"));
    let refused = alice.receives("406"); // CC-52
    assert_eq!(refused.header("Accept"), "application/call-completion"); // CC-52
    let accept = "text/plain, application/call-completion;q=0.1";
    let draft = subscribe(alice, &queue).with("Accept", accept);
    Place::taken(alice, draft).left(); // CC-52
    hang_up(&scene.dave, &scene.talk.caller, &scene.bob);
}

#[test]
fn a_brief_subscription_is_refused_with_the_least_time() {
    let scene = Scene::new();
    let Scene { alice, .. } = &scene;
    let queue = offered_to(alice);
    alice.sends(subscribe_for(alice, &queue).with("Expires", "9"));
    let refused = alice.receives("423");
    assert_eq!(refused.header("Min-Expires"), "10"); // S-121
    hang_up(&scene.dave, &scene.talk.caller, &scene.bob);
}

#[test]
fn the_id_of_an_event_comes_back_in_its_notifies() {
    let scene = Scene::new();
    let Scene { alice, .. } = &scene;
    let draft = subscribe(alice, &offered_to(alice));
    let place = Place::taken(alice, draft.with_only("Event", "call-completion;id=7"));
    assert_eq!(place.first.header("Event"), "call-completion;id=7"); // S-131
    alice.sends(place.refresh("0"));
    alice.receives("481"); // S-131
    let leaves = place
        .refresh("0")
        .with_only("Event", "call-completion;id=7");
    alice.sends(leaves);
    alice.receives("200");
    let last = news(alice);
    assert_eq!(last.header("Event"), "call-completion;id=7"); // S-131
    hang_up(&scene.dave, &scene.talk.caller, &scene.bob);
}

#[test]
fn a_cancel_does_not_end_a_subscription() {
    let scene = Scene::new();
    let Scene { alice, .. } = &scene;
    let queue = offered_to(alice);
    let sent = alice.sends(subscribe(alice, &queue));
    let accepted = alice.receives("200");
    news(alice);
    alice.cancels(&sent);
    alice.receives("200"); // S-133
    alice.receives_nothing();
    scene.world.advance(WINDOW);
    let leaves = within(&Dialog::of_caller(&sent, &accepted), "SUBSCRIBE");
    let leaves = leaves.with("Event", "call-completion");
    alice.sends(leaves.with("Expires", "0"));
    alice.receives("200");
    news(alice);
    hang_up(&scene.dave, &scene.talk.caller, &scene.bob);
}

#[test]
fn options_tells_of_completion() {
    let scene = Scene::new();
    scene.alice.sends(options());
    let told = scene.alice.receives("200");
    assert_eq!(told.header("Allow-Events"), "call-completion"); // S-132
    for method in ["SUBSCRIBE", "NOTIFY", "PUBLISH"] {
        assert!(told.lists("Allow", method), "{told}"); // S-36
    }
    hang_up(&scene.dave, &scene.talk.caller, &scene.bob);
}

#[test]
fn a_request_that_comes_by_two_ways_has_one_place() {
    let scene = Scene::new();
    let Scene { alice, .. } = &scene;
    let queue = offered_to(alice);
    let sent = alice.sends(subscribe(alice, &queue));
    let accepted = alice.receives("200");
    let first = news(alice);
    let again = subscribe(alice, &format!("sip:bob@{DOMAIN}"))
        .with("From", sent.header("From"))
        .with("Call-ID", sent.call_id());
    alice.sends(again.clone());
    alice.receives("482"); // CC-35
    alice.sends(again.with("CSeq", "315 SUBSCRIBE"));
    alice.receives("482"); // CC-35
    scene.world.advance(WINDOW);
    let place = Place {
        party: alice.clone(),
        dialog: Dialog::of_caller(&sent, &accepted),
        cc_uri: line(&first, "cc-URI"),
        accepted,
        first,
    };
    place.left();
    hang_up(&scene.dave, &scene.talk.caller, &scene.bob);
}

#[test]
fn a_queue_that_has_five_takes_no_sixth_for_now() {
    let scene = Scene::new();
    let callers = ["f1", "f2", "f3", "f4", "f5", "f6"].map(|name| scene.world.phone(name));
    let queues = callers.each_ref().map(offered_to);
    let mut asked = callers.iter().zip(&queues);
    let places: Vec<_> = asked
        .by_ref()
        .take(5)
        .map(|(caller, queue)| Place::taken(caller, subscribe(caller, queue)))
        .collect();
    let (sixth, queue) = asked.next().expect("a sixth");
    sixth.sends(subscribe(sixth, queue));
    sixth.receives("480"); // CC-60
    scene.world.advance(WINDOW);
    for place in &places {
        place.left();
    }
    hang_up(&scene.dave, &scene.talk.caller, &scene.bob);
}

#[test]
fn what_the_callee_did_before_a_call_failed_recalls_nobody() {
    let scene = Scene::new();
    let Scene {
        alice,
        bob,
        dave,
        world,
        ..
    } = &scene;
    // Since Carol may ask, campon knows that Bob has talked.
    offered_to(&scene.carol);
    world.advance(SECOND);
    scene.frees_bob();
    let sent = alice.sends(invite("bob").with_sdp(OFFER));
    let arrived = bob.receives("INVITE");
    bob.refuses(&arrived, 486);
    let busy = refused(alice, &sent, "486");
    let place = Place::taken(alice, subscribe(alice, uri_of(busy.header("Call-Info"))));
    world.advance(SECOND * 60);
    alice.receives_nothing(); // CC-02
    let talk = call(dave, bob);
    world.advance(SECOND);
    hang_up(dave, &talk.caller, bob);
    world.advance(GUARD);
    assert_eq!(said(&news(alice)), "active ready");
    place.talks(bob);
}
