//! What a call said that failed, in one piece: the call that completes it says the same.
//!
//! Spec: RFC 6910 §6.1 (CC-08); RULES R13.

use smallvec::SmallVec;

use crate::cc::addr::AddrSpec;
use crate::completion::identity::Identity;

/// How many bytes lie where the wording does; two addresses are about as long.
const IN_PLACE: usize = 64;

/// Its From, what was dialled, P-Asserted-Identity and Privacy. Personal data: it does not print itself.
#[derive(Clone, Default, Eq, PartialEq)]
pub(super) struct Wording {
    /// Each on a line of its own, which neither an address nor a value of a header field breaks; the last
    /// two are missing where both are empty.
    lines: SmallVec<[u8; IN_PLACE]>,
}

impl Wording {
    pub(super) fn new(from: &AddrSpec, dialled: &AddrSpec, identity: &Identity) -> Self {
        let mut lines = SmallVec::new();
        let mut add = |line: &str| lines.extend_from_slice(line.as_bytes());
        for part in [from.as_str(), "\n", dialled.as_str()] {
            add(part);
        }
        if *identity != Identity::default() {
            for part in ["\n", identity.asserted(), "\n", identity.privacy()] {
                add(part);
            }
        }
        lines.shrink_to_fit();
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
        let line = self.lines.split(|byte| *byte == b'\n').nth(number);
        str::from_utf8(line.unwrap_or_default()).unwrap_or_default()
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
