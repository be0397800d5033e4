//! RFC 6910 in front of a PBX: callers of a peer in queues of ours, phones of the PBX's in them, and a
//! caller of ours in a queue behind the PBX.
//!
//! Spec: RFC 6910 §6, §7; RULES R3, R9, R11.

use super::Office;
use crate::flow::edge::{address, from, invite};
use crate::flow::kit::completion::{
    GUARD, REQUEST_LAST, cc_call, ended, is_confirmed, line, offered_uri, picks_up, publish,
    recalled, subscribe, told, waits,
};
use crate::flow::kit::dialog::Dialog;
use crate::flow::kit::draft::{ANSWER, OFFER, request, response};
use crate::flow::kit::message::Message;
use crate::flow::kit::monitor::{PATIENCE, Watch, call_info, notifies, takes_subscribe};
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::{hang_up, refused};
use crate::flow::kit::subject::Setup;

/// A user of the peer's.
const ZOE: &str = "<sip:zoe@biloxi.example>;tag=z1";

/// Where the PBX says that its queues are.
const MONITOR: &str = "sip:ccm-1@192.0.2.200:5060";

/// Alice waits in a queue of the PBX's for Dora, whom campon does not know.
#[track_caller]
fn alice_waits_for_dora(office: &Office) -> Watch {
    let (alice, pbx) = (&office.alice, &office.pbx);
    let sent = alice.sends(invite("alice", "dora").with_sdp(OFFER));
    let arrived = pbx.receives("INVITE");
    let offer = call_info(MONITOR);
    pbx.sends(response(&arrived, 486).with("Call-Info", &offer));
    pbx.receives("ACK");
    refused(alice, &sent, "486");
    let code = from(request("INVITE", &address(REQUEST_LAST)), "alice");
    let code = alice.sends(code.with_sdp(OFFER));
    let watch = takes_subscribe(pbx);
    is_confirmed(alice, &code);
    notifies(pbx, &watch.dialog, "queued");
    watch
}

/// Zoe calls Bob, who is busy.
#[track_caller]
fn zoe_finds_bob_busy(office: &Office, trunk: &Party) -> Message {
    let draft = request("INVITE", &address("bob")).with_only("From", ZOE);
    let call = office.passes(trunk, draft);
    office.is_refused(trunk, &call, 486)
}

#[test]
fn one_waits_at_the_pbx_while_a_caller_of_a_peer_waits_here() {
    let office = Office::new(Setup::Edge);
    let trunk = office.world.office();
    let talk = office.carol_talks();
    let busy = zoe_finds_bob_busy(&office, &trunk);
    waits(
        &trunk,
        subscribe(&trunk, offered_uri(&busy)).with("From", ZOE),
    );
    let watch = alice_waits_for_dora(&office);
    office.world.advance(GUARD);
    office.is_over(&office.carol, &talk);
    office.world.advance(GUARD);

    // R3: as Zoe has called at first, by way of the PBX.
    let ready = told(&trunk, "ready");
    let call = office.passes(&trunk, cc_call(&ready).with_only("From", ZOE));
    assert_eq!(call.out.uri(), address("bob"));
    let talk = office.is_answered(&trunk, &call);
    ended(&trunk, "noresource");
    office.is_over(&trunk, &talk);

    notifies(&office.pbx, &watch.dialog, "ready");
    let recall = recalled(&office.alice);
    let recall = picks_up(&office.alice, &recall);
    let uri = office.takes_refer(&recall);
    assert!(uri.starts_with(&address("dora")), "{uri}");
    let sent = office
        .alice
        .sends(from(request("INVITE", &uri), "alice").with_sdp(OFFER));
    let arrived = office.pbx.receives("INVITE");
    let answer = response(&arrived, 200).with_sdp(ANSWER);
    office.pbx.sends(answer);
    let [answer] = office.alice.receives_each(["200"]);
    office.alice.acks(&sent, &answer);
    office.pbx.receives("ACK");
    office.tells(&recall, "SIP/2.0 200 OK\r\n");
    hang_up(
        &office.alice,
        &Dialog::of_caller(&sent, &answer),
        &office.pbx,
    );
    office.has_nothing_left();
    // The PBX does not say that it is over.
    office.world.advance(PATIENCE);
    let leaves = office.pbx.receives("SUBSCRIBE");
    assert_eq!(leaves.header("Expires"), "0");
    let pbx = &office.pbx;
    pbx.sends(response(&leaves, 200).with("Expires", "0"));
    office.world.stays_quiet();
}

#[test]
fn a_phone_of_the_pbxs_dials_in_its_turn_what_it_has_dialled_at_first() {
    let office = Office::new(Setup::Edge);
    let alice = &office.alice;
    let talk = office.carol_talks();
    let busy = office.alice_finds_bob_busy();
    let wish = from(subscribe(alice, offered_uri(&busy)), "alice");
    let waiting = waits(alice, wish);
    let uri = line(&waiting.queued, "cc-URI").to_owned();
    // R3: the PBX asks for credentials, and these are for a Request-URI.
    assert!(
        uri.starts_with(&format!("{};cce=", address("bob"))),
        "{uri}"
    );
    // CC-48
    for basic in ["closed", "open"] {
        alice.sends(from(publish(&uri, basic), "alice"));
        alice.receives("200");
    }
    office.pbx.receives_nothing();
    office.is_over(&office.carol, &talk);
    office.world.advance(GUARD);
    let ready = told(alice, "ready");
    assert_eq!(line(&ready, "cc-URI"), uri); // CC-70
    let call = office.passes(alice, from(cc_call(&ready), "alice"));
    assert_eq!(call.out.uri(), format!("{uri};m=BS"));
    let talk = office.is_answered(alice, &call);
    let last = ended(alice, "noresource");
    assert_eq!(line(&last, "cc-URI"), uri);
    office.is_over(alice, &talk);
    office.has_nothing_left();
    office.world.stays_quiet();
}
