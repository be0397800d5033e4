//! What names a completion, held once, and the two ways in which it is looked for by that.
//!
//! Spec: RFC 6910 §10.3 (the entry's name); CC-14 (one request for a caller and a callee).

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use crate::cc::addr::Aor;
use crate::cc::id::{CceToken, CompletionId};
use crate::completion::wording::Wording;

/// The names of one completion, which never change; whoever leads to it shares them.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) id: CompletionId,
    /// CC-70: the entry's name, for every NOTIFY up to the last.
    pub(super) cce: CceToken,
    pub(super) caller: Aor,
    pub(super) callee: Aor,
    /// What the call said that failed.
    pub(super) wording: Wording,
}

/// Names that are yet to be given, so many at a time: as they last for an hour, they would otherwise
/// hold the memory of all that calls allocate and free between two of them.
#[derive(Debug, Default)]
pub(super) struct Blanks(Vec<Arc<Names>>);

/// As many as fill what the allocator cuts into pieces of their size (128 KiB, `.cargo/config.toml`).
const BLANKS: usize = 1024;

impl Blanks {
    /// These names, to be shared.
    pub(super) fn fill(&mut self, names: Names) -> Arc<Names> {
        if self.0.is_empty() {
            let nobody = Aor::new("");
            let blank = || {
                Arc::new(Names {
                    id: CompletionId::from_bits(0),
                    cce: CceToken::from_bits(0),
                    caller: nobody.clone(),
                    callee: nobody.clone(),
                    wording: Wording::default(),
                })
            };
            self.0.extend(std::iter::repeat_with(blank).take(BLANKS));
        }
        let Some(mut blank) = self.0.pop() else {
            return Arc::new(names);
        };
        match Arc::get_mut(&mut blank) {
            Some(place) => *place = names,
            // Nobody else has it.
            None => blank = Arc::new(names),
        }
        blank
    }
}

/// Completions by caller and callee, one for each two.
#[derive(Debug, Default)]
pub(super) struct Pairs(BTreeSet<ByPair>);

impl Pairs {
    pub(super) fn get(&self, caller: &Aor, callee: &Aor) -> Option<CompletionId> {
        let found = self.0.get(&(caller, callee) as &dyn Pair)?;
        Some(found.0.id)
    }

    /// It is the one of its two from here on.
    pub(super) fn insert(&mut self, names: &Arc<Names>) {
        self.0.replace(ByPair(Arc::clone(names)));
    }

    /// It is no longer, if it was.
    pub(super) fn remove(&mut self, names: &Names) {
        if self.get(&names.caller, &names.callee) == Some(names.id) {
            self.0.remove(names as &dyn Pair);
        }
    }

    /// Those of a caller, in the order of their callees.
    pub(super) fn of_caller(&self, caller: &Aor) -> impl Iterator<Item = CompletionId> {
        // No text sorts before the empty one.
        let nobody = Aor::new("");
        let first: &dyn Pair = &(caller, &nobody);
        let later = (Bound::Included(first), Bound::Unbounded);
        let mine = self.0.range::<dyn Pair, _>(later);
        let mine = mine.take_while(move |pair| pair.0.caller == *caller);
        mine.map(|pair| pair.0.id)
    }
}

/// Completions by the names of their entries.
#[derive(Debug, Default)]
pub(super) struct Tokens(BTreeSet<ByToken>);

impl Tokens {
    pub(super) fn get(&self, cce: CceToken) -> Option<CompletionId> {
        self.0.get(&cce).map(|found| found.0.id)
    }

    pub(super) fn insert(&mut self, names: &Arc<Names>) {
        self.0.insert(ByToken(Arc::clone(names)));
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, cce: CceToken) -> bool {
        self.0.remove(&cce)
    }
}

#[derive(Debug)]
struct ByPair(Arc<Names>);

#[derive(Debug)]
struct ByToken(Arc<Names>);

/// Caller and callee, wherever they lie.
trait Pair {
    fn pair(&self) -> (&Aor, &Aor);
}

impl Pair for Names {
    fn pair(&self) -> (&Aor, &Aor) {
        (&self.caller, &self.callee)
    }
}

impl Pair for (&Aor, &Aor) {
    fn pair(&self) -> (&Aor, &Aor) {
        *self
    }
}

impl<'p> Borrow<dyn Pair + 'p> for ByPair {
    fn borrow(&self) -> &(dyn Pair + 'p) {
        &*self.0
    }
}

impl Ord for dyn Pair + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.pair().cmp(&other.pair())
    }
}

impl PartialOrd for dyn Pair + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for dyn Pair + '_ {}

impl PartialEq for dyn Pair + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Ord for ByPair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.pair().cmp(&other.0.pair())
    }
}

impl PartialOrd for ByPair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for ByPair {}

impl PartialEq for ByPair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Borrow<CceToken> for ByToken {
    fn borrow(&self) -> &CceToken {
        &self.0.cce
    }
}

impl Ord for ByToken {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cce.cmp(&other.0.cce)
    }
}

impl PartialOrd for ByToken {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for ByToken {}

impl PartialEq for ByToken {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(number: u128, caller: &str, callee: &str) -> Arc<Names> {
        Arc::new(Names {
            id: CompletionId::from_bits(number),
            cce: CceToken::from_bits(1_000 - number),
            caller: Aor::new(caller),
            callee: Aor::new(callee),
            wording: Wording::default(),
        })
    }

    fn id(number: u128) -> CompletionId {
        CompletionId::from_bits(number)
    }

    #[test]
    fn two_have_one_completion_and_a_caller_has_his_own() {
        let mut pairs = Pairs::default();
        let all = [("al", "b"), ("a", "c"), ("a", "b"), ("b", "a"), ("", "a")];
        let all = (1..).zip(all).map(|(n, (from, to))| names(n, from, to));
        let all: Vec<_> = all.collect();
        for names in &all {
            pairs.insert(names);
        }
        let of = |pairs: &Pairs, caller| pairs.of_caller(&Aor::new(caller)).collect::<Vec<_>>();
        assert_eq!(of(&pairs, "a"), [id(3), id(2)]);
        assert_eq!(of(&pairs, "c"), []);
        assert_eq!(pairs.get(&Aor::new("b"), &Aor::new("a")), Some(id(4)));

        pairs.insert(&names(9, "a", "b"));
        // Another has taken its place, which is not its own to give up.
        pairs.remove(&all[2]);
        assert_eq!(of(&pairs, "a"), [id(9), id(2)]);
        pairs.remove(&names(9, "a", "b"));
        assert_eq!(of(&pairs, "a"), [id(2)]);
    }

    #[test]
    fn an_entry_is_found_by_its_name() {
        let mut tokens = Tokens::default();
        for number in [5, 7] {
            tokens.insert(&names(number, "a", "b"));
        }
        let token = |bits| CceToken::from_bits(bits);
        assert_eq!(tokens.get(token(993)), Some(id(7)));
        assert!(tokens.remove(token(993)) && !tokens.remove(token(993)));
        assert_eq!(tokens.get(token(993)), None);
        assert_eq!(tokens.get(token(995)), Some(id(5)));
    }
}
