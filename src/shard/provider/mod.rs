//! The service provider of TAPI: what applications ask about lines, calls and requests, and hear.
//!
//! Spec: TAPI `lineCompleteCall`, `lineUncompleteCall`, LINEADDRESSCAPS, LINECALLSTATUS; RULES R24.
//!
//! - A question may be bound to a line. What belongs to another is then looked up as what does not
//!   exist is: the answers are the same.
//! - Calls pay nothing for applications: what is asked is read from what calls and requests keep
//!   anyway, and news are of requests alone.

mod call;
mod connect;
mod line;

use std::collections::{BTreeMap, VecDeque};

use crate::cc::addr;
use crate::cc::capsule::CallIdentity;
use crate::completion::{self, By, CompletionId, History, Input, Mode, News, Outcome, Stage, Tell};
use crate::completion::{Complete, Leave, Ticket, View, Which, WhichCall};
use crate::location::Aor;
use crate::observe::Counters;
use crate::random::Rng;
use crate::shard::Shard;
use crate::time::Timestamp;

pub use call::{CallReason, CallReport, CallState, Direction};
pub use line::LineReport;

use connect::{Connected, Connecting};

/// Names a question in its answer; given by who asks.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Asking(pub u64);

/// A question, and whose answer may be told.
#[derive(Clone, Debug)]
pub struct Question {
    /// Comes back with the answer.
    pub asking: Asking,
    /// The only line that it may be about, `alice` or `sip:alice@example.com`; `None` is any.
    pub line: Option<Box<str>>,
    /// What is asked.
    pub ask: Ask,
}

/// What an application asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ask {
    /// One call.
    Call(CallIdentity),
    /// The calls of a line, or of all that it may be about.
    Calls(Option<Box<str>>),
    /// A call that failed, or rings, is to be completed.
    Complete {
        /// Which.
        call: CallIdentity,
        /// How; `None` is a mode that there is not.
        mode: Option<Mode>,
        /// The number of a text, for [`Mode::Message`].
        message: Option<u32>,
    },
    /// One request.
    Completion(CompletionId),
    /// The requests behind this one, by name.
    Completions(Option<CompletionId>),
    /// A line is to be connected with somebody.
    Connect {
        /// The line whose phone rings first.
        from: Box<str>,
        /// A number, or a URI.
        to: Box<str>,
    },
    /// A call is to end.
    Disconnect(CallIdentity),
    /// One line.
    Line(Box<str>),
    /// The lines behind this one, by name.
    Lines(Option<Box<str>>),
    /// An operator ends a request, whosesoever it is.
    Refuse(CompletionId),
    /// A request is taken back in the name of its line.
    Uncomplete(CompletionId),
}

/// What an application is told.
#[derive(Clone, Debug)]
pub enum Answer {
    /// One call.
    Call(CallReport),
    /// Some calls.
    Calls(Vec<CallReport>),
    /// The request is accepted.
    Completed {
        /// Its name.
        id: CompletionId,
        /// Its number among those of its line.
        number: u32,
    },
    /// One request.
    Completion(CompletionReport),
    /// Some requests.
    Completions(Vec<CompletionReport>),
    /// The phone rings; this is the call.
    Connected(CallIdentity),
    /// It is done.
    Done,
    /// One line.
    Line(LineReport),
    /// Some lines.
    Lines(Vec<LineReport>),
    /// It is not done.
    Refused(Refusal),
}

/// Why an application is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Who is to be called cannot be read, or has no way to him.
    #[error("the address to connect to is not one")]
    Address,
    /// There is no such call, or it is another line's.
    #[error("no such call")]
    Call,
    /// The service refuses.
    #[error(transparent)]
    Completion(#[from] completion::Reject),
    /// There is no such line, or it is not the one that may be asked about.
    #[error("no such line")]
    Line,
    /// The mode needs no text, or there is none of that number.
    #[error("no such message")]
    Message,
    /// There is no such mode.
    #[error("no such mode")]
    Mode,
    /// The phone cannot be rung: it is gone, or talks, or too many are being rung.
    #[error("the phone cannot be rung")]
    Phone,
    /// The call is in a state in which that cannot be asked for.
    #[error("the call is not in such a state")]
    State,
    /// The worker has lost the question.
    #[error("the worker has lost the question")]
    Worker,
}

impl Counters {
    /// The counter of this refusal.
    fn of_refusal(&mut self, refusal: &Refusal) -> &mut u64 {
        match refusal {
            Refusal::Address => &mut self.api_refused_address,
            Refusal::Call => &mut self.api_refused_call,
            Refusal::Completion(_) => &mut self.api_refused_completion,
            Refusal::Line => &mut self.api_refused_line,
            Refusal::Message => &mut self.api_refused_message,
            Refusal::Mode => &mut self.api_refused_mode,
            Refusal::Phone => &mut self.api_refused_phone,
            Refusal::State => &mut self.api_refused_state,
            Refusal::Worker => &mut self.api_refused_worker,
        }
    }
}

/// A request, as an application sees it.
#[derive(Clone, Debug)]
pub struct CompletionReport {
    /// Its name.
    pub id: CompletionId,
    /// Its number among those of its line.
    pub number: u32,
    /// Whose it is.
    pub line: String,
    /// For whom.
    pub callee: String,
    /// What was dialled.
    pub dialled: String,
    /// How.
    pub mode: Mode,
    /// What the callee is to read, of a message.
    pub text: Option<String>,
    /// Where it stands.
    pub stage: Stage,
    /// When its service ends.
    pub ends: Timestamp,
    /// What happened so far.
    pub history: History,
    /// The dialogs that carry it over the network.
    pub dialogs: Vec<DialogReport>,
}

/// A dialog of a subscription.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DialogReport {
    /// Its Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// The other's.
    pub remote_tag: String,
}

/// News for applications, in the order in which they happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LineEvent {
    /// Whose line it is about.
    pub line: String,
    /// What.
    pub what: LineNews,
}

/// What is new on a line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LineNews {
    /// LINE_CALLSTATE of a call that completes one: reason CALLCOMPLETION.
    CallState {
        /// `offering`, `proceeding`, `connected` or `idle`; of a call that waits `ringback`, `connected`
        /// or `busy`.
        state: CallState,
        /// The request.
        id: CompletionId,
        /// Whom its line wanted.
        callee: String,
    },
    /// LINE_CALLSTATE of a call that an application has made: reason DIRECT.
    Connection {
        /// The call.
        call: CallIdentity,
        /// The one that was asked for, if that has led to this one: the line's phone has dialled.
        asked: Option<CallIdentity>,
        /// `offering`, `proceeding`, `connected` or `idle`.
        state: CallState,
        /// Whom its line is connected with.
        callee: String,
    },
    /// LINEDEVSTATE_COMPLCANCEL: a request was ended by somebody else than its line.
    ComplCancel {
        /// Which.
        id: CompletionId,
        /// How it ended.
        outcome: Outcome,
    },
    /// LINEDEVSTATE_MSGWAITON; with none, LINEDEVSTATE_MSGWAITOFF.
    MsgWait {
        /// How many texts wait for the line that its phones do not take.
        count: usize,
    },
    /// LINEDEVSTATE_NUMCOMPLETIONS.
    NumCompletions {
        /// How many requests the line has now.
        count: usize,
    },
}

/// How many of anything an answer lists.
pub const LISTED_MAX: usize = 500;
/// News that nobody has taken; past it the oldest are lost.
const NEWS_MAX: usize = 4096;

/// What the provider holds.
#[derive(Debug)]
pub(super) struct Provider {
    /// Hides which call a name is of.
    secret: [u8; 16],
    waiting: BTreeMap<Ticket, Asking>,
    answers: VecDeque<(Asking, Answer)>,
    news: VecDeque<LineEvent>,
    connecting: BTreeMap<CompletionId, Connecting>,
    connected: BTreeMap<CompletionId, Connected>,
    /// How many requests of each mode have ended, and how.
    ends: BTreeMap<(Mode, Outcome), u64>,
}

impl Provider {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let bits = u128::from(rng.bits()) << 64 | u128::from(rng.bits());
        Self {
            secret: bits.to_be_bytes(),
            waiting: BTreeMap::new(),
            answers: VecDeque::new(),
            news: VecDeque::new(),
            connecting: BTreeMap::new(),
            connected: BTreeMap::new(),
            ends: BTreeMap::new(),
        }
    }

    /// What a line hears of a request.
    pub(super) fn note(&mut self, tell: &Tell) {
        let (line, id) = (plain(&tell.caller), tell.id);
        let state = |state| LineNews::CallState {
            state,
            id,
            callee: plain(&tell.callee).to_owned(),
        };
        match &tell.news {
            News::Accepted(count) => self.tell(line, LineNews::NumCompletions { count: *count }),
            // The call that waits is its own: nothing is offered to its caller.
            News::Recalling if tell.mode == Mode::CampOn => {}
            News::Calling if tell.mode == Mode::CampOn => {
                self.tell(line, state(CallState::Ringback));
            }
            News::Waiting(_) if tell.mode == Mode::CampOn => {
                self.tell(line, state(CallState::Busy));
            }
            News::Recalling => self.tell(line, state(CallState::Offering)),
            News::Calling => self.tell(line, state(CallState::Proceeding)),
            News::Waiting(_) => self.tell(line, state(CallState::Idle)),
            News::Ended {
                outcome, by, left, ..
            } => {
                match (outcome, by) {
                    // Its caller sees no more of it.
                    (Outcome::Completed, _) if tell.mode == Mode::Message => {}
                    (Outcome::Completed, _) => self.tell(line, state(CallState::Connected)),
                    (_, By::Caller) => {}
                    // R24: only what its line has not asked for itself.
                    (_, By::Other) => {
                        let outcome = *outcome;
                        self.tell(line, LineNews::ComplCancel { id, outcome });
                    }
                }
                self.tell(line, LineNews::NumCompletions { count: *left });
            }
        }
    }

    /// What a line hears of the texts that wait for it.
    pub(super) fn note_lamp(&mut self, user: &addr::Aor, count: usize) {
        self.tell(plain(user), LineNews::MsgWait { count });
    }

    /// A request has ended.
    pub(super) fn count_end(&mut self, mode: Mode, outcome: Outcome) {
        *self.ends.entry((mode, outcome)).or_default() += 1;
    }

    /// How many have, of each mode, and how.
    pub(super) fn ends(&self) -> Vec<(Mode, Outcome, u64)> {
        let ends = self.ends.iter();
        ends.map(|((mode, outcome), count)| (*mode, *outcome, *count))
            .collect()
    }

    /// All who wait for the service: it is no more.
    pub(super) fn give_up(&mut self) {
        let lost = std::mem::take(&mut self.waiting).into_values();
        let lost = lost.map(|asking| (asking, Answer::Refused(Refusal::Worker)));
        self.answers.extend(lost);
    }

    fn tell(&mut self, line: &str, what: LineNews) {
        if self.news.len() >= NEWS_MAX {
            self.news.pop_front();
        }
        let line = line.to_owned();
        self.news.push_back(LineEvent { line, what });
    }
}

/// Questions and answers.
impl Shard {
    /// Takes in a question; its answer comes by [`Self::poll_answer`], maybe later.
    pub(super) fn on_question(&mut self, now: Timestamp, question: &Question) {
        let asking = question.asking;
        let answer = self.answer(now, question);
        if let Some(answer) = answer.unwrap_or_else(|refusal| Some(Answer::Refused(refusal))) {
            self.tell_application(asking, answer);
        }
    }

    /// Counts and logs why an application is refused.
    fn tell_application(&mut self, asking: Asking, answer: Answer) {
        if let Answer::Refused(refusal) = &answer {
            *self.counters.of_refusal(refusal) += 1;
            tracing::info!(why = %refusal, "an application is refused");
        }
        self.provider.answers.push_back((asking, answer));
    }

    /// The next answer.
    pub fn poll_answer(&mut self) -> Option<(Asking, Answer)> {
        self.provider.answers.pop_front()
    }

    /// The next news.
    pub fn poll_news(&mut self) -> Option<LineEvent> {
        self.provider.news.pop_front()
    }

    /// `None`: it comes later.
    fn answer(&mut self, now: Timestamp, question: &Question) -> Result<Option<Answer>, Refusal> {
        let only = question.line.as_deref().map(|line| self.line_of(line));
        // A line that cannot be is nobody's.
        let only = only.transpose()?;
        let only = only.as_ref();
        Ok(Some(match &question.ask {
            Ask::Call(call) => Answer::Call(self.call_report(now, *call, only)?),
            Ask::Calls(line) => {
                let line = line.as_deref().map(|line| self.permitted(line, only));
                let line = line.transpose()?;
                Answer::Calls(self.call_reports(now, line.as_ref().or(only)))
            }
            Ask::Completion(id) => {
                let view = self.completion(*id, only)?;
                Answer::Completion(self.completion_report(&view))
            }
            Ask::Completions(after) => Answer::Completions(self.completion_reports(*after, only)),
            Ask::Line(line) => {
                let line = self.permitted(line, only)?;
                Answer::Line(self.line_report(&line).ok_or(Refusal::Line)?)
            }
            Ask::Lines(after) => Answer::Lines(self.line_reports(after.as_deref(), only)),
            Ask::Complete {
                call,
                mode,
                message,
            } => {
                let ticket = self.wait(question.asking);
                let asked = self.complete(now, (ticket, only), *call, (*mode, *message));
                if asked.is_err() {
                    self.provider.waiting.remove(&ticket);
                }
                return asked.map(|()| None);
            }
            Ask::Uncomplete(id) => {
                let caller = self.completion(*id, only)?.caller.clone();
                let ticket = self.wait(question.asking);
                let which = Which::Id(*id);
                self.desk.facts.push_back(Input::Uncomplete {
                    ticket,
                    caller,
                    which,
                });
                return Ok(None);
            }
            Ask::Refuse(id) => {
                self.completion(*id, only)?;
                let ticket = self.wait(question.asking);
                self.desk.facts.push_back(Input::Refuse { ticket, id: *id });
                return Ok(None);
            }
            Ask::Disconnect(call) => {
                self.disconnect(now, *call, only)?;
                Answer::Done
            }
            Ask::Connect { from, to } => {
                let from = self.permitted(from, only)?;
                Answer::Connected(self.connect(now, from, to)?)
            }
        }))
    }

    fn wait(&mut self, asking: Asking) -> Ticket {
        let ticket = self.desk.ticket();
        self.provider.waiting.insert(ticket, asking);
        ticket
    }

    /// What the service says, if an application had asked; whether one had.
    pub(super) fn answer_application(
        &mut self,
        ticket: Ticket,
        result: Result<Option<CompletionId>, completion::Reject>,
    ) -> bool {
        let Some(asking) = self.provider.waiting.remove(&ticket) else {
            return false;
        };
        let answer = match result {
            Ok(Some(id)) => {
                let number = self.desk.service.view(id).map_or(0, |view| view.number);
                Answer::Completed { id, number }
            }
            Ok(None) => Answer::Done,
            Err(reject) => Answer::Refused(reject.into()),
        };
        self.tell_application(asking, answer);
        true
    }

    /// The checks of a provider, in TAPI's order: the call and its owner, the mode, the state; the
    /// service makes the others.
    fn complete(
        &mut self,
        now: Timestamp,
        (ticket, only): (Ticket, Option<&Aor>),
        call: CallIdentity,
        (mode, message): (Option<Mode>, Option<u32>),
    ) -> Result<(), Refusal> {
        let report = self.call_report(now, call, only)?;
        let mode = mode.ok_or(Refusal::Mode)?;
        let not_offered = Refusal::from(completion::Reject::ModeNotOffered);
        let may_be = self.modes_of_lines().contains(&mode);
        let is_offered = may_be && (!report.is_completable || report.modes.contains(&mode));
        if mode == Mode::Intrude {
            return self.join_call(now, ticket, (call, &report), is_offered);
        }
        if !is_offered {
            return Err(not_offered);
        }
        if !report.is_completable {
            return Err(Refusal::State);
        }
        let text = self.text_of(mode, message)?;
        if mode != Mode::CampOn {
            // R24: who need not wait for the answer is told that there is none.
            self.refuse_ringing(now, call, text.as_deref())?;
        }
        let caller = super::desk::name_of(&self.line_of(&report.line)?);
        let call = WhichCall::Call(call);
        self.desk.facts.push_back(match text {
            Some(text) => Input::Leave(Leave {
                ticket,
                caller,
                call,
                text,
            }),
            None => Input::Complete(Complete {
                ticket,
                caller,
                call,
                mode,
            }),
        });
        Ok(())
    }
}

/// Lines and requests.
impl Shard {
    fn completion(&self, id: CompletionId, only: Option<&Aor>) -> Result<View<'_>, Refusal> {
        let view = self.desk.service.view(id);
        let is_his =
            |view: &View<'_>| only.is_none_or(|only| only.as_str() == view.caller.as_str());
        let unknown = Refusal::Completion(completion::Reject::UnknownCompletion);
        view.filter(is_his).ok_or(unknown)
    }

    fn completion_report(&self, view: &View<'_>) -> CompletionReport {
        CompletionReport {
            id: view.id,
            number: view.number,
            line: plain(view.caller).to_owned(),
            callee: plain(view.callee).to_owned(),
            dialled: view.dialled.to_owned(),
            mode: view.mode,
            text: view.text.map(str::to_owned),
            stage: view.stage,
            ends: view.ends,
            history: view.history.clone(),
            dialogs: self.dialogs_of(view.id),
        }
    }

    /// DESIGN §8.8: by which subscriptions a request is carried.
    fn dialogs_of(&self, id: CompletionId) -> Vec<DialogReport> {
        let subscriptions = self.desk.service.subscriptions_of(id);
        let dialogs = subscriptions.into_iter();
        let dialogs = dialogs.filter_map(|it| self.desk.subscriptions.dialog_of(it));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let report = dialogs.map(|dialog| DialogReport {
            call_id: text(dialog.call_id()),
            local_tag: text(&dialog.tag().text()),
            remote_tag: text(dialog.remote_tag()),
        });
        report.collect()
    }

    fn completion_reports(
        &self,
        after: Option<CompletionId>,
        only: Option<&Aor>,
    ) -> Vec<CompletionReport> {
        let service = &self.desk.service;
        let views = match only {
            Some(line) => {
                let mut views = service.views(&super::desk::name_of(line));
                views.retain(|view| after.is_none_or(|after| view.id > after));
                views.sort_unstable_by_key(|view| view.id);
                views.truncate(LISTED_MAX);
                views
            }
            None => service.views_after(after, LISTED_MAX),
        };
        views
            .iter()
            .map(|view| self.completion_report(view))
            .collect()
    }
}

/// A user of ours without the `@` that stands for our domain.
fn plain(name: &addr::Aor) -> &str {
    name.as_str().trim_end_matches('@')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::{Input as Happening, Listener, Settings};

    #[test]
    fn an_application_that_is_refused_is_counted_by_the_reason() {
        let listener = Listener::at("127.0.0.1:5060".parse().expect("an address"));
        let settings = Settings {
            listeners: vec![listener],
            ..Settings::default()
        };
        let mut shard = Shard::new(settings, Rng::from_number(1));
        let asks = [
            Ask::Call(CallIdentity(7)),
            Ask::Disconnect(CallIdentity(7)),
            Ask::Completion(CompletionId::random(&mut Rng::from_number(7))),
            Ask::Completions(None),
        ];
        for ask in asks {
            let question = Question {
                asking: Asking(1),
                line: None,
                ask,
            };
            shard.handle_input(Timestamp::START, Happening::Asked(&question));
        }
        let answers = std::iter::from_fn(|| shard.poll_answer());
        let refused = answers.filter(|(_, answer)| matches!(answer, Answer::Refused(_)));
        assert_eq!(refused.count(), 3);
        assert_eq!(shard.counters.api_refused_call, 2);
        assert_eq!(shard.counters.api_refused_completion, 1);
    }
}
