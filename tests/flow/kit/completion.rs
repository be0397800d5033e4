//! What ladders of completion have in common: a callee who is busy, and the ways to wait for him.
//!
//! Spec: RFC 6910 §6, §7; RFC 3725 §4.4 (flow IV).

use std::time::Duration;

use super::dialog::Dialog;
use super::draft::{ANSWER, Draft, OFFER, invite, request, response, within};
use super::message::{Message, uri_of};
use super::party::Party;
use super::scenes::{Call, call, hang_up, refused};
use super::subject::Setup;
use super::world::World;

/// How long the callee's free lines are left to himself.
pub(crate) const GUARD: Duration = Duration::from_secs(5);

/// How long a caller has to begin his CC call once he was told.
pub(crate) const RECALL: Duration = Duration::from_secs(20);

/// How long a caller's phone rings.
pub(crate) const RING: Duration = Duration::from_secs(15);

/// How long a caller who let a recall pass is left alone.
pub(crate) const REST: Duration = Duration::from_mins(1);

/// A time in which whatever is due would come.
pub(crate) const LONG: Duration = Duration::from_mins(5);

/// The least time by which a ladder tells one instant from another.
pub(crate) const MOMENT: Duration = Duration::from_millis(100);

/// A moment less than this.
pub(crate) fn just_before(time: Duration) -> Duration {
    time.saturating_sub(MOMENT)
}

/// Carol speaks with Bob, and Alice has called him in vain.
pub(crate) struct BobIsBusy {
    pub(crate) world: World,
    pub(crate) alice: Party,
    pub(crate) bob: Party,
    pub(crate) carol: Party,
    /// Carol's call.
    pub(crate) talk: Call,
    /// Alice's 486.
    pub(crate) busy: Message,
}

impl BobIsBusy {
    /// In a standalone campon.
    pub(crate) fn new() -> Self {
        Self::in_world(World::new(Setup::Standalone))
    }

    /// In a campon of this setup, which is standalone.
    pub(crate) fn with(setup: Setup) -> Self {
        Self::in_world(World::new(setup))
    }

    fn in_world(world: World) -> Self {
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.phone(name));
        let talk = call(&carol, &bob);
        let busy = finds_busy(&alice);
        world.advance(Duration::from_secs(1));
        Self {
            world,
            alice,
            bob,
            carol,
            talk,
            busy,
        }
    }

    /// The world, and Alice, Bob and Carol.
    pub(crate) fn parts(&self) -> (&World, [&Party; 3]) {
        (&self.world, self.phones())
    }

    /// Alice, Bob and Carol.
    pub(crate) fn phones(&self) -> [&Party; 3] {
        [&self.alice, &self.bob, &self.carol]
    }

    /// Carol and Bob have said all they had to say.
    #[track_caller]
    pub(crate) fn bob_hangs_up(&self) {
        hang_up(&self.carol, &self.talk.caller, &self.bob);
    }

    /// They talk once more, and nobody disturbs Bob in his guard time.
    #[track_caller]
    pub(crate) fn bob_talks_again(&self) {
        let talk = call(&self.carol, &self.bob);
        self.world.advance(GUARD);
        hang_up(&self.carol, &talk.caller, &self.bob);
        self.world.advance(GUARD);
    }

    /// They have said all they had to say, and nobody disturbs Bob in his guard time.
    #[track_caller]
    pub(crate) fn bob_is_free(&self) {
        self.bob_hangs_up();
        self.world.advance(GUARD);
    }

    /// Alice has asked, and answers her recall: her end of it, and the CC call that Bob gets.
    #[track_caller]
    pub(crate) fn alice_is_called_back(&self) -> (Dialog, Message) {
        dials(&self.alice, REQUEST_LAST);
        self.bob_is_free();
        let recall = recalled(&self.alice);
        let dialog = picks_up(&self.alice, &recall);
        (dialog, self.bob.receives("INVITE"))
    }
}

/// A call to Bob meets campon's 486.
#[track_caller]
pub(crate) fn finds_busy(caller: &Party) -> Message {
    let sent = caller.sends(invite("bob").with_sdp(OFFER));
    refused(caller, &sent, "486")
}

/// A code is answered, and ended by campon.
#[track_caller]
pub(crate) fn dials(caller: &Party, code: &str) {
    let sent = caller.sends(invite(code).with_sdp(OFFER));
    is_confirmed(caller, &sent);
}

/// The code that was dialled is answered, and ended by campon, whatever else comes.
#[track_caller]
pub(crate) fn is_confirmed(caller: &Party, code: &Message) {
    let [done] = caller.receives_each(["200"]);
    assert!(done.sdp().contains("a=inactive"), "{done}");
    caller.acks(code, &done);
    let [bye] = caller.receives_each(["BYE"]);
    caller.answers(&bye, 200);
}

/// A code is refused.
#[track_caller]
pub(crate) fn dials_in_vain(caller: &Party, code: &str, status: &str) -> Message {
    let sent = caller.sends(invite(code).with_sdp(OFFER));
    refused(caller, &sent, status)
}

/// Asks to be called back for the last call that failed.
pub(crate) const REQUEST_LAST: &str = "*37%23";

/// Takes the newest request back.
pub(crate) const CANCEL_LAST: &str = "%2337*%23";

/// Takes all requests back.
pub(crate) const CANCEL_ALL: &str = "%2337%23";

/// A SUBSCRIBE to this URI for an hour.
pub(crate) fn subscribe(subscriber: &Party, uri: &str) -> Draft {
    request("SUBSCRIBE", uri)
        .with("Event", "call-completion")
        .with("Accept", "application/call-completion")
        .with("Contact", &format!("<{}>", subscriber.uri()))
        .with("Expires", "3600")
}

/// The URI that a failed call's Call-Info offers.
pub(crate) fn offered_uri(failure: &Message) -> &str {
    uri_of(failure.header("Call-Info"))
}

/// A subscription that was accepted and has heard that it is queued.
pub(crate) struct Waiting {
    /// The SUBSCRIBE as it was sent.
    pub(crate) sent: Message,
    /// Its 200.
    pub(crate) accepted: Message,
    /// The first NOTIFY.
    pub(crate) queued: Message,
    /// The subscriber's end.
    pub(crate) dialog: Dialog,
}

/// Asks by SUBSCRIBE, with the offer of this failure.
#[track_caller]
pub(crate) fn subscribes(subscriber: &Party, failure: &Message) -> Waiting {
    waits(subscriber, subscribe(subscriber, offered_uri(failure)))
}

/// A SUBSCRIBE is accepted, and its first NOTIFY says that it is queued.
#[track_caller]
pub(crate) fn waits(subscriber: &Party, draft: Draft) -> Waiting {
    let sent = subscriber.sends(draft);
    let accepted = subscriber.receives("200");
    let queued = told(subscriber, "queued");
    let dialog = Dialog::of_caller(&sent, &accepted);
    Waiting {
        sent,
        accepted,
        queued,
        dialog,
    }
}

/// Ends a subscription.
pub(crate) fn unsubscribe(dialog: &Dialog) -> Draft {
    refresh(dialog, "0")
}

/// Refreshes a subscription for so many seconds.
pub(crate) fn refresh(dialog: &Dialog, expires_s: &str) -> Draft {
    within(dialog, "SUBSCRIBE")
        .with("Event", "call-completion")
        .with("Expires", expires_s)
}

/// A NOTIFY says this state, and is answered.
#[track_caller]
pub(crate) fn told(subscriber: &Party, state: &str) -> Message {
    let notify = subscriber.receives("NOTIFY");
    subscriber.answers(&notify, 200);
    assert_eq!(line(&notify, "cc-state"), state, "in\n{notify}");
    notify
}

/// The last NOTIFY says this reason, and is answered.
#[track_caller]
pub(crate) fn ended(subscriber: &Party, reason: &str) -> Message {
    let notify = told(subscriber, "queued");
    let state = notify.header("Subscription-State");
    assert_eq!(state, format!("terminated;reason={reason}"));
    notify
}

/// A line of the document in a NOTIFY.
#[track_caller]
pub(crate) fn line<'m>(notify: &'m Message, name: &str) -> &'m str {
    let start = format!("{name}:");
    let mut lines = notify.sdp().lines();
    let line = lines.find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no {name} in\n{notify}"))
        .trim()
}

/// Takes a subscription back.
#[track_caller]
pub(crate) fn leaves(subscriber: &Party, dialog: &Dialog) {
    subscriber.sends(unsubscribe(dialog));
    subscriber.receives("200");
    ended(subscriber, "timeout");
}

/// Whether a caller can be recalled, as his phone or his PBX publishes it.
pub(crate) fn publish(uri: &str, basic: &str) -> Draft {
    presence(request("PUBLISH", uri), basic)
}

/// The same within a subscription.
pub(crate) fn publish_within(dialog: &Dialog, basic: &str) -> Draft {
    presence(within(dialog, "PUBLISH"), basic)
}

fn presence(draft: Draft, basic: &str) -> Draft {
    let document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:alice@192.0.2.1\">\
         <tuple id=\"a\"><status><basic>{basic}</basic></status></tuple></presence>"
    );
    draft
        .with("Event", "presence")
        .with("Expires", "3600")
        .with_body("application/pidf+xml", document.as_bytes())
}

/// The caller's phone rings for a recall.
#[track_caller]
pub(crate) fn recalled(caller: &Party) -> Message {
    let recall = caller.receives("INVITE");
    let alert = recall.header("Alert-Info");
    assert_eq!(alert, "<urn:alert:service:recall:callback>");
    caller.answers(&recall, 180);
    recall
}

/// The caller answers his recall.
#[track_caller]
pub(crate) fn picks_up(caller: &Party, recall: &Message) -> Dialog {
    let answer = caller.sends(response(recall, 200).with_sdp(ANSWER));
    caller.receives("ACK");
    Dialog::of_callee(recall, &answer)
}

/// The callee answers the CC call of a recall, and the two talk: the caller's and the callee's end.
#[track_caller]
pub(crate) fn connects(caller: &Party, callee: &Party, cc_call: &Message) -> (Dialog, Dialog) {
    let answer = callee.sends(response(cc_call, 200).with_sdp(OFFER));
    let offer = caller.receives("INVITE");
    let taken = caller.sends(response(&offer, 200).with_sdp(ANSWER));
    caller.receives("ACK");
    callee.receives("ACK");
    (
        Dialog::of_callee(&offer, &taken),
        Dialog::of_callee(cc_call, &answer),
    )
}

/// The caller is recalled, his callee answers, and they talk and hang up.
#[track_caller]
pub(crate) fn talks_after_recall(caller: &Party, callee: &Party) {
    let recall = recalled(caller);
    picks_up(caller, &recall);
    let cc_call = callee.receives("INVITE");
    let (dialog, _) = connects(caller, callee, &cc_call);
    hang_up(caller, &dialog, callee);
}

/// A phone is called no more: it gets a CANCEL, and gives in. The Reason of the CANCEL.
#[track_caller]
pub(crate) fn stops_ringing(party: &Party, invite: &Message) -> String {
    let cancel = super::scenes::gives_in(party, invite);
    cancel.find("Reason").unwrap_or_default().to_owned()
}

/// The CC call of a phone that was told "ready": the URI that it was told, marked.
pub(crate) fn cc_call(ready: &Message) -> Draft {
    let uri = format!("{};m=BS", line(ready, "cc-URI"));
    request("INVITE", &uri).with_sdp(OFFER)
}

/// A call to this user is answered by this phone: the caller's end.
#[track_caller]
pub(crate) fn speaks_with(caller: &Party, user: &str, phone: &Party) -> Dialog {
    let sent = caller.sends(invite(user).with_sdp(OFFER));
    let rings = phone.receives("INVITE");
    let answer = phone.takes_call(&rings, caller, &sent);
    Dialog::of_caller(&sent, &answer)
}
