//! A fragment of a message: how the call that a phone was asked for goes.
//!
//! Spec: RFC 3420 §2; RFC 3515 §2.4.5.

use crate::sip::lex::parse_u32;
use crate::sip::status::Status;

/// The status of the response that a `message/sipfrag` body begins with; `None` if it begins with
/// anything else.
pub fn sipfrag_status(body: &[u8]) -> Option<Status> {
    let line = body.strip_prefix(b"SIP/2.0 ")?;
    let code = line.get(..3).and_then(parse_u32)?;
    let is_whole = line.get(3).is_none_or(|next| b" \r\n".contains(next));
    let status = u16::try_from(code).ok().and_then(Status::new)?;
    is_whole.then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_line_says_how_it_goes() {
        for (body, code) in [
            ("SIP/2.0 200 OK\r\n", Some(200)),
            ("SIP/2.0 100 Trying", Some(100)),
            ("SIP/2.0 603\r\nTo: x\r\n", Some(603)),
            ("SIP/2.0 2000 OK", None),
            ("SIP/2.0 20", None),
            ("INVITE sip:a SIP/2.0", None),
            ("", None),
        ] {
            let status = sipfrag_status(body.as_bytes());
            assert_eq!(status.map(Status::code), code, "{body}");
        }
    }
}
