//! Flows of edge mode before the scripted PBX: both of its natures, and every habit that it has.

use std::time::Duration;

use super::Phone;
use super::journal::Journal;
use super::journal::Way;
use super::office::Office;
use super::phone::{Incoming, Outgoing, place_of};
use super::sip::{Sip, bare, parameter};
use super::switches::{CallerShown, Ids, Switches, Voicemail};
use crate::process::wait_for;

/// Alice's call to Bob, answered.
fn talk(alice: &mut Phone, bob: &mut Phone) -> (Outgoing, Incoming) {
    let mut out = alice.dial("sip:bob@pbx.test");
    let into = bob.ring();
    alice.hear(&mut out, 180);
    bob.tell(&into, 200, "OK");
    alice.hear(&mut out, 200);
    bob.expect("ACK");
    (out, into)
}

/// The INVITEs of the out pass: one without credentials, one with.
fn out_pass(pbx: &Journal) -> Vec<Sip> {
    pbx.came("INVITE")
}

#[test]
fn a_call_crosses_campon_twice_and_the_pbx_once() {
    for (number, ids) in [(1, Ids::New), (2, Ids::Kept)] {
        let switches = Switches {
            ids,
            ..Switches::default()
        };
        let office = Office::open(&format!("twice_{number}"), number, switches, "");
        let (mut alice, mut bob) = office.alice_and_bob();
        let (mut out, mut into) = talk(&mut alice, &mut bob);
        // What the PBX saw was Alice's own, but for what names the legs.
        let passed = out_pass(office.pbx.journal());
        assert_eq!(passed.len(), 2, "{}", office.pbx.journal().story());
        for one in &passed {
            assert_eq!(one.uri(), "sip:bob@pbx.test");
            assert_ne!(one.call_id(), out.dialog.call_id);
            assert_eq!(one.contact().and_then(place_of), Some(office.campon_at()));
        }
        // R3, and what the PBX itself demands: one Call-ID, one From tag, the next CSeq.
        assert_eq!(passed[0].tag_of_from(), passed[1].tag_of_from());
        // What Bob saw came over his own flow, to his own Contact.
        assert_eq!(into.invite.uri(), bob.contact_uri());
        assert_eq!(into.invite.body, out.invite.body);
        bob.hang_up(&mut into.dialog);
        alice.agree(&mut out.dialog, "BYE");
        office.close([alice, bob]);
    }
}

#[test]
fn a_registration_is_relayed_and_its_alias_stays_the_same() {
    let office = Office::open("alias", 3, Switches::default(), "");
    let (mut alice, bob) = office.alice_and_bob();
    let first = office.pbx.contacts("alice");
    assert_eq!(first.len(), 1);
    assert_eq!(place_of(&first[0]), Some(office.campon_at()));
    assert!(!first[0].contains(&alice.contact_uri()));
    // Another time for the same phone.
    let answer = alice.register(200);
    assert_eq!(office.pbx.contacts("alice"), first);
    let listed = answer.list("Contact");
    assert_eq!(listed.len(), 1, "{answer}");
    assert!(listed[0].contains(&alice.contact_uri()), "{answer}");
    let granted = parameter(&listed[0], "expires").and_then(|text| text.parse::<u32>().ok());
    assert!(matches!(granted, Some(100..=200)), "{answer}");
    // And away.
    alice.register(0);
    assert_eq!(office.pbx.contacts("alice"), [""; 0]);
    assert_eq!(office.pbx.contacts("bob").len(), 1);
    office.close([alice, bob]);
}

#[test]
fn a_refusal_of_the_registrar_reaches_the_phone() {
    let switches = Switches {
        expires_min: 60,
        ..Switches::default()
    };
    let office = Office::open("too_brief", 4, switches, "");
    let mut alice = office.phone("alice", 11);
    let contact = format!("<{}>", alice.contact_uri());
    let answer = alice.try_register(&contact, 20);
    assert_eq!(answer.status(), Some(423), "{answer}");
    assert_eq!(answer.first("Min-Expires"), Some("60"));
    let mut mallory = office.phone("mallory", 13);
    let contact = format!("<{}>", mallory.contact_uri());
    assert_eq!(mallory.try_register(&contact, 60).status(), Some(401));
    office.close([alice, mallory]);
}

#[test]
fn the_call_is_changed_and_spoken_in_from_both_sides() {
    let office = Office::open("in_dialog", 5, Switches::default(), "");
    let (mut alice, mut bob) = office.alice_and_bob();
    let (mut out, mut into) = talk(&mut alice, &mut bob);
    let held = alice.sdp().replace("sendrecv", "sendonly");
    let contact = format!("<{}>", alice.contact_uri());
    // A re-INVITE takes two phones, so it is sent by the one and answered by the other.
    let change = |dialog: &mut super::dialog::Dialog| {
        dialog
            .request("INVITE")
            .with("Contact", &contact)
            .carrying("application/sdp", held.as_bytes())
    };
    let asked = alice.begin(&mut out.dialog, change);
    let heard = bob.agree(&mut into.dialog, "INVITE");
    assert_eq!(heard.body, held.as_bytes());
    let answer = alice.end(&out.dialog, asked);
    assert_eq!(answer.body, bob.sdp().as_bytes(), "{answer}");
    bob.expect("ACK");
    let digit = |dialog: &mut super::dialog::Dialog| {
        let kind = "application/dtmf-relay";
        dialog
            .request("INFO")
            .carrying(kind, b"Signal=5\r\nDuration=160\r\n")
    };
    let asked = bob.begin(&mut into.dialog, digit);
    let heard = alice.agree(&mut out.dialog, "INFO");
    assert_eq!(heard.body, b"Signal=5\r\nDuration=160\r\n");
    assert_eq!(bob.end(&into.dialog, asked).status(), Some(200));
    alice.hang_up(&mut out.dialog);
    bob.agree(&mut into.dialog, "BYE");
    office.close([alice, bob]);
}

#[test]
fn all_phones_of_a_user_ring_and_one_gets_the_call() {
    let office = Office::open("two_phones", 6, Switches::default(), "");
    let (mut alice, mut bob) = office.alice_and_bob();
    let mut at_home = office.phone("bob", 13);
    at_home.register(300);
    let contacts = office.pbx.contacts("bob");
    assert_eq!(contacts.len(), 2);
    assert_ne!(bare(&contacts[0]), bare(&contacts[1]));
    let mut out = alice.dial("sip:bob@pbx.test");
    let (desk, mut home) = (bob.ring(), at_home.ring());
    alice.hear(&mut out, 180);
    at_home.tell(&home, 200, "OK");
    bob.see_cancelled(&desk);
    // The second 180 may have come first.
    alice.hear_at_last(&mut out, 200);
    at_home.expect("ACK");
    alice.hang_up(&mut out.dialog);
    at_home.agree(&mut home.dialog, "BYE");
    office.close([alice, bob, at_home]);
}

#[test]
fn the_caller_gives_up_and_the_phone_stops_ringing() {
    let office = Office::open("give_up", 7, Switches::default(), "");
    let (mut alice, mut bob) = office.alice_and_bob();
    let mut out = alice.dial("sip:bob@pbx.test");
    let into = bob.ring();
    alice.hear(&mut out, 180);
    alice.cancel(&out);
    bob.see_cancelled(&into);
    alice.hear(&mut out, 487);
    office.close([alice, bob]);
}

#[test]
fn a_probe_of_the_pbx_is_answered_by_the_state_of_the_flow() {
    let switches = Switches {
        probes: Some(Duration::from_millis(200)),
        ..Switches::default()
    };
    let office = Office::open("probes", 8, switches, "");
    let (alice, bob) = office.alice_and_bob();
    let answered = || {
        let answers = office.pbx.journal().labelled(Way::Came, "200 OPTIONS");
        (answers.len() >= 4).then_some(())
    };
    assert!(wait_for(Duration::from_secs(5), answered).is_some());
    office.pbx.set(|switches| switches.probes = None);
    office.close([alice, bob]);
}

#[test]
fn a_pbx_that_forgets_its_phones_is_told_anew() {
    // R12: a refresh reaches the PBX when half of what it granted is over.
    let switches = Switches {
        expires_min: 1,
        expires_max: 2,
        ..Switches::default()
    };
    let office = Office::open("forgets", 9, switches, "");
    let (mut alice, mut bob) = office.alice_and_bob();
    office.pbx.restart();
    let mut out = alice.dial("sip:bob@pbx.test");
    alice.hear(&mut out, 480);
    let known = wait_for(Duration::from_secs(10), || {
        bob.register(300);
        (!office.pbx.contacts("bob").is_empty()).then_some(())
    });
    assert!(known.is_some(), "{}", office.pbx.journal().story());
    let (mut out, mut into) = talk(&mut alice, &mut bob);
    alice.hang_up(&mut out.dialog);
    bob.agree(&mut into.dialog, "BYE");
    office.close([alice, bob]);
}

/// R12: what the PBX holds still leads to the phones after a crash, before any of them has spoken.
#[test]
fn the_pbx_reaches_the_phones_of_a_campon_that_was_killed() {
    let store = "[store]\npath = \"registrations.redb\"\n";
    let mut office = Office::open("crash", 15, Switches::default(), store);
    let (mut alice, mut bob) = office.alice_and_bob();
    let (first, second) = (office.pbx.contacts("alice"), office.pbx.contacts("bob"));
    // A crash before they are written would lose them.
    for phone in [&alice, &bob] {
        office.wait_until_stored("registrations.redb", &phone.contact_uri());
    }
    office.crash();
    let (mut out, mut into) = talk(&mut alice, &mut bob);
    bob.hang_up(&mut into.dialog);
    alice.agree(&mut out.dialog, "BYE");
    assert_eq!(office.pbx.contacts("alice"), first);
    assert_eq!(office.pbx.contacts("bob"), second);
    office.close([alice, bob]);
}

#[test]
fn who_is_hidden_by_the_pbx_stays_hidden() {
    for (number, caller) in [(10, CallerShown::Anonymous), (11, CallerShown::Extension)] {
        let switches = Switches {
            caller,
            ..Switches::default()
        };
        let office = Office::open(&format!("hidden_{number}"), number, switches, "");
        let (mut alice, mut bob) = office.alice_and_bob();
        let (mut out, mut into) = talk(&mut alice, &mut bob);
        let text = into.invite.to_string();
        let shown = match caller {
            CallerShown::Anonymous => "anonymous@anonymous.invalid",
            CallerShown::Extension | CallerShown::AsWritten => "sip:101@pbx.test",
        };
        assert!(
            into.invite
                .first("From")
                .is_some_and(|from| from.contains(shown)),
            "{text}"
        );
        if caller == CallerShown::Anonymous {
            assert!(!text.contains("alice"), "{text}");
        }
        alice.hang_up(&mut out.dialog);
        bob.agree(&mut into.dialog, "BYE");
        office.close([alice, bob]);
    }
}

#[test]
fn the_mailbox_answers_when_the_phone_does_not() {
    let switches = Switches {
        voicemail: Voicemail::After(Duration::from_millis(500)),
        ..Switches::default()
    };
    let office = Office::open("mailbox", 12, switches, "");
    let (mut alice, mut bob) = office.alice_and_bob();
    let mut out = alice.dial("sip:bob@pbx.test");
    let into = bob.ring();
    alice.hear(&mut out, 180);
    bob.see_cancelled(&into);
    alice.hear(&mut out, 200);
    alice.hang_up(&mut out.dialog);
    office.close([alice, bob]);
}

#[test]
fn a_hunt_group_rings_one_after_the_other() {
    let office = Office::open("hunt", 13, Switches::default(), "");
    let (mut alice, mut bob) = office.alice_and_bob();
    let mut carol = office.phone("carol", 13);
    carol.register(300);
    let mut out = alice.dial("sip:701@pbx.test");
    let into = bob.called();
    bob.tell(&into, 486, "Busy Here");
    let mut into = carol.ring();
    alice.hear(&mut out, 180);
    carol.tell(&into, 200, "OK");
    alice.hear(&mut out, 200);
    carol.expect("ACK");
    alice.hang_up(&mut out.dialog);
    carol.agree(&mut into.dialog, "BYE");
    office.close([alice, bob, carol]);
}

#[test]
fn a_transfer_is_carried_through_the_pbx() {
    let office = Office::open("refer", 14, Switches::default(), "");
    let (mut alice, mut bob) = office.alice_and_bob();
    let mut carol = office.phone("carol", 13);
    carol.register(300);
    let (mut out, mut into) = talk(&mut alice, &mut bob);
    let contact = format!("<{}>", alice.contact_uri());
    let refer = |dialog: &mut super::dialog::Dialog| {
        let request = dialog.request("REFER").with("Contact", &contact);
        request.with("Refer-To", "<sip:carol@pbx.test>")
    };
    let asked = alice.begin(&mut out.dialog, refer);
    let heard = bob.agree(&mut into.dialog, "REFER");
    assert_eq!(heard.first("Refer-To"), Some("<sip:carol@pbx.test>"));
    assert_eq!(alice.end(&out.dialog, asked).status(), Some(200));
    for (state, news) in [
        ("active", "SIP/2.0 100 Trying\r\n"),
        ("terminated", "SIP/2.0 200 OK\r\n"),
    ] {
        let contact = format!("<{}>", bob.contact_uri());
        let notify = |dialog: &mut super::dialog::Dialog| {
            dialog
                .request("NOTIFY")
                .with("Contact", &contact)
                .with("Event", "refer")
                .with("Subscription-State", state)
                .carrying("message/sipfrag;version=2.0", news.as_bytes())
        };
        let asked = bob.begin(&mut into.dialog, notify);
        let heard = alice.agree(&mut out.dialog, "NOTIFY");
        assert_eq!(heard.body, news.as_bytes());
        assert_eq!(bob.end(&into.dialog, asked).status(), Some(200));
    }
    alice.hang_up(&mut out.dialog);
    bob.agree(&mut into.dialog, "BYE");
    office.close([alice, bob, carol]);
}
