//! Whether one server takes requests: what its answers to OPTIONS say, and how requests fared there.
//!
//! Spec: RFC 3263 §4.3; RFC 3261 §21.5.4 (Retry-After).
//!
//! ```text
//!            failed, or down_after pings in a row without an answer
//!         +----------------------------------------------------------+
//!         |                                                          v
//!        Up                                                         Down
//!         ^                                                          |
//!         +----------------------------------------------------------+
//!            pinged: up_after answers in a row, and Retry-After over
//!            else:   down_for, or Retry-After, over
//! ```

use std::time::Duration;

use crate::time::Timestamp;

/// The longest that a server may ask to be left alone; a mistyped Retry-After must not cost a day.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(5);

/// When a server counts as down, and how it is found out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Policy {
    /// How long a server may say nothing to a request while another one is left. 4 s hold four
    /// copies of an INVITE, and are what a caller bears.
    pub patience: Duration,
    /// How long a server that failed a request is left alone if nobody pings it.
    pub down_for: Duration,
    /// Which servers are sent OPTIONS.
    pub pings: Pings,
    /// How long the answer to OPTIONS may take.
    pub ping_max: Duration,
    /// How many OPTIONS in a row without an answer put a server down.
    pub down_after: u32,
    /// How many answers in a row bring it back.
    pub up_after: u32,
}

/// Which servers of a peer are sent OPTIONS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pings {
    /// All, this often.
    Every(Duration),
    /// None.
    Off,
    /// All, this often, if there are several: with one there is nothing to choose.
    WithChoice(Duration),
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(4),
            down_for: Duration::from_secs(30),
            pings: Pings::WithChoice(Duration::from_secs(10)),
            ping_max: Duration::from_secs(2),
            down_after: 2,
            up_after: 2,
        }
    }
}

/// Whether requests go there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// They do.
    Up,
    /// They do only where nobody is up.
    Down,
}

/// Why a server has gone up or down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// It answers OPTIONS again.
    Answers,
    /// It was left alone for long enough.
    Rested,
    /// It has not answered OPTIONS, or a request, in time.
    Silent,
    /// It answered 503, or 408 to OPTIONS.
    Unavailable,
    /// Nothing could be sent to it.
    Unreachable,
}

impl Change {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answers => "it answers OPTIONS",
            Self::Rested => "it is tried again",
            Self::Silent => "no answer",
            Self::Unavailable => "unavailable",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What is known of one server.
#[derive(Clone, Copy, Debug)]
pub struct Health {
    state: State,
    since: Timestamp,
    /// While down: until when it is left alone, whoever answers.
    rests: Option<Timestamp>,
    /// OPTIONS in a row that speak against the state.
    against: u32,
    rtt: Option<Duration>,
    ping: Ping,
}

/// Where its OPTIONS stand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ping {
    /// One is sent then.
    Due(Timestamp),
    /// Nobody pings it.
    Off,
    /// It has this number, and its answer is late at `late`.
    Sent {
        number: u64,
        sent: Timestamp,
        late: Timestamp,
    },
}

/// What is to be done about a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Due {
    /// Its state has changed.
    Changed(Change),
    /// Send it OPTIONS, and say so with [`Health::on_ping_sent`].
    Ping,
}

impl Health {
    /// A server of which nothing is known yet: it is taken for up.
    pub fn new(now: Timestamp) -> Self {
        Self {
            state: State::Up,
            since: now,
            rests: None,
            against: 0,
            rtt: None,
            ping: Ping::Off,
        }
    }

    /// Begins or ends the pings.
    pub fn keep_pinging(&mut self, now: Timestamp, is_pinged: bool) {
        match (is_pinged, self.ping) {
            (true, Ping::Off) => self.ping = Ping::Due(now),
            (false, _) => self.ping = Ping::Off,
            (true, Ping::Due(_) | Ping::Sent { .. }) => {}
        }
    }

    /// A request failed there.
    #[must_use]
    pub fn on_failed(
        &mut self,
        now: Timestamp,
        policy: &Policy,
        why: Change,
        retry_after: Option<Duration>,
    ) -> Option<Change> {
        let asked = retry_after.map(|asked| asked.min(RETRY_AFTER_MAX));
        let rest = match self.ping {
            Ping::Off => Some(asked.unwrap_or(policy.down_for)),
            Ping::Due(_) | Ping::Sent { .. } => asked,
        };
        self.rests = rest.map(|rest| now + rest);
        self.turn(now, State::Down, why)
    }

    /// OPTIONS went out.
    pub fn on_ping_sent(&mut self, now: Timestamp, policy: &Policy, number: u64) {
        self.ping = Ping::Sent {
            number,
            sent: now,
            late: now + policy.ping_max,
        };
    }

    /// Whether the OPTIONS of this number wait for their answer.
    pub fn awaits(&self, number: u64) -> bool {
        matches!(self.ping, Ping::Sent { number: own, .. } if own == number)
    }

    /// What came of OPTIONS: `None` an answer, else why there was none.
    #[must_use]
    pub fn on_pinged(
        &mut self,
        now: Timestamp,
        policy: &Policy,
        every: Duration,
        failed: Option<Change>,
    ) -> Option<Change> {
        let Ping::Sent { sent, .. } = self.ping else {
            return None;
        };
        self.ping = Ping::Due((sent + every).max(now));
        if failed.is_none() {
            self.rtt = Some(now.since(sent));
        }
        match (self.state, failed) {
            (State::Up, None) | (State::Down, Some(_)) => {
                self.against = 0;
                None
            }
            (State::Up, Some(why)) => {
                self.against += 1;
                let is_down = self.against >= policy.down_after;
                is_down.then(|| self.turn(now, State::Down, why)).flatten()
            }
            (State::Down, None) => {
                self.against += 1;
                let rests = self.rests.is_some_and(|until| now < until);
                let is_up = self.against >= policy.up_after && !rests;
                let change = is_up.then(|| self.turn(now, State::Up, Change::Answers));
                change.flatten()
            }
        }
    }

    /// What is due; ask until there is nothing.
    #[must_use]
    pub fn handle_timeout(
        &mut self,
        now: Timestamp,
        policy: &Policy,
        every: Duration,
    ) -> Option<Due> {
        match self.ping {
            Ping::Due(at) if at <= now => return Some(Due::Ping),
            Ping::Sent { late, .. } if late <= now => {
                let change = self.on_pinged(now, policy, every, Some(Change::Silent));
                return match change {
                    Some(change) => Some(Due::Changed(change)),
                    None => self.handle_timeout(now, policy, every),
                };
            }
            Ping::Due(_) | Ping::Off | Ping::Sent { .. } => {}
        }
        let has_rested = self.rests.is_some_and(|until| until <= now);
        if self.ping != Ping::Off || !has_rested {
            return None;
        }
        let change = self.turn(now, State::Up, Change::Rested);
        change.map(Due::Changed)
    }

    /// When [`Self::handle_timeout`] has work to do.
    pub fn deadline(&self) -> Option<Timestamp> {
        match self.ping {
            Ping::Due(at) => Some(at),
            Ping::Off => self.rests,
            Ping::Sent { late, .. } => Some(late),
        }
    }

    /// Whether requests go there.
    pub fn state(&self) -> State {
        self.state
    }

    /// Since when they do or do not.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// How long the last answer to OPTIONS took.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Takes on a state; what changed, if anything did.
    fn turn(&mut self, now: Timestamp, state: State, why: Change) -> Option<Change> {
        self.against = 0;
        if state == State::Up {
            self.rests = None;
        }
        if self.state == state {
            return None;
        }
        (self.state, self.since) = (state, now);
        Some(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::START + Duration::from_secs(seconds)
    }

    fn policy() -> Policy {
        Policy::default()
    }

    fn pinged() -> Health {
        let mut health = Health::new(at(0));
        health.keep_pinging(at(0), true);
        health
    }

    /// Sends what is due, and answers it or not.
    fn ping(health: &mut Health, now: Timestamp, failed: Option<Change>) -> Option<Change> {
        let due = health.handle_timeout(now, &policy(), EVERY);
        assert_eq!(due, Some(Due::Ping), "at {now:?}");
        health.on_ping_sent(now, &policy(), 1);
        assert!(health.awaits(1));
        health.on_pinged(now, &policy(), EVERY, failed)
    }

    #[test]
    fn the_second_ping_without_an_answer_puts_a_server_down() {
        let mut health = pinged();
        assert_eq!(ping(&mut health, at(0), Some(Change::Silent)), None);
        assert_eq!(health.state(), State::Up);
        let change = ping(&mut health, at(10), Some(Change::Silent));
        assert_eq!(change, Some(Change::Silent));
        assert_eq!((health.state(), health.since()), (State::Down, at(10)));
        // It is told once.
        assert_eq!(ping(&mut health, at(20), Some(Change::Silent)), None);
    }

    #[test]
    fn a_late_answer_is_no_answer() {
        let mut health = pinged();
        for start in [0, 10] {
            let due = health.handle_timeout(at(start), &policy(), EVERY);
            assert_eq!(due, Some(Due::Ping));
            health.on_ping_sent(at(start), &policy(), start);
            assert_eq!(health.deadline(), Some(at(start + 2)));
            let late = health.handle_timeout(at(start + 2), &policy(), EVERY);
            let expected = (start == 10).then_some(Due::Changed(Change::Silent));
            assert_eq!(late, expected);
            assert!(!health.awaits(start));
            assert_eq!(health.deadline(), Some(at(start + 10)));
        }
    }

    #[test]
    fn the_second_answer_in_a_row_brings_a_server_back() {
        let mut health = pinged();
        let failed = health.on_failed(at(0), &policy(), Change::Unreachable, None);
        assert_eq!(failed, Some(Change::Unreachable));
        assert_eq!(ping(&mut health, at(0), None), None);
        assert_eq!(ping(&mut health, at(10), Some(Change::Silent)), None);
        assert_eq!(ping(&mut health, at(20), None), None);
        assert_eq!(ping(&mut health, at(30), None), Some(Change::Answers));
        assert_eq!((health.state(), health.since()), (State::Up, at(30)));
    }

    #[test]
    fn a_server_that_asks_to_be_left_alone_is_not_brought_back_by_its_answers() {
        let mut health = pinged();
        let retry_after = Some(Duration::from_secs(15));
        let _down = health.on_failed(at(0), &policy(), Change::Unavailable, retry_after);
        assert_eq!(ping(&mut health, at(0), None), None);
        assert_eq!(ping(&mut health, at(10), None), None);
        assert_eq!(ping(&mut health, at(20), None), Some(Change::Answers));
    }

    #[test]
    fn a_server_that_nobody_pings_is_tried_again_after_a_while() {
        let mut health = Health::new(at(0));
        let _down = health.on_failed(at(5), &policy(), Change::Silent, None);
        assert_eq!(health.deadline(), Some(at(35)));
        assert_eq!(health.handle_timeout(at(34), &policy(), EVERY), None);
        let due = health.handle_timeout(at(35), &policy(), EVERY);
        assert_eq!(due, Some(Due::Changed(Change::Rested)));
        assert_eq!(health.deadline(), None);
    }

    #[test]
    fn nobody_is_left_alone_for_a_day() {
        let mut health = Health::new(at(0));
        let day = Some(Duration::from_hours(24));
        let _down = health.on_failed(at(0), &policy(), Change::Unavailable, day);
        assert_eq!(health.deadline(), Some(at(300)));
    }

    #[test]
    fn the_time_of_an_answer_is_kept() {
        let mut health = pinged();
        assert_eq!(health.rtt(), None);
        let _due = health.handle_timeout(at(0), &policy(), EVERY);
        health.on_ping_sent(at(0), &policy(), 1);
        let now = at(0) + Duration::from_millis(7);
        assert_eq!(health.on_pinged(now, &policy(), EVERY, None), None);
        assert_eq!(health.rtt(), Some(Duration::from_millis(7)));
    }
}
