//! A UDP socket with the transactions of RFC 3261 §17 on it: what comes is checked, noted, and
//! given out once.

use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::journal::{Journal, Way};
use super::sip::Sip;
use super::strict;

/// Nothing is lost on loopback, and a machine with much to do is no reason to repeat anything.
const T1: Duration = Duration::from_secs(4);

/// How long a response or an ACK may be missing. RFC 3261 says 32 s; on loopback that is no patience.
const GIVES_UP: Duration = Duration::from_secs(20);

/// The longest that the socket is listened to before timers are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

#[derive(Clone, Debug)]
pub enum Event {
    /// A new request, the ACK of a 2xx among them.
    Request(Sip),
    /// The INVITE that is cancelled; the CANCEL has been answered.
    Cancelled(Sip),
    /// A response to a request of ours; a failed INVITE has been acknowledged.
    Response(Sip),
    /// The branch of a request that nobody answered.
    Silence(String),
}

/// A request that came: RFC 3261 §17.2.
struct Answered {
    request: Sip,
    source: SocketAddr,
    last: Option<Sip>,
    acked: bool,
    resend: Option<(Instant, Duration)>,
    gives_up: Instant,
}

/// A request that left: §17.1.
struct Asked {
    request: Sip,
    to: SocketAddr,
    finals: Vec<String>,
    resend: Option<(Instant, Duration)>,
    gives_up: Option<Instant>,
}

pub struct Endpoint {
    socket: UdpSocket,
    local: SocketAddr,
    journal: Journal,
    answered: BTreeMap<String, Answered>,
    asked: BTreeMap<String, Asked>,
    inbox: VecDeque<Event>,
    made: u32,
}

impl Endpoint {
    pub fn open(local: SocketAddr, journal: Journal) -> Self {
        let socket = UdpSocket::bind(local);
        let socket = socket.unwrap_or_else(|error| panic!("{local} cannot be bound: {error}"));
        Self {
            socket,
            local,
            journal,
            answered: BTreeMap::new(),
            asked: BTreeMap::new(),
            inbox: VecDeque::new(),
            made: 0,
        }
    }

    pub fn local(&self) -> SocketAddr {
        self.local
    }

    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// A tag, branch or Call-ID that this address has not used.
    pub fn unique(&mut self, what: &str) -> String {
        self.made += 1;
        let port = self.local.port();
        let host = self.local.ip().to_string().replace(['.', ':'], "-");
        format!("{what}{host}-{port}-{}", self.made)
    }

    /// Waits for something to happen.
    pub fn poll(&mut self, at_most: Duration) -> Option<Event> {
        let until = Instant::now() + at_most;
        loop {
            self.repeat_what_is_due();
            if let Some(event) = self.inbox.pop_front() {
                return Some(event);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.listen(left.min(LOOK_EVERY));
        }
    }

    /// Sends a request in a transaction of its own and gives its branch.
    pub fn ask(&mut self, mut request: Sip, to: SocketAddr) -> String {
        let branch = self.unique("z9hG4bK-");
        self.stamp(&mut request, &branch);
        self.send(&request, to);
        let now = Instant::now();
        let asked = Asked {
            request,
            to,
            finals: Vec::new(),
            resend: Some((now + T1, T1)),
            gives_up: Some(now + GIVES_UP),
        };
        self.asked.insert(branch.clone(), asked);
        branch
    }

    /// Sends the ACK of a 2xx: a transaction that nobody answers.
    pub fn acknowledge(&mut self, mut ack: Sip, to: SocketAddr) {
        let branch = self.unique("z9hG4bK-");
        self.stamp(&mut ack, &branch);
        self.send(&ack, to);
    }

    /// Cancels an INVITE of ours (§9.1).
    pub fn cancel(&mut self, branch: &str, reason: Option<&str>) {
        let Some(asked) = self.asked.get(branch) else {
            return;
        };
        let to = asked.to;
        let mut cancel = hop_request("CANCEL", &asked.request);
        cancel.push("To", asked.request.first("To").unwrap_or_default());
        if let Some(reason) = reason {
            cancel.push("Reason", reason);
        }
        self.send(&cancel, to);
        let now = Instant::now();
        let asked = Asked {
            request: cancel,
            to,
            finals: Vec::new(),
            resend: Some((now + T1, T1)),
            gives_up: Some(now + GIVES_UP),
        };
        self.asked.insert(format!("{branch} CANCEL"), asked);
    }

    /// Answers a request that came.
    pub fn answer(&mut self, request: &Sip, response: &Sip) {
        let key = key_of(request);
        let Some(answered) = self.answered.get_mut(&key) else {
            panic!("no transaction for {}", response.label());
        };
        let to = answered.source;
        let now = Instant::now();
        let is_final = response.status() >= Some(200);
        if is_final && request.method() == "INVITE" {
            answered.resend = Some((now + T1, T1));
            answered.gives_up = now + GIVES_UP;
        }
        answered.last = Some(response.clone());
        self.send(response, to);
    }

    fn stamp(&self, request: &mut Sip, branch: &str) {
        let via = format!("SIP/2.0/UDP {};branch={branch};rport", self.local);
        request.headers.insert(0, ("Via".to_owned(), via));
        if request.first("Max-Forwards").is_none() {
            request.push("Max-Forwards", "70");
        }
    }

    fn send(&self, sip: &Sip, to: SocketAddr) {
        self.journal.note(Way::Left, sip);
        // Nobody may listen there yet, or any more: then the timers say so.
        let _refused = self.socket.send_to(&sip.bytes(), to);
    }

    fn listen(&mut self, at_most: Duration) {
        let mut datagram = vec![0; 65_535];
        let timeout = Some(at_most.max(Duration::from_millis(1)));
        self.socket.set_read_timeout(timeout).expect("a timeout");
        match self.socket.recv_from(&mut datagram) {
            Ok((length, source)) => self.take(datagram.get(..length).unwrap_or_default(), source),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // The answer to something sent to a closed port.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => panic!("{} cannot be read: {error}", self.local),
        }
    }

    fn take(&mut self, raw: &[u8], source: SocketAddr) {
        if raw.iter().all(|byte| b"\r\n\0".contains(byte)) {
            // A keep-alive.
            return;
        }
        let sip = match Sip::read(raw) {
            Ok(sip) => sip,
            Err(fault) => {
                let text = raw.escape_ascii();
                return self.journal.complain(format!("{fault}: {text}"));
            }
        };
        self.journal.note(Way::Came, &sip);
        for fault in strict::faults(&sip, raw, source) {
            self.journal.complain(format!("{fault}, in\n{sip}"));
        }
        match (sip.status(), sip.method()) {
            (Some(_), _) => self.take_response(sip),
            (None, "ACK") => self.take_ack(sip),
            (None, "CANCEL") => self.take_cancel(sip, source),
            (None, _) => self.take_request(sip, source),
        }
    }

    fn take_request(&mut self, mut sip: Sip, source: SocketAddr) {
        let key = key_of(&sip);
        if let Some(answered) = self.answered.get(&key) {
            self.journal.complain(format!("repeated: {}", sip.label()));
            if let Some(last) = answered.last.clone() {
                self.send(&last, source);
            }
            return;
        }
        place(&mut sip, source);
        self.note_request(key, &sip, source);
        self.inbox.push_back(Event::Request(sip));
    }

    fn note_request(&mut self, key: String, sip: &Sip, source: SocketAddr) {
        let answered = Answered {
            request: sip.clone(),
            source,
            last: None,
            acked: false,
            resend: None,
            gives_up: Instant::now() + GIVES_UP,
        };
        self.answered.insert(key, answered);
    }

    fn take_ack(&mut self, sip: Sip) {
        let mut all = self.answered.values_mut();
        let same = |one: &&mut Answered| {
            one.request.method() == "INVITE"
                && one.request.call_id() == sip.call_id()
                && one.request.tag_of_from() == sip.tag_of_from()
                && one.request.cseq().0 == sip.cseq().0
        };
        let Some(invite) = all.find(same) else {
            return self.journal.complain(format!("an ACK of nothing:\n{sip}"));
        };
        let status = invite.last.as_ref().and_then(Sip::status);
        let is_hop = invite.request.branch() == sip.branch();
        let tag = invite.last.as_ref().and_then(Sip::tag_of_to);
        invite.resend = None;
        let again = std::mem::replace(&mut invite.acked, true);
        if is_hop == matches!(status, Some(200..300)) || status.is_none_or(|code| code < 200) {
            self.journal
                .complain(format!("an ACK of {status:?} with branch {}", sip.branch()));
        }
        if tag != sip.tag_of_to() {
            self.journal
                .complain(format!("an ACK of another To tag than {tag:?}:\n{sip}"));
        }
        if again {
            self.journal.complain(format!("repeated: ACK\n{sip}"));
        } else if !is_hop {
            self.inbox.push_back(Event::Request(sip));
        }
    }

    fn take_cancel(&mut self, mut sip: Sip, source: SocketAddr) {
        let key = key_of(&sip);
        if self.answered.contains_key(&key) {
            return self.journal.complain("repeated: CANCEL".to_owned());
        }
        place(&mut sip, source);
        self.note_request(key, &sip, source);
        let of = key_of(&sip).replace("CANCEL", "INVITE");
        let invite = self.answered.get(&of).map(|one| one.request.clone());
        let Some(invite) = invite else {
            self.journal
                .complain(format!("a CANCEL of nothing:\n{sip}"));
            let unknown = Sip::response(&sip, 481, "Call/Transaction Does Not Exist");
            return self.answer(&sip, &tagged(unknown, "nothing"));
        };
        if sip.uri() != invite.uri() || sip.first("To") != invite.first("To") {
            self.journal
                .complain(format!("a CANCEL unlike its INVITE:\n{sip}"));
        }
        let fine = Sip::response(&sip, 200, "OK");
        let tag = format!("c{}", self.local.port());
        self.answer(&sip, &tagged(fine, &tag));
        self.inbox.push_back(Event::Cancelled(invite));
    }

    fn take_response(&mut self, sip: Sip) {
        let key = match sip.method() {
            "CANCEL" => format!("{} CANCEL", sip.branch()),
            _ => sip.branch().to_owned(),
        };
        let Some(asked) = self.asked.get_mut(&key) else {
            return self
                .journal
                .complain(format!("an answer to nothing:\n{sip}"));
        };
        for name in ["From", "Call-ID", "CSeq"] {
            if sip.first(name) != asked.request.first(name) {
                self.journal
                    .complain(format!("{name} is not copied:\n{sip}"));
            }
        }
        asked.resend = None;
        if sip.status() < Some(200) {
            if sip.method() == "INVITE" {
                asked.gives_up = None;
            }
        } else {
            asked.gives_up = None;
            let tag = sip.tag_of_to().unwrap_or_default().to_owned();
            if asked.finals.contains(&tag) {
                self.journal.complain(format!("repeated: {}", sip.label()));
                return;
            }
            asked.finals.push(tag);
            let (request, to) = (asked.request.clone(), asked.to);
            if sip.method() == "INVITE" && sip.status() >= Some(300) {
                let mut ack = hop_request("ACK", &request);
                ack.push("To", sip.first("To").unwrap_or_default());
                self.send(&ack, to);
            }
        }
        if sip.method() != "CANCEL" {
            self.inbox.push_back(Event::Response(sip));
        }
    }

    fn repeat_what_is_due(&mut self) {
        let now = Instant::now();
        let mut due = Vec::new();
        for (branch, asked) in &mut self.asked {
            if asked.gives_up.is_some_and(|at| at <= now) {
                (asked.gives_up, asked.resend) = (None, None);
                self.inbox.push_back(Event::Silence(branch.clone()));
            }
            if is_due(&mut asked.resend, now) {
                due.push((asked.request.clone(), asked.to));
            }
        }
        for answered in self.answered.values_mut() {
            if answered.resend.is_some() && answered.gives_up <= now {
                answered.resend = None;
                let call_id = answered.request.call_id();
                self.journal
                    .complain(format!("no ACK came for the answer to {call_id}"));
            }
            if let (true, Some(last)) = (is_due(&mut answered.resend, now), &answered.last) {
                due.push((last.clone(), answered.source));
            }
        }
        for (sip, to) in due {
            self.send(&sip, to);
        }
    }
}

/// Whether something is to be sent again now; then the interval doubles.
fn is_due(resend: &mut Option<(Instant, Duration)>, now: Instant) -> bool {
    match *resend {
        Some((at, interval)) if at <= now => {
            *resend = Some((now + 2 * interval, 2 * interval));
            true
        }
        _ => false,
    }
}

/// ACK of a failure and CANCEL: as the INVITE, on its branch, without the To.
fn hop_request(method: &str, invite: &Sip) -> Sip {
    let mut request = Sip::request(method, invite.uri());
    for name in ["Via", "Max-Forwards", "Route", "From", "Call-ID"] {
        for value in invite.all(name) {
            request.push(name, value);
        }
    }
    request.with("CSeq", &format!("{} {method}", invite.cseq().0))
}

/// A response with a To tag, unless it has one.
pub fn tagged(mut response: Sip, tag: &str) -> Sip {
    if response.tag_of_to().is_none() {
        let to = response.first("To").unwrap_or_default().to_owned();
        response.set("To", &format!("{to};tag={tag}"));
    }
    response
}

fn key_of(sip: &Sip) -> String {
    format!("{} {}", sip.branch(), sip.method())
}

/// RFC 3581 §4: fills in where the request came from.
fn place(sip: &mut Sip, source: SocketAddr) {
    if let Some((_, via)) = sip.headers.iter_mut().find(|(name, _)| name == "Via") {
        let asks = via.ends_with(";rport") || via.contains(";rport;");
        if asks {
            let filled = format!(";rport={};received={}", source.port(), source.ip());
            *via = via.replacen(";rport", &filled, 1);
        }
    }
}
