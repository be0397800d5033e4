//! What a side asks for while a mixer stands between it and the other one.
//!
//! Spec: RULES R17; RFC 3264 §8; RFC 3311 §5.2; RFC 4028 §7.4.
//!
//! - What it knows already is answered by us, and so is where else it is to be sent the same.
//! - What changes its session crosses, as in any call. If the other side agrees, the two have a session of
//!   their own by that, and the mixer is gone; if not, all stays as it is.
//! - What meets an INVITE of ours has to come again (491), and will not for longer than that one lasts.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::call::hold::is_held;
use crate::call::known::{origin_of, with_version, write_origin};
use crate::call::mixing::{MixNews, Mixing, Stage, index};
use crate::call::negotiation::Negotiation;
use crate::call::recall::ALLOW;
use crate::call::sdp::{Media, SDP, lines, sdp_of};
use crate::call::sound::{Taken, sections};
use crate::call::{Call, Part, Side, Turn, end, respond, respond_plainly, session};
use crate::dialog::Order;
use crate::dialog::session_timer::Asked;
use crate::media::srtp::MasterKey;
use crate::media::trial::Trust;
use crate::sip::flow::Flow;
use crate::sip::{Message, Method, Name, Request, Status, Writer};
use crate::table::Key;
use crate::transaction::reply;

impl Call {
    /// Takes a request about the session of a side that has a mixer: one that changes nothing is answered
    /// by us, and one that meets an INVITE of ours has to come again. Whether it was such a request; any
    /// other crosses.
    pub(super) fn takes_for_mixer(
        &mut self,
        turn: &mut Turn<'_>,
        side: Side,
        request: &Request<'_>,
        flow: &Flow,
    ) -> bool {
        let offer = sdp_of(&request.message);
        let is_about = request.method == Method::Invite || offer.is_some();
        let Some(stage) = self.mix_stage().filter(|_| is_about) else {
            return false;
        };
        match stage {
            Stage::Asking(_) | Stage::Returning(..) | Stage::Rejoining(_) => {
                // S-18
                let (message, status) = (&request.message, Status::REQUEST_PENDING);
                turn.layer.refuse(message, flow, status, reply::NOTHING);
                return true;
            }
            Stage::Mixed | Stage::Kept(..) => {
                let is_quiet = self.negotiation.is_none() && self.pending_offer(None).is_none();
                let is_known =
                    offer.is_some_and(is_one_line) && self.is_as_agreed(side, &request.message);
                let is_ours = is_quiet && (is_known || self.only_moves(side, request));
                if is_ours {
                    self.refresh_as_mixer(turn, side, request, flow);
                    return true;
                }
            }
            Stage::Waiting(_) => {}
        }
        self.let_cross(side, offer);
        false
    }

    /// The two come to a session of their own: what each hears of the other one is later than what it has
    /// heard of us.
    fn let_cross(&mut self, side: Side, offer: Option<&[u8]>) {
        self.count_on(side);
        self.count_on(side.other());
        let known = self.leg(side.other()).known.as_deref();
        let ahead = known.map_or(0, |known| known.ahead);
        let version = offer.and_then(origin_of).map_or(0, |origin| origin.version);
        let versions = self
            .mixing
            .as_deref_mut()
            .map(|mixing| &mut mixing.versions);
        // Refused, it was heard all the same.
        if let Some(last) = versions.and_then(|it| it.get_mut(index(side.other()))) {
            *last = (*last).max(version.saturating_add(ahead));
        }
    }

    /// The two have come to a session of their own.
    pub(super) fn on_session_crossed(&mut self) {
        if self.mixing.is_some() {
            self.tell_of_mix(MixNews::Gone);
        }
    }

    /// R17: whether a side goes on in the same formats at another address, which is nothing to the other one
    /// before it is given back.
    pub(super) fn only_moves(&self, side: Side, request: &Request<'_>) -> bool {
        let offer = self.body_from(side, &request.message);
        sdp_of(&request.message).is_some() && self.described_anew(side, &offer).is_some()
    }

    /// A side says what it said before, and signals from there: behind a NAT it is heard from there.
    fn follow_source(&mut self, side: Side, signalling: IpAddr) {
        let place = index(side);
        let Some(mixing) = self.mixing.as_deref_mut() else {
            return;
        };
        let port = mixing.at.get(place).map_or(0, SocketAddr::port);
        let agreed = mixing.agreed.get_mut(place).and_then(Option::as_mut);
        let Some(agreed) = agreed.filter(|agreed| agreed.signalling != signalling) else {
            return;
        };
        agreed.signalling = signalling;
        agreed.trust = Trust::of(agreed.remote.ip(), signalling);
        mixing.news = Some(MixNews::Moved(side, Box::new((port, *agreed))));
    }

    /// Where a side is from here on.
    fn move_side(&mut self, side: Side, request: &Request<'_>) {
        let offer = self.body_from(side, &request.message);
        let Some((own, taken)) = self.described_anew(side, &offer) else {
            return;
        };
        let agreed = taken.agreed(None);
        let place = index(side);
        if let Some(mixing) = self.mixing.as_deref_mut() {
            let port = mixing.at.get(place).map_or(0, SocketAddr::port);
            mixing.news = Some(MixNews::Moved(side, Box::new((port, agreed))));
            if let Some(before) = mixing.agreed.get_mut(place) {
                *before = Some(agreed);
            }
        }
        if let Some(known) = self.leg_mut(side.other()).known.as_deref_mut() {
            known.sdp = own;
        }
    }

    /// What this offer makes of a side's own description, as far as the other one is told of it, and what
    /// we take of it; `None` if more is different than where its audio is.
    fn described_anew(&self, side: Side, offer: &[u8]) -> Option<(Box<[u8]>, Taken)> {
        let source = self.flow(side).remote.ip();
        let before = &self.leg(side.other()).known.as_deref()?.sdp;
        let line = self.taken_of(side)?.line;
        let taken = Taken::among(offer, source, |each| each == line)?;
        let formats = |sdp| sections(sdp).nth(line).map(|it| it.media.formats);
        let is_like = formats(offer)? == formats(before)?
            && sections(offer).count() == sections(before).count()
            // RFC 4568 §7.1.2: what is answered under keys has the tag of its offer, and crosses.
            && !taken.is_secure()
            && !self.taken_of(side)?.is_secure();
        let version = origin_of(before)?.version;
        let own = with_version(offer, version).into_boxed_slice();
        (is_one_line(offer) && is_like && !is_held(offer)).then_some((own, taken))
    }

    /// Takes a request that asks for what was agreed on already.
    pub(super) fn refresh_as_mixer(
        &mut self,
        turn: &mut Turn<'_>,
        side: Side,
        request: &Request<'_>,
        flow: &Flow,
    ) {
        if self.leg_mut(side).dialog.order(request.cseq.number) == Order::OutOfOrder {
            return end::refuse_for_now(turn, request, flow);
        }
        if session::refuse_too_short(turn, request, flow).is_some() {
            return;
        }
        // The 2xx to an INVITE is sent again until its ACK.
        let is_invite = request.method == Method::Invite;
        let user = is_invite.then(|| self.user(Part::Negotiation));
        match turn.layer.accept(turn.now, request, flow, user) {
            Ok(server) => self.answer_as_mixer(turn, (side, server), request, flow),
            Err(_) => end::refuse_for_now(turn, request, flow),
        }
    }

    fn answer_as_mixer(
        &mut self,
        turn: &mut Turn<'_>,
        (side, server): (Side, Key),
        request: &Request<'_>,
        flow: &Flow,
    ) {
        if self.lone() == Some(side) {
            self.move_alone(turn, side, request, flow);
        } else if self.is_as_agreed(side, &request.message) {
            self.follow_source(side, flow.remote.ip());
        } else {
            self.move_side(side, request);
        }
        let mixing = self.mixing.as_deref_mut();
        let Some(sdp) = mixing.and_then(|mixing| mixing.described_again(side)) else {
            let tag = reply::Tag::AsReceived;
            return respond_plainly(turn, server, Status::SERVER_INTERNAL_ERROR, tag);
        };
        self.leg_mut(side).dialog.refresh_target(&request.message);
        self.agree_within(turn, side, Asked::of(&request.message));
        self.redescribe(side, &sdp);
        let contact = turn.contacts.of(&self.leg(side).dialog.flow());
        let terms = self.terms(side);
        let write = |writer: &mut Writer<'_>| {
            writer.header(Name::Contact, contact);
            writer.header(Name::Allow, ALLOW);
            if let Some(terms) = terms {
                terms.write_answer(writer);
            }
            writer.header(Name::ContentType, SDP);
        };
        let answer = (Status::OK, &b""[..], reply::Tag::AsReceived);
        respond(turn, server, answer, write, &sdp);
        if request.method == Method::Invite {
            let unacked = Negotiation::settled(turn, (side, server), request.cseq.number);
            self.negotiation = Some(Box::new(unacked));
        }
    }

    /// Whether this describes what was agreed on with that side.
    pub(super) fn is_as_agreed(&self, side: Side, message: &Message<'_>) -> bool {
        let source = self.flow(side).remote.ip();
        let place = index(side);
        let mixing = self.mixing.as_deref();
        let before =
            mixing.and_then(|it| Some(((*it.agreed.get(place)?)?, it.described.get(place)?)));
        let Some(((agreed, described), sdp)) = before.zip(sdp_of(message)) else {
            return false;
        };
        // RFC 3264 §8: of as many lines.
        sections(sdp).count() == sections(described).count()
            && Taken::of(sdp, source).is_some_and(|taken| taken.is_as(&agreed))
    }
}

impl Mixing {
    /// What a side has taken last, in a version of its own if it has refused another since (S-64).
    fn described_again(&mut self, side: Side) -> Option<Box<[u8]>> {
        let place = index(side);
        let described = self.described.get_mut(place)?;
        if self.offered.get_mut(place)?.take().is_some() {
            let version = self.versions.get_mut(place)?;
            *version = version.checked_add(1)?;
            *described = with_version(described, *version).into_boxed_slice();
        }
        Some(described.clone())
    }
}

/// The description that puts a mixer of ours at this address in place of the other side, for a side that
/// has been told `known` of it, in that version, and that has said `own` of itself, by signalling from
/// there; under the other side's key, if it is not plain. `None` if it has no audio that we have, in a line that both
/// use (RULES R17).
pub fn mixer_in_place_of(
    (known, version): (&[u8], u64),
    (own, signalling): (&[u8], IpAddr),
    at: SocketAddr,
) -> Option<Vec<u8>> {
    origin_of(known)?;
    let taken = taken_beside(known, own, signalling)?;
    let at = (at, taken.sent_under());
    Some(mixer_sdp(known, version, at, &taken))
}

/// Whether one line of media is in use, and no other.
fn is_one_line(sdp: &[u8]) -> bool {
    let used = sections(sdp).filter(|it| it.media.port().is_some_and(|port| port > 0));
    used.count() == 1
}

/// What we take of a side's own description, in a line of audio that is in use on the other side as well.
/// If it is not plain, it is sent under what the side hears the other one under: many a phone takes no
/// second key. Nothing is sealed twice by that, for our source is another (RFC 3711 §9.1).
pub(super) fn taken_beside(known: &[u8], own: &[u8], signalling: IpAddr) -> Option<Taken> {
    let is_cut = |line: &[u8]| line.starts_with(b"m=") && Media::parse(line).is_none();
    if lines(known).any(is_cut) {
        // RFC 3264 §8: what we describe would have a line less.
        return None;
    }
    let taken = Taken::among(own, signalling, |line| {
        let beside = sections(known).nth(line);
        beside.is_some_and(|it| it.media.is_audio() && it.media.port().is_some_and(|port| port > 0))
    })?;
    // RFC 3264 §6: an answer has the protocol of its offer.
    let beside = sections(known).nth(taken.line)?;
    if taken.is_secure() {
        let is_secure = beside.media.is_secure_audio();
        let keys = is_secure.then(|| beside.keys())??;
        return Some(taken.under(keys));
    }
    beside.media.is_plain_audio().then_some(taken)
}

/// Our mixer as this version of a session that a side knows so: audio at this address and under this key
/// in the line that has it, in the codec that the side has, and no other line.
pub(super) fn mixer_sdp(
    known: &[u8],
    version: u64,
    (at, ours): (SocketAddr, Option<MasterKey>),
    taken: &Taken,
) -> Vec<u8> {
    mixer_beside((known, version), known, (at, ours), taken)
}

/// The same as the answer to an offer, in a session that is known so, in that version.
pub(super) fn mixer_beside(
    (known, version): (&[u8], u64),
    offer: &[u8],
    (at, ours): (SocketAddr, Option<MasterKey>),
    taken: &Taken,
) -> Vec<u8> {
    let mut out = b"v=0\r\n".to_vec();
    if let Some(origin) = origin_of(known) {
        write_origin(&origin, version, &mut out);
        if !out.ends_with(b"\n") {
            out.extend_from_slice(b"\r\n");
        }
    }
    let family = if at.is_ipv4() { "IN IP4" } else { "IN IP6" };
    // Writing to memory cannot fail.
    let _written = write!(out, "s=-\r\nc={family} {}\r\nt=0 0\r\n", at.ip());
    for (line, audio) in sections(offer).enumerate() {
        let media: &Media<'_> = &audio.media;
        if line == taken.line {
            taken.write(media, at, ours, &mut out);
        } else {
            media.write(&mut out, b"0", media.formats);
        }
    }
    out
}
