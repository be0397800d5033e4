//! Whose turn it is: the calls that complete a request are recognised by it.
//!
//! Spec: RFC 6910 §6.4, §7.4; RULES R9.

use crate::cc::addr::Aor;
use crate::cc::id::{CceToken, CompletionId};
use crate::cc::monitor;
use crate::completion::entry::{Completion, Stage};
use crate::completion::service::Service;

impl Service {
    /// The completion whose CC call a call from `caller` to `callee` is: one that is selected.
    pub fn recognise(&self, caller: &Aor, callee: &Aor) -> Option<CompletionId> {
        let id = self.pairs.get(caller, callee)?;
        let completion = self.completions.get(&id)?;
        self.is_selected(completion).then_some(id)
    }

    /// The same by the token of a cc-URI or `cce` parameter.
    pub fn recognise_token(&self, cce: CceToken) -> Option<CompletionId> {
        let completion = self.completions.get(&self.tokens.get(cce)?)?;
        self.is_selected(completion).then_some(completion.id)
    }

    /// Whether its CC call is under way.
    pub fn is_called(&self, id: CompletionId) -> bool {
        let completion = self.completions.get(&id);
        completion.is_some_and(|completion| {
            completion.stage == Stage::Calling
                || matches!(
                    self.place_of(completion),
                    Some(monitor::Stage::Calling { .. })
                )
        })
    }

    /// Where it stands in a queue of ours.
    fn place_of(&self, completion: &Completion) -> Option<monitor::Stage> {
        let user = self.users.get(&completion.callee)?;
        user.queue.awake()?.stage(completion.entry?)
    }

    fn is_selected(&self, completion: &Completion) -> bool {
        let queue = matches!(
            self.place_of(completion),
            Some(monitor::Stage::Ready { .. } | monitor::Stage::Calling { .. })
        );
        queue || matches!(completion.stage, Stage::Recalling | Stage::Calling)
    }
}
