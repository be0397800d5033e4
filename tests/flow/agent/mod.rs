//! Our callers' agents rule by rule: what they ask of monitors at a PBX, hear from them and say.
//!
//! Spec: RFC 6910 §6, §9.10, §10; RFC 6665 §4.1; RFC 3903 §4.

mod asks;
mod forks;
mod hears;
mod says;

use std::time::Duration;

use super::kit::dialog::Dialog;
use super::kit::draft::{ANSWER, Draft, OFFER, invite, response, within};
use super::kit::message::{Message, uri_of};
use super::kit::party::Party;
use super::kit::scenes::refused;
use super::kit::subject::{DOMAIN, Setup};
use super::kit::world::World;

const SECOND: Duration = Duration::from_secs(1);

const REQUEST_LAST: &str = "*37%23";
const CANCEL_ALL: &str = "%2337%23";

/// Where the PBX says that its queues are.
pub(super) const MONITOR: &str = "sip:ccm-1@192.0.2.200:5060";

/// What it calls a place.
const ENTRY: &str = "sip:cce-1@192.0.2.200:5060";

pub(super) const READY: &str = "cc-state: ready\r\n";
pub(super) const QUEUED: &str = "cc-state: queued\r\n";
pub(super) const ALIVE: &str = "active;expires=3600";

/// Alice, whose calls go to a PBX.
pub(super) struct Office {
    pub(super) world: World,
    pub(super) alice: Party,
    pub(super) pbx: Party,
}

impl Office {
    fn new() -> Self {
        Self::with(Setup::Upstream)
    }

    pub(super) fn with(setup: Setup) -> Self {
        let world = World::new(setup);
        let (alice, pbx) = (world.phone("alice"), world.upstream());
        Self { world, alice, pbx }
    }

    /// Alice calls somebody there, who is busy; the PBX offers this.
    #[track_caller]
    fn is_refused(&self, whom: &str, offers: &[&str]) -> Message {
        let sent = self.alice.sends(invite(whom).with_sdp(OFFER));
        let arrived = self.pbx.receives("INVITE");
        let mut busy = response(&arrived, 486);
        for offer in offers {
            busy = busy.with("Call-Info", offer);
        }
        self.pbx.sends(busy);
        self.pbx.receives("ACK");
        refused(&self.alice, &sent, "486")
    }

    fn dials(&self, code: &str) -> Message {
        self.alice.sends(invite(code).with_sdp(OFFER))
    }

    /// What the code asked for is done.
    #[track_caller]
    fn is_done(&self, dialled: &Message) {
        let done = self.alice.receives("200");
        self.alice.acks(dialled, &done);
        self.alice.is_hung_up_on();
    }

    /// Alice has a place for this callee, and both know it.
    #[track_caller]
    pub(super) fn place(&self, whom: &str, monitor: &str) -> Place {
        self.is_refused(whom, &[&offer(monitor)]);
        let dialled = self.dials(REQUEST_LAST);
        let subscribe = self.pbx.receives("SUBSCRIBE");
        let place = Place::given(&self.pbx, &subscribe, "monitor");
        self.is_done(&dialled);
        place.tells(ALIVE, QUEUED);
        place
    }

    /// Alice takes back what she asked for, all of which is at these places.
    #[track_caller]
    pub(super) fn takes_back(&self, places: &[&Place]) {
        let dialled = self.dials(CANCEL_ALL);
        let leaves: Vec<_> = places.iter().map(|place| place.is_left()).collect();
        for (place, leaves) in places.iter().zip(leaves) {
            self.pbx.sends(response(&leaves, 200).with("Expires", "0"));
            place.tells("terminated;reason=timeout", "");
        }
        self.is_done(&dialled);
    }
}

/// A place in a queue of the PBX, as that knows it.
#[derive(Clone)]
pub(super) struct Place {
    pbx: Party,
    dialog: Dialog,
    pub(super) subscribe: Message,
}

impl Place {
    #[track_caller]
    fn given(pbx: &Party, subscribe: &Message, tag: &str) -> Self {
        let accepted = response(subscribe, 200)
            .tagged(tag)
            .with("Expires", "3600")
            .with("Contact", "<sip:monitor@192.0.2.200:5060>");
        let accepted = pbx.sends(accepted);
        Self {
            pbx: pbx.clone(),
            dialog: Dialog::of_callee(subscribe, &accepted),
            subscribe: subscribe.clone(),
        }
    }

    fn notify(&self, life: &str, document: &str) -> Draft {
        let draft = within(&self.dialog, "NOTIFY")
            .with("Event", "call-completion")
            .with("Contact", "<sip:monitor@192.0.2.200:5060>")
            .with("Subscription-State", life);
        if document.is_empty() {
            return draft;
        }
        draft.with_body("application/call-completion", document.as_bytes())
    }

    /// Tells what became of it.
    #[track_caller]
    pub(super) fn tells(&self, life: &str, document: &str) {
        self.pbx.sends(self.notify(life, document));
        let answer = self.pbx.receives("200");
        assert_eq!(answer.cseq_method(), "NOTIFY");
    }

    /// It is given up by its agent: the SUBSCRIBE that says so.
    #[track_caller]
    fn is_left(&self) -> Message {
        let leaves = self.pbx.receives("SUBSCRIBE");
        assert_eq!(leaves.header("Expires"), "0");
        assert_eq!(leaves.call_id(), self.subscribe.call_id());
        leaves
    }
}

/// The offer of a busy callee's monitor.
fn offer(monitor: &str) -> String {
    format!("<{monitor}>;purpose=call-completion;m=BS")
}

/// What a publication says of its caller.
#[track_caller]
pub(super) fn basic(publication: &Message) -> String {
    let body = String::from_utf8_lossy(publication.body()).into_owned();
    let basic = body
        .split_once("<basic>")
        .and_then(|(_, after)| after.split_once("</basic>"));
    basic.expect("a basic status").0.to_owned()
}

/// Alice's phone is rung, and she does not come: the recall is over.
#[track_caller]
pub(super) fn is_busy_for_a_recall(alice: &Party) {
    let recall = alice.receives("INVITE");
    alice.refuses(&recall, 486);
}
