//! A phone watches something behind the PBX: BLF, message lamp, presence.
//!
//! Spec: RFC 6665 §4; RFC 4235; RFC 3842; RFC 3261 §12; RULES R8, R15.

use std::time::Duration;

use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{in_dialog, response, within};
use crate::flow::kit::message::{uri_of, without_tag};
use crate::flow::kit::relayed::{
    CAROL, accept, alice_watches_carol, ends, notify, phone_and_pbx, tells, watch, watches,
};
use crate::flow::kit::subject::{DOMAIN, Setup};
use crate::flow::kit::world::World;

/// A document that nobody may touch: odd white space, a comment, no end of line.
const DOCUMENT: &[u8] = b"<?xml version=\"1.0\"?>\r\n<dialog-info \
    xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"0\"\tstate=\"full\" \
    entity=\"sip:carol@pbx.example\"><!-- \xc3\xa9 --></dialog-info>";

#[test]
fn each_side_of_a_subscription_has_names_of_its_own() {
    let (_world, alice, pbx) = phone_and_pbx();
    let draft = watch(&alice, CAROL, "dialog;id=7").with("Accept", "application/dialog-info+xml");
    let scene = watches(&alice, &pbx, draft);
    let (sent, arrived) = (&scene.sent, &scene.arrived);
    // R3
    assert_eq!(arrived.uri(), CAROL);
    let from = |message: &crate::flow::kit::message::Message| {
        without_tag(message.header("From")).to_owned()
    };
    assert_eq!(from(arrived), from(sent));
    assert_eq!(arrived.header("To"), sent.header("To"));
    // S-37
    assert_ne!(arrived.call_id(), sent.call_id());
    assert_ne!(arrived.tag_of_from(), sent.tag_of_from());
    assert!(uri_of(arrived.header("Contact")).contains(DOMAIN));
    assert!(uri_of(scene.accepted.header("Contact")).contains(DOMAIN));
    assert_ne!(scene.accepted.tag_of_to(), "pbx");
    // S-131
    assert_eq!(arrived.header("Event"), "dialog;id=7");
    assert_eq!(arrived.header("Accept"), "application/dialog-info+xml");
    assert_eq!(arrived.header("Expires"), "3600");
    assert_eq!(arrived.header("Max-Forwards"), "69");
    // S-121
    assert_eq!(scene.accepted.header("Expires"), "3600");
    ends(&pbx, &scene.far, &alice);
}

#[test]
fn what_is_told_crosses_byte_for_byte() {
    let (_world, alice, pbx) = phone_and_pbx();
    let scene = alice_watches_carol(&alice, &pbx);
    let state = "active;expires=3599;x-more=\"a;b\"";
    let draft = notify(&pbx, &scene.far, state)
        .with("X-Private", "kept")
        .with_body("application/dialog-info+xml;charset=utf-8", DOCUMENT);
    let told = tells(&pbx, draft, &alice);
    assert_eq!(told.body(), DOCUMENT);
    let media = told.header("Content-Type");
    assert_eq!(media, "application/dialog-info+xml;charset=utf-8");
    // S-123
    assert_eq!(told.header("Subscription-State"), state);
    assert_eq!(told.header("X-Private"), "kept");
    // S-13
    assert_eq!(told.call_id(), scene.sent.call_id());
    assert_eq!(told.tag_of_to(), scene.sent.tag_of_from());
    assert_eq!(told.tag_of_from(), scene.accepted.tag_of_to());
    assert_eq!(told.uri(), alice.uri());
    ends(&pbx, &scene.far, &alice);
}

#[test]
fn a_notify_may_overtake_the_answer() {
    let (_world, alice, pbx) = phone_and_pbx();
    let sent = alice.sends(watch(&alice, CAROL, "dialog"));
    let arrived = pbx.receives("SUBSCRIBE");
    let far = Dialog::of_notifier(&arrived, "pbx");
    let told = tells(&pbx, notify(&pbx, &far, "active;expires=3600"), &alice);
    pbx.sends(accept(&pbx, &arrived, "3600"));
    let accepted = alice.receives("200");
    // S-129: the same dialog, whichever of the two came first.
    assert_eq!(accepted.tag_of_to(), told.tag_of_from());
    assert_eq!(told.call_id(), sent.call_id());
    ends(&pbx, &far, &alice);
}

#[test]
fn each_notifier_that_tells_something_is_a_fork_of_its_own() {
    let (_world, alice, pbx) = phone_and_pbx();
    let scene = alice_watches_carol(&alice, &pbx);
    let other = Dialog::of_notifier(&scene.arrived, "other");
    let first = tells(
        &pbx,
        notify(&pbx, &scene.far, "active;expires=3600"),
        &alice,
    );
    let second = tells(&pbx, notify(&pbx, &other, "active;expires=3600"), &alice);
    // S-129
    assert_eq!(first.call_id(), second.call_id());
    assert_ne!(first.tag_of_from(), second.tag_of_from());

    // The subscriber's end of the fork, as its NOTIFY tells it.
    let near = Dialog::of_callee(&second, &second);
    alice.sends(
        within(&near, "SUBSCRIBE")
            .with("Event", "dialog")
            .with("Expires", "0"),
    );
    let unsubscribe = pbx.receives("SUBSCRIBE");
    assert_eq!(unsubscribe.tag_of_to(), "other");
    pbx.sends(accept(&pbx, &unsubscribe, "0"));
    alice.receives("200");
    ends(&pbx, &other, &alice);
    // The first one lives on.
    tells(
        &pbx,
        notify(&pbx, &scene.far, "active;expires=3600"),
        &alice,
    );
    ends(&pbx, &scene.far, &alice);
}

#[test]
fn no_fork_is_made_after_timer_n() {
    let (world, alice, pbx) = phone_and_pbx();
    let scene = alice_watches_carol(&alice, &pbx);
    world.advance(Duration::from_secs(33));
    let late = Dialog::of_notifier(&scene.arrived, "late");
    pbx.sends(notify(&pbx, &late, "active;expires=3600"));
    // S-129, S-126
    pbx.receives("481");
    alice.receives_nothing();
    ends(&pbx, &scene.far, &alice);
}

#[test]
fn a_refresh_and_the_end_cross() {
    let (world, alice, pbx) = phone_and_pbx();
    let scene = alice_watches_carol(&alice, &pbx);
    world.advance(Duration::from_mins(30));
    let again = within(&scene.near, "SUBSCRIBE").with("Event", "dialog");
    alice.sends(again.with("Expires", "3600"));
    let refresh = pbx.receives("SUBSCRIBE");
    // S-14
    assert_eq!(refresh.cseq(), scene.arrived.cseq() + 1);
    assert_eq!(refresh.call_id(), scene.arrived.call_id());
    assert_eq!(refresh.tag_of_to(), "pbx");
    pbx.sends(accept(&pbx, &refresh, "1800"));
    assert_eq!(alice.receives("200").header("Expires"), "1800");
    world.advance(Duration::from_secs(1699));
    tells(&pbx, notify(&pbx, &scene.far, "active;expires=100"), &alice);

    let end = within(&scene.near, "SUBSCRIBE").with("Event", "dialog");
    alice.sends(end.with("Expires", "0"));
    let end = pbx.receives("SUBSCRIBE");
    pbx.sends(accept(&pbx, &end, "0"));
    assert_eq!(alice.receives("200").header("Expires"), "0");
    // S-122: the last NOTIFY follows.
    let last = notify(&pbx, &scene.far, "terminated;reason=timeout");
    let last = tells(&pbx, last, &alice);
    assert_eq!(
        last.header("Subscription-State"),
        "terminated;reason=timeout"
    );
    pbx.sends(notify(&pbx, &scene.far, "active;expires=100"));
    // S-126
    pbx.receives("481");
}

#[test]
fn a_moved_notifier_is_asked_where_it_is() {
    let (world, alice, pbx) = phone_and_pbx();
    let scene = alice_watches_carol(&alice, &pbx);
    let moved = world.party_at("moved", "192.0.2.202:5060");
    let draft = notify(&pbx, &scene.far, "active;expires=3600")
        .with_only("Contact", "<sip:carol@192.0.2.202:5060>");
    tells(&pbx, draft, &alice);
    let end = within(&scene.near, "SUBSCRIBE").with("Event", "dialog");
    alice.sends(end.with("Expires", "0"));
    // S-16
    let end = moved.receives("SUBSCRIBE");
    assert_eq!(end.uri(), "sip:carol@192.0.2.202:5060");
    moved.sends(accept(&moved, &end, "0"));
    alice.receives("200");
    ends(&pbx, &scene.far, &alice);
}

#[test]
fn a_subscription_that_is_granted_as_pending_or_by_202_is_granted() {
    let (_world, alice, pbx) = phone_and_pbx();
    let sent = alice.sends(watch(&alice, CAROL, "presence"));
    let arrived = pbx.receives("SUBSCRIBE");
    let contact = format!("<{}>", pbx.uri());
    let old = response(&arrived, 202).with("Expires", "600");
    let answer = pbx.sends(old.with("Contact", &contact));
    // S-128
    let accepted = alice.receives("200");
    assert_eq!(accepted.phrase(), "OK");
    let far = Dialog::of_callee(&arrived, &answer);
    let told = tells(&pbx, notify(&pbx, &far, "pending;expires=600"), &alice);
    assert_eq!(told.tag_of_to(), sent.tag_of_from());
    ends(&pbx, &far, &alice);
}

#[test]
fn a_phone_that_knows_nothing_of_it_ends_it() {
    for status in [481, 489, 404, 603] {
        let (_world, alice, pbx) = phone_and_pbx();
        let scene = alice_watches_carol(&alice, &pbx);
        pbx.sends(notify(&pbx, &scene.far, "active;expires=3600"));
        let told = alice.receives("NOTIFY");
        alice.answers(&told, status);
        pbx.receives(&status.to_string());
        pbx.sends(notify(&pbx, &scene.far, "active;expires=3600"));
        if status == 603 {
            let told = alice.receives("NOTIFY");
            alice.answers(&told, 481);
        }
        // S-124
        pbx.receives("481");
        alice.receives_nothing();
    }
}

#[test]
fn a_notify_that_no_phone_answers_ends_it_in_silence() {
    let (world, alice, pbx) = phone_and_pbx();
    let scene = alice_watches_carol(&alice, &pbx);
    pbx.sends(notify(&pbx, &scene.far, "active;expires=3600"));
    world.advance(Duration::from_secs(33));
    alice.receives_copies("NOTIFY");
    // S-47
    pbx.receives_nothing();
    pbx.sends(notify(&pbx, &scene.far, "active;expires=3500"));
    // S-124
    pbx.receives("481");
    alice.receives_nothing();
}

#[test]
fn a_notify_to_a_phone_that_cannot_be_reached_is_one_of_many() {
    let (world, alice, pbx) = phone_and_pbx();
    let scene = alice_watches_carol(&alice, &pbx);
    pbx.sends(notify(&pbx, &scene.far, "active;expires=3600"));
    let told = alice.receives("NOTIFY");
    world.could_not_send(&told);
    // S-31: the phone is gone, and we are not.
    pbx.receives("500");
    tells(
        &pbx,
        notify(&pbx, &scene.far, "active;expires=3600"),
        &alice,
    );
    ends(&pbx, &scene.far, &alice);
}

#[test]
fn a_notify_that_was_overtaken_is_refused() {
    let (_world, alice, pbx) = phone_and_pbx();
    let scene = alice_watches_carol(&alice, &pbx);
    tells(
        &pbx,
        notify(&pbx, &scene.far, "active;expires=3600"),
        &alice,
    );
    let late = in_dialog(&scene.far, "NOTIFY", 7001).with("Event", "dialog");
    pbx.sends(late.with("Subscription-State", "active;expires=3601"));
    // S-14
    pbx.receives("500");
    alice.receives_nothing();
    ends(&pbx, &scene.far, &alice);
}

#[test]
fn a_refused_refresh_may_leave_it_or_end_it() {
    let (_world, alice, pbx) = phone_and_pbx();
    let scene = alice_watches_carol(&alice, &pbx);
    let refresh = || within(&scene.near, "SUBSCRIBE").with("Event", "dialog");
    for (status, crosses) in [(423, "423"), (500, "500"), (503, "500")] {
        alice.sends(refresh().with("Expires", "5"));
        let refused = pbx.receives("SUBSCRIBE");
        pbx.sends(response(&refused, status).with("Min-Expires", "60"));
        assert_eq!(alice.receives(crosses).header("Min-Expires"), "60");
        // S-125
        tells(
            &pbx,
            notify(&pbx, &scene.far, "active;expires=3600"),
            &alice,
        );
    }
    alice.sends(refresh().with("Expires", "3600"));
    let refused = pbx.receives("SUBSCRIBE");
    pbx.answers(&refused, 481);
    alice.receives("481");
    // S-125
    alice.sends(refresh().with("Expires", "3600"));
    alice.receives("481");
    pbx.receives_nothing();
}

#[test]
fn a_refresh_that_nobody_answers_leaves_what_was_granted() {
    let (world, alice, pbx) = phone_and_pbx();
    let scene = alice_watches_carol(&alice, &pbx);
    alice.sends(within(&scene.near, "SUBSCRIBE").with("Event", "dialog"));
    world.advance(Duration::from_secs(33));
    pbx.receives_copies("SUBSCRIBE");
    // S-47
    alice.receives_nothing();
    // S-125
    tells(
        &pbx,
        notify(&pbx, &scene.far, "active;expires=3500"),
        &alice,
    );
    ends(&pbx, &scene.far, &alice);
}

#[test]
fn a_subscription_that_nobody_refreshes_is_forgotten() {
    let (world, alice, pbx) = phone_and_pbx();
    let sent = alice.sends(watch(&alice, CAROL, "dialog"));
    let arrived = pbx.receives("SUBSCRIBE");
    let answer = pbx.sends(accept(&pbx, &arrived, "60"));
    let accepted = alice.receives("200");
    let (near, far) = (
        Dialog::of_caller(&sent, &accepted),
        Dialog::of_callee(&arrived, &answer),
    );
    // What is said at the end comes after it.
    world.advance(Duration::from_secs(61));
    tells(&pbx, notify(&pbx, &far, "active;expires=10"), &alice);
    world.advance(Duration::from_secs(43));
    assert_eq!(world.held_by_calls(), []);
    pbx.sends(notify(&pbx, &far, "terminated;reason=timeout"));
    pbx.receives("481");
    alice.sends(within(&near, "SUBSCRIBE").with("Event", "dialog"));
    alice.receives("481");
}

#[test]
fn a_subscription_that_nobody_answers_leaves_nothing() {
    let (world, alice, pbx) = phone_and_pbx();
    alice.sends(watch(&alice, CAROL, "dialog"));
    world.advance(Duration::from_secs(70));
    pbx.receives_copies("SUBSCRIBE");
    // S-47: no 408.
    alice.receives_nothing();
    assert_eq!(world.held_by_calls(), []);
}

#[test]
fn an_answer_that_says_not_who_gave_it_waits_for_its_notify() {
    let (_world, alice, pbx) = phone_and_pbx();
    alice.sends(watch(&alice, CAROL, "dialog"));
    let arrived = pbx.receives("SUBSCRIBE");
    pbx.sends(response(&arrived, 200).with("Expires", "600"));
    let accepted = alice.receives("200");
    let far = Dialog::of_notifier(&arrived, "pbx");
    let told = tells(&pbx, notify(&pbx, &far, "active;expires=600"), &alice);
    // S-129
    assert_eq!(told.tag_of_from(), accepted.tag_of_to());
    ends(&pbx, &far, &alice);
}

#[test]
fn an_answer_whose_notify_never_comes_is_forgotten() {
    let (world, alice, pbx) = phone_and_pbx();
    alice.sends(watch(&alice, CAROL, "dialog"));
    let arrived = pbx.receives("SUBSCRIBE");
    pbx.sends(response(&arrived, 200).with("Expires", "600"));
    alice.receives("200");
    world.advance(Duration::from_secs(66));
    assert_eq!(world.held_by_calls(), []);
}

#[test]
fn a_state_may_be_fetched_once() {
    let (_world, alice, pbx) = phone_and_pbx();
    let fetch = watch(&alice, CAROL, "presence").with_only("Expires", "0");
    alice.sends(fetch);
    let arrived = pbx.receives("SUBSCRIBE");
    assert_eq!(arrived.header("Expires"), "0");
    let answer = pbx.sends(accept(&pbx, &arrived, "0"));
    assert_eq!(alice.receives("200").header("Expires"), "0");
    let far = Dialog::of_callee(&arrived, &answer);
    // S-122
    let state = notify(&pbx, &far, "terminated;reason=timeout");
    tells(&pbx, state, &alice);
}

#[test]
fn a_phone_behind_a_stream_is_told_on_it() {
    let world = World::new(Setup::Upstream);
    let (alice, pbx) = (world.party_over_tcp("alice"), world.upstream());
    alice.registers();
    let scene = alice_watches_carol(&alice, &pbx);
    assert!(scene.accepted.contact().ends_with(";transport=tcp"));
    let told = tells(
        &pbx,
        notify(&pbx, &scene.far, "active;expires=3600"),
        &alice,
    );
    assert!(told.connection().is_some());
    assert_eq!(told.connection(), scene.accepted.connection());
    ends(&pbx, &scene.far, &alice);
}

/// A spoofed datagram would have had a third party flooded with what it never asked for.
#[test]
fn nobody_is_told_at_another_address_what_a_phone_watches() {
    let (world, alice, pbx) = phone_and_pbx();
    let mallory = world.party("mallory");
    let contact = format!("<{}>", mallory.uri());
    let draft = watch(&alice, CAROL, "dialog").with_only("Contact", &contact);
    let scene = watches(&alice, &pbx, draft);
    // R8
    tells(
        &pbx,
        notify(&pbx, &scene.far, "active;expires=3600"),
        &alice,
    );
    mallory.receives_nothing();
    ends(&pbx, &scene.far, &alice);
}

#[test]
fn a_phone_whose_connection_is_new_is_told_there() {
    let world = World::new(Setup::Upstream);
    let (alice, pbx) = (world.party_over_tcp("alice"), world.upstream());
    alice.registers();
    let scene = alice_watches_carol(&alice, &pbx);
    alice.disconnects();
    let again = world.party_over_tcp("alice");
    again.registers();
    let refresh = within(&scene.near, "SUBSCRIBE").with("Event", "dialog");
    again.sends(refresh.with("Contact", &format!("<{}>", again.uri())));
    let refresh = pbx.receives("SUBSCRIBE");
    pbx.sends(accept(&pbx, &refresh, "3600"));
    again.receives("200");
    tells(
        &pbx,
        notify(&pbx, &scene.far, "active;expires=3600"),
        &again,
    );
    ends(&pbx, &scene.far, &again);
}

#[test]
fn a_request_within_a_subscription_crosses_if_it_has_a_place_there() {
    let (_world, alice, pbx) = phone_and_pbx();
    let scene = alice_watches_carol(&alice, &pbx);
    alice.sends(within(&scene.near, "MESSAGE").with_body("text/plain", b"hello"));
    let text = pbx.receives("MESSAGE");
    assert_eq!(
        (text.body(), text.call_id()),
        (&b"hello"[..], scene.arrived.call_id())
    );
    assert!(!text.has("Contact"));
    pbx.answers(&text, 202);
    alice.receives("202");
    for method in ["BYE", "INVITE", "UPDATE"] {
        let sent = alice.sends(within(&scene.near, method));
        // S-130: no session in the dialog of a subscription.
        let refusal = alice.receives("481");
        if method == "INVITE" {
            alice.acks(&sent, &refusal);
        }
    }
    pbx.receives_nothing();
    ends(&pbx, &scene.far, &alice);
}

#[test]
fn one_phone_may_watch_the_same_line_twice() {
    let (_world, alice, pbx) = phone_and_pbx();
    let draft = || {
        watch(&alice, CAROL, "dialog")
            .with("Call-ID", "again@192.0.2.10")
            .with("From", "<sip:alice@192.0.2.1>;tag=again")
    };
    let first = watches(&alice, &pbx, draft());
    let second = watches(&alice, &pbx, draft().with("CSeq", "315 SUBSCRIBE"));
    // S-13: each finds its own.
    assert_ne!(first.arrived.call_id(), second.arrived.call_id());
    let told = tells(
        &pbx,
        notify(&pbx, &first.far, "active;expires=3600"),
        &alice,
    );
    assert_eq!(told.tag_of_from(), first.accepted.tag_of_to());
    let told = tells(
        &pbx,
        notify(&pbx, &second.far, "active;expires=3600"),
        &alice,
    );
    assert_eq!(told.tag_of_from(), second.accepted.tag_of_to());
    ends(&pbx, &first.far, &alice);
    ends(&pbx, &second.far, &alice);
}

#[test]
fn a_cancel_stops_no_subscription() {
    let (_world, alice, pbx) = phone_and_pbx();
    let sent = alice.sends(watch(&alice, CAROL, "dialog"));
    let arrived = pbx.receives("SUBSCRIBE");
    alice.cancels(&sent);
    // S-133
    assert_eq!(alice.receives("200").cseq_method(), "CANCEL");
    pbx.receives_nothing();
    let answer = pbx.sends(accept(&pbx, &arrived, "3600"));
    assert_eq!(alice.receives("200").cseq_method(), "SUBSCRIBE");
    let far = Dialog::of_callee(&arrived, &answer);
    ends(&pbx, &far, &alice);
}
