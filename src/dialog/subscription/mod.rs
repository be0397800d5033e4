//! Subscriptions on the wire: their dialogs, and their messages in both directions.
//!
//! Spec: RFC 6665 §4; RFC 6910 §9.
//!
//! How long a subscription lives and what is said in it is its owner's business; here there is no
//! time and no state but what the next message needs.

mod lines;
mod notifier;
mod subscriber;

pub use lines::{Lines, Taken};
pub use notifier::{Notifier, Notify, Standing};
pub use subscriber::{Answer, Ask, Fork, Notified, Origin, Subscriber, Terms};

use crate::sip::{Event, Message, Status};
use crate::transaction::clients::Failure;

/// The event package (RFC 6910 §9.1).
pub const PACKAGE: &str = "call-completion";

/// An event package that we are notifier or subscriber of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Package {
    /// RFC 6910 §9.
    CallCompletion,
    /// RFC 4235: by it a phone waits for completion, and a PBX tells of a callee.
    Dialog,
}

impl Package {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallCompletion => PACKAGE,
            Self::Dialog => "dialog",
        }
    }

    /// S-132: it, and the others that there are besides.
    fn all_with_it(self) -> &'static str {
        match self {
            Self::CallCompletion => PACKAGE,
            Self::Dialog => "call-completion, dialog",
        }
    }
}

/// What the answer to a request within a subscription leaves of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// The peer knows nothing of it any more.
    Gone,
    /// It stays until it ends by itself.
    Kept,
}

impl Fate {
    /// S-124, S-125: what this answer leaves of it.
    pub fn after(status: Status) -> Self {
        match status.code() {
            404 | 405 | 408 | 410 | 416 | 480..=485 | 489 | 501 | 604 => Self::Gone,
            _ => Self::Kept,
        }
    }

    /// S-124: what is left when there is no answer.
    pub fn after_failure(failure: Failure) -> Self {
        match failure {
            Failure::TimedOut => Self::Gone,
            // The way may be open again before it ends.
            Failure::Unreachable => Self::Kept,
        }
    }
}

/// S-120, S-131: a request within a subscription is about its package, by the same id.
fn check_event(message: &Message<'_>, package: Package, id: &[u8]) -> Result<(), Status> {
    let event = Event::of(message).filter(|event| event.is(package.as_str()));
    let event = event.ok_or(Status::BAD_EVENT)?;
    if event.id.unwrap_or_default() == id {
        Ok(())
    } else {
        Err(Status::CALL_DOES_NOT_EXIST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_end_a_subscription_are_told_from_those_that_do_not() {
        for code in [
            404, 405, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604,
        ] {
            let status = Status::new(code).unwrap();
            assert_eq!(Fate::after(status), Fate::Gone, "{code}"); // S-124
        }
        for code in [
            100, 200, 202, 400, 401, 403, 407, 423, 486, 487, 500, 503, 603,
        ] {
            let status = Status::new(code).unwrap();
            assert_eq!(Fate::after(status), Fate::Kept, "{code}"); // S-125
        }
    }

    #[test]
    fn silence_ends_a_subscription_and_a_broken_way_does_not() {
        // S-124
        assert_eq!(Fate::after_failure(Failure::TimedOut), Fate::Gone);
        assert_eq!(Fate::after_failure(Failure::Unreachable), Fate::Kept);
    }
}
