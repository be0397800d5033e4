//! Our side of the subscriptions that one SUBSCRIBE of ours made, one for each fork that took it.
//!
//! Spec: RFC 6665 §4.1, §4.4.1; RFC 6910 §6.2, §9.10.
//!
//! All of them have our tag and Call-ID; the first that answers is fork 0.

use std::net::SocketAddr;
use std::time::Duration;

use smallvec::SmallVec;

use crate::dialog::identity::{Dialog, Order, Reach};
use crate::dialog::kept;
use crate::dialog::subscription::{Fate, PACKAGE, Package, check_event};
use crate::dialog::tag::Tag;
use crate::dialog::turn::{Envelope, MAX_FORWARDS, NotSent, Turn};
use crate::sip::flow::Flow;
use crate::sip::{
    Item, Method, Name, Request, Response, Status, SubscriptionState, Writer, parse_u32,
};
use crate::time::Timestamp;
use crate::transaction::User;
use crate::transaction::fallback::Fallback;

/// Most dialogs that one SUBSCRIBE may make: more phones than one user has.
const FORKS_MAX: usize = 8;

/// The client of a subscription, and of those of its forks.
#[derive(Debug)]
pub struct Subscriber {
    usages: SmallVec<[Usage; 1]>,
    /// Timer N: until when another fork may make a dialog.
    forks_until: Timestamp,
    /// The number of the SUBSCRIBE that makes dialogs.
    opened: u32,
    package: Package,
    /// S-101: by which ways it went before, to servers that may have taken it all the same.
    before: SmallVec<[Flow; 0]>,
}

/// Names one of the dialogs that a SUBSCRIBE made.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Fork(pub u8);

/// A SUBSCRIBE out of any dialog.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The Request-URI.
    pub uri: &'a [u8],
    /// The way that it and all that follows goes.
    pub flow: Flow,
    /// Where else it goes when the server there fails it (S-101).
    pub others: Option<&'a Fallback>,
    /// CC-16: From, without a tag.
    pub from: &'a [u8],
    /// CC-17: To, without a tag.
    pub to: &'a [u8],
    /// What else it says of who asks; empty values are left out.
    pub said: &'a [(Name, &'a [u8])],
    /// What is asked for.
    pub terms: Terms<'a>,
    /// Timer N, 64*T1: how long forks may take to show themselves.
    pub forks_for: Duration,
}

/// What a SUBSCRIBE asks for.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// What is told of.
    pub package: Package,
    /// Our Contact.
    pub contact: &'a [u8],
    /// The media type that NOTIFYs may have.
    pub accept: &'a str,
    /// For how long; zero ends the subscription.
    pub expires_s: u32,
}

/// What an answer to a SUBSCRIBE of ours means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// 2xx.
    Accepted {
        /// Whose answer it is.
        fork: Fork,
        /// Whether it makes a dialog.
        origin: Origin,
        /// What is granted, if it says so.
        expires_s: Option<u32>,
    },
    /// A failure.
    Refused {
        /// Whose answer it is.
        fork: Fork,
        /// The status.
        status: Status,
        /// What it leaves of the subscription.
        fate: Fate,
    },
}

/// What a NOTIFY brings.
#[derive(Clone, Copy, Debug)]
pub struct Notified<'m> {
    /// Whose it is.
    pub fork: Fork,
    /// Whether it makes a dialog.
    pub origin: Origin,
    /// Its Subscription-State.
    pub state: SubscriptionState,
    /// Its Content-Type, if it can be read.
    pub content_type: Option<Item<'m>>,
    /// Its body.
    pub body: &'m [u8],
}

/// Where the dialog of a message comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// It was there.
    Known,
    /// The message made it, and it is the first.
    First,
    /// The message made it beside others: another fork.
    Forked,
}

#[derive(Debug)]
struct Usage {
    dialog: Dialog,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// Nobody has answered; the dialog is a half.
    Asked,
    Live,
    /// Its owner wants no more of it; kept so that it is not taken for a new fork.
    Forgotten,
}

impl Subscriber {
    /// Sends a SUBSCRIBE; our tag is the one that the first NOTIFY will name.
    pub fn subscribe(
        turn: &mut Turn<'_>,
        ask: &Ask<'_>,
        tag: Tag,
        user: Option<User>,
    ) -> Result<Self, NotSent> {
        let call_id = turn.call_id();
        let mut dialog = Dialog::of_opener(&call_id, ask.from, ask.to, tag, ask.flow);
        let number = dialog.next_cseq();
        let envelope = Envelope {
            method: Method::Subscribe,
            uri: ask.uri,
            flow: ask.flow,
            user,
            others: ask.others,
        };
        let write = |writer: &mut Writer<'_>| {
            dialog.write_fields(writer, Method::Subscribe, number, MAX_FORWARDS);
            if ask.terms.package == Package::CallCompletion {
                // CC-18: whoever can watch the callee is asked at once, not one after the other.
                writer.header(Name::RequestDisposition, b"parallel");
                // A mailbox or an attendant that says what it is has no lines to be watched.
                writer.header(Name::AcceptContact, b"*;actor=\"principal\";require");
            }
            for (name, value) in ask.said.iter().filter(|(_, value)| !value.is_empty()) {
                writer.header(*name, value);
            }
            ask.terms.write(writer);
        };
        turn.send(envelope, write, b"")?;
        let asked = Usage {
            dialog,
            stage: Stage::Asked,
        };
        Ok(Self {
            usages: SmallVec::from_iter([asked]),
            forks_until: turn.now + ask.forks_for,
            opened: number,
            package: ask.terms.package,
            before: SmallVec::new(),
        })
    }

    /// The one whose forks [`Self::put`] wrote, in this order; nobody else takes it up any more.
    pub fn of_forks(dialogs: impl IntoIterator<Item = Dialog>) -> Self {
        let stage = Stage::Live;
        let usages = dialogs.into_iter().map(|dialog| Usage { dialog, stage });
        Self {
            usages: usages.collect(),
            forks_until: Timestamp::START,
            opened: 0,
            package: Package::CallCompletion,
            before: SmallVec::new(),
        }
    }

    /// Writes a fork for a later process; whether it has a dialog yet.
    pub fn put(&self, out: &mut Vec<u8>, listeners: &[SocketAddr], fork: Fork) -> bool {
        let usage = self.usages.get(usize::from(fork.0));
        let Some(usage) = usage.filter(|usage| usage.stage == Stage::Live) else {
            return false;
        };
        let cseq = kept::reserved_from(usage.dialog.local_cseq());
        usage.dialog.put(out, listeners, cseq);
        true
    }

    /// The tag that all of them have; `None` if there are none.
    pub fn tag(&self) -> Option<Tag> {
        self.usages.first().map(|usage| usage.dialog.tag())
    }

    /// Refreshes a subscription, or with zero seconds ends it; its last NOTIFY follows. `others` names
    /// an account at most.
    pub fn refresh(
        &mut self,
        turn: &mut Turn<'_>,
        fork: Fork,
        terms: &Terms<'_>,
        (user, others): (Option<User>, Option<&Fallback>),
    ) -> Result<(), NotSent> {
        let dialog = self.dialog_mut(fork).ok_or(NotSent::NoDialog)?;
        let write = |writer: &mut Writer<'_>| terms.write(writer);
        let envelope = (Method::Subscribe, user, others);
        turn.send_within(dialog, envelope, write, b"")
    }

    /// The SUBSCRIBE that nobody has answered went on to another server; a dialog that a NOTIFY has
    /// made already stays where that came from.
    pub fn handle_moved(&mut self, flow: &Flow) {
        let first = self.usages.first_mut();
        if let Some(first) = first.filter(|first| first.stage == Stage::Asked) {
            self.before.push(first.dialog.flow());
            first.dialog.move_to(flow);
        }
    }

    /// A SUBSCRIBE was challenged and has gone again with credentials, under this number.
    pub fn handle_proven(&mut self, number: u32) {
        for usage in &mut self.usages {
            if usage.stage == Stage::Asked {
                self.opened = number;
            }
            usage.dialog.count_past(number);
        }
    }

    /// Takes an answer to a SUBSCRIBE; `None` if there is nothing to do.
    ///
    /// S-128: 202 is as good as 200.
    pub fn handle_response(&mut self, now: Timestamp, response: &Response<'_>) -> Option<Answer> {
        let status = response.status;
        if status.is_provisional() {
            return None;
        }
        let known = self.known(response.to.tag().unwrap_or_default());
        if status.is_success() {
            let (fork, origin) = self.on_success(now, known, response)?;
            let expires = response.message.first(Name::Expires);
            return Some(Answer::Accepted {
                fork,
                origin,
                expires_s: expires.and_then(parse_u32),
            });
        }
        let (fork, stage) = known.unwrap_or((Fork(0), self.usages.first()?.stage));
        let fate = match stage {
            // What was never granted is not there, whatever the status.
            Stage::Asked => Fate::Gone,
            Stage::Live => Fate::after(status),
            Stage::Forgotten => return None,
        };
        Some(Answer::Refused { fork, status, fate })
    }

    /// Takes a NOTIFY whose To has our tag and that came by this way, or tells the status that refuses
    /// it.
    pub fn handle_notify<'m>(
        &mut self,
        now: Timestamp,
        notify: &Request<'m>,
        flow: &Flow,
    ) -> Result<Notified<'m>, Status> {
        // S-126: who knows Call-ID and tag has our SUBSCRIBE.
        if !self.is_named_by(notify) {
            return Err(Status::CALL_DOES_NOT_EXIST);
        }
        check_event(&notify.message, self.package, b"")?;
        let state = notify.message.first(Name::SubscriptionState);
        // S-123
        let state = state.and_then(|value| SubscriptionState::parse(value).ok());
        let state = state.ok_or(Status::BAD_REQUEST)?;
        let (fork, origin) = self.on_notify(now, notify, flow)?;
        let content_type = notify.message.first(Name::ContentType);
        Ok(Notified {
            fork,
            origin,
            state,
            content_type: content_type.and_then(|value| Item::parse(value).ok()),
            body: notify.message.body(),
        })
    }

    /// Wants no more of a fork: its later NOTIFYs get 481.
    ///
    /// A SUBSCRIBE that is forgotten before anybody answered makes no dialog any more.
    pub fn forget(&mut self, fork: Fork) {
        let Some(usage) = self.usages.get_mut(usize::from(fork.0)) else {
            return;
        };
        if usage.stage == Stage::Asked {
            self.forks_until = Timestamp::START;
        }
        usage.stage = Stage::Forgotten;
    }

    /// The dialog of a fork, for other requests within it; `None` before its first answer and
    /// after [`Self::forget`].
    pub fn dialog_mut(&mut self, fork: Fork) -> Option<&mut Dialog> {
        let usage = self.usages.get_mut(usize::from(fork.0))?;
        (usage.stage == Stage::Live).then_some(&mut usage.dialog)
    }

    /// The forks that there are, forgotten ones as well.
    pub fn forks(&self) -> impl Iterator<Item = Fork> + use<> {
        let count = u8::try_from(self.usages.len()).unwrap_or(u8::MAX);
        (0..count).map(Fork)
    }

    /// The way that its requests go; of several forks, those of the first.
    pub fn flow(&self) -> Option<Flow> {
        self.usages.first().map(|usage| usage.dialog.flow())
    }

    /// The dialog of a fork; of one that nobody has answered, our half.
    pub fn dialog(&self, fork: Fork) -> Option<&Dialog> {
        let usage = self.usages.get(usize::from(fork.0));
        usage.map(|usage| &usage.dialog)
    }

    /// Whether every fork is forgotten, so that this can go.
    pub fn is_over(&self) -> bool {
        let mut usages = self.usages.iter();
        usages.all(|usage| usage.stage == Stage::Forgotten)
    }

    fn on_success(
        &mut self,
        now: Timestamp,
        known: Option<(Fork, Stage)>,
        response: &Response<'_>,
    ) -> Option<(Fork, Origin)> {
        match known {
            Some((_, Stage::Forgotten)) => None,
            Some((fork, Stage::Live)) => {
                // S-16
                self.dialog_mut(fork)?.refresh_target(&response.message);
                Some((fork, Origin::Known))
            }
            None if response.cseq.number != self.opened => None,
            Some((_, Stage::Asked)) | None => {
                let half = self.usages.first()?.dialog.half();
                let dialog = half.answered(response, &half.flow(), Reach::Flow);
                if dialog.remote_tag().is_empty() || !dialog.has_target() {
                    // Its NOTIFY has to say who the peer is.
                    return Some((Fork(0), Origin::Known));
                }
                self.add(now, dialog)
            }
        }
    }

    fn on_notify(
        &mut self,
        now: Timestamp,
        notify: &Request<'_>,
        flow: &Flow,
    ) -> Result<(Fork, Origin), Status> {
        let unknown = Status::CALL_DOES_NOT_EXIST;
        let remote_tag = notify.from.tag().unwrap_or_default();
        match self.known(remote_tag) {
            Some((_, Stage::Forgotten)) => Err(unknown),
            Some((fork, Stage::Live)) => {
                let dialog = self.dialog_mut(fork).ok_or(unknown)?;
                if dialog.order(notify.cseq.number) == Order::OutOfOrder {
                    // S-14: what is older than the last NOTIFY was overtaken.
                    return Err(Status::SERVER_INTERNAL_ERROR);
                }
                dialog.refresh_target(&notify.message);
                Ok((fork, Origin::Known))
            }
            Some((_, Stage::Asked)) | None => {
                let first = self.usages.first().ok_or(unknown)?;
                let mut dialog = first.dialog.notified(notify);
                // S-101: a server that was given up tells late, and the dialog is with it.
                let is_from = |way: &&Flow| way.remote.ip() == flow.remote.ip();
                if let Some(way) = self.before.iter().find(is_from)
                    && !is_from(&&dialog.flow())
                {
                    dialog.move_to(way);
                }
                if remote_tag.is_empty() || !dialog.has_target() {
                    return Err(Status::BAD_REQUEST);
                }
                self.add(now, dialog).ok_or(unknown)
            }
        }
    }

    /// S-129: whoever answers first makes the first dialog, and others make theirs within timer N.
    fn add(&mut self, now: Timestamp, dialog: Dialog) -> Option<(Fork, Origin)> {
        let stage = Stage::Live;
        let count = self.usages.len();
        let first = self.usages.first_mut()?;
        if first.stage == Stage::Asked {
            *first = Usage { dialog, stage };
            return Some((Fork(0), Origin::First));
        }
        if count >= FORKS_MAX || now > self.forks_until {
            return None;
        }
        self.usages.push(Usage { dialog, stage });
        let fork = u8::try_from(count).ok().map(Fork)?;
        Some((fork, Origin::Forked))
    }

    /// The fork whose peer has this tag, and how far it is.
    fn known(&self, remote_tag: &[u8]) -> Option<(Fork, Stage)> {
        let forks = (0..).map(Fork).zip(&self.usages);
        let mut named = forks.filter(|(_, usage)| usage.dialog.remote_tag() == remote_tag);
        named.next().map(|(fork, usage)| (fork, usage.stage))
    }

    /// Whether a request names our SUBSCRIBE: by Call-ID and tag (S-126).
    pub fn is_named_by(&self, notify: &Request<'_>) -> bool {
        let tag = notify.to.tag().and_then(Tag::parse);
        self.usages.first().is_some_and(|first| {
            tag == Some(first.dialog.tag()) && first.dialog.call_id() == notify.call_id
        })
    }
}

impl Terms<'_> {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.header(Name::Event, self.package.as_str().as_bytes());
        writer.header(Name::Accept, self.accept.as_bytes());
        writer.header_fmt(Name::Expires, format_args!("{}", self.expires_s));
        writer.header(Name::Contact, self.contact);
        // S-132: whoever makes a dialog says which packages it has.
        writer.header(Name::AllowEvents, PACKAGE.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialog::kit::{Bench, PEER, Sent, USER, flow, param, request, response, tag, text};
    use crate::sip::{EventReason, Substate};

    const TIMER_N: Duration = Duration::from_secs(32);

    const TERMS: Terms<'_> = Terms {
        package: Package::CallCompletion,
        contact: b"<sip:127.0.0.1:5060>",
        accept: "application/call-completion",
        expires_s: 3600,
    };

    /// A SUBSCRIBE that was sent, and what its peers say.
    struct Scene {
        bench: Bench,
        subscriber: Subscriber,
        call_id: String,
    }

    fn ask() -> Ask<'static> {
        Ask {
            uri: b"sip:cc-1@127.0.0.9;m=BS",
            flow: flow(),
            others: None,
            from: b"\"Alice\" <sip:alice@a.example>",
            to: b"<sip:bob@b.example>",
            said: &[],
            terms: TERMS,
            forks_for: TIMER_N,
        }
    }

    impl Scene {
        fn new() -> Self {
            let (scene, _) = Self::asked();
            scene
        }

        fn asked() -> (Self, Sent) {
            let mut bench = Bench::new();
            let asked = Subscriber::subscribe(&mut bench.turn(), &ask(), tag(), USER);
            let sent = bench.sent();
            let scene = Self {
                bench,
                subscriber: asked.unwrap(),
                call_id: sent.value("Call-ID"),
            };
            (scene, sent)
        }

        fn answer(&mut self, status: &str, peer: &str, fields: &[&str]) -> Option<Answer> {
            self.answer_to(1, status, peer, fields)
        }

        fn answer_to(
            &mut self,
            number: u32,
            status: &str,
            peer: &str,
            fields: &[&str],
        ) -> Option<Answer> {
            let mut lines = vec![
                format!("SIP/2.0 {status}"),
                "Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK1".to_owned(),
                format!("From: \"Alice\" <sip:alice@a.example>{}", param(tag())),
                format!("To: <sip:bob@b.example>{peer}"),
                format!("Call-ID: {}", self.call_id),
                format!("CSeq: {number} SUBSCRIBE"),
            ];
            lines.extend(fields.iter().map(|field| (*field).to_owned()));
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let response = response(&text(&lines));
            self.subscriber.handle_response(self.bench.now, &response)
        }

        fn accepted(&mut self, peer: &str) -> Option<Answer> {
            let contact = format!("Contact: <sip:monitor@127.0.0.9;p={}>", &peer[5..]);
            self.answer("200 OK", peer, &[&contact, "Expires: 3600"])
        }

        fn notify_text(&self, peer: &str, number: u32, fields: &[&str]) -> String {
            let from = format!("From: <sip:bob@b.example>{peer}");
            let to = format!("To: <sip:alice@a.example>{}", param(tag()));
            let call_id = format!("Call-ID: {}", self.call_id);
            let number = format!("CSeq: {number} NOTIFY");
            let mut lines = vec![
                "NOTIFY sip:127.0.0.1:5060 SIP/2.0",
                "Via: SIP/2.0/UDP 127.0.0.9;branch=z9hG4bK2;rport",
                &from,
                &to,
                &call_id,
                &number,
            ];
            lines.extend(fields);
            text(&lines)
        }

        fn late_notify_of(&mut self, text: &str, from: &Flow) -> Result<(Fork, Origin), Status> {
            let notify = request(text);
            let notified = self
                .subscriber
                .handle_notify(self.bench.now, &notify, from)?;
            Ok((notified.fork, notified.origin))
        }

        fn notify_of(&mut self, text: &str) -> Result<(Fork, Origin), Status> {
            let notify = request(text);
            let notified = self
                .subscriber
                .handle_notify(self.bench.now, &notify, &flow());
            notified.map(|notified| (notified.fork, notified.origin))
        }

        fn notify(&mut self, peer: &str, number: u32) -> Result<(Fork, Origin), Status> {
            self.notify_of(&self.notify_text(peer, number, &FIELDS))
        }

        fn unsubscribe(&mut self, fork: Fork) -> Result<Sent, NotSent> {
            let terms = Terms {
                expires_s: 0,
                ..TERMS
            };
            let turn = &mut self.bench.turn();
            self.subscriber.refresh(turn, fork, &terms, (USER, None))?;
            Ok(self.bench.sent())
        }
    }

    const FIELDS: [&str; 3] = [
        "Event: call-completion",
        "Subscription-State: active;expires=3600",
        "Contact: <sip:monitor@127.0.0.9>",
    ];

    const ONE: &str = ";tag=one";
    const TWO: &str = ";tag=two";
    const GONE: Status = Status::CALL_DOES_NOT_EXIST;

    fn accepted(fork: Fork, origin: Origin) -> Answer {
        Answer::Accepted {
            fork,
            origin,
            expires_s: Some(3600),
        }
    }

    #[test]
    fn a_subscribe_is_written_line_by_line() {
        let (scene, sent) = Scene::asked();
        let from = format!("From: \"Alice\" <sip:alice@a.example>{}", param(tag()));
        let call_id = format!("Call-ID: {}", scene.call_id);
        let expected = [
            "SUBSCRIBE sip:cc-1@127.0.0.9;m=BS SIP/2.0",
            "Max-Forwards: 70",
            &from,                     // CC-16
            "To: <sip:bob@b.example>", // CC-17
            &call_id,
            "CSeq: 1 SUBSCRIBE",
            "Request-Disposition: parallel",                 // CC-18
            "Accept-Contact: *;actor=\"principal\";require", // CC-18
            "Event: call-completion",
            "Accept: application/call-completion",
            "Expires: 3600",
            "Contact: <sip:127.0.0.1:5060>",
            "Allow-Events: call-completion",
            "Content-Length: 0",
            "",
            "",
        ];
        assert_eq!(sent.lines(), expected);
        assert_eq!(sent.to, PEER);
        assert_eq!(scene.call_id.len(), 32);
    }

    #[test]
    fn an_answer_makes_the_dialog_in_which_it_is_unsubscribed() {
        let mut scene = Scene::new();
        assert_eq!(scene.unsubscribe(Fork(0)).err(), Some(NotSent::NoDialog));
        assert_eq!(scene.answer("100 Trying", ONE, &[]), None);
        let fields = [
            "Contact: <sip:monitor@127.0.0.77:5090>",
            "Record-Route: <sip:127.0.0.6;lr>, <sip:127.0.0.5;lr>",
            "Expires: 3600",
        ];
        let answer = scene.answer("200 OK", ONE, &fields);
        assert_eq!(answer, Some(accepted(Fork(0), Origin::First)));
        let sent = scene.unsubscribe(Fork(0)).unwrap();
        let request = sent.request();
        assert_eq!(request.uri.text(), b"sip:monitor@127.0.0.77:5090");
        assert_eq!(request.to.tag(), Some(&b"one"[..]));
        assert_eq!(sent.value("CSeq"), "2 SUBSCRIBE"); // S-14
        assert_eq!(sent.value("Expires"), "0");
        assert_eq!(sent.value("Event"), "call-completion");
        // S-13
        let routes = "<sip:127.0.0.5;lr>,<sip:127.0.0.6;lr>";
        assert_eq!(sent.value("Route"), routes);
        assert_eq!(sent.to, PEER, "the way of the first one");
    }

    #[test]
    fn a_202_is_as_good_as_a_200() {
        let mut scene = Scene::new();
        let fields = ["Contact: <sip:monitor@127.0.0.9>", "Expires: 3600"];
        let answer = scene.answer("202 Accepted", ONE, &fields);
        assert_eq!(answer, Some(accepted(Fork(0), Origin::First))); // S-128
        assert!(scene.unsubscribe(Fork(0)).is_ok());
    }

    #[test]
    fn a_notify_before_the_answer_makes_the_dialog() {
        let mut scene = Scene::new();
        let routes = "Record-Route: <sip:127.0.0.5;lr>, <sip:127.0.0.6;lr>";
        let fields = [FIELDS[0], FIELDS[1], FIELDS[2], routes];
        let notify = scene.notify_text(ONE, 5, &fields);
        // S-129
        assert_eq!(scene.notify_of(&notify), Ok((Fork(0), Origin::First)));
        assert_eq!(scene.accepted(ONE), Some(accepted(Fork(0), Origin::Known)));
        let sent = scene.unsubscribe(Fork(0)).unwrap();
        assert_eq!(sent.request().to.tag(), Some(&b"one"[..]));
        assert_eq!(sent.request().uri.text(), b"sip:monitor@127.0.0.9;p=one"); // S-16
        assert_eq!(sent.value("Route"), routes[14..].replace(", ", ","));
        assert_eq!(sent.value("CSeq"), "2 SUBSCRIBE");
    }

    #[test]
    fn each_fork_that_notifies_has_a_dialog_of_its_own() {
        let mut scene = Scene::new();
        assert_eq!(scene.accepted(ONE), Some(accepted(Fork(0), Origin::First)));
        // S-129
        assert_eq!(scene.notify(TWO, 9), Ok((Fork(1), Origin::Forked)));
        assert_eq!(scene.notify(ONE, 1), Ok((Fork(0), Origin::Known)));
        assert_eq!(scene.notify(TWO, 10), Ok((Fork(1), Origin::Known)));
        let sent = scene.unsubscribe(Fork(1)).unwrap();
        assert_eq!(sent.request().to.tag(), Some(&b"two"[..]));
        assert_eq!(scene.unsubscribe(Fork(2)).err(), Some(NotSent::NoDialog));
    }

    #[test]
    fn an_answer_of_another_fork_than_the_first_notify_makes_a_second_dialog() {
        let mut scene = Scene::new();
        assert_eq!(scene.notify(ONE, 70), Ok((Fork(0), Origin::First)));
        assert_eq!(scene.accepted(TWO), Some(accepted(Fork(1), Origin::Forked))); // S-129
        assert_eq!(scene.notify(TWO, 1), Ok((Fork(1), Origin::Known)));
    }

    #[test]
    fn forks_come_within_timer_n_and_there_are_not_many_of_them() {
        let mut scene = Scene::new();
        for fork in 0..8 {
            let origin = if fork == 0 {
                Origin::First
            } else {
                Origin::Forked
            };
            let made = scene.notify(&format!(";tag={fork}"), 1);
            assert_eq!(made, Ok((Fork(fork), origin)));
        }
        assert_eq!(scene.notify(TWO, 1), Err(GONE));

        let mut scene = Scene::new();
        scene.bench.now = Timestamp::START + TIMER_N + Duration::from_millis(1);
        // The first is waited for by the owner, who forgets it in time.
        assert_eq!(scene.notify(ONE, 1), Ok((Fork(0), Origin::First)));
        assert_eq!(scene.notify(TWO, 1), Err(GONE)); // S-129
    }

    #[test]
    fn a_notify_that_was_overtaken_is_refused() {
        let mut scene = Scene::new();
        assert_eq!(scene.notify(ONE, 2), Ok((Fork(0), Origin::First)));
        let overtaken = Err(Status::SERVER_INTERNAL_ERROR);
        assert_eq!(scene.notify(ONE, 1), overtaken); // S-14
        assert_eq!(scene.notify(ONE, 2), overtaken);
        assert_eq!(scene.notify(ONE, 4), Ok((Fork(0), Origin::Known)));
    }

    #[test]
    fn a_notify_of_nothing_that_we_asked_for_is_refused() {
        let mut scene = Scene::new();
        let good = scene.notify_text(ONE, 1, &FIELDS);
        let other_tag = Tag { nonce: 1, ..tag() };
        for (from, to, status) in [
            (param(tag()), param(other_tag), GONE),
            (param(tag()), String::new(), GONE),
            (
                format!("Call-ID: {}", scene.call_id),
                "Call-ID: x".into(),
                GONE,
            ),
            (FIELDS[0].into(), "Event: call-completion;id=1".into(), GONE),
            (FIELDS[0].into(), "Event: refer".into(), Status::BAD_EVENT),
            (FIELDS[1].into(), "X: y".into(), Status::BAD_REQUEST),
            (FIELDS[2].into(), "X: y".into(), Status::BAD_REQUEST),
            (ONE.into(), String::new(), Status::BAD_REQUEST),
        ] {
            assert!(good.contains(&from), "{from}");
            let bad = good.replace(&from, &to);
            assert_eq!(scene.notify_of(&bad), Err(status), "{to}"); // S-126
        }
        // S-126
        assert_eq!(scene.notify_of(&good), Ok((Fork(0), Origin::First)));
    }

    #[test]
    fn what_a_notify_says_is_read() {
        let mut scene = Scene::new();
        let fields = [
            FIELDS[0],
            FIELDS[2],
            "Subscription-State: Terminated;reason=noresource",
            "c: Application/Call-Completion",
        ];
        let text = scene.notify_text(ONE, 1, &fields) + "cc-state: queued\r\n";
        let notify = request(&text);
        let now = scene.bench.now;
        let notified = scene
            .subscriber
            .handle_notify(now, &notify, &flow())
            .unwrap();
        assert_eq!(notified.state.substate, Substate::Terminated);
        assert_eq!(notified.state.reason, Some(EventReason::NoResource));
        assert!(notified.content_type.unwrap().is(TERMS.accept));
        assert_eq!(notified.body, b"cc-state: queued\r\n");
    }

    #[test]
    fn a_fork_that_is_forgotten_stays_so() {
        let mut scene = Scene::new();
        scene.accepted(ONE);
        scene.notify(TWO, 1).unwrap();
        scene.subscriber.forget(Fork(0));
        // S-126
        assert_eq!(scene.notify(ONE, 1), Err(GONE));
        assert_eq!(scene.accepted(ONE), None);
        assert_eq!(scene.unsubscribe(Fork(0)).err(), Some(NotSent::NoDialog));
        assert_eq!(scene.notify(TWO, 2), Ok((Fork(1), Origin::Known)));
        assert!(!scene.subscriber.is_over());
        scene.subscriber.forget(Fork(1));
        assert!(scene.subscriber.is_over());
    }

    #[test]
    fn a_subscribe_that_is_given_up_makes_no_dialog_any_more() {
        let mut scene = Scene::new();
        scene.bench.now = Timestamp::START + Duration::from_secs(1);
        scene.subscriber.forget(Fork(0));
        assert!(scene.subscriber.is_over());
        // CC-76
        assert_eq!(scene.notify(ONE, 1), Err(GONE));
        assert_eq!(scene.accepted(ONE), None);
    }

    #[test]
    fn a_refused_subscribe_made_nothing_and_a_refused_refresh_may_leave_it() {
        let refused = |status: u16, fate| {
            Some(Answer::Refused {
                fork: Fork(0),
                status: Status::new(status).unwrap(),
                fate,
            })
        };
        for (line, status) in [("403 Forbidden", 403), ("500 Oops", 500)] {
            for peer in [ONE, ""] {
                let answer = Scene::new().answer(line, peer, &[]);
                assert_eq!(answer, refused(status, Fate::Gone));
            }
        }
        let mut scene = Scene::new();
        scene.accepted(ONE);
        scene.unsubscribe(Fork(0)).unwrap();
        let answer = scene.answer_to(2, "500 Oops", ONE, &[]);
        assert_eq!(answer, refused(500, Fate::Kept)); // S-125
        let answer = scene.answer_to(2, "481 Gone", ONE, &[]);
        assert_eq!(answer, refused(481, Fate::Gone)); // S-125
    }

    #[test]
    fn an_answer_without_contact_waits_for_its_notify() {
        let mut scene = Scene::new();
        let answer = scene.answer("200 OK", ONE, &["Expires: 3600"]);
        assert_eq!(answer, Some(accepted(Fork(0), Origin::Known)));
        assert_eq!(scene.unsubscribe(Fork(0)).err(), Some(NotSent::NoDialog));
        assert_eq!(scene.notify(ONE, 1), Ok((Fork(0), Origin::First))); // S-129
    }

    #[test]
    fn an_answer_to_a_refresh_makes_no_dialog() {
        let mut scene = Scene::new();
        scene.accepted(ONE);
        let fields = ["Contact: <sip:x@127.0.0.9>", "Expires: 3600"];
        assert_eq!(scene.answer_to(2, "200 OK", TWO, &fields), None);
        let answer = scene.answer_to(2, "200 OK", ONE, &fields);
        assert_eq!(answer, Some(accepted(Fork(0), Origin::Known)));
        let sent = scene.unsubscribe(Fork(0)).unwrap();
        assert_eq!(sent.request().uri.text(), b"sip:x@127.0.0.9"); // S-16
    }

    /// S-101: the first server had taken the SUBSCRIBE after all, and tells when the second was asked.
    #[test]
    fn a_server_that_was_given_up_and_tells_all_the_same_is_asked_from_then_on() {
        let first = flow();
        let second = Flow {
            remote: "127.0.0.10:5060".parse().unwrap(),
            ..first
        };
        for (from, expected) in [(first, first), (second, second)] {
            let mut scene = Scene::new();
            scene.subscriber.handle_moved(&second);
            let contact = "Contact: <sip:monitor@127.0.0.77>";
            let state = "Subscription-State: active;expires=60";
            let event = "Event: call-completion";
            let text = scene.notify_text(ONE, 1, &[event, state, contact]);
            let told = scene.late_notify_of(&text, &from);
            assert_eq!(told, Ok((Fork(0), Origin::First)));
            assert_eq!(scene.subscriber.flow(), Some(expected)); // S-101
        }
    }

    #[test]
    fn what_would_break_a_message_is_not_sent() {
        let mut bench = Bench::new();
        let good = ask();
        for bad in [
            Ask {
                uri: b"sip:a@h SIP/2.0\r\nX: y",
                ..good
            },
            Ask { uri: b"", ..good },
            Ask {
                from: b"<sip:a@h>\r\nX: y",
                ..good
            },
        ] {
            let refused = Subscriber::subscribe(&mut bench.turn(), &bad, tag(), USER);
            assert_eq!(refused.err(), Some(NotSent::Malformed));
        }
    }

    #[test]
    fn a_subscriber_takes_little_memory_besides_its_texts() {
        assert!(
            size_of::<Subscriber>() <= 192,
            "{}",
            size_of::<Subscriber>()
        );
    }
}
