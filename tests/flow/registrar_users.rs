//! Users with passwords: who may register, who may call as whom, and what stays here.
//!
//! Spec: RFC 3261 §10.3, §22; RFC 7616; RFC 8760; RULES R8.

use std::time::Duration;

use super::kit::dialog::Dialog;
use super::kit::draft::{OFFER, bye, invite, register, request};
use super::kit::message::{Message, uri_of};
use super::kit::party::Party;
use super::kit::password::{ALICE, BOB, Login, part, repeated};
use super::kit::scenes::refused;
use super::kit::subject::{DOMAIN, Setup};
use super::kit::world::World;

const AUTHENTICATE: &str = "WWW-Authenticate";

/// The user's phone has registered with its password; the answer.
fn registers_with(phone: &Party, login: Login) -> Message {
    let asked = phone.sends(register(login.user));
    let challenge = phone.receives("401");
    let credentials = login.answers(challenge.all(AUTHENTICATE)[0], &asked);
    let register = register(login.user).with("Authorization", &credentials);
    phone.sends(repeated(register, &asked));
    phone.receives("200")
}

/// A campon with Alice's phone and Bob's, which have registered.
fn two_phones() -> (World, Party, Party) {
    let world = World::new(Setup::Users);
    let (alice, bob) = (world.party("alice"), world.party("bob"));
    registers_with(&alice, ALICE);
    registers_with(&bob, BOB);
    (world, alice, bob)
}

/// Bob refuses the call that reaches him.
fn refuses(bob: &Party) -> Message {
    let invite = bob.receives("INVITE");
    bob.refuses(&invite, 486);
    invite
}

#[test]
fn a_phone_registers_with_its_password() {
    let world = World::new(Setup::Users);
    let bob = world.party("bob");
    let asked = bob.sends(register("bob"));
    let challenge = bob.receives("401");
    let offered = challenge.all(AUTHENTICATE);
    let algorithms: Vec<_> = offered.iter().map(|one| part(one, "algorithm")).collect();
    assert_eq!(algorithms, ["SHA-256", "MD5"]); // S-170
    for one in &offered {
        assert_eq!(part(one, "qop"), "auth"); // S-172
        assert_eq!((part(one, "realm"), part(one, "stale")), ("campon", ""));
    }
    let credentials = BOB.answers(offered[0], &asked);
    let again = register("bob").with("Authorization", &credentials);
    bob.sends(repeated(again, &asked));
    assert_eq!(uri_of(bob.receives("200").header("Contact")), bob.uri());
}

#[test]
fn a_phone_that_knows_only_md5_registers_too() {
    let world = World::new(Setup::Users);
    let bob = world.party("bob");
    let asked = bob.sends(register("bob"));
    let challenge = bob.receives("401");
    let offered = challenge.all(AUTHENTICATE);
    // S-171: the phone takes the first that it knows, and leaves the others alone.
    let credentials = BOB.answers(offered[1], &asked);
    let elsewhere = credentials.replace("realm=\"campon\"", "realm=\"pbx.example\"");
    let again = register("bob")
        .with("Authorization", &elsewhere)
        .with("Authorization", &credentials);
    bob.sends(repeated(again, &asked));
    assert_eq!(uri_of(bob.receives("200").header("Contact")), bob.uri());
}

#[test]
fn a_wrong_password_registers_nobody() {
    let (world, alice, bob) = two_phones();
    let thief = world.party("thief");
    let guess = Login {
        password: "wonderful",
        ..BOB
    };
    let asked = thief.sends(register("bob"));
    let challenge = thief.receives("401");
    let credentials = guess.answers(challenge.all(AUTHENTICATE)[0], &asked);
    let again = register("bob").with("Authorization", &credentials);
    thief.sends(repeated(again, &asked));
    let refusal = thief.receives("401");
    let first = refusal.all(AUTHENTICATE)[0];
    assert_eq!(part(first, "stale"), "");
    assert_ne!(
        part(first, "nonce"),
        part(challenge.all(AUTHENTICATE)[0], "nonce")
    );
    let sent = alice.sends(invite("bob"));
    refuses(&bob);
    refused(&alice, &sent, "486");
}

#[test]
fn who_guesses_on_is_shut_out_for_a_minute() {
    let (world, _alice, _bob) = two_phones();
    let thief = world.party("thief");
    let guess = Login {
        password: "wonderful",
        ..BOB
    };
    for _ in 0..10 {
        let asked = thief.sends(register("bob"));
        let challenge = thief.receives("401");
        let credentials = guess.answers(challenge.all(AUTHENTICATE)[0], &asked);
        let again = register("bob").with("Authorization", &credentials);
        thief.sends(repeated(again, &asked));
        thief.receives("401");
    }
    let asked = thief.sends(register("bob"));
    let challenge = thief.receives("401");
    let credentials = BOB.answers(challenge.all(AUTHENTICATE)[0], &asked);
    let again = register("bob").with("Authorization", &credentials);
    thief.sends(repeated(again, &asked));
    assert!(!thief.receives("403").has(AUTHENTICATE));
    world.advance(Duration::from_mins(1));
    registers_with(&thief, BOB);
}

#[test]
fn nobody_registers_at_the_address_of_another() {
    let (world, alice, bob) = two_phones();
    let asked = alice.sends(register("bob"));
    let challenge = alice.receives("401");
    let credentials = ALICE.answers(challenge.all(AUTHENTICATE)[0], &asked);
    let again = register("bob").with("Authorization", &credentials);
    alice.sends(repeated(again, &asked));
    alice.receives("403");
    let sent = alice.sends(invite("bob"));
    refuses(&bob);
    refused(&alice, &sent, "486");
    drop(world);
}

/// Somebody on the way repeats a REGISTER that he has read, with a Contact of his own: Digest covers
/// neither Contact nor To.
#[test]
fn an_overheard_registration_moves_nobody() {
    let world = World::new(Setup::Users);
    let (bob, thief) = (world.party("bob"), world.party("thief"));
    let asked = bob.sends(register("bob"));
    let challenge = bob.receives("401");
    let credentials = BOB.answers(challenge.all(AUTHENTICATE)[0], &asked);
    let again = register("bob").with("Authorization", &credentials);
    bob.sends(repeated(again.clone(), &asked));
    bob.receives("200");
    let moved = again.with("Contact", &format!("<{}>", thief.uri()));
    // From where he is, and with the phone's own address as the source of his datagram.
    for source in [&thief, &bob] {
        source.sends(moved.clone());
        let refusal = source.receives("401");
        // S-173
        assert_eq!(part(refusal.all(AUTHENTICATE)[0], "stale"), "true");
    }
    let second = BOB.answers_nth(challenge.all(AUTHENTICATE)[0], &asked, 2);
    bob.sends(register("bob").with("Authorization", &second));
    // S-173
    assert_eq!(uri_of(bob.receives("200").header("Contact")), bob.uri());
}

#[test]
fn a_refresh_with_a_nonce_of_an_hour_ago_is_asked_once_more() {
    let world = World::new(Setup::Users);
    let bob = world.party("bob");
    let asked = bob.sends(register("bob"));
    let old = bob.receives("401");
    let credentials = BOB.answers(old.all(AUTHENTICATE)[0], &asked);
    let again = register("bob").with("Authorization", &credentials);
    bob.sends(repeated(again, &asked));
    bob.receives("200");
    world.advance(Duration::from_mins(50));
    let second = BOB.answers_nth(old.all(AUTHENTICATE)[0], &asked, 2);
    bob.sends(register("bob").with("Authorization", &second));
    let challenge = bob.receives("401");
    let first = challenge.all(AUTHENTICATE)[0];
    // S-173: the phone need not ask its user.
    assert_eq!(part(first, "stale"), "true");
    let credentials = BOB.answers(first, &asked);
    bob.sends(register("bob").with("Authorization", &credentials));
    bob.receives("200");
}

#[test]
fn a_registered_phone_calls_without_being_asked() {
    let (_world, alice, bob) = two_phones();
    let sent = alice.sends(invite("bob"));
    refuses(&bob);
    refused(&alice, &sent, "486");
}

#[test]
fn a_user_who_calls_from_elsewhere_proves_himself_and_his_credentials_stay_here() {
    let (world, _alice, bob) = two_phones();
    // The same user at an address where he has not registered.
    let elsewhere = world.party("alice");
    let sent = elsewhere.sends(invite("bob").with_sdp(OFFER));
    let challenge = refused(&elsewhere, &sent, "407");
    bob.receives_nothing();
    let credentials = ALICE.answers(challenge.all("Proxy-Authenticate")[0], &sent);
    let others = "Digest username=\"alice\", realm=\"pbx.example\", nonce=\"n\"";
    let again = invite("bob")
        .with_sdp(OFFER)
        .with("Proxy-Authorization", &credentials)
        .with("Proxy-Authorization", others);
    let sent = elsewhere.sends(repeated(again, &sent));
    let offered = bob.receives("INVITE");
    assert_eq!(offered.all("Proxy-Authorization"), [others]);
    let answer = bob.takes_call(&offered, &elsewhere, &sent);
    let dialog = Dialog::of_caller(&sent, &answer);
    elsewhere.sends(bye(&dialog).with("Proxy-Authorization", &credentials));
    let ended = bob.receives("BYE");
    assert!(!ended.has("Proxy-Authorization"));
    bob.answers(&ended, 200);
    elsewhere.receives("200");
}

/// His phone has started anew, and is not registered from its new port yet.
#[test]
fn a_user_who_proves_himself_elsewhere_is_offered_completion_as_at_home() {
    let (world, _alice, bob) = two_phones();
    let elsewhere = world.party("alice");
    let sent = elsewhere.sends(invite("bob").with_sdp(OFFER));
    let challenge = refused(&elsewhere, &sent, "407");
    let credentials = ALICE.answers(challenge.all("Proxy-Authenticate")[0], &sent);
    let again = invite("bob").with_sdp(OFFER);
    let again = again.with("Proxy-Authorization", &credentials);
    let sent = elsewhere.sends(repeated(again, &sent));
    refuses(&bob);
    let busy = refused(&elsewhere, &sent, "486");
    assert!(busy.has("Call-Info"), "{busy}"); // R8
}

#[test]
fn a_user_calls_in_nobodys_name_but_his_own() {
    let (world, alice, _bob) = two_phones();
    let as_bob = || invite("carol").with("From", &format!("<sip:bob@{DOMAIN}>;tag=1"));
    let sent = alice.sends(as_bob());
    let challenge = refused(&alice, &sent, "407");
    let credentials = ALICE.answers(challenge.all("Proxy-Authenticate")[0], &sent);
    let again = as_bob().with("Proxy-Authorization", &credentials);
    let sent = alice.sends(again.with("CSeq", "315 INVITE"));
    refused(&alice, &sent, "403");
    drop(world);
}

#[test]
fn a_user_is_asked_whatever_he_wants_from_elsewhere() {
    let (world, _alice, bob) = two_phones();
    let elsewhere = world.party("alice");
    for method in ["OPTIONS", "SUBSCRIBE", "MESSAGE"] {
        elsewhere.sends(request(method, &format!("sip:bob@{DOMAIN}")));
        assert_eq!(elsewhere.receives("407").all("Proxy-Authenticate").len(), 2);
    }
    // There is no call that it could end, whoever sends it.
    elsewhere.sends(request("BYE", &format!("sip:bob@{DOMAIN}")));
    elsewhere.receives("481");
    bob.receives_nothing();
}

#[test]
fn who_is_no_user_of_ours_is_let_in_as_ever() {
    let (world, _alice, bob) = two_phones();
    let stranger = world.party("stranger");
    let sent = stranger.sends(invite("bob"));
    refuses(&bob);
    refused(&stranger, &sent, "486");
}

#[test]
fn a_peer_passes_on_what_our_users_call() {
    let (world, _alice, bob) = two_phones();
    let pbx = world.upstream();
    let from = format!("<sip:alice@{DOMAIN}>;tag=1");
    let sent = pbx.sends(invite("bob").with("From", &from));
    refuses(&bob);
    refused(&pbx, &sent, "486");
}

#[test]
fn a_call_for_help_is_never_asked_for_a_password() {
    let (world, _alice, _bob) = two_phones();
    let (elsewhere, pbx) = (world.party("alice"), world.upstream());
    let sent = elsewhere.sends(invite("urn:service:sos"));
    let invite = pbx.receives("INVITE");
    pbx.refuses(&invite, 486);
    refused(&elsewhere, &sent, "486");
}

#[test]
fn credentials_without_what_was_asked_for_are_a_bad_request() {
    let world = World::new(Setup::Users);
    let bob = world.party("bob");
    let asked = bob.sends(register("bob"));
    let challenge = bob.receives("401");
    let credentials = BOB.answers(challenge.all(AUTHENTICATE)[0], &asked);
    let without_qop = credentials.replace(" qop=auth,", "");
    let again = register("bob").with("Authorization", &without_qop);
    bob.sends(repeated(again, &asked));
    // S-172
    bob.receives("400");
}

#[test]
fn who_publishes_as_a_user_has_to_prove_it() {
    let (world, _alice, _bob) = two_phones();
    let elsewhere = world.party("elsewhere");
    let publish = request("PUBLISH", &format!("sip:bob@{DOMAIN}"))
        .with("Event", "presence")
        .with("From", &format!("<sip:alice@{DOMAIN}>;tag=elsewhere"));
    elsewhere.sends(publish);
    // S-158
    let challenge = elsewhere.receives("407");
    assert_eq!(part(challenge.all("Proxy-Authenticate")[0], "qop"), "auth");
}
