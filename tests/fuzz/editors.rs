//! What is done to session descriptions on their way: an address in place of another, a version, a mixer
//! in place of a side. What need not be touched stays, byte for byte.
//!
//! Spec: RFC 8866 §5.2, §5.7, §5.14; RFC 3264 §8 (a line keeps its place); RULES R14, R17; threats T22.

use std::net::{IpAddr, SocketAddr};

use campon::call::{anchored, can_hear, mixer_in_place_of, rewritten, with_version};
use campon::random::Rng;
use campon::sip::{Message, Scratch};

use super::each_case;
use super::mutate::{below, bent, one_of};
use super::session::seeds;

const PRIVATE: &str = "v=0\r\no=bob 7 7 IN IP4 192.168.1.20\r\ns=-\r\nc=IN IP4 192.168.1.20\r\n\
    t=0 0\r\nm=audio 50000 RTP/AVP 0 8\r\na=rtcp:50001 IN IP4 192.168.1.20\r\na=sendrecv\r\n\
    m=video 50002 RTP/AVP 97\r\nc=IN IP4 10.0.0.7/127\r\n";
const SIX: &str = "v=0\r\no=bob 7 7 IN IP6 fd00::20\r\ns=-\r\nc=IN IP6 fd00::20\r\nt=0 0\r\n\
    m=audio 0 RTP/AVP 0\r\nm=audio 50000 RTP/AVP 0 8\r\nc=IN IP6 fe80::1\r\na=inactive\r\n";
const HELD: &str = "v=0\no=bob 7 18446744073709551615 IN IP4 10.0.0.1\ns=-\nc=IN IP4 0.0.0.0\n\
    t=0 0\nm=audio 50000 RTP/AVP 0\na=sendonly\n";
const ICE: &str = "v=0\r\no=- 7 7 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
    a=ice-ufrag:abcd\r\nm=audio 50000 RTP/AVP 0\r\na=candidate:1 1 udp 1 10.0.0.1 50000 typ host\r\n";

fn all_seeds() -> Vec<&'static [u8]> {
    let more = [PRIVATE, SIX, HELD, ICE].map(str::as_bytes);
    seeds().into_iter().chain(more).collect()
}

fn lines(sdp: &[u8]) -> Vec<&[u8]> {
    sdp.split(|byte| *byte == b'\n').collect()
}

fn has_line(sdp: &[u8], begins: &[&str]) -> bool {
    let is_it = |line: &&[u8]| begins.iter().any(|it| line.starts_with(it.as_bytes()));
    lines(sdp).iter().any(is_it)
}

fn shown(sdp: &[u8]) -> String {
    sdp.escape_ascii().to_string()
}

/// The very bytes that went in have come back.
fn assert_untouched(of: &[u8], edited: &[u8]) {
    assert!(std::ptr::eq(of, edited), "{}", shown(of));
}

/// One address was put in place of another, at the end of the same words.
fn is_moved(before: &[u8], after: &[u8], source: IpAddr) -> bool {
    let source = source.to_string();
    let marker: &[u8] = if source.contains(':') {
        b"IN IP6 "
    } else {
        b"IN IP4 "
    };
    let Some(at) = before
        .windows(marker.len())
        .position(|it| it == marker)
        .map(|at| at + marker.len())
    else {
        return false;
    };
    let old = before[at..]
        .iter()
        .position(|byte| byte.is_ascii_whitespace() || *byte == b'/');
    let old = old.map_or(before.len(), |end| at + end);
    after == [&before[..at], source.as_bytes(), &before[old..]].concat()
}

#[test]
fn a_private_address_is_replaced_and_nothing_else() {
    let sources = ["198.51.100.7", "2001:db8::7", "192.168.1.20"];
    let sources = sources.map(|source| source.parse::<IpAddr>().expect("an address"));
    each_case(1, |rng| {
        let sdp = bent(rng, &all_seeds());
        let source = sources[below(rng, sources.len())];
        let edited = rewritten(&sdp, source);
        let settles = ["a=candidate:", "a=ice-pwd:", "a=ice-ufrag:", "a=crypto:"];
        if has_line(&sdp, &settles) {
            return assert_untouched(&sdp, &edited);
        }
        let (before, after) = (lines(&sdp), lines(&edited));
        assert_eq!(before.len(), after.len(), "{}", shown(&sdp));
        for (before, after) in before.iter().zip(&after) {
            let may_be = before.starts_with(b"c=") || before.starts_with(b"a=rtcp:");
            assert!(
                before == after || may_be && is_moved(before, after, source),
                "{} -> {}",
                shown(before),
                shown(after)
            );
        }
        if *edited == *sdp {
            assert_untouched(&sdp, &edited);
        }
        // Once is enough.
        assert_untouched(&edited, &rewritten(&edited, source));
    });
}

#[test]
fn an_anchored_description_has_one_place_and_each_line() {
    let places = ["192.0.2.1:20000", "[2001:db8::1]:20002"];
    let places = places.map(|place| place.parse::<SocketAddr>().expect("an address"));
    each_case(1, |rng| {
        let sdp = bent(rng, &all_seeds());
        let at = places[below(rng, places.len())];
        let edited = anchored(&sdp, at);
        if has_line(&sdp, &["a=candidate:", "a=ice-pwd:", "a=ice-ufrag:"]) {
            return assert_untouched(&sdp, &edited);
        }
        let kept = lines(&sdp);
        let kept = kept.iter().filter(|line| !line.starts_with(b"a=rtcp:"));
        let after = lines(&edited);
        let mut taken = 0;
        for (before, after) in kept.zip(&after) {
            let words = |line: &[u8]| {
                let words: Vec<Vec<u8>> = line
                    .splitn(4, |it| *it == b' ')
                    .map(<[u8]>::to_vec)
                    .collect();
                words
            };
            if before.starts_with(b"m=") && words(before.trim_ascii_end()).len() == 4 {
                let (mut was, is) = (words(before), words(after));
                taken += u32::from(is[1] == at.port().to_string().as_bytes());
                assert!(is[1] == b"0" || is[1] == at.port().to_string().as_bytes());
                was[1].clone_from(&is[1]);
                assert_eq!(was, is, "{}", shown(&sdp));
            } else if before.starts_with(b"c=") {
                let is_ours = after
                    .trim_ascii_end()
                    .ends_with(at.ip().to_string().as_bytes());
                assert!(is_ours || before == after, "{}", shown(&sdp));
            } else {
                assert_eq!(before, after, "{}", shown(&sdp));
            }
        }
        assert!(taken <= 1, "{}", shown(&edited));
        assert_eq!(*edited, *anchored(&edited, at), "{}", shown(&sdp));
    });
}

#[test]
fn a_version_is_set_in_the_origin_and_nowhere_else() {
    each_case(1, |rng| {
        let sdp = bent(rng, &all_seeds());
        let version = rng.below(u64::MAX);
        let edited = with_version(&sdp, version);
        let (before, after) = (lines(&sdp), lines(&edited));
        assert_eq!(before.len(), after.len(), "{}", shown(&sdp));
        for (before, after) in before.iter().zip(&after) {
            let words = |line: &[u8]| {
                let words: Vec<Vec<u8>> = line
                    .splitn(4, |it| *it == b' ')
                    .map(<[u8]>::to_vec)
                    .collect();
                words
            };
            if before == after {
                continue;
            }
            assert!(before.starts_with(b"o="), "{}", shown(before));
            let (mut was, is) = (words(before), words(after));
            assert_eq!(is[2], version.to_string().as_bytes(), "{}", shown(&sdp));
            was[2].clone_from(&is[2]);
            assert_eq!(was, is, "{}", shown(&sdp));
        }
    });
}

fn message(sdp: &[u8]) -> Vec<u8> {
    let head = format!(
        "INVITE sip:bob@example.com SIP/2.0\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n",
        sdp.len()
    );
    [head.as_bytes(), sdp].concat()
}

/// Whoever is given a mixer can hear it, line for line in the session that he has.
#[test]
fn a_mixer_stands_in_the_line_that_both_use_and_in_no_other() {
    let signalling: IpAddr = "192.0.2.10".parse().expect("an address");
    let at: SocketAddr = "192.0.2.1:20000".parse().expect("an address");
    let mut mixed = 0_u64;
    each_case(1, |rng| {
        let (known, own) = two(rng);
        let Some(sdp) = mixer_in_place_of((&known, 7), (&own, signalling), at) else {
            return;
        };
        mixed += 1;
        let media = |sdp: &[u8]| {
            let lines = lines(sdp);
            let media = lines.iter().filter(|line| line.starts_with(b"m="));
            media.map(|line| line.to_vec()).collect::<Vec<_>>()
        };
        let (was, is) = (media(&known), media(&sdp));
        assert_eq!(was.len(), is.len(), "{}\n{}", shown(&known), shown(&sdp));
        let port = |line: &[u8]| line.split(|it| *it == b' ').nth(1).map(<[u8]>::to_vec);
        let used = is.iter().filter(|line| port(line) != Some(b"0".to_vec()));
        let used: Vec<_> = used.collect();
        assert_eq!(used.len(), 1, "{}", shown(&sdp));
        assert!(
            used[0].starts_with(b"m=audio 20000 RTP/"),
            "{}",
            shown(&sdp)
        );
        let origins = lines(&sdp);
        let origins: Vec<_> = origins.iter().filter(|it| it.starts_with(b"o=")).collect();
        assert_eq!(origins.len(), 1, "{}", shown(&sdp));
        assert_eq!(origins[0].split(|it| *it == b' ').nth(2), Some(&b"7"[..]));
        let bytes = message(&sdp);
        let mut scratch = Scratch::new();
        let message = Message::parse(&bytes, &mut scratch).expect("a message");
        assert!(can_hear(&message, at.ip(), at.ip()), "{}", shown(&sdp));
    });
    assert!(mixed > 0, "no case was a mix");
}

/// What a side has been told, and what it has said of itself: often of the same session.
fn two(rng: &mut Rng) -> (Vec<u8>, Vec<u8>) {
    let known = bent(rng, &all_seeds());
    let own = match rng.below(3) {
        0 => known.clone(),
        1 => one_of(rng, &all_seeds()).to_vec(),
        _ => bent(rng, &all_seeds()),
    };
    (known, own)
}
