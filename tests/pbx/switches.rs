//! What a PBX may be like: one switch a habit.

use std::collections::BTreeSet;
use std::time::Duration;

/// Whose ids the calls towards the phones carry.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Ids {
    /// New Call-ID and tags: a back-to-back user agent.
    #[default]
    New,
    /// The caller's, as through a proxy.
    Kept,
}

/// Who the calls towards the phones come from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CallerShown {
    /// As the caller wrote it.
    #[default]
    AsWritten,
    /// By its extension, with the name of the user in P-Asserted-Identity.
    Extension,
    /// Anonymous, and nothing says who it is.
    Anonymous,
}

/// When the mailbox answers in place of a phone.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Voicemail {
    #[default]
    Never,
    OnBusy,
    /// When the phones have rung for so long; on busy too.
    After(Duration),
}

/// The habits of one PBX, all of them to be changed while it runs.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are switches")]
pub struct Switches {
    pub ids: Ids,
    pub caller: CallerShown,
    /// Drops Call-Info and the parameters of URIs that it does not know.
    pub strips: bool,
    /// Challenges INVITE and all other requests outside of a dialog, bound to Request-URI, Call-ID
    /// and From tag. REGISTER is always challenged.
    pub challenges: bool,
    /// Whose requests are never challenged, by host and port as Via names them.
    pub trusts: Vec<String>,
    pub voicemail: Voicemail,
    /// How long phones ring before the PBX gives up with 480.
    pub rings: Duration,
    /// Asks each contact for its OPTIONS so often.
    pub probes: Option<Duration>,
    /// The longest registration that is granted, in seconds.
    pub expires_max: u32,
    /// The shortest, below which is 423.
    pub expires_min: u32,
    /// Tells those who ask of the dialogs of its users (RFC 4235).
    pub tells_dialogs: bool,
    /// The users who talk on phones of the PBX's own: to everybody else they are busy.
    pub talking: BTreeSet<String>,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            ids: Ids::default(),
            caller: CallerShown::default(),
            strips: true,
            challenges: true,
            trusts: Vec::new(),
            voicemail: Voicemail::default(),
            rings: Duration::from_secs(30),
            probes: None,
            expires_max: 600,
            expires_min: 10,
            tells_dialogs: false,
            talking: BTreeSet::new(),
        }
    }
}
