//! Trunk mode before the scripted PBX: a carrier on the other side, and phones of the PBX's own.

use super::Phone;
use super::office::Office;
use super::switches::Switches;

/// The PBX, which knows campon by its address, Bob's phone and a caller at the carrier.
fn open(name: &str, number: u8) -> (Office, Phone, Phone) {
    let switches = Switches {
        trusts: vec![format!("127.203.{number}.1:5060")],
        ..Switches::default()
    };
    let office = Office::between_peers(name, number, switches);
    let bob = office.phone_of_pbx("bob", 12);
    let mut carrier = office.phone("carrier", 21);
    carrier.speak_directly();
    carrier.is_trusted();
    (office, bob, carrier)
}

#[test]
fn a_call_of_the_carrier_reaches_a_phone_of_the_pbx() {
    let (office, mut bob, mut carrier) = open("trunk_call", 90);
    let mut out = carrier.dial("sip:bob@pbx.test");
    let mut into = bob.ring();
    carrier.hear(&mut out, 180);
    bob.tell(&into, 200, "OK");
    carrier.hear(&mut out, 200);
    bob.expect("ACK");
    let passed = office.pbx.journal().came("INVITE");
    assert_eq!(passed.len(), 1, "{}", office.pbx.journal().story());
    assert_eq!(passed[0].uri(), format!("sip:bob@{}", office.pbx.address()));
    bob.hang_up(&mut into.dialog);
    carrier.agree(&mut out.dialog, "BYE");
    // Bob is on the phone again.
    let mut out = carrier.dial("sip:bob@pbx.test");
    let into = bob.called();
    bob.tell(&into, 486, "Busy Here");
    carrier.hear(&mut out, 486);
    office.close([bob, carrier]);
}

#[test]
fn a_phone_of_the_pbx_finds_no_registrar_in_trunk_mode() {
    let (office, bob, carrier) = open("trunk_register", 91);
    let mut lost = office.phone("alice", 13);
    let contact = format!("<{}>", lost.contact_uri());
    let answer = lost.try_register(&contact, 60);
    assert_eq!(answer.status(), Some(405), "{answer}");
    assert!(
        !answer
            .first("Allow")
            .is_some_and(|it| it.contains("REGISTER"))
    );
    assert!(office.pbx.contacts("alice").is_empty());
    office.close([bob, carrier, lost]);
}
