//! A scripted phone: it does what the test says, step by step, and complains of the rest.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::dialog::{Dialog, socket_address};
use super::digest;
use super::endpoint::{Endpoint, Event, tagged};
use super::journal::Journal;
use super::sip::{Sip, address};
use super::switchboard::DOMAIN;

/// How long a step may wait for what the other side does next.
const STEP_MAX: Duration = Duration::from_secs(30);

pub struct Phone {
    endpoint: Endpoint,
    user: String,
    /// Its outbound proxy.
    campon: SocketAddr,
    /// Whether it says so by a Route, as most phones do.
    routes: bool,
    /// Whether its calls are asked for its password.
    is_asked: bool,
    /// The extensions that it says it supports when it picks up.
    supports: Option<String>,
    registration: Registration,
    pending: VecDeque<Event>,
}

struct Registration {
    call_id: String,
    tag: String,
    cseq: u32,
}

/// A call that this phone makes or has made.
#[derive(Debug)]
pub struct Outgoing {
    pub invite: Sip,
    pub dialog: Dialog,
    branch: String,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Asked {
    branch: String,
    cseq: u32,
}

/// A call that came.
#[derive(Debug)]
pub struct Incoming {
    pub invite: Sip,
    pub dialog: Dialog,
    tag: String,
}

impl Phone {
    pub fn open(user: &str, local: SocketAddr, campon: SocketAddr) -> Self {
        let journal = Journal::open(&format!("{user} at {local}"));
        let mut endpoint = Endpoint::open(local, journal);
        let registration = Registration {
            call_id: endpoint.unique("reg"),
            tag: endpoint.unique("t"),
            cseq: 0,
        };
        Self {
            endpoint,
            user: user.to_owned(),
            campon,
            routes: true,
            is_asked: true,
            supports: None,
            registration,
            pending: VecDeque::new(),
        }
    }

    pub fn journal(&self) -> &Journal {
        self.endpoint.journal()
    }

    pub fn aor(&self) -> String {
        format!("sip:{}@{DOMAIN}", self.user)
    }

    pub fn contact_uri(&self) -> String {
        format!("sip:{}@{}", self.user, self.endpoint.local())
    }

    /// Registers for so many seconds, with its password when asked; demands that it is granted.
    pub fn register(&mut self, expires: u32) -> Sip {
        let contact = format!("<{}>", self.contact_uri());
        let answer = self.try_register(&contact, expires);
        assert_eq!(answer.status(), Some(200), "{answer}");
        answer
    }

    /// The same with this Contact, and gives whatever the answer is.
    pub fn try_register(&mut self, contact: &str, expires: u32) -> Sip {
        let bare = self.registration_request(contact, expires);
        let answer = self.ask(bare);
        if answer.status() != Some(401) {
            return answer;
        }
        let mut again = self.registration_request(contact, expires);
        self.prove(&mut again, &answer);
        self.ask(again)
    }

    fn registration_request(&mut self, contact: &str, expires: u32) -> Sip {
        self.registration.cseq += 1;
        let Registration { call_id, tag, cseq } = &self.registration;
        let aor = self.aor();
        self.routed(Sip::request("REGISTER", &format!("sip:{DOMAIN}")))
            .with("From", &format!("<{aor}>;tag={tag}"))
            .with("To", &format!("<{aor}>"))
            .with("Call-ID", call_id)
            .with("CSeq", &format!("{cseq} REGISTER"))
            .with("Contact", contact)
            .with("Expires", &expires.to_string())
    }

    /// Leaves out the Route to its proxy from now on.
    pub fn speak_directly(&mut self) {
        self.routes = false;
    }

    /// Looks for no challenge from now on.
    pub fn is_trusted(&mut self) {
        self.is_asked = false;
    }

    /// Says of itself that it supports these extensions, from now on.
    pub fn supports(&mut self, extensions: &str) {
        self.supports = Some(extensions.to_owned());
    }

    fn routed(&self, request: Sip) -> Sip {
        if self.routes {
            request.with("Route", &format!("<sip:{};lr>", self.campon))
        } else {
            request
        }
    }

    /// Puts credentials into the repeat of a request that was challenged so.
    pub fn prove(&self, request: &mut Sip, challenged: &Sip) {
        let name = match challenged.status() {
            Some(401) => "WWW-Authenticate",
            _ => "Proxy-Authenticate",
        };
        let challenge = challenged.first(name);
        let challenge = challenge.unwrap_or_else(|| panic!("no challenge in {challenged}"));
        let password = format!("{}pw", self.user);
        let (name, value) = digest::authorize(request, challenge, &self.user, &password);
        request.push(&name, &value);
    }

    /// Asks something outside of a dialog and gives the final answer.
    pub fn ask(&mut self, request: Sip) -> Sip {
        let branch = self.endpoint.ask(request, self.campon);
        self.final_answer(&branch)
    }

    fn final_answer(&mut self, branch: &str) -> Sip {
        let answer = self.wait(&format!("an answer to {branch}"), |event| match event {
            Event::Response(sip) => sip.branch() == branch && sip.status() >= Some(200),
            Event::Silence(silent) => silent == branch,
            Event::Request(_) | Event::Cancelled(_) => false,
        });
        match answer {
            Event::Response(ref sip) => sip.clone(),
            Event::Request(_) | Event::Cancelled(_) | Event::Silence(_) => {
                panic!("{answer:?}\n{}", self.journal().story())
            }
        }
    }

    /// A request of ours outside of any dialog; the test adds what it wants.
    pub fn request(&mut self, method: &str, to: &str) -> Sip {
        let (tag, call_id) = (self.endpoint.unique("t"), self.endpoint.unique("call"));
        self.routed(Sip::request(method, to))
            .with(
                "From",
                &format!("\"{}\" <{}>;tag={tag}", self.user, self.aor()),
            )
            .with("To", &format!("<{to}>"))
            .with("Call-ID", &call_id)
            .with("CSeq", &format!("1 {method}"))
    }

    /// Calls, and proves who it is where it is asked.
    pub fn dial(&mut self, to: &str) -> Outgoing {
        let invite = self.invite(to);
        let call = self.send_invite(invite);
        if !self.is_asked {
            return call;
        }
        let (branch, story) = (
            call.branch.clone(),
            format!("an answer to the call of {to}"),
        );
        let first = self.wait(&story, |event| {
            matches!(event, Event::Response(sip)
                if sip.branch() == branch && sip.status() > Some(100))
        });
        if let Event::Response(sip) = &first
            && [Some(401), Some(407)].contains(&sip.status())
        {
            return self.repeat(call, sip);
        }
        self.pending.push_front(first);
        call
    }

    /// The same call once more, with credentials for that challenge.
    pub fn repeat(&mut self, call: Outgoing, challenged: &Sip) -> Outgoing {
        let mut again = call.invite;
        let cseq = again.cseq().0 + 1;
        again.set("CSeq", &format!("{cseq} INVITE"));
        again.remove("Proxy-Authorization");
        self.prove(&mut again, challenged);
        self.send_invite(again)
    }

    /// An INVITE with an offer.
    pub fn invite(&mut self, to: &str) -> Sip {
        let contact = format!("<{}>", self.contact_uri());
        let sdp = self.sdp();
        self.request("INVITE", to)
            .with("Contact", &contact)
            .with(
                "Allow",
                "INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, NOTIFY, INFO",
            )
            .carrying("application/sdp", sdp.as_bytes())
    }

    /// Sends an INVITE and looks at no answer.
    pub fn send_invite(&mut self, invite: Sip) -> Outgoing {
        let dialog = Dialog::of_client(&invite);
        let branch = self.endpoint.ask(invite.clone(), self.campon);
        Outgoing {
            invite,
            dialog,
            branch,
        }
    }

    /// Waits for that response to a call, any number of 100s aside; a 2xx is acknowledged.
    pub fn hear(&mut self, call: &mut Outgoing, status: u16) -> Sip {
        let branch = call.branch.clone();
        let heard = self.wait(&format!("{status}"), |event| {
            matches!(event, Event::Response(sip)
                if sip.branch() == branch && sip.status() != Some(100))
        });
        let Event::Response(heard) = heard else {
            panic!("{heard:?}");
        };
        assert_eq!(
            heard.status(),
            Some(status),
            "{heard}\n{}",
            self.journal().story()
        );
        if heard.tag_of_to().is_some() && status < 300 {
            call.dialog.learn(&heard);
        }
        if (200..300).contains(&status) {
            let ack = call.dialog.numbered("ACK", call.invite.cseq().0);
            let hop = call
                .dialog
                .hop()
                .expect("campon's Contact names an address");
            self.endpoint.acknowledge(ack, hop);
        }
        heard
    }

    /// The same, whatever provisional responses come before it.
    pub fn hear_at_last(&mut self, call: &mut Outgoing, status: u16) -> Sip {
        let branch = call.branch.clone();
        let is_of_it = |event: &Event, is_final: bool| {
            matches!(event, Event::Response(sip)
                if sip.branch() == branch && (sip.status() >= Some(200)) == is_final)
        };
        let heard = self.wait(&format!("{status}"), |event| is_of_it(event, true));
        self.pending.retain(|event| !is_of_it(event, false));
        self.pending.push_front(heard);
        self.hear(call, status)
    }

    /// Takes back a call that has not been answered.
    pub fn cancel(&mut self, call: &Outgoing) {
        self.endpoint.cancel(&call.branch, None);
    }

    /// Waits for a call and rings.
    pub fn ring(&mut self) -> Incoming {
        let call = self.called();
        self.tell(&call, 180, "Ringing");
        call
    }

    /// Waits for a call and says nothing yet.
    pub fn called(&mut self) -> Incoming {
        let invite = self.expect("INVITE");
        let tag = self.endpoint.unique("t");
        let dialog = Dialog::of_server(&invite, &tag);
        Incoming {
            invite,
            dialog,
            tag,
        }
    }

    /// Answers a call with this status; nothing but a 2xx has a body.
    pub fn tell(&mut self, call: &Incoming, status: u16, reason: &str) {
        let mut response = Sip::response(&call.invite, status, reason);
        if (101..300).contains(&status) {
            response.push("Contact", &format!("<{}>", self.contact_uri()));
        }
        if (200..300).contains(&status) {
            response.push(
                "Allow",
                "INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, NOTIFY, INFO",
            );
            if let Some(supports) = &self.supports {
                response.push("Supported", supports);
            }
            response = response.carrying("application/sdp", self.sdp_for(&call.invite).as_bytes());
        }
        let response = tagged(response, &call.tag);
        self.endpoint.answer(&call.invite, &response);
    }

    /// Picks up and waits for the ACK.
    pub fn pick_up(&mut self, call: &Incoming) -> Sip {
        self.tell(call, 200, "OK");
        self.expect("ACK")
    }

    /// Waits until a call is taken back, and ends it as it should.
    pub fn see_cancelled(&mut self, call: &Incoming) {
        let branch = call.invite.branch().to_owned();
        self.wait(
            "CANCEL",
            |event| matches!(event, Event::Cancelled(invite) if invite.branch() == branch),
        );
        self.tell(call, 487, "Request Terminated");
    }

    /// Hangs up.
    pub fn hang_up(&mut self, dialog: &mut Dialog) {
        let answer = self.say(dialog, |dialog| dialog.request("BYE"));
        assert_eq!(answer.status(), Some(200), "{answer}");
    }

    /// Asks something within a dialog and gives the final answer.
    pub fn say(&mut self, dialog: &mut Dialog, request: impl FnOnce(&mut Dialog) -> Sip) -> Sip {
        let asked = self.begin(dialog, request);
        self.end(dialog, asked)
    }

    /// Asks something within a dialog that the other phone is to answer first.
    pub fn begin(
        &mut self,
        dialog: &mut Dialog,
        request: impl FnOnce(&mut Dialog) -> Sip,
    ) -> Asked {
        let request = request(dialog);
        let hop = dialog.hop().expect("campon's Contact names an address");
        let cseq = request.cseq().0;
        let branch = self.endpoint.ask(request, hop);
        Asked { branch, cseq }
    }

    /// The final answer to it; a 2xx of INVITE is acknowledged.
    pub fn end(&mut self, dialog: &Dialog, Asked { branch, cseq }: Asked) -> Sip {
        let answer = self.final_answer(&branch);
        if answer.method() == "INVITE" && answer.status() < Some(300) {
            let hop = dialog.hop().expect("campon's Contact names an address");
            self.endpoint.acknowledge(dialog.numbered("ACK", cseq), hop);
        }
        answer
    }

    /// Waits for a request of that method; it is for the test to answer it.
    pub fn expect(&mut self, method: &str) -> Sip {
        let found = self.wait(
            method,
            |event| matches!(event, Event::Request(sip) if sip.method() == method),
        );
        let Event::Request(request) = found else {
            panic!("{found:?}");
        };
        request
    }

    /// Waits for a request of that method within this dialog, in its order, and agrees.
    pub fn agree(&mut self, dialog: &mut Dialog, method: &str) -> Sip {
        let request = self.expect(method);
        assert!(dialog.owns(&request), "not of {dialog:?}:\n{request}");
        if let Some(fault) = dialog.count(&request) {
            self.journal().complain(fault);
        }
        let mut response = Sip::response(&request, 200, "OK");
        if method == "INVITE" || method == "UPDATE" {
            response.push("Contact", &format!("<{}>", self.contact_uri()));
            response = response.carrying("application/sdp", self.sdp_for(&request).as_bytes());
        }
        self.answer(&request, response);
        request
    }

    pub fn answer(&mut self, request: &Sip, response: Sip) {
        let tag = self.endpoint.unique("t");
        self.endpoint.answer(request, &tagged(response, &tag));
    }

    /// Gives what comes within the time; nothing is what most tests want.
    pub fn quiet_for(&mut self, time: Duration) -> Option<Event> {
        let first = self.pending.pop_front();
        first.or_else(|| self.endpoint.poll(time))
    }

    /// Demands that nothing comes within the time, and nothing has come, but that calls are tried.
    pub fn stays_quiet(&mut self, time: Duration) {
        let until = Instant::now() + time;
        let is_trying =
            |event: &Event| matches!(event, Event::Response(sip) if sip.status() == Some(100));
        self.pending.retain(|event| !is_trying(event));
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.quiet_for(left) {
                None => return,
                Some(trying) if is_trying(&trying) => {}
                Some(event) => panic!("{event:?}\n{}", self.journal().story()),
            }
        }
    }

    fn wait(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        let until = Instant::now() + STEP_MAX;
        if let Some(place) = self.pending.iter().position(&wanted) {
            return self.pending.remove(place).expect("it was found there");
        }
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Some(event) = self.endpoint.poll(left) else {
                let (user, story) = (&self.user, self.journal().story());
                self.journal().demand_peace();
                panic!(
                    "{user} waits for {what} in vain; still there: {:?}\n{story}",
                    self.pending
                );
            };
            if wanted(&event) {
                return event;
            }
            self.pending.push_back(event);
        }
    }

    /// Demands that all was said that should be and nothing else.
    pub fn close(mut self) {
        while let Some(event) = self.endpoint.poll(Duration::from_millis(50)) {
            self.pending.push_back(event);
        }
        self.journal().demand_peace();
        let rest = self.pending.iter().filter(|event| match event {
            Event::Response(sip) => sip.status() != Some(100),
            Event::Request(_) | Event::Cancelled(_) | Event::Silence(_) => true,
        });
        let rest: Vec<_> = rest.collect();
        assert!(rest.is_empty(), "{rest:?}\n{}", self.journal().story());
    }

    /// An answer: what is offered as inactive stays so (RFC 3264 §6.1).
    fn sdp_for(&self, offer: &Sip) -> String {
        let offered = String::from_utf8_lossy(&offer.body);
        if offered.contains("a=inactive") {
            self.sdp().replace("sendrecv", "inactive")
        } else {
            self.sdp()
        }
    }

    /// An offer or answer of this phone's.
    pub fn sdp(&self) -> String {
        let ip = self.endpoint.local().ip();
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio 20000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
        )
    }
}

/// The address in a Contact of campon's.
pub fn place_of(contact: &str) -> Option<SocketAddr> {
    socket_address(address(contact))
}
