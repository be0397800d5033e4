//! Messages of the `rsip` crate to ours and back, without loss or not at all.
//!
//! Spec: RFC 3261 §7.
//!
//! - Nothing from the network goes through `rsip`: this is for Rust users of the library.
//! - What is kept: method, Request-URI, status and phrase, every header field with its value, the
//!   body. What is not: folds, compact and odd spellings of known names, the place of Content-Length,
//!   upper and lower case of URI parameters, and that a phrase was empty.

use std::ops::Range;

use rsip::headers::{Header as Theirs, Headers, UntypedHeader as _};
use rsip::message::HasHeaders as _;
use rsip::{Request, Response, SipMessage, StatusCode, Version};

use crate::sip::error::What;
use crate::sip::lex::{parse_u32, unfold};
use crate::sip::message::{Header, Message, StartLine};
use crate::sip::method::Method;
use crate::sip::name::Name;
use crate::sip::status::Status;
use crate::sip::uri::Uri;
use crate::sip::writer::{Refused, Writer};

/// Why a message was not converted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Loss {
    /// The message breaks this rule, so that it has no one meaning to keep.
    #[error("{0}")]
    Flaw(What),
    /// Content-Length is not the length of the body, or there are two.
    #[error("Content-Length is not the length of the body")]
    Length,
    /// `rsip` does not know the method.
    #[error("method unknown to rsip")]
    Method,
    /// A phrase or the value of this header field is not UTF-8, which `rsip` demands.
    #[error("{0} is not UTF-8")]
    NotUtf8(Name),
    /// The writer refuses it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The status code is not 100 to 699.
    #[error("malformed status code")]
    Status,
    /// `rsip` does not read the Request-URI, or reads another one.
    #[error("Request-URI read otherwise by rsip")]
    Uri,
    /// The version is not SIP/2.0.
    #[error("version is not SIP/2.0")]
    Version,
}

/// The same message for `rsip`.
pub fn to_rsip(message: &Message<'_>) -> Result<SipMessage, Loss> {
    if let Some(flaw) = message.flaw() {
        return Err(Loss::Flaw(flaw.what));
    }
    let headers: Vec<_> = message.headers().map(to_header).collect::<Result<_, _>>()?;
    let headers = Headers::from(headers);
    let (version, body) = (Version::V2, message.body().to_vec());
    match message.start() {
        StartLine::Request { method, uri } => {
            let method = method.as_str().parse().map_err(|_| Loss::Method)?;
            let uri = to_uri(uri)?;
            Ok(SipMessage::Request(Request {
                method,
                uri,
                version,
                headers,
                body,
            }))
        }
        StartLine::Response { status, phrase } => {
            let phrase = str::from_utf8(phrase).map_err(|_| Loss::NotUtf8(Name::Other))?;
            let status_code = to_status(status, phrase);
            Ok(SipMessage::Response(Response {
                status_code,
                version,
                headers,
                body,
            }))
        }
    }
}

/// Appends the same message; its place in the buffer comes back.
pub fn from_rsip(message: &SipMessage, out: &mut Vec<u8>) -> Result<Range<usize>, Loss> {
    if *message.version() != Version::V2 {
        return Err(Loss::Version);
    }
    check_length(message)?;
    match message {
        SipMessage::Request(request) => {
            let uri = from_uri(&request.uri)?;
            let method = request.method.to_string();
            let method = Method::parse(method.as_bytes()).ok_or(Loss::Method)?;
            finish(Writer::request(out, method, uri.as_bytes()), message)
        }
        SipMessage::Response(response) => {
            let status = Status::new(response.status_code.code()).ok_or(Loss::Status)?;
            let phrase = from_status(&response.status_code);
            finish(Writer::response(out, status, phrase.as_bytes()), message)
        }
    }
}

fn finish(mut writer: Writer<'_>, message: &SipMessage) -> Result<Range<usize>, Loss> {
    for header in message.headers().iter() {
        let (name, value) = split(header);
        writer.header_named(name.as_bytes(), value.as_bytes());
    }
    Ok(writer.finish(message.body())?)
}

/// Name and value, as `rsip` would write them.
fn split(header: &Theirs) -> (String, String) {
    let line = header.to_string();
    let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
    (name.to_owned(), value.to_owned())
}

/// The writer writes its own Content-Length: another one would be lost in silence.
fn check_length(message: &SipMessage) -> Result<(), Loss> {
    let mut seen = 0;
    for header in message.headers().iter() {
        let (name, value) = split(header);
        if Name::of(name.as_bytes()) != Name::ContentLength {
            continue;
        }
        seen += 1;
        let length =
            parse_u32(value.trim().as_bytes()).and_then(|bytes| usize::try_from(bytes).ok());
        if seen > 1 || length != Some(message.body().len()) {
            return Err(Loss::Length);
        }
    }
    Ok(())
}

fn to_uri(uri: &[u8]) -> Result<rsip::Uri, Loss> {
    let ours = Uri::parse(uri).map_err(|_| Loss::Uri)?;
    let text = str::from_utf8(uri).map_err(|_| Loss::Uri)?;
    let theirs = rsip::Uri::try_from(text).map_err(|_| Loss::Uri)?;
    let is_same = theirs.to_string().eq_ignore_ascii_case(text) && is_read_alike(&ours, &theirs);
    if is_same { Ok(theirs) } else { Err(Loss::Uri) }
}

fn from_uri(uri: &rsip::Uri) -> Result<String, Loss> {
    let text = uri.to_string();
    let ours = Uri::parse(text.as_bytes()).map_err(|_| Loss::Uri)?;
    if is_read_alike(&ours, uri) {
        Ok(text)
    } else {
        Err(Loss::Uri)
    }
}

/// Whether both see the same user, host and port in one text.
fn is_read_alike(ours: &Uri<'_>, theirs: &rsip::Uri) -> bool {
    let Some(ours) = ours.as_sip() else {
        return false;
    };
    let port = theirs.port().map(|port| *port.value());
    ours.user == theirs.user().map(str::as_bytes)
        && ours.host.to_string() == theirs.host().to_string()
        && ours.port == port
        && ours.headers.is_none()
        && theirs.headers.is_empty()
}

/// `rsip` keeps a phrase only with a code that it does not know.
fn to_status(status: Status, phrase: &str) -> StatusCode {
    let known = StatusCode::from(status.code());
    let is_known = !matches!(known, StatusCode::Other(..));
    if is_known && phrase == status.phrase() && !phrase.is_empty() {
        known
    } else {
        StatusCode::Other(status.code(), phrase.to_owned())
    }
}

fn from_status(status: &StatusCode) -> &str {
    if let StatusCode::Other(_, phrase) = status {
        phrase
    } else {
        ""
    }
}

fn to_header(header: Header<'_>) -> Result<Theirs, Loss> {
    let value = unfold(header.value).into_owned();
    let value = String::from_utf8(value).map_err(|_| Loss::NotUtf8(header.name))?;
    let known = to_known(header.name, &value);
    let name = if header.name == Name::Other {
        String::from_utf8_lossy(header.spelled).into_owned()
    } else {
        header.name.as_str().to_owned()
    };
    Ok(known.unwrap_or(Theirs::Other(name, value)))
}

macro_rules! known {
    ($($name:ident)*) => {
        /// The header field if `rsip` has a type for it.
        fn to_known(name: Name, value: &str) -> Option<Theirs> {
            Some(match name {
                $(Name::$name => Theirs::$name(rsip::headers::$name::new(value)),)*
                _ => return None,
            })
        }
    };
}

known! {
    Accept AcceptEncoding AcceptLanguage AlertInfo Allow AuthenticationInfo Authorization CSeq CallId
    CallInfo Contact ContentDisposition ContentEncoding ContentLanguage ContentLength ContentType Date
    ErrorInfo Event Expires From InReplyTo MaxForwards MimeVersion MinExpires Organization Priority
    ProxyAuthenticate ProxyAuthorization ProxyRequire RecordRoute ReplyTo Require RetryAfter Route
    Server Subject SubscriptionState Supported Timestamp To Unsupported UserAgent Via Warning
    WwwAuthenticate
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::sip::message::Scratch;
    use crate::sip::vectors;

    /// Where `rsip` and we differ on the torture messages; everywhere else the two agree.
    const DIFFERENCES: &[(&str, &[&str])] = &[
        (
            "Request-URI read otherwise by rsip",
            &["rfc4475/ltgtruri", "rfc4475/novelsc"],
        ),
        (
            "rsip misses a compact name",
            &[
                "rfc4475/badaspec",
                "rfc4475/badbranch",
                "rfc4475/cparam01",
                "rfc4475/cparam02",
                "rfc4475/escnull",
                "rfc4475/insuf",
                "rfc4475/lwsdisp",
                "rfc4475/mismatch01",
                "rfc4475/multi01",
                "rfc4475/regbadct",
                "rfc4475/regescrt",
                "rfc4475/transports",
                "rfc4475/unksm2",
            ],
        ),
        (
            "rsip reads another body",
            &["rfc4475/dblreq", "rfc5118/ipv4-mapped-ipv6"],
        ),
        (
            "rsip reads it",
            &[
                "rfc4475/baddn",
                "rfc4475/clerr",
                "rfc4475/mcl01",
                "rfc4475/ncl",
            ],
        ),
        (
            "rsip refuses it",
            &[
                "rfc4475/esc01",
                "rfc4475/esc02",
                "rfc4475/escruri",
                "rfc4475/intmeth",
                "rfc4475/longreq",
                "rfc4475/mismatch02",
                "rfc4475/scalar02",
                "rfc4475/semiuri",
                "rfc4475/unkscm",
                "rfc4475/wsinv",
                "rfc5118/ipv6-bad",
                "rfc5118/ipv6-bug-abnf-3-colons",
                "rfc5118/ipv6-correct-abnf-2-colons",
                "rfc5118/ipv6-good",
                "rfc5118/ipv6-in-sdp.fixedcl",
                "rfc5118/mult-ip-in-sdp",
                "rfc5118/mult-ip-in-sdp.fixedcl",
                "rfc5118/port-ambiguous",
                "rfc5118/port-unambiguous",
                "rfc5118/via-received-param-no-delim",
                "rfc5118/via-received-param-with-delim",
            ],
        ),
    ];

    const REQUEST: &str = "INVITE sip:bob@biloxi.com;transport=tcp SIP/2.0\r\n\
        v: SIP/2.0/UDP pc33;branch=z9hG4bK1\r\n\
        From: \"A\" <sip:a@b>;tag=1\r\n\
        X-Own:  1 \r\n 2\r\n\
        Min-SE: 90\r\n\
        Content-Length: 4\r\n\r\nbody";

    fn convert(text: &str) -> Result<SipMessage, Loss> {
        to_rsip(&Message::parse(text.as_bytes(), &mut Scratch::new()).unwrap())
    }

    /// There and back.
    fn round(text: &str) -> Result<String, Loss> {
        let mut out = Vec::new();
        let place = from_rsip(&convert(text)?, &mut out)?;
        Ok(String::from_utf8(out[place].to_vec()).unwrap())
    }

    #[test]
    fn a_request_goes_there_and_back() {
        let expected = REQUEST
            .replace("v:", "Via:")
            .replace("=tcp", "=TCP")
            .replace(" 1 \r\n 2", "1 2");
        assert_eq!(round(REQUEST).unwrap(), expected);
        let SipMessage::Request(request) = convert(REQUEST).unwrap() else {
            panic!("a request");
        };
        assert_eq!(request.uri.user(), Some("bob"));
        let names: Vec<_> = request
            .headers
            .iter()
            .map(|header| split(header).0)
            .collect();
        assert_eq!(names, ["Via", "From", "X-Own", "Min-SE", "Content-Length"]);
    }

    #[test]
    fn a_phrase_is_kept() {
        for line in [
            "486 Busy Here",
            "486 Besetzt",
            "299 ",
            "202 Accepted",
            "305 Use Proxy",
            "699 x",
        ] {
            let text = format!("SIP/2.0 {line}\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(round(&text).unwrap(), text);
        }
        let busy = convert("SIP/2.0 486 Busy Here\r\n\r\n").unwrap();
        assert!(
            matches!(busy, SipMessage::Response(busy) if busy.status_code == StatusCode::BusyHere)
        );
    }

    #[test]
    fn what_would_be_lost_is_an_error() {
        for (from, to, loss) in [
            ("INVITE", "FROB", Loss::Method),
            (
                "sip:bob@biloxi.com;transport=tcp",
                "tel:+49301234",
                Loss::Uri,
            ),
            (
                "sip:bob@biloxi.com;transport=tcp",
                "sip:[2001:db8::1]",
                Loss::Uri,
            ),
            (
                "sip:bob@biloxi.com;transport=tcp",
                "sip:john.doe@h",
                Loss::Uri,
            ),
            ("sip:bob@biloxi.com;transport=tcp", "sip:b@h?a=b", Loss::Uri),
            ("SIP/2.0\r\nv", "SIP/3.0\r\nv", Loss::Flaw(What::Version)),
            ("Length: 4", "Length: 5", Loss::Flaw(What::BodyShort)),
        ] {
            assert_eq!(round(&REQUEST.replacen(from, to, 1)), Err(loss), "{to}");
        }
        let text = b"SIP/2.0 200 OK\r\nSubject: \xff\r\n\r\n";
        let mut scratch = Scratch::new();
        let lost = to_rsip(&Message::parse(text, &mut scratch).unwrap());
        assert_eq!(lost, Err(Loss::NotUtf8(Name::Subject)));
    }

    #[test]
    fn what_cannot_be_written_is_an_error() {
        let mut message = convert(REQUEST).unwrap();
        message
            .headers_mut()
            .push(Theirs::Other("X-Own".into(), "1\r\nEvil: 1".into()));
        let mut out = Vec::new();
        let refused = Refused::Value(Name::Other);
        assert_eq!(from_rsip(&message, &mut out), Err(Loss::Refused(refused)));
        let mut message = convert(REQUEST).unwrap();
        message.body_mut().push(b'!');
        assert_eq!(from_rsip(&message, &mut out), Err(Loss::Length));
        assert!(out.is_empty());
    }

    /// How `rsip` reads a message that we read, in one line; none if it reads the same.
    fn difference(raw: &[u8]) -> Option<String> {
        let mut scratch = Scratch::new();
        let ours = Message::parse(raw, &mut scratch)
            .ok()
            .filter(|ours| ours.flaw().is_none());
        let theirs = SipMessage::try_from(raw).ok();
        let (ours, theirs) = match (ours, theirs) {
            (Some(ours), Some(theirs)) => (ours, theirs),
            (Some(_), None) => return Some("rsip refuses it".to_owned()),
            (None, Some(_)) => return Some("rsip reads it".to_owned()),
            (None, None) => return None,
        };
        let converted = match to_rsip(&ours) {
            Ok(converted) => converted,
            Err(loss) => return Some(loss.to_string()),
        };
        if converted.body() != theirs.body() {
            return Some("rsip reads another body".to_owned());
        }
        let lines = |message: &SipMessage| {
            message
                .headers()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        let (converted, theirs) = (lines(&converted), lines(&theirs));
        let other = converted
            .iter()
            .zip(&theirs)
            .find(|(ours, theirs)| ours != theirs);
        match other {
            Some((_, theirs)) if theirs.chars().nth(1) == Some(':') => {
                Some("rsip misses a compact name".to_owned())
            }
            Some((ours, theirs)) => Some(format!("{ours} / {theirs}")),
            None if converted.len() != theirs.len() => Some("another number of fields".to_owned()),
            None => None,
        }
    }

    #[test]
    fn rsip_and_we_differ_only_where_it_is_known() {
        let all = vectors::all();
        let mut found = BTreeMap::<_, Vec<_>>::new();
        for (name, raw, _) in &all {
            if let Some(difference) = difference(raw) {
                found.entry(difference).or_default().push(*name);
            }
        }
        let found: Vec<_> = found
            .iter()
            .map(|(what, names)| (&**what, &**names))
            .collect();
        if !all.is_empty() {
            assert_eq!(found, DIFFERENCES);
        }
    }
}
