//! A caller whose requests only wait, and what it takes to make his agent anew.
//!
//! Spec: DESIGN §6.
//!
//! As [`crate::cc::monitor::Monitor`] has it; of the requests whose monitors are in this process.

use crate::cc::addr::AddrSpec;
use crate::cc::agent::request::{Kept, Phase, Request, Stage, Subscription};
use crate::cc::agent::{Agent, NewRequest, Way};
use crate::cc::id::CompletionId;
use crate::cc::line::Line;
use crate::cc::{Condition, RecallState, SubscriptionId};
use crate::time::Timestamp;

/// All that is to be known of a request that only waits, in a queue of this process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waiting {
    /// Its name.
    pub id: CompletionId,
    /// What was dialled.
    pub dialled: AddrSpec,
    /// Why that failed.
    pub condition: Condition,
    /// Its entry in the queue.
    pub subscription: SubscriptionId,
    /// When that ends.
    pub ends: Timestamp,
}

impl Waiting {
    /// What of it is to outlive the process.
    pub fn kept(self) -> Kept {
        Request::awake(self).kept()
    }
}

impl Agent {
    /// The agent of these requests, in their order.
    pub fn awake(line: Line, waiting: impl IntoIterator<Item = Waiting>) -> Self {
        let mut agent = Self::new(line);
        for waiting in waiting {
            agent.add(Request::awake(waiting));
        }
        agent
    }

    /// The requests, in their order, if that they wait is all that is to be known of them, and nothing
    /// is due before one of them ends or something happens.
    pub fn waiting(&self, line: &Line) -> Option<Vec<Waiting>> {
        if !self.leaving.is_empty() || self.line != *line {
            return None;
        }
        self.requests.iter().map(Request::waiting).collect()
    }
}

impl Request {
    fn awake(waiting: Waiting) -> Self {
        let new = NewRequest {
            id: waiting.id,
            dialled: waiting.dialled.clone(),
            condition: Some(waiting.condition),
            way: Way::Loop,
            monitors: Vec::new(),
        };
        let mut subscription =
            Subscription::new(waiting.subscription, waiting.dialled, waiting.ends);
        subscription.phase = Phase::Live;
        subscription.seen = Some(RecallState::Queued);
        Self {
            stage: Stage::Queued,
            subscriptions: vec![subscription],
            ..Self::unheard(new)
        }
    }

    /// What is to be known of it, if it only waits.
    fn waiting(&self) -> Option<Waiting> {
        let [subscription] = &*self.subscriptions else {
            return None;
        };
        let waiting = Waiting {
            id: self.id,
            dialled: self.dialled.clone(),
            condition: self.condition?,
            subscription: subscription.id,
            ends: subscription.ends,
        };
        (Self::awake(waiting.clone()) == *self).then_some(waiting)
    }
}
