//! A dialog of a subscription, from either side.
//!
//! Spec: RFC 6665 §4.4.1; RFC 3261 §12.2.

use campon::time::Timestamp;

use crate::flow::kit::message::Message;
use crate::sim::frame::campon;
use crate::sim::phone::Phone;
use crate::sim::wire::{self, Parts};

/// What its requests need.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    pub(crate) call_id: String,
    /// Our address, with its tag.
    pub(crate) local: String,
    /// The other's; with a tag once it is known.
    pub(crate) remote: String,
    pub(crate) target: String,
    pub(crate) cseq: u32,
    /// The highest CSeq of the other's.
    pub(crate) heard_cseq: u32,
}

/// What a request adds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'w> {
    pub(crate) method: &'static str,
    pub(crate) lines: &'w str,
    pub(crate) body: &'w str,
}

impl Usage {
    /// The side that asks.
    pub(crate) fn of_client(phone: &mut Phone, uri: &str, to: &str) -> Self {
        let tag = phone.unique("t");
        Self {
            call_id: phone.unique("sub"),
            local: format!("<sip:{}@{}>;tag={tag}", phone.user, phone.domain),
            remote: to.to_owned(),
            target: uri.to_owned(),
            cseq: 0,
            heard_cseq: 0,
        }
    }

    /// The side that is asked, and that answered with this tag.
    pub(crate) fn of_server(request: &Message, tag: &str) -> Self {
        Self {
            call_id: request.call_id().to_owned(),
            local: format!("{};tag={tag}", request.header("To")),
            remote: request.header("From").to_owned(),
            target: request.contact().to_owned(),
            cseq: 0,
            heard_cseq: request.cseq(),
        }
    }

    /// Sends a request within it.
    pub(crate) fn send(&mut self, now: Timestamp, phone: &mut Phone, wish: Wish<'_>) {
        self.cseq += 1;
        let branch = phone.unique("z9hG4bK");
        let parts = Parts {
            method: wish.method,
            uri: &self.target,
            branch: &branch,
            from: &self.local,
            to: &self.remote,
            call_id: &self.call_id,
            cseq: self.cseq,
            lines: wish.lines,
            body: wish.body,
        };
        let request = wire::request(phone.address, &parts);
        phone.start(now, 0, campon(), request);
    }

    /// Whether a request is newer than all before it.
    pub(crate) fn is_in_order(&mut self, request: &Message) -> bool {
        let is_newer = request.cseq() > self.heard_cseq;
        self.heard_cseq = self.heard_cseq.max(request.cseq());
        is_newer
    }
}

/// A PIDF document that says whether its entity takes calls.
pub(crate) fn pidf(entity: &str, basic: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
         <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"{entity}\">\r\n\
         <tuple id=\"t\"><status>\r\n<basic>{basic}</basic>\r\n</status></tuple>\r\n</presence>\r\n"
    )
}
