//! What an operator may choose of calls.
//!
//! Spec: RFC 3262 §4 (S-58); RFC 4028 §4, §5 (S-90, S-92); RULES R12.

use crate::dialog::session_timer;

/// What we ask of the two sides of a call.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Whether callees are asked for reliable provisional responses.
    pub reliable: Reliability,
    /// Who is asked to have his sessions refreshed, and how often.
    pub session_asks: SessionAsks,
    /// The shortest time to which a session may be limited, in seconds.
    pub session_least_s: u32,
    /// Whether what the two sides were told of each other is kept, because somebody may join them.
    pub keeps_sessions: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            reliable: Reliability::default(),
            session_asks: SessionAsks::default(),
            session_least_s: session_timer::LEAST_S,
            keeps_sessions: false,
        }
    }
}

/// Who is asked for a session timer of so many seconds; what others ask for is agreed to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SessionAsks {
    /// Both sides of each call.
    Everybody(u32),
    /// Nobody.
    #[default]
    Nobody,
    /// The upstream and the other peers.
    Peers(u32),
}

/// When a callee is asked for reliable provisional responses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Reliability {
    /// Whenever somebody could acknowledge them: us, if not the caller.
    Always,
    /// When the caller takes them, who then acknowledges.
    #[default]
    AsCaller,
    /// Never: each response is told once.
    Never,
}
