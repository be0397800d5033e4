//! The forks of a call that rings: B's early dialogs, and the tag by which A knows each.
//!
//! Spec: RFC 3261 §12.1, §13.2.2.4; RFC 3262 §4 (S-58).

use crate::call::early::Wish;
use crate::call::heard::Heard;
use crate::call::setup::Setup;
use crate::call::{Call, FORKS_MAX, Phase, Reliability, Side, Turn};
use crate::dialog::Tag;
use crate::sip::{Name, Response};

/// An early dialog of the B leg, and its counterpart on the A leg.
#[derive(Debug)]
pub(super) struct Fork {
    pub(super) remote_tag: Box<[u8]>,
    pub(super) tag: Tag,
    /// More of it, where B's responses are reliable.
    heard: Option<Box<Heard>>,
}

impl Fork {
    /// What we say ourselves, as if B had another phone.
    pub(super) fn own(tag: Tag) -> Self {
        Self {
            remote_tag: Box::default(),
            tag,
            heard: None,
        }
    }
}

impl Setup {
    /// What was heard of the fork that A knows by this tag; `None` if there is no such fork.
    pub(super) fn heard_mut(&mut self, tag: Tag) -> Option<&mut Option<Box<Heard>>> {
        let fork = self.forks.iter_mut().find(|fork| fork.tag == tag)?;
        Some(&mut fork.heard)
    }

    /// The same, to be looked at.
    pub(super) fn heard(&self, tag: Tag) -> Option<&Heard> {
        let fork = self.forks.iter().find(|fork| fork.tag == tag)?;
        fork.heard.as_deref()
    }
}

impl Call {
    /// The tag that A sees for the fork of this response; `None` if it sees too many already.
    pub(super) fn fork(&mut self, turn: &mut Turn<'_>, response: &Response<'_>) -> Option<Tag> {
        let remote_tag = response.to.tag().unwrap_or_default();
        let key = self.key;
        let forks = &mut self.setup.as_deref_mut()?.forks;
        if let Some(fork) = forks.iter().find(|fork| *fork.remote_tag == *remote_tag) {
            return Some(fork.tag);
        }
        if forks.len() >= FORKS_MAX {
            return None;
        }
        let tag = Tag::new(key, turn.rng);
        let remote_tag = Box::from(remote_tag);
        forks.push(Fork {
            remote_tag,
            tag,
            heard: None,
        });
        Some(tag)
    }

    /// S-12: the tag of an answer of our own to A: that of what A heard last, if it heard anything.
    pub fn answer_tag(&self) -> Tag {
        let setup = self.setup.as_deref().filter(|_| self.answered.is_none());
        let fork = setup.and_then(|setup| setup.forks.last());
        fork.map_or_else(|| self.a.dialog.tag(), |fork| fork.tag)
    }

    /// S-12: what A heard while it rang and the final response have the same tag.
    pub(super) fn final_tag(&self, remote_tag: &[u8]) -> crate::dialog::tag::TagText {
        let forks = self.setup.as_deref().map(|setup| &setup.forks);
        let fork =
            forks.and_then(|forks| forks.iter().find(|fork| *fork.remote_tag == *remote_tag));
        let tag = fork.map_or_else(|| self.answer_tag(), |fork| fork.tag);
        tag.text()
    }

    /// Whether this tag is that of an early dialog that A sees.
    pub(super) fn is_early(&self, tag: Tag) -> bool {
        let forks = self.setup.as_deref().map(|setup| &setup.forks);
        let is_known = forks.is_some_and(|forks| forks.iter().any(|fork| fork.tag == tag));
        is_known && self.phase == Phase::Inviting
    }

    /// Our tag and the peer's of each fork that A sees.
    pub(super) fn forks(&self) -> impl Iterator<Item = (Tag, &[u8])> {
        let forks = self.setup.as_deref().map(|setup| &setup.forks);
        let forks = forks.into_iter().flatten();
        forks.map(|fork| (fork.tag, &*fork.remote_tag))
    }

    /// S-58: in which field B is asked for reliable responses, if in any.
    pub(super) fn asks_reliable(&self, reliable: Reliability) -> Option<Name> {
        let is_late = self.awaits_offer();
        match (reliable, self.early.as_deref()) {
            (Reliability::Never, _) | (Reliability::AsCaller, None) => None,
            (_, Some(early)) => Some(match early.wish_beyond() {
                Wish::Required => Name::Require,
                Wish::Supported => Name::Supported,
            }),
            // An offer in B's response would have nobody to answer it.
            (Reliability::Always, None) => (!is_late).then_some(Name::Supported),
        }
    }

    /// S-71: whether B is to make the offer of the INVITE that is pending.
    pub(super) fn awaits_offer(&self) -> bool {
        self.setup.as_deref().is_some_and(|setup| setup.is_late)
    }

    /// The side whose offer waits for its answer in an early dialog.
    pub(super) fn offer_in(&self, tag: Tag) -> Option<Side> {
        self.heard_in(tag)?.offers()
    }
}
