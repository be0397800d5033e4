//! Registration documents: the Contacts in them, for others to be put in their place.
//!
//! Spec: RFC 3680 §5.
//!
//! XML from strangers: what declares a document type or cannot be read stays as it is, and so does
//! each byte outside of a Contact that changes.

use std::borrow::Cow;

use quick_xml::escape::{escape, unescape};
use quick_xml::events::Event;
use quick_xml::reader::Reader;

use crate::sip::{SipUri, Uri};

/// The media type.
pub const MEDIA_TYPE: &str = "application/reginfo+xml";

/// The document with the Contact URIs that `map` gives in place of those that it gets.
pub fn map_contacts(
    body: &[u8],
    mut map: impl FnMut(&SipUri<'_>) -> Option<Vec<u8>>,
) -> Cow<'_, [u8]> {
    let Ok(text) = str::from_utf8(body) else {
        return Cow::Borrowed(body);
    };
    let mut reader = Reader::from_str(text);
    let (mut out, mut copied) = (Vec::new(), 0);
    let mut begins = None;
    loop {
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let before = place(reader.buffer_position());
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                let is_uri = start.local_name().as_ref() == "uri";
                begins = is_uri.then(|| place(reader.buffer_position()));
            }
            Ok(Event::End(_)) => {
                let Some(begins) = begins.take() else {
                    continue;
                };
                let written = text.get(begins..before).unwrap_or_default();
                let Some(fresh) = mapped(written, &mut map) else {
                    continue;
                };
                out.extend_from_slice(body.get(copied..begins).unwrap_or_default());
                out.extend_from_slice(fresh.as_bytes());
                copied = before;
            }
            Ok(Event::Eof) => break,
            Ok(Event::DocType(_)) | Err(_) => return Cow::Borrowed(body),
            Ok(_) => {}
        }
    }
    if copied == 0 {
        return Cow::Borrowed(body);
    }
    out.extend_from_slice(body.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

fn mapped(written: &str, map: &mut impl FnMut(&SipUri<'_>) -> Option<Vec<u8>>) -> Option<String> {
    let text = unescape(written.trim()).ok()?;
    let uri = Uri::parse(text.as_bytes()).ok()?;
    let fresh = map(&uri.as_sip()?)?;
    let fresh = String::from_utf8(fresh).ok()?;
    Some(escape(&*fresh).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "<?xml version=\"1.0\"?>\r\n\
        <reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" version=\"0\" state=\"full\">\r\n\
        <registration aor=\"sip:alice@a.example\" id=\"a7\" state=\"active\">\r\n\
        <contact id=\"76\" state=\"active\" event=\"registered\">\
        <uri> sip:reg-1@192.0.2.1?a=1&amp;b=2 </uri><display-name>uri</display-name></contact>\r\n\
        <contact id=\"77\" state=\"active\" event=\"registered\"><uri>sip:al@192.0.2.9</uri>\
        </contact></registration></reginfo>";

    fn shown(document: &str) -> String {
        let map = |uri: &SipUri<'_>| {
            let is_ours = uri.user == Some(b"reg-1");
            is_ours.then(|| b"sip:alice@10.1.1.1;x=1&2".to_vec())
        };
        String::from_utf8(map_contacts(document.as_bytes(), map).into_owned()).expect("text")
    }

    #[test]
    fn a_contact_is_put_in_the_place_of_another_and_all_else_stays() {
        let before = " sip:reg-1@192.0.2.1?a=1&amp;b=2 ";
        let expected = DOCUMENT.replace(before, "sip:alice@10.1.1.1;x=1&amp;2");
        assert_eq!(shown(DOCUMENT), expected);
    }

    #[test]
    fn what_cannot_be_read_stays_as_it_is() {
        for broken in [
            DOCUMENT.replace("</contact>", "</other>"),
            DOCUMENT.replace("<reginfo", "<!DOCTYPE x [<!ENTITY a \"b\">]><reginfo"),
            "no document".to_owned(),
        ] {
            assert_eq!(shown(&broken), broken);
        }
    }
}
