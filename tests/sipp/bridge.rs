//! A call through campon: what its caller and its callee saw, and what must be true of every call.
//!
//! Spec: RFC 3261 §8.1.1, §8.2.6, §12.2, §17.1.1.3; RFC 7092 §3; RFC 7332 §5.

use std::collections::BTreeSet;

use crate::message::{Message, name_addr, uri};
use crate::trace::Trace;

/// The traces of the two ends of one call.
pub struct Bridge {
    pub caller: Trace,
    pub callee: Trace,
}

impl Bridge {
    /// Takes the traces of a caller and a callee, in this order.
    pub fn of(traces: Vec<Trace>) -> Self {
        let mut traces = traces.into_iter();
        let caller = traces.next().expect("the caller's trace");
        Self::new(caller, traces.next().expect("the callee's trace"))
    }

    /// Takes the traces of two phones; what the callee said outside the call is left out.
    pub fn new(caller: Trace, mut callee: Trace) -> Self {
        let invite = callee.received().find(|one| one.method() == "INVITE");
        let call_id = invite
            .expect("an INVITE at the callee")
            .call_id()
            .to_owned();
        let inside = |one: &Message| one.call_id() == call_id;
        callee.all.retain(|logged| inside(&logged.message));
        Self { caller, callee }
    }

    /// The INVITE that the caller sent first.
    pub fn invite_in(&self) -> &Message {
        first_invite(self.caller.sent())
    }

    /// The INVITE that the callee received first.
    pub fn invite_out(&self) -> &Message {
        first_invite(self.callee.received())
    }

    /// All that holds for any call, whatever its flow.
    pub fn assert_sound(&self) {
        self.assert_legs_are_apart();
        self.assert_names_are_kept();
        self.assert_hops_are_counted();
        self.assert_callers_bodies_cross();
        for trace in [&self.caller, &self.callee] {
            assert_one_dialog(trace);
            assert_answers_match(trace);
            assert_requests_follow(trace);
            trace.received().for_each(assert_framed);
        }
    }

    /// Nothing that names one leg's dialog, transactions or place shows on the other leg.
    fn assert_legs_are_apart(&self) {
        let shared = |of: fn(&Message) -> Vec<String>| {
            let caller = values(&self.caller, of);
            let callee = values(&self.callee, of);
            caller.intersection(&callee).cloned().collect::<Vec<_>>()
        };
        let none: [String; 0] = [];
        assert_eq!(
            shared(|one| vec![one.call_id().to_owned()]),
            none,
            "Call-ID"
        );
        assert_eq!(shared(|one| vec![one.branch().to_owned()]), none, "branch");
        assert_eq!(shared(|one| texts(one.headers("Via"))), none, "Via");
        let tags =
            |one: &Message| texts([one.tag_of_from(), one.tag_of_to()].into_iter().flatten());
        assert_eq!(shared(tags), none, "tags");
        let of_phone = |trace: &Trace| -> BTreeSet<String> {
            let contacts = trace.sent().flat_map(|one| one.headers("Contact"));
            contacts.map(|value| uri(value).to_owned()).collect()
        };
        for (here, there) in [(&self.caller, &self.callee), (&self.callee, &self.caller)] {
            let foreign = of_phone(there);
            let mut heard = here.received().flat_map(|one| one.headers("Contact"));
            assert!(
                heard.all(|value| !foreign.contains(uri(value))),
                "a Contact crossed"
            );
        }
        let number = |invite: &Message| invite.cseq().0;
        assert_ne!(number(self.invite_in()), number(self.invite_out()), "CSeq");
    }

    /// Who calls whom reads alike on both legs.
    fn assert_names_are_kept(&self) {
        for name in ["From", "To"] {
            let sent = name_addr(self.invite_in().header(name));
            let arrived = name_addr(self.invite_out().header(name));
            assert_eq!(arrived, sent, "{name}");
        }
        assert_eq!(
            self.invite_out().tag_of_to(),
            None,
            "a new call has no To tag"
        );
    }

    /// Each INVITE arrives with one hop less; no request arrives with less than that.
    fn assert_hops_are_counted(&self) {
        for (from, to) in [(&self.caller, &self.callee), (&self.callee, &self.caller)] {
            let hops = |messages: Vec<&Message>| -> Vec<u8> {
                let invites = messages.into_iter().filter(|one| is_request(one, "INVITE"));
                invites.map(Message::max_forwards).collect()
            };
            let sent = hops(from.sent().collect());
            let expected: Vec<_> = sent.iter().map(|hops| hops - 1).collect();
            assert_eq!(
                hops(to.received().collect()),
                expected,
                "Max-Forwards of INVITEs"
            );
        }
        let lowest = self.caller.sent().filter(|one| one.status().is_none());
        let lowest = lowest.map(Message::max_forwards).min().unwrap_or_default() - 1;
        for request in self.callee.received().filter(|one| one.status().is_none()) {
            let hops = request.max_forwards();
            assert!(
                (lowest..=70).contains(&hops),
                "Max-Forwards {hops} in {request}"
            );
        }
    }

    /// What the caller offers or answers arrives byte by byte, in its order.
    fn assert_callers_bodies_cross(&self) {
        assert_eq!(
            bodies(self.callee.received().collect()),
            bodies(self.caller.sent().collect())
        );
    }

    /// What the callee offers or answers arrives likewise: true where its answer is wanted.
    pub fn assert_callees_bodies_cross(&self) {
        assert_eq!(
            bodies(self.caller.received().collect()),
            bodies(self.callee.sent().collect())
        );
    }
}

fn bodies(messages: Vec<&Message>) -> Vec<String> {
    let bodies = messages.into_iter().map(Message::body);
    let bodies = bodies.filter(|body| !body.is_empty());
    texts(bodies.map(<[u8]>::escape_ascii))
}

/// Every message of a leg is of one dialog, and each side keeps its one tag (RFC 3261 §8.2.6.2).
/// CANCEL is outside: of its answer, §9.2 asks less.
fn assert_one_dialog(trace: &Trace) {
    assert_eq!(values(trace, |one| vec![one.call_id().to_owned()]).len(), 1);
    let tags = values(trace, |one| match one.method() {
        "CANCEL" => Vec::new(),
        _ => texts([one.tag_of_from(), one.tag_of_to()].into_iter().flatten()),
    });
    assert_eq!(tags.len(), 2, "one tag for each side, not {tags:?}");
}

/// Each answer fits a request that was sent: Via, From, Call-ID and CSeq copied, To tagged.
fn assert_answers_match(trace: &Trace) {
    for answer in trace.received().filter(|one| one.status().is_some()) {
        let mut requests = trace.sent().filter(|one| one.status().is_none());
        let same = |one: &&Message| one.branch() == answer.branch() && one.cseq() == answer.cseq();
        let request = requests.find(same);
        let request = request.unwrap_or_else(|| panic!("an answer to nothing: {answer}"));
        assert_eq!(
            answer.header("From"),
            request.header("From"),
            "From in {answer}"
        );
        assert!(
            answer.header("Via").starts_with(request.header("Via")),
            "Via in {answer}"
        );
        let to = name_addr(request.header("To"));
        assert_eq!(name_addr(answer.header("To")), to, "To in {answer}");
        let tagged = answer.tag_of_to().is_some() || answer.status() == Some(100);
        assert!(tagged, "no To tag in {answer}");
        assert!(!answer.has("Record-Route"), "Record-Route in {answer}");
    }
}

/// Each request that arrives has one Via, goes to the place that the phone gave, and counts on.
fn assert_requests_follow(trace: &Trace) {
    let (mut last, mut invite) = (None, None);
    for request in trace.received().filter(|one| one.status().is_none()) {
        assert_eq!(request.headers("Via").count(), 1, "Via in {request}");
        assert!(
            request.branch().starts_with("z9hG4bK"),
            "branch in {request}"
        );
        assert!(!request.has("Record-Route"), "Record-Route in {request}");
        assert!(!request.has("Route"), "Route in {request}");
        let (number, method) = request.cseq();
        assert_eq!(method, request.method(), "CSeq in {request}");
        match request.method() {
            // RFC 3261 §9.1 and §13.2.2.4: the number of the INVITE that they belong to.
            "ACK" | "CANCEL" => assert_eq!(Some(number), invite, "CSeq in {request}"),
            _ => {
                let next = last.map_or(number, |last| last + 1);
                assert_eq!(number, next, "CSeq in {request}");
                last = Some(number);
                if request.method() == "INVITE" {
                    invite = last;
                }
            }
        }
    }
}

/// RFC 3261 §20.14: the length that is stated is the length that came.
fn assert_framed(message: &Message) {
    let stated = message.header("Content-Length").parse();
    assert_eq!(
        stated,
        Ok(message.body().len()),
        "Content-Length in {message}"
    );
}

fn first_invite<'m>(mut messages: impl Iterator<Item = &'m Message>) -> &'m Message {
    let invite = messages.find(|one| is_request(one, "INVITE"));
    invite.expect("an INVITE")
}

fn is_request(message: &Message, method: &str) -> bool {
    message.status().is_none() && message.method() == method
}

/// All values that a leg's messages, sent or received, give.
fn values(trace: &Trace, of: impl Fn(&Message) -> Vec<String>) -> BTreeSet<String> {
    let all = trace.sent().chain(trace.received());
    all.flat_map(of).collect()
}

fn texts<T: ToString>(values: impl Iterator<Item = T>) -> Vec<String> {
    values.map(|value| value.to_string()).collect()
}
