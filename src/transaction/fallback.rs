//! Where else a request goes when the server that it was sent to fails it.
//!
//! Spec: RFC 3263 §4.3 (S-101), §4.4 (S-102).
//!
//! Invariants: each attempt is a transaction of its own, with its own branch; retransmissions, the
//! ACK of a failure and the CANCEL of an attempt go where that attempt went; once a server has said
//! more than 100, the request stays with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::sip::flow::Flow;
use crate::sip::header::retry_after;
use crate::sip::{Name, Response};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::User;
use crate::transaction::login::{Login, Session};

/// Another server that may take the request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hop {
    /// The way to it.
    pub flow: Flow,
    /// The Request-URI that it is asked with, where that is not the first server's.
    pub uri: Option<Box<[u8]>>,
    /// Our Contact as it sees it, where that is not the first server's.
    pub contact: Option<Box<[u8]>>,
    /// Whether it is the server before it by another transport, to be tried only where nothing could be
    /// sent to it (S-24).
    pub is_same: bool,
}

/// The other servers, and how long each is waited for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fallback {
    /// The next one first; none left: it is only told how the last one did.
    pub hops: VecDeque<Hop>,
    /// How long a server may say nothing at all while another one is left; shorter than 64*T1.
    /// Zero: there is no other one, and nobody is told how it did.
    pub patience: Duration,
    /// Who we are if it is challenged; `None`: its challenge is the answer.
    pub login: Option<Arc<Login>>,
}

impl Fallback {
    /// That of a request which has one server.
    pub fn none() -> Self {
        Self {
            hops: VecDeque::new(),
            patience: Duration::ZERO,
            login: None,
        }
    }

    /// The same with an account there.
    pub fn of_login(login: Arc<Login>) -> Self {
        Self {
            login: Some(login),
            ..Self::none()
        }
    }

    pub(super) fn is_alone(&self) -> bool {
        self.patience.is_zero() && self.hops.is_empty()
    }

    /// The next one to go to after this trouble with the one before.
    pub(super) fn next(&mut self, trouble: Trouble) -> Option<Hop> {
        while let Some(hop) = self.hops.pop_front() {
            if !hop.is_same || trouble == Trouble::Unreachable {
                return Some(hop);
            }
        }
        None
    }

    /// The same for a request whose Contact is not the way back to the sender.
    #[must_use]
    pub fn with_one_contact(mut self) -> Self {
        for hop in &mut self.hops {
            hop.contact = None;
        }
        self
    }
}

/// How a server failed a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trouble {
    /// It said nothing in time.
    Silent,
    /// It said 503, and perhaps for how long.
    Unavailable {
        /// Its Retry-After.
        retry_after: Option<Duration>,
    },
    /// Nothing could be sent to it.
    Unreachable,
}

/// A server that failed a request, and what became of that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ServerFailed {
    /// The way to it.
    pub flow: Flow,
    /// What it did.
    pub trouble: Trouble,
    /// Whose request went on, in which transaction and by which way; `None` if it went nowhere.
    pub moved: Option<(User, Key, Flow)>,
}

/// A request that may yet go elsewhere.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) fallback: Fallback,
    /// Until when its server may say nothing; `None` once it has said 100.
    pub(super) until: Option<Timestamp>,
    /// How it is proven to be ours.
    pub(super) session: Option<Box<Session>>,
}

impl Attempt {
    pub(super) fn start(now: Timestamp, fallback: Fallback) -> Self {
        let has_other = fallback.hops.iter().any(|hop| !hop.is_same);
        let until = has_other.then(|| now + fallback.patience);
        let login = fallback.login.clone();
        Self {
            fallback,
            until,
            session: login.map(|login| Box::new(Session::new(login))),
        }
    }

    /// The same for a request that has been challenged before.
    pub(super) fn with_session(mut self, session: Box<Session>) -> Self {
        self.session = Some(session);
        self
    }
}

/// What a 503 says of its server.
pub(super) fn unavailable(response: &Response<'_>) -> Trouble {
    let value = response.message.first(Name::RetryAfter);
    Trouble::Unavailable {
        retry_after: value.and_then(retry_after::seconds),
    }
}

/// What follows the Via of a request of ours, with another Contact if need be.
pub(super) fn fields_of(request: &[u8], contact: Option<&[u8]>) -> Vec<u8> {
    let mut lines = request.split_inclusive(|byte| *byte == b'\n');
    // The start line and our Via.
    let head: usize = lines.by_ref().take(2).map(<[u8]>::len).sum();
    let fields = request.get(head..).unwrap_or_default();
    let Some(contact) = contact else {
        return fields.to_vec();
    };
    let mut changed = Vec::with_capacity(fields.len() + contact.len());
    let mut is_head = true;
    for line in lines {
        is_head &= line != b"\r\n";
        if is_head && line.starts_with(b"Contact: ") {
            changed.extend_from_slice(b"Contact: ");
            changed.extend_from_slice(contact);
            changed.extend_from_slice(b"\r\n");
        } else {
            changed.extend_from_slice(line);
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] =
        b"INVITE sip:b@a SIP/2.0\r\nVia: SIP/2.0/UDP x\r\nContact: <sip:old>\r\n\
        CSeq: 1 INVITE\r\n\r\nContact: body\r\n";

    /// S-24: by UDP only if TCP was refused.
    #[test]
    fn a_server_is_tried_by_another_transport_only_if_it_cannot_be_reached() {
        let hop = |host: u8, is_same| Hop {
            flow: Flow {
                transport: crate::sip::Transport::Udp,
                listener: crate::sip::ListenerId(0),
                remote: ([192, 0, 2, host], 5060).into(),
                connection: None,
            },
            uri: None,
            contact: None,
            is_same,
        };
        let fallback = || Fallback {
            hops: [hop(1, true), hop(2, false), hop(2, true)].into(),
            patience: Duration::from_secs(1),
            login: None,
        };
        let unavailable = Trouble::Unavailable { retry_after: None };
        for trouble in [Trouble::Silent, unavailable] {
            let mut fallback = fallback();
            assert_eq!(fallback.next(trouble), Some(hop(2, false)));
            assert_eq!(fallback.next(trouble), None);
        }
        let mut refused = fallback();
        assert_eq!(refused.next(Trouble::Unreachable), Some(hop(1, true)));
        assert_eq!(refused.next(Trouble::Silent), Some(hop(2, false)));
        assert_eq!(refused.next(Trouble::Unreachable), Some(hop(2, true)));
        assert!(!refused.is_alone());
        // Nobody else is there to be waited for.
        let mut same = fallback();
        same.hops.truncate(1);
        assert_eq!(Attempt::start(Timestamp::START, same).until, None);
    }

    #[test]
    fn another_attempt_has_the_same_fields() {
        let fields = b"Contact: <sip:old>\r\nCSeq: 1 INVITE\r\n\r\nContact: body\r\n";
        assert_eq!(fields_of(REQUEST, None), fields);
    }

    #[test]
    fn another_attempt_may_have_another_contact_and_never_another_body() {
        let fields = b"Contact: <sip:new>\r\nCSeq: 1 INVITE\r\n\r\nContact: body\r\n";
        assert_eq!(fields_of(REQUEST, Some(b"<sip:new>")), fields);
    }
}
