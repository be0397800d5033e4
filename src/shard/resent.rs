//! SUBSCRIBEs that come again, as the process that took them has ended before it could say so.
//!
//! Spec: RFC 6665 §4.2.1; RFC 3261 §17.1.2.2 (timer E); DESIGN §11.
//!
//! - Nobody but the subscriber himself is answered so, and nothing is made that is not there.

use crate::completion::Input;
use crate::shard::notifier::{Asked, expires_of};
use crate::shard::subscriptions::Subscribing;
use crate::shard::{Reject, Shard};
use crate::sip::Request;
use crate::sip::flow::Flow;
use crate::time::Timestamp;

impl Shard {
    /// Answers as the process before would have, under its tag; `None` if it has kept nothing of it.
    pub(super) fn subscribe_again(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
        (watched, server): &Asked,
    ) -> Option<Result<(), Reject>> {
        let monitor = self.desk.subscriptions.made_before(request)?;
        let (id, is_waiting) = (monitor.id, monitor.asked.is_some());
        let caller = match watched {
            Some(watched) => Some(watched.caller.clone()),
            None => self.subscriber_name(request, flow).ok()?,
        };
        let subscriber = self.desk.service.waits_by(id)?;
        if caller.is_some_and(|caller| caller != *subscriber) {
            return None;
        }
        if is_waiting {
            return Some(Err(Reject::OutOfOrder));
        }
        let server = match *server {
            Some(server) => server,
            None => match self.layer.accept(now, request, flow, None) {
                Ok(server) => server,
                Err(_) => return Some(Err(Reject::TableFull)),
            },
        };
        let (_, monitor) = self.desk.subscriptions.monitor_mut(id)?;
        monitor.notifier.find_again(flow);
        monitor.asked = Some(Box::new(Subscribing::First(server)));
        self.desk.facts.push_back(Input::Refresh {
            subscription: id,
            expires: expires_of(request),
        });
        Some(Ok(()))
    }
}
