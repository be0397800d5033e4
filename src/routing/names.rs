//! What DNS has said: answers with their time, asked again before they end, kept when DNS fails.
//!
//! Spec: RFC 1035 §3.2.1 (TTL); RFC 2308 §5 (what is not there); RFC 8767 (answers past their time).
//!
//! Invariants: a question is asked once at a time; an answer past its time is used for as long as
//! DNS gives no other, at most [`STALE_MAX`]; what nobody has looked up since the last time around
//! is forgotten instead of asked again.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::time::Timestamp;

/// How long an answer serves after its time while DNS fails; RFC 8767 §5 says one to three days.
pub const STALE_MAX: Duration = Duration::from_hours(24);
/// The least time of an answer: a TTL of 0 must not become a stream of questions.
const TTL_MIN: Duration = Duration::from_secs(5);
/// The most: what has changed is known within an hour.
const TTL_MAX: Duration = Duration::from_hours(1);
/// The most time that something is taken for not being there.
const NOTHING_MAX: Duration = Duration::from_mins(5);
/// After a failure, until the next attempt.
const AGAIN: Duration = Duration::from_secs(5);
/// The same while an answer past its time serves (RFC 8767 §5: 30 s).
const AGAIN_STALE: Duration = Duration::from_secs(30);
/// How long a question may go unanswered; longer than the resolver takes for all of its attempts.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// The most questions; each peer has few, so that only a zone gone wild reaches it.
const QUESTIONS_MAX: usize = 4096;

/// What DNS is asked.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Question {
    /// The name, in lower case, without a dot at its end.
    pub name: Arc<str>,
    /// What of it.
    pub kind: Kind,
}

/// What of a name is asked for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// A and AAAA.
    Address,
    /// NAPTR (RFC 3403).
    Naptr,
    /// SRV (RFC 2782).
    Srv,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Address => "address",
            Kind::Naptr => "NAPTR",
            Kind::Srv => "SRV",
        };
        write!(f, "{kind} of {}", self.name)
    }
}

/// What DNS says; nothing of what was asked for is an answer too.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    /// What is there.
    pub records: Records,
    /// For how long it holds.
    pub ttl: Duration,
}

/// The records of an answer; each list may be empty.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Records {
    /// A and AAAA, in the order of the answer.
    pub addresses: Vec<IpAddr>,
    /// NAPTR.
    pub naptr: Vec<Naptr>,
    /// SRV.
    pub srv: Vec<Srv>,
}

/// A NAPTR record whose regular expression is empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Naptr {
    /// The lowest is taken first.
    pub order: u16,
    /// Among equals, the lowest is taken first.
    pub preference: u16,
    /// `s`: an SRV record follows.
    pub flags: String,
    /// Such as `SIP+D2U`.
    pub service: String,
    /// The name that follows.
    pub replacement: Arc<str>,
}

/// An SRV record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Srv {
    /// The lowest is tried first.
    pub priority: u16,
    /// The share among equals.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; empty if the service is decidedly not there.
    pub target: Arc<str>,
}

/// DNS gave no answer: no server, none in time, or one that says it failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Failed;

/// Why nothing is known of a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Missing {
    /// DNS says that it is not there.
    Nowhere,
    /// DNS has been asked and has not answered yet.
    Pending,
    /// DNS does not answer.
    Silent,
}

/// What DNS has said.
#[derive(Debug, Default)]
pub struct Names {
    entries: BTreeMap<Question, Entry>,
    asked: VecDeque<Question>,
    /// Counts the times around: see [`Self::begin`].
    round: u64,
    next: Option<Timestamp>,
}

#[derive(Debug)]
struct Entry {
    known: Option<Known>,
    ask: Ask,
    /// When it was looked up last.
    round: u64,
}

#[derive(Debug)]
struct Known {
    records: Records,
    expires: Timestamp,
}

#[derive(Clone, Copy, Debug)]
enum Ask {
    /// It was asked, and is given up then.
    Asked(Timestamp),
    /// It is asked then, because the answer ends, or because there was none.
    Later(Timestamp),
}

impl Ask {
    fn at(self) -> Timestamp {
        match self {
            Self::Asked(at) | Self::Later(at) => at,
        }
    }
}

impl Names {
    /// Begins a time around, in which everything that is still of interest is looked up.
    pub fn begin(&mut self) {
        self.round += 1;
    }

    /// What is known; what is not is asked.
    pub fn look_up(
        &mut self,
        now: Timestamp,
        name: &Arc<str>,
        kind: Kind,
    ) -> Result<&Records, Missing> {
        let question = Question {
            name: Arc::clone(name),
            kind,
        };
        if !self.entries.contains_key(&question) {
            self.ask(now, question.clone());
        }
        let round = self.round;
        let entry = self.entries.get_mut(&question).ok_or(Missing::Silent)?;
        entry.round = round;
        match (&entry.known, entry.ask) {
            (Some(known), _) if now < known.expires + STALE_MAX => Ok(&known.records),
            (_, Ask::Asked(_)) => Err(Missing::Pending),
            (_, Ask::Later(_)) => Err(Missing::Silent),
        }
    }

    /// Takes what DNS said; whether anybody had asked.
    pub fn on_reply(
        &mut self,
        now: Timestamp,
        question: &Question,
        reply: Result<&Answer, Failed>,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(question) else {
            return false;
        };
        if let Ok(answer) = reply {
            let is_nothing = answer.records == Records::default();
            let most = if is_nothing { NOTHING_MAX } else { TTL_MAX };
            let ttl = answer.ttl.clamp(TTL_MIN, most);
            entry.known = Some(Known {
                records: answer.records.clone(),
                expires: now + ttl,
            });
            // Ahead of its end, so that no call has to wait.
            entry.ask = Ask::Later(now + ttl * 4 / 5);
        } else {
            let again = match &entry.known {
                Some(_) => AGAIN_STALE,
                None => AGAIN,
            };
            entry.ask = Ask::Later(now + again);
        }
        self.find_next();
        true
    }

    /// Acts on what is due; whether something may have changed by that.
    pub fn handle_timeout(&mut self, now: Timestamp) -> bool {
        if self.next.is_none_or(|next| next > now) {
            return false;
        }
        let due = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.ask.at() <= now);
        let due: Vec<_> = due
            .map(|(question, entry)| {
                let is_unknown = entry.known.is_none();
                (question.clone(), entry.ask, (entry.round, is_unknown))
            })
            .collect();
        let mut has_changed = false;
        for (question, ask, (round, is_unknown)) in due {
            match ask {
                Ask::Asked(_) => {
                    has_changed |= self.on_reply(now, &question, Err(Failed));
                }
                Ask::Later(_) if round < self.round => {
                    self.entries.remove(&question);
                }
                Ask::Later(_) => {
                    // It may be worth waiting for again.
                    has_changed |= is_unknown;
                    self.ask(now, question);
                }
            }
        }
        self.find_next();
        has_changed
    }

    /// The next question for DNS.
    pub fn poll_question(&mut self) -> Option<Question> {
        self.asked.pop_front()
    }

    /// When [`Self::handle_timeout`] has work to do.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.next
    }

    /// How many names are known or asked for.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn ask(&mut self, now: Timestamp, question: Question) {
        let is_full = self.entries.len() >= QUESTIONS_MAX;
        if is_full && !self.entries.contains_key(&question) {
            return;
        }
        self.asked.push_back(question.clone());
        let ask = Ask::Asked(now + ANSWER_MAX);
        let round = self.round;
        let entry = self.entries.entry(question).or_insert(Entry {
            known: None,
            ask,
            round,
        });
        entry.ask = ask;
        self.find_next();
    }

    fn find_next(&mut self) {
        self.next = self.entries.values().map(|entry| entry.ask.at()).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::START + Duration::from_secs(seconds)
    }

    fn question() -> Question {
        Question {
            name: "pbx.example".into(),
            kind: Kind::Address,
        }
    }

    fn answer(host: u8, ttl_s: u64) -> Answer {
        let records = Records {
            addresses: vec![IpAddr::from([192, 0, 2, host])],
            ..Records::default()
        };
        Answer {
            records,
            ttl: Duration::from_secs(ttl_s),
        }
    }

    /// Looks the name up in a time around of its own.
    fn look_up(names: &mut Names, now: Timestamp) -> Result<Vec<IpAddr>, Missing> {
        names.begin();
        let found = names.look_up(now, &"pbx.example".into(), Kind::Address);
        found.map(|records| records.addresses.clone())
    }

    fn answered(ttl_s: u64) -> Names {
        let mut names = Names::default();
        assert_eq!(look_up(&mut names, at(0)), Err(Missing::Pending));
        assert_eq!(names.poll_question(), Some(question()));
        assert!(names.on_reply(at(0), &question(), Ok(&answer(7, ttl_s))));
        names
    }

    #[test]
    fn a_name_is_asked_for_once_at_a_time() {
        let mut names = Names::default();
        for _ in 0..3 {
            assert_eq!(look_up(&mut names, at(0)), Err(Missing::Pending));
        }
        assert_eq!(names.poll_question(), Some(question()));
        assert_eq!(names.poll_question(), None);
    }

    #[test]
    fn an_answer_is_asked_for_again_before_it_ends() {
        let mut names = answered(100);
        assert!(look_up(&mut names, at(79)).is_ok());
        assert_eq!(names.poll_timeout(), Some(at(80)));
        assert!(!names.handle_timeout(at(80)));
        assert_eq!(names.poll_question(), Some(question()));
        // Nobody waits meanwhile.
        assert_eq!(look_up(&mut names, at(81)), Ok(vec![[192, 0, 2, 7].into()]));
        names.on_reply(at(81), &question(), Ok(&answer(8, 100)));
        assert_eq!(look_up(&mut names, at(81)), Ok(vec![[192, 0, 2, 8].into()]));
    }

    #[test]
    fn an_answer_serves_for_a_day_while_dns_fails() {
        let mut names = answered(100);
        let mut now = at(0);
        let mut questions = 0;
        while now < at(100) + STALE_MAX {
            assert!(look_up(&mut names, now).is_ok(), "{now:?}");
            now = names.poll_timeout().expect("it is asked again and again");
            names.handle_timeout(now);
            if names.poll_question().is_some() {
                questions += 1;
                names.on_reply(now, &question(), Err(Failed));
            }
        }
        assert_eq!(look_up(&mut names, now), Err(Missing::Silent));
        assert!((2_800..3_000).contains(&questions), "{questions}");
    }

    #[test]
    fn a_name_without_an_answer_is_asked_for_again_soon() {
        let mut names = Names::default();
        let _pending = look_up(&mut names, at(0));
        assert!(names.poll_question().is_some());
        // The resolver is as good as dead.
        assert_eq!(names.poll_timeout(), Some(at(15)));
        assert!(names.handle_timeout(at(15)));
        assert_eq!(look_up(&mut names, at(15)), Err(Missing::Silent));
        assert!(names.handle_timeout(at(20)));
        assert!(names.poll_question().is_some());
        assert_eq!(look_up(&mut names, at(20)), Err(Missing::Pending));
    }

    #[test]
    fn times_out_of_reason_are_bounded() {
        for (ttl_s, again_s) in [(0, 4), (86_400, 2_880)] {
            let names = answered(ttl_s);
            assert_eq!(names.poll_timeout(), Some(at(again_s)), "{ttl_s}");
        }
    }

    #[test]
    fn what_is_not_there_is_looked_for_again_within_five_minutes() {
        let mut names = Names::default();
        let _pending = look_up(&mut names, at(0));
        let nothing = Answer {
            ttl: Duration::from_hours(3),
            ..Answer::default()
        };
        names.on_reply(at(0), &question(), Ok(&nothing));
        assert_eq!(look_up(&mut names, at(1)), Ok(vec![]));
        assert_eq!(names.poll_timeout(), Some(at(240)));
    }

    #[test]
    fn what_nobody_looks_up_any_more_is_forgotten() {
        let mut names = answered(100);
        names.begin();
        names.handle_timeout(at(80));
        assert!(names.is_empty());
        assert_eq!(names.poll_question(), None);
        assert!(!names.on_reply(at(81), &question(), Ok(&answer(7, 100))));
    }
}
