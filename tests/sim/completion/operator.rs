//! An operator and an application: they end requests that others have made, whosesoever they are.
//!
//! Spec: TAPI `lineUncompleteCall`; DESIGN §10.

use std::collections::BTreeMap;

use campon::completion::{CompletionId, Mode};
use campon::random::Rng;
use campon::shard::provider::{Answer, Ask, Asking, CompletionReport, Question};

use super::user::index;

/// What was asked, and is not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Operator {
    asked: u64,
    waiting: BTreeMap<Asking, Pair>,
}

/// A request: which, whose, and for whom.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) id: CompletionId,
    pub(crate) mode: Mode,
    pub(crate) caller: String,
    pub(crate) callee: String,
}

impl Operator {
    /// A question of its own number.
    pub(crate) fn question(&mut self, ask: Ask) -> Question {
        self.asked += 1;
        Question {
            asking: Asking(self.asked),
            line: None,
            ask,
        }
    }

    /// Asks for the end of one of these requests, by its line or by the operator.
    pub(crate) fn ends_one(
        &mut self,
        rng: &mut Rng,
        requests: &[CompletionReport],
    ) -> Option<(Pair, Question)> {
        let (nth, is_own) = (rng.below(requests.len().max(1) as u64), rng.below(3) == 0);
        let request = requests.get(index(nth))?;
        let ask: fn(CompletionId) -> Ask = if is_own { Ask::Uncomplete } else { Ask::Refuse };
        let question = self.question(ask(request.id));
        let pair = Pair {
            id: request.id,
            mode: request.mode,
            caller: user_of(&request.line),
            callee: user_of(&request.callee),
        };
        self.waiting.insert(question.asking, pair.clone());
        Some((pair, question))
    }

    /// Whose request has certainly ended by this answer.
    pub(crate) fn hears(&mut self, asking: Asking, answer: &Answer) -> Option<Pair> {
        let pair = self.waiting.remove(&asking)?;
        matches!(answer, Answer::Done).then_some(pair)
    }

    /// Who was asked is no more.
    pub(crate) fn on_crash(&mut self) {
        self.waiting.clear();
    }
}

/// The user of a line: `alice@example.com`.
fn user_of(line: &str) -> String {
    let after = line.strip_prefix("sip:").unwrap_or(line);
    let user = after.split('@').next();
    user.unwrap_or_default().to_owned()
}
