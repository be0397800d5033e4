//! What a usage of a dialog needs to send a request.
//!
//! Spec: RFC 3261 §8.1.1, §12.2.1.1.

use crate::dialog::identity::Dialog;
use crate::random::Rng;
use crate::sip::flow::Flow;
use crate::sip::{Method, Refused, Uri, Writer};
use crate::table::Full;
use crate::time::Timestamp;
use crate::transaction::branch::hex;
use crate::transaction::clients::Outgoing;
use crate::transaction::fallback::Fallback;
use crate::transaction::{Layer, User};

/// How far a request of our own may go (S-22).
pub(super) const MAX_FORWARDS: u8 = 70;

/// What a usage may use while it is handled.
#[derive(Debug)]
pub struct Turn<'t> {
    /// The time.
    pub now: Timestamp,
    /// The transactions.
    pub layer: &'t mut Layer,
    /// Random numbers, for Call-IDs and tags.
    pub rng: &'t mut Rng,
    /// Where fields are written before they are sent; its contents are of no interest.
    pub scratch: &'t mut Vec<u8>,
}

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotSent {
    /// There are too many transactions.
    #[error("too many transactions")]
    Full,
    /// Something in it must not stand in a message.
    #[error("the request cannot be written")]
    Malformed,
    /// The peer has not answered yet, or is forgotten.
    #[error("there is no dialog")]
    NoDialog,
}

impl From<Full> for NotSent {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

impl From<Refused> for NotSent {
    fn from(_: Refused) -> Self {
        Self::Malformed
    }
}

/// The outside of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope<'e> {
    pub(super) method: Method<'e>,
    pub(super) uri: &'e [u8],
    pub(super) flow: Flow,
    pub(super) user: Option<User>,
    /// Where else it may go.
    pub(super) others: Option<&'e Fallback>,
}

impl Turn<'_> {
    /// A Call-ID that nobody else has.
    pub(super) fn call_id(&mut self) -> [u8; 32] {
        let [high, low] = [hex(self.rng.bits()), hex(self.rng.bits())];
        let mut digits = high.into_iter().chain(low);
        std::array::from_fn(|_| digits.next().unwrap_or(b'0'))
    }

    /// Sends a request with the fields that `write` adds.
    pub(super) fn send(
        &mut self,
        envelope: Envelope<'_>,
        write: impl FnOnce(&mut Writer<'_>),
        body: &[u8],
    ) -> Result<(), NotSent> {
        let Envelope {
            method,
            uri,
            flow,
            user,
            others,
        } = envelope;
        Uri::parse(uri).map_err(|_| NotSent::Malformed)?;
        self.scratch.clear();
        let mut writer = Writer::fragment(self.scratch);
        write(&mut writer);
        writer.finish(body)?;
        let outgoing = Outgoing {
            method,
            uri,
            flow,
            user,
            destination: 0,
            fields: self.scratch,
        };
        self.layer.request_with(self.now, &outgoing, others)?;
        Ok(())
    }

    /// Sends the next request of a dialog with the fields that `write` adds to the dialog's own.
    ///
    /// What is within a dialog is for the server that has it: `others` names an account at most.
    pub(super) fn send_within(
        &mut self,
        dialog: &mut Dialog,
        (method, user, others): (Method<'_>, Option<User>, Option<&Fallback>),
        write: impl FnOnce(&mut Writer<'_>),
        body: &[u8],
    ) -> Result<(), NotSent> {
        if !dialog.has_target() {
            return Err(NotSent::NoDialog);
        }
        let number = dialog.next_cseq();
        let envelope = Envelope {
            method,
            uri: dialog.request_uri(),
            flow: dialog.flow(),
            user,
            others,
        };
        let write = |writer: &mut Writer<'_>| {
            dialog.write_fields(writer, method, number, MAX_FORWARDS);
            write(writer);
        };
        self.send(envelope, write, body)
    }
}
