//! Audio of our own in a session: what we take of an offer, and the answer that says so.
//!
//! Spec: RFC 3264 §6; RFC 4568 §7.1.2; RFC 4733 §7.1.1; RFC 8866 §5.7, §5.14, §6.6; RULES R16.
//!
//! The first plain audio line with a codec that we have is taken, all others are refused; where there is
//! none, the first under keys that we know how to use.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use smallvec::SmallVec;

use crate::call::hold::DIRECTIONS;
use crate::call::reach::is_reachable;
use crate::call::sdes::Sdes;
use crate::call::sdp::{Media, Session, lines, sdp_of};
use crate::call::{Call, Side, Turn};
use crate::media::codec::{Codec, RATE};
use crate::media::event::Format;
use crate::media::srtp::MasterKey;
use crate::media::stream::Agreed;
use crate::media::trial::Trust;
use crate::random::Rng;
use crate::sip::Message;

/// How many formats of a line are looked at (T22): each is looked for in all that is said of the line.
const FORMATS_MAX: usize = 64;

/// What we take of an offer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Which of its media lines, the first being 0.
    pub(super) line: usize,
    /// But for the keys.
    agreed: Agreed,
    /// What it is sent under, unless it is plain.
    sdes: Option<Sdes>,
    way: Way,
}

/// What its sender does with it (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// He speaks and hears.
    Both,
    /// He only hears.
    Hears,
    /// He only speaks: he has put us on hold (RFC 3264 §8.4).
    Speaks,
    /// Neither, for now.
    Neither,
}

impl Way {
    /// By the attribute, and whether there is an address where he hears.
    fn of(direction: Option<&[u8]>, is_somewhere: bool) -> Self {
        match (direction, is_somewhere) {
            (Some(b"a=inactive"), _) | (Some(b"a=recvonly"), false) => Self::Neither,
            (Some(b"a=recvonly"), true) => Self::Hears,
            (Some(b"a=sendonly"), _) | (_, false) => Self::Speaks,
            (_, true) => Self::Both,
        }
    }

    fn hears(self) -> bool {
        matches!(self, Self::Both | Self::Hears)
    }

    /// What the answer says of us (RFC 3264 §6.1).
    fn answer(self) -> &'static [u8] {
        match self {
            Self::Both => b"a=sendrecv",
            Self::Hears => b"a=sendonly",
            Self::Speaks => b"a=recvonly",
            Self::Neither => b"a=inactive",
        }
    }
}

/// What an audio line offers, and where.
pub(super) struct Audio<'s> {
    pub(super) media: Media<'s>,
    /// The lines that belong to it.
    attributes: Attributes<'s>,
}

/// As many as phones write, without an allocation.
type Attributes<'s> = SmallVec<[&'s [u8]; 16]>;

impl Taken {
    /// What we take of an offer whose sender's signalling comes from there; `None` if he cannot hear us,
    /// or is a fax machine.
    pub(super) fn of(offer: &[u8], signalling: IpAddr) -> Option<Self> {
        let is_fax = |line| Media::parse(line).is_some_and(|media| media.is_fax());
        if lines(offer).any(is_fax) {
            return None;
        }
        Self::among(offer, signalling, |_| true)
    }

    /// The same, or what we take of it for when its sender hears us again, if he has put us on hold.
    pub(super) fn of_holder(offer: &[u8], signalling: IpAddr) -> Option<Self> {
        let held = || Self::found(offer, signalling, |_, way| !way.hears());
        Self::of(offer, signalling).or_else(held)
    }

    /// The same of these of its media lines, the first being 0, whatever the others are.
    pub(super) fn among(
        offer: &[u8],
        signalling: IpAddr,
        is_one: impl Fn(usize) -> bool,
    ) -> Option<Self> {
        Self::found(offer, signalling, |line, way| is_one(line) && way.hears())
    }

    fn found(
        offer: &[u8],
        signalling: IpAddr,
        is_one: impl Fn(usize, Way) -> bool,
    ) -> Option<Self> {
        let is_cut = |line: &[u8]| line.starts_with(b"m=") && Media::parse(line).is_none();
        if lines(offer).any(is_cut) {
            // RFC 3264 §6: the answer would have a line less.
            return None;
        }
        let session = || lines(offer).take_while(|line| !line.starts_with(b"m="));
        let address = session().find_map(address_in);
        let direction = session().find(|line| DIRECTIONS.contains(line));
        let plain = |(line, audio): (usize, Audio<'_>)| {
            let is_plain = audio.media.is_plain_audio();
            let taken = is_plain.then(|| audio.taken((address, direction), signalling))??;
            Some(Self { line, ..taken })
        };
        let secure = |(line, audio): (usize, Audio<'_>)| {
            let is_secure = audio.media.is_secure_audio();
            let sdes = Some(is_secure.then(|| Sdes::of(&audio.attributes))??);
            let taken = audio.taken((address, direction), signalling)?;
            Some(Self {
                line,
                sdes,
                ..taken
            })
        };
        let all = || sections(offer).enumerate();
        let is_one = |taken: &Self| is_one(taken.line, taken.way);
        let mut plain = all().filter_map(plain).filter(is_one);
        let secure = || all().filter_map(secure).find(is_one);
        plain.next().or_else(secure)
    }

    /// What is agreed on if we send under this key, should it not be plain.
    pub(super) fn agreed(&self, ours: Option<MasterKey>) -> Agreed {
        Agreed {
            keys: self.sdes.zip(ours).map(|(sdes, ours)| sdes.with(ours)),
            ..self.agreed
        }
    }

    /// The same, sent under these keys.
    pub(super) fn under(self, sdes: Sdes) -> Self {
        Self {
            sdes: Some(sdes),
            ..self
        }
    }

    /// What it is sent under, if it is not plain.
    pub(super) fn sent_under(&self) -> Option<MasterKey> {
        self.sdes.map(|sdes| sdes.key())
    }

    /// A key of ours, if it needs one.
    pub(super) fn key(&self, rng: &mut Rng) -> Option<MasterKey> {
        self.sdes.map(|_| MasterKey::random(rng))
    }

    /// Whether sound of ours gets there from this address: there is no way from IPv4 to IPv6.
    pub(super) fn is_beside(&self, ours: IpAddr) -> bool {
        let theirs = self.agreed.remote.ip().to_canonical();
        theirs.is_ipv4() == ours.to_canonical().is_ipv4()
    }

    /// Whether it is under keys.
    pub(super) fn is_secure(&self) -> bool {
        self.sdes.is_some()
    }

    /// Whether this one describes the same audio.
    pub(super) fn is_as(&self, agreed: &Agreed) -> bool {
        let new = &self.agreed;
        let theirs = agreed.keys.map(|keys| keys.theirs);
        let is_same = (new.remote, new.codec, new.payload_type)
            == (agreed.remote, agreed.codec, agreed.payload_type);
        // RFC 3264 §6.1: nobody joins, or is joined, who does not speak and hear.
        let is_open = self.way == Way::Both && !agreed.is_on_hold;
        is_same && is_open && self.sdes.map(|sdes| sdes.key()) == theirs
    }

    /// Writes its media line so that it sends this here, in both directions, unless it only hears
    /// (RFC 3264 §6.1).
    pub(super) fn write(
        &self,
        media: &Media<'_>,
        at: SocketAddr,
        ours: Option<MasterKey>,
        out: &mut Vec<u8>,
    ) {
        let Agreed {
            codec,
            payload_type,
            events,
            ..
        } = self.agreed;
        let formats = events.map_or(String::new(), |it| format!(" {}", it.payload_type));
        let formats = format!("{payload_type}{formats}");
        let port = at.port().to_string();
        media.write(out, port.as_bytes(), formats.as_bytes());
        let family = if at.is_ipv4() { "IP4" } else { "IP6" };
        let (address, map) = (at.ip(), codec.map());
        // Writing to memory cannot fail.
        let _written = write!(
            out,
            "c=IN {family} {address}\r\na=rtpmap:{payload_type} {map}\r\n"
        );
        if let Some(parameters) = codec.parameters() {
            let _written = write!(out, "a=fmtp:{payload_type} {parameters}\r\n");
        }
        if let Some(events) = events {
            let (events, rate) = (events.payload_type, events.clock_rate);
            let _written = write!(
                out,
                "a=rtpmap:{events} telephone-event/{rate}\r\na=fmtp:{events} 0-15\r\n"
            );
        }
        if let Some((sdes, ours)) = self.sdes.zip(ours) {
            sdes.write(ours, out);
        }
        out.extend_from_slice(b"a=ptime:20\r\n");
        out.extend_from_slice(self.way.answer());
        out.extend_from_slice(b"\r\n");
    }
}

impl Audio<'_> {
    /// The keys that it offers, as far as we know how to use them.
    pub(super) fn keys(&self) -> Option<Sdes> {
        Sdes::of(&self.attributes)
    }

    /// What we take of it, should it be plain, by what is said of all lines.
    fn taken(
        &self,
        (address, direction): (Option<Address>, Option<&[u8]>),
        signalling: IpAddr,
    ) -> Option<Taken> {
        let own = self.attributes.iter().find_map(|line| address_in(line));
        let remote = own.or(address)?.ip(signalling);
        // RFC 3264 §8.4: the old way to say that somebody is on hold.
        let is_somewhere = !remote.is_unspecified();
        if is_somewhere && !is_reachable(remote, signalling) {
            return None;
        }
        let port = self.media.port().filter(|port| *port > 0)?;
        let way = Way::of(self.direction().or(direction), is_somewhere);
        let formats = || {
            let formats = self.media.formats().take(FORMATS_MAX);
            formats.filter_map(payload_type)
        };
        let (payload_type, codec) =
            formats().find_map(|number| Some((number, self.codec_of(number)?)))?;
        let agreed = Agreed {
            remote: SocketAddr::new(remote, port),
            signalling,
            codec,
            payload_type,
            events: None,
            keys: None,
            trust: Trust::of(remote, signalling),
            is_on_hold: !way.hears(),
        };
        // Beside Opus many a phone has events with the clock of the others.
        let rates = [codec.clock_rate(), RATE];
        let events = |clock_rate| {
            let payload_type = formats().find(|it| self.is_events(*it, clock_rate))?;
            Some(Format {
                payload_type,
                clock_rate,
            })
        };
        let events = rates.into_iter().find_map(events);
        Some(Taken {
            line: 0,
            agreed: Agreed { events, ..agreed },
            sdes: None,
            way,
        })
    }

    fn is_events(&self, payload_type: u8, clock_rate: u32) -> bool {
        let map = self.map_of(payload_type);
        map.is_some_and(|(name, rate)| name == b"telephone-event" && rate == clock_rate)
    }

    /// In which directions it has audio; as all lines have if it says nothing itself (RFC 8866 §6.7).
    fn direction(&self) -> Option<&[u8]> {
        let mut lines = self.attributes.iter().copied();
        lines.find(|line| DIRECTIONS.contains(line))
    }

    fn codec_of(&self, payload_type: u8) -> Option<Codec> {
        match self.map_of(payload_type) {
            Some((name, rate)) => Codec::named(name, rate),
            None => Codec::of_static(payload_type),
        }
    }

    /// What its `a=rtpmap` says of a payload type: encoding and clock rate.
    fn map_of(&self, payload_type: u8) -> Option<(&[u8], u32)> {
        let mut maps = self.attributes.iter().filter_map(|line| {
            let rest = line.strip_prefix(b"a=rtpmap:")?;
            split_at_byte(rest, b' ')
        });
        let is_its =
            |(number, _): &(&[u8], &[u8])| text_number(number) == Some(u32::from(payload_type));
        let (_, map) = maps.find(is_its)?;
        let (name, rate) = split_at_byte(map.trim_ascii(), b'/')?;
        let (rate, _channels) = split_at_byte(rate, b'/').unwrap_or((rate, b""));
        Some((name, text_number(rate)?))
    }
}

/// Where the first audio of a description is, whose sender's signalling comes from there; `None` if there
/// is none.
pub(super) fn audio_address(sdp: &[u8], signalling: IpAddr) -> Option<SocketAddr> {
    let at = audio_at(sdp, signalling)?;
    is_reachable(at.ip(), signalling).then_some(at)
}

/// The address of it, whatever it is.
pub(super) fn audio_ip(sdp: &[u8], signalling: IpAddr) -> Option<IpAddr> {
    audio_at(sdp, signalling).map(|at| at.ip())
}

/// The same, whether or not it can be reached.
pub(super) fn audio_at(sdp: &[u8], signalling: IpAddr) -> Option<SocketAddr> {
    let session = lines(sdp)
        .take_while(|line| !line.starts_with(b"m="))
        .find_map(address_in);
    let port_of = |audio: &Audio<'_>| audio.media.port().filter(|port| *port > 0);
    let mut audio = sections(sdp).filter(|audio| audio.media.is_audio());
    let audio = audio.find(|audio| port_of(audio).is_some())?;
    let own = audio.attributes.iter().find_map(|line| address_in(line));
    let ip = own.or(session)?.ip(signalling);
    Some(SocketAddr::new(ip, port_of(&audio)?))
}

/// Whether whoever offers this can be heard, and hear us, under keys alone.
pub fn needs_keys(offer: &[u8], signalling: IpAddr) -> bool {
    Taken::of(offer, signalling).is_some_and(|taken| taken.is_secure())
}

/// Whether whoever offers this hears, and says nothing.
pub fn only_hears(offer: &[u8], signalling: IpAddr) -> bool {
    Taken::of(offer, signalling).is_some_and(|taken| taken.way == Way::Hears)
}

/// Whether we can be heard, from this address of ours, by whoever sends this message.
pub fn can_hear(message: &Message<'_>, signalling: IpAddr, ours: IpAddr) -> bool {
    let taken = sdp_of(message).and_then(|offer| Taken::of(offer, signalling));
    taken.is_some_and(|taken| taken.is_beside(ours))
}

impl Call {
    /// What we take of A's offer, and the answer that says so, at this address and port of ours.
    pub fn sound_answer(
        &self,
        turn: &mut Turn<'_>,
        offer: &[u8],
        at: SocketAddr,
    ) -> Option<(Agreed, Vec<u8>)> {
        let towards = self.flow(Side::A);
        let taken = Taken::of(offer, towards.remote.ip())?;
        let taken = taken.is_beside(at.ip()).then_some(taken)?;
        let sent_by = turn.layer.sent_by(&towards);
        let session = Session::new(turn.rng.below(1 << 31), sent_by);
        let ours = taken.key(turn.rng);
        let answer = session.sound_answer(offer, (&taken, ours), at);
        Some((taken.agreed(ours), answer))
    }
}

impl Session {
    /// The answer to an offer that takes so much of it, at this address and port of ours, and what we send
    /// under if it is not plain.
    fn sound_answer(
        &self,
        offer: &[u8],
        (taken, ours): (&Taken, Option<MasterKey>),
        at: SocketAddr,
    ) -> Vec<u8> {
        let mut out = self.head();
        for (index, audio) in sections(offer).enumerate() {
            let media = &audio.media;
            if index != taken.line {
                media.write(&mut out, b"0", media.formats);
                continue;
            }
            taken.write(media, at, ours, &mut out);
        }
        out
    }
}

/// The media lines of a description, each with what belongs to it.
pub(super) fn sections(sdp: &[u8]) -> impl Iterator<Item = Audio<'_>> {
    let mut rest = lines(sdp).peekable();
    std::iter::from_fn(move || {
        let media = loop {
            if let Some(media) = Media::parse(rest.next()?) {
                break media;
            }
        };
        let mut attributes = Attributes::new();
        while let Some(line) = rest.next_if(|line| !line.starts_with(b"m=")) {
            attributes.push(line);
        }
        Some(Audio { media, attributes })
    })
}

/// What a `c=` line names.
#[derive(Clone, Copy)]
enum Address {
    Ip(IpAddr),
    Name,
}

impl Address {
    /// A name is asked of nobody: who signals from there is most likely to listen there.
    fn ip(self, signalling: IpAddr) -> IpAddr {
        match self {
            Self::Ip(address) => address,
            Self::Name => signalling,
        }
    }
}

fn address_in(line: &[u8]) -> Option<Address> {
    let rest = line.strip_prefix(b"c=IN IP")?;
    let (_family, address) = split_at_byte(rest, b' ')?;
    let (address, _ttl) = split_at_byte(address, b'/').unwrap_or((address, b""));
    let address = str::from_utf8(address.trim_ascii()).ok()?;
    Some(address.parse().map_or(Address::Name, Address::Ip))
}

fn payload_type(format: &[u8]) -> Option<u8> {
    let number = text_number(format)?;
    u8::try_from(number).ok().filter(|number| *number < 128)
}

fn text_number(text: &[u8]) -> Option<u32> {
    str::from_utf8(text).ok()?.parse().ok()
}

fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(byte, text)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=alice 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
        m=audio 40000 RTP/AVP 96 8 0 101\r\na=rtpmap:96 G729/8000\r\na=rtpmap:8 PCMA/8000\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n\
        m=video 40002 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n";

    fn signalling() -> IpAddr {
        "198.51.100.7".parse().expect("an address")
    }

    fn taken(offer: &str) -> Option<Taken> {
        Taken::of(offer.as_bytes(), signalling())
    }

    #[test]
    fn the_first_codec_that_we_have_is_taken() {
        let agreed = taken(OFFER).expect("audio").agreed;
        assert_eq!(agreed.remote.to_string(), "192.0.2.9:40000");
        assert_eq!((agreed.codec, agreed.payload_type), (Codec::Pcma, 8));
        assert_eq!(agreed.events, Some(Format::at_8000(101)));
    }

    #[test]
    fn the_answer_has_each_line_of_the_offer_and_ours_in_its_place() {
        let taken = taken(OFFER).expect("audio");
        let session = Session::new(7, b"192.0.2.1:5060");
        let at = "192.0.2.1:20000".parse().expect("an address");
        let answer = session.sound_answer(OFFER.as_bytes(), (&taken, None), at);
        let answer = String::from_utf8(answer).expect("text");
        let media = answer.split_once("t=0 0\r\n").expect("a time").1;
        assert_eq!(
            media,
            "m=audio 20000 RTP/AVP 8 101\r\nc=IN IP4 192.0.2.1\r\na=rtpmap:8 PCMA/8000\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n\
             m=video 0 RTP/AVP 97\r\n"
        );
    }

    #[test]
    fn an_address_of_the_line_wins_and_a_name_is_where_the_signalling_is() {
        let own = OFFER.replace("a=sendrecv\r\n", "c=IN IP6 2001:db8::9\r\n");
        let remote = taken(&own).expect("audio").agreed.remote;
        assert_eq!(remote.to_string(), "[2001:db8::9]:40000");
        let named = OFFER.replace("c=IN IP4 192.0.2.9", "c=IN IP4 phone.example");
        let remote = taken(&named).expect("audio").agreed.remote;
        assert_eq!(remote.to_string(), "198.51.100.7:40000");
    }

    /// The story: two phones of IPv6 were put on a mixer of IPv4, heard nothing, and were not warned.
    #[test]
    fn there_is_no_way_from_one_family_to_the_other() {
        let six = OFFER.replace("IN IP4 192.0.2.9\r\nt", "IN IP6 2001:db8::9\r\nt");
        let mapped = OFFER.replace("IN IP4 192.0.2.9\r\nt", "IN IP6 ::ffff:192.0.2.9\r\nt");
        for (offer, ours, is_beside) in [
            (OFFER, "192.0.2.1", true),
            (OFFER, "2001:db8::1", false),
            (&six[..], "192.0.2.1", false),
            (&six[..], "2001:db8::1", true),
            (&mapped[..], "192.0.2.1", true),
        ] {
            let ours = ours.parse().expect("an address");
            let taken = taken(offer).expect("audio");
            assert_eq!(taken.is_beside(ours), is_beside, "{offer} {ours}");
        }
    }

    #[test]
    fn who_cannot_hear_us_is_played_nothing() {
        for (from, to) in [
            ("a=sendrecv", "a=sendonly"),
            ("a=sendrecv", "a=inactive"),
            ("c=IN IP4 192.0.2.9", "c=IN IP4 0.0.0.0"),
            ("c=IN IP4 192.0.2.9", "c=IN IP4 224.2.1.1/127"),
            ("c=IN IP4 192.0.2.9", "c=IN IP4 127.0.0.1"),
            ("c=IN IP4 192.0.2.9", "c=IN IP6 ff02::1"),
            ("audio 40000", "audio 0"),
            ("audio 40000", "audio port"),
            ("RTP/AVP 96", "RTP/SAVP 96"),
            ("96 8 0 101", "96 101"),
            ("m=audio", "m=image"),
            ("m=video 40002 RTP/AVP 97", "m=video 40002"),
            ("m=video 40002 RTP/AVP 97", "m=image 40002 udptl t38"),
            ("c=IN IP4 192.0.2.9\r\n", ""),
        ] {
            assert!(taken(&OFFER.replace(from, to)).is_none(), "{to}");
        }
        assert!(taken("").is_none());
    }

    /// RFC 8866 §6.7. The story: a hold that was said of all lines was answered by a mixer that went on.
    #[test]
    fn what_is_said_of_all_lines_is_said_of_one_that_says_nothing_itself() {
        let all = |said: &str| OFFER.replace("t=0 0\r\n", &format!("t=0 0\r\n{said}\r\n"));
        let own = "a=sendrecv\r\n";
        for said in ["a=sendonly", "a=inactive"] {
            assert!(taken(&all(said).replace(own, "")).is_none(), "{said}");
            assert!(taken(&all(said)).is_some(), "{said}");
        }
        assert!(taken(&all("a=recvonly").replace(own, "")).is_some_and(|it| it.way == Way::Hears));
    }

    /// RFC 3264 §6.1.
    #[test]
    fn who_only_hears_is_sent_to_and_sends_nothing() {
        let offer = OFFER.replace("a=sendrecv", "a=recvonly");
        let taken = taken(&offer).expect("audio");
        let session = Session::new(7, b"192.0.2.1:5060");
        let at = "192.0.2.1:20000".parse().expect("an address");
        let answer = session.sound_answer(offer.as_bytes(), (&taken, None), at);
        let answer = String::from_utf8(answer).expect("text");
        assert!(answer.contains("a=sendonly\r\n"), "{answer}");
        assert!(!answer.contains("a=sendrecv"), "{answer}");
        assert!(only_hears(offer.as_bytes(), signalling()));
        assert!(!only_hears(OFFER.as_bytes(), signalling()));
    }

    /// T22: ten thousand formats, each looked for in thousands of lines, would take as many milliseconds.
    #[test]
    fn no_more_formats_are_looked_at_than_a_phone_has() {
        for (before, is_taken) in [(FORMATS_MAX - 1, true), (FORMATS_MAX, false)] {
            let many = " 18".repeat(before);
            let offer = OFFER.replace("96 8 0 101", &format!("{} 8", many.trim_start()));
            assert_eq!(taken(&offer).is_some(), is_taken, "{before}");
        }
    }

    #[test]
    fn a_payload_type_is_what_the_offer_maps_it_to() {
        for (map, codec, payload_type) in [
            ("a=rtpmap:8 L16", Codec::Pcmu, 0),
            ("a=rtpmap:8 G722", Codec::G722, 8),
        ] {
            let mapped = OFFER.replace("a=rtpmap:8 PCMA", map);
            let agreed = taken(&mapped).expect("audio").agreed;
            assert_eq!((agreed.codec, agreed.payload_type), (codec, payload_type));
        }
    }

    /// RFC 7587 §7: opus has a clock of 48 kHz and two channels; RFC 4733 §2.1: events have the clock of
    /// their audio, where the offer has such.
    #[test]
    fn opus_is_taken_by_its_name_with_events_of_its_clock_or_of_any() {
        let opus = OFFER.replace("96 G729/8000", "96 opus/48000/2");
        let session = Session::new(7, b"192.0.2.1:5060");
        let at = "192.0.2.1:20000".parse().expect("an address");
        let more = "a=rtpmap:101 telephone-event/8000\r\na=rtpmap:102 telephone-event/48000";
        let two = opus.replace("a=rtpmap:101 telephone-event/8000", more);
        let two = two.replace("0 101\r\n", "0 101 102\r\n");
        for (offer, formats, events) in [
            (opus, "96 101", "101 telephone-event/8000"),
            (two, "96 102", "102 telephone-event/48000"),
        ] {
            let taken = taken(&offer).expect("audio");
            assert_eq!(taken.agreed(None).codec, Codec::Opus);
            let answer = session.sound_answer(offer.as_bytes(), (&taken, None), at);
            let answer = String::from_utf8(answer).expect("text");
            let media = format!(
                "m=audio 20000 RTP/AVP {formats}\r\nc=IN IP4 192.0.2.1\r\n\
                 a=rtpmap:96 opus/48000/2\r\n\
                 a=fmtp:96 maxplaybackrate=8000;sprop-maxcapturerate=8000\r\n\
                 a=rtpmap:{events}\r\n"
            );
            assert!(answer.contains(&media), "{answer}");
        }
    }

    /// RFC 3551 §4.5.2: G.722 has a clock of 8 kHz in RTP, whatever it sounds like.
    #[test]
    fn g722_is_taken_by_its_static_type_and_answered_with_a_clock_of_8_khz() {
        let wide = OFFER.replace("96 8 0 101", "96 9 8 101");
        let taken = taken(&wide).expect("audio");
        let (agreed, at) = (taken.agreed, "192.0.2.1:20000".parse().expect("an address"));
        assert_eq!(
            (agreed.codec, agreed.events),
            (Codec::G722, Some(Format::at_8000(101)))
        );
        let session = Session::new(7, b"192.0.2.1:5060");
        let answer = session.sound_answer(wide.as_bytes(), (&taken, None), at);
        let answer = String::from_utf8(answer).expect("text");
        assert!(
            answer.contains("m=audio 20000 RTP/AVP 9 101\r\n"),
            "{answer}"
        );
        assert!(answer.contains("a=rtpmap:9 G722/8000\r\n"), "{answer}");
    }

    const CRYPTO: &str = "a=crypto:2 AES_CM_128_HMAC_SHA1_80 \
        inline:4fl6DT4BjODWT6MsBt5BOQ7Gda1Jiv7rtpYLOqvm\r\n";

    fn secure() -> String {
        let offer = OFFER.replace("RTP/AVP 96 8", "RTP/SAVP 96 8");
        offer.replace("a=sendrecv\r\n", &format!("a=sendrecv\r\n{CRYPTO}"))
    }

    /// RFC 4568 §7.1.2: the answer has one line, with the tag of the one that it takes and a key of its
    /// sender's.
    #[test]
    fn where_only_keys_are_offered_the_answer_has_one_of_ours() {
        let offer = secure();
        let taken = taken(&offer).expect("audio");
        let ours = taken.key(&mut Rng::from_number(7)).expect("a key");
        let keys = taken.agreed(Some(ours)).keys.expect("keys");
        assert_ne!(keys.ours, keys.theirs);
        let session = Session::new(7, b"192.0.2.1:5060");
        let at = "192.0.2.1:20000".parse().expect("an address");
        let answer = session.sound_answer(offer.as_bytes(), (&taken, Some(ours)), at);
        let theirs = Taken::of(&answer, signalling()).expect("our answer can be heard");
        // What is ours to us is theirs to them.
        assert_eq!(
            theirs.agreed(Some(keys.theirs)).keys.map(|it| it.theirs),
            Some(ours)
        );
        let answer = String::from_utf8(answer).expect("text");
        assert!(
            answer.contains("m=audio 20000 RTP/SAVP 8 101\r\n"),
            "{answer}"
        );
        let line = "\r\na=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:";
        assert_eq!(answer.matches(line).count(), 1, "{answer}");
    }

    #[test]
    fn an_offer_of_both_stays_plain_wherever_the_plain_line_stands() {
        let plain = "m=audio 41000 RTP/AVP 0\r\n";
        let both = secure().replace("m=video 40002 RTP/AVP 97\r\n", plain);
        let taken_of_both = taken(&both).expect("audio");
        assert_eq!(taken_of_both.line, 1);
        assert!(taken_of_both.key(&mut Rng::from_number(7)).is_none());
        // Keys that may be used are none that have to be.
        let optional = secure().replace("RTP/SAVP", "RTP/AVP");
        let agreed = taken(&optional).expect("audio").agreed(None);
        assert_eq!(agreed.keys, None);
    }

    #[test]
    fn keys_that_we_cannot_use_are_as_good_as_none() {
        for (from, to) in [
            ("AES_CM_128_HMAC_SHA1_80", "AES_CM_256_HMAC_SHA1_80"),
            ("a=crypto:2", "a=fingerprint:2"),
            ("LOqvm", "LOqv"),
        ] {
            assert!(taken(&secure().replace(from, to)).is_none(), "{to}");
        }
    }

    /// RFC 3264 §6.1, §8.4.
    #[test]
    fn who_holds_is_answered_so_and_is_no_party_to_sound() {
        let nowhere = OFFER.replace("IP4 192.0.2.9\r\nt", "IP4 0.0.0.0\r\nt");
        for (offer, answered, is_on_hold) in [
            (OFFER.to_owned(), "a=sendrecv\r\n", false),
            (
                OFFER.replace("sendrecv", "recvonly"),
                "a=sendonly\r\n",
                false,
            ),
            (
                OFFER.replace("sendrecv", "sendonly"),
                "a=recvonly\r\n",
                true,
            ),
            (
                OFFER.replace("sendrecv", "inactive"),
                "a=inactive\r\n",
                true,
            ),
            (nowhere.clone(), "a=recvonly\r\n", true),
            (
                nowhere.replace("sendrecv", "recvonly"),
                "a=inactive\r\n",
                true,
            ),
        ] {
            assert_eq!(taken(&offer).is_none(), is_on_hold, "{offer}");
            let held = Taken::of_holder(offer.as_bytes(), signalling()).expect("audio");
            assert_eq!(held.agreed.is_on_hold, is_on_hold, "{offer}");
            let at = "192.0.2.1:20000".parse().expect("an address");
            let session = Session::new(7, b"192.0.2.1:5060");
            let answer = session.sound_answer(offer.as_bytes(), (&held, None), at);
            let answer = String::from_utf8(answer).expect("text");
            assert!(answer.contains(answered), "{offer}\n{answer}");
        }
    }

    /// The story: who went on as `recvonly` in a mix was told that nothing had changed.
    #[test]
    fn another_direction_is_a_change() {
        let before = taken(OFFER).expect("audio");
        let agreed = before.agreed(None);
        assert!(before.is_as(&agreed));
        let mute = taken(&OFFER.replace("sendrecv", "recvonly")).expect("audio");
        assert!(!mute.is_as(&agreed));
        let held = Agreed {
            is_on_hold: true,
            ..agreed
        };
        assert!(!before.is_as(&held));
    }
}
