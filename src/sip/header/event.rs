//! Event: which package a request is about, and which of several subscriptions to it.
//!
//! Spec: RFC 6665 §8.2.1, §8.4.

use crate::sip::error::{ParseError, What};
use crate::sip::header::item::Item;
use crate::sip::message::Message;
use crate::sip::method::is_token;
use crate::sip::name::Name;
use crate::sip::params::Params;

/// The value of Event.
#[derive(Clone, Copy, Debug)]
pub struct Event<'m> {
    /// The package, templates included: `presence.winfo`.
    pub package: &'m [u8],
    /// The `id` parameter, by which its subscriber tells subscriptions apart.
    pub id: Option<&'m [u8]>,
    /// All parameters.
    pub params: Params<'m>,
}

impl<'m> Event<'m> {
    /// Parses the value.
    pub fn parse(value: &'m [u8]) -> Result<Self, ParseError> {
        let item = Item::parse(value)?;
        if !item.value.iter().copied().all(is_token) {
            return Err(ParseError::new(What::Malformed(Name::Event), 0));
        }
        Ok(Self {
            package: item.value,
            id: item.params.value("id"),
            params: item.params,
        })
    }

    /// The event of a request; `None` unless it has exactly one that can be read.
    pub fn of(message: &Message<'m>) -> Option<Self> {
        let mut fields = message.fields(Name::Event);
        // S-120: one request is about one package.
        let only = fields.next().filter(|_| fields.next().is_none())?;
        Self::parse(only).ok()
    }

    /// Whether it is this package; its case is not looked at.
    pub fn is(&self, package: &str) -> bool {
        self.package.eq_ignore_ascii_case(package.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Scratch;

    fn of(fields: &str) -> Option<(String, Option<String>)> {
        let text = format!("NOTIFY sip:a SIP/2.0\r\n{fields}\r\n");
        let mut scratch = Scratch::new();
        let message = Message::parse(text.as_bytes(), &mut scratch).unwrap();
        let event = Event::of(&message)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some((text(event.package), event.id.map(text)))
    }

    #[test]
    fn package_and_id_are_read() {
        let event = Event::parse(b"Call-Completion ; id=7;x").unwrap();
        assert!(event.is("call-completion"));
        assert_eq!(event.id, Some(&b"7"[..]));
        assert!(event.params.has("x"));
        let template = Event::parse(b"presence.winfo").unwrap();
        assert!(!template.is("presence"));
        assert_eq!(template.id, None);
    }

    #[test]
    fn a_request_is_about_exactly_one_event() {
        let refer = Some(("refer".to_owned(), Some("1".to_owned())));
        // S-120
        assert_eq!(of("o: refer;id=1\r\n"), refer);
        for fields in [
            "",
            "Event: refer\r\nEvent: refer\r\n",
            "Event: refer, presence\r\n",
            "Event: a b\r\n",
            "Event: ;id=1\r\n",
        ] {
            assert_eq!(of(fields), None, "{fields}");
        }
    }
}
