//! The end of a worker: first nothing new comes in, then all calls are hung up.

use crate::call::Call;
use crate::completion;
use crate::shard::Shard;
use crate::table::Key;
use crate::time::Timestamp;

impl Shard {
    pub(super) fn drain(&mut self, now: Timestamp) {
        let is_first = !std::mem::replace(&mut self.draining, true);
        if self.desk.vault.is_elsewhere() {
            // The next process goes on with them.
            self.desk.service.stop_selecting();
        } else if is_first {
            self.desk.facts.push_back(completion::Input::Stop);
        }
        self.stop_pinging(now);
    }

    pub(super) fn hang_up(&mut self, now: Timestamp) {
        self.drain(now);
        self.clear_parked(now);
        let keys: Vec<Key> = self.calls.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.with_call(now, key, Call::hang_up);
            // Nobody waits for the answers to our BYEs.
            self.finish_record(now, key);
        }
    }
}
