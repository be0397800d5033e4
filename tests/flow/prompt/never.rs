//! Whom nothing is ever played to, whatever is configured.
//!
//! Spec: RULES R16, R23.

use crate::flow::kit::draft::Draft;

use super::*;

/// What a fax machine offers that knows its own protocol (ITU-T T.38).
const FAX: &str = "v=0\r\no=alice 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
    m=image 40000 udptl t38\r\n";

/// Whoever calls Bob so, whose phone says that he is busy, gets his failure at once.
#[track_caller]
fn is_not_asked(draft: Draft) {
    let world = World::new(Setup::Prompting);
    let [alice, bob] = ["alice", "bob"].map(|name| world.phone(name));
    let sent = alice.sends(draft);
    let rings = bob.receives("INVITE");
    bob.refuses(&rings, 486);
    refused(&alice, &sent, "486");
    assert!(world.next_sound().is_none());
    world.stays_quiet();
}

#[test]
fn who_calls_for_help_is_not_asked() {
    let help = invite("bob").with("Priority", "emergency");
    is_not_asked(help.with_sdp(OFFER));
}

#[test]
fn a_fax_is_not_asked() {
    is_not_asked(invite("bob").with_sdp(FAX));
    // Nor one that would take audio as well.
    let both = format!("{OFFER}m=image 40000 udptl t38\r\n");
    is_not_asked(invite("bob").with_sdp(&both));
}
