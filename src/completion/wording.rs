//! What a call said that failed, in one piece: the call that completes it says the same.
//!
//! Spec: RFC 6910 §6.1 (CC-08); RULES R13.

use crate::cc::addr::AddrSpec;
use crate::completion::identity::Identity;

/// Its From, what was dialled, P-Asserted-Identity and Privacy. Personal data: it does not print itself.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct Wording {
    /// Each on a line of its own, which neither an address nor a value of a header field breaks; the last
    /// two are missing where both are empty.
    lines: Box<str>,
}

impl Wording {
    pub(super) fn new(from: &AddrSpec, dialled: &AddrSpec, identity: &Identity) -> Self {
        let mut lines = [from.as_str(), "\n", dialled.as_str()].concat();
        if *identity != Identity::default() {
            lines.extend(["\n", identity.asserted(), "\n", identity.privacy()]);
        }
        let lines = lines.into_boxed_str();
        Self { lines }
    }

    /// From which address.
    pub(super) fn from(&self) -> AddrSpec {
        AddrSpec::of_kept(self.line(0))
    }

    /// To which.
    pub(super) fn dialled(&self) -> AddrSpec {
        AddrSpec::of_kept(self.dialled_text())
    }

    /// The same, as it is written.
    pub(super) fn dialled_text(&self) -> &str {
        self.line(1)
    }

    /// What the call said of its caller beside that.
    pub(super) fn identity(&self) -> Identity {
        Identity::new(self.line(2), self.line(3))
    }

    fn line(&self, number: usize) -> &str {
        self.lines.split('\n').nth(number).unwrap_or_default()
    }
}

impl std::fmt::Debug for Wording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wording(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_comes_back_and_does_not_print_itself() {
        let from = AddrSpec::new("sip:alice@a.example").expect("a URI");
        let dialled = AddrSpec::new("tel:+15550123;x=y").expect("a URI");
        for (asserted, privacy) in [("", ""), ("<sip:alice@a.example>", ""), ("", "id")] {
            let identity = Identity::new(asserted, privacy);
            let wording = Wording::new(&from, &dialled, &identity);
            assert_eq!(
                (wording.from(), wording.dialled()),
                (from.clone(), dialled.clone())
            );
            assert_eq!(wording.dialled_text(), dialled.as_str());
            assert_eq!(wording.identity(), identity);
            assert!(!format!("{wording:?}").contains("alice"));
        }
    }
}
