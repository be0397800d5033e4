//! What ladders of relayed subscriptions have in common.
//!
//! Spec: RFC 6665 §4.

use super::dialog::Dialog;
use super::draft::{Draft, request, response, within};
use super::message::Message;
use super::party::Party;
use super::subject::Setup;
use super::world::World;

/// Whom Alice watches, behind the PBX.
pub(crate) const CAROL: &str = "sip:carol@pbx.example";

/// A campon in front of a PBX, with a phone of Alice's.
pub(crate) fn phone_and_pbx() -> (World, Party, Party) {
    let world = World::new(Setup::Upstream);
    let (alice, pbx) = (world.phone("alice"), world.upstream());
    (world, alice, pbx)
}

/// A SUBSCRIBE to this event for an hour.
pub(crate) fn watch(subscriber: &Party, uri: &str, event: &str) -> Draft {
    request("SUBSCRIBE", uri)
        .with("Event", event)
        .with("Contact", &format!("<{}>", subscriber.uri()))
        .with("Expires", "3600")
}

/// A subscription that was accepted.
pub(crate) struct Watching {
    /// The SUBSCRIBE as it was sent.
    pub(crate) sent: Message,
    /// The SUBSCRIBE as the notifier got it.
    pub(crate) arrived: Message,
    /// The 200 as the subscriber got it.
    pub(crate) accepted: Message,
    /// The subscriber's end.
    pub(crate) near: Dialog,
    /// The notifier's.
    pub(crate) far: Dialog,
}

/// The answer that accepts a SUBSCRIBE for so many seconds.
pub(crate) fn accept(notifier: &Party, subscribe: &Message, expires_s: &str) -> Draft {
    response(subscribe, 200)
        .with("Expires", expires_s)
        .with("Contact", &format!("<{}>", notifier.uri()))
}

/// A SUBSCRIBE crosses and is accepted for an hour.
#[track_caller]
pub(crate) fn watches(subscriber: &Party, notifier: &Party, draft: Draft) -> Watching {
    let sent = subscriber.sends(draft);
    let arrived = notifier.receives("SUBSCRIBE");
    let answer = notifier.sends(accept(notifier, &arrived, "3600"));
    let accepted = subscriber.receives("200");
    Watching {
        near: Dialog::of_caller(&sent, &accepted),
        far: Dialog::of_callee(&arrived, &answer),
        sent,
        arrived,
        accepted,
    }
}

/// Alice watches the lines of Carol.
#[track_caller]
pub(crate) fn alice_watches_carol(alice: &Party, pbx: &Party) -> Watching {
    watches(alice, pbx, watch(alice, CAROL, "dialog"))
}

/// A NOTIFY that says how the subscription stands.
pub(crate) fn notify(notifier: &Party, dialog: &Dialog, state: &str) -> Draft {
    within(dialog, "NOTIFY")
        .with("Event", "dialog")
        .with("Subscription-State", state)
        .with("Contact", &format!("<{}>", notifier.uri()))
}

/// A NOTIFY crosses, and its answer comes back.
#[track_caller]
pub(crate) fn tells(notifier: &Party, draft: Draft, subscriber: &Party) -> Message {
    notifier.sends(draft);
    let told = subscriber.receives("NOTIFY");
    subscriber.answers(&told, 200);
    notifier.receives("200");
    told
}

/// The notifier says that it is over.
#[track_caller]
pub(crate) fn ends(notifier: &Party, dialog: &Dialog, subscriber: &Party) {
    let last = notify(notifier, dialog, "terminated;reason=noresource");
    tells(notifier, last, subscriber);
}
