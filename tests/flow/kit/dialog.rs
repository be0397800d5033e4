//! One end of a dialog, as a party keeps it.
//!
//! Spec: RFC 3261 §12.1.

use std::cell::Cell;

use super::message::{Message, uri_of};

/// What a party needs to send requests within a dialog.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    /// The Call-ID.
    pub(crate) call_id: String,
    /// The party's own address with its tag.
    pub(crate) local: String,
    /// The other's address with its tag.
    pub(crate) remote: String,
    /// The other's Contact.
    pub(crate) target: String,
    /// The route set, in the order of the Route headers.
    pub(crate) routes: Vec<String>,
    cseq: Cell<u32>,
}

impl Dialog {
    /// The caller's end: the INVITE that he sent and a response that he got.
    pub(crate) fn of_caller(sent: &Message, got: &Message) -> Self {
        let routes = got.list("Record-Route").into_iter().rev();
        Self {
            call_id: sent.call_id().to_owned(),
            local: got.header("From").to_owned(),
            remote: got.header("To").to_owned(),
            target: got.contact().to_owned(),
            routes: routes.map(str::to_owned).collect(),
            cseq: Cell::new(sent.cseq()),
        }
    }

    /// The callee's end: the INVITE that he got and a response that he sent.
    pub(crate) fn of_callee(got: &Message, sent: &Message) -> Self {
        let routes = got.list("Record-Route").into_iter();
        Self {
            call_id: got.call_id().to_owned(),
            local: sent.header("To").to_owned(),
            remote: sent.header("From").to_owned(),
            target: uri_of(got.header("Contact")).to_owned(),
            routes: routes.map(str::to_owned).collect(),
            // A party numbers its own requests from where it likes; not from where the other did.
            cseq: Cell::new(7000),
        }
    }

    /// The end of a notifier with this tag, before it has answered the SUBSCRIBE.
    pub(crate) fn of_notifier(got: &Message, tag: &str) -> Self {
        Self {
            call_id: got.call_id().to_owned(),
            local: format!("{};tag={tag}", got.header("To")),
            remote: got.header("From").to_owned(),
            target: got.contact().to_owned(),
            routes: Vec::new(),
            cseq: Cell::new(1),
        }
    }

    /// The same dialog as its other end names it.
    pub(crate) fn seen_across(&self) -> Self {
        Self {
            local: self.remote.clone(),
            remote: self.local.clone(),
            ..self.clone()
        }
    }

    /// The number of the next request.
    pub(crate) fn next_cseq(&self) -> u32 {
        self.cseq.set(self.cseq.get() + 1);
        self.cseq.get()
    }
}
