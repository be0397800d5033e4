//! Digits that come by SIP INFO, as phones have sent them since before there were events for them.
//!
//! No standard: `application/dtmf-relay` has lines `Signal=5` and `Duration=160`, `application/dtmf`
//! the digit alone; some write the number of the event instead of `*` and `#`.

use super::digit::Digit;

/// The digit that a body of this media type tells.
pub fn digit_in(media_type: &[u8], body: &[u8]) -> Option<Digit> {
    let media_type = media_type.split(|byte| *byte == b';').next()?.trim_ascii();
    if media_type.eq_ignore_ascii_case(b"application/dtmf-relay") {
        return body.split(|byte| *byte == b'\n').find_map(signal_in);
    }
    let is_plain = media_type.eq_ignore_ascii_case(b"application/dtmf");
    is_plain.then(|| digit_of(body))?
}

fn signal_in(line: &[u8]) -> Option<Digit> {
    let at = memchr::memchr(b'=', line)?;
    let (name, value) = (line.get(..at)?, line.get(at + 1..)?);
    let is_signal = name.trim_ascii().eq_ignore_ascii_case(b"Signal");
    is_signal.then(|| digit_of(value))?
}

fn digit_of(text: &[u8]) -> Option<Digit> {
    match text.trim_ascii() {
        [key] => Digit::of_key(*key),
        b"10" => Some(Digit::Star),
        b"11" => Some(Digit::Hash),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digit_is_read_however_phones_write_it() {
        let relay = b"application/dtmf-relay";
        for (media_type, body, digit) in [
            (
                &relay[..],
                &b"Signal=5\r\nDuration=160\r\n"[..],
                Some(Digit::D5),
            ),
            (relay, b"signal = #\nDuration= 100", Some(Digit::Hash)),
            (relay, b"Signal=10\r\n", Some(Digit::Star)),
            (
                b"Application/DTMF; charset=utf-8",
                b"1\r\n",
                Some(Digit::D1),
            ),
            (b"application/dtmf", b"11", Some(Digit::Hash)),
            (relay, b"Duration=160\r\n", None),
            (relay, b"Signal=", None),
            (b"application/dtmf", b"12", None),
            (b"application/sdp", b"5", None),
            (b"", b"", None),
        ] {
            assert_eq!(digit_in(media_type, body), digit);
        }
    }
}
