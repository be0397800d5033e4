//! Who has overheard the name of somebody else's failed call, or of a place in a queue.
//!
//! Spec: RULES R8.

use super::Office;
use crate::flow::edge::{address, from, registers};
use crate::flow::kit::completion::{GUARD, LONG, REQUEST_LAST, recalled};
use crate::flow::kit::draft::{OFFER, request};
use crate::flow::kit::message::uri_of;
use crate::flow::kit::party::Party;
use crate::flow::kit::scenes::refused;
use crate::flow::kit::subject::Setup;

/// Who asks for anything at this URI in this user's name is refused.
#[track_caller]
fn opens_nothing(party: &Party, user: &str, uri: &str, pbx: &Party) {
    let draft = |method| from(request(method, uri), user);
    let subscribe = draft("SUBSCRIBE")
        .with("Event", "call-completion")
        .with("Contact", &format!("<{}>", party.uri()));
    party.sends(subscribe);
    party.receives("403");
    party.sends(draft("PUBLISH").with("Event", "presence"));
    party.receives("403");
    pbx.receives_nothing();
}

#[test]
fn a_token_alone_opens_nothing() {
    let office = Office::new(Setup::Edge);
    let (world, pbx) = (&office.world, &office.pbx);
    let address = office.alice.address();
    let (phone, _) = address.rsplit_once(':').expect("host and port");
    let outsiders = [
        (world.party("mallory"), "mallory"),
        (world.party("mallory"), "alice"),
        (world.party_at("alice", &format!("{phone}:5099")), "alice"),
        (office.world.party("mallory"), "carol"),
    ];
    let member = world.party("dave");
    registers(&member, "dave", pbx);
    let talk = office.carol_talks();
    let busy = office.alice_finds_bob_busy();
    let token = uri_of(busy.header("Call-Info")).to_owned();
    for (outsider, user) in &outsiders {
        opens_nothing(outsider, user, &token, pbx);
        let call = from(request("INVITE", &token), user).with_sdp(OFFER);
        let sent = outsider.sends(call);
        refused(outsider, &sent, "403");
        pbx.receives_nothing();
    }
    opens_nothing(&member, "dave", &token, pbx);
    // Nobody waits: nothing comes of it when Bob is free.
    office.is_over(&office.carol, &talk);
    world.advance(LONG);
    office.alice.receives_nothing();
    for (outsider, _) in &outsiders {
        outsider.receives_nothing();
    }
    member.receives_nothing();
}

/// The name of a place is of no more use than that of a call.
#[test]
fn the_name_of_somebodys_place_opens_nothing() {
    let office = Office::new(Setup::Edge);
    let (world, pbx) = (&office.world, &office.pbx);
    let talk = office.carol_talks();
    office.alice_finds_bob_busy();
    office.dials(REQUEST_LAST);
    let member = world.party("dave");
    registers(&member, "dave", pbx);
    office.is_over(&office.carol, &talk);
    world.advance(GUARD);
    let recall = recalled(&office.alice);
    // It is Alice's turn, and not that of who dials the same number with a name that he made up.
    let uri = format!("{};m=BS;cce=AAAAAAAAAAAAAAAAAAAAAAAAAA", address("bob"));
    let sent = member.sends(from(request("INVITE", &uri), "dave").with_sdp(OFFER));
    let out = pbx.receives("INVITE");
    pbx.refuses(&out, 486);
    refused(&member, &sent, "486");
    office.alice.refuses(&recall, 486);
    office.dials(crate::flow::kit::completion::CANCEL_LAST);
}
