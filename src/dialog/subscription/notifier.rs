//! Our side of a subscription whose SUBSCRIBE came to us.
//!
//! Spec: RFC 6665 §4.2, §4.4.1; RFC 6910 §9.7, §9.8.

use std::net::SocketAddr;

use crate::dialog::identity::{Dialog, Order};
use crate::dialog::kept;
use crate::dialog::subscription::{Package, check_event};
use crate::dialog::tag::Tag;
use crate::dialog::turn::{NotSent, Turn};
use crate::sip::flow::Flow;
use crate::sip::{Event, EventReason, Method, Name, Params, Request, Status, Writer};
use crate::transaction::User;

/// The server of a subscription.
#[derive(Debug)]
pub struct Notifier {
    dialog: Dialog,
    package: Package,
    /// What stands behind the package in its Event and is said back in every NOTIFY: S-131, the `id`;
    /// of the dialog package all parameters, for phones that look for them.
    params: Option<Box<EventParams>>,
}

/// Most have none: a subscription takes no more room for those that have.
#[derive(Debug)]
struct EventParams(Box<[u8]>);

/// Longest parameters of an Event that are said back.
const PARAMS_MAX: usize = 128;

/// What a NOTIFY says.
#[derive(Clone, Copy, Debug)]
pub struct Notify<'n> {
    /// Subscription-State.
    pub standing: Standing,
    /// Our Contact.
    pub contact: &'n [u8],
    /// The media type of the body.
    pub content_type: &'n str,
    /// The body; an empty one has no Content-Type.
    pub body: &'n [u8],
}

/// Subscription-State, as we say it (S-123).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// `active`
    Active {
        /// What is left of the subscription.
        expires_s: u32,
    },
    /// `terminated`
    Terminated {
        /// Why.
        reason: EventReason,
    },
}

impl Notifier {
    /// The subscription to this package that this SUBSCRIBE asks for, with the tag that our answer
    /// will have; or the status that refuses it.
    pub fn new(
        subscribe: &Request<'_>,
        flow: &Flow,
        (package, tag): (Package, Tag),
    ) -> Result<Self, Status> {
        let event = Event::of(&subscribe.message).filter(|event| event.is(package.as_str()));
        let event = event.ok_or(Status::BAD_EVENT)?;
        let params = match package {
            Package::CallCompletion | Package::MessageSummary => id_of(&event),
            Package::Dialog => event.params.text().into(),
        };
        if params.len() > PARAMS_MAX {
            return Err(Status::BAD_EVENT);
        }
        let dialog = Dialog::of_server(subscribe, flow, tag);
        if !dialog.has_target() {
            return Err(Status::BAD_REQUEST);
        }
        Ok(Self {
            dialog,
            package,
            params: EventParams::new(&params),
        })
    }

    /// The one that [`Self::put`] wrote.
    pub fn take(from: &mut &[u8], listeners: &[SocketAddr]) -> Option<Self> {
        let package = match kept::take(from)? {
            [0] => Package::CallCompletion,
            [1] => Package::Dialog,
            [2] => Package::MessageSummary,
            _ => return None,
        };
        Some(Self {
            dialog: Dialog::take(from, listeners)?,
            package,
            params: EventParams::new(kept::take_text(from)?),
        })
    }

    /// Writes it for a later process, whose NOTIFYs go on after this number.
    pub fn put(&self, out: &mut Vec<u8>, listeners: &[SocketAddr], cseq: u32) {
        out.push(match self.package {
            Package::CallCompletion => 0,
            Package::Dialog => 1,
            Package::MessageSummary => 2,
        });
        self.dialog.put(out, listeners, cseq);
        kept::put_text(out, self.params());
    }

    /// Sends its NOTIFYs over the flow by which the SUBSCRIBE came, and no other.
    pub fn keep_to_flow(&mut self, flow: &Flow) {
        self.dialog.keep_to_flow(flow);
    }

    /// Sends its NOTIFYs to no other address than the one by which the SUBSCRIBE came.
    pub fn keep_to(&mut self, flow: &Flow) {
        self.dialog.keep_to(flow);
    }

    /// Its subscriber has moved: his requests come by this flow now.
    pub fn move_to(&mut self, flow: &Flow) {
        self.dialog.move_to(flow);
    }

    /// Whether this SUBSCRIBE, which knows no tag of ours, is the one that has made it.
    pub fn was_made_by(&self, request: &Request<'_>) -> bool {
        let remote_tag = request.from.tag().unwrap_or_default();
        let is_first = request.to.tag().is_none();
        is_first
            && self.dialog.call_id() == request.call_id
            && self.dialog.remote_tag() == remote_tag
    }

    /// Whether this request within the dialog is the last one that was heard in it.
    pub fn was_last(&self, request: &Request<'_>) -> bool {
        self.dialog.remote_cseq() == request.cseq.number
    }

    /// Goes on over the stream by which its subscriber has come back, if it had one that is gone.
    pub fn find_again(&mut self, flow: &Flow) {
        let before = self.dialog.flow();
        let is_lost = before.transport.is_reliable() && before.connection.is_none();
        let is_same = before.transport == flow.transport && before.remote.ip() == flow.remote.ip();
        if is_lost && is_same {
            self.dialog.move_to(flow);
        }
    }

    /// Takes a SUBSCRIBE within the dialog, or tells the status that refuses it.
    pub fn handle_subscribe(&mut self, subscribe: &Request<'_>) -> Result<(), Status> {
        let params = Params::parse(self.params()).ok();
        let id = params.and_then(|params| params.value("id"));
        check_event(&subscribe.message, self.package, id.unwrap_or_default())?;
        match self.dialog.order(subscribe.cseq.number) {
            Order::InOrder => self.dialog.refresh_target(&subscribe.message),
            // S-14: what is older than the last request was overtaken.
            Order::OutOfOrder => return Err(Status::SERVER_INTERNAL_ERROR),
        }
        Ok(())
    }

    /// Takes a request within the dialog that is no SUBSCRIBE, such as a PUBLISH, or tells the
    /// status that refuses it.
    pub fn handle_other(&mut self, request: &Request<'_>) -> Result<(), Status> {
        match self.dialog.order(request.cseq.number) {
            Order::InOrder => Ok(()),
            Order::OutOfOrder => Err(Status::SERVER_INTERNAL_ERROR),
        }
    }

    /// Sends a NOTIFY; those before it may still be unanswered.
    pub fn notify(
        &mut self,
        turn: &mut Turn<'_>,
        notify: &Notify<'_>,
        user: Option<User>,
    ) -> Result<(), NotSent> {
        let Self {
            dialog,
            package,
            params,
        } = self;
        let params: &[u8] = params.as_ref().map_or(&[], |params| &params.0);
        let write = |writer: &mut Writer<'_>| {
            writer.header(Name::Contact, notify.contact);
            writer.header_parts(Name::Event, &[package.as_str().as_bytes(), params]);
            write_standing(writer, notify.standing);
            if !notify.body.is_empty() {
                writer.header(Name::ContentType, notify.content_type.as_bytes());
            }
        };
        turn.send_within(dialog, (Method::Notify, user, None), write, notify.body)
    }

    /// Adds the fields of the 200 to a SUBSCRIBE.
    ///
    /// S-121: with the time granted. S-132: with all packages that there are.
    pub fn write_accepted(&self, writer: &mut Writer<'_>, contact: &[u8], expires_s: u32) {
        writer.header_fmt(Name::Expires, format_args!("{expires_s}"));
        writer.header(Name::Contact, contact);
        writer.header(Name::AllowEvents, self.package.all_with_it().as_bytes());
    }

    fn params(&self) -> &[u8] {
        self.params.as_ref().map_or(&[], |params| &params.0)
    }

    /// What it tells of.
    pub fn package(&self) -> Package {
        self.package
    }

    /// How many NOTIFYs were sent: the `version` of a document in the next one (RFC 4235 §4.1).
    pub fn version(&self) -> u32 {
        self.dialog.local_cseq()
    }

    /// Whom it tells of: the URI that was subscribed to.
    pub fn entity(&self) -> &[u8] {
        self.dialog.local_uri()
    }

    /// Whether a request is within this dialog.
    pub fn is(&self, request: &Request<'_>) -> bool {
        let tag = request.to.tag().and_then(Tag::parse);
        let remote_tag = request.from.tag().unwrap_or_default();
        tag.is_some_and(|tag| self.dialog.is(request.call_id, tag, remote_tag))
    }

    /// Its dialog.
    pub fn dialog(&self) -> &Dialog {
        &self.dialog
    }

    /// Our tag, for the answers to the SUBSCRIBE that made it.
    pub fn tag(&self) -> Tag {
        self.dialog.tag()
    }

    /// The number of the last NOTIFY; 0 before the first.
    pub fn cseq(&self) -> u32 {
        self.dialog.local_cseq()
    }

    /// The way of the next NOTIFY.
    pub fn flow(&self) -> Flow {
        self.dialog.flow()
    }
}

impl EventParams {
    fn new(params: &[u8]) -> Option<Box<Self>> {
        (!params.is_empty()).then(|| Box::new(Self(params.into())))
    }
}

fn id_of(event: &Event<'_>) -> Box<[u8]> {
    match event.id {
        Some(id) => [b";id=", id].concat().into(),
        None => Box::default(),
    }
}

fn write_standing(writer: &mut Writer<'_>, standing: Standing) {
    match standing {
        Standing::Active { expires_s } => writer.header_fmt(
            Name::SubscriptionState,
            format_args!("active;expires={expires_s}"),
        ),
        Standing::Terminated { reason } => {
            let parts = [b"terminated;reason=", reason.as_str().as_bytes()];
            writer.header_parts(Name::SubscriptionState, &parts)
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialog::kit::{Bench, Sent, USER, flow, param, request, tag, text};
    use crate::sip::SubscriptionState;

    const PACKAGE: Package = Package::CallCompletion;

    fn subscribe(to_tag: &str, number: u32, fields: &[&str]) -> Request<'static> {
        let to = format!("To: <sip:bob@b.example>{to_tag}");
        let number = format!("CSeq: {number} SUBSCRIBE");
        let mut lines = vec![
            "SUBSCRIBE sip:cc-1@127.0.0.1 SIP/2.0",
            "Via: SIP/2.0/UDP 127.0.0.9;branch=z9hG4bK1;rport",
            "From: \"Alice\" <sip:alice@a.example>;tag=a1",
            &to,
            "Call-ID: cc-1@a",
            &number,
        ];
        lines.extend(fields);
        request(&text(&lines))
    }

    const FIELDS: [&str; 2] = ["Event: call-completion", "Contact: <sip:alice@127.0.0.9>"];

    fn notifier() -> Notifier {
        Notifier::new(&subscribe("", 1, &FIELDS), &flow(), (PACKAGE, tag())).unwrap()
    }

    fn notify(notifier: &mut Notifier, standing: Standing, body: &[u8]) -> Sent {
        let mut bench = Bench::new();
        let notify = Notify {
            standing,
            contact: b"<sip:127.0.0.1:5060>",
            content_type: "application/call-completion",
            body,
        };
        notifier.notify(&mut bench.turn(), &notify, USER).unwrap();
        bench.sent()
    }

    const ACTIVE: Standing = Standing::Active { expires_s: 3600 };

    #[test]
    fn one_that_keeps_to_an_address_goes_to_another_port_of_it_at_most() {
        let contact = |uri: &str| format!("Contact: <{uri}>");
        let here = flow();
        let elsewhere = contact("sip:eve@192.0.2.66");
        let fields = ["Event: call-completion", &elsewhere];
        let mut notifier =
            Notifier::new(&subscribe("", 1, &fields), &here, (PACKAGE, tag())).unwrap();
        notifier.keep_to(&here);
        assert_eq!(notifier.flow(), here);

        let port = contact(&format!("sip:alice@{}:5099", here.remote.ip()));
        let fields = ["Event: call-completion", &port];
        let again = subscribe(&param(tag()), 2, &fields);
        notifier.handle_subscribe(&again).unwrap();
        assert_eq!(notifier.flow().remote.ip(), here.remote.ip());
        assert_eq!(notifier.flow().remote.port(), 5099);

        let fields = ["Event: call-completion", &elsewhere];
        let again = subscribe(&param(tag()), 3, &fields);
        notifier.handle_subscribe(&again).unwrap();
        assert_eq!(notifier.flow().remote.ip(), here.remote.ip());
    }

    #[test]
    fn a_notify_is_written_line_by_line() {
        let sent = notify(&mut notifier(), ACTIVE, b"cc-state: queued\r\n");
        let from = format!("From: <sip:bob@b.example>{}", param(tag()));
        let expected = [
            "NOTIFY sip:alice@127.0.0.9 SIP/2.0",
            "Max-Forwards: 70",
            &from,
            "To: \"Alice\" <sip:alice@a.example>;tag=a1",
            "Call-ID: cc-1@a",
            "CSeq: 1 NOTIFY",
            "Contact: <sip:127.0.0.1:5060>",
            "Event: call-completion",
            "Subscription-State: active;expires=3600", // S-123
            "Content-Type: application/call-completion",
            "Content-Length: 18",
            "",
            "cc-state: queued",
            "",
        ];
        assert_eq!(sent.lines(), expected);
        assert_eq!(sent.to, "127.0.0.9:5060");
    }

    #[test]
    fn the_last_notify_says_why_the_subscription_ended() {
        let reason = EventReason::Timeout;
        let sent = notify(&mut notifier(), Standing::Terminated { reason }, b"");
        let request = sent.request();
        let state = request.message.first(Name::SubscriptionState).unwrap();
        let state = SubscriptionState::parse(state).unwrap();
        assert_eq!(state.reason, Some(reason)); // S-123
        assert_eq!(state.expires_s, None);
        assert!(request.message.first(Name::ContentType).is_none());
        assert!(request.message.body().is_empty());
    }

    #[test]
    fn the_id_of_the_event_comes_back_in_every_notify() {
        let fields = ["o: call-completion;id=7", FIELDS[1]];
        let mut notifier =
            Notifier::new(&subscribe("", 1, &fields), &flow(), (PACKAGE, tag())).unwrap();
        for _ in 0..2 {
            let sent = notify(&mut notifier, ACTIVE, b"");
            assert_eq!(sent.value("Event"), "call-completion;id=7"); // S-131
        }
        // S-131
        let other = subscribe(&param(tag()), 2, &FIELDS);
        let refused = notifier.handle_subscribe(&other);
        assert_eq!(refused, Err(Status::CALL_DOES_NOT_EXIST));
    }

    #[test]
    fn notifys_that_are_not_answered_yet_are_numbered_in_their_order() {
        let mut notifier = notifier();
        let numbers = [1, 2, 3].map(|_| notify(&mut notifier, ACTIVE, b"").value("CSeq"));
        assert_eq!(numbers, ["1 NOTIFY", "2 NOTIFY", "3 NOTIFY"]); // S-14
    }

    #[test]
    fn a_notify_takes_the_route_that_the_subscribe_recorded() {
        let routes = "Record-Route: <sip:127.0.0.5;lr>, <sip:127.0.0.6;lr>";
        let fields = [FIELDS[0], FIELDS[1], routes];
        let mut notifier =
            Notifier::new(&subscribe("", 1, &fields), &flow(), (PACKAGE, tag())).unwrap();
        let sent = notify(&mut notifier, ACTIVE, b"");
        // S-13
        assert_eq!(sent.value("Route"), "<sip:127.0.0.5;lr>,<sip:127.0.0.6;lr>");
        assert_eq!(sent.to, "127.0.0.5:5060");
    }

    #[test]
    fn a_refresh_moves_the_target() {
        let mut notifier = notifier();
        let moved = [FIELDS[0], "Contact: <sip:alice@127.0.0.8:5070>"];
        let again = subscribe(&param(tag()), 2, &moved);
        assert!(notifier.is(&again));
        assert_eq!(notifier.handle_subscribe(&again), Ok(()));
        let sent = notify(&mut notifier, ACTIVE, b"");
        // S-16
        assert_eq!(sent.request().uri.text(), b"sip:alice@127.0.0.8:5070");
        assert_eq!(sent.to, "127.0.0.8:5070");
    }

    #[test]
    fn a_subscribe_that_was_overtaken_changes_nothing() {
        let mut notifier = notifier();
        let moved = [FIELDS[0], "Contact: <sip:alice@127.0.0.8:5070>"];
        assert_eq!(
            notifier.handle_subscribe(&subscribe(&param(tag()), 1, &moved)),
            Err(Status::SERVER_INTERNAL_ERROR) // S-14
        );
        assert_eq!(
            notifier.handle_other(&subscribe(&param(tag()), 1, &moved)),
            Err(Status::SERVER_INTERNAL_ERROR)
        );
        assert_eq!(
            notifier.handle_other(&subscribe(&param(tag()), 2, &moved)),
            Ok(())
        );
        let sent = notify(&mut notifier, ACTIVE, b"");
        assert_eq!(sent.to, "127.0.0.9:5060");
    }

    #[test]
    fn a_subscribe_to_another_package_or_without_contact_makes_nothing() {
        for (fields, status) in [
            (&["Event: presence", FIELDS[1]][..], Status::BAD_EVENT),
            (&[FIELDS[1]], Status::BAD_EVENT),
            (
                &["Event: call-completion", "Event: presence", FIELDS[1]],
                Status::BAD_EVENT,
            ),
            (&[FIELDS[0]], Status::BAD_REQUEST),
        ] {
            let refused = Notifier::new(&subscribe("", 1, fields), &flow(), (PACKAGE, tag()));
            assert_eq!(refused.err(), Some(status), "{fields:?}"); // S-120
        }
        let other = ["Event: presence", FIELDS[1]];
        let within = notifier().handle_subscribe(&subscribe(&param(tag()), 2, &other));
        assert_eq!(within, Err(Status::BAD_EVENT));
    }

    #[test]
    fn a_request_of_another_dialog_is_not_within_this_one() {
        let notifier = notifier();
        let other = Tag { nonce: 8, ..tag() };
        assert!(!notifier.is(&subscribe(&param(other), 2, &FIELDS)));
        assert!(!notifier.is(&subscribe(";tag=7", 2, &FIELDS)));
        assert!(!notifier.is(&subscribe("", 2, &FIELDS)));
    }

    #[test]
    fn the_answer_says_what_is_granted_and_which_packages_there_are() {
        let mut out = Vec::new();
        let mut writer = Writer::fragment(&mut out);
        notifier().write_accepted(&mut writer, b"<sip:127.0.0.1:5060>", 2700);
        writer.finish(b"").unwrap();
        let expected = "Expires: 2700\r\n\
            Contact: <sip:127.0.0.1:5060>\r\n\
            Allow-Events: call-completion\r\n\
            Content-Length: 0\r\n\r\n";
        assert_eq!(str::from_utf8(&out).unwrap(), expected); // S-121, S-132
    }

    #[test]
    fn a_notifier_takes_little_memory_besides_its_texts() {
        assert!(size_of::<Notifier>() <= 160, "{}", size_of::<Notifier>());
    }
}
