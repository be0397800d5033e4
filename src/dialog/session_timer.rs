//! The session timer of one leg: who refreshes the session, when, and when it has run out.
//!
//! Spec: RFC 4028 §4, §5, §7, §9, §10 (S-90 to S-97).
//!
//! ```text
//!            half the interval              2xx
//!   Idle ----------------------> Asked ------------> Idle      we refresh
//!    ^ |                         |  ^
//!    | | any refresh      refused|  | a while later
//!    +-+                         v  |
//!                               Refused
//!
//!   interval less a third, or less 32 s: whoever refreshes, the session has run out
//! ```
//!
//! - Both sides of a call have a timer of their own, or none.
//! - What crosses in either direction and is answered refreshes the leg that it crosses.

use std::time::Duration;

use crate::sip::{Item, Message, Name, Writer, parse_u32};
use crate::time::Timestamp;

/// S-90: the shortest interval that a standard peer may ask for, in seconds.
pub const LEAST_S: u32 = 90;

/// S-96: how long before its end at most a session counts as run out.
const MARGIN_MAX: Duration = Duration::from_secs(32);

/// Who refreshes the session of a leg.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refresher {
    /// We.
    Us,
    /// The peer.
    Peer,
}

/// What both ends of a leg have agreed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Terms {
    /// Seconds from one refresh to the end of the session.
    pub interval_s: u32,
    /// Who has to refresh it.
    pub refresher: Refresher,
}

/// What a request or response says of session timers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Asked {
    /// Whether its sender knows them.
    pub is_supported: bool,
    /// Session-Expires, in seconds.
    pub interval_s: Option<u32>,
    /// The `refresher` of it.
    pub refresher: Option<Role>,
    /// Min-SE, in seconds.
    pub least_s: Option<u32>,
    /// Whether its sender takes an UPDATE.
    pub allows_update: bool,
}

/// The `refresher` parameter: an end of the request that carries it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Who sent the request.
    Uac,
    /// Who answers it.
    Uas,
}

impl Role {
    fn text(self) -> &'static str {
        match self {
            Self::Uac => "uac",
            Self::Uas => "uas",
        }
    }
}

impl Asked {
    /// Reads it; an interval that cannot be read is none.
    pub fn of(message: &Message<'_>) -> Self {
        let is_supported = is_supported(message);
        let expires = message.first(Name::SessionExpires);
        let expires = expires.and_then(|value| Item::parse(value).ok());
        let role = expires.and_then(|expires| expires.params.value("refresher"));
        let is = |role: &[u8], wanted: Role| role.eq_ignore_ascii_case(wanted.text().as_bytes());
        let roles = [Role::Uac, Role::Uas];
        Self {
            is_supported,
            interval_s: expires.and_then(|expires| parse_u32(expires.value)),
            refresher: role.and_then(|role| roles.into_iter().find(|wanted| is(role, *wanted))),
            least_s: least_of(message).filter(|_| is_supported),
            allows_update: message.has_option(Name::Allow, "UPDATE"),
        }
    }

    /// S-92: whether it asks for less than this, and would understand to be told so.
    pub fn is_too_short(&self, least_s: u32) -> bool {
        self.is_supported
            && self
                .interval_s
                .is_some_and(|interval_s| interval_s < least_s)
    }

    /// S-94: what we agree to as the server of a request that asks so; `wanted_s` is what we would
    /// ask for ourselves.
    ///
    /// The one who asked refreshes, unless it says otherwise or knows nothing of timers.
    pub fn agreed(&self, wanted_s: Option<u32>) -> Option<Terms> {
        let refresher = match (self.refresher, self.is_supported) {
            (Some(Role::Uas), _) | (_, false) => Refresher::Us,
            (Some(Role::Uac) | None, true) => Refresher::Peer,
        };
        let wanted_s = || {
            let wanted_s = wanted_s.filter(|_| self.is_supported)?;
            Some(wanted_s.max(self.least_s.unwrap_or_default()))
        };
        Some(Terms {
            interval_s: self.interval_s.or_else(wanted_s)?,
            refresher,
        })
    }

    /// What a 2xx to a request of ours says that we have agreed on.
    pub fn answered(&self) -> Option<Terms> {
        Some(Terms {
            interval_s: self.interval_s?,
            refresher: match self.refresher {
                Some(Role::Uas) => Refresher::Peer,
                // Without one it has not said that it does.
                Some(Role::Uac) | None => Refresher::Us,
            },
        })
    }
}

impl Terms {
    /// The same, for so many seconds at least.
    #[must_use]
    pub fn at_least(self, least_s: u32) -> Self {
        Self {
            interval_s: self.interval_s.max(least_s),
            ..self
        }
    }

    /// Writes what the server of a request agrees to (S-94).
    pub fn write_answer(&self, writer: &mut Writer<'_>) {
        let role = match self.refresher {
            Refresher::Us => Role::Uas,
            Refresher::Peer => {
                writer.header(Name::Require, b"timer");
                Role::Uac
            }
        };
        self.write(writer, role);
    }

    /// Writes what the client of a request asks to go on with (S-95).
    pub fn write_request(&self, writer: &mut Writer<'_>) {
        let role = match self.refresher {
            Refresher::Us => Role::Uac,
            Refresher::Peer => Role::Uas,
        };
        self.write(writer, role);
    }

    fn write(self, writer: &mut Writer<'_>, role: Role) {
        let (interval_s, role) = (self.interval_s, role.text());
        writer.header_fmt(
            Name::SessionExpires,
            format_args!("{interval_s};refresher={role}"),
        );
    }
}

/// What is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// A refresh of ours.
    Refresh,
    /// S-96: the session has run out, and the leg is to be ended.
    Expired,
}

/// The timer of one leg.
#[derive(Clone, Copy, Debug)]
pub struct SessionTimer {
    terms: Terms,
    /// When the session was refreshed last.
    fresh: Timestamp,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// It is the refresher's turn at half the interval.
    Idle,
    /// A refresh of ours is under way.
    Asked,
    /// One was refused, for now.
    Refused { again: Timestamp },
}

impl SessionTimer {
    /// A session that was agreed on just now.
    pub fn new(now: Timestamp, terms: Terms) -> Self {
        Self {
            terms,
            fresh: now,
            state: State::Idle,
        }
    }

    /// A refresh of ours was refused, and the session goes on as before (S-20).
    pub fn handle_refusal(&mut self, now: Timestamp) {
        let again = now + self.interval() / 20;
        self.state = State::Refused { again };
    }

    /// S-93: a refresh of ours asked for less than the peer grants: this much.
    pub fn handle_too_short(&mut self, now: Timestamp, least_s: u32) {
        self.terms.interval_s = self.terms.interval_s.max(least_s);
        self.state = State::Refused { again: now };
    }

    /// Acts on a deadline.
    pub fn handle_timeout(&mut self, now: Timestamp) -> Due {
        if self.ends() <= now {
            return Due::Expired;
        }
        match self.refreshes() {
            Some(at) if at <= now => {
                self.state = State::Asked;
                Due::Refresh
            }
            Some(_) | None => Due::Nothing,
        }
    }

    /// When [`Self::handle_timeout`] next has work to do.
    pub fn deadline(&self) -> Timestamp {
        let ends = self.ends();
        self.refreshes()
            .map_or(ends, |refreshes| refreshes.min(ends))
    }

    /// What was agreed on.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// When our next refresh is due, if it is ours to refresh and none is under way.
    fn refreshes(&self) -> Option<Timestamp> {
        match (self.terms.refresher, self.state) {
            // S-95
            (Refresher::Us, State::Idle) => Some(self.fresh + self.interval() / 2),
            (Refresher::Us, State::Refused { again }) => Some(again),
            (Refresher::Us, State::Asked) | (Refresher::Peer, _) => None,
        }
    }

    /// S-96
    fn ends(&self) -> Timestamp {
        let margin = (self.interval() / 3).min(MARGIN_MAX);
        self.fresh + self.interval().saturating_sub(margin)
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(u64::from(self.terms.interval_s))
    }
}

/// Min-SE, in seconds.
pub fn least_of(message: &Message<'_>) -> Option<u32> {
    let least = Item::parse(message.first(Name::MinSe)?).ok()?;
    parse_u32(least.value)
}

fn is_supported(message: &Message<'_>) -> bool {
    [Name::Supported, Name::Require]
        .iter()
        .any(|name| message.has_option(*name, "timer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialog::kit;

    fn asked(lines: &[&str]) -> Asked {
        let mut all = vec![
            "INVITE sip:a@h SIP/2.0",
            "Via: SIP/2.0/UDP h;branch=z9hG4bK1",
            "From: <sip:b@h>;tag=1",
            "To: <sip:a@h>",
            "Call-ID: 1",
            "CSeq: 1 INVITE",
        ];
        all.extend(lines);
        Asked::of(&kit::request(&kit::text(&all)).message)
    }

    fn terms(interval_s: u32, refresher: Refresher) -> Terms {
        Terms {
            interval_s,
            refresher,
        }
    }

    fn at(s: u64) -> Timestamp {
        Timestamp::START + Duration::from_secs(s)
    }

    fn written(write: impl FnOnce(&mut Writer<'_>)) -> String {
        let mut out = Vec::new();
        let mut writer = Writer::fragment(&mut out);
        write(&mut writer);
        writer.finish(b"").expect("nothing is refused");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn what_is_asked_is_read_in_long_and_compact_form() {
        let long = asked(&[
            "k: 100rel, timer",
            "x: 1800 ; refresher=UAS;z=1",
            "Min-SE: 120;z",
        ]);
        assert_eq!(
            long,
            Asked {
                is_supported: true,
                interval_s: Some(1800),
                refresher: Some(Role::Uas),
                least_s: Some(120),
                allows_update: false,
            }
        );
        assert_eq!(asked(&["Session-Expires: soon"]), Asked::default());
        assert_eq!(asked(&["Supported: timers"]), Asked::default());
    }

    #[test]
    fn too_short_is_what_its_sender_can_be_told() {
        let short = asked(&["Supported: timer", "Session-Expires: 89"]);
        assert!(short.is_too_short(90)); // S-92
        assert!(!short.is_too_short(89));
        assert!(!asked(&["Session-Expires: 89"]).is_too_short(90));
    }

    #[test]
    fn who_asks_refreshes_unless_it_says_otherwise() {
        let of = |lines: &[&str], wanted| asked(lines).agreed(wanted);
        let (us, peer) = (Refresher::Us, Refresher::Peer);
        let k = "Supported: timer";
        // S-94
        assert_eq!(of(&[k, "x: 1800"], None), Some(terms(1800, peer)));
        assert_eq!(
            of(&[k, "x: 1800;refresher=uac"], Some(600)),
            Some(terms(1800, peer))
        );
        assert_eq!(
            of(&[k, "x: 1800;refresher=uas"], None),
            Some(terms(1800, us))
        );
        // A proxy asks for a phone that knows no timers.
        assert_eq!(of(&["x: 1800"], None), Some(terms(1800, us)));
        assert_eq!(of(&[k], Some(600)), Some(terms(600, peer)));
        assert_eq!(of(&[k, "Min-SE: 900"], Some(600)), Some(terms(900, peer)));
        assert_eq!(of(&[k], None), None);
        assert_eq!(of(&[], Some(600)), None);
    }

    #[test]
    fn the_answer_says_who_refreshes_and_requires_it_of_the_asker() {
        let peer = written(|writer| terms(90, Refresher::Peer).write_answer(writer));
        assert!(peer.starts_with("Require: timer\r\nSession-Expires: 90;refresher=uac\r\n")); // S-94
        let us = written(|writer| terms(90, Refresher::Us).write_answer(writer));
        assert!(us.starts_with("Session-Expires: 90;refresher=uas\r\n")); // S-94
    }

    #[test]
    fn a_refresh_says_who_refreshes_from_its_own_end() {
        for (refresher, role) in [(Refresher::Us, "uac"), (Refresher::Peer, "uas")] {
            let text = written(|writer| terms(90, refresher).write_request(writer));
            assert!(text.starts_with(&format!("Session-Expires: 90;refresher={role}\r\n")));
            let said = format!("Session-Expires: 90;refresher={role}");
            assert_eq!(asked(&[&said]).answered(), Some(terms(90, refresher)));
        }
        assert_eq!(
            asked(&["Session-Expires: 90"]).answered(),
            Some(terms(90, Refresher::Us))
        );
        assert_eq!(asked(&["Supported: timer"]).answered(), None);
    }

    #[test]
    fn we_refresh_at_half_the_interval_and_again_after_that() {
        let mut timer = SessionTimer::new(at(0), terms(1800, Refresher::Us));
        assert_eq!(timer.deadline(), at(900)); // S-95
        assert_eq!(timer.handle_timeout(at(899)), Due::Nothing);
        assert_eq!(timer.handle_timeout(at(900)), Due::Refresh);
        assert_eq!(timer.deadline(), at(1768)); // S-96
        timer = SessionTimer::new(at(901), timer.terms());
        assert_eq!(timer.deadline(), at(1801));
    }

    #[test]
    fn a_refused_refresh_is_tried_again_until_the_session_has_run_out() {
        let mut timer = SessionTimer::new(at(0), terms(90, Refresher::Us));
        let mut asked = Vec::new();
        let ended = loop {
            let due = timer.deadline();
            match timer.handle_timeout(due) {
                Due::Refresh => asked.push(due),
                Due::Expired => break due,
                Due::Nothing => panic!("a deadline of nothing"),
            }
            timer.handle_refusal(due);
        };
        let every = |count: u32| at(45) + Duration::from_millis(4500) * count;
        assert_eq!(asked, [0, 1, 2, 3].map(every));
        assert_eq!(ended, at(60)); // S-96
    }

    #[test]
    fn an_interval_that_the_peer_finds_too_short_becomes_longer_at_once() {
        let mut timer = SessionTimer::new(at(0), terms(90, Refresher::Us));
        assert_eq!(timer.handle_timeout(at(45)), Due::Refresh);
        timer.handle_too_short(at(46), 300);
        assert_eq!(timer.terms().interval_s, 300); // S-93
        assert_eq!(timer.deadline(), at(46));
        timer.handle_too_short(at(46), 200);
        assert_eq!(timer.terms().interval_s, 300); // S-93
    }

    #[test]
    fn a_peer_that_does_not_refresh_is_given_up_before_the_end() {
        for (interval_s, ends_s) in [(1800, 1768), (96, 64), (90, 60), (3, 2)] {
            let mut timer = SessionTimer::new(at(0), terms(interval_s, Refresher::Peer));
            assert_eq!(timer.deadline(), at(ends_s)); // S-96
            assert_eq!(timer.handle_timeout(at(ends_s)), Due::Expired);
        }
    }
}
