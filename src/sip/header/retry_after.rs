//! Retry-After: how long a server asks to be left alone.
//!
//! Spec: RFC 3261 §20.33.

use std::time::Duration;

use crate::sip::lex::parse_u32;

/// The seconds at the beginning of a value; what follows is for people, or says how long the server
/// will be there afterwards.
pub fn seconds(value: &[u8]) -> Option<Duration> {
    let value = value.trim_ascii_start();
    let digits = value
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let seconds = parse_u32(value.get(..digits)?)?;
    Some(Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_seconds_is_not_ours_to_read() {
        for text in ["18", " 18 ", "18;duration=3600", "18 (in a meeting)"] {
            let found = seconds(text.as_bytes());
            assert_eq!(found, Some(Duration::from_secs(18)), "{text}");
        }
        for text in ["", "soon", ";18", "99999999999"] {
            assert_eq!(seconds(text.as_bytes()), None, "{text}");
        }
    }
}
