//! Completion before the scripted PBX, whatever its habits: each flow before a PBX that is a B2BUA
//! and before one that is a proxy, and the first of them before every habit that may be in its way.
//!
//! | flow | B2BUA | proxy | besides | Kamailio (`real/`) |
//! |---|---|---|---|---|
//! | busy, by code, the phone dials anew | × | × | see below | UDP; TLS of phones; TLS of PBX |
//! | no reply | × | × | the PBX's own ring timer | × |
//! | not logged in | × | × | | × |
//! | two callers in their order | × | × | | × |
//! | the first caller is on another call | × | × | | × |
//! | a recall that is ignored | × | × | | × |
//! | the callee is busy again | × | × | | × |
//! | do not disturb | × | × | | × |
//! | taken back: queued, caller rings, callee rings | × | × | | queued |
//! | a phone that speaks RFC 6910; it suspends | × | × | Call-Info is stripped | × |
//! | recall by 3pcc from an address of ours | × | × | trusted by the PBX | × |
//! | recall without the PBX | × | × | | × |
//! | the mailbox answers the recall | × | × | | × |
//! | the callee rings back; the caller dials by hand | × | × | | × |
//! | the callee talks on a phone that only the PBX sees | × | | the PBX tells of dialogs | |
//! | two phones of the callee; a hunt group | × | | | |
//! | the call waits (camp-on); two of them; for each other | × | × | trusting; hidden caller | two |
//! | the mailbox does not answer for it | × | × | | × |
//! | who is asked and presses nothing reaches it | × | × | | × |
//! | a call that waits is hung up, or taken back | × | × | | hung up |
//! | a text is left, and taken; or withdrawn | × | × | | taken |
//! | a caller joins by the mixer (intrusion) | × | × | callers by extension | × |
//! | a caller joins by the callee's phone | × | × | | × |
//! | who may not join | × | × | hidden caller | |
//! | the PBX is started anew while somebody waits | × | | | × |
//!
//! Besides: the mailbox answers when he is busy; the caller is hidden, or shown by his extension; no
//! challenge and OPTIONS all the time; the PBX forgets its phones while the caller's phone rings.

mod camp_on;
pub mod intrusion;
mod lines;
mod queues;
pub mod subscriber;
mod taken_back;
mod texts;

use std::time::Duration;

use super::Phone;
use super::dialog::Dialog;
use super::office::Office;
use super::phone::{Incoming, Outgoing};
use super::sip::{Sip, address};
use super::switches::{CallerShown, Ids, Switches, Voicemail};
use crate::process::wait_for;

const CODES: &str = r##"
completion.codes.request_last = "*37#"
completion.codes.cancel_all = "#37#"
"##;

/// So that callees are not left to themselves for long.
const QUICK: &str = "completion.guard = \"300ms\"\n";

/// So that there is time to do something before the recall, however slow the machine is.
const LONG_GUARD: &str = "completion.guard = \"15s\"\n";

/// How long nothing may happen where something would be wrong: more than the guard time.
const LISTENS: Duration = Duration::from_millis(900);

/// The PBX's office with three of its users.
struct Scene {
    office: Office,
    alice: Phone,
    bob: Phone,
    carol: Phone,
}

/// A call that is up, on both sides.
struct Talk {
    out: Outgoing,
    into: Incoming,
}

/// A PBX that is a proxy: ids and Call-Info cross it.
fn proxy() -> Switches {
    Switches {
        ids: Ids::Kept,
        strips: false,
        ..Switches::default()
    }
}

/// Plays a flow before a PBX that is a B2BUA, and before one that is a proxy.
fn before_each(name: &str, number: u8, more: &str, flow: impl Fn(Scene)) {
    for (nature, switches) in [("b2bua", Switches::default()), ("proxy", proxy())] {
        flow(Scene::open(
            &format!("{name}_{nature}"),
            number,
            switches,
            more,
        ));
    }
}

impl Scene {
    fn open(name: &str, number: u8, switches: Switches, more: &str) -> Self {
        let guard = if more.contains("guard") { "" } else { QUICK };
        let more = format!("{CODES}{guard}{more}");
        let office = Office::open(name, number, switches, &more);
        let (alice, bob) = office.alice_and_bob();
        let carol = registered(&office, "carol", 13);
        Self {
            office,
            alice,
            bob,
            carol,
        }
    }

    /// Bob begins to talk with Carol.
    fn bob_talks(&mut self) -> Talk {
        talk(&mut self.carol, &mut self.bob, "bob")
    }

    /// Alice calls Bob, who is busy, and asks to be called back.
    fn alice_waits(&mut self) {
        is_refused(&mut self.alice, &mut self.bob, 486);
        dials(&mut self.alice, "*37%23");
    }

    /// Bob hangs up.
    fn bob_is_free(&mut self, talk: Talk) {
        ends(talk, &mut self.carol, &mut self.bob);
    }

    /// Alice's phone rings, is picked up, and dials Bob anew; he answers, and they talk.
    fn alice_is_connected(&mut self) {
        let mut recall = is_recalled(&mut self.alice);
        let talk = dials_anew(&mut self.alice, &mut self.bob, &mut recall);
        ends(talk, &mut self.alice, &mut self.bob);
    }

    /// All has gone as it should, and no other phone was there.
    fn close(self, counts: &[(&str, u64)]) {
        self.close_with([], counts);
    }

    /// The same with other phones; these counters of completion are as given, the others zero.
    fn close_with<const N: usize>(self, others: [Phone; N], counts: &[(&str, u64)]) {
        for phone in others {
            phone.close();
        }
        let counted = self.office.campon().counted();
        for what in [
            "accepted",
            "recalled",
            "completed",
            "cancelled",
            "expired",
            "refused",
        ] {
            let name = format!("completions_{what}");
            let found = counted.iter().find(|(other, _)| *other == name);
            let wanted = counts.iter().find(|(other, _)| *other == what);
            let wanted = wanted.map_or(0, |(_, count)| *count);
            assert_eq!(found.map(|(_, count)| *count), Some(wanted), "{name}");
        }
        self.office.close([self.alice, self.bob, self.carol]);
    }
}

fn registered(office: &Office, user: &str, place: u8) -> Phone {
    let mut phone = office.phone(user, place);
    phone.register(300);
    phone
}

/// A call to this user, answered.
fn talk(caller: &mut Phone, callee: &mut Phone, user: &str) -> Talk {
    let mut out = caller.dial(&format!("sip:{user}@pbx.test"));
    let into = callee.ring();
    caller.hear(&mut out, 180);
    callee.tell(&into, 200, "OK");
    caller.hear(&mut out, 200);
    callee.expect("ACK");
    Talk { out, into }
}

/// The callee hangs up.
fn ends(Talk { mut out, mut into }: Talk, caller: &mut Phone, callee: &mut Phone) {
    callee.hang_up(&mut into.dialog);
    caller.agree(&mut out.dialog, "BYE");
}

/// A call to Bob, whose phone is busy; the PBX tells so, or its mailbox answers: what the caller is
/// told.
fn is_refused(caller: &mut Phone, bob: &mut Phone, told: u16) -> Sip {
    let mut call = caller.dial("sip:bob@pbx.test");
    let second = bob.called();
    bob.tell(&second, 486, "Busy Here");
    let heard = caller.hear(&mut call, told);
    if told == 200 {
        caller.hang_up(&mut call.dialog);
    }
    heard
}

/// A code, which is done.
fn dials(caller: &mut Phone, code: &str) {
    let mut code = caller.dial(&format!("sip:{code}@pbx.test"));
    caller.hear(&mut code, 200);
    caller.agree(&mut code.dialog, "BYE");
}

/// The caller's phone rings.
fn rings_back(caller: &mut Phone) -> Incoming {
    let recall = caller.ring();
    let alert = recall.invite.first("Alert-Info");
    assert_eq!(alert, Some("<urn:alert:service:recall:callback>"));
    recall
}

/// It rings and is picked up.
fn is_recalled(caller: &mut Phone) -> Incoming {
    let recall = rings_back(caller);
    caller.pick_up(&recall);
    recall
}

/// The phone is told to dial Bob, and does so through the PBX.
fn dials_as_told(caller: &mut Phone, recall: &mut Incoming) -> Outgoing {
    let refer = caller.agree(&mut recall.dialog, "REFER");
    let target = refer.first("Refer-To").map(address).unwrap_or_default();
    assert!(target.starts_with("sip:bob@pbx.test"), "{refer}");
    tells(
        caller,
        &mut recall.dialog,
        ("active", "SIP/2.0 100 Trying\r\n"),
    );
    caller.dial(target)
}

/// The same, he answers, and the recall is over.
fn dials_anew(caller: &mut Phone, bob: &mut Phone, recall: &mut Incoming) -> Talk {
    let mut out = dials_as_told(caller, recall);
    let into = bob.ring();
    caller.hear(&mut out, 180);
    bob.tell(&into, 200, "OK");
    caller.hear(&mut out, 200);
    bob.expect("ACK");
    tells(
        caller,
        &mut recall.dialog,
        ("terminated", "SIP/2.0 200 OK\r\n"),
    );
    caller.agree(&mut recall.dialog, "BYE");
    Talk { out, into }
}

/// The phone tells how the call goes that it was asked for.
fn tells(caller: &mut Phone, dialog: &mut Dialog, (state, news): (&str, &str)) {
    let contact = format!("<{}>", caller.contact_uri());
    let notify = |dialog: &mut Dialog| -> Sip {
        dialog
            .request("NOTIFY")
            .with("Contact", &contact)
            .with("Event", "refer")
            .with("Subscription-State", state)
            .carrying("message/sipfrag;version=2.0", news.as_bytes())
    };
    let answer = caller.say(dialog, notify);
    assert_eq!(answer.status(), Some(200), "{answer}");
}

const COMPLETED: &[(&str, u64)] = &[("accepted", 1), ("recalled", 1), ("completed", 1)];

/// The whole of it before a PBX with these habits.
fn completes(name: &str, number: u8, switches: Switches, told: u16) {
    let challenges = switches.challenges;
    let mut scene = Scene::open(name, number, switches, "");
    if !challenges {
        for phone in [&mut scene.alice, &mut scene.bob, &mut scene.carol] {
            phone.is_trusted();
        }
    }
    let talk = scene.bob_talks();
    is_refused(&mut scene.alice, &mut scene.bob, told);
    dials(&mut scene.alice, "*37%23");
    scene.bob_is_free(talk);
    scene.alice_is_connected();
    scene.close(COMPLETED);
}

#[test]
fn a_busy_callee_is_reached_through_a_pbx_with_ids_of_its_own() {
    completes("complete_new", 20, Switches::default(), 486);
}

#[test]
fn a_busy_callee_is_reached_through_a_pbx_that_keeps_ids() {
    completes("complete_kept", 21, proxy(), 486);
}

#[test]
fn a_busy_callee_is_reached_though_the_mailbox_answered() {
    let switches = Switches {
        voicemail: Voicemail::OnBusy,
        ..Switches::default()
    };
    completes("complete_mailbox", 22, switches, 200);
}

#[test]
fn a_busy_callee_is_reached_through_a_pbx_that_hides_callers() {
    let switches = Switches {
        caller: CallerShown::Anonymous,
        ..Switches::default()
    };
    completes("complete_hidden", 23, switches, 486);
}

#[test]
fn a_busy_callee_is_reached_through_a_pbx_that_shows_extensions() {
    let switches = Switches {
        caller: CallerShown::Extension,
        ..Switches::default()
    };
    completes("complete_extension", 24, switches, 486);
}

/// It asks for no password, and each phone for its OPTIONS all the time.
#[test]
fn a_busy_callee_is_reached_through_a_pbx_that_trusts_all_and_probes() {
    let switches = Switches {
        challenges: false,
        probes: Some(Duration::from_millis(200)),
        ..Switches::default()
    };
    completes("complete_trusting", 26, switches, 486);
}

/// The PBX is started anew while Alice waits: Bob's phone is not known there until it registers.
#[test]
fn a_busy_callee_is_reached_though_the_pbx_forgot_its_phones() {
    let switches = Switches {
        expires_min: 1,
        expires_max: 2,
        ..Switches::default()
    };
    let mut scene = Scene::open("complete_forgets", 27, switches, "");
    let talk = scene.bob_talks();
    scene.alice_waits();
    scene.bob_is_free(talk);
    let mut recall = rings_back(&mut scene.alice);
    scene.office.pbx.restart();
    let pbx = &scene.office.pbx;
    for (phone, user) in [(&mut scene.alice, "alice"), (&mut scene.bob, "bob")] {
        let known = wait_for(Duration::from_secs(20), || {
            phone.register(300);
            (pbx.contacts(user).len() == 1).then_some(())
        });
        assert!(known.is_some(), "{user} is not known");
    }
    scene.alice.pick_up(&recall);
    let talk = dials_anew(&mut scene.alice, &mut scene.bob, &mut recall);
    ends(talk, &mut scene.alice, &mut scene.bob);
    scene.close(COMPLETED);
}

/// The PBX's own ring timer ends the call: no reply. Bob is back when he has spoken with somebody.
#[test]
fn a_silent_callee_is_reached_when_he_is_back() {
    before_each("no_reply", 25, "", |mut scene| {
        let short = Duration::from_millis(300);
        scene.office.pbx.set(move |switches| switches.rings = short);
        let mut call = scene.alice.dial("sip:bob@pbx.test");
        let silent = scene.bob.ring();
        scene.alice.hear(&mut call, 180);
        scene.bob.see_cancelled(&silent);
        let failed = scene.alice.hear(&mut call, 480);
        let offer = failed.first("Call-Info").unwrap_or_default();
        assert!(offer.ends_with(";m=NR"), "{failed}");
        let long = Duration::from_secs(30);
        scene.office.pbx.set(move |switches| switches.rings = long);
        dials(&mut scene.alice, "*37%23");
        let talk = scene.bob_talks();
        scene.bob_is_free(talk);
        scene.alice_is_connected();
        scene.close(COMPLETED);
    });
}

#[test]
fn a_callee_who_is_not_there_is_reached_when_he_registers() {
    before_each("not_logged_in", 28, "", |mut scene| {
        scene.bob.register(0);
        let mut call = scene.alice.dial("sip:bob@pbx.test");
        let failed = scene.alice.hear(&mut call, 480);
        let offer = failed.first("Call-Info").unwrap_or_default();
        assert!(offer.ends_with(";m=NL"), "{failed}");
        dials(&mut scene.alice, "*37%23");
        scene.alice.stays_quiet(LISTENS);
        scene.bob.register(300);
        scene.alice_is_connected();
        scene.close(COMPLETED);
    });
}

/// R2: his last phone is busy, and so is he; the other one, which is not, rang in vain.
#[test]
fn a_callee_with_two_phones_is_reached_when_both_are_free() {
    let mut scene = Scene::open("complete_forks", 29, Switches::default(), "");
    let mut at_home = registered(&scene.office, "bob", 15);
    let mut out = scene.carol.dial("sip:bob@pbx.test");
    let (into, other) = (scene.bob.ring(), at_home.ring());
    scene.carol.hear(&mut out, 180);
    scene.bob.tell(&into, 200, "OK");
    at_home.see_cancelled(&other);
    scene.carol.hear_at_last(&mut out, 200);
    scene.bob.expect("ACK");
    let talk = Talk { out, into };

    let mut call = scene.alice.dial("sip:bob@pbx.test");
    let [desk, home] = [scene.bob.called(), at_home.called()];
    scene.bob.tell(&desk, 486, "Busy Here");
    at_home.tell(&home, 486, "Busy Here");
    scene.alice.hear(&mut call, 486);
    dials(&mut scene.alice, "*37%23");
    scene.bob_is_free(talk);
    let mut recall = is_recalled(&mut scene.alice);
    let mut out = dials_as_told(&mut scene.alice, &mut recall);
    let (desk, into) = (scene.bob.ring(), at_home.ring());
    scene.alice.hear(&mut out, 180);
    at_home.tell(&into, 200, "OK");
    scene.bob.see_cancelled(&desk);
    scene.alice.hear_at_last(&mut out, 200);
    at_home.expect("ACK");
    let done = ("terminated", "SIP/2.0 200 OK\r\n");
    tells(&mut scene.alice, &mut recall.dialog, done);
    scene.alice.agree(&mut recall.dialog, "BYE");
    ends(Talk { out, into }, &mut scene.alice, &mut at_home);
    scene.close_with([at_home], COMPLETED);
}

/// R1: whose number a hunt group has nobody knows, and so there is nobody to wait for.
#[test]
fn nothing_is_offered_for_a_hunt_group() {
    let mut scene = Scene::open("complete_hunt", 30, Switches::default(), "");
    let mut call = scene.alice.dial("sip:701@pbx.test");
    for phone in [&mut scene.bob, &mut scene.carol] {
        let into = phone.called();
        phone.tell(&into, 486, "Busy Here");
    }
    let failed = scene.alice.hear(&mut call, 486);
    assert_eq!(failed.first("Call-Info"), None, "{failed}");
    let mut code = scene.alice.dial("sip:*37%23@pbx.test");
    scene.alice.hear(&mut code, 403);
    scene.close(&[]);
}
