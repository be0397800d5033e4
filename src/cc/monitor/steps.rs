//! Which event meets which state of a queue, told at level trace.
//!
//! Names alone: who waits for whom is in no line.

use crate::cc::SubscriptionId;
use crate::cc::monitor::cce::{Cce, Stage};
use crate::cc::monitor::event::Event;
use crate::cc::monitor::policy::Times;
use crate::cc::monitor::{Context, Monitor};
use crate::time::Timestamp;

impl Monitor {
    /// Tells of an event before it is acted on.
    pub(super) fn trace(&self, event: &Event) {
        tracing::trace!(
            target: "campon::steps",
            machine = "monitor",
            state = self.met_by(event),
            event = event.name()
        );
    }

    /// Tells of the entries whose time has come.
    pub(super) fn trace_due(&self, now: Timestamp, context: &Context<'_>) {
        let times: &Times = &context.policy.times;
        for cce in &self.entries {
            if cce.deadline(times).is_some_and(|at| at <= now) {
                let state = cce.state_name();
                tracing::trace!(target: "campon::steps", machine = "monitor", state, event = "Due");
            }
        }
    }

    /// The state of the entry that an event is about, or of all of them.
    fn met_by(&self, event: &Event) -> &'static str {
        let about = match event {
            Event::Line(_) | Event::CalleeGone => {
                let mut selected = self.entries.iter().filter(|cce| !cce.is_queued());
                let any = selected.next().or_else(|| self.entries.first());
                return any.map_or("Empty", Cce::state_name);
            }
            Event::Subscribe(newcomer) | Event::TakeUp(newcomer, _) => {
                self.entry_of(&newcomer.caller)
            }
            Event::Renew(id, _)
            | Event::Refresh(id, _)
            | Event::Lost(id)
            | Event::Suspend(id, ..)
            | Event::Resume(id)
            | Event::CcCallArrived(id)
            | Event::CcCallAnswered(id)
            | Event::CcCallDiverted(id)
            | Event::CcCallFailed(id, _)
            | Event::Refuse(id)
            | Event::Abandon(id) => Some(*id),
        };
        self.state_of(about)
    }

    fn state_of(&self, id: Option<SubscriptionId>) -> &'static str {
        let found = self.entries.iter().find(|cce| Some(cce.id) == id);
        found.map_or("Empty", Cce::state_name)
    }
}

impl Cce {
    fn state_name(&self) -> &'static str {
        match self.stage {
            Stage::Queued if self.is_suspended() => "Suspended",
            Stage::Queued => "Queued",
            Stage::Ready { .. } => "Ready",
            Stage::Calling { .. } => "Calling",
        }
    }
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Line(_) => "Line",
            Self::Subscribe(_) => "Subscribe",
            Self::TakeUp(..) => "TakeUp",
            Self::Renew(..) => "Renew",
            Self::Refresh(_, asked) if asked.is_some_and(|asked| asked.is_zero()) => "Unsubscribe",
            Self::Refresh(..) => "Refresh",
            Self::Lost(_) => "Lost",
            Self::Suspend(..) => "Suspend",
            Self::Resume(_) => "Resume",
            Self::CcCallArrived(_) => "CcCallArrived",
            Self::CcCallAnswered(_) => "CcCallAnswered",
            Self::CcCallDiverted(_) => "CcCallDiverted",
            Self::CcCallFailed(..) => "CcCallFailed",
            Self::Refuse(_) => "Refuse",
            Self::Abandon(_) => "Abandon",
            Self::CalleeGone => "CalleeGone",
        }
    }
}
