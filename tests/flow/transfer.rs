//! Transfers: a REFER crosses with all that it begins, and the ids that it names are found again.
//!
//! Spec: RFC 3515 §2.4; RFC 4488 §4; RFC 5589 §6, §7; RFC 3891 §3; RFC 3911 §4; RFC 4538 §4.

use super::kit::dialog::Dialog;
use super::kit::draft::{ANSWER, Draft, OFFER, invite, response, within};
use super::kit::message::Message;
use super::kit::party::Party;
use super::kit::scenes::{Call, call, hang_up, two_phones};
use super::kit::subject::{DOMAIN, Setup};
use super::kit::world::World;

/// A world in which Alice talks with Bob and with Carol.
fn two_calls() -> (World, [Party; 3], Call, Call) {
    let world = World::new(Setup::Unlimited);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.phone(name));
    let with_bob = call(&alice, &bob);
    let with_carol = call_of(&alice, &carol, "carol");
    (world, [alice, bob, carol], with_bob, with_carol)
}

#[track_caller]
fn call_of(alice: &Party, callee: &Party, name: &str) -> Call {
    let sent = alice.sends(invite(name).with_sdp(OFFER));
    let invite = callee.receives("INVITE");
    let answered = callee.sends(response(&invite, 200).with_sdp(ANSWER));
    let answer = alice.receives("200");
    let ack = alice.acks(&sent, &answer);
    callee.receives("ACK");
    Call {
        caller: Dialog::of_caller(&sent, &answer),
        callee: Dialog::of_callee(&invite, &answered),
        sent,
        invite,
        answer,
        answered,
        ack,
    }
}

/// The value of Replaces for a dialog, as its party names it to the other end.
fn replaces(dialog: &Dialog) -> String {
    let tag = |address: &str| {
        let tag = super::kit::message::param(address, "tag");
        tag.expect("a tag").to_owned()
    };
    let (call_id, to, from) = (&dialog.call_id, tag(&dialog.remote), tag(&dialog.local));
    format!("{call_id};to-tag={to};from-tag={from}")
}

fn escaped(value: &str) -> String {
    value
        .replace('@', "%40")
        .replace(';', "%3B")
        .replace('=', "%3D")
}

/// The Replaces that a Refer-To asks for.
fn asked_to_replace(refer: &Message) -> String {
    let uri = refer.header("Refer-To");
    let (_, value) = uri.split_once("?Replaces=").expect("a Replaces");
    let value = value.trim_end_matches('>');
    value
        .replace("%40", "@")
        .replace("%3B", ";")
        .replace("%3D", "=")
}

fn refer(dialog: &Dialog, to: &str) -> Draft {
    within(dialog, "REFER")
        .with("Refer-To", to)
        .with("Referred-By", "<sip:alice@192.0.2.1>;cid=\"1@a\"")
}

fn progress(dialog: &Dialog, event: &str, state: &str, line: &str) -> Draft {
    within(dialog, "NOTIFY")
        .with("Event", event)
        .with("Subscription-State", state)
        .with("Contact", "<sip:bob@192.0.2.11:5060>")
        .with_body("message/sipfrag;version=2.0", line.as_bytes())
}

/// Bob's phone takes an INVITE's place for a transfer, and Carol's answers it.
#[track_caller]
fn takes_over(bob: &Party, carol: &Party, draft: Draft) -> (Message, Dialog, Dialog) {
    let sent = bob.sends(draft.with_sdp(OFFER));
    let invite = carol.receives("INVITE");
    let answered = carol.sends(response(&invite, 200).with_sdp(ANSWER));
    let answer = bob.receives("200");
    bob.acks(&sent, &answer);
    carol.receives("ACK");
    let ends = (
        Dialog::of_caller(&sent, &answer),
        Dialog::of_callee(&invite, &answered),
    );
    (invite, ends.0, ends.1)
}

#[test]
fn a_blind_transfer_crosses_with_its_subscription() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    alice.sends(refer(&call.caller, "<sip:carol@192.0.2.1>"));
    let asked = bob.receives("REFER");
    // S-160: it is the callee's to say what is wrong with it.
    assert_eq!(asked.all("Refer-To"), ["<sip:carol@192.0.2.1>"]);
    let referrer = "<sip:alice@192.0.2.1>;cid=\"1@a\"";
    assert_eq!(asked.header("Referred-By"), referrer);
    bob.answers(&asked, 202);
    // S-161
    alice.receives("202");
    for (state, line) in [
        ("active;expires=60", "SIP/2.0 100 Trying\r\n"),
        ("terminated;reason=noresource", "SIP/2.0 200 OK\r\n"),
    ] {
        bob.sends(progress(&call.callee, "refer", state, line));
        let notify = alice.receives("NOTIFY");
        // S-164
        assert_eq!(notify.header("Subscription-State"), state);
        assert_eq!(notify.body(), line.as_bytes());
        assert_eq!(notify.header("Content-Type"), "message/sipfrag;version=2.0");
        assert_eq!(notify.header("Event"), "refer");
        alice.answers(&notify, 200);
        bob.receives("200");
    }
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn a_transfer_without_subscription_crosses_with_its_wish() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let wish = refer(&call.caller, "<sip:carol@192.0.2.1>")
        .with("Refer-Sub", "false")
        .with("Supported", "norefersub")
        .with("Require", "norefersub");
    alice.sends(wish);
    let asked = bob.receives("REFER");
    // S-161
    assert_eq!(asked.header("Refer-Sub"), "false");
    assert!(asked.lists("Supported", "norefersub") && asked.lists("Require", "norefersub"));
    bob.sends(response(&asked, 200).with("Refer-Sub", "false"));
    assert_eq!(alice.receives("200").header("Refer-Sub"), "false");
    hang_up(&alice, &call.caller, &bob);
}

/// The one who asked forgets the transfer before it is done: that is all that ends (RFC 5057 §5.1).
#[test]
fn a_transfer_that_its_asker_knows_nothing_of_any_more_leaves_the_call() {
    let (world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    alice.sends(refer(&call.caller, "<sip:carol@192.0.2.1>"));
    let asked = bob.receives("REFER");
    bob.answers(&asked, 202);
    alice.receives("202");
    let line = "SIP/2.0 100 Trying\r\n";
    bob.sends(progress(&call.callee, "refer", "active;expires=60", line));
    let notify = alice.receives("NOTIFY");
    alice.answers(&notify, 481);
    // S-15
    bob.receives("481");
    bob.sends(progress(&call.callee, "refer", "active;expires=60", line));
    alice.receives("NOTIFY");
    world.advance(std::time::Duration::from_millis(31_900));
    alice.receives_copies("NOTIFY");
    world.advance(std::time::Duration::from_secs(1));
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn a_refused_transfer_leaves_the_call() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    bob.sends(refer(&call.callee, "<sip:carol@192.0.2.1>"));
    let asked = alice.receives("REFER");
    alice.answers(&asked, 603);
    bob.receives("603");
    hang_up(&bob, &call.callee, &alice);
}

/// The number of a REFER names its subscription, and each leg counts for itself.
#[test]
fn a_second_transfer_is_named_by_its_own_number_on_each_leg() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let sent = alice.sends(refer(&call.caller, "<sip:carol@192.0.2.1>"));
        let asked = bob.receives("REFER");
        assert_ne!(sent.cseq(), asked.cseq());
        bob.answers(&asked, 202);
        alice.receives("202");
        numbers.push((sent.cseq(), asked.cseq()));
    }
    for (sent, asked) in numbers {
        let event = format!("refer;id={asked}");
        let line = "SIP/2.0 100 Trying\r\n";
        bob.sends(progress(&call.callee, &event, "active;expires=60", line));
        let notify = alice.receives("NOTIFY");
        // S-163
        assert_eq!(notify.header("Event"), format!("refer;id={sent}"));
        alice.answers(&notify, 200);
        bob.receives("200");
        let refresh = within(&call.caller, "SUBSCRIBE").with("Event", &format!("refer;id={sent}"));
        alice.sends(refresh.with("Contact", "<sip:alice@192.0.2.10:5060>"));
        let refresh = bob.receives("SUBSCRIBE");
        assert_eq!(refresh.header("Event"), event);
        bob.answers(&refresh, 403);
        alice.receives("403");
    }
    hang_up(&alice, &call.caller, &bob);
}

#[test]
fn an_attended_transfer_names_the_call_as_its_target_knows_it() {
    let (_world, [alice, bob, carol], with_bob, with_carol) = two_calls();
    let named = escaped(&replaces(&with_carol.caller));
    let target = format!("<sip:carol@{DOMAIN}?Replaces={named}&Require=replaces>");
    alice.sends(refer(&with_bob.caller, &target));
    let asked = bob.receives("REFER");
    assert!(asked.header("Refer-To").ends_with("&Require=replaces>"));
    let asked_for = asked.header("Refer-To").replace("&Require=replaces", "");
    let (_, value) = asked_for.split_once("?Replaces=").expect("a Replaces");
    let value = value.trim_end_matches('>').replace("%3B", ";");
    let value = value.replace("%3D", "=").replace("%40", "@");
    // S-167, S-168: Carol is who gets it, so it is her dialog, seen from the other end.
    let carols = with_carol.callee.seen_across();
    assert_eq!(value, replaces(&carols));
    bob.answers(&asked, 202);
    alice.receives("202");
    let draft = invite("carol").with("Replaces", &value);
    let (taken, bobs, _) = takes_over(&bob, &carol, draft);
    assert_eq!(taken.header("Replaces"), value);
    hang_up(&carol, &with_carol.callee, &alice);
    hang_up(&alice, &with_bob.caller, &bob);
    hang_up(&bob, &bobs, &carol);
}

/// Bob was called by Alice and asks Carol, whom he has called, to take Alice over.
#[test]
fn the_callee_of_a_call_may_have_it_replaced() {
    let world = World::new(Setup::Unlimited);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.phone(name));
    let with_alice = call(&alice, &bob);
    let with_carol = call_of(&bob, &carol, "carol");
    let named = escaped(&replaces(&with_alice.callee));
    let target = format!("<sip:alice@{DOMAIN}?Replaces={named}>");
    bob.sends(refer(&with_carol.caller, &target));
    let asked = carol.receives("REFER");
    // S-168: Alice's dialog, seen from the other end.
    let alices = with_alice.caller.seen_across();
    assert_eq!(asked_to_replace(&asked), replaces(&alices));
    carol.answers(&asked, 202);
    bob.receives("202");
    hang_up(&bob, &with_carol.caller, &carol);
    hang_up(&alice, &with_alice.caller, &bob);
}

#[test]
fn an_invite_to_campons_contact_reaches_the_end_that_it_replaces() {
    let (_world, [alice, bob, carol], with_bob, with_carol) = two_calls();
    let contact = with_carol.caller.target.clone();
    let named = escaped(&replaces(&with_carol.caller));
    alice.sends(refer(
        &with_bob.caller,
        &format!("<{contact}?Replaces={named}>"),
    ));
    let asked = bob.receives("REFER");
    bob.answers(&asked, 202);
    alice.receives("202");
    let value = asked_to_replace(&asked);
    // S-168
    let draft = invite(&contact).with("Replaces", &value);
    let (taken, bobs, _) = takes_over(&bob, &carol, draft);
    assert_eq!(taken.uri(), carol.uri());
    hang_up(&carol, &with_carol.callee, &alice);
    hang_up(&alice, &with_bob.caller, &bob);
    hang_up(&bob, &bobs, &carol);
}

#[test]
fn who_replaces_by_the_callers_id_reaches_the_callee_with_his_own() {
    let (_world, [alice, bob, carol], with_bob, with_carol) = two_calls();
    // As a watcher learns it from Alice's phone: her end of the dialog is the local one.
    let id = replaces(&with_carol.caller);
    // T30: and she has referred him to it.
    let target = format!("<sip:carol@{DOMAIN}?Replaces={}>", escaped(&id));
    alice.sends(refer(&with_bob.caller, &target));
    let asked = bob.receives("REFER");
    bob.answers(&asked, 202);
    alice.receives("202");
    let draft = invite("carol").with("Replaces", &format!("{id};early-only"));
    let (taken, bobs, _) = takes_over(&bob, &carol, draft);
    let carols = with_carol.callee.seen_across();
    // S-168: the receiver's own leg.
    let expected = format!("{};early-only", replaces(&carols));
    assert_eq!(taken.header("Replaces"), expected);
    hang_up(&carol, &with_carol.callee, &alice);
    hang_up(&alice, &with_bob.caller, &bob);
    hang_up(&bob, &bobs, &carol);
}

#[test]
fn a_call_that_rings_is_joined_and_targeted_by_the_receivers_id() {
    let world = World::new(Setup::Unlimited);
    let [alice, carol] = ["alice", "carol"].map(|name| world.phone(name));
    // RFC 3911 §8: whose call it is may join it.
    let desk = world.phone("alice");
    let sent = alice.sends(invite("carol").with_sdp(OFFER));
    let rung = carol.receives("INVITE");
    carol.answers(&rung, 180);
    let rings = alice.receives("180");
    let alices = Dialog::of_caller(&sent, &rings);
    let id = replaces(&alices);
    let targeted = id
        .replace("to-tag", "remote-tag")
        .replace("from-tag", "local-tag");
    let draft = invite("carol")
        .with("Join", &id)
        .with("Target-Dialog", &targeted);
    let joins = desk.sends(draft.with_sdp(OFFER));
    let joined = carol.receives("INVITE");
    let (call_id, tag) = (rung.call_id(), rung.tag_of_from());
    // S-168
    let expected = format!("{call_id};to-tag=carol;from-tag={tag}");
    assert_eq!(joined.header("Join"), expected);
    // S-166
    let expected = format!("{call_id};remote-tag=carol;local-tag={tag}");
    assert_eq!(joined.header("Target-Dialog"), expected);
    for (party, invite, caller, sent) in [
        (&carol, &joined, &desk, &joins),
        (&carol, &rung, &alice, &sent),
    ] {
        party.refuses(invite, 486);
        super::kit::scenes::refused(caller, sent, "486");
    }
}

#[test]
fn ids_of_nobodys_calls_cross_unchanged() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let foreign = "12345@pbx.example;to-tag=0000000000000000000000000000000;from-tag=x";
    let target = format!("<sip:park@{DOMAIN}?Replaces={}&X=%20y>", escaped(foreign));
    alice.sends(refer(&call.caller, &target).with("Target-Dialog", "1@x;local-tag=a;remote-tag=b"));
    let asked = bob.receives("REFER");
    // S-168
    assert_eq!(asked.header("Refer-To"), target);
    assert_eq!(
        asked.header("Target-Dialog"),
        "1@x;local-tag=a;remote-tag=b"
    );
    bob.answers(&asked, 202);
    alice.receives("202");
    hang_up(&alice, &call.caller, &bob);
}

/// R20: it is not one more call of hers.
#[test]
fn a_callee_with_all_the_calls_that_she_may_have_is_reached_to_replace_one() {
    let (world, alice, bob) = two_phones();
    // T30: another phone of hers, whose call it is.
    let carol = world.phone("alice");
    let call = call(&alice, &bob);
    let busy = carol.sends(invite("bob").with_sdp(OFFER));
    super::kit::scenes::refused(&carol, &busy, "486");
    let draft = invite("bob").with("Replaces", &replaces(&call.caller));
    let (_, carols, _) = takes_over(&carol, &bob, draft);
    hang_up(&bob, &call.callee, &alice);
    hang_up(&carol, &carols, &bob);
}

#[test]
fn a_document_within_a_call_names_the_call_as_its_receiver_knows_it() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let document = |call_id: &str, local: &str, remote: &str| {
        let tag = |address| super::kit::message::param(address, "tag").expect("a tag");
        let (local, remote) = (tag(local), tag(remote));
        format!(
            "<?xml version=\"1.0\"?>\r\n<dialog-info version=\"3\">\
             <dialog id=\"1\" call-id=\"{call_id}\" local-tag=\"{local}\" remote-tag=\"{remote}\"/>\
             <dialog id=\"2\" call-id='other' local-tag='a' remote-tag='b'/></dialog-info>\r\n"
        )
    };
    let (hers, his) = (&call.caller, &call.callee);
    let kind = "application/dialog-info+xml";
    let body = document(&his.call_id, &his.local, &his.remote);
    let news = within(his, "NOTIFY")
        .with("Event", "dialog")
        .with("Subscription-State", "active;expires=60");
    bob.sends(news.with_body(kind, body.as_bytes()));
    let notify = alice.receives("NOTIFY");
    // S-145: it is about Bob's end of the call, in her words.
    let expected = document(&hers.call_id, &hers.remote, &hers.local);
    assert_eq!(String::from_utf8_lossy(notify.body()), expected);
    alice.answers(&notify, 200);
    bob.receives("200");
    hang_up(&alice, hers, &bob);
}
