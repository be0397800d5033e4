//! Feature codes: what a user dials to ask for completion and to take it back.
//!
//! Spec: TS 24.642 §4.5; RFC 3428 (the list); DESIGN §8.2. A code is a code for our users alone, on
//! their own flows.

use std::sync::Arc;

use crate::call::Call;
use crate::cc::addr;
use crate::completion::{
    self, Code, CodeKind, Complete, CompletionId, Input, Leave, Mode, Stage, Ticket, View, Which,
    WhichCall,
};
use crate::dialog::{Dialog, Tag};
use crate::location::Aor;
use crate::shard::desk::{name_of, show};
use crate::shard::offer::About;
use crate::shard::{Held, Parties, Reject, Shard};
use crate::sip::flow::Flow;
use crate::sip::{Checked, Message, Method, Name, Request, Scratch, Status, Uri, Writer};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::branch::hex;
use crate::transaction::clients::Outgoing;
use crate::transaction::reply;
use crate::transaction::servers::Answer;

/// What a code asks the service for.
enum Wish {
    Complete(WhichCall),
    Leave(Arc<str>),
    List,
    Resume,
    Uncomplete(Which),
}

/// A code whose INVITE waits for its answer.
#[derive(Debug)]
pub(super) struct Asked {
    caller: Aor,
    code: CodeKind,
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
    fn log(&self, refused: Option<completion::Reject>) {
        tracing::info!(
            call_id = %self.call_id,
            caller = show(&name_of(&self.caller)),
            code = self.code.as_str(),
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
            code: code.kind(),
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
        match self.asked_by(now, &caller, code) {
            Ok(Wish::Complete(call)) => self.desk.facts.push_back(Input::Complete(Complete {
                ticket,
                caller,
                call,
                mode: Mode::Callback,
            })),
            Ok(Wish::Leave(text)) => self.desk.facts.push_back(Input::Leave(Leave {
                ticket,
                caller,
                call: WhichCall::Last,
                text,
            })),
            Ok(Wish::Uncomplete(which)) => self.desk.facts.push_back(Input::Uncomplete {
                ticket,
                caller,
                which,
            }),
            Ok(Wish::Resume) => {
                self.desk.facts.push_back(Input::Resume { caller });
                self.answer_code(now, ticket, Ok(None));
            }
            Ok(Wish::List) => self.list(now, request, ticket),
            Err(reject) => self.answer_code(now, ticket, Err(reject)),
        }
        Ok(())
    }

    fn asked_by(
        &self,
        now: Timestamp,
        caller: &addr::Aor,
        code: Code,
    ) -> Result<Wish, completion::Reject> {
        let service = &self.desk.service;
        Ok(match code {
            Code::Cancel(number) => {
                let mut mine = service.views(caller).into_iter();
                let found = mine.find(|view| view.number == number);
                let found = found.ok_or(completion::Reject::UnknownCompletion)?;
                Wish::Uncomplete(Which::Id(found.id))
            }
            Code::CancelAll => Wish::Uncomplete(Which::All),
            Code::CancelLast => Wish::Uncomplete(Which::Last),
            Code::List => Wish::List,
            Code::Message(number) => {
                let text = self.text_numbered(number);
                Wish::Leave(text.ok_or(completion::Reject::UnknownMessage)?)
            }
            Code::Request(number) => {
                let call = service.failed_call_to(now, caller, &number);
                Wish::Complete(WhichCall::Call(call.ok_or(completion::Reject::NoOffer)?))
            }
            Code::RequestLast => Wish::Complete(WhichCall::Last),
            Code::Resume if service.views(caller).is_empty() => {
                return Err(completion::Reject::UnknownCompletion);
            }
            Code::Resume => Wish::Resume,
        })
    }

    /// Tells the phone by MESSAGE which requests there are; one that says that it takes none reads it
    /// in the refusal of its call.
    fn list(&mut self, now: Timestamp, request: &Request<'_>, ticket: Ticket) {
        let Some(asked) = self.desk.asked.get(&ticket) else {
            return;
        };
        let (flow, server) = (asked.flow, asked.server);
        let caller = asked.caller.clone();
        let mut mine = self.desk.service.views(&name_of(&caller));
        mine.sort_by_key(|view| view.number);
        let lines: Vec<_> = mine.iter().map(entry).collect();
        if allows_messages(&request.message) {
            let text = if lines.is_empty() {
                "no requests".to_owned()
            } else {
                lines.join("\r\n")
            };
            self.send_text(now, request, (&flow, server), &text);
            return self.answer_code(now, ticket, Ok(None));
        }
        if let Some(asked) = self.desk.asked.remove(&ticket) {
            asked.log(None);
            let mut phrase = lines.join("; ");
            if phrase.is_empty() {
                phrase.push_str("no requests");
            }
            let status = Status::TEMPORARILY_UNAVAILABLE;
            self.refuse_code(now, (&caller, server), (status, &phrase));
        }
    }

    /// A text to the phone that has sent this, in the name of what it dialled.
    fn send_text(
        &mut self,
        now: Timestamp,
        request: &Request<'_>,
        (flow, server): (&Flow, Key),
        text: &str,
    ) {
        let mut phone = Dialog::of_server(request, flow, Tag::new(server, &mut self.rng));
        phone.keep_to_flow(flow);
        let ids = [(); 3].map(|()| hex(self.rng.bits()));
        let [call, host, tag] = &ids;
        self.scratch.clear();
        let mut writer = Writer::fragment(&mut self.scratch);
        writer
            .header(Name::MaxForwards, b"70")
            .header_parts(Name::From, &[request.to.text, b";tag=", tag])
            .header(Name::To, request.from.text)
            .header_parts(Name::CallId, &[call, host])
            .header(Name::CSeq, b"1 MESSAGE")
            .header(Name::ContentType, b"text/plain;charset=UTF-8");
        let outgoing = match writer.finish(text.as_bytes()) {
            Ok(_) if phone.has_target() => Outgoing {
                method: Method::Message,
                uri: phone.request_uri(),
                flow: *flow,
                // What it says of it changes nothing.
                user: None,
                destination: 0,
                fields: &self.scratch,
            },
            Ok(_) | Err(_) => return,
        };
        if self.layer.request(now, &outgoing).is_err() {
            tracing::debug!("a list could not be sent: too many transactions");
        }
    }

    /// S-09: the phone takes a code back that waits for a peer or for the store.
    pub(super) fn cancel_code(&mut self, now: Timestamp, server: Key) {
        let mut asked = self.desk.asked.iter_mut();
        // A CANCEL that comes again takes nothing more back.
        let is_it = |asked: &Asked| asked.server == server && asked.phone == Phone::Waits;
        let Some((ticket, asked)) = asked.find(|(_, asked)| is_it(asked)) else {
            return;
        };
        asked.phone = Phone::HasHungUp;
        let (left, code, caller) = (*ticket, asked.code, asked.caller.clone());
        self.refuse_code(now, (&caller, server), (Status::REQUEST_TERMINATED, ""));
        if code == CodeKind::Message {
            // What is taken back only when it is kept would be sent first.
            let ticket = self.desk.ticket();
            self.desk.facts.push_back(Input::Uncomplete {
                ticket,
                caller: name_of(&caller),
                which: Which::Left(left),
            });
        }
    }

    /// What the service answered, with the request if one was made: done is a call that is answered
    /// and ended at once.
    pub(super) fn answer_code(
        &mut self,
        now: Timestamp,
        ticket: Ticket,
        result: Result<Option<CompletionId>, completion::Reject>,
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
        self.put_back(now, key, Held::new(call, parties, about));
        true
    }
}

/// One line of a list.
fn entry(view: &View<'_>) -> String {
    let dialled = addr::user_of(view.dialled).unwrap_or(view.dialled);
    let stage = match view.stage {
        Stage::Asked | Stage::Queued if view.mode == Mode::Message => "message",
        Stage::Asked | Stage::Queued => "waiting",
        Stage::Recalling => "your turn",
        Stage::Calling => "calling",
    };
    format!("{}: {dialled}, {stage}", view.number)
}

/// Whether a phone says that it takes a MESSAGE, or says nothing of what it takes.
fn allows_messages(message: &Message<'_>) -> bool {
    let mut allowed = message.values(Name::Allow).peekable();
    allowed.peek().is_none() || allowed.any(|method| method.eq_ignore_ascii_case(b"MESSAGE"))
}
