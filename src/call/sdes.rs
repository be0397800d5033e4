//! Keys in a session description: which of those offered we take, and how ours are written.
//!
//! Spec: RFC 4568 §4 (general syntax), §6.1 (key parameters), §6.3 (session parameters), §7.1 (the
//! answer has the tag and the suite of one that was offered), §9.2 (syntax).

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::media::srtp::{KEY_BYTES, Keys, MasterKey, Suite};

/// What a peer sends under.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sdes {
    /// The number of its line.
    tag: u32,
    suite: Suite,
    key: MasterKey,
}

impl Sdes {
    /// What we take of these lines: the first with a suite that we have, one key, and no wish that we do
    /// not fulfil.
    pub(super) fn of(attributes: &[&[u8]]) -> Option<Self> {
        attributes.iter().find_map(|line| Self::parse(line))
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let text = str::from_utf8(line.strip_prefix(b"a=crypto:")?).ok()?;
        let mut fields = text.split_ascii_whitespace();
        let tag = fields.next()?;
        let is_tag = tag.len() <= 9 && tag.bytes().all(|byte| byte.is_ascii_digit());
        let tag = tag.parse().ok().filter(|_| is_tag)?;
        let suite = Suite::named(fields.next()?.as_bytes())?;
        let key = fields.next().and_then(key_in)?;
        // A hint for the size of our window is one that we need not follow (§6.3.7).
        let are_fulfilled = fields.all(|wish| wish.starts_with("WSH="));
        are_fulfilled.then_some(Self { tag, suite, key })
    }

    pub(super) fn key(&self) -> MasterKey {
        self.key
    }

    /// Both keys, this one being ours.
    pub(super) fn with(&self, ours: MasterKey) -> Keys {
        Keys {
            suite: self.suite,
            ours,
            theirs: self.key,
        }
    }

    /// Appends the line that tells the peer of our key.
    pub(super) fn write(&self, ours: MasterKey, out: &mut Vec<u8>) {
        let (tag, suite) = (self.tag, self.suite.name());
        let key = STANDARD.encode(ours.0);
        // Writing to memory cannot fail.
        let _written = write!(out, "a=crypto:{tag} {suite} inline:{key}\r\n");
    }
}

/// The one key of `inline:KEY|LIFETIME`. One that is named in each packet (MKI) is not for us, and how
/// long it may be used is more than any call lasts, or nothing that anybody could live by.
fn key_in(parameters: &str) -> Option<MasterKey> {
    let (method, info) = parameters.split_once(':')?;
    let is_inline = method.eq_ignore_ascii_case("inline");
    let (key, lifetime) = info.split_once('|').unwrap_or((info, "2^48"));
    let is_one = !lifetime.contains([':', '|', ';']) && lives(lifetime);
    let bytes = STANDARD.decode(key).ok().filter(|_| is_inline && is_one)?;
    let bytes: [u8; KEY_BYTES] = bytes.try_into().ok()?;
    Some(MasterKey(bytes))
}

/// Whether so many packets are a day of sound, 50 a second.
fn lives(lifetime: &str) -> bool {
    const DAY: u32 = 23;
    match lifetime.strip_prefix("2^") {
        Some(power) => power
            .parse::<u32>()
            .is_ok_and(|it| (DAY..=48).contains(&it)),
        None => lifetime.parse::<u64>().is_ok_and(|it| it >> DAY > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "4fl6DT4BjODWT6MsBt5BOQ7Gda1Jiv7rtpYLOqvm";

    fn taken(lines: &[&str]) -> Option<Sdes> {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        Sdes::of(&lines)
    }

    #[test]
    fn the_first_that_we_have_is_taken_and_answered_by_its_tag() {
        let sdes = taken(&[
            "a=rtpmap:0 PCMU/8000",
            &format!("a=crypto:1 AEAD_AES_256_GCM inline:{KEY}"),
            &format!("a=crypto:2 F8_128_HMAC_SHA1_80 inline:{KEY}"),
            &format!("a=crypto:3 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|2^31 WSH=128"),
            &format!("a=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
        ]);
        let sdes = sdes.expect("one");
        let mut out = Vec::new();
        let ours = MasterKey([0; KEY_BYTES]);
        sdes.write(ours, &mut out);
        let zeros = "A".repeat(40);
        let line = format!("a=crypto:3 AES_CM_128_HMAC_SHA1_32 inline:{zeros}\r\n");
        assert_eq!(String::from_utf8_lossy(&out), line);
        let keys = sdes.with(ours);
        assert_eq!((keys.ours, keys.suite), (ours, Suite::AesCm128HmacSha1_32));
        assert_eq!(keys.theirs.0[..3], [0xe1, 0xf9, 0x7a]);
    }

    #[test]
    fn what_we_do_not_fulfil_is_not_taken() {
        let good = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
        assert!(taken(&[&good]).is_some());
        let line = |end: &str| format!("{good}{end}");
        for bad in [
            line(" UNENCRYPTED_SRTP"),
            line(" UNAUTHENTICATED_SRTP"),
            line(" KDR=1"),
            line(" FEC_ORDER=FEC_SRTP"),
            line("|1:4"),
            line("|2^20|1:4"),
            line("|2^10"),
            line("|2^49"),
            line("|50"),
            line(&format!(";inline:{KEY}|2^20|2:4")),
            line("="),
            good.replace(KEY, &KEY[4..]),
            good.replace("inline", "uri"),
            good.replace(":1 ", ":x "),
            good.replace(":1 ", ":-1 "),
            good.replace(":1 ", ":1234567890 "),
            good.replace("a=crypto", "a=crypt0"),
            "a=crypto:1".to_owned(),
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80".to_owned(),
            String::new(),
        ] {
            assert!(taken(&[&bad]).is_none(), "{bad}");
        }
    }
}
