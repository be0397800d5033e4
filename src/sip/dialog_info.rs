//! Dialog-info documents: ids of dialogs, for others to be put in their place, and one of our own.
//!
//! Spec: RFC 4235 §4.1, §4.4.
//!
//! XML from strangers: what declares a document type or cannot be read stays as it is, and so does
//! each byte outside of an id that changes.

use std::borrow::Cow;
use std::fmt::Write as _;

use quick_xml::escape::{escape, unescape};
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use crate::sip::header::dialog_id::{DialogId, OwnedDialogId};

/// The media type.
pub const MEDIA_TYPE: &str = "application/dialog-info+xml";

/// The attributes of an id: the Call-ID, the tag of the end that the document is about, and the tag
/// across from it.
const ATTRIBUTES: [&str; 3] = ["call-id", "local-tag", "remote-tag"];

/// How one dialog stands, as those who watch it are told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It is up.
    Confirmed,
    /// It has ended.
    Terminated,
}

impl Standing {
    fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Terminated => "terminated",
        }
    }
}

/// Appends the document of all dialogs of a user who has this one; nothing is said of the other party.
///
/// `version` counts the documents that a watcher gets, from 0.
pub fn write(out: &mut Vec<u8>, (entity, version): (&[u8], u32), id: &str, standing: Standing) {
    let entity = String::from_utf8_lossy(entity);
    let text = format!(
        "<?xml version=\"1.0\"?>\r\n\
         <dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"{version}\" \
         state=\"full\" entity=\"{}\">\r\n\
         <dialog id=\"{}\"><state>{}</state></dialog>\r\n\
         </dialog-info>\r\n",
        escape(&*entity),
        escape(id),
        standing.as_str(),
    );
    out.extend_from_slice(text.as_bytes());
}

/// The document with the ids that `map` gives in place of those that it gets; a dialog that lacks a
/// tag, because nobody has answered yet, is shown with an empty one.
pub fn map_ids(
    body: &[u8],
    mut map: impl FnMut(&DialogId<'_>) -> Option<OwnedDialogId>,
) -> Cow<'_, [u8]> {
    let Ok(text) = str::from_utf8(body) else {
        return Cow::Borrowed(body);
    };
    let mut reader = Reader::from_str(text);
    let (mut out, mut copied) = (Vec::new(), 0);
    loop {
        let before = reader.buffer_position();
        let (start, ends) = match reader.read_event() {
            Ok(Event::Start(start)) => (start, ">"),
            Ok(Event::Empty(start)) => (start, "/>"),
            Ok(Event::Eof) => break,
            Ok(Event::DocType(_)) | Err(_) => return Cow::Borrowed(body),
            Ok(_) => continue,
        };
        if start.local_name().as_ref() != "dialog" {
            continue;
        }
        let Some(tag) = mapped(&start, ends, &mut map) else {
            continue;
        };
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let (before, after) = (place(before), place(reader.buffer_position()));
        out.extend_from_slice(body.get(copied..before).unwrap_or_default());
        out.extend_from_slice(tag.as_bytes());
        copied = after;
    }
    if copied == 0 {
        return Cow::Borrowed(body);
    }
    out.extend_from_slice(body.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// The tag of a dialog with another id; `None` if it keeps its own.
fn mapped(
    start: &BytesStart<'_>,
    ends: &str,
    map: &mut impl FnMut(&DialogId<'_>) -> Option<OwnedDialogId>,
) -> Option<String> {
    let mut values = [const { Cow::Borrowed("") }; ATTRIBUTES.len()];
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.ok()?;
        let key = attribute.key.as_ref();
        let known = ATTRIBUTES.iter().position(|known| *known == key);
        if let Some(value) = known.and_then(|known| values.get_mut(known)) {
            *value = Cow::Owned(unescape(&attribute.value).ok()?.into_owned());
        }
        attributes.push((key.to_owned(), attribute.value.into_owned(), known));
    }
    let [call_id, end, across] = &values;
    let id = DialogId {
        call_id: call_id.as_bytes(),
        end: end.as_bytes(),
        across: across.as_bytes(),
    };
    let OwnedDialogId {
        call_id,
        end,
        across,
    } = map(&id)?;
    let fresh = [call_id, end, across].map(|text| String::from_utf8(text).unwrap_or_default());
    let mut tag = format!("<{}", start.name().as_ref());
    for (key, value, known) in attributes {
        let fresh = known.and_then(|known| fresh.get(known));
        let value = match fresh {
            Some(fresh) => escape(fresh.as_str()),
            // It may have stood between single quotes.
            None => Cow::Owned(value.replace('"', "&quot;")),
        };
        // Writing to memory cannot fail.
        let _written = write!(tag, " {key}=\"{value}\"");
    }
    tag.push_str(ends);
    Some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "<?xml version=\"1.0\"?>\r\n\
        <dialog-info xmlns='urn:ietf:params:xml:ns:dialog-info' version=\"0\" state=\"full\"\r\n  \
        entity=\"sip:bob@h\">\r\n\
        <!-- <dialog call-id=\"mine\"/> -->\r\n\
        <dialog id='\"1\"' call-id=\"mine\"  local-tag=\"l&amp;1\" remote-tag=\"r\" direction=\"x\" >\
        <state>early</state></dialog>\r\n\
        <dialog id=\"2\" call-id=\"other\" local-tag=\"l\" remote-tag=\"r\"/>\r\n</dialog-info>\r\n";

    /// Puts another id in place of `mine`.
    fn map(id: &DialogId<'_>) -> Option<OwnedDialogId> {
        (id.call_id == b"mine").then(|| {
            assert_eq!((id.end, id.across), (&b"l&1"[..], &b"r"[..]));
            OwnedDialogId {
                call_id: b"ours".to_vec(),
                end: b"<e>".to_vec(),
                across: b"a".to_vec(),
            }
        })
    }

    #[test]
    fn an_id_is_put_in_place_of_another_and_nothing_else_changes() {
        let written = map_ids(BODY.as_bytes(), map);
        let expected = BODY.replace(
            "<dialog id='\"1\"' call-id=\"mine\"  local-tag=\"l&amp;1\" remote-tag=\"r\" \
             direction=\"x\" >",
            "<dialog id=\"&quot;1&quot;\" call-id=\"ours\" local-tag=\"&lt;e&gt;\" \
             remote-tag=\"a\" direction=\"x\">",
        );
        assert_eq!(str::from_utf8(&written).unwrap(), expected);
    }

    #[test]
    fn a_document_of_our_own_says_how_one_dialog_stands_and_no_more() {
        let mut out = Vec::new();
        write(&mut out, (b"sip:o'b&b@h", 7), "x1", Standing::Confirmed);
        let text = str::from_utf8(&out).unwrap();
        let expected = "<?xml version=\"1.0\"?>\r\n\
            <dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"7\" state=\"full\" \
            entity=\"sip:o&apos;b&amp;b@h\">\r\n\
            <dialog id=\"x1\"><state>confirmed</state></dialog>\r\n</dialog-info>\r\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_document_whose_ids_stay_is_the_same_bytes() {
        let written = map_ids(BODY.as_bytes(), |_| None);
        assert!(matches!(written, Cow::Borrowed(_)));
        assert_eq!(&*written, BODY.as_bytes());
    }

    #[test]
    fn an_empty_element_stays_one_whatever_its_prefix() {
        let body = b"<d:dialog-info><d:dialog call-id=\"mine\" local-tag=\"l&amp;1\" \
            remote-tag=\"r\"/></d:dialog-info>";
        let written = map_ids(body, map);
        let expected = b"<d:dialog-info><d:dialog call-id=\"ours\" local-tag=\"&lt;e&gt;\" \
            remote-tag=\"a\"/></d:dialog-info>";
        assert_eq!(&*written, expected);
    }

    #[test]
    fn what_cannot_be_read_or_declares_a_type_stays_as_it_is() {
        let dialog = "<dialog call-id=\"mine\" local-tag=\"l&amp;1\" remote-tag=\"r\"/>";
        for body in [
            format!("<!DOCTYPE x [<!ENTITY a \"b\">]><dialog-info>{dialog}</dialog-info>"),
            format!("<dialog-info>{dialog}</other>"),
            format!("<dialog-info>{dialog}<"),
        ] {
            assert_eq!(&*map_ids(body.as_bytes(), map), body.as_bytes(), "{body}");
        }
        let bytes = [b"\xff", dialog.as_bytes()].concat();
        assert_eq!(&*map_ids(&bytes, map), bytes);
    }
}
