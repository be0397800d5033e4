//! Rooms of ours: which call each belongs to, on which ports, and what the sound thread is told.
//!
//! Spec: RFC 3550 §11 (RTP has the even port of a pair); RULES R16.
//!
//! - A port belongs to one room; a room that has closed has none.
//! - What is asked for is bounded: without a port nothing is played, and the call goes on as without.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use smallvec::SmallVec;

use crate::call::{self, Side};
use crate::cc::trust::PeerId;
use crate::media::anchor::Party;
use crate::media::desk::{Command, RoomId};
use crate::media::room::{Mix, Programme};
use crate::media::stream::Agreed;
use crate::media::trial::Trust;
use crate::shard::{Held, Shard};
use crate::sip::Request;
use crate::sip::flow::Flow;
use crate::table::Key;

/// Where we can be heard.
#[derive(Clone, Debug)]
pub struct Sound {
    /// Our address in session descriptions.
    pub address: IpAddr,
    /// Our ports.
    pub ports: RangeInclusive<u16>,
    /// How long nothing may come from whoever has joined a call, or from both sides of one that passes us.
    pub timeout: Duration,
    /// How long somebody is sent sound at an address that is not the one of his signalling, and from which
    /// nothing comes.
    pub trial: Duration,
    /// Whether phones that need keys take those of their callee after ours.
    pub takes_new_keys: bool,
}

/// Whose a room is.
#[derive(Debug)]
struct Owner {
    call: Key,
    ports: SmallVec<[u16; 3]>,
}

/// What this worker's calls play and hear.
#[derive(Debug)]
pub(super) struct Sounds {
    sound: Option<Sound>,
    taken: BTreeSet<u16>,
    calls: BTreeMap<RoomId, Owner>,
    /// Where the search for a free port begins: a port rests for as long as it can.
    next: u16,
    rooms: u64,
    commands: VecDeque<Command>,
}

impl Sounds {
    pub(super) fn new(sound: Option<Sound>) -> Self {
        Self {
            next: sound.as_ref().map_or(0, |sound| *sound.ports.start()),
            sound,
            taken: BTreeSet::new(),
            calls: BTreeMap::new(),
            rooms: 0,
            commands: VecDeque::new(),
        }
    }

    /// A room and our address in it; `None` if there is no sound, or no port is free.
    pub(super) fn take(&mut self, call: Key) -> Option<(RoomId, SocketAddr)> {
        let sound = self.sound.as_ref()?;
        let port = free_port(&sound.ports, &self.taken, self.next)?;
        self.next = port;
        self.rooms += 1;
        let room = RoomId(self.rooms);
        self.taken.insert(port);
        let ports = SmallVec::from_iter([port]);
        self.calls.insert(room, Owner { call, ports });
        Some((room, SocketAddr::new(sound.address, port)))
    }

    /// A room and two addresses of ours in it.
    pub(super) fn take_two(&mut self, call: Key) -> Option<(RoomId, [SocketAddr; 2])> {
        let (room, first) = self.take(call)?;
        let sound = self.sound.as_ref()?;
        let second = free_port(&sound.ports, &self.taken, self.next);
        let address = sound.address;
        let Some(second) = second else {
            self.forget(room);
            return None;
        };
        self.give(room, second);
        Some((room, [first, SocketAddr::new(address, second)]))
    }

    /// The two sides of a call are heard through these ports of a room.
    pub(super) fn anchor(&mut self, room: RoomId, ports: [u16; 2], parties: [Party; 2]) {
        let patience = self.sound.as_ref().map(|sound| sound.timeout);
        self.commands.push_back(Command::Anchor {
            room,
            ports,
            parties,
            patience: patience.unwrap_or_default(),
        });
    }

    /// Closes all rooms of a call that was lost.
    pub(super) fn close_all_of(&mut self, call: Key) {
        let rooms = self.calls.iter().filter(|(_, owner)| owner.call == call);
        let rooms: Vec<RoomId> = rooms.map(|(room, _)| *room).collect();
        for room in rooms {
            self.close(room);
        }
    }

    /// Two more addresses for a room, which its sockets have yet to be opened for; `None` if they are not
    /// free.
    pub(super) fn reserve(&mut self, room: RoomId) -> Option<[SocketAddr; 2]> {
        let sound = self.sound.as_ref()?;
        let address = sound.address;
        let first = free_port(&sound.ports, &self.taken, self.next)?;
        let ports = sound.ports.clone();
        self.taken.insert(first);
        let second = free_port(&ports, &self.taken, first);
        self.taken.remove(&first);
        let ports = [first, second?];
        for port in ports {
            self.give(room, port);
        }
        self.commands.push_back(Command::Reserve { room, ports });
        Some(ports.map(|port| SocketAddr::new(address, port)))
    }

    /// The party of a room joins two others there.
    pub(super) fn mix(&mut self, room: RoomId, parties: Box<[(u16, Agreed); 2]>, mix: Mix) {
        self.commands.push_back(Command::Mix { room, parties, mix });
    }

    /// Who has this port there describes himself anew.
    pub(super) fn move_party(&mut self, room: RoomId, party: (u16, Agreed)) {
        self.commands.push_back(Command::Move { room, party });
    }

    /// Who has this port there leaves it; the room is this call's from now on.
    pub(super) fn part(&mut self, room: RoomId, port: u16, call: Key) {
        if let Some(owner) = self.calls.get_mut(&room) {
            owner.call = call;
            owner.ports.retain(|each| *each != port);
            self.taken.remove(&port);
            self.commands.push_back(Command::Part { room, port });
        }
    }

    /// Opens a room in which a party hears a programme.
    pub(super) fn open(&mut self, room: RoomId, party: (u16, Agreed), programme: Programme) {
        self.commands.push_back(Command::Open {
            room,
            party,
            programme,
        });
    }

    /// What is heard there from now on.
    pub(super) fn play(&mut self, room: RoomId, programme: Programme) {
        self.commands.push_back(Command::Play { room, programme });
    }

    /// Closes it; one that never opened gives its port back.
    pub(super) fn close(&mut self, room: RoomId) {
        if self.forget(room) {
            self.commands.push_back(Command::Close { room });
        }
    }

    /// Whether there was one.
    fn forget(&mut self, room: RoomId) -> bool {
        let Some(owner) = self.calls.remove(&room) else {
            return false;
        };
        for port in owner.ports {
            self.taken.remove(&port);
        }
        true
    }

    fn give(&mut self, room: RoomId, port: u16) {
        if let Some(owner) = self.calls.get_mut(&room) {
            owner.ports.push(port);
            self.taken.insert(port);
            self.next = port;
        }
    }

    /// The call that a room belongs to.
    pub(super) fn call_of(&self, room: RoomId) -> Option<Key> {
        self.calls.get(&room).map(|owner| owner.call)
    }

    /// How many rooms there are.
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }
}

impl Shard {
    /// R16: what is kept of a caller's session description where he may be asked about a failure, or
    /// may hear music while his call waits.
    pub(super) fn session_for_sound(
        &mut self,
        request: &Request<'_>,
        flow: &Flow,
        may_wait: bool,
    ) -> Option<Box<[u8]>> {
        let settings = &self.settings.completion;
        let has_music = may_wait && settings.camp_on_music && self.settings.sound.is_some();
        if settings.prompt.is_none() && !has_music {
            return None;
        }
        let ours = self.settings.sound.as_ref()?.address;
        let (message, source) = (&request.message, flow.remote.ip());
        if call::can_hear(message, source, ours) {
            return Some(message.body().into());
        }
        if call::misdirects(message, source) {
            self.on_misdirected(request.call_id);
        }
        None
    }

    /// RFC 4568 §7.3: whether this caller can hear us, and his callee after us. Many a phone keeps the
    /// first key that it is sent under, though the answer has another.
    pub(super) fn may_hear_both(&self, held: &Held) -> bool {
        let takes_new = self
            .settings
            .sound
            .as_ref()
            .is_some_and(|it| it.takes_new_keys);
        let asker = held.about.asker();
        let session = asker.and_then(|asker| asker.session.as_deref());
        let source = held.call.flow(Side::A).remote.ip();
        takes_new || !session.is_some_and(|session| call::needs_keys(session, source))
    }

    /// A description wants sound where none may be sent.
    pub(super) fn on_misdirected(&mut self, call_id: &[u8]) {
        tracing::warn!(
            call_id = %call_id.escape_ascii(),
            "sound is wanted at an address that is no host's, or is this machine"
        );
        self.counters.sounds_misdirected += 1;
    }

    /// Nothing has come from where a party of this call wants sound.
    pub(super) fn on_unconfirmed(&mut self, held: &Held) {
        tracing::warn!(
            call_id = %held.call.call_id(Side::A).escape_ascii(),
            "no more sound goes to an address that its signalling does not come from: nothing came from there"
        );
        self.counters.sounds_unconfirmed += 1;
    }

    /// What the sound thread is to do next.
    pub fn poll_sound(&mut self) -> Option<Command> {
        self.sounds.commands.pop_front()
    }
}

/// What somebody's description is worth: peers are known to us, and say where their media is.
pub(super) fn trust_of(through: Option<PeerId>, described: Trust) -> Trust {
    match through {
        Some(_) => Trust::Full,
        None => described,
    }
}

/// The first even port after this one that nobody has, from the beginning again after the last.
fn free_port(ports: &RangeInclusive<u16>, taken: &BTreeSet<u16>, after: u16) -> Option<u16> {
    let first = u32::from(*ports.start()).next_multiple_of(2);
    let pairs = (u32::from(*ports.end()) + 1).saturating_sub(first) / 2;
    if usize::try_from(pairs).is_ok_and(|pairs| taken.len() >= pairs) {
        // Nobody searches them all in vain.
        return None;
    }
    let has_pair = |port: &u16| port.is_multiple_of(2) && port < ports.end();
    let later = ports.clone().filter(|port| *port > after);
    let earlier = ports.clone().filter(|port| *port <= after);
    let mut all = later.chain(earlier).filter(has_pair);
    all.find(|port| !taken.contains(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sounds(ports: RangeInclusive<u16>) -> Sounds {
        let address = "192.0.2.1".parse().expect("an address");
        let timeout = Duration::from_secs(30);
        Sounds::new(Some(Sound {
            address,
            ports,
            timeout,
            trial: Duration::from_secs(5),
            takes_new_keys: false,
        }))
    }

    fn call(number: u64) -> Key {
        Key::from_bits(number)
    }

    fn port(sounds: &mut Sounds) -> Option<u16> {
        sounds.take(call(1)).map(|(_, at)| at.port())
    }

    #[test]
    fn each_room_has_an_even_port_of_its_own_until_none_is_left() {
        let mut sounds = sounds(20_001..=20_007);
        let given: Vec<_> = std::iter::from_fn(|| port(&mut sounds)).collect();
        assert_eq!(given, [20_002, 20_004, 20_006]);
        assert_eq!(sounds.len(), 3);
    }

    #[test]
    fn a_port_rests_before_it_is_given_out_again() {
        let mut sounds = sounds(20_000..=20_005);
        let (room, first) = sounds.take(call(1)).expect("a port");
        sounds.close(room);
        assert_ne!(port(&mut sounds), Some(first.port()));
    }

    #[test]
    fn a_room_that_has_closed_is_nobodys() {
        let mut sounds = sounds(20_000..=20_005);
        let (room, _) = sounds.take(call(7)).expect("a port");
        assert_eq!(sounds.call_of(room), Some(call(7)));
        sounds.close(room);
        sounds.close(room);
        assert_eq!(sounds.call_of(room), None);
        assert_eq!(sounds.commands.len(), 1);
    }

    #[test]
    fn without_sound_there_are_no_rooms() {
        assert!(Sounds::new(None).take(call(1)).is_none());
    }

    /// Two more for whoever is to be joined, and all are free when it is over.
    #[test]
    fn whatever_a_room_had_is_free_when_it_closes() {
        for ports in [20_000..=20_007, 20_001..=20_009] {
            let mut sounds = sounds(ports);
            for _ in 0..3 {
                let (room, first) = sounds.take(call(1)).expect("a port");
                let [second, third] = sounds.reserve(room).expect("two more");
                let fourth = sounds.take(call(2)).expect("the last one");
                assert!(sounds.take(call(3)).is_none());
                assert!(sounds.reserve(fourth.0).is_none());
                sounds.part(room, first.port(), call(4));
                assert_eq!(sounds.call_of(room), Some(call(4)));
                let (fifth, again) = sounds.take(call(5)).expect("the one that was left");
                assert_eq!(again, first);
                assert_ne!(second, third);
                for room in [room, fourth.0, fifth] {
                    sounds.close(room);
                }
                assert!(sounds.taken.is_empty() && sounds.calls.is_empty());
            }
        }
    }
}
