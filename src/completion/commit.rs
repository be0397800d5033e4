//! What is kept before it takes effect, and how completions begin and end.
//!
//! Spec: DESIGN §11.

use std::sync::Arc;

use crate::cc::id::CompletionId;
use crate::completion::entry::{
    Attempt, Change, Commit, CommitState, Completion, Life, Need, Stage,
};
use crate::completion::history::{Event, Outcome};
use crate::completion::input::{FailedCall, Ticket};
use crate::completion::output::{By, News, Output, Tell};
use crate::completion::record::{Record, Roles};
use crate::completion::reject::Reject;
use crate::completion::service::{Service, Turn};
use crate::store::{Answer, Epoch, Key, Put, Stored, Version};
use crate::time::Timestamp;

/// Effects.
impl Service {
    /// Gives out an output of a completion, as soon as the store knows all that it says.
    pub(super) fn emit(&mut self, id: CompletionId, output: Output, turn: &mut Turn<'_>) {
        let is_down = self.is_down;
        match self.completions.get_mut(&id) {
            Some(completion) if completion.commit.is_open() => turn.out.push(output),
            Some(completion) if matches!(output, Output::EndRecall { .. }) => {
                completion.commit.end_recall(output, turn.out);
            }
            Some(completion) if is_down => completion.commit.give_out_unkept(output, turn.out),
            Some(completion) => completion.commit.hold(output),
            None => turn.out.push(output),
        }
    }

    /// R18: whoever takes several back is answered when the store knows the end of each.
    pub(super) fn answer_uncompleted(
        &mut self,
        ticket: Ticket,
        ids: Vec<CompletionId>,
        turn: &mut Turn<'_>,
    ) {
        let is_unkept = |id: &CompletionId| {
            let known = self.completions.get(id);
            known.is_some_and(|completion| !completion.commit.is_open())
        };
        let unkept = ids.iter().copied().find(is_unkept);
        let result = Ok(ids);
        let answer = Output::Uncompleted { ticket, result };
        match unkept {
            Some(id) => self.emit(id, answer, turn),
            None => turn.out.push(answer),
        }
    }

    /// Gives out what waited for this completion to be kept.
    fn release(&mut self, id: CompletionId, turn: &mut Turn<'_>) {
        let mut held = Vec::new();
        if let Some(completion) = self.completions.get_mut(&id) {
            completion.commit.release(&mut held);
        }
        for output in held {
            if let Output::Uncompleted {
                ticket,
                result: Ok(ids),
            } = output
            {
                self.answer_uncompleted(ticket, ids, turn);
            } else {
                turn.out.push(output);
            }
        }
    }

    /// The store is to know what is new of this completion, and nothing waits for that.
    pub(super) fn keep_later(&mut self, id: CompletionId) {
        if let Some(completion) = self.completions.get_mut(&id) {
            if completion.is_kept() {
                completion.commit.need = completion.commit.need.max(Need::Later);
            }
            self.touched.insert(id);
        }
    }

    /// The store must know this completion before more of it is given out.
    pub(super) fn keep(&mut self, id: CompletionId) {
        if let Some(completion) = self.completions.get_mut(&id) {
            if completion.is_kept() {
                completion.commit.need = Need::Put;
            }
            self.touched.insert(id);
        }
    }

    /// One more chapter of its story, and news of it.
    pub(super) fn story(
        &mut self,
        id: CompletionId,
        event: Event,
        stage: Option<(Stage, News)>,
        turn: &mut Turn<'_>,
    ) {
        let Some(completion) = self.completions.get_mut(&id) else {
            return;
        };
        completion.history.add(turn.now, event);
        if let Some((stage, news)) = stage {
            completion.stage = stage;
            let tell = completion.tell(news);
            self.emit(id, tell, turn);
        }
    }

    /// A monitor has it: whoever asked is answered.
    pub(super) fn accept(&mut self, id: CompletionId, turn: &mut Turn<'_>) {
        let Some(completion) = self.completions.get_mut(&id) else {
            return;
        };
        completion.life = Life::Accepted;
        completion.stage = Stage::Queued;
        let tickets = completion.take_asked();
        let (caller, replaced) = (completion.caller.clone(), self.replaced_by(id));
        for ticket in tickets {
            let result = Ok(id);
            self.emit(id, Output::Completed { ticket, result }, turn);
        }
        // TAPI: what goes when this one is kept is none of his any more.
        let stays = |it: &&Completion| Some(it.id) != replaced;
        let count = self.of_caller(&caller).filter(stays).count();
        if let Some(completion) = self.completions.get(&id) {
            let tell = completion.tell(News::Accepted(count));
            self.emit(id, tell, turn);
        }
    }

    /// It ends, once: its name is dead from now on.
    pub(super) fn finish(&mut self, id: CompletionId, by_itself: Outcome, turn: &mut Turn<'_>) {
        // What its machines are made of is about to change.
        self.wake_pair(id);
        self.drop_calls(id, turn);
        let Some(completion) = self.completions.get_mut(&id) else {
            return;
        };
        if completion.life == Life::Ended {
            return;
        }
        completion.life = Life::Ended;
        let (outcome, by) = completion.outcome(by_itself);
        completion.history.add(turn.now, Event::Ended(outcome));
        if outcome == Outcome::Completed {
            self.forget_completed(id);
        }
        self.delist(id, turn);
        self.keep(id);
        self.answer_ending(id, turn);
        self.tell_end(id, outcome, by, turn);
    }

    /// TAPI: what was completed has not failed, and is not completed again.
    fn forget_completed(&mut self, id: CompletionId) {
        let Some(completion) = self.completions.get(&id) else {
            return;
        };
        let is_done = |call: &FailedCall| call.callee == completion.callee;
        if completion.roles != Roles::Text
            && let Some(user) = self.users.get_mut(&completion.caller)
        {
            user.failed.remove(is_done);
        }
    }

    fn answer_ending(&mut self, id: CompletionId, turn: &mut Turn<'_>) {
        let Some(completion) = self.completions.get_mut(&id) else {
            return;
        };
        if completion.ending().is_none() {
            return;
        }
        let ending = completion.aside().ending.as_mut();
        if let Some((ticket, ids)) = ending.and_then(|ending| ending.answer.take()) {
            self.answer_uncompleted(ticket, ids, turn);
        }
    }

    fn tell_end(&mut self, id: CompletionId, outcome: Outcome, by: By, turn: &mut Turn<'_>) {
        let Some(completion) = self.completions.get(&id) else {
            return;
        };
        let left = self.of_caller(&completion.caller).count();
        let tell = completion.tell(News::Ended {
            outcome,
            by,
            left,
            history: completion.history.clone(),
        });
        self.emit(id, tell, turn);
    }

    /// It never was: nobody had accepted it.
    pub(super) fn disown(&mut self, id: CompletionId, reject: Reject, turn: &mut Turn<'_>) {
        self.answer_ending(id, turn);
        self.delist(id, turn);
        let Some(mut completion) = self.completions.remove(&id) else {
            return;
        };
        self.unkept.set(&id, None);
        if let Some(version) = completion.commit.version {
            let key = Record::key(id, &completion.callee);
            turn.out.push(Output::Persist(removal(key, version)));
        }
        for ticket in completion.take_asked() {
            let result = Err(reject);
            turn.out.push(Output::Completed { ticket, result });
        }
    }

    /// Its name leads nowhere any more.
    pub(super) fn delist(&mut self, id: CompletionId, turn: &mut Turn<'_>) {
        let Some(completion) = self.completions.get(&id) else {
            return;
        };
        let names = Arc::clone(&completion.names);
        let (renewal, roles) = (completion.renewal, completion.roles);
        self.wake_pair(id);
        if roles == Roles::Text {
            return self.take_from_mailbox((id, &names.caller, &names.callee), turn);
        }
        let was_listed = self.tokens.remove(names.cce);
        self.pairs.remove(&names);
        if was_listed {
            self.forget_phone(&names.caller, renewal, turn);
        }
    }
}

/// The store.
impl Service {
    /// Hands changes to the store, and lets completions go that have nothing more to say.
    pub(super) fn commit(&mut self, turn: &mut Turn<'_>) {
        while let Some(id) = self.touched.pop_first() {
            if self.is_down {
                self.settle_commit(id);
                continue;
            }
            self.commit_one(id, turn);
            self.settle_commit(id);
        }
    }

    fn commit_one(&mut self, id: CompletionId, turn: &mut Turn<'_>) {
        let Some(completion) = self.completions.get(&id) else {
            return;
        };
        let commit = &completion.commit;
        if !matches!(commit.state, CommitState::Idle) || commit.need == Need::Nothing {
            return;
        }
        let ended = completion.life == Life::Ended;
        let record = (!ended).then(|| self.record(completion).encode(self.started));
        let key = Record::key(id, &completion.callee);
        let asks = turn.now + self.settings.timing.commit_max;
        let Some(completion) = self.completions.get_mut(&id) else {
            return;
        };
        let commit = &mut completion.commit;
        let need = std::mem::replace(&mut commit.need, Need::Nothing);
        // What was never kept need not be removed.
        if record.is_some() || commit.version.is_some() {
            let attempt = (Attempt::First, need);
            turn.out.push(commit.put(key, record, asks, attempt));
        } else {
            self.release(id, turn);
        }
    }

    fn record(&self, completion: &Completion) -> Record {
        Record {
            id: completion.id,
            cce: completion.cce,
            roles: completion.roles,
            condition: completion.wait.condition,
            renewal: completion.renewal,
            number: completion.number,
            order: completion.order,
            binding: completion.binding,
            recalls: completion.recalls.into(),
            recalls_passed: completion.recalls_passed.into(),
            ends: completion.ends,
            suspended: completion.suspended,
            caller: completion.caller.clone(),
            callee: completion.callee.clone(),
            from: completion.wording.from(),
            dialled: completion.wording.dialled(),
            identity: completion.wording.identity(),
            entry: self.kept_entry(completion),
            request: self.kept_request(completion),
            text: completion.text().cloned(),
            history: completion.history.clone(),
        }
    }

    pub(super) fn settle_commit(&mut self, id: CompletionId) {
        let Some(completion) = self.completions.get(&id) else {
            return;
        };
        let asks = match &completion.commit.state {
            CommitState::Idle | CommitState::Lost => None,
            CommitState::Waiting(change) => Some(change.asks),
        };
        self.unkept.set(&id, asks);
        if asks.is_none() && completion.life == Life::Ended {
            self.completions.remove(&id);
        }
    }

    pub(super) fn on_persisted(&mut self, key: Key, answer: Answer, turn: &mut Turn<'_>) {
        let id = CompletionId::from_bits(key.id);
        let Some(completion) = self.completions.get_mut(&id) else {
            // It was given up meanwhile, and what is kept of it goes too.
            if let Answer::Done(version) = answer {
                turn.out.push(Output::Persist(removal(key, version)));
            }
            return;
        };
        match answer {
            Answer::Done(version) => self.on_kept(id, version, turn),
            Answer::Conflict => self.on_lost(id, turn),
            Answer::Unknown => {
                if completion.commit.is_first_attempt() {
                    turn.out.push(completion.commit.read(key));
                }
            }
        }
    }

    /// After an answer that says nothing: the record itself says what happened.
    pub(super) fn on_loaded(&mut self, key: Key, stored: Option<Stored>, turn: &mut Turn<'_>) {
        let id = CompletionId::from_bits(key.id);
        let Some(completion) = self.completions.get_mut(&id) else {
            if let Some(stored) = stored {
                turn.out.push(Output::Persist(removal(key, stored.version)));
            }
            return;
        };
        if !completion.commit.is_news() {
            return;
        }
        let before = completion.commit.version;
        let CommitState::Waiting(change) = &completion.commit.state else {
            return;
        };
        let record = &change.record;
        let attempt = (Attempt::Repeated, change.need);
        match stored {
            Some(stored) if Some(&stored.record) == record.as_ref() => {
                self.on_kept(id, stored.version, turn);
            }
            None if record.is_none() => self.on_kept(id, Version(0), turn),
            found if found.as_ref().map(|stored| stored.version) == before => {
                let record = record.clone();
                let asks = turn.now + self.settings.timing.commit_max;
                let again = completion.commit.put(key, record, asks, attempt);
                turn.out.push(again);
                self.settle_commit(id);
            }
            Some(_) | None => self.on_lost(id, turn),
        }
    }

    fn on_kept(&mut self, id: CompletionId, version: Version, turn: &mut Turn<'_>) {
        let Some(completion) = self.completions.get_mut(&id) else {
            return;
        };
        let commit = &mut completion.commit;
        let removed =
            matches!(&commit.state, CommitState::Waiting(change) if change.record.is_none());
        commit.version = (!removed).then_some(version);
        commit.state = CommitState::Idle;
        let was_kept = std::mem::replace(&mut commit.was_kept, true);
        let need = commit.need;
        if !was_kept && let Some(callback) = self.replaced_by(id) {
            // Who leaves word is not called back as well.
            self.take_back(callback, By::Caller, None, turn);
        }
        if need != Need::Put {
            self.release(id, turn);
        }
        if need == Need::Nothing {
            self.settle_commit(id);
        } else {
            self.touched.insert(id);
        }
    }

    /// Somebody else has the record.
    fn on_lost(&mut self, id: CompletionId, turn: &mut Turn<'_>) {
        let Some(completion) = self.completions.get_mut(&id) else {
            return;
        };
        if !completion.commit.was_kept {
            self.refuse_unkept(id, turn);
            return;
        }
        completion.commit.state = CommitState::Lost;
        // Whoever asked is answered; nobody is rung.
        self.drop_calls(id, turn);
        self.release(id, turn);
        self.take_back(id, By::Other, None, turn);
        self.touched.insert(id);
    }

    pub(super) fn on_commit_due(&mut self, id: CompletionId, turn: &mut Turn<'_>) {
        let asks = turn.now + self.settings.timing.commit_max;
        let Some(completion) = self.completions.get_mut(&id) else {
            return;
        };
        if completion.commit.was_kept {
            let key = Record::key(id, &completion.callee);
            completion.commit.ask_after(asks);
            turn.out.push(completion.commit.read(key));
            self.settle_commit(id);
        } else {
            self.refuse_unkept(id, turn);
        }
    }
}

impl Completion {
    fn tell(&self, news: News) -> Output {
        Output::Tell(Tell {
            id: self.id,
            caller: self.caller.clone(),
            callee: self.callee.clone(),
            mode: self.errand.mode(),
            news,
        })
    }
}

impl Commit {
    fn put(
        &mut self,
        key: Key,
        record: Option<Box<[u8]>>,
        asks: Timestamp,
        (turn, need): (Attempt, Need),
    ) -> Output {
        if let Some(work) = &mut self.work {
            work.reads_before = work.reads;
        }
        self.state = CommitState::Waiting(Box::new(Change {
            record: record.clone(),
            asks,
            turn,
            need,
        }));
        Output::Persist(Put {
            key,
            expect: self.version,
            epoch: Epoch::default(),
            record,
        })
    }

    /// Asks what the store has; it answers in the order in which it is asked.
    fn read(&mut self, key: Key) -> Output {
        self.work().reads += 1;
        Output::Read(key)
    }

    /// Whether what the store says it has is about the change that is under way.
    fn is_news(&mut self) -> bool {
        let Some(work) = &mut self.work else {
            return true;
        };
        let is_news = work.reads_before == 0;
        work.reads = work.reads.saturating_sub(1);
        work.reads_before = work.reads_before.saturating_sub(1);
        is_news
    }

    fn is_first_attempt(&self) -> bool {
        matches!(&self.state, CommitState::Waiting(change) if change.turn == Attempt::First)
    }

    fn ask_after(&mut self, when: Timestamp) {
        match &mut self.state {
            CommitState::Waiting(change) => change.asks = when,
            CommitState::Idle | CommitState::Lost => {}
        }
    }
}

/// The change that removes a record.
pub(super) fn removal(key: Key, version: Version) -> Put {
    Put {
        key,
        expect: Some(version),
        epoch: Epoch::default(),
        record: None,
    }
}
