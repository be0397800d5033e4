//! REFERs that crossed: what each begins is named by its number, which is another one on each leg.
//!
//! Spec: RFC 3515 §2.4.6 (S-163); RFC 6665 §8.2.1.

use crate::call::{Call, Few, Side};
use crate::sip::{Item, Request, parse_u32};

/// The most REFERs of one call whose numbers are kept; those before are over.
const REFERS_MAX: usize = 8;

/// The REFERs of a call, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Refers(Few<Refer>);

#[derive(Clone, Copy, Debug)]
struct Refer {
    asker: Side,
    /// Its number on the leg of who sent it.
    asked: u32,
    /// Its number on the other.
    sent: u32,
}

impl Call {
    /// A REFER of this side's went on with the number `sent`.
    pub(super) fn note_refer(&mut self, asker: Side, refer: &Request<'_>, sent: u32) {
        let Refers(refers) = &mut **self.refers.get_or_insert_default();
        if refers.len() >= REFERS_MAX {
            refers.remove(0);
        }
        refers.push(Refer {
            asker,
            asked: refer.cseq.number,
            sent,
        });
    }

    /// What of this side's went on with the number before went again with this one.
    pub(super) fn renumber_refer(&mut self, asker: Side, number: u32) {
        let refers = self.refers.as_deref_mut();
        let mut refers = refers.into_iter().flat_map(|Refers(refers)| refers);
        let is_it = |refer: &&mut Refer| refer.asker == asker && refer.sent + 1 == number;
        if let Some(refer) = refers.find(is_it) {
            refer.sent = number;
        }
    }

    /// The value of Event for this side, in a message about a REFER that is named by its number.
    pub(super) fn event_towards(&self, to: Side, value: &[u8]) -> Option<Vec<u8>> {
        let Refers(refers) = self.refers.as_deref()?;
        let event = Item::parse(value).ok().filter(|event| event.is("refer"))?;
        let number = parse_u32(event.params.value("id")?)?;
        let is_of_receiver = |refer: &&Refer| refer.asker == to && refer.sent == number;
        let is_of_sender = |refer: &&Refer| refer.asker != to && refer.asked == number;
        let number = match refers.iter().find(is_of_receiver) {
            Some(refer) => refer.asked,
            None => refers.iter().find(is_of_sender)?.sent,
        };
        let mut out = event.value.to_vec();
        for (name, value) in &event.params {
            out.push(b';');
            out.extend_from_slice(name);
            if name.eq_ignore_ascii_case(b"id") {
                out.extend_from_slice(format!("={number}").as_bytes());
            } else if let Some(value) = value {
                out.push(b'=');
                out.extend_from_slice(value);
            }
        }
        Some(out)
    }
}
