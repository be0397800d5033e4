//! All rooms of a process: which packet is for which, and whose 20 ms are over.
//!
//! Spec: DESIGN §4 (packets and deadlines in and out); threats T29.
//!
//! - A room's ticks are 20 ms apart on its own clock, which starts when it opens: rooms that open at
//!   different times do not all send at once.
//! - A tick that comes late is made up for, up to [`BEHIND_MAX`]; what is older is left out, and the clock
//!   of its packets runs on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use smallvec::SmallVec;

use super::anchor::{Anchor, Party};
use super::room::{Mix, News, Programme, Room, Seat, Sends, TICK, pair};
use super::stream::{Agreed, Junk, Stream};
use super::trial::{Trials, packets_in};
use crate::random::Rng;
use crate::time::Timestamp;

/// A room that is further behind goes on from now.
const BEHIND_MAX: Duration = Duration::from_millis(100);

/// Names a room; given by whoever opens it, once.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RoomId(pub u64);

/// What is to be done.
#[derive(Debug)]
pub enum Command {
    /// The two sides of a call are heard through us; the same again when one describes itself anew.
    Anchor {
        /// Its name.
        room: RoomId,
        /// Our ports, each for its party.
        ports: [u16; 2],
        /// Who they are.
        parties: [Party; 2],
        /// How long nothing may come from either: then [`News::Silent`] is told.
        patience: Duration,
    },
    /// A party hears a programme from here on.
    Play {
        /// In which room.
        room: RoomId,
        /// What.
        programme: Programme,
    },
    /// A room closes; its ports are free.
    Close {
        /// Which.
        room: RoomId,
    },
    /// A room opens in which a party hears a programme.
    Open {
        /// Its name.
        room: RoomId,
        /// Our port, and what was agreed on.
        party: (u16, Agreed),
        /// What is heard.
        programme: Programme,
    },
    /// The party of a room joins two others, on the ports that were reserved for them.
    Mix {
        /// Its name.
        room: RoomId,
        /// Our ports for them, and what was agreed on.
        parties: Box<[(u16, Agreed); 2]>,
        /// The warning.
        mix: Mix,
    },
    /// One of those who hear each other describes himself anew.
    Move {
        /// Its name.
        room: RoomId,
        /// Our port for him, and what was agreed on.
        party: (u16, Agreed),
    },
    /// One of the three leaves.
    Part {
        /// Its name.
        room: RoomId,
        /// Our port for him.
        port: u16,
    },
    /// A room is to have these ports as well; [`News::Reserved`] or [`News::Unreserved`] follows.
    Reserve {
        /// Its name.
        room: RoomId,
        /// The ports.
        ports: [u16; 2],
    },
}

impl Command {
    /// The room that is meant.
    pub fn room(&self) -> RoomId {
        match self {
            Self::Anchor { room, .. }
            | Self::Play { room, .. }
            | Self::Close { room }
            | Self::Open { room, .. }
            | Self::Mix { room, .. }
            | Self::Move { room, .. }
            | Self::Part { room, .. }
            | Self::Reserve { room, .. } => *room,
        }
    }

    /// What its room is told if it is not done; `None` if it gives something back, and has to be.
    pub fn refusal(&self) -> Option<News> {
        match self {
            Self::Anchor { .. }
            | Self::Play { .. }
            | Self::Open { .. }
            | Self::Mix { .. }
            | Self::Move { .. } => Some(News::Failed),
            Self::Reserve { .. } => Some(News::Unreserved),
            Self::Close { .. } | Self::Part { .. } => None,
        }
    }

    /// The ports that it needs.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        let needed: SmallVec<[u16; 2]> = match self {
            Self::Open { party, .. } => SmallVec::from_iter([party.0]),
            Self::Anchor { ports, .. } | Self::Reserve { ports, .. } => SmallVec::from_iter(*ports),
            Self::Play { .. }
            | Self::Close { .. }
            | Self::Mix { .. }
            | Self::Move { .. }
            | Self::Part { .. } => SmallVec::new(),
        };
        needed.into_iter().flat_map(pair)
    }
}

/// What was counted.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Packets that were taken in.
    pub received: u64,
    /// Packets that were not, by reason.
    pub dropped: BTreeMap<Junk, u64>,
    /// Ticks that were left out because all came too late.
    pub skipped: u64,
    /// Streams that were opened.
    pub streams: u64,
    /// What is known of streams that have ended.
    pub ended: Ended,
}

/// How the packets of streams came that have ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ended {
    /// How many there were.
    pub streams: u64,
    /// Packets that did not come.
    pub lost: u64,
    /// Packets that came too late, or twice.
    pub late: u64,
    /// Gaps that were heard.
    pub gaps: u64,
    /// The mean deviation of each, added up.
    pub jitter: Duration,
}

impl Ended {
    fn add(&mut self, stream: &Stream) {
        let reception = stream.reception();
        let (late, gaps) = stream.uneven();
        self.streams += 1;
        self.lost += u64::from(reception.lost());
        self.late += late;
        self.gaps += gaps;
        self.jitter += reception.jitter();
    }
}

/// A call that passes us.
#[derive(Debug)]
struct Anchored {
    anchor: Anchor,
    /// When something came of either side.
    heard: Timestamp,
    patience: Duration,
    /// When that is looked at.
    due: Timestamp,
}

/// The rooms.
#[derive(Debug)]
pub struct Desk {
    rooms: BTreeMap<RoomId, (Room, Timestamp)>,
    anchors: BTreeMap<RoomId, Anchored>,
    by_port: BTreeMap<u16, RoomId>,
    due: BTreeSet<(Timestamp, RoomId)>,
    rng: Rng,
    /// How many packets are sent to where nothing comes from.
    trial: u32,
    trials: Trials,
    counts: Counts,
    /// Whether what happens next panics.
    #[cfg(test)]
    pub(crate) fails: bool,
}

impl Desk {
    /// A desk without rooms; whoever is on trial is sent to for so long.
    pub fn new(rng: Rng, trial: Duration) -> Self {
        Self {
            rooms: BTreeMap::new(),
            anchors: BTreeMap::new(),
            by_port: BTreeMap::new(),
            due: BTreeSet::new(),
            rng,
            trial: packets_in(trial),
            trials: Trials::default(),
            counts: Counts::default(),
            #[cfg(test)]
            fails: false,
        }
    }

    /// A panic has left it in no state to go on with: it forgets all rooms, and says which.
    pub fn give_up(&mut self) -> Vec<RoomId> {
        let rooms = std::mem::take(&mut self.rooms);
        let anchors = std::mem::take(&mut self.anchors);
        self.by_port.clear();
        self.due.clear();
        self.trials.clear();
        let streams = rooms.values().map(|(room, _)| room.streams().count());
        let streams = streams.chain(anchors.values().map(|_| 2)).sum::<usize>();
        self.counts.ended.streams += u64::try_from(streams).unwrap_or(u64::MAX);
        rooms.into_keys().chain(anchors.into_keys()).collect()
    }

    /// Panics if a test wants so.
    #[cfg(test)]
    fn may_fail(&mut self) {
        assert!(!std::mem::take(&mut self.fails), "failpoint");
    }

    /// Does what is asked for.
    pub fn handle(&mut self, now: Timestamp, command: Command) {
        #[cfg(test)]
        self.may_fail();
        match command {
            Command::Anchor {
                room,
                ports,
                parties,
                patience,
            } => self.anchor((now, patience), room, ports, parties),
            Command::Play { room, programme } => {
                if let Some((room, _)) = self.rooms.get_mut(&room) {
                    room.play(programme);
                }
            }
            Command::Close { room } => self.close(room),
            Command::Open {
                room,
                party,
                programme,
            } => {
                let seat = self.seat(party);
                self.open(now, room, Room::for_one(seat, programme));
            }
            Command::Mix { room, parties, mix } => {
                let seats = parties.map(|party| self.seat(party));
                if let Some((joined, _)) = self.rooms.get_mut(&room) {
                    joined.join(seats, mix);
                    self.by_port.extend(joined.ports().map(|port| (port, room)));
                } else {
                    for seat in &seats {
                        self.end(&seat.stream);
                    }
                }
            }
            Command::Move { room, party } => self.move_party(room, party),
            Command::Part { room, port } => self.part(room, port),
            // The sockets are whoever's who owns them.
            Command::Reserve { .. } => {}
        }
    }

    /// Takes in a packet that came to a port of ours; what goes on of it is added to `sends`.
    pub fn handle_packet(
        &mut self,
        now: Timestamp,
        port: u16,
        from: SocketAddr,
        bytes: &[u8],
        sends: &mut Sends,
    ) -> Option<(RoomId, News)> {
        #[cfg(test)]
        self.may_fail();
        let id = *self.by_port.get(&port)?;
        if let Some(anchored) = self.anchors.get_mut(&id) {
            match anchored.anchor.handle(port, from, bytes) {
                Ok(onward) => {
                    anchored.heard = now;
                    self.counts.received += 1;
                    if let Some((leaves, to)) = onward {
                        sends.pass(leaves, to, bytes);
                    }
                }
                Err(why) => *self.counts.dropped.entry(why).or_default() += 1,
            }
            let ends = anchored.anchor.take_end_of_trial();
            return ends.then_some((id, News::Unconfirmed));
        }
        let (room, _) = self.rooms.get_mut(&id)?;
        match room.handle(now, (port, from), bytes, sends) {
            Ok(news) => {
                self.counts.received += 1;
                news.map(|news| (id, news))
            }
            Err(why) => {
                *self.counts.dropped.entry(why).or_default() += 1;
                None
            }
        }
    }

    /// Lets the time pass up to now: packets to be sent are added to `sends`.
    pub fn handle_timeout(
        &mut self,
        now: Timestamp,
        sends: &mut Sends,
        mut news: impl FnMut(RoomId, News),
    ) {
        #[cfg(test)]
        self.may_fail();
        while let Some((due, id)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, id));
            let Some((room, next)) = self.rooms.get_mut(&id) else {
                if self.check_anchor(now, id) {
                    news(id, News::Silent);
                }
                continue;
            };
            room.tick(now, sends, &mut |it| news(id, it));
            *next = due + TICK;
            let behind = now.since(*next);
            if behind > BEHIND_MAX {
                let missed = u32::try_from(behind.as_millis() / TICK.as_millis());
                let missed = missed.unwrap_or(u32::MAX);
                room.skip(missed);
                self.counts.skipped += u64::from(missed);
                *next = *next + TICK * missed;
            }
            self.due.insert((*next, id));
        }
    }

    /// When [`Self::handle_timeout`] next has work to do.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    /// How many rooms there are.
    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// What was counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    fn seat(&mut self, (port, agreed): (u16, Agreed)) -> Seat {
        let stream = Stream::new(agreed, &mut self.rng);
        let packets = self.begin_trials(stream.tried_at());
        let stream = stream.on_trial(packets);
        self.counts.streams += 1;
        Seat { port, stream }
    }

    /// How many packets may go to addresses that only descriptions name.
    fn begin_trials(&mut self, at: impl IntoIterator<Item = IpAddr>) -> u32 {
        let refused = at.into_iter().filter(|at| !self.trials.begin(*at)).count();
        if refused == 0 { self.trial } else { 0 }
    }

    fn open(&mut self, now: Timestamp, id: RoomId, room: Room) {
        self.close(id);
        self.by_port.extend(room.ports().map(|port| (port, id)));
        self.rooms.insert(id, (room, now));
        self.due.insert((now, id));
    }

    fn anchor(
        &mut self,
        (now, patience): (Timestamp, Duration),
        id: RoomId,
        ports: [u16; 2],
        parties: [Party; 2],
    ) {
        if let Some(anchored) = self.anchors.get(&id) {
            anchored
                .anchor
                .tried_at()
                .for_each(|at| self.trials.end(at));
        }
        let trial = self.begin_trials(parties.iter().filter_map(Party::tried_at));
        if let Some(anchored) = self.anchors.get_mut(&id) {
            return anchored.anchor.describe(parties, trial);
        }
        let anchor = Anchor::new(ports, parties, trial);
        self.counts.streams += 2;
        self.by_port.extend(anchor.ports().map(|port| (port, id)));
        let patience = patience.max(TICK);
        let due = now + patience;
        self.due.insert((due, id));
        let anchored = Anchored {
            anchor,
            heard: now,
            patience,
            due,
        };
        self.anchors.insert(id, anchored);
    }

    /// Whether nothing has come for too long from either side of a call that passes us, whose time it is
    /// to be looked at.
    fn check_anchor(&mut self, now: Timestamp, id: RoomId) -> bool {
        let Some(anchored) = self.anchors.get_mut(&id) else {
            return false;
        };
        let is_silent = now.since(anchored.heard) >= anchored.patience;
        let from = if is_silent { now } else { anchored.heard };
        anchored.due = from + anchored.patience;
        self.due.insert((anchored.due, id));
        is_silent
    }

    fn move_party(&mut self, id: RoomId, party: (u16, Agreed)) {
        let seat = self.seat(party);
        let room = self.rooms.get_mut(&id);
        let left = match room {
            Some((room, _)) => room.move_to(seat),
            None => Some(seat),
        };
        if let Some(seat) = left {
            self.end(&seat.stream);
        }
    }

    fn part(&mut self, id: RoomId, port: u16) {
        let Some((room, _)) = self.rooms.get_mut(&id) else {
            return;
        };
        if let Some(seat) = room.part(port) {
            self.end(&seat.stream);
            for port in pair(port) {
                self.by_port.remove(&port);
            }
        }
    }

    /// A stream is no more.
    fn end(&mut self, stream: &Stream) {
        self.counts.ended.add(stream);
        if let Some(at) = stream.tried_at() {
            self.trials.end(at);
        }
    }

    fn close(&mut self, id: RoomId) {
        if let Some(Anchored { anchor, due, .. }) = self.anchors.remove(&id) {
            self.counts.ended.streams += 2;
            anchor.tried_at().for_each(|at| self.trials.end(at));
            self.due.remove(&(due, id));
            for port in anchor.ports() {
                self.by_port.remove(&port);
            }
        }
        let Some((room, next)) = self.rooms.remove(&id) else {
            return;
        };
        self.due.remove(&(next, id));
        room.streams().for_each(|stream| self.end(stream));
        for port in room.ports() {
            if self.by_port.get(&port) == Some(&id) {
                self.by_port.remove(&port);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::clip::Clip;
    use crate::media::codec::Codec;
    use crate::media::digit::Digit;
    use crate::media::event::Format;
    use crate::media::room::Repeats;
    use crate::media::trial::Trust;

    const ROOM: RoomId = RoomId(7);
    const TRIAL: Duration = Duration::from_secs(5);

    fn peer() -> SocketAddr {
        "192.0.2.1:4000".parse().expect("an address")
    }

    fn agreed() -> Agreed {
        Agreed {
            remote: peer(),
            signalling: peer().ip(),
            codec: Codec::Pcmu,
            payload_type: 0,
            events: Some(Format::at_8000(101)),
            is_on_hold: false,
            keys: None,
            trust: Trust::Full,
        }
    }

    fn programme() -> Programme {
        Programme::new(Clip::new(vec![500; 16_000]), Repeats::Never)
    }

    fn opened(room: RoomId, port: u16, now: Timestamp) -> Desk {
        let mut desk = Desk::new(Rng::from_number(1), TRIAL);
        open(&mut desk, room, port, now);
        desk
    }

    fn open(desk: &mut Desk, room: RoomId, port: u16, now: Timestamp) {
        let party = (port, agreed());
        desk.handle(
            now,
            Command::Open {
                room,
                party,
                programme: programme(),
            },
        );
    }

    fn after(ms: u64) -> Timestamp {
        Timestamp::START + Duration::from_millis(ms)
    }

    /// The ports that packets leave from up to now.
    fn sent(desk: &mut Desk, now: Timestamp) -> Vec<u16> {
        let mut sends = Sends::default();
        desk.handle_timeout(now, &mut sends, |_, _| ());
        sends.iter().map(|(port, _, _)| port).collect()
    }

    #[test]
    fn a_room_sends_every_20_ms_from_when_it_opens() {
        let mut desk = opened(ROOM, 20_000, after(3));
        assert_eq!(sent(&mut desk, after(3)), [20_000]);
        assert_eq!(desk.deadline(), Some(after(23)));
        assert!(sent(&mut desk, after(22)).is_empty());
        assert_eq!(sent(&mut desk, after(43)), [20_000, 20_000]);
    }

    #[test]
    fn after_a_long_silence_it_goes_on_without_making_up_for_all() {
        let mut desk = opened(ROOM, 20_000, after(0));
        let packets = sent(&mut desk, after(2000)).len();
        assert!(packets <= 3, "{packets} packets at once");
        assert_eq!(desk.counts().skipped, 99);
        assert_eq!(desk.deadline(), Some(after(2020)));
    }

    /// The story: after a pause of the machine all that followed was late on the clock of its packets.
    #[test]
    fn the_clock_of_packets_runs_on_over_what_is_left_out() {
        let mut desk = opened(ROOM, 20_000, after(0));
        let mut clocks = Vec::new();
        for ms in [0, 2000, 2020] {
            let mut sends = Sends::default();
            desk.handle_timeout(after(ms), &mut sends, |_, _| ());
            clocks.extend(sends.iter().map(|(_, _, packet)| {
                let packet = rtp_types::RtpPacket::parse(packet).expect("RTP");
                packet.timestamp()
            }));
        }
        let since: Vec<u32> = clocks.iter().map(|it| it.wrapping_sub(clocks[0])).collect();
        // 8 a millisecond.
        assert_eq!(since.last(), Some(&(2020 * 8)), "{since:?}");
    }

    /// The story: whoever called from an address that four had joined calls from heard no prompt any more.
    #[test]
    fn the_trial_of_who_has_left_a_mix_is_over() {
        let on_trial = Agreed {
            trust: Trust::OnTrial,
            ..agreed()
        };
        let mut desk = Desk::new(Rng::from_number(1), TRIAL);
        for number in 0..10 {
            let room = RoomId(number);
            let open = Command::Open {
                room,
                party: (20_000, on_trial),
                programme: programme(),
            };
            desk.handle(after(number), open);
            assert_eq!(sent(&mut desk, after(number)), [20_000], "{number}");
            let mix = Command::Mix {
                room,
                parties: Box::new([(20_002, agreed()), (20_004, agreed())]),
                mix: Mix::unheard(),
            };
            desk.handle(after(number), mix);
            let port = 20_000;
            desk.handle(after(number), Command::Part { room, port });
            desk.handle(after(number), Command::Close { room });
        }
    }

    /// The story: who hung up before he had joined was played to from a port that was another one's by then.
    #[test]
    fn who_leaves_before_he_has_joined_is_sent_nothing() {
        let mut desk = opened(ROOM, 20_000, after(0));
        let part = Command::Part {
            room: ROOM,
            port: 20_000,
        };
        desk.handle(after(1), part);
        assert!(sent(&mut desk, after(500)).is_empty());
        assert_eq!((desk.counts().streams, desk.counts().ended.streams), (1, 1));
        desk.handle(after(501), Command::Close { room: ROOM });
        assert_eq!((desk.deadline(), desk.counts().ended.streams), (None, 1));
    }

    /// R17: who describes himself anew is sent to there, and the others are not.
    #[test]
    fn who_moves_is_sent_to_where_he_is_and_nobody_else() {
        let mut desk = opened(ROOM, 20_000, after(0));
        let other = SocketAddr::from(([192, 0, 2, 2], 4002));
        let party = |port, remote: SocketAddr| {
            let agreed = Agreed { remote, ..agreed() };
            (port, agreed)
        };
        let mix = Command::Mix {
            room: ROOM,
            parties: Box::new([party(20_002, peer()), party(20_004, peer())]),
            mix: Mix::unheard(),
        };
        desk.handle(after(0), mix);
        let moved = Command::Move {
            room: ROOM,
            party: party(20_002, other),
        };
        desk.handle(after(1), moved);
        let mut sends = Sends::default();
        desk.handle_timeout(after(20), &mut sends, |_, _| {});
        let there: BTreeMap<u16, SocketAddr> =
            sends.iter().map(|(port, to, _)| (port, to)).collect();
        let expected = [(20_000, peer()), (20_002, other), (20_004, peer())];
        assert_eq!(there, BTreeMap::from(expected));
        assert_eq!((desk.counts().streams, desk.counts().ended.streams), (4, 1));
    }

    #[test]
    fn a_room_that_closed_sends_and_hears_nothing() {
        let mut desk = opened(ROOM, 20_000, after(0));
        desk.handle(after(5), Command::Close { room: ROOM });
        assert!(sent(&mut desk, after(500)).is_empty());
        assert_eq!(desk.deadline(), None);
        assert_eq!(
            desk.handle_packet(
                Timestamp::START,
                20_000,
                peer(),
                b"x",
                &mut Sends::default()
            ),
            None
        );
        assert_eq!(desk.counts().received + desk.rooms() as u64, 0);
    }

    #[test]
    fn the_port_of_a_room_may_be_that_of_the_next() {
        let mut desk = opened(ROOM, 20_000, after(0));
        open(&mut desk, RoomId(8), 20_000, after(1));
        desk.handle(after(2), Command::Close { room: ROOM });
        let event = event_of(Digit::D5);
        let told = desk.handle_packet(
            Timestamp::START,
            20_000,
            peer(),
            &event,
            &mut Sends::default(),
        );
        assert_eq!(told, Some((RoomId(8), News::Digit(Digit::D5))));
    }

    #[test]
    fn what_is_dropped_is_counted_by_its_reason() {
        let mut desk = opened(ROOM, 20_000, after(0));
        let stranger = "203.0.113.1:9".parse().expect("an address");
        assert_eq!(
            desk.handle_packet(
                Timestamp::START,
                20_000,
                stranger,
                &event_of(Digit::D1),
                &mut Sends::default()
            ),
            None
        );
        assert_eq!(
            desk.handle_packet(
                Timestamp::START,
                20_000,
                peer(),
                b"no RTP",
                &mut Sends::default()
            ),
            None
        );
        let dropped: Vec<_> = desk.counts().dropped.clone().into_iter().collect();
        assert_eq!(dropped, [(Junk::Malformed, 1), (Junk::Source, 1)]);
    }

    fn event_of(digit: Digit) -> Vec<u8> {
        let event = (0..16).find(|event| Digit::of_event(*event) == Some(digit));
        let payload = [event.expect("sixteen events"), 10, 0, 160];
        rtp_types::RtpPacketBuilder::<&[u8], &[u8]>::new()
            .payload_type(101)
            .payload(&payload)
            .write_vec()
            .expect("a packet")
    }

    fn anchored(desk: &mut Desk, now: Timestamp) {
        let party = Party {
            described: Some(peer()),
            signalling: peer().ip(),
            trust: Trust::Full,
        };
        desk.handle(
            now,
            Command::Anchor {
                room: ROOM,
                ports: [20_000, 20_002],
                parties: [party; 2],
                patience: Duration::from_secs(10),
            },
        );
    }

    /// What is told up to now.
    fn told(desk: &mut Desk, now: Timestamp) -> Vec<News> {
        let mut all = Vec::new();
        desk.handle_timeout(now, &mut Sends::default(), |room, news| {
            assert_eq!(room, ROOM);
            all.push(news);
        });
        all
    }

    #[test]
    fn a_call_that_passes_us_is_silent_when_nothing_comes_from_either_side() {
        let mut desk = Desk::new(Rng::from_number(1), TRIAL);
        anchored(&mut desk, after(0));
        let rtp = event_of(Digit::D1);
        let mut sends = Sends::default();
        assert!(told(&mut desk, after(9_999)).is_empty());
        desk.handle_packet(after(9_000), 20_000, peer(), &rtp, &mut sends);
        assert!(told(&mut desk, after(18_999)).is_empty());
        assert_eq!(told(&mut desk, after(19_000)), [News::Silent]);
        // It is told again for as long as it stays so.
        assert!(told(&mut desk, after(28_999)).is_empty());
        assert_eq!(told(&mut desk, after(29_000)), [News::Silent]);
        assert_eq!(desk.counts().streams - desk.counts().ended.streams, 2);
        desk.handle(after(30_000), Command::Close { room: ROOM });
        assert_eq!(desk.deadline(), None);
        assert_eq!(desk.counts().streams - desk.counts().ended.streams, 0);
    }

    #[test]
    fn a_desk_that_gives_up_has_nothing_left() {
        let mut desk = opened(RoomId(8), 20_010, after(0));
        anchored(&mut desk, after(0));
        assert_eq!(desk.give_up(), [RoomId(8), ROOM]);
        assert_eq!((desk.rooms(), desk.deadline()), (0, None));
        assert_eq!(desk.counts().streams, desk.counts().ended.streams);
        open(&mut desk, ROOM, 20_000, after(1));
        assert_eq!(sent(&mut desk, after(1)), [20_000]);
    }

    #[test]
    fn a_trial_ends_after_its_time_and_that_is_told() {
        let mut desk = Desk::new(Rng::from_number(1), TRIAL);
        let party = Agreed {
            trust: Trust::OnTrial,
            ..agreed()
        };
        let programme = Programme::new(Clip::new(vec![500; 160]), Repeats::Forever);
        desk.handle(
            after(0),
            Command::Open {
                room: ROOM,
                party: (20_000, party),
                programme,
            },
        );
        let mut sends = Sends::default();
        let mut all = Vec::new();
        for tick in 0..=500 {
            let now = after(tick * 20);
            desk.handle_timeout(now, &mut sends, |_, news| all.push((now, news)));
        }
        let audio = sends.iter().filter(|(port, ..)| *port == 20_000).count();
        // A report was one of them.
        assert_eq!(audio, 249);
        assert_eq!(all, [(after(4_980), News::Unconfirmed)]);
        let before = sends.iter().count();
        desk.handle_packet(
            after(10_010),
            20_000,
            peer(),
            &event_of(Digit::D5),
            &mut sends,
        );
        desk.handle_timeout(after(10_020), &mut sends, |_, _| ());
        assert_eq!(sends.iter().count(), before + 1);
    }

    /// The story: a hundred INVITEs that name one address had a hundred streams sent there.
    #[test]
    fn however_many_name_one_address_a_few_streams_go_there_at_once() {
        let mut desk = Desk::new(Rng::from_number(1), TRIAL);
        for number in 0..100_u16 {
            let party = Agreed {
                trust: Trust::OnTrial,
                ..agreed()
            };
            desk.handle(
                after(0),
                Command::Open {
                    room: RoomId(number.into()),
                    party: (20_000 + 2 * number, party),
                    programme: programme(),
                },
            );
        }
        assert_eq!(sent(&mut desk, after(0)), [20_000, 20_002, 20_004, 20_006]);
        for number in 0..100 {
            let room = RoomId(number);
            desk.handle(after(1), Command::Close { room });
        }
        // All of it is forgotten with the rooms.
        let party = Agreed {
            trust: Trust::OnTrial,
            ..agreed()
        };
        let open = Command::Open {
            room: ROOM,
            party: (20_000, party),
            programme: programme(),
        };
        desk.handle(after(2), open);
        assert_eq!(sent(&mut desk, after(2)), [20_000]);
    }
}
