//! Intrusion without the callee's phone: his call is put on a mixer of ours, and the caller joins it.
//!
//! Spec: RULES R17; threats T29, T31; TAPI `LINECALLCOMPLMODE_INTRUDE`.
//!
//! ```text
//!   asked for, may he? --> Reserving --ports--> Joining --both legs--> Joined --either side ends--> over
//!          |                   |                   |
//!          \-------------------+-------------------\--> a tone, and the failure that was kept
//! ```
//!
//! - Nobody is asked for his media before the ports are ours, and nobody is heard before all were warned.
//! - Whatever goes wrong, the two who talk go on as before, and the caller gets his failure.
//! - Each attempt leaves one record, see `audit`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::call::{Call, MixNews, Side, only_hears};
use crate::completion::intrusion::{Attempt, Denied, Level, Situation, decide};
use crate::location::Aor;
use crate::media::desk::RoomId;
use crate::media::room::{Programme, Repeats};
use crate::media::stream::Agreed;
use crate::shard::audit::AttemptId;
use crate::shard::offer::About;
use crate::shard::prompt::{CLOSING_MAX, Prompting, Stage};
use crate::shard::sound::trust_of;
use crate::shard::{Held, Kind, Shard};
use crate::table::Key;
use crate::time::Timestamp;

/// How long a caller who may join a call may take to be in it.
pub(super) const JOINS_IN: Duration = CLOSING_MAX.saturating_mul(5);

/// What a call has to do with an intrusion.
#[derive(Debug)]
pub(super) enum Mixed {
    /// Its caller is about to join, or has joined, another.
    Intruder {
        bridge: Key,
        /// Our addresses for the caller and the callee of that one.
        at: [SocketAddr; 2],
        attempt: AttemptId,
        /// Whether the mixer has failed.
        is_broken: bool,
    },
    /// Somebody joins it, or did: `None` when he has left, and without a room if he never came in.
    Bridge {
        room: Option<RoomId>,
        intruder: Option<Key>,
    },
}

/// A call that somebody may join.
pub(super) struct Bridge {
    pub(super) key: Key,
    /// The leg of the callee's phone.
    pub(super) near: Side,
    pub(super) third: Option<Aor>,
}

impl Shard {
    /// Whether this caller could join the call of his callee, as things are.
    pub(super) fn may_intrude(&self, now: Timestamp, held: &Held) -> bool {
        self.settings.sound.is_some() && self.bridge_for(now, held).is_ok()
    }

    /// The same, if a mixer of ours can be put between the two.
    fn bridge_for(&self, now: Timestamp, held: &Held) -> Result<Bridge, Denied> {
        let found = self.talk_of(now, held)?;
        let session = held.about.asker().and_then(|it| it.session.as_deref());
        let source = held.call.flow(Side::A).remote.ip();
        // R17: nobody joins to listen only.
        if session.is_some_and(|session| only_hears(session, source)) {
            return Err(Denied::NoMeans);
        }
        let talk = self.calls.get(found.key).zip(self.settings.sound.as_ref());
        let is_free = talk.is_some_and(|(talk, sound)| {
            talk.call.could_mix(sound.address) && !talk.call.has_mixer()
        });
        is_free.then_some(found).ok_or(Denied::NoMeans)
    }

    /// The call of his callee that this caller may join; who may not learns no more of it than that.
    pub(super) fn talk_of(&self, now: Timestamp, held: &Held) -> Result<Bridge, Denied> {
        let parties = held.parties.caller.as_ref();
        let parties = parties.zip(held.about.callee_of_ours());
        let (caller, callee) = parties.ok_or(Denied::NoMeans)?;
        let mut attempt = Attempt {
            intruder: self.rights_of(caller).intrudes,
            target: self.rights_of(callee).protection,
            third: Level::NONE,
            situation: Situation::Talking,
        };
        // No calls are looked for on behalf of who may not in any case.
        decide(&attempt)?;
        let (found, situation) = self.calls_of(now, callee);
        let third = found.as_ref().and_then(|found| found.third.as_ref());
        let protection = third.map(|third| self.rights_of(third).protection);
        attempt.situation = situation;
        // R17: who has no name here is protected.
        attempt.third = protection.unwrap_or(Level::FULL);
        decide(&attempt)?;
        // Nobody joins his own call.
        if third == Some(caller) {
            return Err(Denied::NoMeans);
        }
        found.ok_or(Denied::Idle)
    }

    /// Whom the callee of this caller talks to, for the record.
    pub(super) fn third_for(&self, now: Timestamp, held: &Held) -> Option<Aor> {
        let callee = held.about.callee_of_ours()?;
        self.calls_of(now, callee).0?.third
    }

    /// A call of this user's, and what it is to who would join it.
    fn calls_of(&self, now: Timestamp, user: &Aor) -> (Option<Bridge>, Situation) {
        let mut calls = self.calls.iter().filter_map(|(key, held)| {
            let near = [
                (Side::A, held.parties.caller.as_ref()),
                (Side::B, held.parties.callee.as_ref()),
            ];
            let (near, _) = near.into_iter().find(|(_, other)| *other == Some(user))?;
            // Others who wait for him are no calls of his.
            let is_his = held.call.is_up() && !held.call.is_held();
            is_his.then_some((key, near, held))
        });
        let first = calls.next();
        let is_only = calls.next().is_none();
        let third = first.and_then(|(_, near, held)| self.third_of(near, held));
        // R23: who has called for help is left alone for a while.
        let is_left_alone =
            |user: Option<&Aor>| user.is_some_and(|user| self.users.is_left_alone(now, user));
        let is_alone = is_left_alone(Some(user)) || is_left_alone(third.as_ref());
        let situation = match first {
            None => Situation::Idle,
            Some(_) if !is_only && !is_alone => Situation::Several,
            Some((_, _, held)) => self.situation_of(held, is_alone),
        };
        let found = first.map(|(key, near, _)| Bridge { key, near, third });
        (found, situation)
    }

    /// Whom the callee talks to.
    pub(super) fn third_of(&self, near: Side, held: &Held) -> Option<Aor> {
        let parties = &held.parties;
        match near {
            Side::A => {
                let dialled = parties.dialled.as_ref().map(|dialled| &dialled.user);
                parties.callee.as_ref().or(dialled).cloned()
            }
            Side::B => {
                let out = self.out_pass_of(held);
                let beyond = out.and_then(|out| out.parties.caller.as_ref());
                parties.caller.as_ref().or(beyond).cloned()
            }
        }
    }

    /// R1: the other half of a call of the PBX's to a phone, where that is known.
    fn out_pass_of(&self, held: &Held) -> Option<&Held> {
        let out = match &held.about {
            About::Inward(inward) => inward.out?,
            About::Asker(_)
            | About::Beside(_)
            | About::Camped(_)
            | About::CcCall(_)
            | About::Code
            | About::Nothing
            | About::Recall(_) => return None,
        };
        self.calls.get(out).map(Box::as_ref)
    }

    /// What a call is to who would join it, whose parties may have called for help of late. A PBX need not
    /// pass on what its caller has asked for.
    pub(super) fn situation_of(&self, held: &Held, is_left_alone: bool) -> Situation {
        if is_left_alone {
            return Situation::Emergency;
        }
        let out = self.out_pass_of(held);
        let beyond = out.map(|out| out.parties.kind).unwrap_or_default();
        match (held.parties.kind, beyond) {
            (Kind::Pressing, _) | (_, Kind::Pressing) => Situation::Emergency,
            (Kind::Private, _) | (_, Kind::Private) => Situation::Private,
            (Kind::Plain, Kind::Plain) if held.call.answered().is_none() => Situation::Ringing,
            (Kind::Plain, Kind::Plain) if held.call.is_on_hold() => Situation::Held,
            (Kind::Plain, Kind::Plain) => Situation::Talking,
        }
    }

    /// A caller who is kept from his failure has pressed the digit to join the call of his callee.
    pub(super) fn intrude(&mut self, now: Timestamp, key: Key, held: &mut Held) {
        let attempt = self.begin_attempt(now, key, held);
        if self.begin_intrusion(now, held, attempt).is_err() {
            self.refuse_to_join(now, held);
        }
    }

    /// The same, though it was not offered to him: T29 has it known, and he hears no more of it.
    pub(super) fn note_unoffered(&mut self, now: Timestamp, key: Key, held: &Held) {
        let attempt = self.begin_attempt(now, key, held);
        let denied = self.bridge_for(now, held).err();
        self.deny_attempt(now, attempt, denied.unwrap_or(Denied::NoMeans));
    }

    /// Who asks in another way than by digit, while his call is kept; what comes of it he hears.
    pub(super) fn intrude_in_room(
        &mut self,
        now: Timestamp,
        (key, held): (Key, &mut Held),
        attempt: AttemptId,
    ) -> Result<(), Denied> {
        let stage = held.prompting.as_ref().map(|prompting| prompting.stage);
        let is_free = held.call.is_held() && held.mixed.is_none();
        let is_ready = match stage {
            None => is_free && self.open_to_join(now, key, held).is_some(),
            Some(Stage::Saying | Stage::Choosing | Stage::Waiting(_)) => is_free,
            // He has asked for something already, which is being done.
            Some(
                Stage::Asking(_)
                | Stage::Closing { .. }
                | Stage::Ringing(_)
                | Stage::Turning
                | Stage::Reserving
                | Stage::Joining
                | Stage::Joined
                | Stage::Announcing
                | Stage::Announced
                | Stage::RingingBack,
            ) => false,
        };
        if !is_ready {
            self.deny_attempt(now, attempt, Denied::NoMeans);
            return Err(Denied::NoMeans);
        }
        self.begin_intrusion(now, held, attempt)
            .inspect_err(|_| self.refuse_to_join(now, held))
    }

    /// A room for a caller who has heard nothing yet.
    fn open_to_join(&mut self, now: Timestamp, key: Key, held: &mut Held) -> Option<()> {
        let voice = self.settings.voice.as_ref()?;
        let rings = Programme::new(voice.ringing.clone(), Repeats::Forever);
        let (room, port) = self.open_room(now, key, held, rings)?;
        held.prompting = Some(Box::new(Prompting {
            room,
            port,
            stage: Stage::Saying,
            offered: Vec::new(),
            pressed: None,
        }));
        Some(())
    }

    fn begin_intrusion(
        &mut self,
        now: Timestamp,
        held: &mut Held,
        attempt: AttemptId,
    ) -> Result<(), Denied> {
        let begun = self.bridge_for(now, held);
        let begun = begun.and_then(|bridge| self.reserve(held, &bridge).ok_or(Denied::NoMeans));
        match begun {
            Ok((bridge, at)) => {
                held.mixed = Some(Box::new(Mixed::Intruder {
                    bridge,
                    at,
                    attempt,
                    is_broken: false,
                }));
                held.call.hold_until(now + JOINS_IN);
                Ok(())
            }
            Err(denied) => {
                self.deny_attempt(now, attempt, denied);
                Err(denied)
            }
        }
    }

    /// The ports, and what is to be heard on them.
    fn reserve(&mut self, held: &mut Held, bridge: &Bridge) -> Option<(Key, [SocketAddr; 2])> {
        let prompting = held.prompting.as_mut()?;
        // T29: without a warning nobody joins.
        self.mix()?;
        let Some(at) = self.sounds.reserve(prompting.room) else {
            self.counters.rooms_refused += 1;
            return None;
        };
        prompting.stage = Stage::Reserving;
        Some((bridge.key, at))
    }

    /// The ports are ours: the call is put on them, unless it is another one by now.
    pub(super) fn put_on_mixer(&mut self, now: Timestamp, key: Key, held: &mut Held) {
        let Some(Mixed::Intruder { bridge, at, .. }) = held.mixed.as_deref() else {
            return;
        };
        let (bridge_key, at) = (*bridge, *at);
        let found = self.bridge_for(now, held).ok();
        let found = found.filter(|found| found.key == bridge_key);
        let room = held.prompting.as_ref().map(|prompting| prompting.room);
        let begun = found.zip(room).is_some_and(|(found, room)| {
            let Some(mut bridge) = self.calls.take(bridge_key) else {
                return false;
            };
            let first = match found.near {
                Side::A => Side::B,
                Side::B => Side::A,
            };
            let begun = self.in_turn(now, &mut bridge, |call, turn| {
                call.begin_mix(turn, at, first)
            });
            if begun {
                let intruder = Some(key);
                let room = Some(room);
                bridge.mixed = Some(Box::new(Mixed::Bridge { room, intruder }));
            }
            self.put_back(now, bridge_key, bridge);
            begun
        });
        match held.prompting.as_mut().filter(|_| begun) {
            Some(prompting) => prompting.stage = Stage::Joining,
            None => self.fail_to_join(now, held),
        }
    }

    /// He does not join: he hears so, and gets his failure.
    pub(super) fn fail_to_join(&mut self, now: Timestamp, held: &mut Held) {
        if let Some(Mixed::Intruder { attempt, .. }) = held.mixed.take().map(|mixed| *mixed) {
            self.end_attempt(now, attempt);
        }
        self.refuse_to_join(now, held);
    }

    fn refuse_to_join(&mut self, now: Timestamp, held: &mut Held) {
        let tone = self.settings.voice.as_ref();
        let tone = tone.map(|voice| Programme::new(voice.refused.clone(), Repeats::Never));
        if let (Some(prompting), Some(tone)) = (held.prompting.as_mut(), tone) {
            prompting.stage = Stage::Closing { done: false };
            self.sounds.play(prompting.room, tone);
            held.call.hold_until(now + CLOSING_MAX);
        }
    }

    /// Looks after a call that is part of an intrusion.
    pub(super) fn attend_mix(&mut self, now: Timestamp, key: Key, held: &mut Held) {
        match held.mixed.as_deref() {
            Some(Mixed::Intruder { bridge, .. }) => {
                let bridge = *bridge;
                self.follow_intruder(held);
                let waits = held.call.is_held() || held.call.is_joined();
                if !waits {
                    self.leave_mix(now, (key, bridge), held);
                }
            }
            Some(Mixed::Bridge { room, intruder }) => {
                let (room, intruder) = (*room, *intruder);
                self.attend_bridge(now, (room, intruder), held);
            }
            None => {}
        }
    }

    /// Who has joined is heard where he describes himself anew.
    fn follow_intruder(&mut self, held: &mut Held) {
        let news = held.call.take_mix_news();
        let room = held.prompting.as_ref().map(|prompting| prompting.room);
        if let Some((MixNews::Moved(side, party), room)) = news.zip(room) {
            self.move_party(held, (room, side), *party);
        }
    }

    fn move_party(
        &mut self,
        held: &Held,
        (room, side): (RoomId, Side),
        (port, mut agreed): (u16, Agreed),
    ) {
        let [a, b] = held.parties.through;
        let through = match side {
            Side::A => a,
            Side::B => b,
        };
        agreed.trust = trust_of(through, agreed.trust);
        self.sounds.move_party(room, (port, agreed));
    }

    fn attend_bridge(
        &mut self,
        now: Timestamp,
        (room, intruder): (Option<RoomId>, Option<Key>),
        held: &mut Held,
    ) {
        let news = held.call.take_mix_news();
        if !held.call.is_up() {
            held.mixed = None;
            self.end_bridge(now, room, intruder);
            return;
        }
        match news {
            Some(MixNews::Ready(mut agreed)) => {
                for (agreed, through) in agreed.iter_mut().zip(held.parties.through) {
                    agreed.trust = trust_of(through, agreed.trust);
                }
                let joined = intruder.zip(room);
                let is_in = joined
                    .is_some_and(|(intruder, room)| self.let_in(now, intruder, (room, *agreed)));
                if !is_in {
                    self.in_turn(now, held, Call::end_mix);
                }
            }
            Some(MixNews::Gone) => {
                held.call.forget_mix();
                held.mixed = None;
                self.end_bridge(now, room, intruder);
            }
            Some(MixNews::Refused) => {
                held.mixed = Some(Box::new(Mixed::Bridge {
                    room: None,
                    intruder: None,
                }));
                if let Some(intruder) = intruder {
                    self.dismiss(now, intruder);
                }
            }
            Some(MixNews::Moved(side, party)) => {
                if let Some(room) = room {
                    self.move_party(held, (room, side), *party);
                }
            }
            Some(MixNews::Left(side)) => self.on_left(now, intruder.zip(room), side, held),
            Some(MixNews::Kept) => {
                self.counters.mixers_kept += 1;
                tracing::warn!(
                    call_id = %held.call.call_id(Side::A).escape_ascii(),
                    "a phone does not let go of a mixer: the two talk by it"
                );
            }
            None => {}
        }
    }
}

/// Who joins, and who leaves.
impl Shard {
    /// A call has nothing to do with an intrusion any more.
    fn end_bridge(&mut self, now: Timestamp, room: Option<RoomId>, intruder: Option<Key>) {
        let is_theirs = intruder.is_none_or(|intruder| self.dismiss(now, intruder));
        if let Some(room) = room.filter(|_| is_theirs) {
            self.sounds.close(room);
        }
    }

    /// Both legs of the call are on the mixer: whoever is to join it is answered; whether he was.
    fn let_in(
        &mut self,
        now: Timestamp,
        intruder: Key,
        (room, agreed): (RoomId, [Agreed; 2]),
    ) -> bool {
        let Some(mut held) = self.calls.take(intruder) else {
            return false;
        };
        let mix = self.mix();
        let is_in = mix.is_some_and(|mix| {
            let session = held.call.held_session();
            let offer = held.about.asker().and_then(|asker| asker.session.clone());
            let offer = offer.unwrap_or_default();
            let Some(Mixed::Intruder { at, .. }) = held.mixed.as_deref() else {
                return false;
            };
            let [a, b] = at.map(|at| at.port());
            if let Some(dialled) = &mut held.parties.dialled {
                dialled.note_joined();
            }
            let is_in = self.in_turn(now, &mut held, |call, turn| {
                call.join(turn, &session, &offer)
            });
            if let (true, Some(Mixed::Intruder { attempt, .. })) = (is_in, held.mixed.as_deref()) {
                let [first, second] = agreed;
                self.note_joined(now, attempt);
                let parties = Box::new([(a, first), (b, second)]);
                self.sounds.mix(room, parties, mix);
                self.counters.calls_joined += 1;
            }
            is_in
        });
        match held.prompting.as_mut().filter(|_| is_in) {
            Some(prompting) => {
                prompting.stage = Stage::Joined;
                if let Some(asker) = held.about.asker() {
                    self.forget_completed(asker);
                }
                self.give_up_camp(&mut held);
            }
            None => self.fail_to_join(now, &mut held),
        }
        self.put_back(now, intruder, held);
        is_in
    }

    /// Whoever has joined a call, or was about to, is in it no longer; whether the room is left to the
    /// others.
    fn dismiss(&mut self, now: Timestamp, key: Key) -> bool {
        let Some(mut held) = self.calls.take(key) else {
            return true;
        };
        let is_in = held.call.is_joined();
        if is_in {
            if let Some(Mixed::Intruder { attempt, .. }) = held.mixed.take().map(|mixed| *mixed) {
                self.end_attempt(now, attempt);
            }
            held.prompting = None;
            self.in_turn(now, &mut held, Call::hang_up);
        } else {
            self.fail_to_join(now, &mut held);
        }
        self.put_back(now, key, held);
        is_in
    }

    /// Whoever has joined, or was about to, has gone: the two have each other again.
    fn leave_mix(&mut self, now: Timestamp, (key, bridge): (Key, Key), held: &mut Held) {
        let Some(Mixed::Intruder {
            attempt, is_broken, ..
        }) = held.mixed.take().map(|mixed| *mixed)
        else {
            return;
        };
        self.end_attempt(now, attempt);
        let Some(prompting) = held.prompting.take() else {
            return;
        };
        let room = prompting.room;
        let is_joined = |other: &Held| {
            matches!(other.mixed.as_deref(), Some(Mixed::Bridge { intruder, .. })
                if *intruder == Some(key))
        };
        let is_asked = self.calls.get(bridge).is_some_and(|other| is_joined(other));
        let Some(mut other) = is_asked.then(|| self.calls.take(bridge)).flatten() else {
            return self.sounds.close(room);
        };
        self.sounds.part(room, prompting.port, bridge);
        other.mixed = Some(Box::new(Mixed::Bridge {
            room: Some(room),
            intruder: None,
        }));
        self.in_turn(now, &mut other, |call, turn| {
            if is_broken {
                call.break_mix(turn);
            } else {
                call.end_mix(turn);
            }
        });
        self.put_back(now, bridge, other);
    }
}
