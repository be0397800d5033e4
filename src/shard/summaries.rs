//! The lamps that a PBX lights, with the texts in them that are left here.
//!
//! Spec: RFC 3842 §3, §4.1, §5.2; RFC 6665 §4.2; RULES R23.
//!
//! - What the PBX tells a phone of what waits for its user crosses with our count added to it; where we
//!   have nothing it crosses untouched.
//! - When our count changes, the phone is told again what the PBX has said last, with the new count.
//!   Where the PBX has said nothing there is no lamp.

use crate::cc::addr;
use crate::dialog::subscription::Package;
use crate::location::Aor;
use crate::shard::Shard;
use crate::shard::desk::{name_of, user_of};
use crate::shard::ways::Way;
use crate::sip::flow::Flow;
use crate::sip::summary::{MEDIA_TYPE, is_summary, with_texts};
use crate::sip::{Event, Item, Message, Method, Name, Request, Writer};
use crate::time::Timestamp;
use crate::transaction::branch::hex;
use crate::transaction::clients::Outgoing;

/// What a PBX has said last of what waits for a user.
#[derive(Debug)]
pub(super) struct Summary {
    said: Box<[u8]>,
    /// How many texts of ours its receiver has heard of.
    shown: usize,
    /// The Event that it was said by, or who says it to whom where nobody has asked.
    names: [Box<[u8]>; 2],
}

impl Summary {
    /// What its receiver is to hear now.
    fn with(&self, texts: usize) -> Vec<u8> {
        let merged = with_texts(&self.said, texts);
        merged.unwrap_or_else(|| self.said.to_vec())
    }
}

impl Shard {
    /// Whether texts are left for users whose lamps are a PBX's.
    fn shares_lamps(&self) -> bool {
        self.edge.is_some() && self.leaves_texts()
    }

    /// Whether a phone's SUBSCRIBE asks for its user's own lamp, in which our texts are shown.
    pub(super) fn is_about_shared_lamp(&self, owner: &Aor, request: &Request<'_>) -> bool {
        let event = Event::of(&request.message);
        let package = Package::MessageSummary.as_str();
        if !event.is_some_and(|event| event.is(package)) || !self.shares_lamps() {
            return false;
        }
        let asked = self.domains.aor(&request.uri);
        let asked = asked.map(|asked| self.registrar.owner_of(&asked).unwrap_or(asked));
        asked.as_ref() == Some(owner)
    }

    /// What a phone is told of its user's lamp in place of what the PBX says within this subscription;
    /// `None` if the same.
    pub(super) fn summary_within(
        &mut self,
        key: crate::table::Key,
        request: &Request<'_>,
    ) -> Option<Vec<u8>> {
        let held = self.relays.subscriptions.get_mut(key)?;
        let owner = held.filed.lit.as_ref()?;
        let said = summary_in(request)?;
        let event = request.message.first(Name::Event)?;
        let shown = self.desk.service.lamp_of(&name_of(owner));
        held.summary = Some(Box::new(Summary {
            said: Box::from(said),
            shown,
            names: [Box::from(event), Box::default()],
        }));
        with_texts(said, shown)
    }

    /// The same where the PBX tells a phone that has not asked.
    pub(super) fn summary_unasked(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        request: &Request<'_>,
    ) -> Option<Vec<u8>> {
        let said = summary_in(request)?;
        if !self.shares_lamps() || !self.is_peer(flow) {
            return None;
        }
        let owner = self.user_of_alias(now, &request.uri)?;
        let shown = self.desk.service.lamp_of(&name_of(&owner));
        let merged = with_texts(said, shown);
        let names = [request.from.uri.text(), request.to.uri.text()];
        let summary = Summary {
            said: Box::from(said),
            shown,
            names: names.map(Box::from),
        };
        self.relays.keep_unasked(owner, summary);
        merged
    }

    /// So many texts wait for a user now: his phones are told by the lamps that the PBX has lit.
    pub(super) fn light_shared(&mut self, now: Timestamp, user: &addr::Aor) {
        if !self.shares_lamps() {
            return;
        }
        let owner = user_of(user);
        let texts = self.desk.service.lamp_of(user);
        for key in self.relays.lit_for(&owner) {
            let held = self.relays.subscriptions.get_mut(key);
            let summary = held.and_then(|held| held.summary.as_deref_mut());
            let Some(summary) = summary.filter(|summary| summary.shown != texts) else {
                continue;
            };
            summary.shown = texts;
            let (body, [event, _]) = (summary.with(texts), summary.names.clone());
            self.with_subscription(now, key, |subscription, turn| {
                subscription.tell(turn, &event, (MEDIA_TYPE, &body));
            });
        }
        let unasked = self.relays.unasked_for(&owner);
        let Some(summary) = unasked.filter(|summary| summary.shown != texts) else {
            return;
        };
        summary.shown = texts;
        let (body, names) = (summary.with(texts), summary.names.clone());
        for way in self.ways_to(now, &owner) {
            self.tell_unasked(now, &way, (&names, &body));
        }
    }

    /// Whatever the phone says to it changes nothing.
    fn tell_unasked(
        &mut self,
        now: Timestamp,
        way: &Way,
        ([from, to], body): (&[Box<[u8]>; 2], &[u8]),
    ) {
        let [call, tag] = [(); 2].map(|()| hex(self.rng.bits()));
        self.scratch.clear();
        let mut writer = Writer::fragment(&mut self.scratch);
        writer
            .header(Name::MaxForwards, b"70")
            .header_parts(Name::From, &[b"<", from, b">;tag=", &tag])
            .header_parts(Name::To, &[b"<", to, b">"])
            .header(Name::CallId, &call)
            .header(Name::CSeq, b"1 NOTIFY")
            .header(Name::Contact, self.contacts.of(&way.flow))
            .header(Name::Event, Package::MessageSummary.as_str().as_bytes())
            .header(Name::SubscriptionState, b"active")
            .header(Name::ContentType, MEDIA_TYPE.as_bytes());
        if writer.finish(body).is_err() {
            return;
        }
        let outgoing = Outgoing {
            method: Method::Notify,
            uri: &way.uri,
            flow: way.flow,
            user: None,
            destination: 0,
            fields: &self.scratch,
        };
        // There is nobody to tell if it does not leave.
        let _sent = self.layer.request(now, &outgoing);
    }
}

/// The summary in a NOTIFY.
fn summary_in<'m>(request: &Request<'m>) -> Option<&'m [u8]> {
    let is_notify = request.method == Method::Notify;
    is_notify.then(|| summary_of(&request.message)).flatten()
}

fn summary_of<'m>(message: &Message<'m>) -> Option<&'m [u8]> {
    let kind = Item::parse(message.first(Name::ContentType)?).ok()?;
    let body = message.body();
    (kind.is(MEDIA_TYPE) && is_summary(body)).then_some(body)
}
