//! Audio that nobody reads on its way: what the two ends have agreed on as keys, and packets under them.
//!
//! Spec: RFC 3711 §3.3, §3.4, §4.1.1, §4.2; RFC 4568 §6.2 (the suites), §6.3 (no option of them).
//!
//! - Each direction has a key of its own: that of the sender.
//! - A packet is taken if its tag is right and it has not come before; it moves nothing otherwise.
//! - A source is remembered once it has proved itself, and no more than [`SOURCES_MAX`] of them: who has
//!   no key costs time, not memory, and moves no window. So what came as audio and what came as reports
//!   is remembered apart.

use std::fmt;

use rtc_srtp::context::Context;
use rtc_srtp::crypto::default_provider;
use rtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc_srtp::protection_profile::ProtectionProfile;
use smallvec::SmallVec;

use crate::random::Rng;

/// Bytes of a master key and of the salt after it (RFC 4568 §6.2).
pub const KEY_BYTES: usize = 30;
const MASTER: usize = 16;
/// How far back a packet may come and still be told from a repetition (RFC 3711 §3.3.2: at least 64).
const WINDOW: usize = 128;
/// A phone that begins anew has another source; one that does so more often is not heard any more.
const SOURCES_MAX: usize = 8;
/// What a report has that is under a key: its source, and the word with its number after it.
const REPORT_MIN: usize = 8 + 4 + 10;

/// How packets are encrypted and proved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Suite {
    /// AES in counter mode, and tags of 32 bits; reports have 80.
    AesCm128HmacSha1_32,
    /// AES in counter mode, and tags of 80 bits.
    AesCm128HmacSha1_80,
}

impl Suite {
    /// The suite of this name, in any case.
    pub fn named(name: &[u8]) -> Option<Self> {
        let suites = [Self::AesCm128HmacSha1_80, Self::AesCm128HmacSha1_32];
        let is_it = |suite: &Self| suite.name().as_bytes().eq_ignore_ascii_case(name);
        suites.into_iter().find(is_it)
    }

    /// Its name in an `a=crypto`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
        }
    }

    fn profile(self) -> ProtectionProfile {
        match self {
            Self::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
            Self::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        }
    }
}

/// A master key and its salt. It is never printed.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct MasterKey(pub [u8; KEY_BYTES]);

impl MasterKey {
    /// A key that nobody guesses.
    pub fn random(rng: &mut Rng) -> Self {
        let mut bytes = [0; KEY_BYTES];
        for some in bytes.chunks_mut(8) {
            let random = rng.bits().to_be_bytes();
            some.iter_mut()
                .zip(random)
                .for_each(|(byte, random)| *byte = random);
        }
        Self(bytes)
    }

    /// What sends or hears under this key; `None` without cryptography to do it with.
    fn context(&self, suite: Suite) -> Option<Context> {
        let (master, salt) = self.0.split_at(MASTER);
        let provider = default_provider().ok()?;
        let windows = (
            srtp_replay_protection(WINDOW),
            srtcp_replay_protection(WINDOW),
        );
        let (audio, reports) = (Some(windows.0), Some(windows.1));
        let crypto = provider.crypto();
        Context::new(master, salt, suite.profile(), audio, reports, crypto).ok()
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(**)")
    }
}

/// What was agreed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Keys {
    /// How.
    pub suite: Suite,
    /// What we send under.
    pub ours: MasterKey,
    /// What the peer sends under.
    pub theirs: MasterKey,
}

/// A packet that has no right tag, or has come before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Forged;

/// Both directions of a stream.
pub struct Shield {
    keys: Keys,
    /// Nothing is sent without it.
    sends: Option<Context>,
    /// What came of each source that has proved itself.
    hears: SmallVec<[((Kind, u32), Context); 1]>,
}

impl fmt::Debug for Shield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shield")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Audio,
    Report,
}

impl Shield {
    /// Nothing has been sent or heard under these keys.
    pub fn new(keys: Keys) -> Self {
        Self {
            sends: keys.ours.context(keys.suite),
            hears: SmallVec::new(),
            keys,
        }
    }

    /// Encrypts the packet that begins there in `out`, and appends its tag.
    pub fn seal(&mut self, out: &mut Vec<u8>, begins: usize) {
        self.put(out, begins, Kind::Audio);
    }

    /// The same for a report.
    pub fn seal_report(&mut self, out: &mut Vec<u8>, begins: usize) {
        self.put(out, begins, Kind::Report);
    }

    /// What an audio packet says.
    pub fn open(&mut self, bytes: &[u8]) -> Result<impl AsRef<[u8]> + use<>, Forged> {
        let source = source_at(bytes, 8).ok_or(Forged)?;
        self.take(source, bytes, Kind::Audio)
    }

    /// What a report says.
    pub fn open_report(&mut self, bytes: &[u8]) -> Result<impl AsRef<[u8]> + use<>, Forged> {
        let source = source_at(bytes, 4).ok_or(Forged)?;
        // RFC 3711 §3.4: it says by itself whether it is encrypted. Nobody agreed on that it is not, and
        // the library would believe it without its tag.
        let number = bytes.len().checked_sub(4 + 10);
        let number = number.filter(|_| bytes.len() >= REPORT_MIN);
        let is_encrypted = number
            .and_then(|at| bytes.get(at))
            .is_some_and(|byte| byte & 0x80 != 0);
        if !is_encrypted {
            return Err(Forged);
        }
        self.take(source, bytes, Kind::Report)
    }

    fn put(&mut self, out: &mut Vec<u8>, begins: usize, kind: Kind) {
        let plain = out.get(begins..).unwrap_or_default();
        let sealed = self.sends.as_mut().and_then(|context| match kind {
            Kind::Audio => context.encrypt_rtp(plain).ok(),
            Kind::Report => context.encrypt_rtcp(plain).ok(),
        });
        debug_assert!(
            sealed.is_some(),
            "a packet of ours, and fewer than 2^48 of them"
        );
        // Whatever happens, it does not leave as it is.
        out.truncate(begins);
        if let Some(sealed) = sealed {
            out.extend_from_slice(&sealed);
        }
    }

    fn take(
        &mut self,
        source: u32,
        bytes: &[u8],
        kind: Kind,
    ) -> Result<impl AsRef<[u8]> + use<>, Forged> {
        let open = |context: &mut Context| {
            let opened = match kind {
                Kind::Audio => context.decrypt_rtp(bytes),
                Kind::Report => context.decrypt_rtcp(bytes),
            };
            opened.map_err(|_| Forged)
        };
        let source = (kind, source);
        if let Some((_, context)) = self.hears.iter_mut().find(|(each, _)| *each == source) {
            return open(context);
        }
        let known = self.hears.iter().filter(|((each, _), _)| *each == kind);
        if known.count() >= SOURCES_MAX {
            return Err(Forged);
        }
        let context = self.keys.theirs.context(self.keys.suite);
        let mut context = context.ok_or(Forged)?;
        let opened = open(&mut context)?;
        self.hears.push((source, context));
        Ok(opened)
    }
}

fn source_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The packet below under the keys of RFC 3711 §B.3, and its tag of 80 bits.
    const SEALED: &str = "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402";
    const TAG: &str = "b78d6acc99ea179b8dbb";

    /// A packet of this number from this source.
    fn packet(sequence: u16, source: u32) -> Vec<u8> {
        let mut bytes = vec![0x80, 0];
        bytes.extend(sequence.to_be_bytes());
        bytes.extend((u32::from(sequence) * 160).to_be_bytes());
        bytes.extend(source.to_be_bytes());
        bytes.extend([0x55; 160]);
        bytes
    }

    fn report(source: u32) -> Vec<u8> {
        let mut bytes = vec![0x80, 200, 0, 6];
        bytes.extend(source.to_be_bytes());
        bytes.extend([7; 20]);
        bytes
    }

    fn keys(suite: Suite) -> Keys {
        let mut rng = Rng::from_number(7);
        Keys {
            suite,
            ours: MasterKey::random(&mut rng),
            theirs: MasterKey::random(&mut rng),
        }
    }

    /// Ours, and that of the peer.
    fn both(suite: Suite) -> [Shield; 2] {
        let ours = keys(suite);
        let theirs = Keys {
            ours: ours.theirs,
            theirs: ours.ours,
            ..ours
        };
        [ours, theirs].map(Shield::new)
    }

    fn sealed(shield: &mut Shield, mut packet: Vec<u8>) -> Vec<u8> {
        shield.seal(&mut packet, 0);
        packet
    }

    fn opened(shield: &mut Shield, packet: &[u8]) -> Option<Vec<u8>> {
        let opened = shield.open(packet).ok()?;
        Some(opened.as_ref().to_vec())
    }

    fn hex(text: &str) -> Vec<u8> {
        let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
        (0..text.len()).step_by(2).map(byte).collect()
    }

    /// RFC 3711 §B.3 derives session keys of this master key, by which these bytes were computed with an
    /// implementation that is not ours: AES in counter mode and HMAC-SHA1 as a script has them.
    #[test]
    fn a_packet_under_the_master_key_of_the_rfc_is_what_others_make_of_it() {
        let master = hex("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6");
        let key = MasterKey(master.try_into().expect("30 bytes"));
        for (suite, tag) in [
            (Suite::AesCm128HmacSha1_80, TAG),
            (Suite::AesCm128HmacSha1_32, &TAG[..8]),
        ] {
            let keys = Keys {
                suite,
                ours: key,
                theirs: key,
            };
            let mut shield = Shield::new(keys);
            let mut packet = hex("800f1234decafbadcafebabe");
            packet.extend([0xab; 16]);
            let sealed = sealed(&mut shield, packet.clone());
            assert_eq!(sealed, hex(&format!("{SEALED}{tag}")));
            assert_eq!(opened(&mut shield, &sealed), Some(packet));
        }
    }

    #[test]
    fn what_one_end_seals_the_other_opens_and_no_third() {
        for suite in [Suite::AesCm128HmacSha1_80, Suite::AesCm128HmacSha1_32] {
            let [mut ours, mut theirs] = both(suite);
            let plain = packet(65_535, 9);
            let secret = sealed(&mut ours, plain.clone());
            assert!(!secret.windows(8).any(|some| some == [0x55; 8]));
            assert_eq!(opened(&mut theirs, &secret).as_deref(), Some(&plain[..]));
            // Past the end of the 16 bits.
            let next = sealed(&mut ours, packet(0, 9));
            assert_eq!(opened(&mut theirs, &next), Some(packet(0, 9)));
            assert_eq!(opened(&mut ours, &secret), None, "under the other key");
            let mut about = report(9);
            ours.seal_report(&mut about, 0);
            let heard = theirs.open_report(&about).expect("a report");
            assert_eq!(heard.as_ref(), report(9));
        }
    }

    #[test]
    fn what_was_changed_cut_or_heard_before_is_not_taken() {
        let [mut ours, mut theirs] = both(Suite::AesCm128HmacSha1_80);
        let first = sealed(&mut ours, packet(1, 9));
        for at in 0..first.len() {
            let mut bent = first.clone();
            bent[at] ^= 1;
            assert_eq!(opened(&mut theirs, &bent), None, "byte {at}");
            assert_eq!(opened(&mut theirs, &first[..at]), None, "{at} bytes");
        }
        assert!(opened(&mut theirs, &first).is_some());
        assert_eq!(opened(&mut theirs, &first), None, "again");
        let mut about = report(9);
        ours.seal_report(&mut about, 0);
        let plain = [&report(9)[..], &[0, 0, 0, 1], &[0; 10]].concat();
        assert!(theirs.open_report(&plain).is_err(), "not encrypted");
        assert!(theirs.open_report(&about).is_ok());
        assert!(theirs.open_report(&about).is_err(), "again");
        assert!(theirs.open_report(&about[..20]).is_err());
    }

    #[test]
    fn packets_that_overtake_each_other_are_taken_within_the_window() {
        let [mut ours, mut theirs] = both(Suite::AesCm128HmacSha1_80);
        let mut all: Vec<_> = (0..300)
            .map(|it| sealed(&mut ours, packet(it, 9)))
            .collect();
        let old = all.remove(0);
        let early = all.remove(200);
        for packet in &all {
            assert!(opened(&mut theirs, packet).is_some());
        }
        assert!(opened(&mut theirs, &early).is_some());
        assert_eq!(opened(&mut theirs, &old), None, "299 packets ago");
    }

    #[test]
    fn sources_without_the_key_are_not_remembered_and_those_with_it_are_few() {
        let [mut ours, mut theirs] = both(Suite::AesCm128HmacSha1_80);
        for source in 0..1000 {
            assert_eq!(opened(&mut theirs, &packet(1, source)), None);
        }
        assert!(theirs.hears.is_empty());
        let heard = (0..20).filter(|source| {
            let sealed = sealed(&mut ours, packet(1, *source));
            opened(&mut theirs, &sealed).is_some()
        });
        assert_eq!(heard.count(), SOURCES_MAX);
    }

    /// The library begins its window with the first number that it sees, before it has proved it.
    #[test]
    fn a_forged_first_report_does_not_shut_out_the_true_ones() {
        let [mut ours, mut theirs] = both(Suite::AesCm128HmacSha1_80);
        let audio = sealed(&mut ours, packet(1, 9));
        assert!(opened(&mut theirs, &audio).is_some());
        let mut forged = report(9);
        forged.extend([0xff; 14]);
        assert!(theirs.open_report(&forged).is_err());
        let mut about = report(9);
        ours.seal_report(&mut about, 0);
        assert!(theirs.open_report(&about).is_ok());
    }

    #[test]
    fn a_key_is_not_printed() {
        let shield = Shield::new(keys(Suite::AesCm128HmacSha1_80));
        let printed = format!("{shield:?}");
        assert!(
            printed.contains("ours: MasterKey(**), theirs: MasterKey(**)"),
            "{printed}"
        );
    }
}
