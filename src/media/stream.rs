//! One RTP stream with one peer: what it is sent, and what it says.
//!
//! Spec: RFC 3550 §5.1 (packets), §8.2 (other sources), §A.1; RFC 3711; RFC 4733; RFC 4961 (symmetric
//! RTP).
//!
//! - Nothing is sent but where the peer's description says, until a packet comes from there or from
//!   the address of its signalling; then it goes to where that came from (R14).
//! - A description that nothing confirms is believed for the time of a trial.
//! - What comes from elsewhere, is no RTP, or is not under the keys, is counted and dropped: it moves
//!   nothing.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rtp_types::{RtpPacket, RtpPacketBuilder};

use super::codec::{Codec, Coder, Frame};
use super::digit::Digit;
use super::event::{Events, Format, Passing, Told};
use super::inband::Ear;
use super::jitter::Buffer;
use super::report::{self, Reception, Sending};
use super::srtp::{Forged, Keys, Shield};
use super::trial::{Trial, Trust};
use crate::random::Rng;
use crate::time::Timestamp;

/// Longest packet that is taken: 100 ms and some headers.
pub(super) const PACKET_MAX: usize = 1500;
/// From one digit to the next (ITU-T Q.24: it takes 40 ms, and the gap after it as long): each is mail to
/// whoever carries the calls, and may be an attempt that is written down.
const PRESS_MIN: Duration = Duration::from_millis(80);

/// What was agreed on with the peer.
#[derive(Clone, Copy, Debug)]
pub struct Agreed {
    /// Where it wants to be sent to, by its description.
    pub remote: SocketAddr,
    /// Where its signalling comes from: behind a NAT, its packets come from there.
    pub signalling: IpAddr,
    /// The codec.
    pub codec: Codec,
    /// Its payload type.
    pub payload_type: u8,
    /// How it sends and takes events, if it does.
    pub events: Option<Format>,
    /// The keys, if it is not to be sent plain audio.
    pub keys: Option<Keys>,
    /// Whether it may be sent to there though nothing comes.
    pub trust: Trust,
    /// Whether it is on hold (RFC 3264 §8.4): it is sent nothing, and what it says is heard by nobody.
    pub is_on_hold: bool,
}

/// What a packet did not pass.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Junk {
    /// It is not under the keys that were agreed on, or has come before.
    Forged,
    /// It is no RTP, or longer than audio is.
    Malformed,
    /// Its payload type was not agreed on.
    Payload,
    /// It is from an address that is not the peer's.
    Source,
}

/// A stream.
#[derive(Debug)]
pub struct Stream {
    agreed: Agreed,
    coder: Coder,
    /// Where a frame becomes bytes: no allocation a packet.
    payload: Vec<u8>,
    shield: Option<Box<Shield>>,
    /// Where it is sent to.
    remote: SocketAddr,
    sending: Sending,
    sequence: u16,
    /// Who is heard, and how well.
    heard: Option<(u32, Reception)>,
    buffer: Buffer,
    /// What came late, and the gaps, of sources before this one.
    uneven: (u64, u64),
    events: Events,
    /// When the event that was told last began.
    pressed: Option<Timestamp>,
    /// What the packet that came last tells of an event.
    told: Option<Told>,
    passing: Passing,
    ear: Ear,
    /// Whether the peer sends events: then its audio is not searched for digits.
    sends_events: bool,
    trial: Trial,
}

impl From<Forged> for Junk {
    fn from(_: Forged) -> Self {
        Self::Forged
    }
}

impl Stream {
    /// A stream that nothing was sent on.
    pub fn new(agreed: Agreed, rng: &mut Rng) -> Self {
        Self {
            agreed,
            coder: Coder::new(agreed.codec),
            payload: Vec::new(),
            shield: agreed.keys.map(|keys| Box::new(Shield::new(keys))),
            remote: agreed.remote,
            sending: Sending {
                ssrc: u32::try_from(rng.bits() >> 32).unwrap_or_default(),
                timestamp: u32::try_from(rng.bits() >> 32).unwrap_or_default(),
                ..Sending::default()
            },
            sequence: u16::try_from(rng.bits() >> 48).unwrap_or_default(),
            heard: None,
            buffer: Buffer::default(),
            uneven: (0, 0),
            events: Events::default(),
            pressed: None,
            told: None,
            passing: Passing::default(),
            ear: Ear::default(),
            sends_events: false,
            trial: Trial::Passed,
        }
    }

    /// The same, which sends so many packets to where nothing comes from, unless its peer is trusted.
    #[must_use]
    pub fn on_trial(self, packets: u32) -> Self {
        Self {
            trial: Trial::of(self.agreed.trust, packets),
            ..self
        }
    }

    /// Takes in a packet: the digit that it begins, if it does.
    pub fn handle(
        &mut self,
        now: Timestamp,
        from: SocketAddr,
        bytes: &[u8],
    ) -> Result<Option<Digit>, Junk> {
        self.knows(from)?;
        if bytes.len() > PACKET_MAX {
            return Err(Junk::Malformed);
        }
        let opened = match &mut self.shield {
            Some(shield) => Some(shield.open(bytes)?),
            None => None,
        };
        let bytes = opened.as_ref().map_or(bytes, AsRef::as_ref);
        let packet = RtpPacket::parse(bytes).map_err(|_| Junk::Malformed)?;
        // Whatever it is, it comes from where we send to, or would.
        self.trial = Trial::Passed;
        let payload_type = packet.payload_type();
        let events = self.agreed.events;
        let events = events.filter(|events| events.payload_type == payload_type);
        let is_event = events.is_some();
        if !is_event && payload_type != self.agreed.payload_type {
            return Err(Junk::Payload);
        }
        self.remote = from;
        self.told = None;
        let ssrc = packet.ssrc();
        if self.heard.as_ref().is_none_or(|(heard, _)| *heard != ssrc) {
            self.uneven = self.uneven();
            self.heard = Some((ssrc, Reception::new(self.agreed.codec.clock_rate())));
            self.buffer = Buffer::default();
            self.events = Events::default();
        }
        if let Some((_, reception)) = &mut self.heard {
            reception.note(now, packet.sequence_number(), packet.timestamp());
        }
        if let Some(Format { clock_rate, .. }) = events {
            self.sends_events = true;
            self.buffer.put(packet.sequence_number(), &[]);
            if let Some(payload) = packet.payload().first_chunk() {
                self.told = Some(Told {
                    timestamp: packet.timestamp(),
                    payload: *payload,
                    clock_rate,
                });
            }
            return Ok(self.pressed_in(now, packet.timestamp(), packet.payload()));
        }
        self.buffer.put(packet.sequence_number(), packet.payload());
        Ok(None)
    }

    /// The digit that a packet of an event begins; one that comes too soon is told by its later packets.
    fn pressed_in(&mut self, now: Timestamp, timestamp: u32, payload: &[u8]) -> Option<Digit> {
        let is_soon = |before| now.since(before) < PRESS_MIN;
        if self.pressed.is_some_and(is_soon) {
            return None;
        }
        let digit = self.events.handle(timestamp, payload)?;
        self.pressed = Some(now);
        Some(digit)
    }

    /// What the peer says in the next 20 ms, and the digit that it makes certain.
    pub fn take(&mut self) -> (Option<Frame>, Option<Digit>) {
        let frame = self.buffer.take(&mut self.coder);
        if self.agreed.is_on_hold {
            return (None, None);
        }
        let searched = frame.as_ref().filter(|_| !self.sends_events);
        let digit = searched.and_then(|frame| self.ear.hear(frame));
        (frame, digit)
    }

    /// Appends the packet that sends this frame to `out`, and says where it goes; `None` if its trial is
    /// over.
    pub fn put(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Option<SocketAddr> {
        if self.agreed.is_on_hold || !self.trial.sends() {
            self.skip(1);
            return None;
        }
        self.payload.clear();
        self.coder.encode(frame, &mut self.payload);
        let begins = out.len();
        self.write(out);
        if let Some(shield) = &mut self.shield {
            shield.seal(out, begins);
        }
        self.sending.packets = self.sending.packets.wrapping_add(1);
        let length = u32::try_from(self.payload.len()).unwrap_or_default();
        self.sending.bytes = self.sending.bytes.wrapping_add(length);
        self.sequence = self.sequence.wrapping_add(1);
        self.skip(1);
        Some(self.remote)
    }

    /// Whether the trial of its peer has ended since this was last asked.
    pub fn take_end_of_trial(&mut self) -> bool {
        self.trial.take_end()
    }

    /// Whether what is sent gets there, as far as can be known: its peer signals from there, or was heard.
    pub fn is_confirmed(&self) -> bool {
        self.trial == Trial::Passed
    }

    /// What the packet that was taken in last tells of an event.
    pub fn told(&self) -> Option<Told> {
        self.told
    }

    /// Appends the packet that passes on what somebody else tells of an event, and says where it goes;
    /// `None` if the peer takes no events.
    pub fn pass(&mut self, told: Told, out: &mut Vec<u8>) -> Option<SocketAddr> {
        let format = self.agreed.events?;
        if self.agreed.is_on_hold || !self.trial.sends() {
            return None;
        }
        let clock = self.sending.timestamp;
        let passed = self.passing.pass(told, format.clock_rate, clock);
        let builder = RtpPacketBuilder::<&[u8], &[u8]>::new()
            .payload_type(format.payload_type)
            .marker_bit(passed.is_first)
            .sequence_number(self.sequence)
            .timestamp(passed.timestamp)
            .ssrc(self.sending.ssrc)
            .payload(&passed.payload);
        let begins = out.len();
        builder.write_into_vec(out).ok()?;
        if let Some(shield) = &mut self.shield {
            shield.seal(out, begins);
        }
        self.sending.packets = self.sending.packets.wrapping_add(1);
        self.sending.bytes = self.sending.bytes.wrapping_add(4);
        self.sequence = self.sequence.wrapping_add(1);
        Some(self.remote)
    }

    /// Lets so many times 20 ms pass without a packet.
    pub fn skip(&mut self, frames: u32) {
        // 50 frames a second.
        let each = self.agreed.codec.clock_rate() / 50;
        let passed = each.wrapping_mul(frames);
        self.sending.timestamp = self.sending.timestamp.wrapping_add(passed);
    }

    /// Takes in what came to the port of reports.
    pub fn handle_report(&mut self, from: SocketAddr, bytes: &[u8]) -> Result<(), Junk> {
        self.knows(from)?;
        if bytes.len() > PACKET_MAX {
            return Err(Junk::Malformed);
        }
        let is_report = match &mut self.shield {
            Some(shield) => report::is_report(shield.open_report(bytes)?.as_ref()),
            None => report::is_report(bytes),
        };
        if is_report {
            if from.ip() == self.remote.ip() {
                self.trial = Trial::Passed;
            }
            Ok(())
        } else {
            Err(Junk::Malformed)
        }
    }

    /// Appends a report to `out`, and says where it goes: the port after the one for audio; `None` if its
    /// trial is over.
    pub fn report(&mut self, now: Timestamp, out: &mut Vec<u8>) -> Option<SocketAddr> {
        if self.remote.ip().is_unspecified() || !self.trial.sends() {
            return None;
        }
        let heard = self.heard.as_mut();
        let heard = heard.map(|(ssrc, reception)| (*ssrc, reception));
        let begins = out.len();
        report::write(now, &self.sending, heard, out);
        if let Some(shield) = &mut self.shield {
            shield.seal_report(out, begins);
        }
        let mut to = self.remote;
        to.set_port(to.port().saturating_add(1));
        Some(to)
    }

    /// The address that only its description names, if that is so.
    pub fn tried_at(&self) -> Option<IpAddr> {
        (self.agreed.trust == Trust::OnTrial).then(|| self.agreed.remote.ip())
    }

    /// Where it is sent to.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// How its packets came.
    pub fn reception(&self) -> Reception {
        let none = || Reception::new(self.agreed.codec.clock_rate());
        self.heard.map_or_else(none, |(_, reception)| reception)
    }

    /// How many packets came too late or twice, and how many gaps were heard.
    pub fn uneven(&self) -> (u64, u64) {
        let (late, gaps) = self.buffer.lost();
        (self.uneven.0 + late, self.uneven.1 + gaps)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let builder = RtpPacketBuilder::<&[u8], &[u8]>::new()
            .payload_type(self.agreed.payload_type)
            .marker_bit(self.sending.packets == 0)
            .sequence_number(self.sequence)
            .timestamp(self.sending.timestamp)
            .ssrc(self.sending.ssrc)
            .payload(self.payload.as_slice());
        let written = builder.write_into_vec(out);
        debug_assert!(written.is_ok(), "a payload of 20 ms fits");
    }

    fn knows(&self, from: SocketAddr) -> Result<(), Junk> {
        let Agreed {
            remote, signalling, ..
        } = self.agreed;
        if is_peer(remote.ip(), signalling, from.ip()) {
            Ok(())
        } else {
            Err(Junk::Source)
        }
    }
}

/// Whether packets from there are those of a peer that describes itself so and signals from there.
pub(super) fn is_peer(described: IpAddr, signalling: IpAddr, from: IpAddr) -> bool {
    // Phones whose sockets have no address send from 127.0.0.1, wherever on loopback they are.
    let is_here = described.is_loopback() && from.is_loopback();
    [described, signalling].contains(&from) || is_here
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::FRAME;
    use crate::media::tone::{self, Part};

    const NOW: Timestamp = Timestamp::START;

    fn agreed() -> Agreed {
        Agreed {
            remote: "192.0.2.1:4000".parse().expect("an address"),
            signalling: "198.51.100.1".parse().expect("an address"),
            codec: Codec::Pcmu,
            payload_type: 0,
            events: Some(Format::at_8000(101)),
            is_on_hold: false,
            keys: None,
            trust: Trust::OnTrial,
        }
    }

    fn stream() -> Stream {
        Stream::new(agreed(), &mut Rng::from_number(7))
    }

    fn at(address: &str) -> SocketAddr {
        address.parse().expect("an address")
    }

    fn packet(payload_type: u8, sequence: u16, payload: &[u8]) -> Vec<u8> {
        RtpPacketBuilder::<&[u8], &[u8]>::new()
            .payload_type(payload_type)
            .sequence_number(sequence)
            .timestamp(u32::from(sequence) * 160)
            .ssrc(9)
            .payload(payload)
            .write_vec()
            .expect("a packet")
    }

    #[test]
    fn what_one_stream_sends_the_other_hears() {
        let (mut ours, mut theirs) = (stream(), stream());
        let mut bytes = Vec::new();
        for value in [1000_i16, 2000] {
            bytes.clear();
            let to = ours.put(&[value; FRAME], &mut bytes).expect("sent");
            assert_eq!(to, at("192.0.2.1:4000"));
            assert_eq!(theirs.handle(NOW, to, &bytes), Ok(None));
        }
        for value in [1000_i16, 2000] {
            let heard = theirs.take().0.expect("a frame")[3];
            assert!((heard - value).abs() < 100, "{heard}");
        }
    }

    #[test]
    fn the_first_packet_is_marked_and_the_clock_runs_on_through_pauses() {
        let mut stream = stream();
        let mut bytes = Vec::new();
        let mut sent = Vec::new();
        for is_pause in [false, true, false] {
            if is_pause {
                stream.skip(1);
                continue;
            }
            bytes.clear();
            stream.put(&[0; FRAME], &mut bytes);
            let packet = RtpPacket::parse(&bytes).expect("RTP");
            sent.push((
                packet.marker_bit(),
                packet.sequence_number(),
                packet.timestamp(),
            ));
        }
        let [(true, first, began), (false, second, then)] = sent[..] else {
            panic!("one marked packet and one that is not: {sent:?}");
        };
        assert_eq!(second, first.wrapping_add(1));
        assert_eq!(then, began.wrapping_add(320));
    }

    /// RFC 7587 §4.1 and RFC 3551 §4.5.2: neither clock is that of the samples.
    #[test]
    fn the_clock_of_packets_is_that_of_their_codec() {
        for (codec, ticks) in [(Codec::Opus, 960), (Codec::G722, 160), (Codec::Pcma, 160)] {
            let agreed = Agreed { codec, ..agreed() };
            let mut stream = Stream::new(agreed, &mut Rng::from_number(7));
            let [first, second] = [0; 2].map(|_| {
                let mut bytes = Vec::new();
                stream.put(&[0; FRAME], &mut bytes);
                RtpPacket::parse(&bytes).expect("RTP").timestamp()
            });
            assert_eq!(second.wrapping_sub(first), ticks, "{codec:?}");
        }
    }

    #[test]
    fn a_stranger_moves_nothing() {
        let mut stream = stream();
        let audio = packet(0, 1, &[0; FRAME]);
        let verdict = stream.handle(NOW, at("203.0.113.5:4000"), &audio);
        assert_eq!(verdict, Err(Junk::Source));
        assert_eq!(stream.remote(), at("192.0.2.1:4000"));
        assert_eq!(stream.take().0, None);
    }

    #[test]
    fn whoever_is_on_this_machine_may_send_from_any_address_of_it() {
        let here = Agreed {
            remote: at("127.0.0.9:4000"),
            signalling: at("127.0.0.9:5060").ip(),
            ..agreed()
        };
        let mut stream = Stream::new(here, &mut Rng::from_number(7));
        let audio = packet(0, 1, &[0; FRAME]);
        assert_eq!(stream.handle(NOW, at("127.0.0.1:4000"), &audio), Ok(None));
        let stranger = stream.handle(NOW, at("192.0.2.1:4000"), &audio);
        assert_eq!(stranger, Err(Junk::Source));
    }

    #[test]
    fn a_peer_behind_a_nat_is_sent_to_where_its_packets_come_from() {
        let mut stream = stream();
        let audio = packet(0, 1, &[0; FRAME]);
        assert_eq!(
            stream.handle(NOW, at("198.51.100.1:61000"), &audio),
            Ok(None)
        );
        assert_eq!(stream.remote(), at("198.51.100.1:61000"));
    }

    #[test]
    fn what_was_not_agreed_on_is_dropped() {
        let mut stream = stream();
        let peer = at("192.0.2.1:4000");
        let long = packet(0, 1, &[0; 2000]);
        let other = packet(18, 1, &[0; 20]);
        for (bytes, why) in [
            (&b"\x80\x00"[..], Junk::Malformed),
            (b"", Junk::Malformed),
            (
                b"\x40\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00",
                Junk::Malformed,
            ),
            (&long, Junk::Malformed),
            (&other, Junk::Payload),
        ] {
            assert_eq!(stream.handle(NOW, peer, bytes), Err(why));
        }
        assert_eq!(stream.remote(), peer);
    }

    #[test]
    fn a_digit_is_told_once_by_its_event_though_it_sounds_as_well() {
        let mut stream = stream();
        let peer = at("192.0.2.1:4000");
        let told =
            |stream: &mut Stream, bytes: &[u8]| stream.handle(NOW, peer, bytes).expect("taken");
        assert_eq!(
            told(&mut stream, &packet(101, 1, &[5, 10, 0, 160])),
            Some(Digit::D5)
        );
        assert_eq!(told(&mut stream, &packet(101, 1, &[5, 0x8a, 3, 32])), None);
        let lasts = Duration::from_millis(200);
        let parts = [Part::digit(Digit::D5, lasts)];
        let clip = tone::render(&parts, 8000);
        let mut sequence = 2;
        while let Some(frame) = clip.frame(usize::from(sequence) - 2) {
            let mut bytes = Vec::new();
            Coder::new(Codec::Pcmu).encode(&frame, &mut bytes);
            assert_eq!(told(&mut stream, &packet(0, sequence, &bytes)), None);
            assert_eq!(stream.take().1, None);
            sequence += 1;
        }
    }

    /// The story: a caller whose packets began a thousand digits a second had as many attempts to join a call
    /// written down, and the records of other calls were lost over it.
    #[test]
    fn digits_are_told_no_faster_than_keys_are_pressed() {
        let mut stream = stream();
        let peer = at("192.0.2.1:4000");
        let mut told = Vec::new();
        for ms in 0..1000_u16 {
            let now = NOW + Duration::from_millis(ms.into());
            let mut bytes = packet(101, ms, &[3, 10, 0, 160]);
            // A source of its own each time.
            bytes[8..10].copy_from_slice(&ms.to_be_bytes());
            told.extend(stream.handle(now, peer, &bytes).expect("taken"));
        }
        assert_eq!(told, [Digit::D3; 13]);
    }

    #[test]
    fn a_digit_that_comes_too_soon_is_told_by_its_later_packets() {
        let mut stream = stream();
        let peer = at("192.0.2.1:4000");
        let mut told = Vec::new();
        for (ms, sequence, digit) in [(0, 1, 5), (70, 2, 1), (90, 2, 1), (110, 2, 1)] {
            let now = NOW + Duration::from_millis(ms);
            let bytes = packet(101, sequence, &[digit, 10, 0, 160]);
            told.extend(stream.handle(now, peer, &bytes).expect("taken"));
        }
        assert_eq!(told, [Digit::D5, Digit::D1]);
    }

    #[test]
    fn another_source_at_the_same_address_begins_anew() {
        let mut stream = stream();
        let peer = at("192.0.2.1:4000");
        for sequence in [1, 2] {
            stream
                .handle(NOW, peer, &packet(0, sequence, &[0; FRAME]))
                .expect("taken");
        }
        let mut other = packet(0, 60_000, &[0xff; FRAME]);
        other[11] = 10;
        stream.handle(NOW, peer, &other).expect("taken");
        assert_eq!(stream.take().0, None);
    }

    /// How many of so many frames are sent.
    fn sent(stream: &mut Stream, frames: usize) -> usize {
        let mut bytes = Vec::new();
        let sent = (0..frames).filter(|_| stream.put(&[0; FRAME], &mut bytes).is_some());
        sent.count()
    }

    /// The story: one INVITE that named somebody else's address had 20 s of sound sent there.
    #[test]
    fn where_nothing_comes_from_is_sent_to_for_the_time_of_a_trial() {
        let mut stream = stream().on_trial(250);
        assert_eq!(sent(&mut stream, 1000), 250);
        assert!(stream.take_end_of_trial() && !stream.take_end_of_trial());
        let mut bytes = Vec::new();
        assert_eq!(stream.report(NOW, &mut bytes), None);
        let told = Told {
            timestamp: 0,
            payload: [5, 10, 0, 160],
            clock_rate: 8000,
        };
        assert_eq!(stream.pass(told, &mut bytes), None);
        assert_eq!(bytes, b"");
    }

    #[test]
    fn a_packet_from_there_ends_the_trial_for_good() {
        for (from, bytes) in [
            ("192.0.2.1:9", packet(0, 1, &[0; FRAME])),
            ("198.51.100.1:9", packet(0, 1, &[0; FRAME])),
            // Silence (RFC 3389) that was not agreed on.
            ("192.0.2.1:9", packet(13, 1, &[0; 1])),
        ] {
            let mut stream = stream().on_trial(2);
            assert_eq!(sent(&mut stream, 5), 2);
            let _junk = stream.handle(NOW, at(from), &bytes);
            assert_eq!(sent(&mut stream, 1000), 1000, "{from}");
        }
    }

    #[test]
    fn what_comes_from_elsewhere_or_is_no_rtp_ends_no_trial() {
        let mut stream = stream().on_trial(2);
        let audio = packet(0, 1, &[0; FRAME]);
        let _junk = stream.handle(NOW, at("203.0.113.5:4000"), &audio);
        let _junk = stream.handle(NOW, at("192.0.2.1:4000"), b"\x80");
        assert_eq!(sent(&mut stream, 5), 2);
    }

    /// Whoever signals could vouch for whom he has described.
    #[test]
    fn a_report_ends_the_trial_of_where_it_comes_from_and_of_nobody_else() {
        let mut theirs = Stream::new(agreed(), &mut Rng::from_number(8));
        let mut report = Vec::new();
        theirs.report(NOW, &mut report).expect("a report");
        let mut stream = stream().on_trial(2);
        let taken = stream.handle_report(at("198.51.100.1:4001"), &report);
        assert_eq!((taken, sent(&mut stream, 5)), (Ok(()), 2));
        let taken = stream.handle_report(at("192.0.2.1:4001"), &report);
        assert_eq!((taken, sent(&mut stream, 5)), (Ok(()), 5));
    }

    #[test]
    fn who_signals_from_where_he_listens_may_be_silent() {
        let agreed = Agreed {
            trust: Trust::Full,
            ..agreed()
        };
        let mut stream = Stream::new(agreed, &mut Rng::from_number(7)).on_trial(2);
        assert_eq!(sent(&mut stream, 1000), 1000);
    }

    #[test]
    fn an_event_goes_on_by_the_clock_of_who_is_told() {
        let events = Some(Format {
            payload_type: 101,
            clock_rate: 48_000,
        });
        let codec = Codec::Opus;
        let agreed = Agreed {
            codec,
            events,
            ..agreed()
        };
        let mut theirs = Stream::new(agreed, &mut Rng::from_number(8));
        let [high, low] = 4800_u16.to_be_bytes();
        let pressed = packet(101, 1, &[5, 0x8a, high, low]);
        theirs
            .handle(NOW, at("192.0.2.1:4000"), &pressed)
            .expect("taken");
        let mut bytes = Vec::new();
        let told = theirs.told().expect("an event");
        stream().pass(told, &mut bytes).expect("passed on");
        let [high, low] = 800_u16.to_be_bytes();
        let packet = RtpPacket::parse(&bytes).expect("RTP");
        assert_eq!(packet.payload(), [5, 0x8a, high, low]);
    }

    /// RFC 3264 §8.4: reports go on, but to nowhere.
    #[test]
    fn who_is_on_hold_is_sent_nothing_and_heard_by_nobody() {
        for (remote, has_reports) in [("192.0.2.1:4000", true), ("0.0.0.0:4000", false)] {
            let agreed = Agreed {
                remote: at(remote),
                is_on_hold: true,
                ..agreed()
            };
            let mut stream = Stream::new(agreed, &mut Rng::from_number(7));
            assert_eq!(stream.report(NOW, &mut Vec::new()).is_some(), has_reports);
            assert_eq!(sent(&mut stream, 10), 0);
            let music = packet(0, 1, &[0; FRAME]);
            let from = at("198.51.100.1:4000");
            assert_eq!(stream.handle(NOW, from, &music), Ok(None));
            assert_eq!(stream.take(), (None, None));
        }
    }
}
