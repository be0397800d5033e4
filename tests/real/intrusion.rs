//! Intrusion before Kamailio: a caller joins two phones whose call crosses it, by a mixer of ours and by
//! the callee's phone.
//!
//! Spec: RULES R5, R17; threats T29; RFC 3911 §4.

use std::net::SocketAddr;

use crate::completion::talk;
use crate::edge::Office;
use crate::harness::{PROMPT_HERTZ, assert_heard_three, joins_and_leaves};
use crate::pbx::Phone;
use crate::pbx::completion::intrusion::{asked, asks_to_join, assert_joins};
use crate::real::stage::Stage;

/// Who finds somebody busy may press three to join his call.
const MIXER: &str = r#"
media.ports = "22400-22499"
completion.intrusion = { intrudes = 1, protection = 0 }
completion.prompt = { intrude = "3" }
"#;

#[test]
fn a_caller_joins_two_phones_behind_kamailio_by_a_digit() {
    let stage = Stage::open("edge_intrusion", 34);
    let (kamailio, mailbox) = stage.kamailio_with_mailbox();
    let voice = stage.voice(&[("busy", PROMPT_HERTZ)], 5);
    let config = format!("media.voice = \"{voice}\"\n{MIXER}");
    let office = Office::before(stage, kamailio, &config);
    let [mut alice, mut bob, mut carol] = office.phones(["alice", "bob", "carol"]);
    talk(&mut carol, &mut bob);
    joins_and_leaves(&mut alice, (&mut carol, &mut bob));
    mailbox.quit();
    let (captured, stage) = office.close([alice, bob, carol]);
    assert_heard_three(&stage, &captured, 22_400);
    let (us, pbx, a) = (stage.campon_ip(), stage.pbx_ip(), stage.ip_of("alice"));
    // R17: her call is taken from Kamailio, which has answered one of the two.
    assert_eq!(captured.between(us, pbx, "CANCEL").len(), 1, "{captured}");
    assert_eq!(
        captured.between(pbx, us, "487 INVITE").len(),
        1,
        "{captured}"
    );
    assert_eq!(captured.between(us, a, "200 INVITE").len(), 1, "{captured}");
    let [x, y, z, _] = stage.network().octets();
    let mailbox = [x, y, z, 15].into();
    assert_eq!(
        captured.between(pbx, mailbox, "INVITE").len(),
        0,
        "{captured}"
    );
}

/// No phone of Debian's speaks Join, and so Bob's is ours.
#[test]
fn a_caller_joins_by_a_phone_behind_kamailio() {
    let office = Office::open("edge_join", 35, &asked(0, "20s"));
    let [mut alice, mut carol] = office.phones(["alice", "carol"]);
    let place = SocketAddr::new(office.stage.ip_of("bob").into(), 5060);
    let mut bob = Phone::open("bob", place, office.stage.campon_at());
    bob.supports("replaces, join");
    bob.register(300);
    carol.dial("bob");
    let mut first = bob.ring();
    bob.pick_up(&first);
    carol.wait_for("CALL_ESTABLISHED");
    alice.dial("bob");
    let second = bob.called();
    bob.tell(&second, 486, "Busy Here");
    let answer = asks_to_join(office.stage.campon_ip().into());
    let mut join = bob.ring();
    assert_joins(&join.invite, &first.dialog);
    bob.pick_up(&join);
    alice.wait_for("CALL_ESTABLISHED");
    let answer = answer.join().expect("it is asked");
    assert!(answer["completion_id"].is_string(), "{answer}");
    bob.hang_up(&mut join.dialog);
    alice.wait_for("CALL_CLOSED");
    bob.hang_up(&mut first.dialog);
    carol.wait_for("CALL_CLOSED");
    bob.close();
    let (captured, stage) = office.close([alice, carol]);
    let (us, pbx) = (stage.campon_ip(), stage.pbx_ip());
    assert_eq!(captured.between(us, pbx, "CANCEL").len(), 1, "{captured}");
    assert_eq!(
        captured.between(pbx, us, "487 INVITE").len(),
        1,
        "{captured}"
    );
}
