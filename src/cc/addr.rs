//! Addresses as text: whose a request is, and where its messages go.
//!
//! Spec: RFC 3261 §19.1 (addr-spec), §6 (address-of-record).
//!
//! Numbers and names are personal data, so neither type prints itself in a log line.

use std::fmt;
use std::sync::Arc;

use crate::cc::Condition;
use crate::cc::id::CceToken;

/// The longest address that is kept, in bytes; longer ones only cost memory.
pub const LENGTH_MAX: usize = 1024;

/// An address-of-record in the one spelling that its owner chose, so that equal texts are equal
/// users.
///
/// CC-53: callers are the same when the URIs of their From are; who makes an `Aor` out of a From
/// applies the comparison of RFC 3261 §19.1.4.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Aor(Arc<str>);

impl Aor {
    /// The user of this canonical text.
    pub fn new(canonical: &str) -> Self {
        Self(Arc::from(canonical))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the last `@`; `None` if there is none.
    pub fn user(&self) -> Option<&str> {
        self.0.rsplit_once('@').map(|(user, _)| user)
    }

    /// The same text, to be shared.
    pub fn as_arc(&self) -> &Arc<str> {
        &self.0
    }
}

impl From<Arc<str>> for Aor {
    fn from(canonical: Arc<str>) -> Self {
        Self(canonical)
    }
}

impl fmt::Debug for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aor(..)")
    }
}

/// The user part of a URI as it is written, or the number of a `tel:` URI; `None` if it has none.
pub fn user_of(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    let user = match rest.rsplit_once('@') {
        Some((user, _)) => user,
        None if scheme.eq_ignore_ascii_case("tel") => rest,
        None => return None,
    };
    user.split([';', ':']).next()
}

/// A URI as somebody wrote it: with every parameter, and with nothing that ends a header or a line.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AddrSpec(Arc<str>);

/// The text cannot stand in a message as a URI.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a URI")]
pub struct NotAnAddress;

impl AddrSpec {
    /// The URI of this text: a scheme, a colon, and printable ASCII without spaces, quotes or
    /// angle brackets.
    pub fn new(text: &str) -> Result<Self, NotAnAddress> {
        let (scheme, rest) = text.split_once(':').ok_or(NotAnAddress)?;
        let named = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        let clean = rest
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"'));
        let fits = !rest.is_empty() && text.len() <= LENGTH_MAX;
        (named && clean && fits)
            .then(|| Self(Arc::from(text)))
            .ok_or(NotAnAddress)
    }

    /// The one of this text, which was its text before.
    pub(crate) fn of_kept(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The user part as it is written, or the number of a `tel:` URI; `None` if it has none.
    pub fn user(&self) -> Option<&str> {
        user_of(&self.0)
    }

    /// The same address with `m` as a URI parameter; one that has an `m` already stays as it is.
    ///
    /// CC-12, CC-23: the monitor's own value comes back to it. CC-69: the other parameters stay.
    #[must_use]
    pub fn with_m(&self, condition: Condition) -> Self {
        self.with("m", condition.m())
    }

    /// The same address with the name of a queue entry as its `cce` parameter, by which the callee's
    /// side recognises a CC call that crossed a PBX.
    #[must_use]
    pub fn with_cce(&self, cce: CceToken) -> Self {
        self.with("cce", &cce.to_string())
    }

    fn with(&self, name: &str, value: &str) -> Self {
        let at = self.0.rfind('@').map_or(0, |at| at + 1);
        let (before, headers) = match self.0.get(at..).and_then(|rest| rest.find('?')) {
            Some(length) => self.0.split_at(at + length),
            None => (&*self.0, ""),
        };
        let mut params = before.get(at..).unwrap_or_default().split(';').skip(1);
        let stands = params.any(|param| {
            let found = param.split('=').next().unwrap_or_default();
            found.eq_ignore_ascii_case(name)
        });
        if stands {
            return self.clone();
        }
        let text = format!("{before};{name}={value}{headers}");
        Self(Arc::from(text))
    }
}

impl fmt::Debug for AddrSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddrSpec(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(text: &str) -> String {
        let address = AddrSpec::new(text).expect("a URI");
        address.with_m(Condition::NoReply).as_str().to_owned()
    }

    #[test]
    fn text_that_could_end_a_header_is_no_address() {
        for text in [
            "sip:bob@biloxi.example\r\nEvil: 1",
            "sip:bob@biloxi.example>",
            "sip:bob @biloxi.example",
            "sip:",
            "bob",
            "5ip:bob@biloxi.example",
        ] {
            assert_eq!(AddrSpec::new(text), Err(NotAnAddress), "{text}");
        }
        let long = format!("sip:{}@biloxi.example", "b".repeat(LENGTH_MAX));
        assert_eq!(AddrSpec::new(&long), Err(NotAnAddress));
    }

    #[test]
    fn the_mode_asked_for_is_added_as_a_parameter_of_the_uri() {
        // CC-12
        assert_eq!(marked("sip:bob@b.example"), "sip:bob@b.example;m=NR");
        // CC-69
        assert_eq!(
            marked("sip:cce;x=1@b.example;gr=u;odd?h=1"),
            "sip:cce;x=1@b.example;gr=u;odd;m=NR?h=1"
        );
        assert_eq!(marked("sip:b@b.example;M=BS"), "sip:b@b.example;M=BS");
    }

    #[test]
    fn the_name_of_an_entry_is_added_as_a_parameter_of_the_uri() {
        let address = AddrSpec::new("sip:102@pbx.example;user=phone").expect("a URI");
        let cce = CceToken::from_bits(0);
        let marked = address.with_m(Condition::Busy).with_cce(cce);
        let expected = format!("sip:102@pbx.example;user=phone;m=BS;cce={}", "a".repeat(26));
        assert_eq!(marked.as_str(), expected);
    }

    #[test]
    fn addresses_do_not_print_themselves() {
        let address = AddrSpec::new("sip:bob@biloxi.example").expect("a URI");
        assert!(!format!("{address:?} {:?}", Aor::new("sip:bob@biloxi.example")).contains("bob"));
    }
}
