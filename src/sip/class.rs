//! What each byte may be part of, as one table.
//!
//! Spec: RFC 3261 §25.1.

/// Sets of bytes, one bit each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Class(u8);

impl Class {
    /// Linear white space, folds included.
    pub(crate) const LWS: Self = Self(1);
    /// A token.
    pub(crate) const TOKEN: Self = Self(2);
    /// A domain name; `_` is in no host name but in many private networks.
    pub(crate) const HOST: Self = Self(4);
    /// The name of a parameter.
    pub(crate) const PARAM_NAME: Self = Self(8);
    /// An unquoted value of a parameter: wider than a token, for `received=[2001:db8::1]`, UTF-8,
    /// and escapes in URIs.
    pub(crate) const PARAM_VALUE: Self = Self(16);
    /// A URI scheme.
    pub(crate) const SCHEME: Self = Self(32);
    /// A URI: wider than the grammar (`#` and UTF-8 in users are common), narrow enough to be
    /// copied anywhere.
    pub(crate) const URI: Self = Self(64);

    /// Whether the byte is in this set.
    #[inline]
    pub(crate) fn has(self, byte: u8) -> bool {
        TABLE
            .get(usize::from(byte))
            .is_some_and(|classes| classes & self.0 != 0)
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "done when this is built, where it fails the build"
)]
static TABLE: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    loop {
        table[byte as usize] = classes(byte);
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};

const fn classes(byte: u8) -> u8 {
    let is_letter_or_digit = byte.is_ascii_alphanumeric();
    let is_lws = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let is_hidden = byte <= b' ' || byte == 0x7f;
    let is_value = !is_hidden && !matches!(byte, b'"' | b',' | b';' | b'<' | b'>');
    let mut classes = 0;
    if is_lws {
        classes |= Class::LWS.0;
    }
    if is_letter_or_digit
        || matches!(
            byte,
            b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
        )
    {
        classes |= Class::TOKEN.0;
    }
    if is_letter_or_digit || matches!(byte, b'-' | b'.' | b'_') {
        classes |= Class::HOST.0;
    }
    if is_letter_or_digit || matches!(byte, b'+' | b'-' | b'.') {
        classes |= Class::SCHEME.0;
    }
    if is_value {
        classes |= Class::PARAM_VALUE.0;
    }
    if is_value && byte != b'=' {
        classes |= Class::PARAM_NAME.0;
    }
    if !is_hidden && !matches!(byte, b'"' | b'<' | b'>') {
        classes |= Class::URI.0;
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a set below 0x80, in order.
    fn ascii(class: Class) -> String {
        (0..0x80)
            .filter(|byte| class.has(*byte))
            .map(char::from)
            .collect()
    }

    #[test]
    fn sets_are_those_of_the_grammar() {
        let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let digits = "0123456789";
        let small = letters.to_lowercase();
        assert_eq!(ascii(Class::LWS), "\t\n\r ");
        assert_eq!(
            ascii(Class::TOKEN),
            format!("!%'*+-.{digits}{letters}_`{small}~")
        );
        assert_eq!(ascii(Class::HOST), format!("-.{digits}{letters}_{small}"));
        assert_eq!(ascii(Class::SCHEME), format!("+-.{digits}{letters}{small}"));
        let rest = "?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~";
        assert_eq!(
            ascii(Class::URI),
            format!("!#$%&'()*+,-./{digits}:;={rest}")
        );
        assert_eq!(
            ascii(Class::PARAM_VALUE),
            format!("!#$%&'()*+-./{digits}:={rest}")
        );
        assert_eq!(
            ascii(Class::PARAM_NAME),
            format!("!#$%&'()*+-./{digits}:{rest}")
        );
    }

    #[test]
    fn beyond_ascii_only_values_and_uris_have_bytes() {
        for byte in 0x80..=u8::MAX {
            assert!(Class::URI.has(byte) && Class::PARAM_VALUE.has(byte));
            assert!(!Class::TOKEN.has(byte) && !Class::HOST.has(byte) && !Class::SCHEME.has(byte));
        }
    }
}
