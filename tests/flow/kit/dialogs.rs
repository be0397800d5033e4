//! A PBX that tells of the dialogs of its users.
//!
//! Spec: RFC 4235; RFC 6665 §4.2.

use std::fmt::Write as _;

use super::dialog::Dialog;
use super::draft::{Draft, response, within};
use super::message::Message;
use super::party::Party;

/// Campon's subscription to somebody's dialogs, as the PBX has it.
pub(crate) struct Lamp {
    /// The SUBSCRIBE.
    pub(crate) sent: Message,
    dialog: Dialog,
}

/// Campon subscribes to the dialogs of this user, and may.
#[track_caller]
pub(crate) fn is_watched(pbx: &Party, uri: &str) -> Lamp {
    let [sent] = pbx.receives_each(["SUBSCRIBE"]);
    assert_eq!(sent.uri(), uri);
    is_granted(pbx, sent)
}

/// A SUBSCRIBE of campon's is accepted.
#[track_caller]
pub(crate) fn is_granted(pbx: &Party, sent: Message) -> Lamp {
    assert_eq!(sent.header("Event"), "dialog");
    assert_eq!(sent.header("Accept"), "application/dialog-info+xml");
    let accepted = pbx.sends(accept(&sent));
    let dialog = Dialog::of_callee(&sent, &accepted);
    Lamp { sent, dialog }
}

fn accept(subscribe: &Message) -> Draft {
    response(subscribe, 200)
        .with("Expires", subscribe.header("Expires"))
        .with("Contact", "<sip:lamps@192.0.2.200:5060>")
}

impl Lamp {
    /// The PBX tells these dialogs, by id and state, and campon takes it.
    #[track_caller]
    pub(crate) fn tells(&self, pbx: &Party, version: u32, state: &str, dialogs: &[(&str, &str)]) {
        let mut body = format!(
            "<?xml version=\"1.0\"?>\n<dialog-info \
             xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"{version}\" state=\"{state}\" \
             entity=\"sip:bob@pbx.example\">"
        );
        for (id, state) in dialogs {
            let _written = write!(body, "<dialog id=\"{id}\"><state>{state}</state></dialog>");
        }
        body.push_str("</dialog-info>");
        let draft = self.notify("active;expires=590");
        pbx.sends(draft.with_body("application/dialog-info+xml", body.as_bytes()));
        pbx.receives_each(["200"]);
    }

    /// A NOTIFY with this Subscription-State.
    pub(crate) fn notify(&self, state: &str) -> Draft {
        within(&self.dialog, "NOTIFY")
            .with("Event", "dialog")
            .with("Subscription-State", state)
            .with("Contact", "<sip:lamps@192.0.2.200:5060>")
    }

    /// Campon asks again for what it has: its SUBSCRIBE.
    #[track_caller]
    pub(crate) fn is_refreshed(&self, pbx: &Party) -> Message {
        let [again] = pbx.receives_each(["SUBSCRIBE"]);
        assert_eq!(again.call_id(), self.dialog.call_id);
        assert_eq!(again.header("To"), self.dialog.local);
        again
    }

    /// Campon watches no more.
    #[track_caller]
    pub(crate) fn is_left(&self, pbx: &Party) {
        let end = self.is_refreshed(pbx);
        assert_eq!(end.header("Expires"), "0");
        pbx.sends(accept(&end));
        pbx.sends(self.notify("terminated;reason=timeout"));
        pbx.receives_each(["200"]);
    }
}
