//! Feature codes: what a user dials to ask for completion and to take it back.
//!
//! Spec: TS 24.642 §4.5; DESIGN §8.2. A code is a code for our users alone, on their own flows.

use crate::call::Call;
use crate::completion::{Code, Complete, CompletionId, Input, Mode, Ticket, Which, WhichCall};
use crate::location::Aor;
use crate::shard::desk::{name_of, show};
use crate::shard::offer::About;
use crate::shard::{Held, Parties, Reject, Shard};
use crate::sip::flow::Flow;
use crate::sip::{Checked, Message, Request, Scratch, Status, Uri};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::branch::hex;
use crate::transaction::reply;
use crate::transaction::servers::Answer;

/// A code whose INVITE waits for its answer.
#[derive(Debug)]
pub(super) struct Asked {
    caller: Aor,
    code: Code,
    server: Key,
    flow: Flow,
    invite: Box<[u8]>,
    call_id: String,
    phone: Phone,
}

/// Whether the phone still wants to know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phone {
    HasHungUp,
    Waits,
}

impl Asked {
    /// The one line that a code leaves in the log.
    fn log(&self, refused: Option<crate::completion::Reject>) {
        tracing::info!(
            call_id = %self.call_id,
            caller = show(&name_of(&self.caller)),
            code = match self.code {
                Code::CancelAll => "cancel_all",
                Code::CancelLast => "cancel_last",
                Code::RequestLast => "request_last",
            },
            refused = refused.map(|reject| reject.to_string()),
            "code dialled"
        );
    }
}

impl Shard {
    /// The code that a user of ours dialled, if it is one.
    pub(super) fn code_of(&self, request: &Request<'_>) -> Option<Code> {
        if !self.settings.completion.enabled {
            return None;
        }
        match request.uri {
            // The phones of a PBX keep its domain.
            Uri::Sip(uri) if self.edge.is_some() || self.domains.is_own(&uri) => {
                self.settings.completion.codes.parse(uri.user?)
            }
            Uri::Tel(tel) => self.settings.completion.codes.parse(tel.number),
            Uri::Sip(_) | Uri::Urn(_) | Uri::Other(_) => None,
        }
    }

    /// Asks the service; its answer answers the INVITE.
    pub(super) fn on_code(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
        (caller, code): (&Aor, Code),
    ) -> Result<(), Reject> {
        let server = self
            .layer
            .accept(now, request, flow, None)
            .map_err(|_| Reject::TableFull)?;
        self.layer.respond(now, server, &Answer::TRYING);
        let ticket = self.desk.ticket();
        let asked = Asked {
            caller: caller.clone(),
            code,
            server,
            flow: *flow,
            invite: Box::from(request.message.raw()),
            call_id: request.call_id.escape_ascii().to_string(),
            phone: Phone::Waits,
        };
        self.desk.asked.insert(ticket, asked);
        // R2: he is on the phone until he knows, so that no recall runs into it.
        self.users.engage(caller);
        let caller = name_of(caller);
        let which = match code {
            Code::RequestLast => {
                self.desk.facts.push_back(Input::Complete(Complete {
                    ticket,
                    caller,
                    call: WhichCall::Last,
                    mode: Mode::Callback,
                }));
                return Ok(());
            }
            Code::CancelLast => Which::Last,
            Code::CancelAll => Which::All,
        };
        self.desk.facts.push_back(Input::Uncomplete {
            ticket,
            caller,
            which,
        });
        Ok(())
    }

    /// S-09: the phone takes a code back that waits for a peer.
    pub(super) fn cancel_code(&mut self, now: Timestamp, server: Key) {
        let mut asked = self.desk.asked.values_mut();
        let Some(asked) = asked.find(|asked| asked.server == server) else {
            return;
        };
        asked.phone = Phone::HasHungUp;
        let caller = asked.caller.clone();
        self.refuse_code(now, (&caller, server), (Status::REQUEST_TERMINATED, ""));
    }

    /// What the service answered, with the request if one was made: done is a call that is answered
    /// and ended at once.
    pub(super) fn answer_code(
        &mut self,
        now: Timestamp,
        ticket: Ticket,
        result: Result<Option<CompletionId>, crate::completion::Reject>,
    ) {
        let Some(asked) = self.desk.asked.remove(&ticket) else {
            return;
        };
        asked.log(result.err());
        match (result, asked.phone) {
            (Ok(_), Phone::Waits) if self.confirm(now, &asked) => {}
            (Ok(_), Phone::Waits) => self.give_up_code(now, &asked),
            (Err(reject), Phone::Waits) => {
                let status = Status::new(reject.status()).unwrap_or(Status::SERVER_INTERNAL_ERROR);
                let whose = (&asked.caller, asked.server);
                self.refuse_code(now, whose, (status, &reject.to_string()));
            }
            (Ok(Some(id)), Phone::HasHungUp) => {
                let ticket = self.desk.ticket();
                self.desk.facts.push_back(Input::Uncomplete {
                    ticket,
                    caller: name_of(&asked.caller),
                    which: Which::Id(id),
                });
            }
            (Ok(None) | Err(_), Phone::HasHungUp) => {}
        }
    }

    /// Nobody can do what it asks for.
    pub(super) fn give_up_code(&mut self, now: Timestamp, asked: &Asked) {
        if asked.phone == Phone::Waits {
            let whose = (&asked.caller, asked.server);
            self.refuse_code(now, whose, (Status::SERVICE_UNAVAILABLE, ""));
        }
    }

    fn refuse_code(
        &mut self,
        now: Timestamp,
        (caller, server): (&Aor, Key),
        (status, phrase): (Status, &str),
    ) {
        self.users.release(now, caller);
        let tag = hex(self.rng.bits());
        let answer = Answer {
            status,
            phrase: phrase.as_bytes(),
            tag: reply::Tag::Ours(&tag),
            rest: reply::NOTHING,
        };
        self.layer.respond(now, server, &answer);
    }

    /// Whether the code could be confirmed.
    fn confirm(&mut self, now: Timestamp, asked: &Asked) -> bool {
        let mut index = Scratch::new();
        let message = Message::parse(&asked.invite, &mut index).ok();
        let Some(Ok(Checked::Request(request))) = message.map(Checked::check) else {
            return false;
        };
        let Ok(key) = self.calls.reserve() else {
            return false;
        };
        let parties = Parties {
            caller: Some(asked.caller.clone()),
            ..Parties::default()
        };
        let mut about = About::Code;
        let call = self.with_turn(now, &parties, &mut about, |turn| {
            Call::confirm(key, turn, &request, &asked.flow, asked.server)
        });
        let held = Held {
            call,
            parties,
            about,
            armed: None,
        };
        self.put_back(now, key, Box::new(held));
        true
    }
}
