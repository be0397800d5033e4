//! Who may join whose call, as the operator says, and the warning that all hear.
//!
//! Spec: RULES R17; threats T29.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::completion::intrusion::{Level, Rights};
use crate::location::Aor;
use crate::media::room::Mix;
use crate::shard::Shard;

/// Who may join whose call, and what is heard of it (R17).
#[derive(Clone, Debug)]
pub struct Intrusion {
    /// The rights of users who have others than most.
    pub rights: BTreeMap<Aor, Rights>,
    /// Those of all others.
    pub usual: Rights,
    /// How often the warning is heard again.
    pub warns_every: Duration,
    /// Whether nobody is warned at all.
    pub is_silent: bool,
}

impl Default for Intrusion {
    fn default() -> Self {
        Self {
            rights: BTreeMap::new(),
            usual: Rights::DENIED,
            warns_every: Duration::from_secs(15),
            is_silent: false,
        }
    }
}

impl Intrusion {
    /// Whether anybody may join anything.
    pub fn is_possible(&self) -> bool {
        let mut all = self.rights.values().chain([&self.usual]);
        all.any(|rights| rights.intrudes > Level::NONE)
    }
}

impl Shard {
    /// What a user may do to the calls of others, and they to his.
    pub(super) fn rights_of(&self, user: &Aor) -> Rights {
        let intrusion = &self.settings.completion.intrusion;
        let own = intrusion.rights.get(user).copied();
        own.unwrap_or(intrusion.usual)
    }

    /// The mixer that everybody is warned of; `None` if the warning cannot be heard.
    pub(super) fn mix(&self) -> Option<Mix> {
        let patience = self.settings.sound.as_ref()?.timeout;
        let intrusion = &self.settings.completion.intrusion;
        if intrusion.is_silent {
            return Some(Mix::unheard().watched(patience));
        }
        let warning = self.settings.voice.as_ref()?.warning.clone();
        let mix = Mix::new(warning, intrusion.warns_every).ok()?;
        Some(mix.watched(patience))
    }
}
