//! The scripted PBX by itself: phones that speak to it directly find it strict.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::switches::{CallerShown, Ids, Voicemail};
use super::{Pbx, Phone, Switches};
use crate::process::Turn;

/// The PBX and two phones that take it for their proxy.
struct Room {
    pbx: Pbx,
    alice: Phone,
    bob: Phone,
    _turn: Turn,
}

impl Room {
    fn open(number: u8, switches: Switches) -> Self {
        let at = |place: u8| SocketAddr::from(([127, 201, number, place], 5060));
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pbx");
        fs::create_dir_all(&target).expect("cargo's folder for tests can be written");
        let turn = Turn::take(&target, at(1));
        let pbx = Pbx::start(at(1), switches);
        let mut alice = Phone::open("alice", at(2), at(1));
        let mut bob = Phone::open("bob", at(3), at(1));
        alice.registers_directly();
        bob.registers_directly();
        Self {
            pbx,
            alice,
            bob,
            _turn: turn,
        }
    }

    fn close(self) {
        self.alice.close();
        self.bob.close();
        self.pbx.close();
    }
}

impl Phone {
    /// The PBX wants no Route, as it is not the phones' proxy but their registrar.
    fn registers_directly(&mut self) {
        self.speak_directly();
        self.register(60);
    }
}

#[test]
fn a_call_through_the_scripted_pbx_is_answered_and_hung_up() {
    for (number, ids) in [(1, Ids::New), (2, Ids::Kept)] {
        let switches = Switches {
            ids,
            ..Switches::default()
        };
        let mut room = Room::open(number, switches);
        let mut out = room.alice.dial("sip:bob@pbx.test");
        let mut into = room.bob.ring();
        room.alice.hear(&mut out, 180);
        room.bob.tell(&into, 200, "OK");
        room.alice.hear(&mut out, 200);
        room.bob.expect("ACK");
        assert_eq!(out.dialog.call_id == into.dialog.call_id, ids == Ids::Kept);
        room.bob.hang_up(&mut into.dialog);
        room.alice.agree(&mut out.dialog, "BYE");
        room.close();
    }
}

#[test]
fn a_busy_phone_or_a_silent_one_ends_in_the_mailbox() {
    let switches = Switches {
        voicemail: Voicemail::After(Duration::from_millis(300)),
        caller: CallerShown::Anonymous,
        ..Switches::default()
    };
    let mut room = Room::open(3, switches);
    let mut out = room.alice.dial("sip:102@pbx.test");
    let into = room.bob.called();
    assert!(
        into.invite
            .first("From")
            .is_some_and(|from| from.contains("anonymous"))
    );
    room.bob.tell(&into, 486, "Busy Here");
    room.alice.hear(&mut out, 200);
    room.alice.hang_up(&mut out.dialog);

    let mut out = room.alice.dial("sip:102@pbx.test");
    let into = room.bob.ring();
    room.alice.hear(&mut out, 180);
    room.bob.see_cancelled(&into);
    room.alice.hear(&mut out, 200);
    room.alice.hang_up(&mut out.dialog);
    room.close();
}

#[test]
fn a_repeat_with_another_call_id_is_refused() {
    let mut room = Room::open(4, Switches::default());
    let invite = room.alice.invite("sip:bob@pbx.test");
    let mut first = room.alice.send_invite(invite);
    let challenged = room.alice.hear(&mut first, 407);
    let mut again = room.alice.invite("sip:bob@pbx.test");
    again.set("CSeq", "2 INVITE");
    room.alice.prove(&mut again, &challenged);
    let mut second = room.alice.send_invite(again);
    room.alice.hear(&mut second, 403);
    assert_eq!(room.pbx.journal().take_complaints("Call-ID is"), 1);
    room.close();
}

#[test]
fn what_is_malformed_is_complained_of() {
    let room = Room::open(5, Switches::default());
    let socket = std::net::UdpSocket::bind("127.201.5.9:5060").expect("a free address");
    let request = "OPTIONS sip:pbx.test SIP/2.0\r\n\
        Via: SIP/2.0/UDP 127.201.5.9:5060;branch=z9hG4bKsomething\r\n\
        From: <sip:x@pbx.test>\r\nTo: <sip:pbx.test>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\
        Content-Length: 0\r\n\r\n";
    socket
        .send_to(request.as_bytes(), room.pbx.address())
        .expect("a route on loopback");
    let mut answer = [0; 2000];
    socket.recv(&mut answer).expect("an answer");
    for what in ["no From tag", "CSeq is not", "Max-Forwards None"] {
        assert_eq!(room.pbx.journal().take_complaints(what), 1, "{what}");
    }
    room.close();
}
