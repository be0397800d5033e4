//! Accept: which media types the sender of a request can read.
//!
//! Spec: RFC 3261 §20.1; RFC 6665 §3.1.3 (without one, the package's own type).

use crate::sip::header::item::Item;
use crate::sip::message::Message;
use crate::sip::name::Name;

/// Whether a request lets us send this media type, which is the default where it has no Accept.
///
/// The range that fits most closely decides, and one with `q=0` forbids; values that cannot be read
/// are passed over.
pub fn accepts(message: &Message<'_>, media_type: &str) -> bool {
    if message.fields(Name::Accept).next().is_none() {
        return true;
    }
    let ranges = message.values(Name::Accept);
    let closest = ranges
        .filter_map(|value| Item::parse(value).ok())
        .filter_map(|range| Some((closeness(range.value, media_type)?, is_wanted(&range))))
        .max();
    closest.is_some_and(|(_, wanted)| wanted)
}

/// How closely a media range fits a media type.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Closeness {
    Anything,
    SameMainType,
    Same,
}

fn closeness(range: &[u8], media_type: &str) -> Option<Closeness> {
    let is = |text: &str| range.eq_ignore_ascii_case(text.as_bytes());
    let main_type = media_type.split('/').next().unwrap_or_default();
    if is(media_type) {
        Some(Closeness::Same)
    } else if is("*/*") {
        Some(Closeness::Anything)
    } else {
        let main = range.strip_suffix(b"/*")?;
        main.eq_ignore_ascii_case(main_type.as_bytes())
            .then_some(Closeness::SameMainType)
    }
}

/// Whether its `q` is above zero.
fn is_wanted(range: &Item<'_>) -> bool {
    let q = range.params.value("q").unwrap_or(b"1");
    !q.iter().all(|byte| matches!(byte, b'0' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Scratch;

    fn allowed(fields: &str) -> bool {
        let text = format!("SUBSCRIBE sip:a SIP/2.0\r\n{fields}\r\n");
        let mut scratch = Scratch::new();
        let message = Message::parse(text.as_bytes(), &mut scratch).unwrap();
        accepts(&message, "application/call-completion")
    }

    #[test]
    fn without_accept_the_default_is_allowed() {
        // CC-52
        assert!(allowed(""));
        assert!(!allowed("Accept:\r\n"), "an empty one allows nothing");
    }

    #[test]
    fn the_type_itself_and_its_ranges_are_allowed() {
        for accept in [
            "application/call-completion",
            "text/plain, Application/Call-Completion;q=0.3",
            "application/*",
            "*/*;q=0.001",
            ";;, application/call-completion",
        ] {
            // CC-52
            assert!(allowed(&format!("Accept: {accept}\r\n")), "{accept}");
        }
        assert!(allowed("Accept: text/plain\r\nAccept: */*\r\n"));
    }

    #[test]
    fn our_documents_are_acceptable_unless_accept_names_only_others() {
        for accept in [
            "application/dialog-info+xml",
            "text/*",
            "application/call-completion-x",
            "call-completion",
        ] {
            // CC-52
            assert!(!allowed(&format!("Accept: {accept}\r\n")), "{accept}");
        }
    }

    #[test]
    fn the_closest_range_decides() {
        for (accept, expected) in [
            ("application/call-completion;q=0, */*", false),
            ("*/*, application/*;q=0.0", false),
            ("*/*;q=0, application/call-completion", true),
            ("application/call-completion;q=0.000", false),
        ] {
            assert_eq!(
                allowed(&format!("Accept: {accept}\r\n")),
                expected,
                "{accept}"
            );
        }
    }
}
