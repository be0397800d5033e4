//! One call over a transaction layer, and peers who are addresses that say what a test has them say.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use crate::call::recall::{Invitation, News, Party};
use crate::call::refuse_orphan;
use crate::call::{
    Call, Contacts, INVITE_PART, NoLegs, Policy, Side, Silent, Target, Timing, Turn,
};
use crate::dialog::{Reach, Tag};
use crate::random::Rng;
use crate::sip::{Checked, Flow, ListenerId, Message, Request, Scratch, Transport};
use crate::table::{Key, Table};
use crate::time::Timestamp;
use crate::transaction::clients::Heard;
use crate::transaction::servers::Arrival;
use crate::transaction::{Event, Layer, User, timing};

/// Alice's phone.
pub(super) const ALICE: &str = "192.0.2.1:5060";
/// Her second one.
pub(super) const ALICE_2: &str = "192.0.2.2:5060";
/// Bob's phone.
pub(super) const BOB: &str = "192.0.2.11:5060";
/// His second one.
pub(super) const BOB_2: &str = "192.0.2.12:5060";

/// What Bob offers.
pub(super) const OFFER: &str = "v=0\r\no=bob 5 5 IN IP4 192.0.2.11\r\ns=-\r\n\
    c=IN IP4 192.0.2.11\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\na=sendrecv\r\n";
/// What Alice answers.
pub(super) const ANSWER: &str = "v=0\r\no=alice 3 3 IN IP4 192.0.2.1\r\ns=-\r\n\
    c=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 5000 RTP/AVP 8\r\na=sendrecv\r\n";

/// A message that was sent to somebody.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    to: SocketAddr,
    text: String,
}

/// A call and all that it needs.
pub(super) struct Rig {
    now: Timestamp,
    layer: Layer,
    rng: Rng,
    contacts: Contacts,
    silent: Silent,
    policy: Policy,
    scratch: Vec<u8>,
    key: Key,
    call: Option<Call>,
    news: VecDeque<News>,
    sent: Vec<Sent>,
    /// What Alice was last sent in her dialog.
    alice: Option<Sent>,
    branches: u32,
}

impl Rig {
    /// Nothing has happened.
    pub(super) fn new() -> Self {
        let sent_by = vec![Box::from(&b"192.0.2.100:5060"[..])];
        let mut table = Table::new(1);
        Self {
            now: Timestamp::START,
            contacts: Contacts::new(&sent_by),
            silent: Silent,
            policy: Policy::default(),
            layer: Layer::new(timing::Timing::default(), sent_by, 100, Rng::from_number(1)),
            rng: Rng::from_number(2),
            scratch: Vec::new(),
            key: table.insert(()).expect("room for one"),
            call: None,
            news: VecDeque::new(),
            sent: Vec::new(),
            alice: None,
            branches: 0,
        }
    }

    /// Alice's phones ring for Bob.
    pub(super) fn recall(phones: &[&str]) -> Self {
        let mut rig = Self::new();
        let key = rig.key;
        let bob = Party {
            name: b"Callback: \"Bob\"",
            uri: b"sip:bob@example.com",
        };
        let alice = Party {
            name: b"",
            uri: b"sip:alice@example.com",
        };
        let to = Invitation {
            targets: &targets(phones),
            from: bob,
            to: alice,
            said: &[],
        };
        rig.call = Call::recall(key, &mut rig.turn(), &to);
        rig.settle();
        rig
    }

    /// Alice's one phone has been answered.
    pub(super) fn answered() -> Self {
        let mut rig = Self::recall(&[ALICE]);
        let ring = rig.receives(ALICE, "INVITE");
        rig.answers(&ring, 200, ANSWER);
        rig.alice = Some(rig.receives(ALICE, "ACK"));
        assert_eq!(rig.news(), Some(News::RecallAnswered));
        rig
    }

    /// Bob's one phone rings; his INVITE comes along.
    pub(super) fn calling() -> (Self, Sent) {
        let mut rig = Self::answered();
        rig.place(&[BOB]);
        assert_eq!(rig.news(), Some(News::CcCallLeft));
        let invite = rig.receives(BOB, "INVITE");
        rig.answers(&invite, 180, "");
        (rig, invite)
    }

    /// Bob has answered, and Alice is asked; Bob's INVITE and Alice's re-INVITE come along.
    pub(super) fn offering() -> (Self, Sent, Sent) {
        let (mut rig, invite) = Self::calling();
        rig.answers(&invite, 200, OFFER);
        let change = rig.receives(ALICE, "INVITE");
        (rig, invite, change)
    }

    /// The two talk; what Bob and Alice last got from us comes along.
    pub(super) fn talking() -> (Self, Sent, Sent) {
        let (mut rig, _, change) = Self::offering();
        rig.answers(&change, 200, ANSWER);
        let to_alice = rig.receives(ALICE, "ACK");
        let to_bob = rig.receives(BOB, "ACK");
        assert_eq!(rig.news(), Some(News::Answered));
        (rig, to_alice, to_bob)
    }

    /// The owner has Bob's phones called.
    pub(super) fn place(&mut self, phones: &[&str]) {
        let targets = targets(phones);
        let to = Invitation {
            targets: &targets,
            from: Party {
                name: b"Alice",
                uri: b"sip:alice@example.com",
            },
            to: Party {
                name: b"",
                uri: b"sip:100@example.com",
            },
            said: &[],
        };
        self.act(|call, turn| call.place(turn, &to));
    }

    /// The owner ends it.
    pub(super) fn end_recall(&mut self) {
        self.act(|call, turn| call.end_recall(turn, b"SIP;cause=487"));
    }

    /// The owner of everything ends it.
    pub(super) fn hang_up(&mut self) {
        self.act(Call::hang_up);
    }

    /// An application ends it.
    pub(super) fn disconnect(&mut self) {
        self.act(Call::disconnect);
    }

    /// The next message to this peer; it begins so.
    pub(super) fn receives(&mut self, at: &str, start: &str) -> Sent {
        let peer: SocketAddr = at.parse().expect("an address");
        let found = self.sent.iter().position(|sent| sent.to == peer);
        let Some(found) = found else {
            panic!("{at} was sent nothing, not {start}");
        };
        let sent = self.sent.remove(found);
        assert!(sent.text.starts_with(start), "{at}: {}", sent.text);
        sent
    }

    /// Whether something that begins so is on its way to this peer.
    pub(super) fn has_sent(&self, at: &str, start: &str) -> bool {
        let peer: SocketAddr = at.parse().expect("an address");
        let mut sent = self.sent.iter();
        sent.any(|sent| sent.to == peer && sent.text.starts_with(start))
    }

    /// Nobody is sent anything.
    pub(super) fn is_silent(&self) {
        assert!(self.sent.is_empty(), "{:#?}", self.sent);
    }

    /// Whoever got this request answers it, with this body if it has one.
    pub(super) fn answers(&mut self, request: &Sent, status: u16, body: &str) {
        self.answers_as(request, status, "", body);
    }

    /// As [`Self::answers`], with more header lines.
    pub(super) fn answers_as(&mut self, request: &Sent, status: u16, lines: &str, body: &str) {
        let text = request.response("phone", status, lines, body);
        self.hears(request.to, &text);
    }

    /// Another phone behind the same address answers.
    pub(super) fn fork_answers(&mut self, request: &Sent, status: u16, body: &str) {
        let text = request.response("fork", status, "", body);
        self.hears(request.to, &text);
    }

    /// Whoever got this sends a request in the same dialog.
    pub(super) fn sends(&mut self, within: &Sent, method: &str, cseq: u32, body: &str) {
        self.branches += 1;
        let text = within.request_back(method, (cseq, self.branches), body);
        self.hears(within.to, &text);
    }

    /// A message comes from this peer.
    pub(super) fn hears(&mut self, from: SocketAddr, text: &str) {
        let mut scratch = Scratch::new();
        let message = Message::parse(text.as_bytes(), &mut scratch).expect("a message");
        let flow = flow(from);
        match Checked::check(message) {
            Ok(Checked::Request(request)) => self.on_request(&request, &flow),
            Ok(Checked::Response(response)) => {
                if let Heard::Up(user) = self.layer.handle_response(self.now, &response) {
                    let heard = self.act(|call, turn| {
                        call.handle_response(turn, user.part, &response);
                    });
                    if heard.is_none() && response.status.is_success() {
                        refuse_orphan(&mut self.turn(), &response, &flow);
                    }
                }
            }
            Err(refusal) => panic!("{text}: {refusal:?}"),
        }
        self.settle();
    }

    /// What was sent last could not be.
    pub(super) fn fails_to_send(&mut self, lost: &Sent) {
        let branch = lost.field("Via").split("branch=").nth(1).expect("a branch");
        let branch = branch.split(';').next().unwrap_or_default();
        let branch = crate::transaction::branch::Branch::parse(branch.as_bytes());
        let key = branch.expect("a branch of ours").key;
        let id = crate::transaction::outbox::SendId(Some(key));
        if let Some(event) = self.layer.handle_not_sent(self.now, id) {
            self.on_event(event);
        }
        self.settle();
    }

    /// This much time goes by; what falls due on the way is done.
    pub(super) fn wait(&mut self, for_ms: u64) {
        let end = self.now + Duration::from_millis(for_ms);
        loop {
            let call = self.call.as_ref().and_then(Call::deadline);
            let next = self.layer.poll_timeout().into_iter().chain(call).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            while let Some(event) = self.layer.handle_timeout(self.now) {
                if let Some(event) = event {
                    self.on_event(event);
                }
            }
            self.act(Call::handle_timeout);
        }
        self.now = end;
    }

    /// A message in Alice's dialog.
    pub(super) fn alice(&self) -> Sent {
        self.alice.clone().expect("Alice has answered")
    }

    /// The next message to this peer, which is to come within that time; it begins so.
    pub(super) fn waits_for(&mut self, at: &str, start: &str, within_ms: u64) -> Sent {
        for _ in 0..within_ms / 10 {
            if self.has_sent(at, start) {
                break;
            }
            self.wait(10);
        }
        self.receives(at, start)
    }

    /// What the owner is told next.
    pub(super) fn news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// Whether nothing is left of the call.
    pub(super) fn is_over(&self) -> bool {
        self.call.is_none()
    }

    /// An INVITE of Alice's that is answered by us alone.
    pub(super) fn confirm(&mut self, body: &str) -> Sent {
        let from: SocketAddr = ALICE.parse().expect("an address");
        let text = invite(body);
        let mut scratch = Scratch::new();
        let message = Message::parse(text.as_bytes(), &mut scratch).expect("a message");
        let Ok(Checked::Request(request)) = Checked::check(message) else {
            panic!("{text}");
        };
        let (key, flow) = (self.key, flow(from));
        let user = User {
            call: key,
            part: INVITE_PART,
        };
        let server = self.layer.accept(self.now, &request, &flow, Some(user));
        let server = server.expect("room");
        let call = Call::confirm(key, &mut self.turn(), &request, &flow, server);
        self.call = Some(call);
        self.settle();
        self.receives(ALICE, "SIP/2.0 200 OK")
    }

    pub(super) fn call(&self) -> &Call {
        self.call.as_ref().expect("a call")
    }

    fn on_request(&mut self, request: &Request<'_>, flow: &Flow) {
        let arrival = self.layer.sort(self.now, request, flow);
        let tag = request
            .to
            .tag()
            .and_then(Tag::parse)
            .expect("a tag of ours");
        let side_of = |call: &Call| call.side_of(request, tag).expect("a request of this call");
        match arrival {
            Arrival::Ack => {
                self.act(|call, turn| {
                    let side: Side = side_of(call);
                    call.handle_ack(turn, side, request);
                });
            }
            Arrival::New => {
                self.act(|call, turn| {
                    let side = side_of(call);
                    call.handle_request(turn, side, request, flow);
                });
            }
            Arrival::Absorbed | Arrival::Cancel(_) | Arrival::CancelOfNothing | Arrival::Merged => {
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Failed(user, failure) => {
                self.act(|call, turn| call.handle_failure(turn, user.part, failure));
            }
            Event::NoAck(_) => {}
        }
    }

    fn act(&mut self, act: impl FnOnce(&mut Call, &mut Turn<'_>)) -> Option<()> {
        let mut call = self.call.take()?;
        act(&mut call, &mut self.turn());
        self.call = Some(call);
        self.settle();
        Some(())
    }

    fn settle(&mut self) {
        if let Some(call) = &mut self.call {
            self.news.extend(call.take_news());
            if call.is_over() {
                assert_eq!(call.deadline(), None);
                self.call = None;
            }
        }
        while let Some(sending) = self.layer.outbox().poll() {
            self.sent.push(Sent {
                to: sending.flow.remote,
                text: String::from_utf8(sending.bytes.to_vec()).expect("ASCII"),
            });
        }
    }

    fn turn(&mut self) -> Turn<'_> {
        Turn {
            now: self.now,
            realm: None,
            layer: &mut self.layer,
            rng: &mut self.rng,
            contacts: &self.contacts,
            timing: Timing::default(),
            policy: &self.policy,
            announce: &mut self.silent,
            legs: &NoLegs,
            scratch: &mut self.scratch,
        }
    }
}

impl Sent {
    /// The value of the first header of this name; empty if there is none.
    pub(super) fn field(&self, name: &str) -> &str {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        let value = head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            (found == name).then_some(value)
        });
        value.unwrap_or_default()
    }

    pub(super) fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").expect("an end").1
    }

    /// The line of the body that begins so.
    pub(super) fn line(&self, start: &str) -> &str {
        let found = self.body().lines().find(|line| line.starts_with(start));
        found.unwrap_or_default()
    }

    /// The same with the To tag of who got it: a message within the dialog that he has made.
    pub(super) fn answered(&self) -> Self {
        let to = self.field("To");
        let with_tag = format!("To: {to};tag=phone-{}", self.to);
        Self {
            to: self.to,
            text: self.text.replacen(&format!("To: {to}"), &with_tag, 1),
        }
    }

    fn response(&self, tag: &str, status: u16, lines: &str, body: &str) -> String {
        let mut text = format!("SIP/2.0 {status} So\r\n");
        for name in ["Via", "From", "Call-ID", "CSeq"] {
            let _written = write!(text, "{name}: {}\r\n", self.field(name));
        }
        let to = self.field("To");
        let tag = if to.contains(";tag=") {
            String::new()
        } else {
            format!(";tag={tag}-{}", self.to)
        };
        let _written = write!(text, "To: {to}{tag}\r\n{lines}");
        end(&mut text, self.to, body);
        text
    }

    fn request_back(&self, method: &str, numbers: (u32, u32), body: &str) -> String {
        let (cseq, branch) = numbers;
        let (from, to) = if self.text.starts_with("SIP/2.0") {
            ("From", "To")
        } else {
            ("To", "From")
        };
        let mut text = format!(
            "{method} sip:192.0.2.100 SIP/2.0\r\n\
             Via: SIP/2.0/UDP {};branch=z9hG4bKback{branch}\r\n\
             From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n",
            self.to,
            self.field(from),
            self.field(to),
            self.field("Call-ID"),
        );
        end(&mut text, self.to, body);
        text
    }
}

fn end(text: &mut String, contact: SocketAddr, body: &str) {
    let _written = write!(text, "Contact: <sip:{contact}>\r\n");
    if !body.is_empty() {
        text.push_str("Content-Type: application/sdp\r\n");
    }
    let _written = write!(text, "Content-Length: {}\r\n\r\n{body}", body.len());
}

fn invite(body: &str) -> String {
    let mut text = format!(
        "INVITE sip:*37@192.0.2.100 SIP/2.0\r\n\
         Via: SIP/2.0/UDP {ALICE};branch=z9hG4bKinvite\r\n\
         From: <sip:alice@example.com>;tag=alice\r\nTo: <sip:*37@example.com>\r\n\
         Call-ID: code\r\nCSeq: 1 INVITE\r\n"
    );
    end(&mut text, ALICE.parse().expect("an address"), body);
    text
}

fn targets<'p>(phones: &[&'p str]) -> Vec<Target<'p>> {
    let target = |phone: &&'p str| Target {
        uri: match *phone {
            ALICE => b"sip:alice@192.0.2.1",
            ALICE_2 => b"sip:alice@192.0.2.2",
            BOB => b"sip:bob@192.0.2.11",
            _ => b"sip:bob@192.0.2.12",
        },
        flow: flow(phone.parse().expect("an address")),
        reach: Reach::Address,
        others: None,
    };
    phones.iter().map(target).collect()
}

fn flow(remote: SocketAddr) -> Flow {
    Flow {
        transport: Transport::Udp,
        listener: ListenerId(0),
        remote,
        connection: None,
    }
}
