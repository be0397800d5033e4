//! What a call says of its caller beside From, so that the call which completes it says the same.
//!
//! Spec: RFC 3325 §9.1, §9.3; RFC 3323 §4.2; RULES R13, R23.

use std::fmt;
use std::sync::Arc;

/// The longest value that is kept, in bytes; who writes more has none.
const LENGTH_MAX: usize = 1024;

/// P-Asserted-Identity and Privacy, as they were written. Personal data: it does not print itself.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Identity {
    /// Either on a line of its own, which no value of a header field breaks; `None` if both are empty.
    lines: Option<Arc<str>>,
}

impl Identity {
    /// These values, several of one field with commas between them; empty ones are none.
    pub fn new(asserted: &str, privacy: &str) -> Self {
        let kept = |value| Some(value).filter(|value: &&str| value.len() <= LENGTH_MAX);
        let [asserted, privacy] = [kept(asserted), kept(privacy)].map(Option::unwrap_or_default);
        let is_empty = asserted.is_empty() && privacy.is_empty();
        let lines = (!is_empty).then(|| [asserted, "\n", privacy].concat().into());
        Self { lines }
    }

    fn lines(&self) -> (&str, &str) {
        let lines = self.lines.as_deref().unwrap_or_default();
        lines.split_once('\n').unwrap_or_default()
    }

    /// P-Asserted-Identity; empty if there was none.
    pub fn asserted(&self) -> &str {
        self.lines().0
    }

    /// Privacy; empty if there was none.
    pub fn privacy(&self) -> &str {
        self.lines().1
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_none_and_nothing_prints_itself() {
        let long = "x".repeat(LENGTH_MAX + 1);
        assert_eq!(Identity::new(&long, ""), Identity::default());
        let alice = Identity::new("<sip:alice@a.example>", "id");
        assert_eq!(
            (alice.asserted(), alice.privacy()),
            ("<sip:alice@a.example>", "id")
        );
        assert!(!format!("{alice:?}").contains("alice"));
    }
}
