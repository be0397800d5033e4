//! What we publish at a monitor elsewhere: the event publication agent.
//!
//! Spec: RFC 3903 §4, §5; RFC 6910 §6.5, §6.6, §8.
//!
//! The next PUBLISH is for the answer to the last one to allow (S-154); its owner sees to that.

use crate::dialog::identity::Dialog;
use crate::dialog::tag::TagText;
use crate::dialog::turn::{Envelope, MAX_FORWARDS, NotSent, Turn};
use crate::sip::flow::Flow;
use crate::sip::{Method, Name, Response, Status, Writer, parse_u32};
use crate::transaction::User;
use crate::transaction::branch::hex;
use crate::transaction::fallback::Fallback;

/// The longest entity-tag that is kept, in bytes; a peer with a longer one is told all anew.
const ETAG_MAX: usize = 256;

/// The client of a publication.
#[derive(Debug, Default)]
pub struct Publisher {
    /// What the monitor named the last state; empty if it knows none of ours.
    etag: Box<[u8]>,
}

/// Where a PUBLISH goes.
#[derive(Debug)]
pub enum Place<'p> {
    /// Out of any dialog.
    Address {
        /// The Request-URI.
        uri: &'p [u8],
        /// The way.
        flow: Flow,
        /// From, without a tag.
        from: &'p [u8],
        /// To.
        to: &'p [u8],
    },
    /// In the dialog of a subscription.
    Dialog(&'p mut Dialog),
}

/// What a PUBLISH says.
#[derive(Clone, Copy, Debug)]
pub struct Publish<'p> {
    /// What it says of who publishes besides From; empty values are left out.
    pub said: &'p [(Name, &'p [u8])],
    /// The event package: presence, or to old chan_sip that of its subscription.
    pub event: &'p str,
    /// CC-25: for how long.
    pub expires_s: u32,
    /// The media type of the body.
    pub content_type: &'p str,
    /// The document.
    pub body: &'p [u8],
}

/// What an answer to a PUBLISH of ours means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// The monitor has lost what it had: the document is to be sent again, as a new one.
    Again,
    /// It took the document.
    Done,
    /// It did not.
    Failed(Status),
    /// It wants it for this many seconds at least, if it says so.
    TooBrief(Option<u32>),
}

impl Publisher {
    /// One that goes on after a process that had this entity-tag.
    pub fn of_etag(etag: &[u8]) -> Self {
        Self { etag: etag.into() }
    }

    /// What the monitor named the last state; empty if it knows none of ours.
    pub fn etag(&self) -> &[u8] {
        &self.etag
    }

    /// Sends a document: in place of the last one, if the monitor has it. `others` names an account
    /// at most.
    pub fn publish(
        &self,
        turn: &mut Turn<'_>,
        place: Place<'_>,
        publish: &Publish<'_>,
        (user, others): (Option<User>, Option<&Fallback>),
    ) -> Result<(), NotSent> {
        let method = Method::Publish;
        let write = |writer: &mut Writer<'_>| self.write(writer, publish);
        match place {
            Place::Dialog(dialog) => {
                turn.send_within(dialog, (method, user, others), write, publish.body)
            }
            Place::Address {
                uri,
                flow,
                from,
                to,
            } => {
                let call_id = turn.call_id();
                let tag = TagText::from_slice(&hex(turn.rng.bits()));
                let envelope = Envelope {
                    method,
                    uri,
                    flow,
                    user,
                    others,
                };
                let write = |writer: &mut Writer<'_>| {
                    writer
                        .header_fmt(Name::MaxForwards, format_args!("{MAX_FORWARDS}"))
                        .header_parts(Name::From, &[from, b";tag=", &tag])
                        .header(Name::To, to)
                        .header(Name::CallId, &call_id)
                        .header_fmt(Name::CSeq, format_args!("1 {method}"));
                    write(writer);
                };
                turn.send(envelope, write, publish.body)
            }
        }
    }

    /// Takes an answer; `None` if it is provisional.
    pub fn handle_response(&mut self, response: &Response<'_>) -> Option<Answer> {
        let status = response.status;
        let message = &response.message;
        let number = |name| message.first(name).and_then(parse_u32);
        if status.is_provisional() {
            return None;
        }
        if status.is_success() {
            // What was removed has no name any more.
            let is_kept = number(Name::Expires) != Some(0);
            let etag = message.first(Name::SipEtag).filter(|_| is_kept);
            let etag = etag.filter(|etag| etag.len() <= ETAG_MAX);
            self.etag = etag.unwrap_or_default().into();
            return Some(Answer::Done);
        }
        let had_etag = !self.etag.is_empty();
        Some(match status {
            // S-153: who says so to a new one too would say so for ever.
            Status::CONDITIONAL_REQUEST_FAILED if had_etag => {
                self.etag = Box::default();
                Answer::Again
            }
            Status::INTERVAL_TOO_BRIEF => Answer::TooBrief(number(Name::MinExpires)),
            other => Answer::Failed(other),
        })
    }

    fn write(&self, writer: &mut Writer<'_>, publish: &Publish<'_>) {
        for (name, value) in publish.said.iter().filter(|(_, value)| !value.is_empty()) {
            writer.header(*name, value);
        }
        writer.header(Name::Event, publish.event.as_bytes());
        writer.header_fmt(Name::Expires, format_args!("{}", publish.expires_s));
        if !self.etag.is_empty() {
            writer.header(Name::SipIfMatch, &self.etag);
        }
        if !publish.body.is_empty() {
            writer.header(Name::ContentType, publish.content_type.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialog::kit::{Bench, PEER, Sent, USER, flow, request, response, tag, text};

    const CLOSED: Publish<'_> = Publish {
        said: &[],
        event: "presence",
        expires_s: 2950,
        content_type: "application/pidf+xml",
        body: b"<presence/>",
    };

    fn address() -> Place<'static> {
        Place::Address {
            uri: b"sip:cce-42@127.0.0.9",
            flow: flow(),
            from: b"<sip:alice@a.example>",
            to: b"<sip:cce-42@127.0.0.9>",
        }
    }

    fn publish(publisher: &Publisher, place: Place<'_>) -> Sent {
        let mut bench = Bench::new();
        let turn = &mut bench.turn();
        publisher
            .publish(turn, place, &CLOSED, (USER, None))
            .unwrap();
        bench.sent()
    }

    fn answer(publisher: &mut Publisher, status: &str, fields: &[&str]) -> Option<Answer> {
        let status = format!("SIP/2.0 {status}");
        let mut lines = vec![
            &status,
            "Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK1",
            "From: <sip:alice@a.example>;tag=1",
            "To: <sip:cce-42@127.0.0.9>;tag=2",
            "Call-ID: 1",
            "CSeq: 1 PUBLISH",
        ];
        lines.extend(fields);
        publisher.handle_response(&response(&text(&lines)))
    }

    fn if_match(publisher: &Publisher) -> String {
        publish(publisher, address()).value("SIP-If-Match")
    }

    #[test]
    fn a_publish_is_written_line_by_line() {
        let sent = publish(&Publisher::default(), address());
        let from = format!("From: {}", sent.value("From"));
        let call_id = format!("Call-ID: {}", sent.value("Call-ID"));
        let expected = [
            "PUBLISH sip:cce-42@127.0.0.9 SIP/2.0",
            "Max-Forwards: 70",
            &from,
            "To: <sip:cce-42@127.0.0.9>",
            &call_id,
            "CSeq: 1 PUBLISH",
            "Event: presence",
            "Expires: 2950", // CC-25
            "Content-Type: application/pidf+xml",
            "Content-Length: 11",
            "",
            "<presence/>",
        ];
        assert_eq!(sent.lines(), expected);
        assert_eq!(sent.to, PEER);
        assert!(from.starts_with("From: <sip:alice@a.example>;tag="));
    }

    #[test]
    fn a_publish_within_a_dialog_is_numbered_by_it() {
        let subscribe = request(&text(&[
            "SUBSCRIBE sip:a@127.0.0.1 SIP/2.0",
            "Via: SIP/2.0/UDP 127.0.0.9;branch=z9hG4bK1;rport",
            "From: <sip:bob@b.example>;tag=b1",
            "To: <sip:alice@a.example>",
            "Call-ID: 1",
            "CSeq: 1 SUBSCRIBE",
            "Contact: <sip:bob@127.0.0.9>",
        ]));
        let mut dialog = Dialog::of_server(&subscribe, &flow(), tag());
        let number = dialog.next_cseq();
        let sent = publish(&Publisher::default(), Place::Dialog(&mut dialog));
        assert_eq!(sent.request().cseq.number, number + 1); // S-14
        assert_eq!(sent.request().uri.text(), b"sip:bob@127.0.0.9");
        assert_eq!(sent.value("To"), "<sip:bob@b.example>;tag=b1");
    }

    #[test]
    fn the_entity_tag_of_the_last_answer_is_named() {
        let mut publisher = Publisher::default();
        assert_eq!(if_match(&publisher), "");
        assert_eq!(answer(&mut publisher, "100 Trying", &[]), None);
        for etag in ["dx200xyz", "kwj449x"] {
            let fields = [&*format!("SIP-ETag: {etag}"), "Expires: 2950"];
            let done = answer(&mut publisher, "200 OK", &fields);
            assert_eq!(done, Some(Answer::Done));
            assert_eq!(if_match(&publisher), etag);
        }
        // Nothing is named that has no name, or one beyond measure, or has been removed.
        let long = format!("SIP-ETag: {}", "x".repeat(ETAG_MAX + 1));
        for fields in [&[][..], &[&*long], &["SIP-ETag: 1", "Expires: 0"]] {
            answer(&mut publisher, "200 OK", &["SIP-ETag: 1"]);
            answer(&mut publisher, "200 OK", fields);
            assert_eq!(if_match(&publisher), "");
        }
    }

    #[test]
    fn a_monitor_that_has_forgotten_is_told_all_anew() {
        let mut publisher = Publisher::default();
        answer(&mut publisher, "200 OK", &["SIP-ETag: 1"]);
        let lost = "412 Conditional Request Failed";
        // S-153
        assert_eq!(answer(&mut publisher, lost, &[]), Some(Answer::Again));
        assert_eq!(if_match(&publisher), "");
        // S-153
        let failed = Answer::Failed(Status::CONDITIONAL_REQUEST_FAILED);
        assert_eq!(answer(&mut publisher, lost, &[]), Some(failed));
    }

    #[test]
    fn failures_are_told_and_leave_the_entity_tag() {
        let mut publisher = Publisher::default();
        answer(&mut publisher, "200 OK", &["SIP-ETag: 1"]);
        let brief = answer(&mut publisher, "423 Brief", &["Min-Expires: 90"]);
        assert_eq!(brief, Some(Answer::TooBrief(Some(90))));
        let failed = answer(&mut publisher, "404 Not Found", &[]);
        assert_eq!(failed, Some(Answer::Failed(Status::NOT_FOUND)));
        assert_eq!(if_match(&publisher), "1");
    }
}
