//! How the switchboard connects calls and passes on what is said in them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::branch::{Branch, Call, Progress, Side, State};
use super::dialog::{Dialog, socket_address};
use super::endpoint::tagged;
use super::sip::{Sip, address, bare, name_addr, user};
use super::switchboard::{DOMAIN, HUNT_STEP, Switchboard, extension};
use super::switches::{CallerShown, Ids, Voicemail};

/// What is a hop's own, and is not copied to the other side.
const OWN: &[&str] = &[
    "Via",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Contact",
    "Max-Forwards",
    "Route",
    "Record-Route",
    "Content-Length",
    "Content-Type",
    "Authorization",
    "Proxy-Authorization",
    "Proxy-Authenticate",
    "WWW-Authenticate",
    "P-Asserted-Identity",
    "Require",
    "Supported",
    "RSeq",
    "RAck",
    "Session-Expires",
    "Min-SE",
];

/// A request that was passed on to the other side.
pub struct Relayed {
    request: Sip,
    call: usize,
    side: Side,
}

impl Switchboard {
    /// Takes an INVITE of a user.
    pub fn dial(&mut self, invite: &Sip, caller: &str) {
        let number = user(invite.uri()).unwrap_or_default().to_owned();
        if self.switches.talking.contains(&number) {
            return self.refuse(invite, 486, "Busy Here");
        }
        let mut waves: VecDeque<_> = self.plan(&number).into();
        waves.retain(|wave| !wave.is_empty());
        if self.plan(&number).is_empty() {
            return self.refuse(invite, 404, "Not Found");
        }
        let mailbox = self.switches.voicemail != Voicemail::Never;
        if waves.is_empty() && !mailbox {
            return self.refuse(invite, 480, "Temporarily Unavailable");
        }
        let rings = match self.switches.voicemail {
            Voicemail::After(time) => time,
            Voicemail::Never | Voicemail::OnBusy => self.switches.rings,
        };
        let rings = if waves.len() > 1 { HUNT_STEP } else { rings };
        let tag = self.endpoint.unique("p");
        let trying = Sip::response(invite, 100, "Trying");
        self.endpoint.answer(invite, &trying);
        self.calls.push(Call {
            invite: invite.clone(),
            caller: Dialog::of_server(invite, &tag),
            branches: Vec::new(),
            waves,
            state: State::Ringing,
            rings_until: Instant::now() + rings,
            mailbox,
            invites: BTreeMap::new(),
        });
        self.ring_next(self.calls.len() - 1, caller);
    }

    /// Rings those who are next, or ends the call.
    fn ring_next(&mut self, index: usize, caller: &str) {
        let Some(wave) = self
            .calls
            .get_mut(index)
            .and_then(|call| call.waves.pop_front())
        else {
            return self.nobody_answers(index);
        };
        for contact in wave {
            let Some(to) = socket_address(&contact) else {
                let invite = self.calls[index].invite.clone();
                self.complain(&format!("`{contact}` names no address"), &invite);
                continue;
            };
            let invite = self.invite_for(index, &contact, caller);
            let dialog = Dialog::of_client(&invite);
            let cseq = invite.cseq().0;
            let id = self.endpoint.ask(invite, to);
            let call = &mut self.calls[index];
            call.invites
                .insert((Side::Caller, call.invite.cseq().0), cseq);
            call.branches.push(Branch {
                id,
                dialog,
                progress: Progress::Trying,
                last: None,
            });
        }
    }

    /// The INVITE towards a phone.
    fn invite_for(&mut self, index: usize, contact: &str, caller: &str) -> Sip {
        let fresh = (self.endpoint.unique("p"), self.endpoint.unique("pbx"));
        let invite = self.calls[index].invite.clone();
        let (tag, call_id, cseq) = match self.switches.ids {
            Ids::New => (fresh.0, fresh.1, 101),
            Ids::Kept => (
                invite.tag_of_from().unwrap_or_default().to_owned(),
                invite.call_id().to_owned(),
                invite.cseq().0,
            ),
        };
        let written = name_addr(invite.first("From").unwrap_or_default()).to_owned();
        let from = match self.switches.caller {
            CallerShown::AsWritten => written,
            CallerShown::Extension => {
                format!("<sip:{}@{DOMAIN}>", extension(caller).unwrap_or(caller))
            }
            CallerShown::Anonymous => "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned(),
        };
        let to = address(invite.first("To").unwrap_or_default());
        let to = if self.switches.strips { bare(to) } else { to };
        let mut out = Sip::request("INVITE", contact)
            .with("From", &format!("{from};tag={tag}"))
            .with("To", &format!("<{to}>"))
            .with("Call-ID", &call_id)
            .with("CSeq", &format!("{cseq} INVITE"))
            .with("Contact", &self.contact());
        if self.switches.caller == CallerShown::Extension {
            out.push("P-Asserted-Identity", &format!("<sip:{caller}@{DOMAIN}>"));
        }
        self.copy(&invite, &mut out);
        out
    }

    pub fn contact(&self) -> String {
        format!("<sip:pbx@{}>", self.endpoint.local())
    }

    /// Copies body and end-to-end headers.
    fn copy(&self, from: &Sip, to: &mut Sip) {
        for (name, value) in &from.headers {
            let own = OWN.iter().any(|own| own.eq_ignore_ascii_case(name));
            let stripped = self.switches.strips && name.eq_ignore_ascii_case("Call-Info");
            if !own && !stripped {
                to.push(name, value);
            }
        }
        if let Some(kind) = from.first("Content-Type") {
            to.push("Content-Type", kind);
            to.body.clone_from(&from.body);
        }
    }

    /// A response to the call of that index; its tag is that of the branch it comes from.
    fn tell_caller(&mut self, index: usize, told: &Sip) {
        let Some(call) = self.calls.get(index) else {
            return;
        };
        let (status, reason) = (told.status().unwrap_or(500), told.reason().to_owned());
        let mut response = Sip::response(&call.invite, status, &reason);
        if (101..300).contains(&status) {
            response.push("Contact", &self.contact());
        }
        let own = call.caller.local_tag().unwrap_or_default().to_owned();
        let tag = match (self.switches.ids, told.tag_of_to()) {
            (Ids::Kept, Some(tag)) => tag.to_owned(),
            (Ids::New | Ids::Kept, _) => own,
        };
        self.copy(told, &mut response);
        let invite = call.invite.clone();
        self.endpoint.answer(&invite, &tagged(response, &tag));
        if status >= 200 {
            let call = &mut self.calls[index];
            let to = invite.first("To").unwrap_or_default();
            call.caller.local = format!("{to};tag={tag}");
        }
    }

    pub fn response(&mut self, response: &Sip) {
        if let Some(relayed) = self.relayed.get(response.branch()) {
            let (request, call, side) = (relayed.request.clone(), relayed.call, relayed.side);
            return self.relayed_answer(&request, response, (call, side));
        }
        let id = response.branch();
        let place = self.calls.iter().enumerate().find_map(|(index, call)| {
            let branch = call.branches.iter().position(|one| one.id == id)?;
            Some((index, branch))
        });
        let (Some((index, branch)), "INVITE") = (place, response.method()) else {
            return;
        };
        match response.status() {
            Some(..=100) => {}
            Some(101..=199) => {
                let call = &mut self.calls[index];
                if call.is_ringing() && call.branches[branch].progress == Progress::Trying {
                    self.tell_caller(index, response);
                }
            }
            Some(200..=299) => self.answered(index, branch, response),
            Some(_) | None => {
                let one = &mut self.calls[index].branches[branch];
                if one.progress == Progress::Trying {
                    one.progress = Progress::Failed;
                }
                one.last = Some(response.clone());
                if [401, 407].contains(&response.status().unwrap_or_default()) {
                    self.complain("a challenge to the PBX", response);
                }
                self.next_if_refused(index);
            }
        }
    }

    fn next_if_refused(&mut self, index: usize) {
        if self.calls[index].is_refused() {
            let from = self.calls[index].invite.first("From").unwrap_or_default();
            let caller = user(address(from)).unwrap_or_default().to_owned();
            self.ring_next(index, &caller);
        }
    }

    fn answered(&mut self, index: usize, branch: usize, response: &Sip) {
        let call = &mut self.calls[index];
        let one = &mut call.branches[branch];
        one.dialog.learn(response);
        if call.state != State::Ringing {
            // A second phone, or one whose CANCEL came too late: RFC 3261 §13.2.2.4.
            one.progress = Progress::Answered;
            let cseq = one.dialog.cseq;
            let (ack, bye) = (one.dialog.numbered("ACK", cseq), one.dialog.request("BYE"));
            let hop = one.dialog.hop();
            if let Some(hop) = hop {
                self.endpoint.acknowledge(ack, hop);
                self.endpoint.ask(bye, hop);
            }
            return;
        }
        one.progress = Progress::Answered;
        call.state = State::Talking(branch);
        self.tell_caller(index, response);
        self.cancel_branches(
            index,
            Some("SIP;cause=200;text=\"Call completed elsewhere\""),
        );
    }

    fn cancel_branches(&mut self, index: usize, reason: Option<&str>) {
        let mut ids = Vec::new();
        for branch in &mut self.calls[index].branches {
            if branch.progress == Progress::Trying {
                branch.progress = Progress::Cancelled;
                ids.push(branch.id.clone());
            }
        }
        for id in ids {
            self.endpoint.cancel(&id, reason);
        }
    }

    pub fn cancelled(&mut self, invite: &Sip) {
        let same = |call: &Call| call.invite.branch() == invite.branch();
        let Some(index) = self.calls.iter().position(same) else {
            return;
        };
        if !self.calls[index].is_ringing() {
            return;
        }
        self.calls[index].state = State::Ended;
        self.cancel_branches(index, None);
        let gone = Sip::response(invite, 487, "Request Terminated");
        self.tell_caller(index, &gone);
    }

    /// Nobody is left to be rung.
    fn nobody_answers(&mut self, index: usize) {
        self.cancel_branches(index, None);
        let call = &self.calls[index];
        if call.mailbox {
            let answer = Sip::response(&call.invite, 200, "OK").carrying(
                "application/sdp",
                mailbox_sdp(self.endpoint.local()).as_bytes(),
            );
            self.calls[index].state = State::Recording;
            return self.tell_caller(index, &answer);
        }
        let (status, reason) = call.worst();
        self.calls[index].state = State::Ended;
        let failure = Sip::response(&self.calls[index].invite, status, &reason);
        self.tell_caller(index, &failure);
    }

    /// Lets the calls go on that have rung for long enough.
    pub fn ring_out(&mut self) {
        let now = Instant::now();
        for index in 0..self.calls.len() {
            if !self.calls[index].is_ringing() || self.calls[index].rings_until > now {
                continue;
            }
            self.calls[index].rings_until = now + HUNT_STEP;
            self.cancel_branches(index, None);
            self.next_if_refused(index);
        }
    }

    pub fn in_dialog(&mut self, request: &Sip) {
        let mut calls = self.calls.iter().enumerate();
        let found = calls.find_map(|(index, call)| Some((index, call.side_of(request)?)));
        let Some((index, side)) = found else {
            if request.method() != "ACK" {
                self.refuse(request, 481, "Call/Transaction Does Not Exist");
            }
            return self.complain("a request in no dialog", request);
        };
        let call = &mut self.calls[index];
        let fault = call.dialog(side).and_then(|dialog| dialog.count(request));
        let state = call.state;
        if let Some(fault) = fault {
            self.endpoint.journal().complain(fault);
        }
        match (request.method(), state) {
            ("ACK", State::Talking(_)) => self.pass_ack(index, side, request),
            ("ACK", State::Ringing | State::Recording | State::Ended) => {}
            ("BYE", _) => {
                self.refuse(request, 200, "OK");
                self.hang_up(index, side, request);
            }
            (_, State::Talking(_)) => self.pass_on(index, side, request),
            ("INVITE", State::Recording) => {
                let sdp = mailbox_sdp(self.endpoint.local());
                let answer = Sip::response(request, 200, "OK")
                    .with("Contact", &self.contact())
                    .carrying("application/sdp", sdp.as_bytes());
                self.endpoint.answer(request, &answer);
            }
            (_, State::Ringing | State::Recording) => self.refuse(request, 200, "OK"),
            (_, State::Ended) => {
                self.refuse(request, 481, "Call/Transaction Does Not Exist");
            }
        }
    }

    fn pass_ack(&mut self, index: usize, side: Side, ack: &Sip) {
        let call = &mut self.calls[index];
        let Some(&cseq) = call.invites.get(&(side, ack.cseq().0)) else {
            return self.complain("an ACK of no INVITE", ack);
        };
        let Some(dialog) = call.dialog(side.other()) else {
            return;
        };
        let (mut out, hop) = (dialog.numbered("ACK", cseq), dialog.hop());
        self.copy(ack, &mut out);
        if let Some(hop) = hop {
            self.endpoint.acknowledge(out, hop);
        }
    }

    fn hang_up(&mut self, index: usize, side: Side, bye: &Sip) {
        let call = &mut self.calls[index];
        let Some(dialog) = call.dialog(side.other()) else {
            call.state = State::Ended;
            return;
        };
        let (mut out, hop) = (dialog.request("BYE"), dialog.hop());
        let was_up = std::mem::replace(&mut call.state, State::Ended) != State::Ended;
        self.copy(bye, &mut out);
        if let (Some(hop), true) = (hop, was_up) {
            self.endpoint.ask(out, hop);
        }
    }

    fn pass_on(&mut self, index: usize, side: Side, request: &Sip) {
        let contact = self.contact();
        let call = &mut self.calls[index];
        let Some(dialog) = call.dialog(side.other()) else {
            return;
        };
        let (mut out, hop) = (dialog.request(request.method()), dialog.hop());
        let cseq = dialog.cseq;
        if request.method() == "INVITE" {
            call.invites.insert((side, request.cseq().0), cseq);
        }
        if request.first("Contact").is_some() {
            out.push("Contact", &contact);
        }
        self.copy(request, &mut out);
        let Some(hop) = hop else {
            return self.refuse(request, 500, "Server Internal Error");
        };
        let branch = self.endpoint.ask(out, hop);
        let relayed = Relayed {
            request: request.clone(),
            call: index,
            side,
        };
        self.relayed.insert(branch, relayed);
    }

    fn relayed_answer(&mut self, request: &Sip, response: &Sip, (call, side): (usize, Side)) {
        let status = response.status().unwrap_or(500);
        let mut out = Sip::response(request, status, response.reason());
        if response.first("Contact").is_some() {
            out.push("Contact", &self.contact());
        }
        self.copy(response, &mut out);
        let moved = response.contact().filter(|_| (200..300).contains(&status));
        if let (Some(contact), true) = (moved, ["INVITE", "UPDATE"].contains(&request.method())) {
            let dialog = self
                .calls
                .get_mut(call)
                .and_then(|call| call.dialog(side.other()));
            if let Some(dialog) = dialog {
                contact.clone_into(&mut dialog.target);
            }
        }
        self.endpoint.answer(request, &out);
    }

    pub fn silence(&mut self, branch: &str) {
        if let Some(relayed) = self.relayed.remove(branch) {
            return self.refuse(&relayed.request, 408, "Request Timeout");
        }
        for index in 0..self.calls.len() {
            let mut branches = self.calls[index].branches.iter_mut();
            if let Some(silent) = branches.find(|one| one.id == branch) {
                silent.progress = Progress::Failed;
                self.next_if_refused(index);
                return;
            }
        }
        // A CANCEL, a BYE or a probe: whoever is silent there is asked about by nobody else.
        let journal = self.endpoint.journal();
        journal.complain(format!("silence to {branch}"));
    }
}

/// Where the mailbox listens: RTP that comes there is nobody's.
fn mailbox_sdp(local: std::net::SocketAddr) -> String {
    let ip = local.ip();
    format!(
        "v=0\r\no=mailbox 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=audio 40000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
    )
}
