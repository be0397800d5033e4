//! Callers whose phones wait by a subscription of their own, and do not say when they are busy.
//!
//! Spec: RULES R15; RFC 6910 §5, §6.5 (who is busy is suspended, and keeps his place).

use crate::cc::SubscriptionId;
use crate::cc::addr::Aor;
use crate::cc::line::{Calls, Line};
use crate::cc::monitor::{self, Because, Renewal};
use crate::completion::entry::{Completion, Stage};
use crate::completion::service::{Service, Turn};

impl Service {
    /// A request of such a phone is there: its user's lines matter from now on.
    pub(super) fn note_phone(&mut self, completion: &Completion, turn: &mut Turn<'_>) {
        if completion.renewal != Renewal::Lengthens {
            return;
        }
        let caller = &completion.caller;
        let Some(user) = self.users.or_default(caller) else {
            return;
        };
        user.phones_wait += 1;
        let line = user.line;
        if let Some(entry) = completion.entry {
            self.suspend_if_engaged((completion.callee.clone(), entry), line);
        }
        self.rekey(caller, turn);
    }

    /// It has gone.
    pub(super) fn forget_phone(&mut self, caller: &Aor, renewal: Renewal, turn: &mut Turn<'_>) {
        if renewal == Renewal::Lengthens
            && let Some(user) = self.users.get_mut(caller)
        {
            user.phones_wait = user.phones_wait.saturating_sub(1);
            self.rekey(caller, turn);
        }
    }

    /// Who is on a call is not called, and who has hung up may be.
    pub(super) fn heed_callers_line(&mut self, caller: &Aor, line: Line) {
        let waiting: Vec<_> = self
            .of_caller(caller)
            // On that call he is because it is his turn.
            .filter(|it| it.renewal == Renewal::Lengthens && it.stage != Stage::Calling)
            .filter_map(|it| Some((it.callee.clone(), it.entry?)))
            .collect();
        for (callee, entry) in waiting {
            match line.calls {
                Calls::Engaged => self.suspend_if_engaged((callee, entry), line),
                Calls::Free | Calls::Unknown => {
                    self.post_monitor(callee, monitor::Event::Resume(entry));
                }
            }
        }
    }

    fn suspend_if_engaged(&mut self, (callee, entry): (Aor, SubscriptionId), line: Line) {
        if line.calls == Calls::Engaged {
            let event = monitor::Event::Suspend(entry, Because::Unavailable, None);
            self.post_monitor(callee, event);
        }
    }
}
