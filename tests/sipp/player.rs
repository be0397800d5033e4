//! A phone played by SIPp, and the verdict on what it saw.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::ladder::Ladder;
use crate::process::{Script, Sipp, is_bound, wait_for};
use crate::scenarios;
use crate::sound;
use crate::trace::{Direction, Trace, bad_counts};

/// How long a phone may take to open its port.
const READY_MAX: Duration = Duration::from_secs(5);

/// How long a message may be waited for; product times are far shorter in the flows.
const MESSAGE_MAX: Duration = Duration::from_secs(10);

/// How long a flow may take; SIPp itself gives up after 20 s.
const FLOW_MAX: Duration = Duration::from_secs(25);

/// How long the others go on once a phone has failed, so that the report shows what they saw.
const GRACE: Duration = Duration::from_millis(500);

/// One phone at play.
pub struct Player {
    sipp: Sipp,
    /// Where it takes calls.
    local: SocketAddr,
    /// `basic_call.callee`.
    name: String,
    ladder: Ladder,
    folder: PathBuf,
}

impl Player {
    pub fn start(script: &Script) -> Self {
        sound::lay_out(script);
        let own = scenarios::ladder(&script.scenario);
        let ladder = match &script.meanwhile {
            Some(meanwhile) => {
                let call = scenarios::ladder(&meanwhile.scenario);
                (0..meanwhile.calls).fold(own, |all, _| all.then(call.clone()))
            }
            None => own,
        };
        let name = script.scenario.file_stem().unwrap_or_default();
        Self {
            sipp: Sipp::start(script),
            local: script.local,
            name: name.to_string_lossy().into_owned(),
            ladder,
            folder: script.folder.clone(),
        }
    }

    /// Waits for the phone's port.
    pub fn wait_until_listening(&mut self) {
        let ready = wait_for(READY_MAX, || {
            self.demand_alive();
            is_bound(self.local).then_some(())
        });
        assert!(ready.is_some(), "{} opens no port", self.name);
    }

    /// Waits until the phone has heard the messages with that ladder label, so many of them.
    pub fn wait_until_heard(&mut self, label: &str, times: usize) {
        self.wait_for_message(Direction::Received, label, times);
    }

    /// The same of those that it says itself.
    pub fn wait_until_said(&mut self, label: &str, times: usize) {
        self.wait_for_message(Direction::Sent, label, times);
    }

    fn wait_for_message(&mut self, direction: Direction, label: &str, times: usize) {
        let happened = wait_for(MESSAGE_MAX, || {
            let has_ended = self.sipp.ended().is_some();
            let seen = self.sipp.trace_so_far().count(direction, label) >= times;
            if has_ended && !seen {
                self.demand_alive();
            }
            seen.then_some(())
        });
        if happened.is_none() {
            let wrong = self.wrong_in(&self.sipp.trace_so_far());
            panic!("{}: {label} {times} never {direction}\n{wrong}", self.name);
        }
    }

    /// What has been said up to now.
    pub fn trace_so_far(&self) -> Trace {
        self.sipp.trace_so_far()
    }

    /// Waits for the end of this phone alone.
    pub fn finish(self) -> Trace {
        let mut traces = finish(vec![self]).into_iter();
        traces.next().expect("one player, one trace")
    }

    /// Ends a phone that would wait for further calls.
    pub fn hang_up(mut self) -> Trace {
        self.demand_alive();
        self.sipp.kill();
        let trace = self.sipp.trace();
        let wrong = self.wrong_in(&trace);
        assert!(wrong.is_empty(), "{wrong}");
        trace
    }

    fn demand_alive(&mut self) {
        if let Some(status) = self.sipp.ended() {
            let wrong = self.wrong_in(&self.sipp.trace_so_far());
            panic!(
                "{} ended early, {status}\n{wrong}{}",
                self.name,
                self.sipp.errors()
            );
        }
    }

    /// Why the process did not end well.
    fn wrong_end(&mut self) -> String {
        let mut wrong = String::new();
        match self.sipp.ended() {
            Some(status) if status.success() => {}
            Some(status) => {
                let _ = writeln!(wrong, "{}: {status}\n{}", self.name, self.sipp.errors());
            }
            None => {
                let _ = writeln!(wrong, "{}: still waiting", self.name);
            }
        }
        for count in bad_counts(&self.sipp.counts()) {
            let _ = writeln!(wrong, "{}: {count}", self.name);
        }
        wrong
    }

    /// Where what happened is not what the scenario's ladder says.
    fn wrong_in(&self, trace: &Trace) -> String {
        let seen = Ladder::of_trace(trace);
        if self.ladder.allows(&seen) {
            return String::new();
        }
        let folder = self.folder.display();
        format!(
            "{} (messages in {folder}):\ndrawn\n{}seen\n{seen}",
            self.name, self.ladder
        )
    }
}

/// Many phones at one address, which play the same scenario; what each of them saw is SIPp's to judge.
pub struct Crowd {
    sipp: Sipp,
    local: SocketAddr,
    name: String,
}

impl Crowd {
    pub fn start(script: &Script) -> Self {
        let name = script.scenario.file_stem().unwrap_or_default();
        Self {
            sipp: Sipp::start(script),
            local: script.local,
            name: name.to_string_lossy().into_owned(),
        }
    }

    /// Waits for their port.
    pub fn wait_until_listening(&self) {
        let ready = wait_for(READY_MAX, || is_bound(self.local).then_some(()));
        assert!(ready.is_some(), "{} opens no port", self.name);
    }

    /// Whether all of them are done.
    pub fn has_ended(&mut self) -> bool {
        self.sipp.ended().is_some()
    }

    /// Waits for their end, and demands that all of them got through without repeating anything.
    pub fn finish(mut self) {
        let ended = wait_for(FLOW_MAX, || self.sipp.ended());
        let status = ended.unwrap_or_else(|| panic!("{}: still at play", self.name));
        assert!(
            status.success(),
            "{}: {status}\n{}",
            self.name,
            self.sipp.errors()
        );
        let bad = bad_counts(&self.sipp.counts());
        assert!(bad.is_empty(), "{}: {bad:?}", self.name);
    }
}

/// Waits for the end of all players, and demands of each: exit code 0, every counter of
/// retransmissions 0, and exactly the messages of its ladder.
pub fn finish(mut players: Vec<Player>) -> Vec<Trace> {
    let all_ended = |players: &mut Vec<Player>| {
        let ended = players.iter_mut().all(|one| one.sipp.ended().is_some());
        ended.then_some(())
    };
    wait_for(FLOW_MAX, || {
        let statuses = players.iter_mut().filter_map(|one| one.sipp.ended());
        let failed = statuses.into_iter().any(|status| !status.success());
        if failed {
            Some(())
        } else {
            all_ended(&mut players)
        }
    });
    wait_for(GRACE, || all_ended(&mut players));
    let traces: Vec<_> = players.iter().map(|one| one.sipp.trace_so_far()).collect();
    let mut wrong = String::new();
    for (player, trace) in players.iter_mut().zip(&traces) {
        wrong += &player.wrong_end();
        wrong += &player.wrong_in(trace);
    }
    assert!(
        wrong.is_empty(),
        "\n{wrong}in order\n{}",
        story(&players, &traces)
    );
    traces
}

/// What all of them saw, by time.
fn story(players: &[Player], traces: &[Trace]) -> String {
    let named = players.iter().zip(traces);
    let mut lines: Vec<_> = named
        .flat_map(|(player, trace)| {
            trace
                .all
                .iter()
                .map(move |one| (&one.at, &player.name, one))
        })
        .collect();
    lines.sort_by_key(|(at, ..)| *at);
    let mut story = String::new();
    for (at, name, logged) in lines {
        let _ = writeln!(
            story,
            "    {at} {name} {} {}",
            logged.direction,
            logged.message.label()
        );
    }
    story
}
