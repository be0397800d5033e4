//! What campon has no business with: bodies and header fields cross byte for byte.
//!
//! Spec: RFC 3264 §8.4; RFC 5806; RFC 7044; RFC 3323; RFC 8224; RFC 3261 §20.

use super::kit::draft::{ANSWER, invite, reinvite, response};
use super::kit::scenes::{call, hang_up, two_phones};

const HEAD: &str = "v=0\r\no=alice 1 2 IN IP4 192.0.2.10\r\ns=-\r\n";

/// Fax, video, encrypted media behind NATs, and what nobody has heard of.
fn sessions() -> [(&'static str, Vec<u8>); 5] {
    let fax = "c=IN IP4 192.0.2.10\r\nt=0 0\r\nm=image 4900 udptl t38\r\na=T38FaxVersion:3\r\n\
        a=T38FaxRateManagement:transferredTCF\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n";
    let video = "c=IN IP6 2001:db8::10\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:F7gI\r\na=ice-pwd:x9cml/Yz\r\n\
        a=candidate:1 1 UDP 2130706431 192.168.1.5 8998 typ host\r\n\
        a=fingerprint:sha-256 4A:AD:B9\r\na=setup:actpass\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=rtcp-fb:96 nack pli\r\n";
    let keys = "c=IN IP4 10.0.0.5\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 0\r\n\
        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r\n";
    let parts = "--x\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--x\r\n\
        Content-Type: application/pidf+xml\r\nContent-ID: <a@b>\r\n\r\n<presence/>\r\n--x--\r\n";
    let with_head = |rest: &str| [HEAD, rest].concat().into_bytes();
    // Line ends of another kind, no last one, and bytes that are no text.
    let odd = b"v=0\no=- 1 1 IN IP4 0.0.0.0\nm=x\n\xff\x00\xfe".to_vec();
    [
        ("application/sdp", with_head(fax)),
        ("application/sdp", with_head(video)),
        ("application/sdp;x=y", with_head(keys)),
        ("multipart/mixed;boundary=x", parts.as_bytes().to_vec()),
        ("application/sdp", odd),
    ]
}

#[test]
fn bodies_cross_byte_for_byte_in_both_directions() {
    for (kind, body) in sessions() {
        let (_world, alice, bob) = two_phones();
        let sent = alice.sends(invite("bob").with_body(kind, &body));
        let arrived = bob.receives("INVITE");
        assert_eq!(
            (arrived.header("Content-Type"), arrived.body()),
            (kind, &*body)
        );
        bob.sends(response(&arrived, 183).with_body(kind, &body));
        let early = alice.receives("183");
        assert_eq!((early.header("Content-Type"), early.body()), (kind, &*body));
        let answered = bob.sends(response(&arrived, 200).with_body(kind, &body));
        let answer = alice.receives("200");
        assert_eq!(
            (answer.header("Content-Type"), answer.body()),
            (kind, &*body)
        );
        alice.acks(&sent, &answer);
        bob.receives("ACK");
        let callee = super::kit::dialog::Dialog::of_callee(&arrived, &answered);
        let change = bob.sends(reinvite(&callee).with_body(kind, &body));
        let changed = alice.receives("INVITE");
        assert_eq!(
            (changed.header("Content-Type"), changed.body()),
            (kind, &*body)
        );
        alice.sends(response(&changed, 200).with_body(kind, &body));
        let answer = bob.receives("200");
        assert_eq!(answer.body(), body);
        bob.acks(&change, &answer);
        alice.receives("ACK");
        hang_up(&bob, &callee, &alice);
    }
}

#[test]
fn who_forwarded_it_and_who_wants_to_be_nobody_cross_as_they_are() {
    let fields = [
        (
            "Diversion",
            "\"Bob, Sr.\" <sip:bob@a.example>;reason=user-busy;counter=1",
        ),
        ("Diversion", "<tel:+15550100>;reason=\"no-answer\""),
        (
            "History-Info",
            "<sip:bob@a.example?Reason=SIP%3Bcause%3D302>;index=1",
        ),
        (
            "History-Info",
            "<sip:carol@b.example;cause=302>;index=1.1;mp=1",
        ),
        ("Privacy", "id;critical"),
        ("P-Preferred-Identity", "\"A\" <sip:alice@a.example>"),
        (
            "Identity",
            "eyJhbGciOiJFUzI1NiJ9..q-_x;info=<https://c.example/c.pem>;alg=ES256",
        ),
        (
            "Referred-By",
            "<sip:r@a.example>;cid=\"2UWQFN309shb3@r.example\"",
        ),
        ("Geolocation", "<cid:target123@a.example>"),
        ("User-to-User", "56a390f3d2b7310023a2;encoding=hex"),
        ("X-Odd", "a, b ,,c;\"d,e\""),
    ];
    let (_world, alice, bob) = two_phones();
    let draft = fields.iter().fold(invite("bob"), |draft, (name, value)| {
        draft.with(name, value)
    });
    let sent = alice.sends(draft.with_sdp(super::kit::draft::OFFER));
    let arrived = bob.receives("INVITE");
    let crossed = arrived.fields();
    let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    let crossed: Vec<_> = crossed.filter(|(name, _)| names.contains(name)).collect();
    assert_eq!(crossed, fields);
    bob.sends(response(&arrived, 486).with("History-Info", fields[3].1));
    bob.receives("ACK");
    let refusal = super::kit::scenes::refused(&alice, &sent, "486");
    assert_eq!(refusal.header("History-Info"), fields[3].1);
}

#[test]
fn hold_and_resume_cross_however_they_are_written() {
    let (_world, alice, bob) = two_phones();
    let call = call(&alice, &bob);
    let says = |how: &str, address: &str| {
        format!("{HEAD}c=IN IP4 {address}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8\r\na={how}\r\n")
    };
    for (offer, answer) in [
        (
            says("sendonly", "192.0.2.10"),
            says("recvonly", "192.0.2.20"),
        ),
        (
            says("inactive", "192.0.2.10"),
            says("inactive", "192.0.2.20"),
        ),
        (says("sendrecv", "0.0.0.0"), says("recvonly", "192.0.2.20")),
        (says("sendrecv", "192.0.2.10"), ANSWER.to_owned()),
    ] {
        let sent = alice.sends(reinvite(&call.caller).with_sdp(&offer));
        let change = bob.receives("INVITE");
        // S-67
        assert_eq!(change.sdp(), offer);
        bob.sends(response(&change, 200).with_sdp(&answer));
        let heard = alice.receives("200");
        assert_eq!(heard.sdp(), answer);
        alice.acks(&sent, &heard);
        bob.receives("ACK");
    }
    hang_up(&alice, &call.caller, &bob);
}
