//! Presence documents: whether a caller can be recalled, and nothing else of them.
//!
//! Spec: RFC 3863 §4.1; RFC 6910 §6.5, §6.6.
//!
//! XML from strangers: no document type, no entities, bounded size and depth.

use quick_xml::escape::escape;
use quick_xml::events::Event;
use quick_xml::name::LocalName;
use quick_xml::reader::Reader;

use crate::cc::Basic;
use crate::cc::addr::AddrSpec;

/// The media type.
pub const MEDIA_TYPE: &str = "application/pidf+xml";

/// The longest document that is read, in bytes: one datagram.
pub const BODY_MAX: usize = 64 * 1024;

/// How deep elements may lie in each other; presence needs four.
pub const DEPTH_MAX: usize = 32;

/// Why a document cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Broken {
    /// `basic` is neither open nor closed.
    #[error("basic is neither open nor closed")]
    BadBasic,
    /// Elements lie in each other more than [`DEPTH_MAX`] deep.
    #[error("too deep")]
    Depth,
    /// It declares a document type or uses an entity.
    #[error("document types and entities are refused")]
    Dtd,
    /// No tuple has a basic status.
    #[error("no basic status")]
    NoBasic,
    /// It is not XML, or its outermost element is not `presence`.
    #[error("not a presence document")]
    NotPresence,
    /// It is longer than [`BODY_MAX`].
    #[error("too long")]
    TooLong,
}

/// The path to the one text that matters; prefixes are the sender's choice.
const PATH: [&str; 4] = ["presence", "tuple", "status", "basic"];

/// Reads whether the presentity is open: he is if any of his tuples is (RFC 3863 §4.1.4).
pub fn parse(body: &[u8]) -> Result<Basic, Broken> {
    if body.len() > BODY_MAX {
        return Err(Broken::TooLong);
    }
    let text = str::from_utf8(body).map_err(|_| Broken::NotPresence)?;
    let mut reader = Reader::from_str(text);
    let mut walk = Walk::default();
    loop {
        let event = reader.read_event().map_err(|_| Broken::NotPresence)?;
        match event {
            Event::Start(start) => walk.open(start.local_name())?,
            Event::Empty(start) => {
                walk.open(start.local_name())?;
                walk.close()?;
            }
            Event::End(_) => walk.close()?,
            Event::Text(text) => walk.text.push_str(text.as_ref()),
            Event::CData(text) => walk.text.push_str(text.as_ref()),
            Event::DocType(_) | Event::GeneralRef(_) => return Err(Broken::Dtd),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => return walk.finish(),
        }
    }
}

/// The document that says so of a user: one tuple.
pub fn write(presentity: &AddrSpec, basic: Basic) -> String {
    let value = match basic {
        Basic::Closed => "closed",
        Basic::Open => "open",
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
         <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"{}\">\
         <tuple id=\"cc\"><status><basic>{value}</basic></status></tuple></presence>\r\n",
        escape(presentity.as_str())
    )
}

/// Where in the document the reader stands.
#[derive(Default)]
struct Walk {
    depth: usize,
    /// How many of the open elements, from the outermost on, are those of [`PATH`].
    on_path: usize,
    text: String,
    found: Option<Basic>,
    has_root: bool,
}

impl Walk {
    fn open(&mut self, name: LocalName<'_>) -> Result<(), Broken> {
        let expected = PATH.get(self.depth).copied().unwrap_or_default();
        let matches = self.on_path == self.depth && name.as_ref() == expected;
        if self.depth == 0 && (self.has_root || !matches) {
            return Err(Broken::NotPresence);
        }
        self.has_root = true;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Broken::Depth);
        }
        if matches {
            self.on_path = self.depth;
        }
        self.text.clear();
        Ok(())
    }

    fn close(&mut self) -> Result<(), Broken> {
        if self.depth == PATH.len() && self.on_path == PATH.len() {
            let here = match self.text.trim() {
                "open" => Basic::Open,
                "closed" => Basic::Closed,
                _ => return Err(Broken::BadBasic),
            };
            self.found = self.found.max(Some(here));
        }
        self.depth = self.depth.checked_sub(1).ok_or(Broken::NotPresence)?;
        self.on_path = self.on_path.min(self.depth);
        self.text.clear();
        Ok(())
    }

    fn finish(self) -> Result<Basic, Broken> {
        if self.depth > 0 || !self.has_root {
            return Err(Broken::NotPresence);
        }
        self.found.ok_or(Broken::NoBasic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presence(inside: &str) -> String {
        format!(
            "<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='sip:a@a'>{inside}</presence>"
        )
    }

    fn tuple(basic: &str) -> String {
        format!("<tuple id='x'><status><basic>{basic}</basic></status></tuple>")
    }

    #[test]
    fn what_we_write_is_read_back() {
        let user = AddrSpec::new("sip:a&b@a.example").expect("a URI");
        for basic in [Basic::Closed, Basic::Open] {
            assert_eq!(parse(write(&user, basic).as_bytes()), Ok(basic));
        }
        assert!(write(&user, Basic::Open).contains("entity=\"sip:a&amp;b@a.example\""));
    }

    #[test]
    fn prefixes_extensions_and_white_space_do_not_hide_the_status() {
        let body = "<?xml version='1.0'?><!-- hi -->\n\
            <p:presence xmlns:p='urn:ietf:params:xml:ns:pidf' entity='pres:a@a'>\
            <p:tuple id='1'><p:status><x:basic xmlns:x='u'>closed</x:basic>\
            <x:more><basic>open</basic></x:more></p:status><p:contact>sip:a@a</p:contact>\
            </p:tuple><p:note>basic</p:note></p:presence>";
        assert_eq!(parse(body.as_bytes()), Ok(Basic::Closed));
    }

    #[test]
    fn one_open_tuple_makes_a_caller_open() {
        let body = presence(&[tuple("open"), tuple(" closed\n")].concat());
        assert_eq!(parse(body.as_bytes()), Ok(Basic::Open));
    }

    #[test]
    fn document_types_and_entities_are_refused() {
        let bomb = format!(
            "<!DOCTYPE p [<!ENTITY a 'open'>]>{}",
            presence(&tuple("&a;"))
        );
        assert_eq!(parse(bomb.as_bytes()), Err(Broken::Dtd));
        assert_eq!(parse(presence(&tuple("&a;")).as_bytes()), Err(Broken::Dtd));
    }

    #[test]
    fn deep_and_long_documents_are_refused() {
        let deep = presence(&["<a>".repeat(DEPTH_MAX), "</a>".repeat(DEPTH_MAX)].concat());
        assert_eq!(parse(deep.as_bytes()), Err(Broken::Depth));
        let long = presence(&" ".repeat(BODY_MAX));
        assert_eq!(parse(long.as_bytes()), Err(Broken::TooLong));
    }

    #[test]
    fn what_is_no_presence_is_refused() {
        let half = presence("<tuple>").replace("</presence>", "");
        let twice = presence(&tuple("open")).repeat(2);
        for body in ["", "closed", "<status/>", "<presence", &half, &twice] {
            assert_eq!(parse(body.as_bytes()), Err(Broken::NotPresence), "{body}");
        }
        assert_eq!(parse(b"<presence/>"), Err(Broken::NoBasic));
        let away = presence(&tuple("away"));
        assert_eq!(parse(away.as_bytes()), Err(Broken::BadBasic));
    }
}
