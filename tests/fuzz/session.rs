//! Session descriptions that callers offer, and what we answer.
//!
//! Spec: RFC 8866 §5; RFC 3264 §6 (as many media lines in the answer as in the offer); RFC 4568 §9.2.

use std::time::Duration;

use campon::call::can_hear;
use campon::sip::{Message, Scratch};

use super::each_case;
use super::mutate::bent;
use crate::flow::kit::draft::{OFFER, invite};
use crate::flow::kit::scenes::{call, hang_up, refused};
use crate::flow::kit::subject::Setup;
use crate::flow::kit::world::World;

const RICH: &str = "v=0\r\no=alice 1 1 IN IP6 2001:db8::9\r\ns=-\r\nc=IN IP6 2001:db8::9\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 96 8 0 101\r\nc=IN IP4 192.0.2.9/127\r\na=rtpmap:96 opus/48000/2\r\n\
    a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n\
    m=video 40002 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n\
    m=audio 40004/2 RTP/AVP 0\r\nc=IN IP4 phone.example\r\n";

const SECURE: &str = "v=0\r\no=alice 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
    m=audio 40000 RTP/SAVP 9 96 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n\
    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:4fl6DT4BjODWT6MsBt5BOQ7Gda1Jiv7rtpYLOqvm|2^31\r\n\
    a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:4fl6DT4BjODWT6MsBt5BOQ7Gda1Jiv7rtpYLOqvm WSH=64\r\n";

pub(super) fn seeds() -> [&'static [u8]; 3] {
    [OFFER.as_bytes(), RICH.as_bytes(), SECURE.as_bytes()]
}

#[test]
fn who_can_be_heard_is_decided_for_any_description() {
    let signalling = "192.0.2.10".parse().expect("an address");
    each_case(1, |rng| {
        let sdp = bent(rng, &seeds());
        let mut message = format!(
            "INVITE sip:bob@example.com SIP/2.0\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n",
            sdp.len()
        )
        .into_bytes();
        message.extend(&sdp);
        let mut scratch = Scratch::new();
        let message = Message::parse(&message, &mut scratch).expect("a message");
        if can_hear(&message, signalling, signalling) {
            let has_line = |line: &[u8]| sdp.windows(line.len()).any(|it| it == line);
            assert!(has_line(b"m=audio "), "{}", sdp.escape_ascii());
        }
    });
}

/// Each offer that can be heard is answered line by line, and each other one refused.
#[test]
fn an_answer_has_as_many_lines_as_its_offer() {
    let world = World::new(Setup::Prompting);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.phone(name));
    let talk = call(&carol, &bob);
    let mut cases = 0;
    each_case(20, |rng| {
        cases += 1;
        if cases % 50 == 0 {
            // Or they would have gone by now.
            for (phone, name) in [(&alice, "alice"), (&bob, "bob"), (&carol, "carol")] {
                phone.registers_as(name);
            }
        }
        let sdp = bent(rng, &seeds());
        // The ladder's parties write text.
        let is_text = |byte: &u8| byte.is_ascii_graphic() || b" \r\n".contains(byte);
        let has_fold = |sdp: &str| sdp.starts_with(' ') || sdp.contains("\r\n ");
        let Some(sdp) = str::from_utf8(&sdp)
            .ok()
            .filter(|sdp| sdp.bytes().all(|it| is_text(&it)) && !has_fold(sdp))
        else {
            return;
        };
        let sent = alice.sends(invite("bob").with_sdp(sdp));
        let heard = world.next_sound();
        if heard.is_some() {
            let progress = alice.receives("183");
            let lines = |sdp: &str| {
                let is_media = |line: &&str| line.starts_with("m=");
                sdp.split('\n').filter(is_media).count()
            };
            assert_eq!(lines(progress.sdp()), lines(sdp), "{sdp}\n{progress}");
            // Under keys is what the answer has a line of keys for, and nothing else.
            let is_secure = |line: &&str| {
                let mut fields = line.split(' ');
                let port = fields.nth(1);
                line.starts_with("m=")
                    && port.is_some_and(|port| port != "0")
                    && fields.next().is_some_and(|it| it.starts_with("RTP/SAVP"))
            };
            let of_ours = progress.sdp().lines();
            let secure = of_ours.clone().filter(is_secure).count();
            let keys = of_ours.filter(|line| line.starts_with("a=crypto:")).count();
            assert_eq!(keys, secure, "{sdp}\n{progress}");
            alice.cancels(&sent);
            let [_, ended] = alice.receives_each(["200", "487"]);
            alice.acks(&sent, &ended);
            world.next_sound().expect("the room closes");
        } else {
            refused(&alice, &sent, "486");
        }
        world.advance(Duration::from_secs(40));
    });
    hang_up(&carol, &talk.caller, &bob);
}
