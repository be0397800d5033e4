//! Calls that wait before the scripted PBX: its mailbox hears nothing of them, and its passwords count.
//!
//! Spec: RULES R3, R5.

use super::{COMPLETED, LISTENS, Scene, before_each, dials, ends, proxy, registered};
use crate::pbx::Phone;
use crate::pbx::phone::Outgoing;
use crate::pbx::switches::{CallerShown, Switches, Voicemail};

/// Whoever finds somebody busy waits.
const WAITS: &str = "completion.on_busy = \"camp-on\"\ncompletion.camp_on_guard = \"300ms\"\n";

/// The same, and there is time to do something before it is his turn.
const LONG_GUARD: &str = "completion.on_busy = \"camp-on\"\ncompletion.camp_on_guard = \"2s\"\n";

/// A call to Bob, who is busy: it waits.
fn waits(caller: &mut Phone, bob: &mut Phone) -> Outgoing {
    let mut call = caller.dial("sip:bob@pbx.test");
    let second = bob.called();
    bob.tell(&second, 486, "Busy Here");
    caller.hear(&mut call, 182);
    call
}

/// It is the caller's turn; his phone is asked for its password, and Bob answers.
fn is_connected(caller: &mut Phone, call: Outgoing, bob: &mut Phone) {
    let mut call = call;
    let asked = caller.hear(&mut call, 407);
    let challenge = asked.first("Proxy-Authenticate").unwrap_or_default();
    assert!(challenge.ends_with(", stale=true"), "{asked}");
    let call = caller.repeat(call, &asked);
    talks(caller, call, bob);
}

/// Bob answers, they talk, and hang up.
fn talks(caller: &mut Phone, mut call: Outgoing, bob: &mut Phone) {
    let into = bob.ring();
    caller.hear(&mut call, 180);
    bob.tell(&into, 200, "OK");
    caller.hear(&mut call, 200);
    bob.expect("ACK");
    ends(super::Talk { out: call, into }, caller, bob);
}

#[test]
fn a_call_waits_for_a_busy_callee() {
    before_each("camp_on", 49, WAITS, |mut scene| {
        let talk = scene.bob_talks();
        let call = waits(&mut scene.alice, &mut scene.bob);
        scene.alice.stays_quiet(LISTENS);
        scene.bob_is_free(talk);
        is_connected(&mut scene.alice, call, &mut scene.bob);
        scene.close(COMPLETED);
    });
}

/// R5: it would answer whoever finds Bob busy.
#[test]
fn a_mailbox_does_not_answer_for_who_waits() {
    let habits = Switches {
        voicemail: Voicemail::OnBusy,
        ..Switches::default()
    };
    let kept = Switches {
        voicemail: Voicemail::OnBusy,
        ..proxy()
    };
    for (number, switches) in [(50, habits), (51, kept)] {
        let mut scene = Scene::open(&format!("camp_mailbox_{number}"), number, switches, WAITS);
        let talk = scene.bob_talks();
        let call = waits(&mut scene.alice, &mut scene.bob);
        scene.alice.stays_quiet(LISTENS);
        scene.bob_is_free(talk);
        is_connected(&mut scene.alice, call, &mut scene.bob);
        scene.close(COMPLETED);
    }
}

/// It asks for no password: the call goes on as it is.
#[test]
fn a_call_that_waits_is_put_through_by_a_pbx_that_trusts_all() {
    let switches = Switches {
        challenges: false,
        ..Switches::default()
    };
    let mut scene = Scene::open("camp_trusting", 52, switches, WAITS);
    for phone in [&mut scene.alice, &mut scene.bob, &mut scene.carol] {
        phone.is_trusted();
    }
    let talk = scene.bob_talks();
    let call = waits(&mut scene.alice, &mut scene.bob);
    scene.bob_is_free(talk);
    talks(&mut scene.alice, call, &mut scene.bob);
    scene.close(COMPLETED);
}

/// R1: nobody knows whose call it is that reached Bob; the PBX's own word is enough.
#[test]
fn a_call_waits_though_the_pbx_hides_its_caller() {
    let switches = Switches {
        caller: CallerShown::Anonymous,
        ..Switches::default()
    };
    let mut scene = Scene::open("camp_hidden", 53, switches, WAITS);
    let talk = scene.bob_talks();
    let call = waits(&mut scene.alice, &mut scene.bob);
    scene.bob_is_free(talk);
    is_connected(&mut scene.alice, call, &mut scene.bob);
    scene.close(COMPLETED);
}

#[test]
fn two_calls_wait_in_their_order_and_one_is_hung_up() {
    before_each("camp_order", 54, WAITS, |mut scene| {
        let [mut dave, mut erin] =
            [("dave", 14), ("erin", 16)].map(|(user, at)| registered(&scene.office, user, at));
        let talk = scene.bob_talks();
        let first = waits(&mut scene.alice, &mut scene.bob);
        let mut second = waits(&mut dave, &mut scene.bob);
        let third = waits(&mut erin, &mut scene.bob);
        dave.cancel(&second);
        dave.hear(&mut second, 487);
        scene.bob_is_free(talk);
        is_connected(&mut scene.alice, first, &mut scene.bob);
        is_connected(&mut erin, third, &mut scene.bob);
        let counts = [
            ("accepted", 3),
            ("recalled", 2),
            ("completed", 2),
            ("cancelled", 1),
        ];
        scene.close_with([dave, erin], &counts);
    });
}

#[test]
fn a_wait_that_is_taken_back_by_code_ends_with_486() {
    before_each("camp_back", 55, WAITS, |mut scene| {
        let mut at_home = registered(&scene.office, "alice", 15);
        let talk = scene.bob_talks();
        let mut call = waits(&mut scene.alice, &mut scene.bob);
        dials(&mut at_home, "%2337%23");
        scene.alice.hear(&mut call, 486);
        scene.bob_is_free(talk);
        scene.alice.stays_quiet(LISTENS);
        scene.close_with([at_home], &[("accepted", 1), ("cancelled", 1)]);
    });
}

/// Each would wait for the other.
#[test]
fn two_who_wait_for_each_other_are_connected_once() {
    before_each("camp_both", 56, LONG_GUARD, |mut scene| {
        let talk = scene.bob_talks();
        let call = waits(&mut scene.alice, &mut scene.bob);
        scene.bob_is_free(talk);
        let mut back = scene.bob.dial("sip:alice@pbx.test");
        let second = scene.alice.called();
        scene.alice.tell(&second, 486, "Busy Here");
        scene.bob.hear(&mut back, 486);
        is_connected(&mut scene.alice, call, &mut scene.bob);
        scene.alice.stays_quiet(LISTENS);
        scene.close(COMPLETED);
    });
}

/// R5: she is asked while the PBX still has the call, and wants nothing of it.
#[test]
fn who_is_asked_and_presses_nothing_reaches_the_mailbox() {
    let prompt = "media.ports = \"20000-20009\"\n\
                  completion.prompt = { callback = \"5\", lasts = \"1s\" }\n";
    before_each("asked_mailbox", 57, prompt, |mut scene| {
        let talk = scene.bob_talks();
        let mailbox = Voicemail::OnBusy;
        let pbx = &scene.office.pbx;
        pbx.set(move |switches| switches.voicemail = mailbox);
        let mut call = scene.alice.dial("sip:bob@pbx.test");
        let second = scene.bob.called();
        scene.bob.tell(&second, 486, "Busy Here");
        scene.alice.hear(&mut call, 183);
        scene.alice.hear(&mut call, 200);
        scene.alice.hang_up(&mut call.dialog);
        scene.bob_is_free(talk);
        scene.close(&[]);
    });
}
