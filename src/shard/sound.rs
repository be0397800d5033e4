//! Rooms of ours: which call each belongs to, on which ports, and what the sound thread is told.
//!
//! Spec: RFC 3550 §11 (RTP has the even port of a pair); RULES R16.
//!
//! - A port belongs to one room; a room that has closed has none.
//! - What is asked for is bounded: without a port nothing is played, and the call goes on as without.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::call;
use crate::media::anchor::Party;
use crate::media::desk::{Command, RoomId};
use crate::media::room::{Mix, Programme};
use crate::media::stream::Agreed;
use crate::shard::Shard;
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
    /// How long nothing may come from whoever has joined a call.
    pub timeout: Duration,
}

/// What this worker's calls play and hear.
#[derive(Debug)]
pub(super) struct Sounds {
    sound: Option<Sound>,
    /// By the port of each room, and its call.
    taken: BTreeMap<u16, RoomId>,
    calls: BTreeMap<RoomId, Key>,
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
            taken: BTreeMap::new(),
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
        self.taken.insert(port, room);
        self.calls.insert(room, call);
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
        self.taken.insert(second, room);
        self.next = second;
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
        let rooms = self.calls.iter().filter(|(_, each)| **each == call);
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
        self.taken.insert(first, room);
        let Some(second) = free_port(&ports, &self.taken, first) else {
            self.taken.remove(&first);
            return None;
        };
        self.taken.insert(second, room);
        self.next = second;
        let ports = [first, second];
        self.commands.push_back(Command::Reserve { room, ports });
        Some(ports.map(|port| SocketAddr::new(address, port)))
    }

    /// The party of a room joins two others there.
    pub(super) fn mix(&mut self, room: RoomId, parties: [(u16, Agreed); 2], mix: Mix) {
        let parties = Box::new(parties);
        self.commands.push_back(Command::Mix { room, parties, mix });
    }

    /// Who has this port there leaves it; the room is this call's from now on.
    pub(super) fn part(&mut self, room: RoomId, port: u16, call: Key) {
        if let Some(owner) = self.calls.get_mut(&room) {
            *owner = call;
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
        let was = self.calls.remove(&room).is_some();
        if was {
            self.taken.retain(|_, each| *each != room);
        }
        was
    }

    /// The call that a room belongs to.
    pub(super) fn call_of(&self, room: RoomId) -> Option<Key> {
        self.calls.get(&room).copied()
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
        &self,
        request: &Request<'_>,
        flow: &Flow,
        may_wait: bool,
    ) -> Option<Box<[u8]>> {
        let settings = &self.settings.completion;
        let has_music = may_wait && settings.camp_on_music && self.settings.sound.is_some();
        if settings.prompt.is_none() && !has_music {
            return None;
        }
        let message = &request.message;
        call::can_hear(message, flow.remote.ip()).then(|| message.body().into())
    }

    /// What the sound thread is to do next.
    pub fn poll_sound(&mut self) -> Option<Command> {
        self.sounds.commands.pop_front()
    }
}

/// The first even port after this one that nobody has, from the beginning again after the last.
fn free_port(
    ports: &RangeInclusive<u16>,
    taken: &BTreeMap<u16, RoomId>,
    after: u16,
) -> Option<u16> {
    let has_pair = |port: &u16| port.is_multiple_of(2) && port < ports.end();
    let later = ports.clone().filter(|port| *port > after);
    let earlier = ports.clone().filter(|port| *port <= after);
    let mut all = later.chain(earlier).filter(has_pair);
    all.find(|port| !taken.contains_key(port))
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
}
