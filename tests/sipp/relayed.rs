//! Flows outside of calls: a text from phone to phone, a message lamp, a publication.
//!
//! Spec: RFC 3428; RFC 3842; RFC 3903; RFC 6665; RULES R3.

use std::net::Ipv4Addr;

use crate::act::Dialog;
use crate::stage::Phone::{Alice, Bob};
use crate::stage::{Stage, network};
use crate::trace::{Direction, Trace};

/// A campon in front of a PBX, which is at Bob's address, with a phone of Alice's.
fn open_at_office(name: &str) -> Stage {
    let [a, b, c, _] = network(name).octets();
    let pbx = Ipv4Addr::new(a, b, c, 2);
    let stage = Stage::open_with(name, &format!("upstream = \"sip:{pbx}\"\n"));
    stage.register(&[Alice]);
    stage
}

/// Plays both roles of a flow: what the phone saw, and what the other one saw.
fn play(stage: &Stage, [phone, other]: [&str; 2]) -> [Trace; 2] {
    let listening = stage.act(other, Bob).listen();
    let phone = stage.act(phone, Alice).start();
    let mut traces = crate::player::finish(vec![phone, listening]).into_iter();
    [(); 2].map(|()| traces.next().expect("two traces"))
}

/// Nothing that names one side's transactions or dialogs shows on the other.
fn assert_apart([near, far]: &[Trace; 2]) {
    let (here, there) = (near.sent().next(), far.received().next());
    let (here, there) = (here.expect("a request"), there.expect("a request"));
    // S-37
    assert_ne!(here.call_id(), there.call_id());
    assert_ne!(here.tag_of_from(), there.tag_of_from());
    assert_ne!(here.branch(), there.branch());
    assert_eq!(there.headers("Via").count(), 1, "{there}");
    assert_eq!(there.max_forwards(), here.max_forwards() - 1);
    let names = |one: &crate::message::Message| {
        ["From", "To"].map(|name| crate::message::name_addr(one.header(name)).to_owned())
    };
    assert_eq!(names(here), names(there));
}

#[test]
fn a_text_goes_from_phone_to_phone() {
    let stage = Stage::open("message_between_phones");
    stage.register(&[Alice, Bob]);
    let both = play(
        &stage,
        [
            "message_between_phones.sender",
            "message_between_phones.receiver",
        ],
    );
    assert_apart(&both);
    let [alice, bob] = &both;
    let (sent, text) = (
        alice.sent_nth("MESSAGE plain", 0),
        bob.received_nth("MESSAGE plain", 0),
    );
    assert_eq!(text.body(), sent.body());
    assert_eq!(text.header("Subject"), "lunch");
    // RFC 3428 §4, §7: it makes no dialog.
    assert!(!text.has("Contact"), "{text}");
    assert!(!alice.received_nth("200 MESSAGE", 0).has("Contact"));
    let place = stage.address_of(Bob).to_string();
    assert!(text.request_uri().contains(&place), "{text}");
    stage.close();
}

#[test]
fn a_message_lamp_is_watched_at_the_pbx() {
    let stage = open_at_office("mwi_relayed");
    let both = play(&stage, ["mwi_relayed.phone", "mwi_relayed.pbx"]);
    assert_apart(&both);
    let [alice, pbx] = &both;
    for n in 0..2 {
        let label = "NOTIFY simple-message-summary";
        let (told, heard) = (pbx.sent_nth(label, n), alice.received_nth(label, n));
        // S-123
        for name in ["Event", "Subscription-State", "Content-Type"] {
            assert_eq!(heard.header(name), told.header(name));
        }
        assert_eq!(heard.body(), told.body());
        assert_eq!(heard.call_id(), alice.sent_nth("SUBSCRIBE", 0).call_id());
        assert_ne!(heard.tag_of_from(), told.tag_of_from());
    }
    let [first, last] = [0, 1].map(|n| pbx.received_nth("SUBSCRIBE", n));
    // S-14
    assert_eq!(last.cseq().0, first.cseq().0 + 1);
    assert_eq!(last.header("Expires"), "0");
    // S-121
    assert_eq!(
        alice.received_nth("200 SUBSCRIBE", 0).header("Expires"),
        "300"
    );
    stage.close();
}

#[test]
fn a_publication_is_made_at_the_pbx_with_the_phones_password() {
    let stage = open_at_office("publish_relayed");
    let both = play(&stage, ["publish_relayed.phone", "publish_relayed.pbx"]);
    assert_apart(&both);
    let [alice, pbx] = &both;
    let asked = "401 PUBLISH";
    let challenge = |trace: &Trace, direction| {
        let found = match direction {
            Direction::Sent => trace.sent_nth(asked, 0),
            Direction::Received => trace.received_nth(asked, 0),
        };
        found.header("WWW-Authenticate").to_owned()
    };
    assert_eq!(
        challenge(alice, Direction::Received),
        challenge(pbx, Direction::Sent)
    );
    let [first, again] = [0, 1].map(|n| pbx.received_nth("PUBLISH pidf+xml", n));
    // S-29
    assert_eq!(again.call_id(), first.call_id());
    assert_eq!(again.header("From"), first.header("From"));
    assert_eq!(again.cseq().0, first.cseq().0 + 1);
    assert!(again.has("Authorization"), "{again}");
    // R3
    assert_eq!(again.request_uri(), "sip:alice@office.example");
    assert_eq!(again.body(), first.body());
    let refresh = pbx.received_nth("PUBLISH", 0);
    // S-152
    assert_eq!(refresh.header("SIP-If-Match"), "etag-1");
    let etags = [0, 1].map(|n| alice.received_nth("200 PUBLISH", n).header("SIP-ETag"));
    // S-151
    assert_eq!(etags, ["etag-1", "etag-2"]);
    stage.close();
}

/// The dialog that a document tells of: its Call-ID, and the tags of the watched one and the other.
fn told_of(notify: &crate::message::Message, id: &str) -> [String; 3] {
    let body = String::from_utf8_lossy(notify.body()).into_owned();
    let start = format!("<dialog id=\"{id}\" ");
    let (_, rest) = body.split_once(&start).expect("the dialog");
    let attribute = |name: &str| {
        let (_, value) = rest.split_once(&format!("{name}=\"")).expect(name);
        let (value, _) = value.split_once('"').expect("a quote");
        value.to_owned()
    };
    ["call-id", "local-tag", "remote-tag"].map(attribute)
}

#[test]
fn a_busy_key_knows_its_own_call_by_its_own_ids() {
    let stage = open_at_office("blf_dialog_info_ids");
    let callee = stage.act("talk.callee", Bob).listen();
    let caller = stage.act("blf_dialog_info_ids.caller", Alice).start();
    let mut traces = crate::player::finish(vec![caller, callee]).into_iter();
    let [caller, callee] = [(); 2].map(|()| traces.next().expect("two traces"));

    let invite = callee.received_nth("INVITE sdp", 0);
    let answer = callee.sent_nth("200 INVITE sdp", 0);
    let tag = |tag: Option<&str>| tag.expect("a tag").to_owned();
    let pbx = stage.act("blf_dialog_info_ids.pbx", Bob);
    let pbx = pbx
        .with("pbx_call", invite.call_id())
        .with("pbx_tag", tag(answer.tag_of_to()))
        .with("campon_tag", tag(invite.tag_of_from()))
        .listen();
    let watcher = stage.act("blf_dialog_info_ids.watcher", Alice).start();
    let mut traces = crate::player::finish(vec![watcher, pbx]).into_iter();
    let [watcher, pbx] = [(); 2].map(|()| traces.next().expect("two traces"));
    let label = "NOTIFY dialog-info+xml";
    let (told, heard) = (pbx.sent_nth(label, 0), watcher.received_nth(label, 0));
    // S-145: the leg that faces the watcher.
    let own = caller.received_nth("200 INVITE sdp", 0);
    let expected = [
        own.call_id().to_owned(),
        tag(own.tag_of_to()),
        tag(own.tag_of_from()),
    ];
    assert_eq!(told_of(heard, "one"), expected);
    // An id that is the PBX's own crosses as it is.
    assert_eq!(told_of(heard, "two"), told_of(told, "two"));

    let left = stage.act("blf_dialog_info_ids.left", Bob).listen();
    let mut dialog = Dialog::begun_by(&caller, "INVITE");
    let leaver = stage.act("blf_dialog_info_ids.leaver", Alice);
    leaver.within(&mut dialog).play();
    left.finish();
    stage.close();
}
