//! What the world outside knows of requests, and what must hold by that.

use std::collections::{BTreeMap, BTreeSet};

use campon::cc::addr::Aor;
use campon::completion::CompletionId;

/// One request, as its caller and his phone know it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) callee: Aor,
    pub(super) state: State,
    /// How often his phone has rung for it.
    pub(super) rung: u32,
    /// How often it was selected, rung or not.
    pub(super) selected: u32,
    /// Somebody did what ends it, and was not told yet that it has.
    pub(super) is_ending: bool,
}

/// What his phone does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    Calling,
    Ended,
    Ringing,
    Waits,
    /// It rang when the power went; nobody rings it again before its callee is seen.
    Unsure,
}

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) known: BTreeMap<CompletionId, Known>,
    /// What was found wrong first.
    pub(super) fault: Option<String>,
    pub(super) tally: BTreeMap<&'static str, u64>,
}

impl Model {
    pub(super) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    pub(super) fn fault(&mut self, what: impl Into<String>) {
        self.fault.get_or_insert_with(|| what.into());
    }

    /// Its caller is told that it was accepted.
    pub(super) fn on_accepted(&mut self, id: CompletionId, callee: Aor) {
        self.count("accepted");
        self.known.entry(id).or_insert(Known {
            callee,
            state: State::Waits,
            rung: 0,
            selected: 0,
            is_ending: false,
        });
    }

    /// His phone rings.
    pub(super) fn on_recall(&mut self, id: CompletionId, callee: Aor) {
        self.count("recalls");
        let known = self.known.entry(id).or_insert_with(|| {
            // It was kept, and the power went before its caller heard so.
            Known {
                callee,
                state: State::Waits,
                rung: 0,
                selected: 0,
                is_ending: false,
            }
        });
        let before = std::mem::replace(&mut known.state, State::Ringing);
        known.rung += 1;
        match before {
            State::Waits => {}
            State::Ended => self.fault(format!("{id} is recalled after its end was told")),
            State::Calling | State::Ringing => self.fault(format!("{id} rings twice")),
            State::Unsure => self.fault(format!("{id} rings again, and its callee was not seen")),
        }
    }

    pub(super) fn set(&mut self, id: CompletionId, state: State) {
        if let Some(known) = self.known.get_mut(&id)
            && known.state != State::Ended
        {
            known.state = state;
        }
    }

    /// Somebody is told that it has ended.
    pub(super) fn on_ended(&mut self, id: CompletionId) {
        if let Some(known) = self.known.get_mut(&id)
            && known.state != State::Ended
        {
            known.state = State::Ended;
            self.count("ends told");
        }
    }

    /// A callee has hung up, or so much time has passed that he need not be seen.
    pub(super) fn on_seen(&mut self, callee: Option<&Aor>) {
        for known in self.known.values_mut() {
            let is_his = callee.is_none_or(|callee| known.callee == *callee);
            if is_his && known.state == State::Unsure {
                known.state = State::Waits;
            }
        }
    }

    /// The power has gone.
    pub(super) fn on_power_lost(&mut self) {
        self.count("power lost");
        let mut met = BTreeSet::new();
        for known in self.known.values_mut() {
            match known.state {
                State::Ringing => {
                    met.insert("lost while ringing");
                    known.state = State::Unsure;
                }
                State::Calling => {
                    met.insert("lost while calling");
                    known.state = State::Unsure;
                }
                State::Ended | State::Unsure | State::Waits => {}
            }
        }
        for what in met {
            self.count(what);
        }
    }

    /// What a new process has found: which requests, and how often it has each down as recalled.
    pub(super) fn check(&mut self, found: &BTreeMap<CompletionId, u32>) {
        let known = self.known.clone();
        for (id, known) in known {
            match (known.state, found.get(&id)) {
                (State::Ended, Some(_)) => {
                    self.fault(format!("{id} is there again after its end was told"));
                }
                (State::Ended, None) => {}
                (_, None) if !known.is_ending => {
                    self.fault(format!("{id} was accepted and is lost"));
                }
                // Its end was kept, and nobody heard of it.
                (_, None) => self.on_ended(id),
                (_, Some(recalls)) if *recalls < known.rung => {
                    let rung = known.rung;
                    self.fault(format!("{id} rang {rung} times and is down for {recalls}"));
                }
                (_, Some(_)) => {}
            }
        }
    }
}
