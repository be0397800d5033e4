//! Messages whose mandatory header fields are there and coherent.
//!
//! Spec: RFC 3261 §8.1.1, §8.1.3.3, §8.2.1, §16.3, §18.3, §20.

use crate::sip::error::What;
use crate::sip::header::cseq::CSeq;
use crate::sip::header::name_addr::NameAddr;
use crate::sip::header::via::{MAGIC_COOKIE, Via};
use crate::sip::lex::{Commas, is_lws, parse_u32};
use crate::sip::message::{Message, StartLine};
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::status::Status;
use crate::sip::uri::Uri;

/// A request that can be acted on.
#[derive(Clone, Copy, Debug)]
pub struct Request<'m> {
    /// All of it.
    pub message: Message<'m>,
    /// The method, in the start line and in CSeq.
    pub method: Method<'m>,
    /// The Request-URI; of any scheme.
    pub uri: Uri<'m>,
    /// The topmost Via.
    pub via: Via<'m>,
    /// From; the tag is missing in requests of RFC 2543.
    pub from: NameAddr<'m>,
    /// To.
    pub to: NameAddr<'m>,
    /// Call-ID.
    pub call_id: &'m [u8],
    /// CSeq.
    pub cseq: CSeq<'m>,
    /// Max-Forwards; a number above 255 counts as none.
    pub max_forwards: Option<u8>,
}

/// A response that can be acted on.
#[derive(Clone, Copy, Debug)]
pub struct Response<'m> {
    /// All of it.
    pub message: Message<'m>,
    /// The status code.
    pub status: Status,
    /// The reason phrase.
    pub phrase: &'m [u8],
    /// The only Via.
    pub via: Via<'m>,
    /// From.
    pub from: NameAddr<'m>,
    /// To.
    pub to: NameAddr<'m>,
    /// Call-ID.
    pub call_id: &'m [u8],
    /// CSeq.
    pub cseq: CSeq<'m>,
}

/// A message of which nothing mandatory is in doubt.
#[derive(Clone, Copy, Debug)]
pub enum Checked<'m> {
    /// A request.
    Request(Request<'m>),
    /// A response.
    Response(Response<'m>),
}

/// What becomes of a message that breaks a rule.
#[derive(Clone, Copy, Debug)]
pub enum Refusal<'m> {
    /// A request that can be answered.
    Answer {
        /// 400 or 505.
        status: Status,
        /// The request, for the header fields that the answer copies.
        message: Message<'m>,
        /// The rule.
        what: What,
    },
    /// A response, an ACK, or a request without a Via: nobody is to hear of it.
    Drop(What),
}

impl<'m> Checked<'m> {
    /// Parses the mandatory header fields and holds them against each other.
    pub fn check(message: Message<'m>) -> Result<Self, Refusal<'m>> {
        match message.start() {
            StartLine::Request { method, uri } => check_request(message, method, uri)
                .map(Self::Request)
                .map_err(|what| refuse(message, method, what)),
            StartLine::Response { status, phrase } => check_response(message, status, phrase)
                .map(Self::Response)
                .map_err(Refusal::Drop),
        }
    }
}

fn refuse<'m>(message: Message<'m>, method: Method<'m>, what: What) -> Refusal<'m> {
    // An ACK has no response, and without a Via a response would name no transaction.
    if method == Method::Ack || message.first(Name::Via).is_none() {
        return Refusal::Drop(what);
    }
    let status = if what == What::Version {
        Status::VERSION_NOT_SUPPORTED
    } else {
        Status::BAD_REQUEST
    };
    Refusal::Answer {
        status,
        message,
        what,
    }
}

fn check_request<'m>(
    message: Message<'m>,
    method: Method<'m>,
    uri: &'m [u8],
) -> Result<Request<'m>, What> {
    let common = Common::check(message)?;
    if common.cseq.method != method {
        return Err(What::MethodDiffers);
    }
    let uri = Uri::parse(uri).map_err(|_| What::RequestUri)?;
    // A Request-URI never carries header fields: they would become ours when it is followed.
    if uri.as_sip().is_some_and(|uri| uri.headers.is_some()) {
        return Err(What::RequestUri);
    }
    let via = common.via;
    if via
        .branch()
        .is_some_and(|branch| branch == MAGIC_COOKIE.as_bytes())
    {
        return Err(What::Malformed(Name::Via));
    }
    let max_forwards = common
        .max_forwards
        .map(check_max_forwards)
        .transpose()?
        .flatten();
    let Common {
        from,
        to,
        call_id,
        cseq,
        ..
    } = common;
    Ok(Request {
        message,
        method,
        uri,
        via,
        from,
        to,
        call_id,
        cseq,
        max_forwards,
    })
}

fn check_response<'m>(
    message: Message<'m>,
    status: Status,
    phrase: &'m [u8],
) -> Result<Response<'m>, What> {
    let Common {
        via,
        from,
        to,
        call_id,
        cseq,
        ..
    } = Common::check(message)?;
    // A response with a second Via is not for us: we are nobody's proxy.
    if message.values(Name::Via).nth(1).is_some() {
        return Err(What::Repeated(Name::Via));
    }
    Ok(Response {
        message,
        status,
        phrase,
        via,
        from,
        to,
        call_id,
        cseq,
    })
}

/// What requests and responses have in common.
struct Common<'m> {
    via: Via<'m>,
    from: NameAddr<'m>,
    to: NameAddr<'m>,
    call_id: &'m [u8],
    cseq: CSeq<'m>,
    max_forwards: Option<&'m [u8]>,
}

impl<'m> Common<'m> {
    fn check(message: Message<'m>) -> Result<Self, What> {
        if let Some(flaw) = message.flaw() {
            return Err(flaw.what);
        }
        let found = Found::gather(message)?;
        let via = found.via.and_then(|via| Commas::of(via).next());
        let via = parse(Name::Via, via, |value| Via::parse(value).ok())?;
        let from = parse(Name::From, found.from, |value| NameAddr::parse(value).ok())?;
        let to = parse(Name::To, found.to, |value| NameAddr::parse(value).ok())?;
        let call_id = parse(Name::CallId, found.call_id, check_call_id)?;
        let cseq = parse(Name::CSeq, found.cseq, |value| CSeq::parse(value).ok())?;
        let max_forwards = found.max_forwards;
        Ok(Self {
            via,
            from,
            to,
            call_id,
            cseq,
            max_forwards,
        })
    }
}

/// The mandatory header fields, found in one pass.
#[derive(Default)]
struct Found<'m> {
    via: Option<&'m [u8]>,
    from: Option<&'m [u8]>,
    to: Option<&'m [u8]>,
    call_id: Option<&'m [u8]>,
    cseq: Option<&'m [u8]>,
    max_forwards: Option<&'m [u8]>,
}

impl<'m> Found<'m> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what is not mandatory is not looked at"
    )]
    fn gather(message: Message<'m>) -> Result<Self, What> {
        let mut found = Self::default();
        for header in message.headers() {
            let slot = match header.name {
                Name::Via => {
                    found.via = found.via.or(Some(header.value));
                    continue;
                }
                Name::From => &mut found.from,
                Name::To => &mut found.to,
                Name::CallId => &mut found.call_id,
                Name::CSeq => &mut found.cseq,
                Name::MaxForwards => &mut found.max_forwards,
                _ => continue,
            };
            if slot.replace(header.value).is_some() {
                return Err(What::Repeated(header.name));
            }
        }
        Ok(found)
    }
}

fn parse<'m, T>(
    name: Name,
    value: Option<&'m [u8]>,
    parse: impl FnOnce(&'m [u8]) -> Option<T>,
) -> Result<T, What> {
    let value = value.ok_or(What::Missing(name))?;
    parse(value).ok_or(What::Malformed(name))
}

fn check_call_id(value: &[u8]) -> Option<&[u8]> {
    let fits = !value.is_empty() && !value.iter().any(|byte| is_lws(*byte));
    fits.then_some(value)
}

/// RFC 4475 §3.1.2.4: a number out of range may be taken for none.
fn check_max_forwards(value: &[u8]) -> Result<Option<u8>, What> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    if !is_number {
        return Err(What::Malformed(Name::MaxForwards));
    }
    Ok(parse_u32(value).and_then(|number| u8::try_from(number).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Scratch;

    const REQUEST: &str = "OPTIONS sip:bob@biloxi.com SIP/2.0\r\n\
        Via: SIP/2.0/UDP pc33;branch=z9hG4bK1\r\n\
        From: <sip:a@b>;tag=1\r\n\
        To: <sip:b@b>\r\n\
        Call-ID: c\r\n\
        CSeq: 7 OPTIONS\r\n\
        Max-Forwards: 70\r\n\r\n";

    const RESPONSE: &str = "SIP/2.0 486 Besetzt\r\n\
        Via: SIP/2.0/UDP pc33;branch=z9hG4bK1\r\n\
        From: <sip:a@b>;tag=1\r\n\
        To: <sip:b@b>;tag=2\r\n\
        Call-ID: c\r\n\
        CSeq: 7 INVITE\r\n\r\n";

    fn check<T>(text: &str, look: impl FnOnce(Result<Checked<'_>, Refusal<'_>>) -> T) -> T {
        let mut scratch = Scratch::new();
        look(Checked::check(
            Message::parse(text.as_bytes(), &mut scratch).unwrap(),
        ))
    }

    /// The code of the answer and the rule; 0 for a drop.
    fn refusal(text: &str) -> (u16, What) {
        check(text, |checked| match checked.unwrap_err() {
            Refusal::Answer { status, what, .. } => (status.code(), what),
            Refusal::Drop(what) => (0, what),
        })
    }

    fn request<T>(text: &str, look: impl FnOnce(Request<'_>) -> T) -> T {
        check(text, |checked| match checked.unwrap() {
            Checked::Request(request) => look(request),
            Checked::Response(_) => panic!("a request"),
        })
    }

    #[test]
    fn a_good_request_is_all_there() {
        request(REQUEST, |request| {
            assert_eq!(request.method, Method::Options);
            assert_eq!(request.uri.text(), b"sip:bob@biloxi.com");
            assert_eq!(request.via.branch(), Some(&b"z9hG4bK1"[..]));
            assert_eq!(request.from.tag(), Some(&b"1"[..]));
            assert_eq!(request.to.tag(), None);
            assert_eq!((request.call_id, request.cseq.number), (&b"c"[..], 7));
            assert_eq!(request.max_forwards, Some(70));
        });
    }

    #[test]
    fn a_good_response_is_all_there() {
        check(RESPONSE, |checked| match checked.unwrap() {
            Checked::Response(response) => {
                assert_eq!(response.status, Status::BUSY_HERE);
                assert_eq!(response.phrase, b"Besetzt");
                assert_eq!(response.cseq.method, Method::Invite);
                assert_eq!(response.to.tag(), Some(&b"2"[..]));
            }
            Checked::Request(_) => panic!("a response"),
        });
    }

    #[test]
    fn a_missing_mandatory_field_is_answered() {
        for (name, line) in [
            (Name::From, "From: <sip:a@b>;tag=1\r\n"),
            (Name::To, "To: <sip:b@b>\r\n"),
            (Name::CallId, "Call-ID: c\r\n"),
            (Name::CSeq, "CSeq: 7 OPTIONS\r\n"),
        ] {
            assert_eq!(
                refusal(&REQUEST.replace(line, "")),
                (400, What::Missing(name))
            );
        }
    }

    #[test]
    fn a_request_without_via_is_dropped() {
        let text = REQUEST.replace("Via: SIP/2.0/UDP pc33;branch=z9hG4bK1\r\n", "");
        assert_eq!(refusal(&text), (0, What::Missing(Name::Via)));
    }

    #[test]
    fn a_repeated_single_field_is_answered() {
        for (name, line) in [
            (Name::From, "f: <sip:x@b>;tag=1\r\n"),
            (Name::To, "To: <sip:b@b>\r\n"),
            (Name::CallId, "i: d\r\n"),
            (Name::CSeq, "CSeq: 7 OPTIONS\r\n"),
            (Name::MaxForwards, "Max-Forwards: 5\r\n"),
        ] {
            let text = REQUEST.replace("\r\n\r\n", &format!("\r\n{line}\r\n"));
            assert_eq!(refusal(&text), (400, What::Repeated(name)));
        }
    }

    #[test]
    fn broken_values_are_answered() {
        for (from, to, what) in [
            (
                "7 OPTIONS",
                "4294967296 OPTIONS",
                What::Malformed(Name::CSeq),
            ),
            ("7 OPTIONS", "7 INVITE", What::MethodDiffers),
            ("pc33;", "pc33;;", What::Malformed(Name::Via)),
            (
                "branch=z9hG4bK1",
                "branch=z9hG4bK",
                What::Malformed(Name::Via),
            ),
            ("<sip:a@b>", "\"<sip:a@b>", What::Malformed(Name::From)),
            ("<sip:b@b>", "< sip:b@b >", What::Malformed(Name::To)),
            ("Call-ID: c", "Call-ID: c d", What::Malformed(Name::CallId)),
            ("Call-ID: c", "Call-ID:", What::Malformed(Name::CallId)),
            (": 70", ": seventy", What::Malformed(Name::MaxForwards)),
            (
                "sip:bob@biloxi.com",
                "<sip:bob@biloxi.com>",
                What::RequestUri,
            ),
            (
                "sip:bob@biloxi.com",
                "sip:bob@biloxi.com?Route=x",
                What::RequestUri,
            ),
            ("sip:bob@biloxi.com", "sip:2001:db8::10", What::RequestUri),
            ("SIP/2.0\r\n", "SIP/2.0 \r\n", What::StartLine),
        ] {
            assert_eq!(refusal(&REQUEST.replace(from, to)), (400, what), "{to}");
        }
    }

    #[test]
    fn another_version_is_answered_with_505() {
        let text = REQUEST.replace("SIP/2.0", "SIP/7.0");
        assert_eq!(refusal(&text), (505, What::Version));
    }

    #[test]
    fn a_broken_ack_is_never_answered() {
        let text = REQUEST.replace("OPTIONS", "ACK").replace("pc33;", "pc33;;");
        assert_eq!(refusal(&text), (0, What::Malformed(Name::Via)));
    }

    #[test]
    fn a_broken_response_is_dropped() {
        let text = RESPONSE.replace("7 INVITE", "9292394834772304023312 OPTIONS");
        assert_eq!(refusal(&text), (0, What::Malformed(Name::CSeq)));
        let text = RESPONSE.replace("Via:", "Via: SIP/2.0/UDP a;branch=z9hG4bK2,");
        assert_eq!(refusal(&text), (0, What::Repeated(Name::Via)));
    }

    #[test]
    fn other_schemes_pass() {
        for uri in [
            "tel:+49301234",
            "urn:service:sos",
            "soap.beep://192.0.2.103:3002",
        ] {
            let text = REQUEST.replace("sip:bob@biloxi.com", uri);
            request(&text, |request| {
                assert_eq!(request.uri.text(), uri.as_bytes());
            });
        }
    }

    #[test]
    fn max_forwards_out_of_range_counts_as_none() {
        let text = REQUEST.replace(": 70", ": 300");
        request(&text, |request| assert_eq!(request.max_forwards, None)); // S-22
    }

    #[test]
    fn a_request_of_rfc_2543_passes() {
        let text = REQUEST
            .replace(";tag=1", "")
            .replace(";branch=z9hG4bK1", "");
        request(&text, |request| {
            assert_eq!(request.from.tag(), None);
            assert!(!request.via.has_magic_cookie());
        });
    }
}
