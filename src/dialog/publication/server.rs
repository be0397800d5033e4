//! The publications of agents elsewhere: the event state compositor.
//!
//! Spec: RFC 3903 §6; RFC 6910 §7.5, §8.
//!
//! - An owner has one publication at most: a new one takes the place of the one before.
//! - [`Publications::check`] changes nothing; what it allows is carried out by
//!   [`Publications::commit`], once the owner has taken the document.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::dialog::publication::{MEDIA_TYPE, PRESENCE};
use crate::dialog::subscription::PACKAGE;
use crate::sip::{Event, Item, Message, Name, Status, Writer, parse_u32};
use crate::time::Timestamp;
use crate::transaction::branch::read_hex;

/// The media type as the example of RFC 6910 §8 has it.
const MEDIA_TYPE_SHORT: &str = "application/pidf";

/// How long and how many.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The shortest time that is granted. Short, because an agent asks for what is left of its
    /// subscription (CC-25).
    pub expires_min_s: u32,
    /// The longest time that is granted, and the one of who asks for none: the 3600 s of RFC 6910
    /// §9.4, for a publication serves no longer than its subscription.
    pub expires_max_s: u32,
    /// Most publications at once.
    pub publications_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            expires_min_s: 5,
            expires_max_s: 3600,
            publications_max: 100_000,
        }
    }
}

/// All publications, by owner.
#[derive(Debug)]
pub struct Publications {
    limits: Limits,
    by_owner: BTreeMap<u64, Publication>,
    by_end: BTreeSet<(Timestamp, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Publication {
    /// What nobody but its publisher knows of its entity-tag.
    nonce: u64,
    ends: Timestamp,
}

/// What a PUBLISH asks for, all checked but its document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Asked {
    /// What is to become of the publication.
    pub wish: Wish,
    /// For how long; zero with [`Wish::Remove`] alone.
    pub expires_s: u32,
    tag: Option<EntityTag>,
}

/// What a PUBLISH wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wish {
    /// A new publication; the body says what of.
    Initial,
    /// Another document in place of the one before; the body is it.
    Modify,
    /// More time for the document that is there.
    Refresh,
    /// No publication any more; without an entity-tag it is the owner's whichever it is.
    Remove,
}

/// What a publisher is told on success (S-151).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Granted {
    /// For how long.
    pub expires_s: u32,
    tag: EntityTag,
}

/// Why a PUBLISH is refused (S-150).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Reject {
    /// Its Event is missing, or none that is published here: 489.
    #[error("unknown event")]
    BadEvent,
    /// SIP-If-Match stands twice, Expires is no number, or there is no body: 400.
    #[error("malformed PUBLISH")]
    BadRequest,
    /// There are as many as there may be: 503.
    #[error("too many publications")]
    Full,
    /// Its entity-tag is not, or no longer, that of a publication: 412.
    #[error("unknown entity-tag")]
    NoMatch,
    /// It is for less than this many seconds: 423.
    #[error("less than {0} s")]
    TooBrief(u32),
    /// Its body is of another media type: 415.
    #[error("another media type")]
    WrongType,
}

impl Publications {
    /// None yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            by_owner: BTreeMap::new(),
            by_end: BTreeSet::new(),
        }
    }

    /// How many there may be; those that are there already stay.
    pub fn set_max(&mut self, publications_max: usize) {
        self.limits.publications_max = publications_max;
    }

    /// Finds out what a PUBLISH asks for; its Request-URI was looked at before (S-150).
    pub fn check(&self, publish: &Message<'_>) -> Result<Asked, Reject> {
        check_event(publish)?;
        let tag = if_match(publish)?;
        if let Some(tag) = tag {
            self.find(tag).ok_or(Reject::NoMatch)?;
        }
        self.wished(publish, tag)
    }

    /// The same of a PUBLISH that a process before this one may have carried out already: the
    /// entity-tag that it names is gone then, and it is about whatever its owner has published.
    pub fn check_again(&self, publish: &Message<'_>) -> Result<Asked, Reject> {
        check_event(publish)?;
        let tag = if_match(publish)?;
        let asked = self.wished(publish, tag)?;
        Ok(Asked { tag: None, ..asked })
    }

    fn wished(&self, publish: &Message<'_>, tag: Option<EntityTag>) -> Result<Asked, Reject> {
        let expires_s = self.expires_s(publish)?;
        let wish = match (tag, publish.body().is_empty(), expires_s) {
            // A document that comes along means nothing.
            (_, _, 0) => Wish::Remove,
            (None, true, _) => return Err(Reject::BadRequest),
            (None, false, _) => Wish::Initial,
            (Some(_), true, _) => Wish::Refresh,
            (Some(_), false, _) => Wish::Modify,
        };
        if matches!(wish, Wish::Initial | Wish::Modify) {
            check_type(publish)?;
        }
        Ok(Asked {
            wish,
            expires_s,
            tag,
        })
    }

    /// Carries out what was asked for: as this owner's, if it is a new publication.
    ///
    /// S-151: each success has an entity-tag of its own, which comes of random bits that nobody has
    /// seen.
    pub fn commit(
        &mut self,
        now: Timestamp,
        nonce: u64,
        asked: &Asked,
        owner: u64,
    ) -> Result<Granted, Reject> {
        let owner = match asked.tag {
            // It may have ended since it was checked.
            Some(tag) => self.find(tag).ok_or(Reject::NoMatch)?,
            None => owner,
        };
        let is_new = !self.by_owner.contains_key(&owner);
        if is_new && self.by_owner.len() >= self.limits.publications_max {
            return Err(Reject::Full);
        }
        self.forget(owner);
        let expires_s = asked.expires_s;
        if asked.wish != Wish::Remove {
            let ends = now + Duration::from_secs(expires_s.into());
            self.by_owner.insert(owner, Publication { nonce, ends });
            self.by_end.insert((ends, owner));
        }
        Ok(Granted {
            expires_s,
            tag: EntityTag { owner, nonce },
        })
    }

    /// What an owner has published, for a later process: the bits of its entity-tag, and its end.
    pub fn kept(&self, owner: u64) -> Option<(u64, Timestamp)> {
        let publication = self.by_owner.get(&owner)?;
        Some((publication.nonce, publication.ends))
    }

    /// Takes that back.
    pub fn restore(&mut self, owner: u64, (nonce, ends): (u64, Timestamp)) {
        self.forget(owner);
        self.by_owner.insert(owner, Publication { nonce, ends });
        self.by_end.insert((ends, owner));
    }

    /// Drops what an owner has published: it has ended, and its entity-tag is unknown from now on.
    pub fn forget(&mut self, owner: u64) {
        if let Some(publication) = self.by_owner.remove(&owner) {
            self.by_end.remove(&(publication.ends, owner));
        }
    }

    /// The owner of the next publication that has run out: it counts as removed.
    pub fn handle_timeout(&mut self, now: Timestamp) -> Option<u64> {
        let (ends, owner) = *self.by_end.first()?;
        if ends > now {
            return None;
        }
        self.forget(owner);
        Some(owner)
    }

    /// When [`Self::handle_timeout`] next has work to do.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.by_end.first().map(|(ends, _)| *ends)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_owner.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_owner.is_empty()
    }

    fn expires_s(&self, publish: &Message<'_>) -> Result<u32, Reject> {
        let Limits {
            expires_min_s,
            expires_max_s,
            ..
        } = self.limits;
        let Some(value) = publish.first(Name::Expires) else {
            return Ok(expires_max_s);
        };
        match parse_u32(value).ok_or(Reject::BadRequest)? {
            0 => Ok(0),
            asked if asked < expires_min_s => Err(Reject::TooBrief(expires_min_s)),
            asked => Ok(asked.min(expires_max_s)),
        }
    }

    fn find(&self, tag: EntityTag) -> Option<u64> {
        let publication = self.by_owner.get(&tag.owner)?;
        (publication.nonce == tag.nonce).then_some(tag.owner)
    }
}

impl Asked {
    /// Whose publication it is about; `None` if it is a new one.
    pub fn owner(&self) -> Option<u64> {
        self.tag.map(|tag| tag.owner)
    }
}

impl Granted {
    /// Adds the fields of the 200.
    pub fn write_fields(&self, writer: &mut Writer<'_>) {
        writer.header_fmt(Name::SipEtag, format_args!("{}", self.tag));
        writer.header_fmt(Name::Expires, format_args!("{}", self.expires_s));
    }
}

impl Reject {
    /// The status.
    pub fn status(self) -> Status {
        match self {
            Self::BadEvent => Status::BAD_EVENT,
            Self::BadRequest => Status::BAD_REQUEST,
            Self::Full => Status::SERVICE_UNAVAILABLE,
            Self::NoMatch => Status::CONDITIONAL_REQUEST_FAILED,
            Self::TooBrief(_) => Status::INTERVAL_TOO_BRIEF,
            Self::WrongType => Status::UNSUPPORTED_MEDIA_TYPE,
        }
    }

    /// Adds the fields that tell the publisher how to do better.
    pub fn write_fields(self, writer: &mut Writer<'_>) {
        match self {
            Self::BadEvent => {
                let known = [PACKAGE.as_bytes(), b", ", PRESENCE.as_bytes()];
                writer.header_parts(Name::AllowEvents, &known);
            }
            Self::TooBrief(least_s) => {
                writer.header_fmt(Name::MinExpires, format_args!("{least_s}"));
            }
            Self::WrongType => {
                writer.header(Name::Accept, MEDIA_TYPE.as_bytes());
            }
            Self::BadRequest | Self::Full | Self::NoMatch => {}
        }
    }
}

fn check_event(publish: &Message<'_>) -> Result<(), Reject> {
    // Old chan_sip publishes presence under the name of the package that it is for.
    let event = Event::of(publish).ok_or(Reject::BadEvent)?;
    let is_known = event.is(PRESENCE) || event.is(PACKAGE);
    is_known.then_some(()).ok_or(Reject::BadEvent)
}

/// The entity-tag of SIP-If-Match, if there is one.
fn if_match(publish: &Message<'_>) -> Result<Option<EntityTag>, Reject> {
    let mut values = publish.values(Name::SipIfMatch);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Reject::BadRequest);
    }
    EntityTag::parse(value).map(Some).ok_or(Reject::NoMatch)
}

fn check_type(publish: &Message<'_>) -> Result<(), Reject> {
    let value = publish.first(Name::ContentType);
    let media_type = value.and_then(|value| Item::parse(value).ok());
    let is_known = media_type.is_some_and(|it| it.is(MEDIA_TYPE) || it.is(MEDIA_TYPE_SHORT));
    is_known.then_some(()).ok_or(Reject::WrongType)
}

/// Names one state of one publication: its owner, and 64 random bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct EntityTag {
    owner: u64,
    nonce: u64,
}

impl EntityTag {
    fn parse(text: &[u8]) -> Option<Self> {
        let (owner, nonce) = text.split_at_checked(16)?;
        Some(Self {
            owner: read_hex(owner)?,
            nonce: read_hex(nonce)?,
        })
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.owner, self.nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialog::kit::{request, text};
    use crate::random::Rng;

    const ALICE: u64 = 7;
    const CAROL: u64 = 8;
    const BODY: &str = "<presence/>";
    const PIDF: &str = "Content-Type: application/pidf+xml";

    struct Scene {
        now: Timestamp,
        rng: Rng,
        publications: Publications,
    }

    /// What became of a PUBLISH, and its new entity-tag.
    type Outcome = Result<(Wish, String), Reject>;

    impl Scene {
        fn new() -> Self {
            Self::with(Limits {
                publications_max: 2,
                ..Limits::default()
            })
        }

        fn with(limits: Limits) -> Self {
            Self {
                now: Timestamp::START,
                rng: Rng::from_number(1),
                publications: Publications::new(limits),
            }
        }

        fn publish(&mut self, owner: u64, fields: &[&str], body: &str) -> Outcome {
            let publish = publish(fields, body);
            let asked = self.publications.check(&publish)?;
            let granted = self
                .publications
                .commit(self.now, self.rng.bits(), &asked, owner)?;
            assert_eq!(granted.expires_s, asked.expires_s);
            Ok((asked.wish, granted.tag.to_string()))
        }

        fn initial(&mut self, owner: u64) -> String {
            let made = self.publish(owner, &["Event: presence", "Expires: 60", PIDF], BODY);
            made.unwrap().1
        }

        fn with_tag(&mut self, tag: &str, expires: &str, body: &str) -> Outcome {
            let tag = format!("SIP-If-Match: {tag}");
            let expires = format!("Expires: {expires}");
            self.publish(0, &["Event: presence", &tag, &expires, PIDF], body)
        }

        fn refused(&mut self, fields: &[&str], body: &str) -> Option<Reject> {
            self.publish(ALICE, fields, body).err()
        }

        fn pass(&mut self, seconds: u64) -> Option<u64> {
            self.now = self.now + Duration::from_secs(seconds);
            self.publications.handle_timeout(self.now)
        }
    }

    fn publish(fields: &[&str], body: &str) -> Message<'static> {
        let mut lines = vec![
            "PUBLISH sip:cce-1@127.0.0.1 SIP/2.0",
            "Via: SIP/2.0/UDP 127.0.0.9;branch=z9hG4bK1",
            "From: <sip:alice@a.example>;tag=1",
            "To: <sip:cce-1@127.0.0.1>",
            "Call-ID: 1",
            "CSeq: 1 PUBLISH",
        ];
        lines.extend(fields);
        request(&(text(&lines) + body)).message
    }

    #[test]
    fn a_publication_is_made_refreshed_modified_and_removed() {
        let mut scene = Scene::new();
        let first = scene.initial(ALICE);
        // S-152
        let (wish, second) = scene.with_tag(&first, "60", "").unwrap();
        assert_eq!(wish, Wish::Refresh);
        let (wish, third) = scene.with_tag(&second, "60", BODY).unwrap();
        assert_eq!(wish, Wish::Modify);
        let (wish, fourth) = scene.with_tag(&third, "0", "").unwrap();
        assert_eq!(wish, Wish::Remove);
        assert!(scene.publications.is_empty());
        // S-151
        let mut tags = vec![first, second, third, fourth];
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), 4);
        assert_eq!(scene.publications.poll_timeout(), None);
    }

    #[test]
    fn an_entity_tag_is_good_once_and_for_the_publication_that_it_named() {
        let mut scene = Scene::new();
        let old = scene.initial(ALICE);
        let (_, new) = scene.with_tag(&old, "60", BODY).unwrap();
        let guessed = format!("{}{}", &new[..16], "0".repeat(16));
        for tag in [old.as_str(), &guessed, "a1", "\"\u{e9}\""] {
            let refused = scene.with_tag(tag, "60", BODY);
            assert_eq!(refused, Err(Reject::NoMatch), "{tag}"); // S-150
        }
        scene.with_tag(&new, "0", "").unwrap();
        assert_eq!(scene.with_tag(&new, "60", BODY), Err(Reject::NoMatch));
    }

    #[test]
    fn the_owner_is_whom_the_entity_tag_names() {
        let mut scene = Scene::new();
        let tag = format!("SIP-If-Match: {}", scene.initial(ALICE));
        let asked = scene
            .publications
            .check(&publish(&["Event: presence", &tag], ""));
        assert_eq!(asked.unwrap().owner(), Some(ALICE));
        let asked = scene
            .publications
            .check(&publish(&["Event: presence", PIDF], BODY));
        assert_eq!(asked.unwrap().owner(), None);
    }

    #[test]
    fn the_checks_are_made_in_the_order_of_the_standard() {
        let mut scene = Scene::new();
        let all_wrong = [
            "Event: dialog",
            "SIP-If-Match: a, b",
            "Expires: soon",
            "Content-Type: text/plain",
        ];
        // S-150
        assert_eq!(scene.refused(&all_wrong, BODY), Some(Reject::BadEvent));
        let [_, tags, expires, media_type] = all_wrong;
        let event = "Event: presence";
        let refused = scene.refused(&[event, tags, expires, media_type], BODY);
        assert_eq!(refused, Some(Reject::BadRequest));
        let refused = scene.refused(&[event, "SIP-If-Match: a", expires, media_type], BODY);
        assert_eq!(refused, Some(Reject::NoMatch));
        let refused = scene.refused(&[event, "Expires: 4", media_type], BODY);
        assert_eq!(refused, Some(Reject::TooBrief(5)));
        let refused = scene.refused(&[event, media_type], BODY);
        assert_eq!(refused, Some(Reject::WrongType));
    }

    #[test]
    fn what_cannot_be_a_publication_is_refused() {
        let mut scene = Scene::new();
        let tag = format!("SIP-If-Match: {}", scene.initial(ALICE));
        let event = "Event: presence";
        for (fields, body, reject) in [
            (&[PIDF][..], BODY, Reject::BadEvent),
            (&[event, PIDF], "", Reject::BadRequest),
            (&[event], BODY, Reject::WrongType),
            (&[event, "Expires: -1", PIDF], BODY, Reject::BadRequest),
            (&[event, &tag, &tag, PIDF], BODY, Reject::BadRequest),
            (&[event, &tag], BODY, Reject::WrongType),
        ] {
            assert_eq!(scene.refused(fields, body), Some(reject), "{fields:?}"); // S-150
        }
    }

    #[test]
    fn each_refusal_has_its_status_and_says_how_to_do_better() {
        for (reject, code, fields) in [
            (
                Reject::BadEvent,
                489,
                "Allow-Events: call-completion, presence\r\n",
            ),
            (Reject::BadRequest, 400, ""),
            (Reject::Full, 503, ""),
            (Reject::NoMatch, 412, ""),
            (Reject::TooBrief(5), 423, "Min-Expires: 5\r\n"),
            (Reject::WrongType, 415, "Accept: application/pidf+xml\r\n"),
        ] {
            let mut out = Vec::new();
            let mut writer = Writer::fragment(&mut out);
            reject.write_fields(&mut writer);
            writer.finish(b"").unwrap();
            assert_eq!(reject.status().code(), code); // S-150
            let expected = format!("{fields}Content-Length: 0\r\n\r\n");
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn the_answer_carries_the_new_entity_tag_and_the_time_granted() {
        let mut scene = Scene::new();
        let fields = ["Event: presence", "Expires: 999999", PIDF];
        let publish = publish(&fields, BODY);
        let asked = scene.publications.check(&publish).unwrap();
        let Scene {
            publications, rng, ..
        } = &mut scene;
        let granted = publications
            .commit(Timestamp::START, rng.bits(), &asked, ALICE)
            .unwrap();
        let mut out = Vec::new();
        let mut writer = Writer::fragment(&mut out);
        granted.write_fields(&mut writer);
        writer.finish(b"").unwrap();
        let text = String::from_utf8(out).unwrap();
        let (tag, rest) = text.split_once("\r\n").unwrap();
        let tag = tag.strip_prefix("SIP-ETag: ").unwrap();
        assert_eq!(rest, "Expires: 3600\r\nContent-Length: 0\r\n\r\n"); // S-151
        assert!(scene.with_tag(tag, "60", "").is_ok());
    }

    #[test]
    fn a_publication_that_runs_out_counts_as_removed() {
        let mut scene = Scene::new();
        let tag = scene.initial(ALICE);
        scene.pass(1);
        scene.initial(CAROL);
        assert_eq!(scene.pass(58), None);
        assert_eq!(scene.pass(1), Some(ALICE));
        assert_eq!(scene.publications.handle_timeout(scene.now), None);
        let due = scene.now + Duration::from_secs(1);
        assert_eq!(scene.publications.poll_timeout(), Some(due));
        assert_eq!(scene.with_tag(&tag, "60", ""), Err(Reject::NoMatch));
        assert_eq!(scene.pass(1), Some(CAROL));
    }

    #[test]
    fn a_refresh_in_time_keeps_a_publication() {
        let mut scene = Scene::new();
        let tag = scene.initial(ALICE);
        assert_eq!(scene.pass(59), None);
        scene.with_tag(&tag, "60", "").unwrap();
        assert_eq!(scene.pass(59), None);
        assert_eq!(scene.pass(1), Some(ALICE));
    }

    #[test]
    fn a_publication_that_ended_while_its_owner_thought_is_not_brought_back() {
        let mut scene = Scene::new();
        let tag = format!("SIP-If-Match: {}", scene.initial(ALICE));
        let publish = publish(&["Event: presence", &tag, PIDF], BODY);
        let asked = scene.publications.check(&publish).unwrap();
        scene.publications.forget(ALICE);
        let Scene {
            publications, rng, ..
        } = &mut scene;
        let refused = publications.commit(Timestamp::START, rng.bits(), &asked, ALICE);
        assert_eq!(refused, Err(Reject::NoMatch));
        assert!(publications.is_empty());
    }

    #[test]
    fn a_new_publication_takes_the_place_of_the_owners_old_one() {
        let mut scene = Scene::new();
        let old = scene.initial(ALICE);
        scene.pass(30);
        scene.initial(ALICE);
        assert_eq!(scene.publications.len(), 1);
        assert_eq!(scene.with_tag(&old, "60", ""), Err(Reject::NoMatch));
        assert_eq!(scene.pass(30), None, "the old one ends nothing");
    }

    #[test]
    fn there_are_not_more_publications_than_there_may_be() {
        let mut scene = Scene::new();
        scene.initial(ALICE);
        let tag = scene.initial(CAROL);
        let third = scene.publish(9, &["Event: presence", PIDF], BODY);
        assert_eq!(third, Err(Reject::Full));
        assert!(scene.with_tag(&tag, "60", BODY).is_ok());
        scene.publications.forget(ALICE);
        assert!(scene.publish(9, &["Event: presence", PIDF], BODY).is_ok());
    }

    #[test]
    fn old_chan_sip_publishes_under_the_name_of_its_own_package() {
        let mut scene = Scene::new();
        let event = "Event: call-completion";
        let made = scene.publish(ALICE, &[event, "Expires: 3600", PIDF], BODY);
        let (wish, tag) = made.unwrap();
        assert_eq!(wish, Wish::Initial);
        let tag = format!("SIP-If-Match: {tag}");
        let resumed = scene.publish(0, &[event, &tag, "Expires: 3600", PIDF], BODY);
        assert_eq!(resumed.unwrap().0, Wish::Modify);
    }

    #[test]
    fn a_removal_needs_neither_entity_tag_nor_media_type() {
        let mut scene = Scene::new();
        let tag = scene.initial(ALICE);
        assert_eq!(scene.with_tag(&tag, "0", BODY).unwrap().0, Wish::Remove);
        scene.initial(ALICE);
        let removed = scene.publish(ALICE, &["Event: presence", "Expires: 0"], BODY);
        assert_eq!(removed.unwrap().0, Wish::Remove);
        assert!(scene.publications.is_empty());
    }

    #[test]
    fn the_media_type_may_be_spelled_as_in_the_example_of_the_standard() {
        let mut scene = Scene::new();
        for media_type in ["application/pidf", "Application/PIDF+XML;charset=utf-8"] {
            let media_type = format!("c: {media_type}");
            let made = scene.publish(ALICE, &["o: presence", &media_type], BODY);
            assert!(made.is_ok(), "{media_type}");
        }
    }
}
