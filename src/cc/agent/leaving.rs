//! Subscriptions whose request is gone, until they are over too.
//!
//! Spec: RFC 6665 §4.1.2.3, §4.1.2.4.

use crate::cc::SubscriptionId;
use crate::cc::agent::{Agent, Effect, Turn};
use crate::time::Timestamp;

/// A subscription on its way out.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) id: SubscriptionId,
    pub(super) step: Step,
    pub(super) gives_up: Timestamp,
}

/// What is awaited of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// The answer to its SUBSCRIBE, so that it can be ended.
    Answer,
    /// Its last NOTIFY, after our Expires: 0.
    Confirmation,
    /// Its last NOTIFY, which the monitor owes by itself.
    Farewell,
}

impl Agent {
    /// A subscription that was given up while its SUBSCRIBE was unanswered can be ended now.
    pub(super) fn unsubscribe_late(&mut self, id: SubscriptionId, turn: &mut Turn<'_>) {
        let gives_up = turn.now + turn.policy.leave_max;
        let Some(gone) = self.leaving.iter_mut().find(|gone| gone.id == id) else {
            return;
        };
        if gone.step == Step::Answer {
            turn.out.push(Effect::Unsubscribe(id));
            gone.step = Step::Confirmation;
            gone.gives_up = gives_up;
        }
    }

    pub(super) fn forget(&mut self, id: SubscriptionId, turn: &mut Turn<'_>) {
        let before = self.leaving.len();
        self.leaving.retain(|gone| gone.id != id);
        if self.leaving.len() < before {
            turn.out.push(Effect::Forget(id));
        }
    }

    pub(super) fn on_leaving_due(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        let next = now + turn.policy.leave_max;
        self.leaving.retain_mut(|gone| {
            if now < gone.gives_up {
                return true;
            }
            match gone.step {
                Step::Farewell => {
                    turn.out.push(Effect::Unsubscribe(gone.id));
                    gone.step = Step::Confirmation;
                    gone.gives_up = next;
                    true
                }
                Step::Answer | Step::Confirmation => {
                    turn.out.push(Effect::Forget(gone.id));
                    false
                }
            }
        });
    }
}
