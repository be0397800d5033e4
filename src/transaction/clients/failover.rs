//! A request whose server fails goes to the next one, as a transaction of its own.
//!
//! Spec: RFC 3263 §4.3 (S-101), §4.4 (S-102).

use crate::sip::flow::Flow;
use crate::sip::status::Status;
use crate::sip::{Message, Response, Scratch, StartLine};
use crate::table::Key;
use crate::time::Timestamp;
use crate::transaction::Turn;
use crate::transaction::clients::proof::is_challenge;
use crate::transaction::clients::{Cancel, Client, Clients, Machine, Outgoing};
use crate::transaction::fallback::{Fallback, ServerFailed, Trouble, fields_of, unavailable};
use crate::transaction::{invite_client, non_invite_client};

impl Clients {
    /// The next server that failed a request.
    pub fn poll_server_failed(&mut self) -> Option<ServerFailed> {
        self.failed.pop_front()
    }

    /// S-101: a 503 sends the request to the next server; whether it went there.
    pub(super) fn try_next(
        &mut self,
        turn: &mut Turn<'_>,
        key: Key,
        response: &Response<'_>,
    ) -> bool {
        let Some(client) = self.table.get_mut(key) else {
            return false;
        };
        let Some(attempt) = client.attempt.as_deref_mut() else {
            return false;
        };
        if response.status == Status::TRYING {
            attempt.until = None;
            return false;
        }
        if response.status == Status::SERVICE_UNAVAILABLE {
            return self.move_on(turn, key, unavailable(response));
        }
        // The server has taken the request on; one that challenges it will.
        client
            .attempt
            .take_if(|it| it.session.is_none() || !is_challenge(response.status));
        false
    }

    /// Tells how a server failed, and sends the request to the next one; whether it went there.
    pub(super) fn move_on(&mut self, turn: &mut Turn<'_>, key: Key, trouble: Trouble) -> bool {
        let taken = self
            .table
            .get_mut(key)
            .and_then(|client| Some((client.attempt.take()?, client.flow, client.user)));
        let Some((attempt, flow, user)) = taken else {
            return false;
        };
        if attempt.fallback.is_alone() {
            return false;
        }
        let next = self.send_elsewhere(turn, key, (attempt.fallback, trouble));
        let moved = user
            .zip(next)
            .map(|(user, (next, flow))| (user, next, flow));
        self.failed.push_back(ServerFailed {
            flow,
            trouble,
            moved,
        });
        next.is_some()
    }

    /// A transaction of its own with the next server; `None` if there is none.
    fn send_elsewhere(
        &mut self,
        turn: &mut Turn<'_>,
        key: Key,
        (mut fallback, trouble): (Fallback, Trouble),
    ) -> Option<(Key, Flow)> {
        let client = self.table.get(key)?;
        let hop = fallback.next(trouble)?;
        let request = client.request.clone();
        let (user, destination) = (client.user, client.destination);
        let mut scratch = Scratch::new();
        let message = Message::parse(&request, &mut scratch).ok()?;
        let StartLine::Request { method, uri } = message.start() else {
            return None;
        };
        let fields = fields_of(&request, hop.contact.as_deref());
        let outgoing = Outgoing {
            method,
            uri: hop.uri.as_deref().unwrap_or(uri),
            flow: hop.flow,
            user,
            destination,
            fields: &fields,
        };
        let next = self.start_with(turn, &outgoing, Some(fallback)).ok()?;
        Some((next, hop.flow))
    }

    /// Nobody waits for this server any more: an INVITE that it may yet take up is withdrawn then.
    pub(super) fn give_up(&mut self, turn: &mut Turn<'_>, key: Key) {
        let Some(client) = self.table.get_mut(key) else {
            return;
        };
        if !matches!(client.machine, Machine::Invite(_)) {
            self.table.remove(key);
            return;
        }
        client.is_given_up = true;
        let reason = Box::default();
        client.cancel = Some(Box::new(Cancel::Wanted { reason }));
        self.arm(turn, key);
    }
}

impl Client {
    /// S-101: whether its server has said nothing for so long that the next one gets the request.
    pub(super) fn is_out_of_patience(&self, now: Timestamp) -> bool {
        let is_unanswered = matches!(
            self.machine,
            Machine::Invite(invite_client::State::Calling { .. })
                | Machine::Other(non_invite_client::State::Trying { .. })
        );
        let until = self.attempt.as_deref().and_then(|attempt| attempt.until);
        is_unanswered && until.is_some_and(|until| until <= now)
    }
}
