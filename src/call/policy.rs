//! What an operator may choose of calls.
//!
//! Spec: RFC 3262 §4 (S-58).

/// What we ask of the two sides of a call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy {
    /// Whether callees are asked for reliable provisional responses.
    pub reliable: Reliability,
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
