//! A phone publishes its state to the PBX; what it publishes for a queue of ours stays here.
//!
//! Spec: RFC 3903 §4, §6; RFC 3856.

use crate::flow::kit::draft::{Draft, request, response};
use crate::flow::kit::relayed::phone_and_pbx;

/// Her own address, as the PBX has it.
const ALICE: &str = "sip:alice@pbx.example";

/// A presence document; nobody here reads it.
const PIDF: &[u8] = b"<presence entity=\"sip:alice@pbx.example\"/>";

fn publish() -> Draft {
    request("PUBLISH", ALICE)
        .with("Event", "presence")
        .with("Expires", "600")
}

#[test]
fn entity_tags_cross_in_both_directions() {
    let (_world, alice, pbx) = phone_and_pbx();
    alice.sends(publish().with_body("application/pidf+xml", PIDF));
    let made = pbx.receives("PUBLISH");
    assert_eq!((made.uri(), made.body()), (ALICE, PIDF));
    assert_eq!(made.header("Expires"), "600");
    assert!(!made.has("SIP-If-Match"));
    pbx.sends(
        response(&made, 200)
            .with("SIP-ETag", "pbx-1")
            .with("Expires", "300"),
    );
    let done = alice.receives("200");
    // S-151
    assert_eq!(
        (done.header("SIP-ETag"), done.header("Expires")),
        ("pbx-1", "300")
    );
    assert!(!done.has("Contact"));

    alice.sends(publish().with("SIP-If-Match", "pbx-1"));
    let refreshed = pbx.receives("PUBLISH");
    // S-152
    assert_eq!(
        (refreshed.header("SIP-If-Match"), refreshed.body()),
        ("pbx-1", &b""[..])
    );
    pbx.sends(
        response(&refreshed, 200)
            .with("SIP-ETag", "pbx-2")
            .with("Expires", "300"),
    );
    assert_eq!(alice.receives("200").header("SIP-ETag"), "pbx-2");
}

#[test]
fn a_publication_that_the_pbx_does_not_know_is_refused_by_it() {
    let (_world, alice, pbx) = phone_and_pbx();
    alice.sends(publish().with("SIP-If-Match", "lost"));
    let stale = pbx.receives("PUBLISH");
    pbx.answers(&stale, 412);
    // S-153: the phone begins anew.
    alice.receives("412");
    alice.sends(publish().with_only("Expires", "1"));
    let brief = pbx.receives("PUBLISH");
    pbx.sends(response(&brief, 423).with("Min-Expires", "60"));
    // S-150
    assert_eq!(alice.receives("423").header("Min-Expires"), "60");
}

#[test]
fn a_publication_is_about_exactly_one_event() {
    let (_world, alice, pbx) = phone_and_pbx();
    alice.sends(publish().with("Event", "dialog"));
    // S-120
    alice.receives("489");
    alice.sends(request("PUBLISH", ALICE));
    alice.receives("489");
    pbx.receives_nothing();
}

#[test]
fn what_is_published_for_a_queue_of_ours_stays_here() {
    let (_world, alice, pbx) = phone_and_pbx();
    let made_up = "sip:cce-aaaaaaaaaaaaaaaaaaaaaaaaaa@192.0.2.1";
    alice.sends(request("PUBLISH", made_up).with("Event", "presence"));
    // CC-72
    alice.receives("403");
    pbx.receives_nothing();
}
