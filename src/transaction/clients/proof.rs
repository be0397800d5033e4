//! A request of ours that is challenged goes again with credentials, as a transaction of its own.
//!
//! Spec: RFC 3261 §22.2, §22.3; §8.1.3.5 (the same Call-ID, From and To, and the next number).

use crate::sip::header::cseq::CSeq;
use crate::sip::{Message, Name, Response, Scratch, StartLine, Status};
use crate::table::Key;
use crate::transaction::Turn;
use crate::transaction::clients::{Clients, Outgoing};
use crate::transaction::fallback::{Attempt, fields_of};
use crate::transaction::login::Proven;

impl Clients {
    /// The next thing that became of credentials of ours.
    pub fn poll_proven(&mut self) -> Option<Proven> {
        self.proven.pop_front()
    }

    /// Answers a challenge, where the sender of the request has an account; whether it went again.
    pub(super) fn prove(&mut self, turn: &mut Turn<'_>, key: Key, response: &Response<'_>) -> bool {
        if !is_challenge(response.status) {
            return false;
        }
        let client = self.table.get_mut(key);
        let attempt = client.and_then(|client| client.attempt.take_if(|it| it.session.is_some()));
        let Some(attempt) = attempt else {
            return false;
        };
        let repeated = self.send_proven(turn, key, response, *attempt);
        self.proven.push_back(repeated.unwrap_or(Proven::Refused));
        repeated.is_some()
    }

    fn send_proven(
        &mut self,
        turn: &mut Turn<'_>,
        key: Key,
        response: &Response<'_>,
        mut attempt: Attempt,
    ) -> Option<Proven> {
        let mut session = attempt.session.take()?;
        if !session.take_in(response) {
            return None;
        }
        let client = self.table.get(key)?;
        let request = match &self.answered {
            // Its ACK has taken its place.
            Some((of, invite)) if *of == key => invite.clone(),
            Some(_) | None => client.request.clone(),
        };
        let (user, destination, flow) = (client.user, client.destination, client.flow);
        let mut scratch = Scratch::new();
        let message = Message::parse(&request, &mut scratch).ok()?;
        let StartLine::Request { method, uri } = message.start() else {
            return None;
        };
        let cseq = message.first(Name::CSeq).map(CSeq::parse)?.ok()?;
        let number = cseq.number.checked_add(1)?;
        let mut lines = format!("CSeq: {number} {method}\r\n").into_bytes();
        session.write(&mut lines, (method, uri), turn.rng);
        let fields = with_lines(&fields_of(&request, None), &lines);
        let outgoing = Outgoing {
            method,
            uri,
            flow,
            user,
            destination,
            fields: &fields,
        };
        let attempt = Attempt::start(turn.now, attempt.fallback).with_session(session);
        let client = self.start_attempt(turn, &outgoing, Some(attempt)).ok()?;
        Some(Proven::Repeated {
            user,
            client,
            number,
        })
    }
}

/// S-170
pub(super) fn is_challenge(status: Status) -> bool {
    matches!(
        status,
        Status::UNAUTHORIZED | Status::PROXY_AUTHENTICATION_REQUIRED
    )
}

/// The fields of a request with these lines in place of its number and of the credentials that it
/// had.
fn with_lines(fields: &[u8], lines: &[u8]) -> Vec<u8> {
    let had: [&[u8]; 2] = [b"Authorization: ", b"Proxy-Authorization: "];
    let mut changed = Vec::with_capacity(fields.len() + lines.len());
    let mut is_head = true;
    for line in fields.split_inclusive(|byte| *byte == b'\n') {
        is_head &= line != b"\r\n";
        if is_head && line.starts_with(b"CSeq: ") {
            changed.extend_from_slice(lines);
        } else if !(is_head && had.iter().any(|name| line.starts_with(name))) {
            changed.extend_from_slice(line);
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_number_and_the_credentials_of_the_head_are_replaced() {
        let fields = b"From: <sip:a>\r\nCSeq: 1 INVITE\r\nAuthorization: old\r\n\r\nCSeq: 1 INVITE";
        let changed = with_lines(fields, b"CSeq: 2 INVITE\r\nAuthorization: new\r\n");
        let expected = "From: <sip:a>\r\nCSeq: 2 INVITE\r\nAuthorization: new\r\n\r\n\
            CSeq: 1 INVITE";
        assert_eq!(String::from_utf8_lossy(&changed), expected);
    }
}
