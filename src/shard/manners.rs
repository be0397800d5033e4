//! What the operator knows of how a peer behaves.

/// Whether a peer that is reached by UDP takes TCP as well.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Tcp {
    /// Each of its servers is asked by OPTIONS over TCP.
    Ask,
    /// It does not.
    #[default]
    No,
    /// It does.
    Yes,
}

/// What becomes of a call that a peer redirects.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Redirect {
    /// It goes where the peer says, if that is to a peer of ours.
    Follow,
    /// Its caller is told.
    #[default]
    Relay,
}
