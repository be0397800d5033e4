//! Callers behind a peer whose agent campon is: they ask by code, and are called back through it.
//!
//! Spec: RFC 6910 §6; RFC 3325 §5; RULES R7, R11, R13.

use super::kit::completion::{
    CANCEL_LAST, LONG, REQUEST_LAST, connects, is_confirmed, picks_up, recalled, refuses,
};
use super::kit::draft::{Draft, OFFER, invite, response};
use super::kit::message::Message;
use super::kit::monitor::{
    MONITOR, Watch, call_info, ends, is_taken_back, notifies, takes_subscribe,
};
use super::kit::party::Party;
use super::kit::scenes::{hang_up, refused};
use super::kit::subject::{DOMAIN, Setup};
use super::kit::world::World;
use super::trunk::BRANCH;

/// Zoe, as her PBX at the branch names her.
const ZOE: &str = "sip:zoe@192.0.2.203";

/// What her PBX asserts of her besides.
const ASSERTED: &str = "<sip:+4930203@192.0.2.203>";

/// A branch, whose callers are ours, and a PBX that has queues.
struct Scene {
    world: World,
    branch: Party,
    pbx: Party,
}

impl Scene {
    fn new() -> Self {
        let world = World::new(Setup::TrunkAgent);
        let (branch, pbx) = (world.party_at("branch", BRANCH), world.upstream());
        Self { world, branch, pbx }
    }

    /// Zoe calls Bob behind the PBX, who is busy there.
    #[track_caller]
    fn zoe_finds_bob_busy(&self) -> Message {
        let sent = self.branch.sends(from_zoe(invite("bob")));
        let got = self.pbx.receives("INVITE");
        let busy = response(&got, 486).with("Call-Info", &call_info(MONITOR));
        self.pbx.sends(busy);
        self.pbx.receives("ACK");
        refused(&self.branch, &sent, "486")
    }

    /// She dials a code, which her PBX sends here.
    #[track_caller]
    fn dials(&self, code: &str) -> Message {
        self.branch.sends(from_zoe(invite(code)))
    }

    /// She is in a queue of the PBX's.
    #[track_caller]
    fn zoe_waits(&self) -> Watch {
        let busy = self.zoe_finds_bob_busy();
        // Her agent is here, and what it can use is nothing to her PBX.
        assert!(!busy.has("Call-Info"), "{busy}");
        let code = self.dials(REQUEST_LAST);
        let watch = takes_subscribe(&self.pbx);
        is_confirmed(&self.branch, &code);
        notifies(&self.pbx, &watch.dialog, "queued");
        watch
    }
}

fn from_zoe(draft: Draft) -> Draft {
    draft
        .with("From", &format!("<{ZOE}>;tag=zoe"))
        .with("P-Asserted-Identity", ASSERTED)
        .with_sdp(OFFER)
}

#[test]
fn a_caller_behind_a_peer_is_called_back_through_it() {
    let scene = Scene::new();
    let watch = scene.zoe_waits();
    // R13: as her call was on this leg.
    assert!(watch.sent.header("From").contains(ZOE), "{}", watch.sent);
    let asserted = watch.sent.header("P-Asserted-Identity");
    assert_eq!(asserted, ASSERTED, "{}", watch.sent);
    let Scene { branch, pbx, .. } = &scene;
    notifies(pbx, &watch.dialog, "ready");
    let recall = recalled(branch);
    assert_eq!(recall.uri(), ZOE);
    assert!(recall.header("To").contains(ZOE), "{recall}");
    let expected = format!("\"Callback: bob\" <sip:bob@{DOMAIN}>");
    assert!(recall.header("From").starts_with(&expected), "{recall}");
    let talk = picks_up(branch, &recall);
    let rings = pbx.receives("INVITE");
    assert!(rings.header("From").contains(ZOE), "{rings}");
    assert_eq!(rings.header("P-Asserted-Identity"), ASSERTED);
    connects(branch, pbx, &rings);
    ends(pbx, &watch.dialog, "noresource");
    hang_up(branch, &talk, pbx);
    scene.world.advance(LONG);
    scene.world.quiet();
}

/// Nobody else of the branch is asked, and nobody behind another peer.
#[test]
fn what_a_caller_behind_a_peer_has_asked_for_is_taken_back_by_him_alone() {
    let scene = Scene::new();
    let watch = scene.zoe_waits();
    let Scene { branch, pbx, .. } = &scene;
    let others = invite(CANCEL_LAST).with("From", "<sip:yan@192.0.2.203>;tag=yan");
    let code = branch.sends(others.with_sdp(OFFER));
    refused(branch, &code, "404");
    let code = scene.dials(CANCEL_LAST);
    is_taken_back(pbx, &watch.dialog);
    is_confirmed(branch, &code);
    scene.world.advance(LONG);
    scene.world.quiet();
}

/// Her phone is busy, as her PBX says: she is not called again for nothing.
#[test]
fn a_caller_behind_a_peer_who_does_not_answer_keeps_his_place() {
    let scene = Scene::new();
    let watch = scene.zoe_waits();
    let Scene { branch, pbx, .. } = &scene;
    notifies(pbx, &watch.dialog, "ready");
    let recall = branch.receives("INVITE");
    refuses(branch, &recall, 486);
    scene.world.advance(LONG);
    let code = scene.dials(CANCEL_LAST);
    let [_] = [is_taken_back_at_last(pbx, &watch)];
    is_confirmed(branch, &code);
}

/// The last SUBSCRIBE, whatever was published before.
#[track_caller]
fn is_taken_back_at_last(pbx: &Party, watch: &Watch) -> Message {
    while pbx.waiting() > 1 {
        let before = pbx.receives_any();
        pbx.answers(&before, 200);
    }
    is_taken_back(pbx, &watch.dialog)
}

/// What a peer sends whose callers are not ours is no code, and is nobody's request.
#[test]
fn a_code_of_another_peer_is_a_number() {
    let scene = Scene::new();
    let office = scene.world.office();
    let sent = office.sends(invite(REQUEST_LAST).with_sdp(OFFER));
    let got = scene.pbx.receives("INVITE");
    assert!(got.uri().starts_with("sip:*37%23@"), "{got}");
    scene.pbx.answers(&got, 404);
    scene.pbx.receives("ACK");
    refused(&office, &sent, "404");
}
