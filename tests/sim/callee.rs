//! What a phone does when it is called, and how its user behaves.
//!
//! Spec: RFC 3261 §9.2, §13.3, §14.2, §15.1.2.

use std::net::SocketAddr;
use std::time::Duration;

use campon::time::Timestamp;

use super::call::{Act, Call, End, Phase};
use super::phone::{Network, Phone};
use super::transaction::{Repeat, Server, T2};
use super::wire;
use crate::flow::kit::message::Message;

/// How long a phone rings that nobody picks up: longer than any caller waits.
const GIVES_UP: Duration = Duration::from_mins(15);

impl Phone {
    /// Somebody calls.
    pub(crate) fn on_invite(&mut self, now: Timestamp, from: SocketAddr, request: Message) {
        self.count("calls received");
        let no = self.next_call();
        let mut call = Call::new(no, request.call_id().to_owned(), Phase::Offered);
        call.local = format!("{};tag={}", request.header("To"), self.unique("t"));
        request.header("From").clone_into(&mut call.remote);
        request.contact().clone_into(&mut call.target);
        call.to = wire::address_of(request.header("Contact"));
        call.heard_cseq = request.cseq();
        call.cseq = 100;
        call.session = self.unique("session");
        (self.manners)(self, now, &request, &mut call);
        self.calls.push(call);
        self.servers.push(Server::new(request, no, from));
    }

    /// Somebody wants to change a call.
    pub(crate) fn on_change(&mut self, now: Timestamp, from: SocketAddr, request: Message) {
        let found = self.calls.iter().position(|call| call.is_for(&request));
        let Some(at) = found.filter(|at| self.calls[*at].phase == Phase::Up) else {
            if let Some(at) = found {
                self.calls[at].end = End::Known;
            }
            return self.answer(now, from, request, 481);
        };
        let call = &mut self.calls[at];
        let (no, cseq) = (call.no, request.cseq());
        if cseq <= call.heard_cseq {
            self.count("requests out of order");
            return self.answer(now, from, request, 500);
        }
        call.heard_cseq = cseq;
        if call.changing {
            return self.answer(now, from, request, 491);
        }
        let open = |server: &Server| server.call == no && server.is_open();
        if self.servers.iter().any(open) {
            return self.answer(now, from, request, 500);
        }
        self.count("changes received");
        let act = match self.rng.below(20) {
            0 => Act::AnswerChange(488),
            _ => Act::AnswerChange(200),
        };
        let wait = if self.rng.below(4) == 0 { 1200 } else { 0 };
        let at_time = now + Duration::from_millis(self.rng.below(wait + 1));
        self.calls[at].plan(at_time, act);
        self.servers.push(Server::new(request, no, from));
    }

    /// Somebody takes back what he asked for.
    pub(crate) fn on_cancel(&mut self, now: Timestamp, from: SocketAddr, request: Message) {
        let asked = self
            .servers
            .iter()
            .position(|server| server.is_asked_by(&request));
        let Some(found) = asked else {
            return self.answer(now, from, request, 481);
        };
        let (no, open) = {
            let server = &self.servers[found];
            (server.call, server.is_open())
        };
        self.answer(now, from, request, 200);
        if let Some(at) = self.call_at(no).filter(|_| open) {
            self.count("cancels received");
            self.respond_to_invite(now, at, 487);
        }
    }

    /// Nobody picks up, and nobody takes the call back: no phone rings for ever.
    ///
    /// RFC 3261 §9.1: whoever has heard a 1xx takes back what he no longer wants. Whose INVITE came once
    /// more may have heard none until timer B, and he must not.
    pub(crate) fn give_up(&mut self, now: Timestamp, at: usize) {
        let call = &self.calls[at];
        let is_its = |server: &&Server| server.call == call.no && server.is_open();
        let is_heard = self
            .servers
            .iter()
            .find(is_its)
            .is_some_and(Server::came_once);
        if is_heard && self.network < Network::Loses {
            let what = format!("nobody took {} back", call.id);
            self.faults.push(what);
        }
        self.respond_to_invite(now, at, 480);
    }

    /// Somebody hangs up.
    pub(crate) fn on_bye(&mut self, now: Timestamp, from: SocketAddr, request: Message) {
        let found = self.calls.iter().position(|call| call.is_for(&request));
        let Some(at) = found else {
            return self.answer(now, from, request, 481);
        };
        self.answer(now, from, request, 200);
        if self.calls[at].phase != Phase::Over {
            self.count("hang-ups received");
            // S-21: what still waits for an answer gets 487.
            self.respond_to_invite(now, at, 487);
            self.calls[at].end();
        }
        self.calls[at].end = End::Known;
    }

    /// An answer or a refusal is acknowledged.
    pub(crate) fn on_ack(&mut self, now: Timestamp, request: &Message) {
        let mut servers = self.servers.iter_mut();
        if let Some(server) = servers.find(|server| server.is_for(request)) {
            return server.handle_ack(now);
        }
        let Some(at) = self.calls.iter().position(|call| call.is_for(request)) else {
            return;
        };
        let call = &mut self.calls[at];
        let waits = call.unacknowledged.as_ref();
        if waits.is_none_or(|(cseq, _)| *cseq != request.cseq()) {
            return;
        }
        call.unacknowledged = None;
        if let Some(asked) = call.asked.take() {
            let answer = wire::session_name(request);
            let what = format!("{} asked {asked} and got {answer:?} in the ACK", call.id);
            // An offer may go unanswered only if the call ends at once: the caller had gone.
            match answer {
                Some(answer) if answer == asked => {}
                // Campon's own, which declines.
                Some(answer) if answer == "-" => call.unanswered = Some(what),
                Some(_) => self.faults.push(what),
                None => call.unanswered = Some(what),
            }
        }
    }

    /// Answers the INVITE or re-INVITE of a call that waits for it.
    pub(crate) fn respond_to_invite(&mut self, now: Timestamp, at: usize, status: u16) {
        let no = self.calls[at].no;
        let open = |server: &Server| server.call == no && server.is_open();
        let Some(found) = self.servers.iter().position(open) else {
            return;
        };
        let request = self.servers[found].request.clone();
        let body = self.session_for(at, &request, status);
        let tag = self.calls[at].local.rsplit("tag=").next();
        let tag = tag.unwrap_or_default().to_owned();
        let lines = self.adds.clone();
        let response = wire::response(self.address, &request, (status, &lines), &tag, &body);
        let packet = self.servers[found].respond(now, &response, &mut self.out);
        match status {
            ..200 => self.count("rings given"),
            200..300 => self.on_answered(now, at, &request, packet),
            _ if request.tag_of_to().is_empty() => {
                self.count("refusals given");
                self.calls[at].end();
            }
            _ => {}
        }
    }

    /// Another fork behind this phone's address answers the same INVITE.
    pub(crate) fn answer_as_other_fork(&mut self, now: Timestamp, at: usize) {
        let no = self.calls[at].no;
        let mut servers = self.servers.iter();
        let Some(server) = servers.find(|server| server.call == no) else {
            return;
        };
        let request = server.request.clone();
        let (body, tag) = (
            self.session_for(at, &request, 200),
            self.unique("other-fork"),
        );
        self.count("second forks");
        let other = self.next_call();
        let mut call = Call::new(other, request.call_id().to_owned(), Phase::Up);
        call.local = format!("{};tag={tag}", request.header("To"));
        call.remote.clone_from(&self.calls[at].remote);
        call.target.clone_from(&self.calls[at].target);
        call.to = self.calls[at].to;
        call.heard_cseq = request.cseq();
        call.cseq = 500;
        let response = wire::response(self.address, &request, (200, ""), &tag, &body);
        let repeat = Repeat::start(now, (call.to, response), T2, &mut self.out);
        call.unacknowledged = Some((request.cseq(), Some(repeat)));
        self.calls.push(call);
    }

    fn on_answered(
        &mut self,
        now: Timestamp,
        at: usize,
        request: &Message,
        packet: super::transaction::Packet,
    ) {
        let repeat = Repeat::start(now, packet, T2, &mut self.out);
        let call = &mut self.calls[at];
        call.unacknowledged = Some((request.cseq(), Some(repeat)));
        call.target = request.contact().to_owned();
        if request.tag_of_to().is_empty() {
            call.phase = Phase::Up;
            call.plan_talk(now);
            self.count("answers given");
        }
    }

    /// The answer to an offer bears the offer's name; an offer bears ours.
    fn session_for(&mut self, at: usize, request: &Message, status: u16) -> String {
        if !(180..300).contains(&status) || status == 180 {
            return String::new();
        }
        let offered = wire::session_name(request);
        let name = offered.as_ref().unwrap_or(&self.calls[at].session).clone();
        if status >= 200 {
            self.calls[at].asked = offered.is_none().then(|| name.clone());
        }
        wire::session(&name, request.cseq())
    }

    /// How the user takes this call.
    pub(crate) fn plan_manners(&mut self, now: Timestamp, _: &Message, call: &mut Call) {
        let after = |ms: u64| now + Duration::from_millis(ms);
        let soon = self.rng.below(300);
        let later = soon + 200 + self.rng.below(9000);
        call.talks = Duration::from_millis(500 + self.rng.below(40_000));
        if self.rng.below(4) == 0 {
            let change = Duration::from_millis(200 + self.rng.below(6000));
            call.changes.push(change);
        }
        match self.rng.below(40) {
            // The phone is dead, and comes back when the caller has given up.
            0 => call.plan(after(45_000), Act::Answer(480)),
            // Something answers for it, and nothing follows.
            1 => {
                call.plan(after(soon), Act::Ring(100));
                call.plan(now + GIVES_UP, Act::GivesUp);
            }
            // It rings and nobody comes, or it rings before that.
            2..4 => {
                call.plan(after(soon), Act::Ring(180));
                call.plan(now + GIVES_UP, Act::GivesUp);
            }
            4..10 => call.plan(after(soon), Act::Answer(self.refusal())),
            10..14 => {
                call.plan(after(soon), Act::Ring(180));
                call.plan(after(later), Act::Answer(self.refusal()));
            }
            14..17 => call.plan(after(soon), Act::Answer(200)),
            17..20 => {
                call.plan(after(soon), Act::Ring(183));
                call.plan(after(soon + 50), Act::Ring(180));
                call.plan(after(later), Act::Answer(200));
            }
            20..22 => {
                call.plan(after(soon), Act::Ring(180));
                call.plan(after(later), Act::Answer(200));
                if self.has_forks {
                    call.plan(after(later + 1), Act::AnswerAgain);
                }
            }
            _ => {
                call.plan(after(soon), Act::Ring(180));
                call.plan(after(later), Act::Answer(200));
            }
        }
    }

    fn refusal(&mut self) -> u16 {
        let codes = [302, 404, 480, 486, 486, 486, 488, 500, 503, 600, 603];
        let at = self.rng.below(codes.len() as u64);
        codes[usize::try_from(at).expect("small")]
    }
}
