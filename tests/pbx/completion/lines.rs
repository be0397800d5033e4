//! A callee whose own phone at the PBX passes campon by: the PBX tells of his dialogs.
//!
//! Spec: RFC 4235; RULES R2, R4.

use std::time::Duration;

use super::{COMPLETED, LISTENS, Scene, dials};
use crate::pbx::Switches;
use crate::process::wait_for;

/// The account by which campon may ask the PBX about its users.
const TOLD: &str = "upstream.dialog_events = true\n\
    own_calls.user = \"speaker\"\nown_calls.password = \"speakerpw\"\n";

fn telling() -> Switches {
    Switches {
        tells_dialogs: true,
        ..Switches::default()
    }
}

impl Scene {
    /// Bob talks on a phone of the PBX's own; Alice finds him busy, and waits.
    fn alice_waits_for_the_unseen(&mut self) {
        self.office
            .pbx
            .set(|habits| habits.talking.extend(["bob".to_owned()]));
        let mut call = self.alice.dial("sip:bob@pbx.test");
        self.alice.hear(&mut call, 486);
        dials(&mut self.alice, "*37%23");
        self.is_watched(1);
        self.alice.stays_quiet(LISTENS);
    }

    /// So many subscriptions to Bob's dialogs were proven and granted.
    fn is_watched(&self, times: usize) {
        let granted = || {
            let asked = self.office.pbx.journal().came("SUBSCRIBE");
            let is_first = |it: &&crate::pbx::sip::Sip| {
                it.tag_of_to().is_none() && it.first("Proxy-Authorization").is_some()
            };
            asked.iter().filter(is_first).count() >= times
        };
        assert!(wait_for(Duration::from_secs(30), || granted().then_some(())).is_some());
    }

    fn bob_hangs_up_unseen(&self) {
        let pbx = &self.office.pbx;
        pbx.set(|habits| habits.talking.clear());
    }
}

#[test]
fn a_talk_on_a_phone_of_the_pbxs_own_is_waited_for() {
    let mut scene = Scene::open("lines", 49, telling(), TOLD);
    scene.alice_waits_for_the_unseen();
    scene.bob_hangs_up_unseen();
    scene.alice_is_connected();
    scene.close(COMPLETED);
}
