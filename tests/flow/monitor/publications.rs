//! What a place's caller says of himself: that he is away, and that he is back.

use super::*;

/// Publishes, and gives the 200.
#[track_caller]
fn says(party: &Party, draft: Draft) -> Message {
    party.sends(draft);
    party.receives("200")
}

#[test]
fn a_caller_who_leaves_in_his_turn_makes_way_for_the_next() {
    let scene = Scene::new();
    let Scene {
        alice, bob, carol, ..
    } = &scene;
    let (first, second) = (scene.place(alice), scene.place(carol));
    scene.frees_bob();
    let ready = news(alice);
    carol.receives_nothing();
    alice.sends(publish(&line(&ready, "cc-URI"), "closed")); // CC-39
    let [_, back] = alice.receives_each(["200", "NOTIFY"]);
    alice.answers(&back, 200);
    assert_eq!(said(&back), "active queued"); // CC-50
    assert_eq!(said(&news(carol)), "active ready"); // CC-05
    // Nor does her recall timer run any longer.
    scene.world.advance(SECOND * 19);
    alice.receives_nothing(); // CC-50
    second.talks(bob);
    first.left();
}

#[test]
fn a_caller_who_is_away_is_not_recalled_and_at_once_when_he_is_back() {
    let scene = Scene::new();
    let Scene { alice, bob, .. } = &scene;
    let place = scene.place(alice);
    let away = says(alice, publish(&place.cc_uri, "closed"));
    scene.frees_bob();
    scene.world.advance(SECOND * 60);
    alice.receives_nothing(); // CC-04
    let back = publish(&place.cc_uri, "open").with("SIP-If-Match", away.header("SIP-ETag"));
    alice.sends(back);
    let [_, ready] = alice.receives_each(["200", "NOTIFY"]);
    alice.answers(&ready, 200);
    assert_eq!(said(&ready), "active ready"); // CC-51
    place.talks(bob);
}

#[test]
fn what_a_caller_said_of_himself_ends_with_his_place() {
    let scene = Scene::new();
    let Scene { alice, bob, .. } = &scene;
    let place = scene.place(alice);
    let away = says(alice, publish(&place.cc_uri, "closed"));
    place.left();
    alice.sends(publish(&place.cc_uri, "closed"));
    alice.receives("403"); // CC-72
    scene.world.advance(WINDOW);

    let place = scene.place(alice);
    let change = publish(&place.cc_uri, "closed").with("SIP-If-Match", away.header("SIP-ETag"));
    alice.sends(change);
    alice.receives("412"); // CC-06
    scene.frees_bob();
    assert_eq!(said(&news(alice)), "active ready"); // CC-06
    place.talks(bob);
}

#[test]
fn a_publication_finds_its_place_by_every_address_that_campon_gave_out() {
    let scene = Scene::new();
    let Scene { alice, bob, .. } = &scene;
    let queue = offered_to(alice);
    let place = Place::taken(alice, subscribe(alice, &queue));
    let contact = uri_of(place.first.header("Contact")).to_owned();
    assert_eq!(contact, place.accepted.contact());
    let callee = format!("sip:bob@{DOMAIN}");
    for uri in [&place.cc_uri, &queue, &callee, &contact] {
        let said = says(alice, publish(uri, "closed")); // CC-48
        let gone = publish(uri, "open").with("SIP-If-Match", said.header("SIP-ETag"));
        says(alice, gone);
    }
    says(
        alice,
        as_presence(within(&place.dialog, "PUBLISH"), "closed"),
    ); // CC-48
    scene.world.advance(WINDOW);
    scene.frees_bob();
    scene.world.advance(WINDOW);
    alice.receives_nothing();
    alice.sends(publish(&contact, "open"));
    let [_, ready] = alice.receives_each(["200", "NOTIFY"]);
    alice.answers(&ready, 200);
    place.talks(bob);
}

#[test]
fn at_the_callees_address_a_publication_is_its_senders_own() {
    let scene = Scene::new();
    let Scene {
        alice, bob, carol, ..
    } = &scene;
    let (first, second) = (scene.place(alice), scene.place(carol));
    says(carol, publish(&format!("sip:bob@{DOMAIN}"), "closed")); // CC-49
    scene.frees_bob();
    assert_eq!(said(&news(alice)), "active ready");
    first.talks(bob);
    scene.world.advance(SECOND * 60);
    carol.receives_nothing(); // CC-49
    second.left();
}

#[test]
fn each_publication_is_granted_a_tag_and_a_time() {
    let scene = Scene::new();
    let Scene { alice, .. } = &scene;
    let place = scene.place(alice);
    let made = says(alice, publish(&place.cc_uri, "closed"));
    assert_eq!(made.header("Expires"), "3000"); // S-151
    let tag = made.header("SIP-ETag").to_owned();
    let refresh = request("PUBLISH", &place.cc_uri)
        .with("Event", "presence")
        .with("Expires", "600")
        .with("SIP-If-Match", &tag);
    let refreshed = says(alice, refresh.clone()); // S-152
    assert_ne!(refreshed.header("SIP-ETag"), tag); // S-151
    alice.sends(refresh);
    alice.receives("412"); // S-150
    place.left();
    hang_up(&scene.dave, &scene.talk.caller, &scene.bob);
}

#[test]
fn a_publication_that_is_not_one_is_refused_with_what_would_be() {
    let scene = Scene::new();
    let Scene { alice, .. } = &scene;
    let place = scene.place(alice);
    let uri = &place.cc_uri;
    let closed = publish(uri, "closed");
    alice.sends(closed.clone().with_only("Event", "dialog"));
    let unknown = alice.receives("489");
    assert!(unknown.lists("Allow-Events", "call-completion")); // S-150
    assert!(unknown.lists("Allow-Events", "presence"));
    let tags = closed.clone().with("SIP-If-Match", "a");
    alice.sends(tags.with("SIP-If-Match", "b"));
    alice.receives("400"); // S-150
    alice.sends(closed.with_only("Expires", "1"));
    assert!(alice.receives("423").has("Min-Expires")); // S-150
    let text = request("PUBLISH", uri).with("Event", "presence");
    alice.sends(text.with_body("text/plain", b"closed"));
    let wrong = alice.receives("415");
    assert_eq!(wrong.header("Accept"), "application/pidf+xml"); // S-150
    alice.sends(publish(uri, "perhaps"));
    alice.receives("400"); // S-150
    place.left();
    hang_up(&scene.dave, &scene.talk.caller, &scene.bob);
}

#[test]
fn a_publication_that_is_removed_or_runs_out_suspends_no_longer() {
    let scene = Scene::new();
    let Scene { alice, bob, .. } = &scene;
    let place = scene.place(alice);
    says(
        alice,
        publish(&place.cc_uri, "closed").with_only("Expires", "60"),
    );
    scene.frees_bob();
    scene.world.advance(SECOND * 50);
    alice.receives_nothing();
    let ready = news_within(alice, SECOND * 10);
    assert_eq!(said(&ready), "active ready"); // S-151
    place.talks(bob);
}

#[test]
fn nobody_speaks_for_another_caller() {
    let scene = Scene::new();
    let Scene {
        alice,
        bob,
        carol,
        world,
        ..
    } = &scene;
    let place = scene.place(alice);
    let eve = world.party("eve");
    carol.sends(publish(&place.cc_uri, "closed"));
    carol.receives("403"); // CC-72
    let as_alice = format!("<sip:alice@{DOMAIN}>;tag=eve");
    eve.sends(publish(&place.cc_uri, "closed").with("From", &as_alice));
    eve.receives("403"); // CC-72
    scene.frees_bob();
    assert_eq!(said(&news(alice)), "active ready");
    place.talks(bob);
}
