//! One conversation that we take part in: a party who hears a programme, or three who hear each other.
//!
//! Spec: RULES R16 (what is played before the answer), R17 (intrusion).
//!
//! ```text
//!   Programme ── a clip after the other, or one for ever; digits are told
//!   Mix       ── warning ─► open: each hears the others; the warning again every so often
//!                one of the three leaves ─► the other two hear each other
//! ```
//!
//! - What the first two press, each tells the other as an event (RFC 4733); an intruder has no keys.
//! - Nobody hears an intruder, nor does he hear anybody, before all have been warned (T29), and that begins
//!   when packets of ours get to all, as far as can be known: a phone behind a NAT has to be heard first.
//! - Every 20 ms of the room's own time each party is sent one packet, or none if there is nothing.

use std::net::SocketAddr;
use std::time::Duration;

use smallvec::SmallVec;

use super::clip::Clip;
use super::codec::{Frame, SILENCE};
use super::digit::Digit;
use super::event::Told;
use super::power::energy_of;
use super::stream::{Junk, Stream};
use crate::time::Timestamp;

/// How long a frame is.
pub const TICK: Duration = Duration::from_millis(20);
/// A report every 5 s (RFC 3550 §6.2).
const REPORT_TICKS: u32 = 250;
/// The shortest warning: ten frames, 200 ms.
const WARNING_MIN: usize = 10;
/// A frame whose samples are louder than this, on the average, can be heard: −30 dB of full scale.
const AUDIBLE: f32 = 1000.0;

/// What is heard in a room.
#[derive(Debug)]
pub enum Score {
    /// What is played to the one party.
    Programme(Programme),
    /// Three parties hear each other.
    Mix(Mix),
}

/// Clips that are played.
#[derive(Debug)]
pub struct Programme {
    clip: Clip,
    at: usize,
    repeats: Repeats,
}

/// What follows the end of a programme.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Repeats {
    /// The same once more.
    Forever,
    /// Silence.
    Never,
}

impl Programme {
    /// This clip, from the beginning.
    pub fn new(clip: Clip, repeats: Repeats) -> Self {
        Self {
            clip,
            at: 0,
            repeats,
        }
    }

    /// The next frame; the end is told once.
    fn next(&mut self) -> (Option<Frame>, Option<News>) {
        let mut frame = self.clip.frame(self.at);
        if frame.is_none() && self.repeats == Repeats::Forever {
            self.at = 0;
            frame = self.clip.frame(0);
        }
        self.at = self.at.saturating_add(1);
        let is_end = frame.is_none() && self.at == self.clip.frames() + 1;
        (frame, is_end.then_some(News::PlayedOut))
    }
}

/// Three parties, the last of whom intrudes on the other two.
#[derive(Debug)]
pub struct Mix {
    warning: Clip,
    /// Frames from the beginning of one warning to that of the next; `None` if nobody is warned.
    every: Option<usize>,
    at: usize,
    is_open: bool,
    watch: Option<Watch>,
}

/// Whoever came last, who may have gone without a word.
#[derive(Clone, Copy, Debug)]
struct Watch {
    /// How many frames without a packet of his are too many.
    patience: u64,
    /// How many there were.
    silent: u64,
}

impl Watch {
    /// Lets a frame pass; whether it was the one too many.
    fn tick(&mut self) -> bool {
        self.silent = self.silent.saturating_add(1);
        self.silent == self.patience
    }
}

/// Why nobody may intrude.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the warning is shorter than 200 ms or cannot be heard")]
pub struct NoWarning;

impl Mix {
    /// A mix that begins with this warning, and repeats it.
    pub fn new(warning: Clip, every: Duration) -> Result<Self, NoWarning> {
        let frames = (0..warning.frames()).filter_map(|index| warning.frame(index));
        let audible = frames.filter(is_audible).count();
        if audible < WARNING_MIN {
            return Err(NoWarning);
        }
        let every = every.as_millis() / TICK.as_millis();
        let every = usize::try_from(every)
            .unwrap_or(usize::MAX)
            // The mix opens in between.
            .max(warning.frames() + 1);
        Ok(Self {
            warning,
            every: Some(every),
            at: 0,
            is_open: false,
            watch: None,
        })
    }

    /// The same, whose intruder is gone when nothing has come from him for so long.
    #[must_use]
    pub fn watched(self, patience: Duration) -> Self {
        let frames = patience.as_millis() / TICK.as_millis();
        let patience = u64::try_from(frames).unwrap_or(u64::MAX);
        Self {
            watch: Some(Watch {
                patience,
                silent: 0,
            }),
            ..self
        }
    }

    /// A mix of which nobody is warned: the operator has taken that on himself.
    pub fn unheard() -> Self {
        Self {
            warning: Clip::new(Vec::new()),
            every: None,
            at: 0,
            is_open: true,
            watch: None,
        }
    }

    /// What all hear besides each other; nothing before it is heard by all.
    fn next(&mut self, reaches_all: bool) -> Option<Frame> {
        let every = self.every?;
        if !reaches_all && self.at == 0 && !self.is_open {
            return None;
        }
        let frame = self.warning.frame(self.at);
        self.is_open |= frame.is_none();
        self.at = (self.at + 1) % every;
        frame
    }
}

fn is_audible(frame: &Frame) -> bool {
    energy_of(frame) > AUDIBLE * AUDIBLE * 160.0
}

/// What a room has to tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum News {
    /// A party pressed a key.
    Digit(Digit),
    /// The room is no more: the system gave no port for it, or a bug of ours has ended it.
    Failed,
    /// The programme has ended.
    PlayedOut,
    /// The ports that were reserved are ours.
    Reserved,
    /// Nothing has come for too long from whoever joined the other two.
    Silent,
    /// Nothing has come from where a party is sent to, and nothing more is sent there until it does.
    Unconfirmed,
    /// The ports that were to be reserved are not to be had; whoever is in the room stays.
    Unreserved,
}

/// A party of a room.
#[derive(Debug)]
pub struct Seat {
    /// The port of ours that it sends to.
    pub port: u16,
    /// Its stream.
    pub stream: Stream,
}

impl Seat {
    fn has(&self, port: u16) -> bool {
        pair(self.port).contains(&port)
    }
}

/// The port of audio and that of the reports on it (RFC 3550 §11).
pub fn pair(port: u16) -> [u16; 2] {
    [port, port.saturating_add(1)]
}

/// Packets that are to leave, written one after the other.
#[derive(Debug, Default)]
pub struct Sends {
    bytes: Vec<u8>,
    each: Vec<Send>,
}

#[derive(Debug)]
struct Send {
    port: u16,
    to: SocketAddr,
    ends: usize,
}

impl Sends {
    /// Port of ours, destination and packet, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u16, SocketAddr, &[u8])> {
        let begins = std::iter::once(0).chain(self.each.iter().map(|send| send.ends));
        self.each.iter().zip(begins).map(|(send, begins)| {
            let packet = self.bytes.get(begins..send.ends).unwrap_or_default();
            (send.port, send.to, packet)
        })
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.each.clear();
    }

    /// A packet that goes on as it came.
    pub(super) fn pass(&mut self, port: u16, to: SocketAddr, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let ends = self.bytes.len();
        self.each.push(Send { port, to, ends });
    }

    fn put(&mut self, seat: &mut Seat, frame: &Frame) {
        if let Some(to) = seat.stream.put(frame, &mut self.bytes) {
            let (port, ends) = (seat.port, self.bytes.len());
            self.each.push(Send { port, to, ends });
        }
    }

    fn put_event(&mut self, seat: &mut Seat, told: Told) {
        if let Some(to) = seat.stream.pass(told, &mut self.bytes) {
            let (port, ends) = (seat.port, self.bytes.len());
            self.each.push(Send { port, to, ends });
        }
    }

    fn put_report(&mut self, now: Timestamp, seat: &mut Seat) {
        if let Some(to) = seat.stream.report(now, &mut self.bytes) {
            let [_, port] = pair(seat.port);
            let ends = self.bytes.len();
            self.each.push(Send { port, to, ends });
        }
    }
}

/// A room.
#[derive(Debug)]
pub struct Room {
    seats: SmallVec<[Seat; 1]>,
    score: Score,
    ticks: u32,
}

impl Room {
    /// A room in which one party hears a programme.
    pub fn for_one(seat: Seat, programme: Programme) -> Self {
        Self {
            seats: SmallVec::from_iter([seat]),
            score: Score::Programme(programme),
            ticks: 0,
        }
    }

    /// Who is in it joins these two.
    pub fn join(&mut self, others: [Seat; 2], mix: Mix) {
        let intruder = std::mem::take(&mut self.seats);
        self.seats.extend(others);
        self.seats.extend(intruder);
        self.score = Score::Mix(mix);
    }

    /// Who has this port leaves the other two, who hear each other and nothing else; whom nobody has been
    /// joined to leaves nobody.
    pub fn part(&mut self, port: u16) -> Option<Seat> {
        let index = self.seats.iter().position(|seat| seat.port == port);
        let Score::Mix(mix) = &mut self.score else {
            return index.map(|index| self.seats.remove(index));
        };
        let index = index.filter(|_| self.seats.len() > 2)?;
        let is_last = index + 1 == self.seats.len();
        let seat = self.seats.remove(index);
        // Whoever came last is still watched, if it is not he who leaves.
        let watch = mix.watch.filter(|_| !is_last);
        *mix = Mix {
            watch,
            ..Mix::unheard()
        };
        Some(seat)
    }

    /// Who has this port is there from now on, or sends in another way; his seat before, or this one if he
    /// has none.
    pub fn move_to(&mut self, seat: Seat) -> Option<Seat> {
        match self.seats.iter_mut().find(|each| each.port == seat.port) {
            Some(each) => Some(std::mem::replace(each, seat)),
            None => Some(seat),
        }
    }

    /// What is heard from here on.
    pub fn play(&mut self, programme: Programme) {
        self.score = Score::Programme(programme);
    }

    /// The ports of its parties.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.seats.iter().flat_map(|seat| pair(seat.port))
    }

    /// The streams of its parties.
    pub fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.seats.iter().map(|seat| &seat.stream)
    }

    /// Takes in a packet that came to a port of it; what goes on of it is added to `sends`.
    pub fn handle(
        &mut self,
        now: Timestamp,
        (port, from): (u16, SocketAddr),
        bytes: &[u8],
        sends: &mut Sends,
    ) -> Result<Option<News>, Junk> {
        let Some(place) = self.seats.iter().position(|seat| seat.has(port)) else {
            return Ok(None);
        };
        let is_last = place + 1 == self.seats.len();
        let Some(seat) = self.seats.get_mut(place) else {
            return Ok(None);
        };
        let (digit, told) = if seat.port == port {
            (seat.stream.handle(now, from, bytes)?, seat.stream.told())
        } else {
            seat.stream.handle_report(from, bytes)?;
            (None, None)
        };
        if let Score::Mix(mix) = &mut self.score {
            if let Some(watch) = mix.watch.as_mut().filter(|_| is_last) {
                watch.silent = 0;
            }
            let other = match place {
                0 => Some(1),
                1 => Some(0),
                _ => None,
            };
            let other = other.and_then(|other| self.seats.get_mut(other));
            if let Some((other, told)) = other.zip(told) {
                sends.put_event(other, told);
            }
        }
        Ok(digit.map(News::Digit))
    }

    /// Lets so many times 20 ms pass in which nothing is heard.
    pub fn skip(&mut self, ticks: u32) {
        for seat in &mut self.seats {
            seat.stream.skip(ticks);
        }
    }

    /// Lets 20 ms pass.
    pub fn tick(&mut self, now: Timestamp, sends: &mut Sends, news: &mut impl FnMut(News)) {
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(REPORT_TICKS) {
            self.seats
                .iter_mut()
                .for_each(|seat| sends.put_report(now, seat));
        }
        if self
            .seats
            .iter_mut()
            .any(|seat| seat.stream.take_end_of_trial())
        {
            news(News::Unconfirmed);
        }
        let heard: SmallVec<[Option<Frame>; 3]> = self
            .seats
            .iter_mut()
            .map(|seat| {
                let (frame, digit) = seat.stream.take();
                digit.map(News::Digit).into_iter().for_each(&mut *news);
                frame
            })
            .collect();
        match &mut self.score {
            Score::Programme(programme) => {
                let (frame, end) = programme.next();
                for seat in &mut self.seats {
                    match &frame {
                        Some(frame) => sends.put(seat, frame),
                        None => seat.stream.skip(1),
                    }
                }
                end.into_iter().for_each(news);
            }
            Score::Mix(mix) => {
                if mix.watch.as_mut().is_some_and(Watch::tick) {
                    news(News::Silent);
                }
                let reaches_all = self.seats.iter().all(|seat| seat.stream.is_confirmed());
                let tone = mix.next(reaches_all);
                let outsider = if mix.is_open {
                    None
                } else {
                    self.seats.len().checked_sub(1)
                };
                for (index, seat) in self.seats.iter_mut().enumerate() {
                    let others = heard.iter().enumerate().filter(|(other, _)| {
                        *other != index && ![Some(index), Some(*other)].contains(&outsider)
                    });
                    let others = others.filter_map(|(_, frame)| frame.as_ref());
                    let all: SmallVec<[&Frame; 3]> = others.chain(&tone).collect();
                    sends.put(seat, &sum_of(&all));
                }
            }
        }
    }
}

/// What is heard of several at once: too loud is cut off, it does not wrap.
fn sum_of(frames: &[&Frame]) -> Frame {
    frames.iter().fold(SILENCE, |mut sum, frame| {
        let both = sum.iter_mut().zip(*frame);
        both.for_each(|(sum, sample)| *sum = sum.saturating_add(*sample));
        sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::{Codec, Coder, FRAME};
    use crate::media::event::Format;
    use crate::media::power::Listener;
    use crate::media::stream::Agreed;
    use crate::media::tone::{self, Part};
    use crate::media::trial::Trust;
    use crate::random::Rng;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(host: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host], 4000))
    }

    /// What the parties of a mix speak.
    const CODECS: [Codec; 3] = [Codec::Pcma, Codec::G722, Codec::Pcmu];

    fn agreed(remote: SocketAddr, codec: Codec) -> Agreed {
        Agreed {
            remote,
            signalling: remote.ip(),
            codec,
            payload_type: 8,
            events: None,
            is_on_hold: false,
            keys: None,
            trust: Trust::Full,
        }
    }

    fn stream(remote: SocketAddr, codec: Codec) -> Stream {
        let seed = u64::from(remote.port());
        Stream::new(agreed(remote, codec), &mut Rng::from_number(seed))
    }

    /// A party: what it says, and what it has heard.
    struct Party {
        stream: Stream,
        coder: Coder,
        says: Clip,
        hears: Vec<i16>,
    }

    impl Party {
        fn new(hz: u16, codec: Codec) -> Self {
            let says = tone::render(&[Part::sine(hz, Duration::from_secs(20))], 4000);
            Self {
                stream: stream(at(9), codec),
                coder: Coder::new(codec),
                says,
                hears: Vec::new(),
            }
        }
    }

    /// Takes in a packet that nothing goes on of.
    fn take(room: &mut Room, at: (u16, SocketAddr), packet: &[u8]) -> Result<Option<News>, Junk> {
        let mut passed = Sends::default();
        let taken = room.handle(Timestamp::START, at, packet, &mut passed);
        assert_eq!(passed.iter().count(), 0);
        taken
    }

    /// Lets a room and its parties run for so many frames.
    fn run(room: &mut Room, parties: &mut [Party], frames: std::ops::Range<usize>) {
        for index in frames {
            for (host, party) in (0_u8..).zip(&mut *parties) {
                let mut packet = Vec::new();
                let frame = party.says.frame(index).expect("long enough");
                party.stream.put(&frame, &mut packet).expect("sent");
                let port = u16::from(host) * 2;
                take(room, (port, at(host)), &packet).expect("taken");
            }
            let mut sends = Sends::default();
            room.tick(Timestamp::START, &mut sends, &mut |_| ());
            for (port, _, packet) in sends.iter() {
                let party = &mut parties[usize::from(port / 2)];
                let payload = rtp_types::RtpPacket::parse(packet).expect("RTP");
                party.coder.decode(payload.payload(), &mut party.hears);
            }
        }
    }

    fn mixed() -> (Room, [Party; 3]) {
        let warning = tone::render(&[Part::sine(1400, ms(400))], 6000);
        let mix = Mix::new(warning, Duration::from_secs(2)).expect("it can be heard");
        let seats = [0_u8, 1, 2].map(|host| Seat {
            port: u16::from(host) * 2,
            stream: stream(at(host), CODECS[usize::from(host)]),
        });
        let [b, c, a] = seats;
        let music = Programme::new(Clip::new(vec![0; 160]), Repeats::Forever);
        let mut room = Room::for_one(a, music);
        room.join([b, c], mix);
        let party = |place: usize| Party::new([500, 700, 1100][place], CODECS[place]);
        (room, [0, 1, 2].map(party))
    }

    fn share(samples: &[i16], hz: f32) -> f32 {
        Listener::new(hz).share_of(samples)
    }

    #[test]
    fn all_are_warned_before_anybody_hears_the_intruder_or_is_heard_by_him() {
        let (mut room, mut parties) = mixed();
        run(&mut room, &mut parties, 0..20);
        let [b, c, a] = &parties;
        for party in &parties {
            assert!(share(&party.hears, 1400.0) > 0.4, "a warning");
        }
        assert!(share(&b.hears, 1100.0) < 0.01 && share(&c.hears, 1100.0) < 0.01);
        assert!(share(&a.hears, 500.0) < 0.01 && share(&a.hears, 700.0) < 0.01);
        // The two go on talking meanwhile.
        assert!(share(&b.hears, 700.0) > 0.1 && share(&c.hears, 500.0) > 0.1);
    }

    #[test]
    fn then_each_hears_the_other_two_and_not_himself() {
        let (mut room, mut parties) = mixed();
        run(&mut room, &mut parties, 0..60);
        for (party, own, others) in [
            (&parties[0], 500.0, [700.0, 1100.0]),
            (&parties[1], 700.0, [500.0, 1100.0]),
            (&parties[2], 1100.0, [500.0, 700.0]),
        ] {
            let open = &party.hears[30 * FRAME..];
            assert!(others.iter().all(|hz| share(open, *hz) > 0.4));
            assert!(share(open, own) < 0.01 && share(open, 1400.0) < 0.01);
        }
    }

    /// The story: a phone behind a NAT that took 600 ms to send its first packet heard an intruder at once, and
    /// no warning for 15 s.
    #[test]
    fn nobody_is_warned_before_all_can_hear_it() {
        let (mut room, parties) = mixed();
        let behind_nat = Agreed {
            trust: Trust::OnTrial,
            ..agreed(at(0), CODECS[0])
        };
        let stream = Stream::new(behind_nat, &mut Rng::from_number(7));
        room.seats[0].stream = stream.on_trial(250);
        let [b, c, a] = parties;
        // Bob says nothing yet.
        let mut others = [Party::new(1, CODECS[0]), c, a];
        for index in 0..30 {
            for host in [1_u8, 2] {
                let party = &mut others[usize::from(host)];
                let mut packet = Vec::new();
                let frame = party.says.frame(index).expect("long enough");
                party.stream.put(&frame, &mut packet).expect("sent");
                take(&mut room, (u16::from(host) * 2, at(host)), &packet).expect("taken");
            }
            let mut sends = Sends::default();
            room.tick(Timestamp::START, &mut sends, &mut |_| ());
            assert!(matches!(&room.score, Score::Mix(mix) if !mix.is_open && mix.at == 0));
        }
        let [_, c, a] = others;
        let mut all = [b, c, a];
        run(&mut room, &mut all, 30..50);
        let [b, ..] = &all;
        assert!(share(&b.hears, 1400.0) > 0.4 && share(&b.hears, 1100.0) < 0.01);
        run(&mut room, &mut all, 50..90);
        let open = &all[0].hears[30 * FRAME..];
        assert!(share(open, 1100.0) > 0.4 && share(open, 1400.0) < 0.01);
    }

    #[test]
    fn the_warning_comes_again() {
        let (mut room, mut parties) = mixed();
        run(&mut room, &mut parties, 0..120);
        let again = &parties[0].hears[100 * FRAME..115 * FRAME];
        assert!(share(again, 1400.0) > 0.3);
        assert!(share(again, 1100.0) > 0.1, "the intruder stays");
    }

    #[test]
    fn when_the_intruder_has_left_the_two_hear_each_other_and_no_warning() {
        let (mut room, mut parties) = mixed();
        run(&mut room, &mut parties, 0..60);
        assert_eq!(room.part(4).map(|seat| seat.port), Some(4));
        let [b, c, _] = &mut parties;
        let heard = b.hears.len();
        let mut two = [
            std::mem::replace(b, Party::new(1, Codec::Pcma)),
            std::mem::replace(c, Party::new(1, Codec::Pcma)),
        ];
        run(&mut room, &mut two, 60..200);
        let after = &two[0].hears[heard..];
        assert!(share(after, 700.0) > 0.9 && share(after, 1400.0) < 0.01);
        assert!(room.part(2).is_none(), "two are left");
    }

    fn with_events(host: u8) -> Stream {
        let agreed = Agreed {
            events: Some(Format::at_8000(90 + host)),
            ..agreed(at(host), Codec::Pcma)
        };
        Stream::new(agreed, &mut Rng::from_number(u64::from(host)))
    }

    /// What a room passes on of the packets of one event, which that party presses.
    fn passed(room: &mut Room, host: u8) -> Vec<(u16, u8, bool, u32, Vec<u8>)> {
        let packets = [[7, 10, 0, 160], [7, 10, 1, 64], [7, 0x8a, 1, 224]];
        let mut sends = Sends::default();
        for (number, payload) in (0..).zip(&packets) {
            let bytes = rtp_types::RtpPacketBuilder::<&[u8], &[u8]>::new()
                .payload_type(90 + host)
                .sequence_number(number)
                .timestamp(4000)
                .payload(payload)
                .write_vec()
                .expect("a packet");
            let port = u16::from(host) * 2;
            let now = Timestamp::START;
            room.handle(now, (port, at(host)), &bytes, &mut sends)
                .expect("taken");
        }
        let sent = sends.iter().map(|(port, to, packet)| {
            assert_eq!(to, at(u8::try_from(port / 2).expect("a host")));
            let rtp = rtp_types::RtpPacket::parse(packet).expect("RTP");
            let (payload_type, is_first) = (rtp.payload_type(), rtp.marker_bit());
            let payload = rtp.payload().to_vec();
            (port, payload_type, is_first, rtp.timestamp(), payload)
        });
        sent.collect()
    }

    /// A phone menu that one of the two has called goes on being used.
    #[test]
    fn what_one_of_the_two_presses_the_other_is_told_by_his_own_numbers() {
        let (mut room, _) = mixed();
        for (host, seat) in (0..).zip(&mut room.seats) {
            seat.stream = with_events(host);
        }
        for (from, to) in [(0, 1), (1, 0)] {
            let told = passed(&mut room, from);
            let [first, second, last] = &told[..] else {
                panic!("three packets: {told:?}");
            };
            let port = u16::from(to) * 2;
            assert_eq!((first.0, first.1, first.2), (port, 90 + to, true));
            assert_eq!((second.0, second.1, second.2), (port, 90 + to, false));
            assert_eq!((first.3, second.3), (last.3, last.3), "one event");
            assert_eq!(last.4, [7, 0x8a, 1, 224]);
        }
        assert!(passed(&mut room, 2).is_empty(), "the intruder has no keys");
    }

    #[test]
    fn who_takes_no_events_is_sent_none() {
        let (mut room, _) = mixed();
        room.seats[0].stream = with_events(0);
        assert!(passed(&mut room, 0).is_empty());
    }

    /// The ticks until a room tells that its intruder is gone, while the first two go on talking.
    fn silent_after(room: &mut Room, ticks: u32) -> Vec<u32> {
        let mut told = Vec::new();
        for tick in 1..=ticks {
            for host in [0_u8, 1] {
                let mut packet = Vec::new();
                stream(at(host), CODECS[usize::from(host)]).put(&SILENCE, &mut packet);
                let port = u16::from(host) * 2;
                take(room, (port, at(host)), &packet).expect("taken");
            }
            room.tick(Timestamp::START, &mut Sends::default(), &mut |news| {
                assert_eq!(news, News::Silent);
                told.push(tick);
            });
        }
        told
    }

    #[test]
    fn an_intruder_of_whom_nothing_comes_is_told_once_and_a_report_is_something() {
        let (mut room, _) = mixed();
        let Score::Mix(mix) = std::mem::replace(&mut room.score, Score::Mix(Mix::unheard())) else {
            panic!("a mix");
        };
        room.score = Score::Mix(mix.watched(Duration::from_secs(1)));
        assert!(silent_after(&mut room, 49).is_empty());
        let mut report = Vec::new();
        stream(at(2), CODECS[2]).report(Timestamp::START, &mut report);
        take(&mut room, (5, at(2)), &report).expect("taken");
        assert_eq!(silent_after(&mut room, 200), [50]);
    }

    #[test]
    fn nobody_is_watched_when_the_intruder_has_left() {
        let (mut room, _) = mixed();
        room.score = Score::Mix(Mix::unheard().watched(Duration::from_secs(1)));
        room.part(4).expect("he was there");
        assert!(silent_after(&mut room, 200).is_empty());
    }

    #[test]
    fn when_one_of_the_two_leaves_the_intruder_and_the_other_hear_each_other() {
        let (mut room, parties) = mixed();
        let [mut b, mut c, mut a] = parties;
        room.score = Score::Mix(Mix::unheard().watched(Duration::from_mins(1)));
        room.part(2).expect("he was there");
        for index in 0..60 {
            let mut said = Vec::new();
            for (host, party) in [(0_u8, &mut b), (1, &mut c), (2, &mut a)] {
                said.clear();
                let frame = party.says.frame(index).expect("long enough");
                party.stream.put(&frame, &mut said);
                let port = u16::from(host) * 2;
                take(&mut room, (port, at(host)), &said).expect("taken");
            }
            let mut sends = Sends::default();
            room.tick(Timestamp::START, &mut sends, &mut |_| ());
            for (port, _, packet) in sends.iter() {
                let party = if port == 0 { &mut b } else { &mut a };
                assert_ne!(port, 2);
                let packet = rtp_types::RtpPacket::parse(packet).expect("RTP");
                party.coder.decode(packet.payload(), &mut party.hears);
            }
        }
        assert!(share(&b.hears[10 * FRAME..], 1100.0) > 0.9);
        assert!(share(&a.hears[10 * FRAME..], 500.0) > 0.9);
        assert!(matches!(&room.score, Score::Mix(mix) if mix.watch.is_some()));
    }

    #[test]
    fn a_silent_mix_is_open_at_once() {
        let (mut room, mut parties) = mixed();
        let Score::Mix(mix) = &mut room.score else {
            panic!("a mix");
        };
        *mix = Mix::unheard();
        run(&mut room, &mut parties, 0..60);
        let heard = &parties[0].hears[10 * FRAME..];
        assert!(share(heard, 1100.0) > 0.4 && share(heard, 1400.0) < 0.01);
    }

    #[test]
    fn without_a_warning_that_can_be_heard_nobody_intrudes() {
        let every = Duration::from_secs(15);
        let short = tone::render(&[Part::sine(1400, ms(180))], 6000);
        let faint = tone::render(&[Part::sine(1400, ms(400))], 300);
        for clip in [short, faint, Clip::new(Vec::new())] {
            assert_eq!(Mix::new(clip, every).err(), Some(NoWarning));
        }
    }

    #[test]
    fn a_programme_is_played_once_or_for_ever_and_its_end_is_told() {
        for (repeats, packets, ends) in [(Repeats::Never, 5, 1), (Repeats::Forever, 12, 0)] {
            let clip = tone::render(&[Part::sine(425, ms(100))], 6000);
            let seat = Seat {
                port: 0,
                stream: stream(at(0), Codec::Pcma),
            };
            let mut room = Room::for_one(seat, Programme::new(clip, repeats));
            let (mut sends, mut news) = (Sends::default(), Vec::new());
            for _ in 0..12 {
                room.tick(Timestamp::START, &mut sends, &mut |it| news.push(it));
            }
            assert_eq!(sends.iter().count(), packets);
            assert_eq!(news.len(), ends);
        }
    }

    #[test]
    fn a_digit_is_told_whichever_way_it_comes() {
        let clip = tone::render(&[Part::sine(425, ms(1000))], 6000);
        let seat = Seat {
            port: 0,
            stream: stream(at(0), Codec::Pcma),
        };
        let mut room = Room::for_one(seat, Programme::new(clip, Repeats::Never));
        let mut party = Party::new(500, Codec::Pcma);
        party.says = tone::render(&[Part::digit(Digit::D5, ms(200))], 6000);
        let mut news = Vec::new();
        for index in 0..10 {
            let mut packet = Vec::new();
            party
                .stream
                .put(&party.says.frame(index).expect("long enough"), &mut packet);
            assert_eq!(take(&mut room, (0, at(0)), &packet), Ok(None));
            room.tick(Timestamp::START, &mut Sends::default(), &mut |it| {
                news.push(it);
            });
        }
        assert_eq!(news, [News::Digit(Digit::D5)]);
    }

    #[test]
    fn every_5_s_each_party_is_told_how_its_packets_came() {
        let clip = tone::render(&[Part::sine(425, ms(6000))], 6000);
        let seat = Seat {
            port: 20,
            stream: stream(at(0), Codec::Pcma),
        };
        let mut room = Room::for_one(seat, Programme::new(clip, Repeats::Never));
        let mut sends = Sends::default();
        for _ in 0..250 {
            room.tick(Timestamp::START, &mut sends, &mut |_| ());
        }
        let reports: Vec<_> = sends.iter().filter(|(port, _, _)| *port == 21).collect();
        let [(_, to, report)] = reports[..] else {
            panic!("one report: {reports:?}");
        };
        assert_eq!(to.port(), 4001);
        assert!(crate::media::report::is_report(report));
        let theirs = take(&mut room, (21, at(0)), report);
        assert_eq!(theirs, Ok(None));
        let junk = take(&mut room, (21, at(0)), b"no report");
        assert_eq!(junk, Err(Junk::Malformed));
    }

    #[test]
    fn three_loud_voices_do_not_wrap() {
        let loud = [30_000; FRAME];
        assert_eq!(sum_of(&[&loud, &loud])[0], i16::MAX);
    }

    /// The story: a recorded warning of 3 s, to be repeated every 2 s, and the three never heard each other.
    #[test]
    fn a_warning_that_is_longer_than_the_time_between_two_opens_the_mix_all_the_same() {
        let warning = tone::render(&[Part::sine(1400, ms(3000))], 6000);
        let frames = warning.frames();
        let mut mix = Mix::new(warning, Duration::from_secs(2)).expect("it can be heard");
        for _ in 0..frames {
            assert!(mix.next(true).is_some() && !mix.is_open);
        }
        assert!(mix.next(true).is_none() && mix.is_open);
        assert!(mix.next(true).is_some() && mix.is_open);
    }
}
