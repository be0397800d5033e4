//! Dialog-info documents as a watcher reads them: which dialogs somebody has, and how they stand.
//!
//! Spec: RFC 4235 §3.7.1 (states), §4.1, §4.3.
//!
//! XML from strangers: what declares a document type, or cannot be read to its end, says nothing.

use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use smallvec::SmallVec;

/// The most dialogs of one document: more lines than anybody has who is waited for.
const DIALOGS_MAX: usize = 256;

/// The most bytes of a dialog's name.
const ID_MAX: usize = 256;

/// How far a dialog is, as far as it keeps its user from another.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Progress {
    /// It is over.
    Terminated,
    /// It is being set up: trying, proceeding, early.
    Alerting,
    /// It is up.
    Confirmed,
}

/// One dialog of a document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Told {
    /// Its name among those of the same subscription.
    pub id: Box<str>,
    /// How far it is.
    pub progress: Progress,
}

/// What a document says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Document {
    /// Its number among those of the same subscription.
    pub version: u32,
    /// Whether dialogs that it does not name are not there; else they are as before.
    pub is_full: bool,
    /// The dialogs that it names.
    pub dialogs: SmallVec<[Told; 2]>,
}

/// What has been read so far.
#[derive(Debug, Default)]
struct Reading {
    document: Option<Document>,
    /// The dialog that is open, and where its state begins.
    id: Option<Box<str>>,
    state_at: Option<usize>,
}

impl Document {
    /// The document of a body; `None` if it is none.
    pub fn read(body: &[u8]) -> Option<Self> {
        let text = str::from_utf8(body).ok()?;
        let mut reader = Reader::from_str(text);
        let mut reading = Reading::default();
        loop {
            let place = |at: u64| usize::try_from(at).ok();
            let before = place(reader.buffer_position())?;
            match reader.read_event().ok()? {
                Event::DocType(_) => return None,
                Event::Start(start) => {
                    reading.begin(&start)?;
                    if start.local_name().as_ref() == "state" {
                        reading.state_at = place(reader.buffer_position());
                    }
                }
                Event::Empty(start) => reading.begin(&start)?,
                Event::End(end) if end.local_name().as_ref() == "state" => {
                    let begins = reading.state_at.take()?;
                    reading.note(text.get(begins..before)?.trim())?;
                }
                Event::Eof => return reading.document,
                Event::End(_)
                | Event::Text(_)
                | Event::CData(_)
                | Event::Comment(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::GeneralRef(_) => {}
            }
        }
    }
}

impl Reading {
    fn begin(&mut self, start: &BytesStart<'_>) -> Option<()> {
        match start.local_name().as_ref() {
            "dialog-info" => {
                let document = Document {
                    version: attribute(start, "version")?.parse().ok()?,
                    is_full: attribute(start, "state")? == "full",
                    dialogs: SmallVec::new(),
                };
                self.document = Some(document);
            }
            "dialog" => {
                let id = attribute(start, "id").filter(|id| id.len() <= ID_MAX)?;
                self.id = Some(id.into());
            }
            _ => {}
        }
        Some(())
    }

    /// A state that nobody knows is one of a dialog that is there.
    fn note(&mut self, state: &str) -> Option<()> {
        let progress = match state {
            "terminated" => Progress::Terminated,
            "confirmed" => Progress::Confirmed,
            _ => Progress::Alerting,
        };
        let document = self.document.as_mut()?;
        let id = self.id.take()?;
        if document.dialogs.len() >= DIALOGS_MAX {
            return None;
        }
        document.dialogs.push(Told { id, progress });
        Some(())
    }
}

fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    let mut attributes = start.attributes().filter_map(Result::ok);
    let found = attributes.find(|attribute| attribute.key.as_ref() == name)?;
    Some(unescape(&found.value).ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "<?xml version=\"1.0\"?>\r\n\
        <dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"3\" state=\"full\" \
        entity=\"sip:bob@a.example\">\r\n\
        <dialog id=\"a&amp;1\" call-id=\"x\" direction=\"recipient\"><state event=\"x\"> confirmed \
        </state><local><identity>sip:bob@a.example</identity></local></dialog>\r\n\
        <d:dialog xmlns:d=\"urn:ietf:params:xml:ns:dialog-info\" id='2'><d:state>early</d:state>\
        </d:dialog><dialog id=\"3\"><state code=\"486\">terminated</state></dialog>\r\n\
        <dialog id=\"4\"><state>held-by-aliens</state></dialog></dialog-info>";

    fn read(text: &str) -> Option<Document> {
        Document::read(text.as_bytes())
    }

    #[test]
    fn a_document_says_which_dialogs_there_are_and_how_far() {
        let document = read(WHOLE).expect("a document");
        assert_eq!((document.version, document.is_full), (3, true));
        let told = document.dialogs.iter();
        let told: Vec<_> = told.map(|told| (&*told.id, told.progress)).collect();
        let expected = [
            ("a&1", Progress::Confirmed),
            ("2", Progress::Alerting),
            ("3", Progress::Terminated),
            ("4", Progress::Alerting),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_document_of_no_dialogs_is_one() {
        let none = "<dialog-info version=\"0\" state=\"partial\" entity=\"sip:b@a\"/>";
        let expected = Document {
            is_full: false,
            ..Document::default()
        };
        assert_eq!(read(none), Some(expected));
    }

    #[test]
    fn what_is_no_document_says_nothing() {
        for broken in [
            WHOLE.replace("version=\"3\"", "version=\"x\""),
            WHOLE.replace("state=\"full\"", ""),
            WHOLE.replace(" id='2'", ""),
            WHOLE.replace("</dialog-info>", "</other>"),
            format!("<!DOCTYPE x [<!ENTITY a \"b\">]>{WHOLE}"),
            "<state>confirmed</state>".to_owned(),
            "busy".to_owned(),
            String::new(),
            format!(
                "<dialog-info version=\"0\" state=\"full\">{}</dialog-info>",
                "<dialog id=\"1\"><state>early</state></dialog>".repeat(DIALOGS_MAX + 1)
            ),
        ] {
            assert_eq!(read(&broken), None, "{broken}");
        }
        assert_eq!(Document::read(b"\xff"), None);
    }
}
