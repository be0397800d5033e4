//! A callee whom a caller is recalled for is kept free, also from ordinary calls if the operator says so.
//!
//! Spec: RFC 6910 §7.3; RULES R9.
//!
//! What the callee does himself, a call for help and one back to who called for it go before any
//! reservation: they never come here.

use crate::completion::CompletionId;
use crate::location::Aor;
use crate::shard::Shard;
use crate::shard::desk::name_of;
use crate::shard::offer::About;
use crate::shard::settings::Reserve;
use crate::table::Key;

impl Shard {
    /// Whether a call that completes nothing finds this user taken.
    pub(super) fn is_taken(&self, callee: &Aor) -> bool {
        self.is_full(callee) || self.reserved_for(callee).is_some()
    }

    /// The same for a call of the PBX's that is the other half of this one: those that are not joined
    /// to any are let through.
    pub(super) fn is_taken_for(&self, callee: &Aor, out: Option<Key>) -> bool {
        let held = out.and_then(|out| self.calls.get(out));
        self.is_full(callee)
            || held.is_some_and(|held| match self.reserved_for(callee) {
                Some(id) => !matches!(
                    held.about,
                    About::CcCall(other) | About::Recall(other) if other == id
                ),
                None => false,
            })
    }

    /// Whose turn it is, where ordinary calls wait as well.
    fn reserved_for(&self, callee: &Aor) -> Option<CompletionId> {
        let completion = &self.settings.completion;
        if completion.reserve == Reserve::Completions || self.desk.service.counts().completions == 0
        {
            return None;
        }
        self.desk.service.reserved_for(&name_of(callee))
    }
}
