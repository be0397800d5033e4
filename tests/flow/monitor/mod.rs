//! Our queues rule by rule: who gets a place, what he is told of it, and what he may say.
//!
//! Spec: RFC 6910 §7, §9; RFC 6665 §4.2; RFC 3903 §6.

mod behind;
mod news;
mod offers;
mod places;
mod publications;

use std::time::Duration;

use super::kit::dialog::Dialog;
use super::kit::draft::{ANSWER, Draft, OFFER, invite, request, response, within};
use super::kit::message::{Message, uri_of};
use super::kit::party::Party;
use super::kit::scenes::{Call, call, hang_up, refused};
use super::kit::subject::{DOMAIN, Setup};
use super::kit::world::World;

const SECOND: Duration = Duration::from_secs(1);

/// How long a callee who has hung up is left alone.
const GUARD: Duration = Duration::from_secs(5);

/// Longer than the time in which three NOTIFYs are too many.
const WINDOW: Duration = Duration::from_secs(11);

/// Bob and those who want to speak with him; Dave does.
struct Scene {
    world: World,
    alice: Party,
    bob: Party,
    carol: Party,
    dave: Party,
    talk: Call,
}

impl Scene {
    fn new() -> Self {
        let world = World::new(Setup::Standalone);
        let [alice, bob, carol, dave] = ["alice", "bob", "carol", "dave"].map(|n| world.phone(n));
        let talk = call(&dave, &bob);
        Self {
            world,
            alice,
            bob,
            carol,
            dave,
            talk,
        }
    }

    /// A caller finds Bob busy, and subscribes to what he is offered then.
    #[track_caller]
    fn place(&self, caller: &Party) -> Place {
        let queue = offered_to(caller);
        let place = Place::taken(caller, subscribe(caller, &queue));
        self.world.advance(WINDOW);
        place
    }

    /// Dave hangs up, and Bob is left alone for a while.
    #[track_caller]
    fn frees_bob(&self) {
        hang_up(&self.dave, &self.talk.caller, &self.bob);
        self.world.advance(GUARD);
    }
}

/// A place in Bob's queue, as its subscriber knows it.
struct Place {
    party: Party,
    dialog: Dialog,
    /// The 200 to the SUBSCRIBE.
    accepted: Message,
    /// The first NOTIFY.
    first: Message,
    /// What the NOTIFYs name it.
    cc_uri: String,
}

impl Place {
    #[track_caller]
    fn taken(party: &Party, draft: Draft) -> Self {
        let sent = party.sends(draft);
        let accepted = party.receives("200");
        let first = news(party);
        assert_eq!(said(&first), "active queued");
        Self {
            party: party.clone(),
            dialog: Dialog::of_caller(&sent, &accepted),
            accepted,
            cc_uri: line(&first, "cc-URI"),
            first,
        }
    }

    /// Asks for what is left of it, and gives the answer and the NOTIFY that follows.
    #[track_caller]
    fn refreshed(&self, expires: &str) -> (Message, Message) {
        self.party.sends(self.refresh(expires));
        (self.party.receives("200"), news(&self.party))
    }

    fn refresh(&self, expires: &str) -> Draft {
        within(&self.dialog, "SUBSCRIBE")
            .with("Event", "call-completion")
            .with("Expires", expires)
    }

    /// Gives it up.
    #[track_caller]
    fn left(&self) {
        let (answer, last) = self.refreshed("0");
        assert_eq!(answer.header("Expires"), "0");
        assert_eq!(said(&last), "terminated;reason=timeout queued");
    }

    /// Calls Bob, whose turn it is, and leaves it ringing.
    #[track_caller]
    fn rings(&self, bob: &Party) -> (Message, Message) {
        let uri = format!("{};m=BS", self.cc_uri);
        let sent = self.party.sends(request("INVITE", &uri).with_sdp(OFFER));
        let invite = bob.receives("INVITE");
        bob.answers(&invite, 180);
        self.party.receives("180");
        (sent, invite)
    }

    /// Bob answers: the place is used up, and the two speak.
    #[track_caller]
    fn answered(&self, bob: &Party, sent: &Message, invite: &Message) -> (Dialog, Message) {
        bob.sends(response(invite, 200).with_sdp(ANSWER));
        let answer = self.party.receives("200");
        let last = news(&self.party);
        self.party.acks(sent, &answer);
        bob.receives("ACK");
        (Dialog::of_caller(sent, &answer), last)
    }

    /// Calls Bob, talks, and hangs up.
    #[track_caller]
    fn talks(&self, bob: &Party) {
        let (sent, invite) = self.rings(bob);
        let (dialog, last) = self.answered(bob, &sent, &invite);
        assert_eq!(said(&last), "terminated;reason=noresource queued");
        hang_up(&self.party, &dialog, bob);
    }
}

/// Bob is busy: the URI that the refusal offers.
#[track_caller]
fn offered_to(caller: &Party) -> String {
    let sent = caller.sends(invite("bob").with_sdp(OFFER));
    let busy = refused(caller, &sent, "486");
    uri_of(busy.header("Call-Info")).to_owned()
}

/// Asks for a place, for an hour.
fn subscribe(caller: &Party, queue: &str) -> Draft {
    subscribe_for(caller, queue).with("Expires", "3600")
}

/// Asks for a place, and does not say for how long.
fn subscribe_for(caller: &Party, queue: &str) -> Draft {
    request("SUBSCRIBE", queue)
        .with("Event", "call-completion")
        .with("Contact", &format!("<{}>", caller.uri()))
}

/// Says whether a caller can be recalled.
fn publish(uri: &str, basic: &str) -> Draft {
    as_presence(request("PUBLISH", uri), basic)
}

fn as_presence(draft: Draft, basic: &str) -> Draft {
    let body = format!(
        "<?xml version=\"1.0\"?><presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
         entity=\"sip:alice@{DOMAIN}\"><tuple id=\"a\"><status><basic>{basic}</basic></status>\
         </tuple></presence>"
    );
    draft
        .with("Event", "presence")
        .with("Expires", "3000")
        .with_body("application/pidf+xml", body.as_bytes())
}

/// Takes a NOTIFY and answers it.
#[track_caller]
fn news(party: &Party) -> Message {
    let notify = party.receives("NOTIFY");
    party.answers(&notify, 200);
    notify
}

/// Waits for a NOTIFY, at most this long, and answers it.
#[track_caller]
fn news_within(party: &Party, time: Duration) -> Message {
    let notify = party.receives_within(time, "NOTIFY");
    party.answers(&notify, 200);
    notify
}

/// What a NOTIFY says: of the subscription, and of the place.
#[track_caller]
fn said(notify: &Message) -> String {
    let life = notify.header("Subscription-State");
    let life = life.split(";expires=").next().unwrap_or_default();
    format!("{life} {}", line(notify, "cc-state"))
}

/// A line of the document in a NOTIFY.
#[track_caller]
fn line(notify: &Message, name: &str) -> String {
    let body = String::from_utf8_lossy(notify.body()).into_owned();
    let start = format!("{name}: ");
    let mut found = body.lines().filter_map(|line| line.strip_prefix(&start));
    let value = found
        .next()
        .unwrap_or_else(|| panic!("no {name} in\n{notify}"));
    assert_eq!(found.next(), None, "{name} twice");
    value.to_owned()
}
