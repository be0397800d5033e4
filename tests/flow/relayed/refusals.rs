//! Who may not: outsiders, users with too many subscriptions, and whoever comes while we stop.
//!
//! Spec: RULES R4, R8; RFC 3261 §8.2; RFC 6665 §4.2.1.

use crate::flow::kit::draft::{Draft, request};
use crate::flow::kit::party::Party;
use crate::flow::kit::relayed::{CAROL, alice_watches_carol, ends, phone_and_pbx, watch};
use crate::flow::kit::subject::DOMAIN;

/// Each method that would be passed on.
const METHODS: [&str; 7] = [
    "MESSAGE",
    "SUBSCRIBE",
    "PUBLISH",
    "REFER",
    "INFO",
    "NOTIFY",
    "FROBNICATE",
];

/// A request that would be good from somebody who may.
fn good(method: &str, sender: &Party, uri: &str) -> Draft {
    request(method, uri)
        .with("Event", "presence")
        .with("Refer-To", "<sip:dave@pbx.example>")
        .with("Contact", &format!("<{}>", sender.uri()))
}

#[test]
fn an_outsider_reaches_neither_the_pbx_nor_a_phone() {
    let (world, alice, pbx) = phone_and_pbx();
    let mallory = world.party("mallory");
    let whom = [
        CAROL.to_owned(),
        format!("sip:alice@{DOMAIN}"),
        format!("sip:nobody@{DOMAIN}"),
    ];
    for method in METHODS {
        for uri in &whom {
            mallory.sends(good(method, &mallory, uri));
            // R4
            let refused = mallory.receives_any();
            assert!(
                ["403", "405", "481"].contains(&refused.kind()),
                "{method}: {refused}"
            );
            alice.receives_nothing();
            pbx.receives_nothing();
        }
    }
}

#[test]
fn a_phone_that_claims_to_be_another_user_reaches_nobody() {
    let (world, alice, pbx) = phone_and_pbx();
    let eve = world.phone("eve");
    for method in METHODS {
        let claim = good(method, &eve, CAROL);
        eve.sends(claim.with("From", &format!("<sip:alice@{DOMAIN}>;tag=eve")));
        // R8
        let refused = eve.receives_any();
        assert!(
            ["403", "405", "481"].contains(&refused.kind()),
            "{method}: {refused}"
        );
        pbx.receives_nothing();
    }
    alice.receives_nothing();
}

#[test]
fn a_phone_whose_registration_has_run_out_reaches_nobody() {
    let (world, alice, pbx) = phone_and_pbx();
    world.advance(std::time::Duration::from_secs(3601));
    for method in METHODS {
        alice.sends(good(method, &alice, CAROL));
        // R8
        let refused = alice.receives_any();
        assert!(
            ["403", "405", "481"].contains(&refused.kind()),
            "{method}: {refused}"
        );
    }
    pbx.receives_nothing();
}

#[test]
fn an_unsolicited_notify_of_a_phone_goes_nowhere() {
    let (_world, alice, pbx) = phone_and_pbx();
    alice.sends(good("NOTIFY", &alice, CAROL));
    // S-126
    alice.receives("481");
    pbx.receives_nothing();
}

#[test]
fn a_user_has_no_more_subscriptions_than_he_may() {
    let (_world, alice, pbx) = phone_and_pbx();
    let few: Vec<_> = (0..crate::flow::kit::subject::SUBSCRIPTIONS_MAX)
        .map(|_| alice_watches_carol(&alice, &pbx))
        .collect();
    alice.sends(watch(&alice, CAROL, "dialog"));
    alice.receives("480");
    pbx.receives_nothing();
    for one in &few {
        ends(&pbx, &one.far, &alice);
    }
    // One that has ended makes room for another.
    let one = alice_watches_carol(&alice, &pbx);
    ends(&pbx, &one.far, &alice);
}

#[test]
fn a_subscription_without_a_contact_makes_nothing() {
    let (_world, alice, pbx) = phone_and_pbx();
    alice.sends(watch(&alice, CAROL, "dialog").without("Contact"));
    // S-13
    alice.receives("400");
    alice.sends(watch(&alice, CAROL, "dialog").without("Event"));
    // S-120
    alice.receives("489");
    pbx.receives_nothing();
}

#[test]
fn a_worker_that_stops_begins_no_subscription_and_ends_those_there_are() {
    let (world, alice, pbx) = phone_and_pbx();
    let one = alice_watches_carol(&alice, &pbx);
    world.drains();
    alice.sends(watch(&alice, CAROL, "dialog"));
    alice.receives("503");
    ends(&pbx, &one.far, &alice);
}
