//! Phones that call a busy callee again and again until he is free: they are answered here.
//!
//! Spec: DESIGN §8; RULES R1, R2, R20.
//!
//! Some phones redial by themselves, every 30 s for half an hour. As long as their callee is known to
//! be on as many calls as he was when his side said that he is busy, the answer is known as well, and
//! neither the PBX nor his phone is asked. Now and then one goes through all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cc::addr::Aor;
use crate::completion::Binding;
use crate::shard::Shard;
use crate::shard::desk::name_of;
use crate::shard::offer::{Asker, Callee};
use crate::time::Timestamp;

/// For how long a phone is answered without asking anybody: the callee may have forwarded his calls.
const LONGEST: Duration = Duration::from_mins(5);

/// Most pairs that are remembered; those above are asked for as before.
const PAIRS_MAX: usize = 10_000;

/// Who calls, and whom.
type Pair = (Aor, Aor);

/// The calls that were refused because their callee is busy, a short while ago.
#[derive(Debug, Default)]
pub(super) struct Polls {
    by_pair: BTreeMap<Pair, Poll>,
    by_end: BTreeSet<(Timestamp, Pair)>,
}

/// A call that was refused.
#[derive(Clone, Copy, Debug)]
struct Poll {
    /// From which phone it came.
    binding: Binding,
    /// How many legs the callee had besides.
    legs: u32,
    /// When his side was last asked.
    asked: Timestamp,
    /// Until when another call is a repetition.
    ends: Timestamp,
}

impl Polls {
    /// The callee's side has said that he is busy, and we know with how many legs.
    pub(super) fn note(
        &mut self,
        (now, window): (Timestamp, Duration),
        pair: Pair,
        (binding, legs): (Binding, u32),
    ) {
        let poll = Poll {
            binding,
            legs,
            asked: now,
            ends: now + window,
        };
        self.forget(&pair);
        if window.is_zero() || self.by_pair.len() >= PAIRS_MAX {
            return;
        }
        self.by_end.insert((poll.ends, pair.clone()));
        self.by_pair.insert(pair, poll);
    }

    /// Whether a call repeats one that was refused, and would be refused again; `legs` is how many
    /// the callee has.
    pub(super) fn is_known(
        &mut self,
        (now, window): (Timestamp, Duration),
        pair: &Pair,
        (binding, legs): (Binding, u32),
    ) -> bool {
        let Some(poll) = self.by_pair.get_mut(pair) else {
            return false;
        };
        let is_same = poll.binding == binding && now <= poll.ends;
        let is_busy = legs > 0 && legs >= poll.legs;
        if !is_same || !is_busy || now.since(poll.asked) > LONGEST {
            return false;
        }
        self.by_end.remove(&(poll.ends, pair.clone()));
        poll.ends = now + window;
        self.by_end.insert((poll.ends, pair.clone()));
        true
    }

    /// Forgets what is no repetition any more.
    pub(super) fn handle_timeout(&mut self, now: Timestamp) {
        while let Some((_, pair)) = self.by_end.first().filter(|(ends, _)| *ends < now) {
            let pair = pair.clone();
            self.forget(&pair);
        }
    }

    /// When [`Self::handle_timeout`] next has work to do.
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        let (ends, _) = self.by_end.first()?;
        Some(*ends + Duration::from_micros(1))
    }

    fn forget(&mut self, pair: &Pair) {
        if let Some(poll) = self.by_pair.remove(pair) {
            self.by_end.remove(&(poll.ends, pair.clone()));
        }
    }
}

impl Shard {
    /// Whether the caller's phone has just heard that its callee is busy, as he still is.
    pub(super) fn is_poll(&mut self, now: Timestamp, asker: &Asker) -> bool {
        let Callee::Ours(callee) = &asker.callee else {
            return false;
        };
        let legs = self.users.legs(callee);
        if legs == 0 {
            return false;
        }
        let window = self.settings.completion.poll_window;
        let pair = (asker.caller.clone(), name_of(callee));
        self.polls
            .is_known((now, window), &pair, (asker.binding, legs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(40);
    const DESK: Binding = Binding(1);
    const HOME: Binding = Binding(2);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::START + Duration::from_secs(seconds)
    }

    fn pair() -> Pair {
        (Aor::new("alice@"), Aor::new("bob@"))
    }

    /// Bob, with two legs, was busy for Alice at 100 s.
    fn polls() -> Polls {
        let mut polls = Polls::default();
        polls.note((at(100), WINDOW), pair(), (DESK, 2));
        polls
    }

    #[test]
    fn each_repetition_in_time_makes_the_next_one_known() {
        let mut polls = polls();
        for seconds in [130, 160, 200, 240] {
            assert!(polls.is_known((at(seconds), WINDOW), &pair(), (DESK, 2)));
        }
        assert!(!polls.is_known((at(281), WINDOW), &pair(), (DESK, 2)));
    }

    #[test]
    fn now_and_then_one_goes_through() {
        let mut polls = polls();
        let mut known = 0;
        for seconds in (130..=460).step_by(30) {
            known += u32::from(polls.is_known((at(seconds), WINDOW), &pair(), (DESK, 2)));
        }
        // Those up to 400 s.
        assert_eq!(known, 10);
    }

    #[test]
    fn another_phone_or_fewer_calls_of_the_callee_are_asked_for() {
        let mut polls = polls();
        let now = (at(110), WINDOW);
        assert!(!polls.is_known(now, &pair(), (HOME, 2)));
        assert!(!polls.is_known(now, &pair(), (DESK, 1)));
        assert!(!polls.is_known(now, &pair(), (DESK, 0)));
        assert!(polls.is_known(now, &pair(), (DESK, 3)));
        let (alice, bob) = pair();
        assert!(!polls.is_known(now, &(bob, alice), (DESK, 2)));
    }

    #[test]
    fn nothing_is_left_after_a_while() {
        let mut polls = polls();
        let due = polls.poll_timeout().expect("an end");
        polls.handle_timeout(due);
        assert!(polls.by_pair.is_empty());
        assert_eq!(polls.poll_timeout(), None);
    }

    #[test]
    fn without_a_window_nothing_is_remembered() {
        let mut polls = polls();
        polls.note((at(101), Duration::ZERO), pair(), (DESK, 2));
        assert!(polls.by_pair.is_empty());
    }
}
