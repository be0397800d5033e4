//! What is known of a user's lines, and what has to happen on them before he is recalled.
//!
//! Spec: RFC 6910 §4.1 (when each condition is over), §5; TS 24.642 (idle guard).

use std::time::Duration;

use crate::cc::Condition;
use crate::time::Timestamp;

/// Whether a user's lines carry calls, alerting ones included.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Calls {
    /// Nobody knows: nothing was seen of this user since the start.
    Unknown,
    /// At least one.
    Engaged,
    /// None.
    Free,
}

/// All that is known of a user, as a state: the newest one replaces all before it, so that reports
/// may be merged on the way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Line {
    /// Whether there are calls now.
    pub calls: Calls,
    /// When his last call ended: the last change from engaged to free. A call that he refused as busy is
    /// none.
    pub freed: Option<Timestamp>,
    /// The same, if one of the calls that ended since he was last free had been answered.
    pub talked: Option<Timestamp>,
    /// Since when he is registered; `None` while he is not. One whose registration somebody else
    /// keeps counts as registered since the start.
    pub registered: Option<Timestamp>,
    /// Until when completion leaves him alone: after an emergency call of his.
    pub quiet_until: Option<Timestamp>,
}

impl Line {
    /// Nothing was seen yet.
    pub const UNKNOWN: Self = Self {
        calls: Calls::Unknown,
        freed: None,
        talked: None,
        registered: None,
        quiet_until: None,
    };

    /// From when on a call to him could succeed, as things stand; `None` if something must change.
    ///
    /// `unknown_by` is when unknown lines count as free.
    pub fn takes_calls_at(&self, unknown_by: Option<Timestamp>) -> Option<Timestamp> {
        let from = match self.calls {
            Calls::Engaged => None,
            Calls::Free => self.registered,
            Calls::Unknown => unknown_by,
        };
        from.max(from.and(self.quiet_until))
    }

    /// Whether a call to him would fail now.
    pub fn refuses_calls(&self, now: Timestamp) -> bool {
        self.frees_at().is_none_or(|from| now < from)
    }

    /// From when on a call to him need not fail, as things stand; `None` if something must change.
    pub fn frees_at(&self) -> Option<Timestamp> {
        let quiet = self.quiet_until.unwrap_or(Timestamp::START);
        match self.calls {
            Calls::Engaged => None,
            Calls::Free => self.registered.and(Some(quiet)),
            Calls::Unknown => Some(quiet),
        }
    }

    /// When the guard time after the last change is over: until then the lines are his own, to
    /// place a call himself.
    pub fn settles(&self, guard: Duration) -> Timestamp {
        let changed = self.freed.max(self.registered);
        changed.map_or(Timestamp::START, |changed| changed + guard)
    }
}

/// What has to happen on a callee's lines, after the call failed, before he is recalled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trigger {
    /// His last call ends.
    Freed,
    /// A call that he talked on ends: he is back at his phone.
    Talked,
    /// He registers.
    Registered,
    /// A call of his ends, if only one that rang, because nobody knows what happened before the start; or
    /// this much time. A phone that registers may only refresh, and its user be talking all the while.
    Seen {
        /// When it no longer matters.
        by: Timestamp,
    },
    /// The same, or he registers: he was not there before the start.
    Back {
        /// When it no longer matters.
        by: Timestamp,
    },
}

impl Trigger {
    /// What a call that failed waits for, given the callee's lines at that moment (the failed
    /// call's own legs not counted).
    ///
    /// A busy signal from a phone without calls is a refusal (do not disturb, reject key): waiting
    /// for its last call to end would recall at once, and again, so its user has to be seen talking.
    pub fn after(condition: Condition, calls: Calls) -> Self {
        match (condition, calls) {
            (Condition::Busy, Calls::Engaged | Calls::Unknown) => Self::Freed,
            (Condition::Busy, Calls::Free) | (Condition::NoReply, _) => Self::Talked,
            (Condition::NotLoggedIn, _) => Self::Registered,
        }
    }

    /// What a request waits for after a restart, given why its call had failed: nobody knows what the
    /// callee did meanwhile.
    pub fn anew(condition: Condition, by: Timestamp) -> Self {
        match condition {
            Condition::Busy | Condition::NoReply => Self::Seen { by },
            Condition::NotLoggedIn => Self::Back { by },
        }
    }

    /// From when on it counts as having happened after `since`; `None` as long as it has not.
    ///
    /// CC-02: an entry whose condition is not met is not selected.
    pub fn met_at(self, line: &Line, since: Timestamp) -> Option<Timestamp> {
        let edge = match self {
            Self::Freed => line.freed,
            Self::Talked => line.talked,
            Self::Registered => line.registered,
            Self::Seen { .. } => line.freed.max(line.talked),
            Self::Back { .. } => line.freed.max(line.talked).max(line.registered),
        };
        edge.filter(|edge| *edge > since).or_else(|| self.by_time())
    }

    /// When it counts as having happened whether or not anybody saw it.
    pub fn by_time(self) -> Option<Timestamp> {
        match self {
            Self::Seen { by } | Self::Back { by } => Some(by),
            Self::Freed | Self::Talked | Self::Registered => None,
        }
    }

    /// When unknown lines count as free: at that time, and to somebody who was not there as soon as
    /// the callee has come.
    pub fn unknown_by(self, line: &Line, since: Timestamp) -> Option<Timestamp> {
        let came = match self {
            Self::Back { .. } | Self::Registered => line.registered.filter(|it| *it > since),
            Self::Freed | Self::Seen { .. } | Self::Talked => None,
        };
        came.or_else(|| self.by_time())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::START + Duration::from_secs(seconds)
    }

    fn free() -> Line {
        Line {
            calls: Calls::Free,
            registered: Some(at(0)),
            ..Line::UNKNOWN
        }
    }

    #[test]
    fn ccbs_waits_for_an_edge_after_the_failure() {
        let trigger = Trigger::after(Condition::Busy, Calls::Engaged);
        let line = |freed| Line {
            freed: Some(at(freed)),
            ..free()
        };
        // CC-02
        assert_eq!(trigger.met_at(&line(9), at(9)), None);
        assert_eq!(trigger.met_at(&line(10), at(9)), Some(at(10)));
    }

    #[test]
    fn ccnr_waits_for_a_call_that_was_answered() {
        let trigger = Trigger::after(Condition::NoReply, Calls::Free);
        let rang = Line {
            freed: Some(at(12)),
            ..free()
        };
        // CC-02
        assert_eq!(trigger.met_at(&rang, at(9)), None);
        let talked = Line {
            talked: Some(at(12)),
            ..rang
        };
        assert_eq!(trigger.met_at(&talked, at(9)), Some(at(12)));
    }

    #[test]
    fn ccnl_waits_for_a_registration() {
        let trigger = Trigger::after(Condition::NotLoggedIn, Calls::Free);
        // CC-02
        assert_eq!(trigger.met_at(&free(), at(9)), None);
        let back = Line {
            registered: Some(at(10)),
            ..free()
        };
        assert_eq!(trigger.met_at(&back, at(9)), Some(at(10)));
    }

    #[test]
    fn a_busy_signal_from_a_free_phone_is_served_as_no_reply() {
        assert_eq!(
            Trigger::after(Condition::Busy, Calls::Free),
            Trigger::Talked
        );
    }

    #[test]
    fn after_a_restart_any_edge_or_enough_time_will_do() {
        let trigger = Trigger::Seen { by: at(300) };
        assert_eq!(trigger.met_at(&free(), at(0)), Some(at(300)));
        let freed = Line {
            freed: Some(at(7)),
            ..free()
        };
        assert_eq!(trigger.met_at(&freed, at(0)), Some(at(7)));
    }

    /// R2: it may be a refresh, in the middle of a talk.
    #[test]
    fn after_a_restart_a_registration_is_a_sign_only_of_who_was_not_there() {
        let back = Line {
            calls: Calls::Unknown,
            registered: Some(at(7)),
            ..Line::UNKNOWN
        };
        for condition in [Condition::Busy, Condition::NoReply] {
            let trigger = Trigger::anew(condition, at(300));
            assert_eq!(trigger.met_at(&back, at(0)), Some(at(300)));
            assert_eq!(trigger.unknown_by(&back, at(0)), Some(at(300)));
        }
        let trigger = Trigger::anew(Condition::NotLoggedIn, at(300));
        assert_eq!(trigger.met_at(&back, at(0)), Some(at(7)));
        assert_eq!(trigger.unknown_by(&back, at(0)), Some(at(7)));
        // He is registered since before.
        assert_eq!(trigger.met_at(&back, at(7)), Some(at(300)));
        assert_eq!(trigger.unknown_by(&back, at(7)), Some(at(300)));
    }

    #[test]
    fn a_user_takes_calls_only_if_registered_and_not_left_alone() {
        assert_eq!(free().takes_calls_at(None), Some(at(0)));
        let away = Line {
            registered: None,
            ..free()
        };
        assert_eq!(away.takes_calls_at(None), None);
        assert!(away.refuses_calls(at(1)));
        let quiet = Line {
            quiet_until: Some(at(5)),
            ..free()
        };
        assert_eq!(quiet.takes_calls_at(None), Some(at(5)));
        assert!(quiet.refuses_calls(at(4)));
        assert!(!quiet.refuses_calls(at(5)));
    }

    #[test]
    fn an_unknown_user_takes_calls_when_his_time_is_up() {
        assert_eq!(Line::UNKNOWN.takes_calls_at(None), None);
        assert_eq!(Line::UNKNOWN.takes_calls_at(Some(at(9))), Some(at(9)));
        assert!(!Line::UNKNOWN.refuses_calls(at(1)));
    }
}
