//! The lamp: phones that ask whether something waits for their user are told of his texts.
//!
//! Spec: RFC 3842 §3, §5; RFC 6665 §4.2; RULES R20, R23.
//!
//! Where there is a PBX the lamp is its own, and our count is added to what it says:
//! [`super::summaries`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cc::addr;
use crate::dialog::subscription::{Fate, Notifier, Notify, Package, Standing};
use crate::dialog::{Tag, Turn};
use crate::shard::desk::name_of;
use crate::shard::offer::host_at;
use crate::shard::subscriptions::whole_seconds;
use crate::shard::{Reject, Shard};
use crate::sip::flow::Flow;
use crate::sip::summary::{MEDIA_TYPE, of_texts};
use crate::sip::{Event, EventReason, Method, Name, Request, Status, Writer, accepts, parse_u32};
use crate::table::{Key, Table};
use crate::time::Timestamp;
use crate::transaction::User;
use crate::transaction::clients::Failure;
use crate::transaction::reply;
use crate::transaction::servers::Answer;

/// The part of a NOTIFY of a lamp; see [`User::part`].
const PART: u16 = u16::from_be_bytes([0x72, 0]);
/// RFC 3842 §3.3: how long who says nothing is told.
const EXPIRES: Duration = Duration::from_hours(1);
pub(super) const EXPIRES_MIN: Duration = Duration::from_mins(1);
const EXPIRES_MAX: Duration = Duration::from_hours(24);
/// RFC 3842 §3.11: a lamp is told once a second at most.
const PACE: Duration = Duration::from_secs(1);
/// A user's phones and what else shows his lamp.
const OF_USER_MAX: usize = 20;

/// The lamps of a worker.
#[derive(Debug)]
pub(super) struct Lamps {
    table: Table<Box<Lamp>>,
    by_user: BTreeMap<addr::Aor, Vec<Key>>,
    due: BTreeSet<(Timestamp, Key)>,
}

/// A phone that shows whether something waits.
#[derive(Debug)]
struct Lamp {
    user: addr::Aor,
    notifier: Notifier,
    /// When its subscription ends.
    ends: Timestamp,
    /// When it was told last.
    told: Timestamp,
    /// When it is to be told next.
    tells: Option<Timestamp>,
    shown: usize,
}

impl Lamp {
    fn due(&self) -> Timestamp {
        self.tells.map_or(self.ends, |tells| tells.min(self.ends))
    }
}

/// Whether a transaction is one of a NOTIFY to a lamp.
pub(super) fn is_lamp(user: User) -> bool {
    user.part == PART
}

impl Lamps {
    pub(super) fn new(lamps_max: usize) -> Self {
        Self {
            table: Table::new(lamps_max),
            by_user: BTreeMap::new(),
            due: BTreeSet::new(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    fn of(&self, user: &addr::Aor) -> &[Key] {
        self.by_user
            .get(user)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    fn insert(&mut self, key: Key, lamp: Lamp) {
        self.due.insert((lamp.due(), key));
        let of_user = self.by_user.entry(lamp.user.clone()).or_default();
        of_user.push(key);
        self.table.put_back(key, Box::new(lamp));
    }

    fn remove(&mut self, key: Key) -> Option<Box<Lamp>> {
        let lamp = self.table.remove(key)?;
        self.due.remove(&(lamp.due(), key));
        if let Some(of_user) = self.by_user.get_mut(&lamp.user) {
            of_user.retain(|other| *other != key);
            if of_user.is_empty() {
                self.by_user.remove(&lamp.user);
            }
        }
        Some(lamp)
    }

    /// Changes one, and with it when it is due.
    fn change<T>(&mut self, key: Key, change: impl FnOnce(&mut Lamp) -> T) -> Option<T> {
        let lamp = self.table.get_mut(key)?;
        self.due.remove(&(lamp.due(), key));
        let result = change(lamp);
        self.due.insert((lamp.due(), key));
        Some(result)
    }

    /// The one that a request is within.
    fn named_by(&self, request: &Request<'_>) -> Option<Key> {
        let tag = request.to.tag().and_then(Tag::parse)?;
        let lamp = self.table.get(tag.call)?;
        lamp.notifier.is(request).then_some(tag.call)
    }
}

impl Shard {
    /// A user's SUBSCRIBE about his own lamp, where we are his registrar and texts are left.
    pub(super) fn is_about_lamp(&self, flow: &Flow, request: &Request<'_>) -> bool {
        let is_ours = self.edge.is_none() && self.leaves_texts();
        let event = Event::of(&request.message);
        let package = Package::MessageSummary.as_str();
        if !is_ours || !event.is_some_and(|event| event.is(package)) {
            return false;
        }
        let asked = self.domains.aor(&request.uri);
        let asked = asked.map(|asked| self.registrar.owner_of(&asked).unwrap_or(asked));
        let sender = self.sender(flow, request);
        sender.is_some() && sender == asked
    }

    /// S-121: the SUBSCRIBE that lights a lamp, or puts it out.
    pub(super) fn on_lamp(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Result<(), Reject> {
        let user = self.sender(flow, request).ok_or(Reject::SourceForeign)?;
        let user = name_of(&user);
        let lasts = lasts(request)?;
        if !accepts(&request.message, MEDIA_TYPE) {
            return Err(Reject::NotAcceptable);
        }
        if self.lamps.of(&user).len() >= OF_USER_MAX {
            return Err(Reject::TableFull);
        }
        let key = self.lamps.table.reserve().map_err(|_| Reject::TableFull)?;
        let begun = self.begin_lamp(now, (flow, request), (key, user), lasts);
        if begun.is_err() {
            self.lamps.table.discard(key);
        }
        begun
    }

    fn begin_lamp(
        &mut self,
        now: Timestamp,
        (flow, request): (&Flow, &Request<'_>),
        (key, user): (Key, addr::Aor),
        lasts: Duration,
    ) -> Result<(), Reject> {
        let tag = Tag::new(key, &mut self.rng);
        let notifier = Notifier::new(request, flow, (Package::MessageSummary, tag));
        let mut notifier = notifier.map_err(|_| Reject::ContactMissing)?;
        // R8: nobody else is told for whom something waits.
        notifier.keep_to(flow);
        let server = self.layer.accept(now, request, flow, None);
        let server = server.map_err(|_| Reject::TableFull)?;
        let lamp = Lamp {
            user,
            notifier,
            ends: now + lasts,
            told: now,
            tells: None,
            shown: 0,
        };
        self.lamps.insert(key, lamp);
        self.accept_lamp(now, key, (server, reply::Tag::Ours(&tag.text())), lasts);
        Ok(())
    }

    /// A SUBSCRIBE within such a subscription; `None` if it is within none.
    pub(super) fn on_request_lamp(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Option<Result<(), Reject>> {
        if request.method != Method::Subscribe || self.lamps.len() == 0 {
            return None;
        }
        let key = self.lamps.named_by(request)?;
        Some(self.refresh_lamp(now, flow, request, key))
    }

    fn refresh_lamp(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
        key: Key,
    ) -> Result<(), Reject> {
        let lasts = lasts(request)?;
        let taken = self.lamps.change(key, |lamp| {
            lamp.notifier.handle_subscribe(request)?;
            lamp.notifier.find_again(flow);
            lamp.ends = now + lasts;
            Ok(())
        });
        match taken {
            Some(Ok(())) => {}
            Some(Err(Status::BAD_EVENT)) => return Err(Reject::EventUnknown),
            Some(Err(Status::SERVER_INTERNAL_ERROR)) => return Err(Reject::OutOfOrder),
            Some(Err(_)) | None => return Err(Reject::NoSuchCall),
        }
        let server = self.layer.accept(now, request, flow, None);
        let server = server.map_err(|_| Reject::TableFull)?;
        self.accept_lamp(now, key, (server, reply::Tag::AsReceived), lasts);
        Ok(())
    }

    /// S-121, S-122: the answer, and the NOTIFY that follows it at once.
    fn accept_lamp(
        &mut self,
        now: Timestamp,
        key: Key,
        (server, tag): (Key, reply::Tag<'_>),
        lasts: Duration,
    ) {
        let Some(lamp) = self.lamps.table.get(key) else {
            return;
        };
        let contact = self.lamp_contact(&lamp.notifier.flow());
        let write = |writer: &mut Writer<'_>| {
            let expires_s = whole_seconds(lasts);
            let notifier = &lamp.notifier;
            notifier.write_accepted(writer, contact.as_bytes(), expires_s);
        };
        let answer = Answer::written(&mut self.scratch, (Status::OK, b"", tag), write, b"");
        self.layer.respond(now, server, &answer);
        self.tell_lamp(now, key);
    }

    /// So many texts wait for a user now.
    pub(super) fn light(&mut self, now: Timestamp, user: &addr::Aor) {
        self.light_shared(now, user);
        for key in self.lamps.of(user).to_vec() {
            let count = self.desk.service.lamp_of(user);
            let is_due = self.lamps.change(key, |lamp| {
                let next = lamp.told + PACE;
                lamp.tells = (lamp.shown != count).then_some(next);
                lamp.shown != count && next <= now
            });
            if is_due == Some(true) {
                self.tell_lamp(now, key);
            }
        }
    }

    /// Tells who waited for his second, and ends what is over.
    pub(super) fn wake_lamps(&mut self, now: Timestamp) {
        while let Some((_, key)) = self.lamps.due.first().filter(|(due, _)| *due <= now) {
            let key = *key;
            self.tell_lamp(now, key);
        }
    }

    /// A NOTIFY was answered, or not at all.
    pub(super) fn on_lamp_answered(&mut self, key: Key, answer: Result<Status, Failure>) {
        let fate = match answer {
            Ok(status) => Fate::after(status),
            Err(failure) => Fate::after_failure(failure),
        };
        if fate == Fate::Gone {
            self.lamps.remove(key);
        }
    }

    fn tell_lamp(&mut self, now: Timestamp, key: Key) {
        let Some(lamp) = self.lamps.table.get(key) else {
            return;
        };
        let (user, flow) = (lamp.user.clone(), lamp.notifier.flow());
        let count = self.desk.service.lamp_of(&user);
        let is_over = lamp.ends <= now;
        let standing = if is_over {
            let reason = EventReason::Timeout;
            Standing::Terminated { reason }
        } else {
            let expires_s = whole_seconds(lamp.ends.since(now));
            Standing::Active { expires_s }
        };
        let contact = self.lamp_contact(&flow);
        let body = of_texts(lamp.notifier.entity(), count);
        let message = Notify {
            standing,
            contact: contact.as_bytes(),
            content_type: MEDIA_TYPE,
            body: &body,
        };
        let turn = &mut Turn {
            now,
            layer: &mut self.layer,
            rng: &mut self.rng,
            scratch: &mut self.scratch,
        };
        let about = User {
            call: key,
            part: PART,
        };
        let sent = self.lamps.change(key, |lamp| {
            (lamp.told, lamp.tells, lamp.shown) = (now, None, count);
            lamp.notifier.notify(turn, &message, Some(about))
        });
        if is_over || !matches!(sent, Some(Ok(()))) {
            self.lamps.remove(key);
        }
    }

    fn lamp_contact(&self, flow: &Flow) -> String {
        let host = host_at(&self.hosts, flow.listener);
        let by = if flow.transport.is_reliable() {
            ";transport=tcp"
        } else {
            ""
        };
        format!("<sip:{host}{by}>")
    }
}

/// How long a SUBSCRIBE is granted; zero ends it.
fn lasts(request: &Request<'_>) -> Result<Duration, Reject> {
    let asked = request.message.first(Name::Expires).and_then(parse_u32);
    let asked = asked.map(|seconds| Duration::from_secs(seconds.into()));
    match asked {
        None => Ok(EXPIRES),
        Some(Duration::ZERO) => Ok(Duration::ZERO),
        Some(brief) if brief < EXPIRES_MIN => Err(Reject::SubscriptionBrief),
        Some(asked) => Ok(asked.min(EXPIRES_MAX)),
    }
}
