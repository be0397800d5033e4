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
    asserted: Option<Arc<str>>,
    privacy: Option<Arc<str>>,
}

impl Identity {
    /// These values, several of one field with commas between them; empty ones are none.
    pub fn new(asserted: &str, privacy: &str) -> Self {
        let kept = |value: &str| {
            let is_kept = !value.is_empty() && value.len() <= LENGTH_MAX;
            is_kept.then(|| Arc::from(value))
        };
        Self {
            asserted: kept(asserted),
            privacy: kept(privacy),
        }
    }

    /// P-Asserted-Identity; empty if there was none.
    pub fn asserted(&self) -> &str {
        self.asserted.as_deref().unwrap_or_default()
    }

    /// Privacy; empty if there was none.
    pub fn privacy(&self) -> &str {
        self.privacy.as_deref().unwrap_or_default()
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
