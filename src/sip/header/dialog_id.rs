//! The id of a dialog in a header field or document: Replaces, Join, Target-Dialog, dialog-info.
//!
//! Spec: RFC 3891 §6.1; RFC 3911 §7.1; RFC 4538 §7; RFC 4235 §4.1.1.

use crate::sip::header::item::Item;
use crate::sip::name::Name;

/// What names a dialog to somebody who is one of its ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DialogId<'d> {
    /// The Call-ID.
    pub call_id: &'d [u8],
    /// The tag of the end that is meant: `to-tag`, the `remote-tag` of Target-Dialog, or the
    /// `local-tag` of a dialog-info document.
    pub end: &'d [u8],
    /// The tag of the end that is across from it.
    pub across: &'d [u8],
}

/// The same, made up of texts of its own.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OwnedDialogId {
    /// The Call-ID.
    pub call_id: Vec<u8>,
    /// See [`DialogId::end`].
    pub end: Vec<u8>,
    /// See [`DialogId::across`].
    pub across: Vec<u8>,
}

impl<'d> DialogId<'d> {
    /// The id in the value of a header field of this name; `None` if that has none.
    pub fn parse(name: Name, value: &'d [u8]) -> Option<Self> {
        let [end, across] = params(name)?;
        let item = Item::parse(value).ok()?;
        Some(Self {
            call_id: item.value,
            end: item.params.value(end)?,
            across: item.params.value(across)?,
        })
    }
}

impl OwnedDialogId {
    /// The value of a header field of this name with this id in place of its own; the parameters
    /// that are no tags stay.
    pub fn in_place_of(&self, name: Name, value: &[u8]) -> Option<Vec<u8>> {
        let [end, across] = params(name)?;
        let item = Item::parse(value).ok()?;
        let mut out = self.call_id.clone();
        for (name, value) in &item.params {
            let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
            let value = if is(end) {
                Some(&*self.end)
            } else if is(across) {
                Some(&*self.across)
            } else {
                value
            };
            out.push(b';');
            out.extend_from_slice(name);
            if let Some(value) = value {
                out.push(b'=');
                out.extend_from_slice(value);
            }
        }
        Some(out)
    }
}

/// The parameters that hold the tags: of the end that is meant, and of the one across from it.
fn params(name: Name) -> Option<[&'static str; 2]> {
    if matches!(name, Name::Replaces | Name::Join) {
        return Some(["to-tag", "from-tag"]);
    }
    // RFC 4538 §4: local and remote as whoever gets it sees them.
    (name == Name::TargetDialog).then_some(["local-tag", "remote-tag"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> OwnedDialogId {
        OwnedDialogId {
            call_id: b"ours".to_vec(),
            end: b"e".to_vec(),
            across: b"a".to_vec(),
        }
    }

    #[test]
    fn the_end_that_is_meant_is_the_one_who_gets_the_header() {
        let id = DialogId::parse(Name::Replaces, b"12@h;from-tag=8;to-tag=7;early-only").unwrap();
        assert_eq!(
            (id.call_id, id.end, id.across),
            (&b"12@h"[..], &b"7"[..], &b"8"[..])
        );
        let id = DialogId::parse(Name::TargetDialog, b"12@h; local-tag=8; remote-tag=7").unwrap();
        assert_eq!((id.end, id.across), (&b"8"[..], &b"7"[..]));
    }

    #[test]
    fn what_is_no_tag_stays() {
        let written = ours().in_place_of(Name::Replaces, b"12@h;from-tag=8;to-tag=7;early-only");
        assert_eq!(written.unwrap(), b"ours;from-tag=a;to-tag=e;early-only");
        let written = ours().in_place_of(Name::TargetDialog, b"12@h;local-tag=8;remote-tag=7;x=1");
        assert_eq!(written.unwrap(), b"ours;local-tag=e;remote-tag=a;x=1");
    }

    #[test]
    fn half_an_id_is_none() {
        for value in [
            "12@h",
            "12@h;to-tag=7",
            ";to-tag=7;from-tag=8",
            "12@h;to-tag;from-tag=8",
        ] {
            assert_eq!(
                DialogId::parse(Name::Join, value.as_bytes()),
                None,
                "{value}"
            );
        }
        assert_eq!(
            DialogId::parse(Name::InReplyTo, b"12@h;to-tag=7;from-tag=8"),
            None
        );
    }
}
