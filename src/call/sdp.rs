//! Session descriptions, line by line: as much as a session of our own takes.
//!
//! Spec: RFC 3264 §5, §6, §8; RFC 3725 §4.4; RFC 8866 §5.2, §5.7, §5.14.

use std::io::Write as _;
use std::net::SocketAddr;

use crate::sip::{Host, Item, Message, Name};

/// What the formats of a line of ours are.
const FORMATS: &[u8] = b"a=rtpmap:0 PCMU/8000\r\n\
      a=rtpmap:8 PCMA/8000\r\n\
      a=rtpmap:101 telephone-event/8000\r\n";

/// The media type of a session description.
pub(super) const SDP: &[u8] = b"application/sdp";

/// The session that we have with one peer: what its `o=` lines say.
///
/// The peer knows the session by the first of them, so those that follow differ in the version alone,
/// whoever describes the media.
#[derive(Debug)]
pub(super) struct Session {
    id: u64,
    version: u64,
    /// Network and address type and the address.
    address: String,
    /// The description that the last version stood for.
    described: Box<[u8]>,
}

/// A media line of an offer.
pub(super) struct Media<'s> {
    kind: &'s [u8],
    port: &'s [u8],
    protocol: &'s [u8],
    pub(super) formats: &'s [u8],
}

impl Session {
    /// A session of this number at a listener with this sent-by.
    pub(super) fn new(id: u64, sent_by: &[u8]) -> Self {
        let mut session = Self {
            id,
            version: 1,
            address: String::new(),
            described: Box::default(),
        };
        session.move_to(sent_by);
        session
    }

    /// The session that this description of ours was of.
    pub(super) fn of(ours: &[u8]) -> Option<Self> {
        let origin = lines(ours).find_map(|line| line.strip_prefix(b"o=- "))?;
        let mut fields = str::from_utf8(origin).ok()?.splitn(3, ' ');
        Some(Self {
            id: fields.next()?.parse().ok()?,
            version: fields.next()?.parse().ok()?,
            address: fields.next()?.to_owned(),
            described: Box::default(),
        })
    }

    /// Has the address of a listener with this sent-by from here on.
    pub(super) fn move_to(&mut self, sent_by: &[u8]) {
        let is_port = |byte: &u8| byte.is_ascii_digit() || *byte == b':';
        let port = match sent_by.iter().rposition(|byte| !is_port(byte)) {
            Some(last) if sent_by.get(last) == Some(&b']') => last + 1,
            _ => sent_by
                .iter()
                .position(|byte| *byte == b':')
                .unwrap_or(sent_by.len()),
        };
        let host = sent_by.get(..port).unwrap_or_default();
        self.address = match Host::parse(host) {
            Ok(Host::V6(address)) => format!("IN IP6 {address}"),
            Ok(Host::V4(address)) => format!("IN IP4 {address}"),
            Ok(Host::Name(name)) => format!("IN IP4 {name}"),
            // RFC 3264 §5: nobody can be reached there, and nobody is to.
            Err(_) => "IN IP4 0.0.0.0".to_owned(),
        };
    }

    /// A description of one audio line on which nothing is to flow.
    pub(super) fn hold(&self) -> Vec<u8> {
        let mut out = self.head();
        out.extend_from_slice(b"m=audio 9 RTP/AVP 0 8 101\r\n");
        out.extend_from_slice(FORMATS);
        out.extend_from_slice(b"a=inactive\r\n");
        out
    }

    /// The same line, on which we are heard from this address of ours: the next version.
    pub(super) fn played(&mut self, at: SocketAddr) -> Vec<u8> {
        self.version += 1;
        self.described = Box::default();
        let mut out = self.head();
        let family = if at.is_ipv4() { "IP4" } else { "IP6" };
        let (ip, port) = (at.ip(), at.port());
        // Writing to memory cannot fail.
        let _written = write!(
            out,
            "m=audio {port} RTP/AVP 0 8 101\r\nc=IN {family} {ip}\r\n"
        );
        out.extend_from_slice(FORMATS);
        out.extend_from_slice(b"a=ptime:20\r\na=sendrecv\r\n");
        out
    }

    /// What somebody else describes, as this session of ours (RFC 3264 §8): the version rises unless
    /// nothing has changed.
    pub(super) fn describe(&mut self, theirs: &[u8]) -> Vec<u8> {
        if *self.described != *theirs {
            self.version += 1;
            self.described = Box::from(theirs);
        }
        let mut out = Vec::with_capacity(theirs.len() + 64);
        for line in theirs.split_inclusive(|byte| *byte == b'\n') {
            if line.starts_with(b"o=") {
                self.write_origin(&mut out);
            } else {
                out.extend_from_slice(line);
            }
        }
        out
    }

    /// The answer that rejects every line of this offer.
    pub(super) fn rejection(&self, offer: &[u8]) -> Vec<u8> {
        let mut out = self.head();
        for media in lines(offer).filter_map(Media::parse) {
            media.write(&mut out, b"0", media.formats);
        }
        out
    }

    /// As [`Self::held_answer`], to an offer that changes the session.
    pub(super) fn held_anew(&mut self, offer: &[u8]) -> Vec<u8> {
        self.version += 1;
        self.held_answer(offer)
    }

    /// The answer that takes the first audio line, with nothing to flow on it, and no other.
    pub(super) fn held_answer(&self, offer: &[u8]) -> Vec<u8> {
        let mut out = self.head();
        let mut has_audio = false;
        for media in lines(offer).filter_map(Media::parse) {
            if has_audio || !media.is_plain_audio() {
                media.write(&mut out, b"0", media.formats);
                continue;
            }
            has_audio = true;
            let format = media.formats.split(|byte| *byte == b' ').next();
            let format = format.unwrap_or_default();
            media.write(&mut out, b"9", format);
            let name = [b"a=rtpmap:", format, b" "].concat();
            for line in lines(offer).filter(|line| line.starts_with(&name)).take(1) {
                out.extend_from_slice(line);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"a=inactive\r\n");
        }
        out
    }

    pub(super) fn head(&self) -> Vec<u8> {
        let mut out = b"v=0\r\n".to_vec();
        self.write_origin(&mut out);
        // Writing to memory cannot fail.
        let _written = write!(out, "s=-\r\nc={}\r\nt=0 0\r\n", self.address);
        out
    }

    fn write_origin(&self, out: &mut Vec<u8>) {
        let (id, version, address) = (self.id, self.version, &self.address);
        // Writing to memory cannot fail.
        let _written = write!(out, "o=- {id} {version} {address}\r\n");
    }
}

impl<'s> Media<'s> {
    pub(super) fn parse(line: &'s [u8]) -> Option<Self> {
        let mut fields = line.strip_prefix(b"m=")?.splitn(4, |byte| *byte == b' ');
        let kind = fields.next()?;
        Some(Self {
            kind,
            port: fields.next()?,
            protocol: fields.next()?,
            formats: fields.next()?,
        })
    }

    /// The port; 0 if nothing is to flow.
    pub(super) fn port(&self) -> Option<u16> {
        let number = self.port.split(|byte| *byte == b'/').next()?;
        str::from_utf8(number).ok()?.parse().ok()
    }

    /// Its formats, the best first.
    pub(super) fn formats(&self) -> impl Iterator<Item = &'s [u8]> {
        let formats = self.formats.split(u8::is_ascii_whitespace);
        formats.filter(|format| !format.is_empty())
    }

    /// Whether it is audio for which no keys are needed.
    pub(super) fn is_plain_audio(&self) -> bool {
        self.kind == b"audio" && matches!(self.protocol, b"RTP/AVP" | b"RTP/AVPF")
    }

    /// Whether it is audio under keys, and no other.
    pub(super) fn is_secure_audio(&self) -> bool {
        self.kind == b"audio" && matches!(self.protocol, b"RTP/SAVP" | b"RTP/SAVPF")
    }

    pub(super) fn is_audio(&self) -> bool {
        self.kind == b"audio"
    }

    /// Whether it offers pictures of pages (T.38, RFC 3362), as fax machines do.
    pub(super) fn is_fax(&self) -> bool {
        self.kind == b"image" && self.port != b"0"
    }

    /// The line with another port, and without its end.
    pub(super) fn write_line(&self, out: &mut Vec<u8>, port: u16) {
        let port = port.to_string();
        let parts = [self.kind, port.as_bytes(), self.protocol, self.formats];
        out.extend_from_slice(b"m=");
        out.extend_from_slice(&parts.join(&b' '));
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, port: &[u8], formats: &[u8]) {
        let parts: [&[u8]; 9] = [
            b"m=",
            self.kind,
            b" ",
            port,
            b" ",
            self.protocol,
            b" ",
            formats,
            b"\r\n",
        ];
        out.extend_from_slice(&parts.concat());
    }
}

/// The session description that a message carries.
pub(super) fn sdp_of<'m>(message: &Message<'m>) -> Option<&'m [u8]> {
    let kind = Item::parse(message.first(Name::ContentType)?).ok()?;
    let is_sdp = kind.value.eq_ignore_ascii_case(SDP) && !message.body().is_empty();
    is_sdp.then(|| message.body())
}

/// Whether the first media line is audio.
pub(super) fn begins_with_audio(sdp: &[u8]) -> bool {
    let first = lines(sdp).find_map(Media::parse);
    first.is_some_and(|media| media.kind == b"audio")
}

pub(super) fn lines(sdp: &[u8]) -> impl Iterator<Item = &[u8]> {
    sdp.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::new(7, b"192.0.2.1:5060")
    }

    fn text(sdp: &[u8]) -> &str {
        str::from_utf8(sdp).expect("ASCII")
    }

    fn origin(sdp: &[u8]) -> &str {
        text(sdp)
            .lines()
            .find(|line| line.starts_with("o="))
            .expect("an origin")
    }

    #[test]
    fn a_held_session_offers_one_audio_line() {
        let sdp = session().hold();
        assert_eq!(
            text(&sdp),
            "v=0\r\no=- 7 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
             m=audio 9 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=inactive\r\n"
        );
        assert!(begins_with_audio(&sdp));
    }

    #[test]
    fn the_address_is_that_of_the_listener() {
        for (sent_by, address) in [
            ("192.0.2.1:5060", "IN IP4 192.0.2.1"),
            ("192.0.2.1", "IN IP4 192.0.2.1"),
            ("[2001:db8::1]:5060", "IN IP6 2001:db8::1"),
            ("[2001:db8::1]", "IN IP6 2001:db8::1"),
            ("pbx.example.com:5080", "IN IP4 pbx.example.com"),
            ("", "IN IP4 0.0.0.0"),
        ] {
            let sdp = Session::new(7, sent_by.as_bytes()).hold();
            assert_eq!(origin(&sdp), format!("o=- 7 1 {address}"), "{sent_by}");
        }
    }

    #[test]
    fn a_session_is_known_by_what_was_described() {
        let before = session().hold();
        let mut again = Session::of(&before).expect("one of ours");
        assert_eq!(again.hold(), before);
        assert_eq!(
            origin(&again.describe(b"o=x\r\n")),
            "o=- 7 2 IN IP4 192.0.2.1"
        );
        assert!(Session::of(b"v=0\r\no=bob 7 1 IN IP4 192.0.2.1\r\n").is_none());
    }

    #[test]
    fn a_change_raises_the_version_and_a_repetition_does_not() {
        let mut session = session();
        let theirs = b"v=0\r\no=bob 99 4 IN IP6 ::1\r\ns=call\r\nm=audio 4000 RTP/AVP 0\r\n";
        let ours = session.describe(theirs);
        assert_eq!(
            text(&ours),
            "v=0\r\no=- 7 2 IN IP4 192.0.2.1\r\ns=call\r\nm=audio 4000 RTP/AVP 0\r\n"
        );
        assert_eq!(session.describe(theirs), ours); // S-64
        let changed = session.describe(b"v=0\no=bob 99 4 IN IP6 ::1\ns=call\n");
        // S-72
        assert_eq!(text(&changed), "v=0\no=- 7 3 IN IP4 192.0.2.1\r\ns=call\n");
    }

    #[test]
    fn a_rejection_has_a_line_for_each_line_and_no_port() {
        let offer =
            b"v=0\r\nm=audio 4000/2 RTP/AVP 0 8\r\na=x\r\nm=video 1 RTP/SAVP 96\r\nm=bad\r\n";
        let sdp = session().rejection(offer);
        let rejected = text(&sdp).split_once("t=0 0\r\n").expect("a time").1;
        assert_eq!(
            rejected,
            "m=audio 0 RTP/AVP 0 8\r\nm=video 0 RTP/SAVP 96\r\n" // S-61, S-62
        );
    }

    #[test]
    fn the_first_audio_line_is_held_and_the_others_are_rejected() {
        let offer = b"m=video 1 RTP/AVP 96\r\nm=audio 2 RTP/AVP 97 0\r\na=rtpmap:9 G722/8000\r\n\
            a=rtpmap:97 opus/48000/2\r\nm=audio 3 RTP/AVP 0\r\n";
        let sdp = session().held_answer(offer);
        let answer = text(&sdp).split_once("t=0 0\r\n").expect("a time").1;
        assert_eq!(
            answer,
            "m=video 0 RTP/AVP 96\r\nm=audio 9 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\n\
             a=inactive\r\nm=audio 0 RTP/AVP 0\r\n"
        );
    }

    #[test]
    fn audio_that_needs_keys_is_rejected() {
        let sdp = session().held_answer(b"m=audio 2 RTP/SAVP 0\r\n");
        assert!(text(&sdp).ends_with("t=0 0\r\nm=audio 0 RTP/SAVP 0\r\n"));
    }

    #[test]
    fn only_the_first_media_line_counts() {
        assert!(!begins_with_audio(
            b"m=video 1 RTP/AVP 96\r\nm=audio 2 RTP/AVP 0\r\n"
        ));
        assert!(!begins_with_audio(b"v=0\r\n"));
    }
}
