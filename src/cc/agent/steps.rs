//! Which event meets which state of a caller's requests, told at level trace.
//!
//! Names alone: who waits for whom is in no line.

use crate::cc::agent::Agent;
use crate::cc::agent::event::{Event, Life};
use crate::cc::agent::request::{Request, Stage};
use crate::cc::id::CompletionId;
use crate::cc::{RecallState, SubscriptionId};
use crate::time::Timestamp;

/// What an event names.
enum About {
    Caller,
    Request(CompletionId),
    Subscription(SubscriptionId),
}

impl Agent {
    /// Tells of an event before it is acted on: how it meets the agent, and the request it names.
    pub(super) fn trace(&self, event: &Event) {
        let name = event.name();
        let state = self.state_name();
        tracing::trace!(target: "campon::steps", machine = "agent", state, event = name);
        let found = match event.about() {
            About::Caller => return,
            About::Request(id) => self.requests.iter().find(|request| request.id == id),
            About::Subscription(id) => {
                let has = |request: &&Request| request.subscriptions.iter().any(|sub| sub.id == id);
                self.requests.iter().find(has)
            }
        };
        let state = found.map_or("Ended", Request::state_name);
        tracing::trace!(target: "campon::steps", machine = "request", state, event = name);
    }

    /// Tells of the requests whose time has come.
    pub(super) fn trace_due(&self, now: Timestamp) {
        for request in &self.requests {
            if self.deadlines(request).any(|at| at <= now) {
                let state = request.state_name();
                tracing::trace!(target: "campon::steps", machine = "request", state, event = "Due");
            }
        }
        if self.leaving.iter().any(|gone| gone.gives_up <= now) {
            let state = self.state_name();
            tracing::trace!(target: "campon::steps", machine = "agent", state, event = "Due");
        }
    }

    fn state_name(&self) -> &'static str {
        if self.is_occupied() {
            "Occupied"
        } else if !self.requests.is_empty() {
            "Waiting"
        } else if !self.leaving.is_empty() {
            "Leaving"
        } else {
            "Empty"
        }
    }
}

impl Request {
    fn state_name(&self) -> &'static str {
        match self.stage {
            Stage::Pending => "Pending",
            Stage::Queued if self.hold.is_some() => "Held",
            Stage::Queued => "Queued",
            Stage::Recalling { .. } => "Recalling",
            Stage::Placing { .. } => "Placing",
            Stage::Calling { .. } => "Calling",
        }
    }
}

impl Event {
    fn about(&self) -> About {
        match self {
            Self::Line(_) | Self::Request(_) | Self::TakeUp(..) => About::Caller,
            Self::Accepted(id, _)
            | Self::Refused(id, _)
            | Self::Forked(id, _)
            | Self::Notified(id, _)
            | Self::Published(id, _) => About::Subscription(*id),
            Self::RecallAnswered(id)
            | Self::RecallFailed(id, _)
            | Self::CcCallArrived(id)
            | Self::CcCallAnswered(id)
            | Self::CcCallFailed(id)
            | Self::Talking(id)
            | Self::Resume(id)
            | Self::Uncomplete(id) => About::Request(*id),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Line(_) => "Line",
            Self::Request(_) => "Request",
            Self::TakeUp(..) => "TakeUp",
            Self::Accepted(..) => "Accepted",
            Self::Refused(..) => "Refused",
            Self::Forked(..) => "Forked",
            Self::Notified(_, notice) => match (notice.life, notice.state) {
                (Life::TimedOut | Life::Ended, _) => "NotifiedEnd",
                (Life::Active(_), Some(RecallState::Ready)) => "NotifiedReady",
                (Life::Active(_), Some(RecallState::Queued) | None) => "NotifiedQueued",
            },
            Self::Published(..) => "Published",
            Self::RecallAnswered(_) => "RecallAnswered",
            Self::RecallFailed(..) => "RecallFailed",
            Self::CcCallArrived(_) => "CcCallArrived",
            Self::CcCallAnswered(_) => "CcCallAnswered",
            Self::CcCallFailed(_) => "CcCallFailed",
            Self::Talking(_) => "Talking",
            Self::Resume(_) => "Resume",
            Self::Uncomplete(_) => "Uncomplete",
        }
    }
}
