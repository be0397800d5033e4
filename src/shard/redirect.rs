//! Redirections of peers whose redirections are followed.
//!
//! Spec: RFC 3261 §8.1.3.4, §19.1.1, §21.3 (S-32); RULES R7, R10, R22.
//!
//! What a peer writes into a Contact is its data and no route: it leads to a peer of ours that it
//! names, or by a number at one of our own names through the route table, and nowhere else. Nobody is
//! led to a place in a queue, nor away from one: calls that complete others are not led on.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::call::Side;
use crate::cc::offer;
use crate::cc::trust::PeerId;
use crate::shard::Shard;
use crate::shard::offer::About;
use crate::shard::settings::Redirect;
use crate::shard::ways::{Way, Ways, keep_secure, targets};
use crate::sip::flow::Flow;
use crate::sip::{
    Checked, Message, Method, Name, NameAddr, Request, Response, Scratch, SipUri, Uri,
};
use crate::time::Timestamp;
use crate::transaction::User;

/// The most redirections of one call; RFC 3261 §8.1.3.4 leaves the number open, and loops end here.
const FOLLOWED_MAX: usize = 5;
/// The most Contacts of one redirection that are looked at.
const CONTACTS_MAX: usize = 10;

/// Where a call has been led, by the redirections that were followed.
pub(super) type Followed = [Box<[u8]>];

impl Shard {
    /// Follows a redirection, if it is one that is followed; then nobody else hears of it.
    pub(super) fn follows(
        &mut self,
        now: Timestamp,
        user: User,
        (flow, response): (&Flow, &Response<'_>),
    ) -> bool {
        let is_one = (300..400).contains(&response.status.code());
        if !is_one || response.cseq.method != Method::Invite {
            return false;
        }
        let peer = self.peer_of(flow);
        if !peer.is_some_and(|(_, peer)| peer.redirect == Redirect::Follow) {
            return false;
        }
        let Some(held) = self.calls.get(user.call) else {
            return false;
        };
        let is_plain = matches!(held.about, About::Asker(_) | About::Nothing);
        if !is_plain || held.parties.callee.is_some() {
            return false;
        }
        let sent: Box<[u8]> = held.call.redirected(&self.layer, user.part).into();
        let mut scratch = Scratch::new();
        let sent = Message::parse(&sent, &mut scratch).ok();
        let Some(Ok(Checked::Request(invite))) = sent.map(Checked::check) else {
            return false;
        };
        let led = contacts_of(response)
            .into_iter()
            .find_map(|contact| self.led_to(now, user, (&invite, contact)));
        let followed = led.is_some_and(|led| self.follow(now, user, &invite, led));
        if followed {
            self.counters.redirections_followed += 1;
        }
        followed
    }

    /// Where this Contact leads.
    fn led_to(
        &self,
        now: Timestamp,
        user: User,
        (invite, contact): (&Request<'_>, &[u8]),
    ) -> Option<(PeerId, Way, Arc<Followed>)> {
        let contact = NameAddr::parse(contact).ok()?.uri;
        let uri = contact.as_sip().filter(is_plain)?;
        let held = self.calls.get(user.call)?;
        let before = held.parties.followed.iter().flat_map(|uris| uris.iter());
        let is_led_there =
            |there: &[u8]| Uri::parse(there).is_ok_and(|there| there.is_equivalent(&contact));
        let was_there = before.clone().any(|there| is_led_there(there));
        if was_there || before.clone().count() >= FOLLOWED_MAX || invite.uri.is_equivalent(&contact)
        {
            return None;
        }
        let caller = held.call.flow(Side::A);
        let asked = Request {
            uri: contact,
            ..*invite
        };
        let (to, mut way) = if self.domains.is_own(&uri) {
            let routed = self.by_table(now, &asked, &caller)?.ok()?;
            (routed.peer?, routed.ways.into_iter().next()?)
        } else {
            let to = self.peer_with_host(&uri, None)?;
            let way = self.way_at(to, &contact, caller.listener, invite.call_id);
            (to, way.ok()?)
        };
        let mut ways: Ways = SmallVec::from_iter([way]);
        keep_secure(&asked.uri, &mut ways).ok()?;
        way = ways.pop()?;
        let all = before.map(Box::clone).chain([contact.text().into()]);
        Some((to, way, all.collect()))
    }

    /// Sends the call there, if that peer takes one more.
    fn follow(
        &mut self,
        now: Timestamp,
        user: User,
        invite: &Request<'_>,
        (to, way, followed): (PeerId, Way, Arc<Followed>),
    ) -> bool {
        let Some(held) = self.calls.get_mut(user.call) else {
            return false;
        };
        let [from, before] = held.parties.through;
        let is_emergency = self.is_emergency(invite);
        if before != Some(to) && !is_emergency && self.check_calls(to).is_err() {
            return false;
        }
        let identity = self.identity([from, Some(to)]);
        let message = Self::for_other_side(identity, invite.message);
        let ways = Ways::from_iter([way]);
        let targets = targets(&ways);
        let Some(target) = targets.first() else {
            return false;
        };
        let left = self.with_call(now, user.call, |call, turn| {
            call.follow(turn, user.part, &message, target)
        });
        if left != Some(true) {
            return false;
        }
        self.move_load(before, to);
        if let Some(held) = self.calls.get_mut(user.call) {
            if before != Some(to) {
                // R7: whoever refuses it there is not the one whose queue its caller might ask for.
                held.about = std::mem::take(&mut held.about).without_asker();
            }
            held.parties.through = [from, Some(to)];
            held.parties.identity = identity;
            held.parties.followed = Some(followed);
        }
        true
    }
}

/// The Contacts of a redirection, the most wanted first.
fn contacts_of<'m>(response: &Response<'m>) -> SmallVec<[&'m [u8]; 2]> {
    let contacts = response.message.values(Name::Contact);
    let mut contacts: SmallVec<[&[u8]; 2]> = contacts.take(CONTACTS_MAX).collect();
    contacts.sort_by_key(|contact| std::cmp::Reverse(wanted(contact)));
    contacts
}

/// RFC 3261 §20.10: the `q` of a Contact in thousandths; 1 if it has none.
fn wanted(contact: &[u8]) -> u32 {
    let contact = NameAddr::parse(contact).ok();
    let q = contact.and_then(|contact| str::from_utf8(contact.params.value("q")?).ok());
    let Some((whole, rest)) = q.map(|q| q.split_once('.').unwrap_or((q, ""))) else {
        return 1000;
    };
    let digits = rest.bytes().chain(std::iter::repeat(b'0')).take(3);
    let thousandths = digits.fold(0, |sum, digit| {
        sum * 10 + u32::from(digit.wrapping_sub(b'0'))
    });
    if whole == "0" {
        thousandths.min(1000)
    } else {
        1000
    }
}

/// Whether a URI names somebody, and neither fields that would be added nor a place in a queue.
fn is_plain(uri: &SipUri<'_>) -> bool {
    let user = uri.user.and_then(|user| str::from_utf8(user).ok());
    let is_token = user.is_none_or(|user| offer::named_by(user).is_some());
    uri.headers.is_none() && !uri.params.has("maddr") && !uri.params.has("cce") && !is_token
}
