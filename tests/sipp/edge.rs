//! Flows in front of a PBX that is the registrar: its phones register and call through campon.
//!
//! Spec: RFC 3261 §10; RULES R1, R3, R12.

use std::net::Ipv4Addr;

use crate::bridge::Bridge;
use crate::message::uri;
use crate::player::finish;
use crate::stage::Phone::{Alice, Bob, Carol};
use crate::stage::{Stage, network};
use crate::trace::Trace;

/// A campon in front of a PBX, which is at Bob's address.
fn open_at_pbx(name: &str) -> Stage {
    open_with(name, "")
}

/// The same, with more of a configuration.
fn open_with(name: &str, more: &str) -> Stage {
    let [a, b, c, _] = network(name).octets();
    let pbx = Ipv4Addr::new(a, b, c, 2);
    let config =
        format!("mode = \"edge\"\nupstream = \"sip:{pbx}\"\nedge.keep_alive = \"off\"\n{more}");
    Stage::open_with(name, &config)
}

/// A phone of Alice's registers in this way: what it saw, and what the PBX saw.
fn register(stage: &Stage, scenario: &str) -> [Trace; 2] {
    let pbx = stage.act("register_two_contacts.pbx", Bob).listen();
    let phone = stage.act(scenario, Alice).start();
    let mut traces = finish(vec![phone, pbx]).into_iter();
    [(); 2].map(|()| traces.next().expect("two traces"))
}

#[test]
fn two_contacts_of_a_phone_are_two_aliases_at_its_pbx() {
    let stage = open_at_pbx("register_two_contacts");
    let [phone, pbx] = register(&stage, "register_two_contacts.phone");
    let (sent, at_pbx) = (
        phone.sent_nth("REGISTER", 0),
        pbx.received_nth("REGISTER", 0),
    );
    // R3
    for name in ["Authorization", "To", "Expires"] {
        assert_eq!(at_pbx.header(name), sent.header(name));
    }
    assert_eq!(at_pbx.request_uri(), sent.request_uri());
    assert_eq!(at_pbx.cseq(), sent.cseq());
    // R12
    let aliases: Vec<_> = at_pbx.headers("Contact").map(uri).collect();
    let [first, second] = &aliases[..] else {
        panic!("not two Contacts in {at_pbx}");
    };
    assert_ne!(first, second);
    for alias in [first, second] {
        let host = format!("@{}:5060", stage.domain());
        assert!(
            alias.starts_with("sip:reg-") && alias.ends_with(&host),
            "{alias}"
        );
    }
    let listed = phone.received_nth("200 REGISTER", 0);
    let own: Vec<_> = sent.headers("Contact").map(uri).collect();
    let listed: Vec<_> = listed.bindings();
    assert_eq!(listed, [(own[0], 600), (own[1], 600)]);
    stage.close();
}

#[test]
fn calls_go_both_ways_between_a_phone_and_its_pbx() {
    let stage = open_at_pbx("edge_call");
    let [_, pbx] = register(&stage, "registration.phone");
    let alias = pbx.received_nth("REGISTER", 0).contact().to_owned();

    let callee = stage.act("basic_call.callee", Bob).listen();
    let caller = stage.act("basic_call.caller", Alice).start();
    let mut out = finish(vec![caller, callee]).into_iter();
    let out = Bridge::new(out.next().expect("Alice's"), out.next().expect("the PBX's"));
    out.assert_sound();
    // R3
    assert_eq!(
        out.invite_out().request_uri(),
        out.invite_in().request_uri()
    );

    let callee = stage.act("basic_call.callee", Alice).listen();
    let caller = stage
        .act("edge_call.pbx", Bob)
        .with("alias", &*alias)
        .start();
    let mut inward = finish(vec![caller, callee]).into_iter();
    let inward = Bridge::new(
        inward.next().expect("the PBX's"),
        inward.next().expect("Alice's"),
    );
    inward.assert_sound();
    let contact = format!("sip:alice@{};transport=UDP", stage.address_of(Alice));
    assert_eq!(inward.invite_out().request_uri(), contact);
    stage.close();
}

/// R1, R19: what Carol's phone said counts, though her mailbox answers.
#[test]
fn a_call_that_the_mailbox_answered_is_offered_to_be_completed() {
    let flow = "voicemail_answers_but_completion_is_offered";
    let codes =
        "completion.codes.request_last = \"*37#\"\ncompletion.codes.cancel_all = \"#37#\"\n";
    let stage = open_with(flow, codes);
    let [_, pbx] = register(&stage, "registration.phone");
    drop(pbx);
    let pbx = stage.act("register_two_contacts.pbx", Bob).listen();
    let carol = stage.act("registration.phone", Carol).start();
    let traces = finish(vec![carol, pbx]);
    let [_, pbx] = traces.as_slice() else {
        panic!("two traces");
    };
    let alias = pbx.received_nth("REGISTER", 0).contact().to_owned();

    let carol = stage.act("busy.callee", Carol).listen();
    let pbx = "voicemail_answers_but_completion_is_offered.pbx";
    let pbx = stage.act(pbx, Bob).with("alias", alias).listen();
    let alice = "voicemail_answers_but_completion_is_offered.caller";
    let alice = stage.act(alice, Alice).start();
    let traces = finish(vec![alice, pbx, carol]);
    let [_, pbx, carol] = traces.as_slice() else {
        panic!("three traces");
    };
    // R1: nothing is added on the way to Carol, or back to the PBX.
    assert!(!carol.received_nth("INVITE sdp", 0).has("Call-Info"));
    assert!(!pbx.received_nth("486 INVITE", 0).has("Call-Info"));
    stage.close_served(&[("completions_accepted", 1), ("completions_cancelled", 1)]);
}
