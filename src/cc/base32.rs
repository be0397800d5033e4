//! Bytes as letters and digits that survive a URI, a log line and a dictation.
//!
//! Spec: RFC 4648 §6, in lower case and without padding.

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Writes bytes, five bits a character, most significant bits first.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(bytes.len() * 8 / 5 + 8);
    let (groups, rest) = bytes.as_chunks::<5>();
    for group in groups {
        text.extend_from_slice(&letters(*group));
    }
    let mut last = [0; 5];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    // Fewer characters of the last group.
    text.extend(letters(last).iter().take((rest.len() * 8).div_ceil(5)));
    // The alphabet is ASCII.
    String::from_utf8(text).unwrap_or_default()
}

/// Reads what [`encode`] wrote, in either case; `None` for anything that it would not write.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let mut held: u32 = 0;
    let mut bits = 0;
    for character in text.bytes() {
        held = (held << 5) | value(character)?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    // Left-over bits are zero and fewer than a character: one text for each byte string.
    (held == 0 && bits < 5).then_some(bytes)
}

/// The characters of a whole group.
fn letters(group: [u8; 5]) -> [u8; 8] {
    let held = group
        .iter()
        .fold(0, |held: u64, byte| held << 8 | u64::from(*byte));
    let at = |shift: u32| letter(held >> shift);
    // Written out: a compiler does not always unroll it, which costs a token 900 instructions.
    [at(35), at(30), at(25), at(20), at(15), at(10), at(5), at(0)]
}

/// The character of the lowest five bits.
fn letter(bits: u64) -> u8 {
    let index = usize::try_from(bits & 31).unwrap_or(0);
    ALPHABET.get(index).copied().unwrap_or(b'a')
}

fn value(character: u8) -> Option<u32> {
    match character {
        b'a'..=b'z' => Some(u32::from(character - b'a')),
        b'A'..=b'Z' => Some(u32::from(character - b'A')),
        b'2'..=b'7' => Some(u32::from(character - b'2') + 26),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_the_standard_hold() {
        assert_eq!(encode(b""), "");
        assert_eq!(encode(b"f"), "my");
        assert_eq!(encode(b"foobar"), "mzxw6ytboi");
        assert_eq!(decode("MZXW6YTBOI"), Some(b"foobar".to_vec()));
    }

    #[test]
    fn each_byte_string_has_one_text() {
        assert_eq!(decode("mz"), None, "left-over bits are set");
        assert_eq!(decode("mya"), None, "a character too many");
        assert_eq!(decode("m1"), None, "not in the alphabet");
    }
}
