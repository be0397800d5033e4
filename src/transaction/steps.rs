//! Which event meets which state of a transaction, told at level trace.

use std::fmt::Debug;

/// Tells of an event, or of a [`Due`].
pub(super) fn trace(machine: &'static str, state: &impl Debug, event: &impl Debug) {
    tracing::trace!(target: "campon::steps", machine, ?state, ?event);
}

/// What the passing of time was to a machine.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    /// It goes on, having sent again if it had to.
    Again,
    /// It is over.
    Over,
}

impl Due {
    /// From what is left of the machine.
    pub(super) fn of<S>(next: Option<&S>) -> Self {
        match next {
            Some(_) => Self::Again,
            None => Self::Over,
        }
    }
}
