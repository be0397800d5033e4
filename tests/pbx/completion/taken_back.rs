//! Requests that are taken back before the scripted PBX, and ways to the callee other than REFER.
//!
//! Spec: RULES R4, R10, R18.

use super::{
    COMPLETED, LISTENS, Scene, before_each, dials, dials_as_told, is_recalled, registered,
    rings_back,
};
use crate::pbx::sip::{Sip, address};

#[test]
fn a_request_that_waits_is_taken_back() {
    before_each("back_queued", 40, "", |mut scene| {
        let call = scene.bob_talks();
        scene.alice_waits();
        dials(&mut scene.alice, "%2337%23");
        scene.bob_is_free(call);
        scene.alice.stays_quiet(LISTENS);
        scene.close(&[("accepted", 1), ("cancelled", 1)]);
    });
}

#[test]
fn a_request_is_taken_back_while_the_caller_rings() {
    before_each("back_ringing", 41, "", |mut scene| {
        let mut at_home = registered(&scene.office, "alice", 15);
        let call = scene.bob_talks();
        scene.alice_waits();
        scene.bob_is_free(call);
        let recall = rings_back(&mut scene.alice);
        dials(&mut at_home, "%2337%23");
        scene.alice.see_cancelled(&recall);
        let counts = [("accepted", 1), ("recalled", 1), ("cancelled", 1)];
        scene.close_with([at_home], &counts);
    });
}

/// R18: the call that the phone was asked for is cancelled at the PBX.
#[test]
fn a_request_is_taken_back_while_the_callee_rings() {
    before_each("back_calling", 42, "", |mut scene| {
        let mut at_home = registered(&scene.office, "alice", 15);
        let call = scene.bob_talks();
        scene.alice_waits();
        scene.bob_is_free(call);
        let mut recall = is_recalled(&mut scene.alice);
        let mut out = dials_as_told(&mut scene.alice, &mut recall);
        let into = scene.bob.ring();
        scene.alice.hear(&mut out, 180);
        dials(&mut at_home, "%2337%23");
        scene.bob.see_cancelled(&into);
        scene.alice.hear(&mut out, 487);
        scene.alice.agree(&mut recall.dialog, "BYE");
        let counts = [("accepted", 1), ("recalled", 1), ("cancelled", 1)];
        scene.close_with([at_home], &counts);
    });
}

/// R4: what is ours leaves from an address of its own, which the PBX trusts.
#[test]
fn a_phone_that_cannot_dial_is_put_through_from_our_own_address() {
    for (number, nature) in [(43, "b2bua"), (44, "proxy")] {
        let own = format!("127.203.{number}.9:5060");
        let mut switches = if nature == "proxy" {
            super::proxy()
        } else {
            crate::pbx::Switches::default()
        };
        switches.trusts = vec![own.clone()];
        let more = format!("own_calls.listen = \"{own}\"\n");
        let mut scene = Scene::open(&format!("own_calls_{nature}"), number, switches, &more);
        let call = scene.bob_talks();
        scene.alice_waits();
        scene.bob_is_free(call);
        // R4: her number, from an address of ours.
        scene.is_put_through("sip:alice@pbx.test");
        scene.close(COMPLETED);
    }
}

impl Scene {
    /// Alice's phone does not take REFER; campon calls Bob in this name, and they talk.
    fn is_put_through(&mut self, name: &str) {
        let mut recall = is_recalled(&mut self.alice);
        let refer = self.alice.expect("REFER");
        recall.dialog.count(&refer);
        let refused = Sip::response(&refer, 501, "Not Implemented");
        self.alice.answer(&refer, refused);
        let mut into = self.bob.ring();
        let from = into.invite.first("From").map(address);
        assert_eq!(from, Some(name), "{}", into.invite);
        self.bob.tell(&into, 200, "OK");
        self.alice.agree(&mut recall.dialog, "INVITE");
        self.alice.expect("ACK");
        self.bob.expect("ACK");
        self.bob.hang_up(&mut into.dialog);
        self.alice.agree(&mut recall.dialog, "BYE");
    }
}

/// R4: what is ours is known by its credentials, and nothing that is relayed has them.
#[test]
fn a_phone_that_cannot_dial_is_put_through_with_our_own_credentials() {
    let more = "own_calls.user = \"speaker\"\nown_calls.password = \"speakerpw\"\n";
    for (number, switches) in [(47, crate::pbx::Switches::default()), (48, super::proxy())] {
        let mut scene = Scene::open(&format!("own_account_{number}"), number, switches, more);
        let call = scene.bob_talks();
        scene.alice_waits();
        scene.bob_is_free(call);
        scene.is_put_through("sip:alice@pbx.test");
        let shown = |invite: &Sip| invite.all("Proxy-Authorization").collect::<String>();
        let came = scene.office.pbx.journal().came("INVITE");
        let ours = came.iter().filter(|it| shown(it).contains("\"speaker\""));
        assert_eq!(ours.count(), 1, "{came:?}");
        scene.close(COMPLETED);
    }
}

/// R10: his phone rings, and the PBX hears nothing of it.
#[test]
fn a_callee_is_rung_without_the_pbx() {
    let more = "upstream.recall = [\"direct\"]\n";
    for (number, switches) in [(45, crate::pbx::Switches::default()), (46, super::proxy())] {
        let mut scene = Scene::open(&format!("direct_{number}"), number, switches, more);
        let call = scene.bob_talks();
        scene.alice_waits();
        scene.bob_is_free(call);
        let before = scene.office.pbx.journal().came("INVITE").len();
        let mut recall = is_recalled(&mut scene.alice);
        let mut into = scene.bob.ring();
        scene.bob.tell(&into, 200, "OK");
        scene.alice.agree(&mut recall.dialog, "INVITE");
        scene.alice.expect("ACK");
        scene.bob.expect("ACK");
        scene.bob.hang_up(&mut into.dialog);
        scene.alice.agree(&mut recall.dialog, "BYE");
        assert_eq!(scene.office.pbx.journal().came("INVITE").len(), before);
        scene.close(COMPLETED);
    }
}
