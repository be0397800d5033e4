//! What a phone does with calls of its own, and with requests within calls.
//!
//! Spec: RFC 3261 §9.1, §13.2, §14.1, §15.1.1.

use std::time::Duration;

use campon::time::Timestamp;

use super::call::{Act, Call, End, Errand, Phase, Taking};
use super::phone::Phone;
use super::transaction::Client;
use super::wire::{self, Parts};
use crate::flow::kit::message::Message;

impl Phone {
    /// Calls somebody.
    pub(crate) fn dial(&mut self, now: Timestamp, errand: &Errand) {
        let no = self.next_call();
        let mut call = Call::new(no, self.unique("call"), Phase::Inviting(Taking::Waits));
        let tag = self.unique("t");
        call.local = format!("<sip:{}@{}>;tag={tag}", self.user, self.domain);
        call.remote = format!("<{}>", errand.uri);
        call.target.clone_from(&errand.uri);
        call.to = errand.to;
        call.session = self.unique("session");
        call.talks = errand.talks;
        call.changes.clone_from(&errand.changes);
        call.lines = errand.lines;
        call.takes_reliable = self.rng.below(2) == 0;
        call.plan(now + errand.patience, Act::Cancel);
        self.calls.push(call);
        self.count("calls");
        let at = self.calls.len() - 1;
        self.invite(now, at, errand.offers_late);
    }

    /// Does what was planned, if the call still is where it was planned for.
    pub(crate) fn act(&mut self, now: Timestamp, at: usize, act: Act) {
        let call = &self.calls[at];
        match (act, call.phase) {
            (Act::Cancel, Phase::Inviting(taking)) => self.take_back(now, at, taking),
            (Act::HangUp, Phase::Up) if call.unacknowledged.is_some() => {
                self.calls[at].plan(now + Duration::from_millis(700), act);
            }
            (Act::HangUp, Phase::Up) => self.hang_up(now, at),
            (Act::Change, Phase::Up) => self.change(now, at),
            // Who talks picks up no other call.
            (Act::Answer(200), Phase::Offered) if self.talks_on() => {
                self.respond_to_invite(now, at, 486);
            }
            (Act::Ring(status) | Act::Answer(status), Phase::Offered) => {
                self.respond_to_invite(now, at, status);
            }
            (Act::GivesUp, Phase::Offered) => self.give_up(now, at),
            (Act::AnswerAgain, Phase::Up) => self.answer_as_other_fork(now, at),
            (Act::AnswerChange(status), Phase::Up) => self.respond_to_invite(now, at, status),
            _ => {}
        }
    }

    /// A 1xx came.
    pub(crate) fn on_progress(&mut self, now: Timestamp, no: u64, response: &Message) {
        let Some(at) = self.call_at(no) else { return };
        if response.status() > 100 && self.calls[at].phase != Phase::Up {
            self.count("rings heard");
        }
        if response.has("RSeq") {
            self.acknowledge_ringing(now, at, response);
        }
        match self.calls[at].phase {
            Phase::Inviting(Taking::Waits) => {
                self.calls[at].phase = Phase::Inviting(Taking::Hears);
            }
            Phase::Inviting(Taking::Wants) => self.send_cancel(now, at),
            Phase::Inviting(Taking::Hears | Taking::Took)
            | Phase::Offered
            | Phase::Up
            | Phase::Over => {}
        }
    }

    /// The first final response to an INVITE came.
    pub(crate) fn on_final(&mut self, now: Timestamp, client: usize, response: &Message) {
        let Some(at) = self.call_at(self.clients[client].call) else {
            return;
        };
        let is_first = self.clients[client].request.tag_of_to().is_empty();
        match (response.status(), is_first) {
            (200..300, true) => self.on_answer(now, at, client, response),
            (_, true) => {
                self.count(refusal(response.status()));
                self.calls[at].end();
            }
            (200..300, false) => {
                self.count("changes made");
                self.calls[at].changing = false;
                self.acknowledge(at, client, response);
            }
            (status, false) => self.on_change_refused(now, at, status),
        }
    }

    /// Timer B.
    pub(crate) fn on_invite_timeout(&mut self, now: Timestamp, client: &Client) {
        let Some(at) = self.call_at(client.call) else {
            return;
        };
        if client.request.tag_of_to().is_empty() {
            self.calls[at].end();
        } else {
            self.on_change_refused(now, at, 408);
        }
    }

    /// Sends a BYE; the call is over for this side.
    pub(crate) fn hang_up(&mut self, now: Timestamp, at: usize) {
        if self.calls[at].phase == Phase::Over {
            return;
        }
        self.count("hung up");
        // What still waits for an answer gets one.
        self.respond_to_invite(now, at, 487);
        self.calls[at].end();
        self.calls[at].cseq += 1;
        self.request_within(now, at, "BYE", ("", ""));
    }

    /// A BYE was answered 481: only if the other side hung up as well.
    pub(crate) fn on_bye_unknown(&mut self, no: u64) {
        self.count("BYEs that crossed");
        let unheard = |at: &usize| self.calls[*at].end == End::Unheard;
        if let Some(at) = self.call_at(no).filter(unheard) {
            self.calls[at].end = End::Unknown;
        }
    }

    fn invite(&mut self, now: Timestamp, at: usize, offers_late: bool) {
        self.calls[at].cseq += 1;
        let body = if offers_late {
            String::new()
        } else {
            wire::session(&self.calls[at].session, self.calls[at].cseq)
        };
        let is_new = !self.calls[at].remote.contains(";tag=");
        let call = &self.calls[at];
        let lines = match (is_new, call.takes_reliable) {
            (true, true) => format!("Supported: 100rel\r\n{}", call.lines),
            (true, false) => call.lines.to_owned(),
            (false, _) => String::new(),
        };
        self.request_within(now, at, "INVITE", (&lines, &body));
    }

    fn take_back(&mut self, now: Timestamp, at: usize, taking: Taking) {
        match taking {
            Taking::Waits => {
                self.count("taken back early");
                self.calls[at].phase = Phase::Inviting(Taking::Wants);
            }
            Taking::Hears => self.send_cancel(now, at),
            Taking::Wants | Taking::Took => {}
        }
    }

    fn send_cancel(&mut self, now: Timestamp, at: usize) {
        self.count("taken back");
        self.calls[at].phase = Phase::Inviting(Taking::Took);
        let call = self.calls[at].no;
        let mut clients = self.clients.iter_mut();
        let is_invite =
            |client: &&mut Client| client.call == call && client.request.kind() == "INVITE";
        let client = clients.find(|client| is_invite(client) && client.is_open());
        let client = client.expect("the INVITE is open");
        client.takes_back(now);
        let invite = &client.request;
        let (cancel, to) = (wire::cancel(invite), self.calls[at].to);
        self.start(now, call, to, cancel);
    }

    fn on_answer(&mut self, now: Timestamp, at: usize, client: usize, response: &Message) {
        let call = &mut self.calls[at];
        let was_taken_back = call.phase != Phase::Inviting(Taking::Hears)
            && call.phase != Phase::Inviting(Taking::Waits);
        call.remote = response.header("To").to_owned();
        call.target = response.contact().to_owned();
        call.to = wire::address_of(response.header("Contact"));
        call.agenda.clear();
        call.phase = Phase::Up;
        call.plan_talk(now);
        let offered = !self.clients[client].request.body().is_empty();
        let answer = wire::session_name(response);
        // A feature code is answered by campon itself.
        let is_code = response.header("To").contains("%23");
        if offered && !is_code && answer.as_ref() != Some(&self.calls[at].session) {
            let what = format!("{} got the answer of {answer:?}", self.calls[at].id);
            self.faults.push(what);
        }
        self.count("answers heard");
        self.acknowledge(at, client, response);
        if was_taken_back {
            self.count("answers that crossed");
            self.hang_up(now, at);
        }
    }

    fn acknowledge(&mut self, at: usize, client: usize, response: &Message) {
        let invite = &self.clients[client].request;
        let (cseq, offered) = (invite.cseq(), !invite.body().is_empty());
        let body = match wire::session_name(response) {
            Some(name) if !offered => wire::session(&name, cseq),
            _ => String::new(),
        };
        self.calls[at].to = wire::address_of(response.header("Contact"));
        let branch = self.unique("z9hG4bK");
        let call = &self.calls[at];
        let parts = Parts {
            method: "ACK",
            uri: &call.target,
            branch: &branch,
            from: &call.local,
            to: &call.remote,
            call_id: &call.id,
            cseq,
            lines: "",
            body: &body,
        };
        let packet = (call.to, wire::request(self.address, &parts));
        self.out.push(packet.clone());
        self.clients[client].acknowledges_with(packet);
    }

    fn change(&mut self, now: Timestamp, at: usize) {
        let call = &mut self.calls[at];
        let busy = call.changing || call.unacknowledged.is_some();
        let no = call.no;
        let being_changed = self
            .servers
            .iter()
            .any(|server| server.call == no && server.is_open());
        if busy || being_changed {
            self.calls[at].plan(now + Duration::from_millis(900), Act::Change);
            return;
        }
        self.calls[at].changing = true;
        self.count("changes asked for");
        let offers_late = self.rng.below(4) == 0;
        self.invite(now, at, offers_late);
    }

    fn on_change_refused(&mut self, now: Timestamp, at: usize, status: u16) {
        self.calls[at].changing = false;
        self.count("changes refused");
        match status {
            // S-19: whoever made the Call-ID waits longer.
            491 if self.calls[at].phase == Phase::Up => {
                self.count("glare");
                let owns = self.calls[at].heard_cseq == 0;
                let (least, most) = if owns { (2100, 4000) } else { (0, 2000) };
                let wait = least + self.rng.below((most - least) / 10) * 10;
                self.calls[at].plan(now + Duration::from_millis(wait), Act::Change);
            }
            481 | 408 => self.hang_up(now, at),
            _ => {}
        }
    }

    /// RFC 3262 §4: each once, in order, within the dialog of its fork.
    fn acknowledge_ringing(&mut self, now: Timestamp, at: usize, response: &Message) {
        let call = &mut self.calls[at];
        let rseq: u32 = response.header("RSeq").parse().expect("a number");
        if !call.takes_reliable || !response.lists("Require", "100rel") {
            let what = format!("{} was told reliably unasked", call.id);
            return self.faults.push(what);
        }
        if !call.is_told_anew(response, rseq) || !matches!(call.phase, Phase::Inviting(_)) {
            return;
        }
        call.cseq += 1;
        let outside = (
            std::mem::replace(&mut call.remote, response.header("To").to_owned()),
            std::mem::replace(&mut call.target, response.contact().to_owned()),
        );
        let lines = format!("RAck: {rseq} {}\r\n", response.header("CSeq"));
        self.count("PRACKs sent");
        self.request_within(now, at, "PRACK", (&lines, ""));
        (self.calls[at].remote, self.calls[at].target) = outside;
    }

    fn request_within(
        &mut self,
        now: Timestamp,
        at: usize,
        method: &'static str,
        (lines, body): (&str, &str),
    ) {
        let branch = self.unique("z9hG4bK");
        let call = &self.calls[at];
        let parts = Parts {
            method,
            uri: &call.target,
            branch: &branch,
            from: &call.local,
            to: &call.remote,
            call_id: &call.id,
            cseq: call.cseq,
            lines,
            body,
        };
        let request = wire::request(self.address, &parts);
        let (no, to) = (call.no, call.to);
        self.start(now, no, to, request);
    }
}

fn refusal(status: u16) -> &'static str {
    match status {
        300..400 => "redirected",
        404 | 480 => "not there",
        408 => "given up by campon",
        486 => "busy",
        487 => "ended as taken back",
        500..600 => "failed",
        _ => "refused",
    }
}
