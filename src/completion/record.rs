//! One completion as the store keeps it.
//!
//! The first byte is the version of this form, so that a later one can read what an earlier one
//! wrote. Times are those of the calendar.

use std::hash::Hasher as _;
use std::sync::Arc;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use crate::cc::addr::{AddrSpec, Aor};
use crate::cc::agent::{Kept, KeptSubscription};
use crate::cc::fork::CallId;
use crate::cc::id::{CceToken, CompletionId};
use crate::cc::monitor::{Availability, Place, Renewal};
use crate::cc::{Basic, Condition, RecallState, SubscriptionId};
use crate::completion::bytes::{Broken, Reader, Writer};
use crate::completion::history::History;
use crate::completion::identity::Identity;
use crate::completion::input::Binding;
use crate::store::Key;
use crate::time::Timestamp;

/// A reading of the calendar's clock, in microseconds since 1970; handed in, as time is.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct WallTime(pub u64);

impl WallTime {
    /// The reading when the process's time is `now`, if this was it at the start.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Self {
        Self(self.0.saturating_add(now.as_micros()))
    }

    /// The process's time at that reading, if `self` was the one at its start; the start if it was
    /// before.
    pub fn moment(self, at: Self) -> Timestamp {
        Timestamp::from(at.since(self))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Who has the two roles.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Roles {
    /// The monitor is elsewhere.
    Agent,
    /// Both are here.
    Both,
    /// The agent is elsewhere.
    Monitor,
    /// Neither: a text waits.
    Text,
    /// The monitor is here, and the caller himself waits with a call; not kept, for the call is not.
    Call,
}

impl Roles {
    /// Whether an agent of ours asks for it.
    pub(super) fn has_agent(self) -> bool {
        match self {
            Self::Agent | Self::Both => true,
            Self::Call | Self::Monitor | Self::Text => false,
        }
    }
}

/// What outlives the process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Its name.
    pub id: CompletionId,
    /// Its entry's name towards others.
    pub cce: CceToken,
    /// Who has the two roles.
    pub roles: Roles,
    /// Why the call failed.
    pub condition: Condition,
    /// What the refreshes of its subscription do.
    pub renewal: Renewal,
    /// Its number among its caller's.
    pub number: u32,
    /// Its place in the order of all.
    pub order: u64,
    /// The phone that asked.
    pub binding: Binding,
    /// How often it was selected; written before the caller hears of it.
    pub recalls: u32,
    /// How often no call followed.
    pub recalls_passed: u32,
    /// When its service ends.
    pub ends: Timestamp,
    /// Since when its caller is not available, if he is not.
    pub suspended: Option<Timestamp>,
    /// Who called.
    pub caller: Aor,
    /// Whom.
    pub callee: Aor,
    /// From which address.
    pub from: AddrSpec,
    /// To which.
    pub dialled: AddrSpec,
    /// What the call said of him beside that.
    pub identity: Identity,
    /// Its entry in a queue of ours, with the Call-ID of its subscription.
    pub entry: Option<(SubscriptionId, CallId, Place)>,
    /// What its caller's agent has.
    pub request: Option<Kept>,
    /// What the callee is to read, of a message.
    pub text: Option<Arc<str>>,
    /// Its story.
    pub history: History,
}

/// The form that [`Record::encode`] writes.
const FORM: u8 = 4;
/// The one before, without texts.
const FORM_BEFORE: u8 = 3;

impl Record {
    /// Where it is kept.
    pub fn key(id: CompletionId, callee: &Aor) -> Key {
        // Fixed keys: the partition of a callee is the same in every process.
        let mut hasher = SipHasher13::new_with_keys(0, 0);
        hasher.write(callee.as_str().as_bytes());
        let [partition, ..] = hasher.finish().to_be_bytes();
        Key {
            partition,
            id: id.to_bits(),
        }
    }

    /// As bytes; times are those of a process that was started then.
    pub fn encode(&self, started: WallTime) -> Box<[u8]> {
        let mut out = Writer::default();
        out.put([
            FORM,
            code(ROLES, self.roles),
            code(CONDITIONS, self.condition),
            code(RENEWALS, self.renewal),
        ]);
        out.bits(self.id.to_bits());
        out.bits(self.cce.to_bits());
        out.number(self.number);
        out.long(self.order);
        out.number(self.recalls);
        out.number(self.recalls_passed);
        out.long(self.binding.0);
        out.long(started.at(self.ends).0);
        out.option(self.suspended, |out, at| out.long(started.at(at).0));
        for text in [
            self.caller.as_str(),
            self.callee.as_str(),
            self.from.as_str(),
            self.dialled.as_str(),
            self.identity.asserted(),
            self.identity.privacy(),
        ] {
            out.text(text);
        }
        out.option(self.entry.as_ref(), |out, (id, call_id, place)| {
            out.long(id.0);
            out.text(&call_id.to_string());
            write_place(out, place, started);
        });
        out.option(self.request.as_ref(), |out, kept| {
            write_request(out, kept, started);
        });
        out.option(self.text.as_deref(), Writer::text);
        self.history.write(&mut out, started);
        out.0.into_boxed_slice()
    }

    /// What [`Self::encode`] wrote, for a process that was started then; `None` for anything else.
    ///
    /// What happened before it was started happened at its start.
    pub fn decode(bytes: &[u8], started: WallTime) -> Option<Self> {
        Self::read(&mut Reader(bytes), started).ok()
    }

    fn read(from: &mut Reader<'_>, started: WallTime) -> Result<Self, Broken> {
        let [form @ (FORM | FORM_BEFORE), roles, condition, renewal] = from.take()? else {
            return Err(Broken);
        };
        let time = |from: &mut Reader<'_>| from.long().map(|at| started.moment(WallTime(at)));
        let record = Self {
            roles: coded(ROLES, roles)?,
            condition: coded(CONDITIONS, condition)?,
            renewal: coded(RENEWALS, renewal)?,
            id: CompletionId::from_bits(from.bits()?),
            cce: CceToken::from_bits(from.bits()?),
            number: from.number()?,
            order: from.long()?,
            recalls: from.number()?,
            recalls_passed: from.number()?,
            binding: Binding(from.long()?),
            ends: time(from)?,
            suspended: from.option(time)?,
            caller: Aor::new(from.text()?),
            callee: Aor::new(from.text()?),
            from: from.address()?.ok_or(Broken)?,
            dialled: from.address()?.ok_or(Broken)?,
            identity: Identity::new(from.text()?, from.text()?),
            entry: from.option(|from| {
                let id = SubscriptionId(from.long()?);
                Ok((
                    id,
                    CallId::of_kept(from.text()?),
                    read_place(from, started)?,
                ))
            })?,
            request: from.option(|from| read_request(from, started))?,
            text: match form {
                FORM_BEFORE => None,
                _ => from.option(|from| Ok(from.text()?.into()))?,
            },
            history: History::read(from, started)?,
        };
        from.0.is_empty().then_some(record).ok_or(Broken)
    }
}

const ROLES: &[(u8, Roles)] = &[
    (0, Roles::Agent),
    (1, Roles::Both),
    (2, Roles::Monitor),
    (3, Roles::Call),
    (4, Roles::Text),
];
const CONDITIONS: &[(u8, Condition)] = &[
    (0, Condition::Busy),
    (1, Condition::NoReply),
    (2, Condition::NotLoggedIn),
];
const RENEWALS: &[(u8, Renewal)] = &[(0, Renewal::Shortens), (1, Renewal::Lengthens)];
const BASICS: &[(u8, Basic)] = &[(0, Basic::Closed), (1, Basic::Open)];
const STATES: &[(u8, RecallState)] = &[(0, RecallState::Queued), (1, RecallState::Ready)];

/// The code of a value that has one.
fn code<T: Copy + PartialEq>(codes: &[(u8, T)], value: T) -> u8 {
    let found = codes.iter().find(|(_, its)| *its == value);
    found.map_or(u8::MAX, |(code, _)| *code)
}

fn coded<T: Copy>(codes: &[(u8, T)], code: u8) -> Result<T, Broken> {
    let found = codes.iter().find(|(its, _)| *its == code);
    found.map(|(_, value)| *value).ok_or(Broken)
}

fn write_place(out: &mut Writer, place: &Place, started: WallTime) {
    out.long(started.at(place.expires).0);
    out.option(place.service_ends, |out, at| out.long(started.at(at).0));
    out.number(place.passed);
    out.number(place.failed);
    out.byte(u8::from(place.selected));
    let suspended = match place.availability {
        Availability::Available => None,
        Availability::Suspended { until } => Some(until),
    };
    out.option(suspended, |out, until| {
        out.option(until, |out, until| out.long(started.at(until).0));
    });
}

fn read_place(from: &mut Reader<'_>, started: WallTime) -> Result<Place, Broken> {
    let time = |from: &mut Reader<'_>| from.long().map(|at| started.moment(WallTime(at)));
    Ok(Place {
        expires: time(from)?,
        service_ends: from.option(time)?,
        passed: from.number()?,
        failed: from.number()?,
        selected: from.byte()? != 0,
        availability: match from.option(|from| from.option(time))? {
            None => Availability::Available,
            Some(until) => Availability::Suspended { until },
        },
    })
}

fn write_request(out: &mut Writer, kept: &Kept, started: WallTime) {
    out.byte(code(BASICS, kept.shown));
    out.number(kept.passed);
    // As many as one SUBSCRIBE may fork to, for each monitor that a call named.
    out.byte(u8::try_from(kept.subscriptions.len()).unwrap_or(u8::MAX));
    for sub in kept.subscriptions.iter().take(usize::from(u8::MAX)) {
        out.long(sub.id.0);
        out.text(sub.monitor.as_str());
        out.long(started.at(sub.ends).0);
        out.option(sub.seen, |out, seen| out.byte(code(STATES, seen)));
        for address in [&sub.cc_uri, &sub.call_info, &sub.contact] {
            out.address(address.as_ref());
        }
        out.byte(code(BASICS, sub.told));
        out.byte(u8::try_from(sub.ways_failed).unwrap_or(u8::MAX));
    }
}

fn read_request(from: &mut Reader<'_>, started: WallTime) -> Result<Kept, Broken> {
    let shown = coded(BASICS, from.byte()?)?;
    let passed = from.number()?;
    let mut subscriptions = Vec::new();
    for _ in 0..from.byte()? {
        subscriptions.push(KeptSubscription {
            id: SubscriptionId(from.long()?),
            monitor: from.address()?.ok_or(Broken)?,
            ends: started.moment(WallTime(from.long()?)),
            seen: from.option(|from| coded(STATES, from.byte()?))?,
            cc_uri: from.address()?,
            call_info: from.address()?,
            contact: from.address()?,
            told: coded(BASICS, from.byte()?)?,
            ways_failed: from.byte()?.into(),
        });
    }
    Ok(Kept {
        shown,
        passed,
        subscriptions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completion::history::Event;

    const STARTED: WallTime = WallTime(1_700_000_000_000_000);

    fn address(text: &str) -> AddrSpec {
        AddrSpec::new(text).expect("a URI")
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::START + Duration::from_secs(seconds)
    }

    fn record() -> Record {
        let mut history = History::default();
        history.add(at(100), Event::Requested(Condition::NoReply));
        history.add(at(100), Event::Queued(2));
        Record {
            id: CompletionId::from_bits(7),
            cce: CceToken::from_bits(8),
            roles: Roles::Both,
            condition: Condition::NoReply,
            renewal: Renewal::Lengthens,
            number: 3,
            order: 41,
            binding: Binding(9),
            recalls: 2,
            recalls_passed: 1,
            ends: at(3700),
            suspended: Some(at(200)),
            caller: Aor::new("sip:alice@a.example"),
            callee: Aor::new("sip:bob@b.example"),
            from: address("sip:alice@a.example"),
            dialled: address("sip:102@b.example;user=phone"),
            identity: Identity::new("<sip:+4930@a.example>", "id"),
            entry: Some((
                SubscriptionId(5),
                "c1@a.example".into(),
                Place {
                    expires: at(3700),
                    service_ends: Some(at(7300)),
                    passed: 1,
                    failed: 1,
                    availability: Availability::Suspended {
                        until: Some(at(900)),
                    },
                    selected: true,
                },
            )),
            request: Some(Kept {
                shown: Basic::Closed,
                passed: 2,
                subscriptions: vec![KeptSubscription {
                    id: SubscriptionId(6),
                    monitor: address("sip:cc@b.example"),
                    ends: at(3000),
                    seen: Some(RecallState::Ready),
                    cc_uri: Some(address("sip:q1@b.example")),
                    call_info: None,
                    contact: None,
                    told: Basic::Closed,
                    ways_failed: 1,
                }],
            }),
            text: None,
            history,
        }
    }

    #[test]
    fn a_record_is_read_back() {
        let read = Record::decode(&record().encode(STARTED), STARTED);
        assert_eq!(read, Some(record()));
        let common = Record {
            request: None,
            ..record()
        };
        let bytes = common.encode(STARTED).len();
        assert!(bytes < 320, "{bytes} bytes for a common completion");
    }

    /// Before Call-IDs were kept as eight bytes they were kept as they came.
    #[test]
    fn a_record_with_the_call_id_as_it_came_is_read() {
        let written = |text: &str| {
            let mut out = Writer::default();
            out.text(text);
            out.0
        };
        let came = "c1@a.example";
        let (long, short) = (written(came), written(&CallId::from(came).to_string()));
        let bytes = record().encode(STARTED);
        let mut places = bytes.windows(short.len());
        let at = places
            .position(|place| *place == *short)
            .expect("its Call-ID");
        let before = [&bytes[..at], &long, &bytes[at + short.len()..]].concat();
        assert_eq!(Record::decode(&before, STARTED), Some(record()));
    }

    #[test]
    fn age_runs_on_until_a_later_process_reads_it() {
        let later = STARTED.at(at(1000));
        let read = Record::decode(&record().encode(STARTED), later).expect("a record");
        assert_eq!(read.ends, at(2700));
        assert_eq!(read.suspended, Some(Timestamp::START));
        let (_, _, place) = read.entry.expect("an entry");
        assert_eq!(place.expires, at(2700));
        let until = Some(Timestamp::START);
        assert_eq!(place.availability, Availability::Suspended { until });
    }

    #[test]
    fn a_cut_or_longer_record_is_no_record() {
        let bytes = record().encode(STARTED);
        for length in 0..bytes.len() {
            let cut = Record::decode(&bytes[..length], STARTED);
            assert_eq!(cut, None, "{length} bytes");
        }
        let longer = [&bytes[..], b"x"].concat();
        assert_eq!(Record::decode(&longer, STARTED), None);
    }

    #[test]
    fn all_requests_for_one_callee_lie_in_one_partition() {
        let key = |id, callee: &str| Record::key(CompletionId::from_bits(id), &Aor::new(callee));
        let bob = key(1, "sip:bob@b.example");
        assert_eq!(bob.partition, key(2, "sip:bob@b.example").partition);
        let others = (0..50).map(|n| key(1, &format!("sip:{n}@b.example")).partition);
        assert!(others.into_iter().any(|other| other != bob.partition));
    }
}
