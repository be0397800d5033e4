//! Who is in how many calls, and what is known of the lines of those who are waited for.
//!
//! Spec: RULES R2, R23; RFC 6910 §4.1.
//!
//! A user is *engaged* while a leg on one of his registered flows exists, alerting included. Users
//! without legs are not kept, unless somebody waits for them or may soon ask to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cc::line::{Calls, Line};
use crate::location::Aor;
use crate::named::{Fate, Named};
use crate::time::Timestamp;

/// The users that are in calls, or waited for.
#[derive(Debug, Default)]
pub struct Users {
    known: Named<Aor, User>,
    /// Those that are kept for a while, each once, by when that is looked at.
    kept: BTreeSet<(Timestamp, Aor)>,
    /// Watched users whose lines are not what was told last.
    changed: BTreeSet<Aor>,
    /// R23: who is left alone, and until when; they are kept at least as long.
    quiet: BTreeMap<Aor, Timestamp>,
    engaged: usize,
    /// R2: until when nobody knows of those who were registered before the start what calls they have.
    unknown_until: Option<Timestamp>,
    /// Nor who was registered: whoever registers until then may have been.
    forgot_registrations: bool,
}

/// How far the furthest of somebody's dialogs is, as his PBX tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Far {
    /// He has none.
    Free,
    /// One is being set up.
    Alerting,
    /// One is up.
    Talking,
}

/// What came of somebody's calls.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
enum Came {
    /// Nothing: he refused each as busy, if there were any.
    #[default]
    Nothing,
    /// One took his line, if only by ringing.
    Held,
    /// One was answered.
    Talked,
}

#[derive(Debug, Default)]
struct User {
    legs: u32,
    /// `None`: nobody tells.
    far: Option<Far>,
    /// Of these, calls that he began.
    begun: u32,
    is_watched: bool,
    /// What came of his calls since he was last free.
    came: Came,
    freed: Option<Timestamp>,
    talked: Option<Timestamp>,
    kept_until: Option<Timestamp>,
}

impl User {
    fn is_needed(&self, now: Timestamp) -> bool {
        let is_kept = self.kept_until.is_some_and(|until| until > now);
        self.legs > 0 || self.is_watched || is_kept
    }

    /// What becomes of him after something has changed.
    fn fate(&self, now: Timestamp) -> Fate {
        if self.is_needed(now) {
            Fate::Stays
        } else {
            Fate::Goes
        }
    }
}

impl Users {
    /// One more leg.
    pub fn engage(&mut self, user: &Aor) {
        let Some(known) = self.known.or_default(user) else {
            return;
        };
        self.engaged += usize::from(known.legs == 0);
        known.legs += 1;
        if known.is_watched {
            self.changed.insert(user.clone());
        }
    }

    /// One of his legs is a call that he began.
    pub fn begin(&mut self, user: &Aor) {
        if let Some(known) = self.known.get_mut(user) {
            known.begun += 1;
        }
    }

    /// A call that he began is over; his leg of it is released afterwards.
    pub fn end_begun(&mut self, user: &Aor) {
        if let Some(known) = self.known.get_mut(user) {
            known.begun = known.begun.saturating_sub(1);
        }
    }

    /// How many calls that he began are up.
    pub fn begun(&self, user: &Aor) -> u32 {
        self.known.get(user).map_or(0, |known| known.begun)
    }

    /// One of his calls was answered.
    pub fn answer(&mut self, user: &Aor) {
        if let Some(known) = self.known.get_mut(user) {
            known.came = Came::Talked;
        }
    }

    /// One leg less.
    pub fn release(&mut self, now: Timestamp, user: &Aor) {
        self.let_go(now, user, Came::Held);
    }

    /// The same, of a call that his phone refused as busy.
    ///
    /// R2: with what it is busy nobody here need see, and its own refusal does not end that.
    pub fn release_refused(&mut self, now: Timestamp, user: &Aor) {
        self.let_go(now, user, Came::Nothing);
    }

    fn let_go(&mut self, now: Timestamp, user: &Aor, came: Came) {
        let (engaged, changed) = (&mut self.engaged, &mut self.changed);
        self.known.change(user, |known| {
            if known.legs == 0 {
                return Fate::Stays;
            }
            known.legs -= 1;
            known.came = known.came.max(came);
            if known.legs == 0 {
                *engaged -= 1;
                let came = std::mem::take(&mut known.came);
                if came >= Came::Held {
                    known.freed = Some(now);
                }
                if came == Came::Talked {
                    known.talked = Some(now);
                }
            }
            if known.is_watched {
                changed.insert(user.clone());
            }
            known.fate(now)
        });
    }

    /// How many legs he has.
    pub fn legs(&self, user: &Aor) -> u32 {
        self.known.get(user).map_or(0, |known| known.legs)
    }

    /// Whether he has other legs than this many, given since when he is registered.
    pub fn calls_beside(&self, user: &Aor, legs: u32, registered: Option<Timestamp>) -> Calls {
        // What is told of him may be this very call as long as it rings.
        let far = self.far(user);
        if self.legs(user) > legs || far == Some(Far::Talking) {
            Calls::Engaged
        } else if far.is_some() {
            Calls::Free
        } else if self.is_unknown(user, registered) {
            Calls::Unknown
        } else {
            Calls::Free
        }
    }

    /// What his PBX tells of him, if it does.
    pub fn far(&self, user: &Aor) -> Option<Far> {
        self.known.get(user)?.far
    }

    /// His calls, as far as his PBX tells.
    pub fn calls_told(&self, user: &Aor) -> Calls {
        match self.far(user) {
            Some(Far::Talking) => Calls::Engaged,
            Some(Far::Alerting | Far::Free) => Calls::Free,
            None => Calls::Unknown,
        }
    }

    /// His PBX tells of the dialogs of somebody who is watched, or does so no more.
    ///
    /// R2: only a talk that has ended makes him free; who is found without calls at first sight may
    /// have hung up meanwhile.
    pub fn set_far(&mut self, now: Timestamp, user: &Aor, far: Option<Far>) {
        let Some(known) = self.known.get_mut(user) else {
            return;
        };
        let before = std::mem::replace(&mut known.far, far);
        if before == far {
            return;
        }
        if before == Some(Far::Talking) {
            known.came = Came::Talked;
        }
        if far == Some(Far::Free) && known.legs == 0 {
            let has_talked = std::mem::take(&mut known.came) == Came::Talked;
            if has_talked || before.is_none() {
                known.freed = Some(now);
            }
            if has_talked {
                known.talked = Some(now);
            }
        }
        self.note_change(user);
    }

    /// R2: users were registered before we were started, and may be on calls that nobody here knows.
    pub fn know_nothing_until(&mut self, until: Timestamp) {
        self.unknown_until = Some(until);
    }

    /// R2: the same, and nobody knows either who was registered: a REGISTER may be a refresh of one who
    /// talks on a call of before.
    pub fn know_nobody_until(&mut self, until: Timestamp) {
        self.know_nothing_until(until);
        self.forgot_registrations = true;
    }

    /// Whether he is one of them, and was not seen to end a talk since.
    fn is_unknown(&self, user: &Aor, registered: Option<Timestamp>) -> bool {
        let was_registered = registered == Some(Timestamp::START)
            || (self.forgot_registrations && registered.is_some());
        let is_seen = || {
            self.known
                .get(user)
                .is_some_and(|user| user.talked.is_some())
        };
        self.unknown_until.is_some() && was_registered && !is_seen()
    }

    /// Keeps what happens on his lines for this long, though nobody watches him yet: somebody was
    /// offered to.
    pub fn keep(&mut self, now: Timestamp, user: &Aor, time: Duration) {
        let until = now + time;
        let Some(known) = self.known.or_default(user) else {
            return;
        };
        if known.kept_until.is_some_and(|longer| longer >= until) {
            return;
        }
        // Who is kept already is kept longer when his time is looked at.
        if known.kept_until.replace(until).is_none() {
            self.kept.insert((until, user.clone()));
        }
    }

    /// R23: leaves him alone for this long, as he has called for help.
    pub fn leave_alone(&mut self, now: Timestamp, user: &Aor, time: Duration) {
        self.keep(now, user, time);
        self.quiet.insert(user.clone(), now + time);
        self.note_change(user);
    }

    /// Whether he is left alone.
    pub fn is_left_alone(&self, now: Timestamp, user: &Aor) -> bool {
        self.quiet.get(user).is_some_and(|until| *until > now)
    }

    /// His lines are told from now on, the first time at once; his name is kept in this very piece.
    pub fn watch(&mut self, user: &Aor) {
        if let Some(known) = self.known.or_default(user) {
            known.is_watched = true;
            self.known.rename(user);
            self.changed.insert(user.clone());
        }
    }

    /// His lines are told no more.
    pub fn unwatch(&mut self, now: Timestamp, user: &Aor) {
        self.known.change(user, |known| {
            known.is_watched = false;
            known.fate(now)
        });
    }

    /// Nobody's lines are told any more.
    pub fn unwatch_all(&mut self) {
        self.changed.clear();
        self.known.change_all(|known| {
            known.is_watched = false;
            known.far = None;
            if known.legs > 0 || known.kept_until.is_some() {
                Fate::Stays
            } else {
                Fate::Goes
            }
        });
    }

    /// Says that something about his lines is new that is kept elsewhere: his registration.
    pub fn note_change(&mut self, user: &Aor) {
        let is_watched = self.known.get(user).is_some_and(|known| known.is_watched);
        if is_watched {
            self.changed.insert(user.clone());
        }
    }

    /// Whether lines of watched users have changed.
    pub fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// A watched user whose lines have changed.
    pub fn take_changed(&mut self) -> Option<Aor> {
        self.changed.pop_first()
    }

    /// His lines, given since when he is registered.
    pub fn line(&self, user: &Aor, registered: Option<Timestamp>) -> Line {
        let mut calls = self.calls_beside(user, 0, registered);
        if self.far(user) == Some(Far::Alerting) {
            calls = Calls::Engaged;
        }
        let line = Line {
            calls,
            registered,
            ..Line::UNKNOWN
        };
        let Some(known) = self.known.get(user) else {
            return line;
        };
        Line {
            freed: known.freed,
            talked: known.talked,
            quiet_until: self.quiet.get(user).copied(),
            ..line
        }
    }

    /// Forgets those who were kept long enough.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if self.unknown_until.take_if(|until| *until <= now).is_some() {
            let watched = self.known.iter().filter(|(_, user)| user.is_watched);
            self.changed.extend(watched.map(|(user, _)| user.clone()));
        }
        while self.kept.first().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, user)) = self.kept.pop_first() {
                self.look_at_kept(now, &user);
            }
        }
    }

    fn look_at_kept(&mut self, now: Timestamp, user: &Aor) {
        let (kept, quiet) = (&mut self.kept, &mut self.quiet);
        if !self.known.contains(user) {
            quiet.remove(user);
        }
        self.known.change(user, |known| {
            if let Some(until) = known.kept_until.filter(|until| *until > now) {
                kept.insert((until, user.clone()));
            } else {
                known.kept_until = None;
                quiet.remove(user);
            }
            known.fate(now)
        });
    }

    /// When [`Self::handle_timeout`] next has work to do.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let kept = self.kept.first().map(|(until, _)| *until);
        kept.into_iter().chain(self.unknown_until).min()
    }

    /// How many users are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// How many of them are in calls.
    pub fn engaged(&self) -> usize {
        self.engaged
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::location::Domains;
    use crate::sip::Uri;

    const WINDOW: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::START + Duration::from_secs(seconds)
    }

    fn alice() -> Aor {
        user(b"sip:alice@localhost")
    }

    fn bob() -> Aor {
        user(b"sip:bob@localhost")
    }

    fn user(uri: &[u8]) -> Aor {
        let uri = Uri::parse(uri).expect("a URI");
        Domains::default().aor(&uri).expect("a user")
    }

    #[test]
    fn who_has_no_call_and_is_not_waited_for_is_not_kept() {
        let mut users = Users::default();
        users.engage(&bob());
        users.release(at(1), &bob());
        assert!(users.is_empty());
        users.watch(&bob());
        users.unwatch(at(2), &bob());
        assert!(users.is_empty());
    }

    /// Bob, who is watched and is at his phone since the start, as his PBX tells at these seconds.
    fn told(news: &[(u64, Option<Far>)]) -> Line {
        let mut users = Users::default();
        users.watch(&bob());
        for (seconds, far) in news {
            users.set_far(at(*seconds), &bob(), *far);
        }
        users.line(&bob(), Some(Timestamp::START))
    }

    #[test]
    fn a_talk_that_a_pbx_tells_of_engages_its_user_and_frees_him() {
        let talk = [(1, Some(Far::Free)), (2, Some(Far::Talking))];
        assert_eq!(told(&talk).calls, Calls::Engaged);
        let over = told(&[talk[0], talk[1], (9, Some(Far::Free))]);
        assert_eq!(over.calls, Calls::Free);
        assert_eq!((over.freed, over.talked), (Some(at(9)), Some(at(9))));
        // Ringing on is no end.
        let rings = told(&[talk[0], talk[1], (9, Some(Far::Alerting))]);
        assert_eq!((rings.calls, rings.talked), (Calls::Engaged, None));
    }

    #[test]
    fn a_call_that_only_rang_leaves_its_user_as_he_was() {
        let first = [(1, Some(Far::Free)), (2, Some(Far::Alerting))];
        assert_eq!(told(&first).calls, Calls::Engaged);
        let over = told(&[first[0], first[1], (9, Some(Far::Free))]);
        let seen = (over.calls, over.freed, over.talked);
        assert_eq!(seen, (Calls::Free, Some(at(1)), None));
    }

    #[test]
    fn a_talk_that_ended_unseen_has_ended_when_it_is_told_again() {
        let news = [(2, Some(Far::Talking)), (5, None), (9, Some(Far::Free))];
        let over = told(&news);
        assert_eq!((over.freed, over.talked), (Some(at(9)), Some(at(9))));
    }

    #[test]
    fn what_a_pbx_tells_is_forgotten_with_the_last_who_waits() {
        let mut users = Users::default();
        users.watch(&bob());
        users.set_far(at(1), &bob(), Some(Far::Talking));
        assert_eq!(users.calls_told(&bob()), Calls::Engaged);
        users.unwatch(at(2), &bob());
        assert!(users.is_empty());
        users.set_far(at(3), &bob(), Some(Far::Free));
        assert!(users.is_empty());
        assert_eq!(users.calls_told(&bob()), Calls::Unknown);
    }

    #[test]
    fn a_hang_up_between_the_offer_and_the_request_is_remembered() {
        let mut users = Users::default();
        users.engage(&bob());
        users.keep(at(1), &bob(), WINDOW);
        users.release(at(2), &bob());
        users.watch(&bob());
        assert_eq!(users.line(&bob(), None).freed, Some(at(2)));
        users.unwatch(at(3), &bob());
        users.handle_timeout(at(31));
        assert!(users.is_empty());
    }

    /// Who had called for help was kept for an hour, and so was everybody who was kept after him.
    #[test]
    fn one_who_is_kept_for_long_keeps_nobody_else() {
        let mut users = Users::default();
        users.leave_alone(at(0), &alice(), Duration::from_hours(1));
        users.keep(at(1), &bob(), WINDOW);
        assert_eq!(users.poll_timeout(), Some(at(31)));
        users.handle_timeout(at(31));
        assert_eq!(users.len(), 1);
        users.handle_timeout(at(3_600));
        assert!(users.is_empty());
    }

    #[test]
    fn who_was_registered_before_the_start_is_unknown_until_he_was_seen_or_for_so_long() {
        let mut users = Users::default();
        let before = Some(Timestamp::START);
        users.watch(&bob());
        assert_eq!(users.line(&bob(), before).calls, Calls::Free);
        users.know_nothing_until(at(300));
        assert_eq!(users.line(&bob(), before).calls, Calls::Unknown);
        assert_eq!(users.line(&bob(), Some(at(1))).calls, Calls::Free);
        // A call that rang says nothing of the others that he may have.
        users.engage(&bob());
        assert_eq!(users.line(&bob(), before).calls, Calls::Engaged);
        users.release(at(2), &bob());
        assert_eq!(users.line(&bob(), before).calls, Calls::Unknown);
        users.engage(&bob());
        users.answer(&bob());
        users.release(at(3), &bob());
        assert_eq!(users.line(&bob(), before).calls, Calls::Free);
        while users.take_changed().is_some() {}
        assert_eq!(users.line(&alice(), before).calls, Calls::Unknown);
        users.handle_timeout(at(300));
        assert_eq!(users.line(&alice(), before).calls, Calls::Free);
        assert_eq!(users.take_changed(), Some(bob()));
    }

    /// A phone that registered after the start was taken for one that had been away.
    #[test]
    fn where_registrations_are_not_kept_whoever_comes_is_unknown_until_he_was_seen() {
        let mut users = Users::default();
        let back = Some(at(10));
        users.watch(&bob());
        users.know_nobody_until(at(300));
        assert_eq!(users.line(&bob(), None).calls, Calls::Free);
        assert_eq!(users.line(&bob(), back).calls, Calls::Unknown);
        users.engage(&bob());
        users.release(at(11), &bob());
        assert_eq!(users.line(&bob(), back).calls, Calls::Unknown);
        users.engage(&bob());
        users.answer(&bob());
        users.release(at(12), &bob());
        assert_eq!(users.line(&bob(), back).calls, Calls::Free);
        assert_eq!(users.line(&alice(), back).calls, Calls::Unknown);
        users.handle_timeout(at(300));
        assert_eq!(users.line(&alice(), back).calls, Calls::Free);
    }

    #[test]
    fn who_is_waited_for_is_written_as_whoever_waits_has_him() {
        let mut users = Users::default();
        users.engage(&bob());
        let name = bob();
        users.watch(&name);
        let known = users.known.name(&bob()).clone();
        assert!(Arc::ptr_eq(known.as_arc(), name.as_arc()));
    }

    /// With his name and what the table adds 64, which fill a page by the page.
    #[test]
    fn a_user_takes_40_bytes() {
        assert!(size_of::<User>() <= 40);
    }

    #[test]
    fn who_has_called_for_help_is_left_alone_for_as_long_as_that_lasts() {
        let mut users = Users::default();
        users.watch(&bob());
        users.leave_alone(at(0), &bob(), WINDOW);
        users.keep(at(0), &bob(), 2 * WINDOW);
        let quiet_until = users.line(&bob(), None).quiet_until;
        assert_eq!(quiet_until, Some(at(30)));
        assert!(users.is_left_alone(at(29), &bob()) && !users.is_left_alone(at(30), &bob()));
        users.unwatch(at(40), &bob());
        users.handle_timeout(at(60));
        assert!(users.is_empty() && users.quiet.is_empty());
    }

    #[test]
    fn who_is_kept_again_is_kept_once_and_for_longer() {
        let mut users = Users::default();
        for second in 0..10 {
            users.keep(at(second), &bob(), WINDOW);
        }
        assert_eq!(users.kept.len(), 1);
        users.keep(at(10), &bob(), Duration::from_secs(1));
        users.handle_timeout(at(38));
        assert_eq!(users.len(), 1);
        users.handle_timeout(at(39));
        assert!(users.is_empty());
    }

    #[test]
    fn only_an_answered_call_counts_as_having_talked() {
        let mut users = Users::default();
        users.watch(&bob());
        users.engage(&bob());
        users.release(at(1), &bob());
        assert_eq!(users.line(&bob(), None).talked, None);
        users.engage(&bob());
        users.answer(&bob());
        users.release(at(2), &bob());
        let line = users.line(&bob(), None);
        assert_eq!((line.freed, line.talked), (Some(at(2)), Some(at(2))));
    }

    /// Who refused two calls at a time as busy was taken to be free, as the second one ended.
    #[test]
    fn a_call_that_was_refused_as_busy_frees_nobody() {
        let mut users = Users::default();
        users.watch(&bob());
        users.engage(&bob());
        users.engage(&bob());
        users.release_refused(at(1), &bob());
        users.release_refused(at(2), &bob());
        let line = users.line(&bob(), None);
        assert_eq!((line.calls, line.freed), (Calls::Free, None));
        // One that rang meanwhile does, whichever ends last.
        users.engage(&bob());
        users.engage(&bob());
        users.release(at(3), &bob());
        users.release_refused(at(4), &bob());
        assert_eq!(users.line(&bob(), None).freed, Some(at(4)));
    }

    #[test]
    fn changes_are_told_of_watched_users_alone_and_once() {
        let mut users = Users::default();
        users.engage(&bob());
        assert_eq!(users.take_changed(), None);
        users.watch(&bob());
        users.engage(&bob());
        users.release(at(1), &bob());
        assert_eq!(users.take_changed(), Some(bob()));
        assert_eq!(users.take_changed(), None);
    }
}
