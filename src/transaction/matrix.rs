//! Puts a machine through its states for tests, and writes down what it does.

use std::fmt::Debug;
use std::fmt::Write as _;
use std::time::Duration;

use crate::time::Timestamp;

/// The effects of a machine, by name.
pub(super) type Log = Vec<&'static str>;

/// One of the four machines, with the default timing.
pub(super) trait Machine: Copy + Debug + PartialEq {
    type Event: Copy + Debug;

    fn on_event(
        self,
        now: Timestamp,
        event: Self::Event,
        reliable: bool,
        log: &mut Log,
    ) -> Option<Self>;
    fn on_timeout(self, now: Timestamp, log: &mut Log) -> Option<Self>;
    fn due(self) -> Option<Timestamp>;
}

/// Makes a machine of the `State` in scope; two of the four ask for the timing when a deadline comes.
macro_rules! machine {
    ($($timing:expr)?) => {
        impl Machine for State {
            type Event = Event;

            fn on_event(
                self,
                now: Timestamp,
                event: Event,
                reliable: bool,
                log: &mut Log,
            ) -> Option<Self> {
                self.handle(now, event, Timing::default(), reliable, log)
            }

            fn on_timeout(self, now: Timestamp, log: &mut Log) -> Option<Self> {
                self.handle_timeout(now, $($timing,)? log)
            }

            fn due(self) -> Option<Timestamp> {
                self.deadline()
            }
        }
    };
}
pub(super) use machine;

/// This many milliseconds after the start.
pub(super) fn at(after_ms: u64) -> Timestamp {
    Timestamp::START + Duration::from_millis(after_ms)
}

/// What each state makes of each event at 0.1 s, of its own deadline, and of a wake-up after an hour.
///
/// Where a reliable transport makes a difference, it has a line of its own.
pub(super) fn matrix<M: Machine>(states: &[M], events: &[M::Event]) -> String {
    let mut text = String::new();
    for &state in states {
        let _ = writeln!(text, "{}", spelled(state));
        for &event in events {
            let [lossy, reliable] = [false, true].map(|reliable| {
                let mut log = Log::new();
                let next = state.on_event(at(100), event, reliable, &mut log);
                outcome(state, next, &log)
            });
            let _ = writeln!(text, "  {} -> {lossy}", spelled(event));
            if reliable != lossy {
                let _ = writeln!(text, "  {}, reliable -> {reliable}", spelled(event));
            }
        }
        let due = state.due().map(|due| ("deadline", due));
        for (name, now) in due.into_iter().chain([("an hour later", at(3_600_000))]) {
            let mut log = Log::new();
            let next = state.on_timeout(now, &mut log);
            let _ = writeln!(text, "  {name} -> {}", outcome(state, next, &log));
        }
    }
    text
}

/// What a machine does when nothing comes any more, with the seconds since the start.
pub(super) fn left_alone<M: Machine>(mut state: M) -> Vec<String> {
    let mut done = Vec::new();
    while let Some(due) = state.due() {
        let mut log = Log::new();
        let next = state.on_timeout(due, &mut log);
        let seconds = due.since(Timestamp::START).as_secs_f64();
        done.extend(log.iter().map(|effect| format!("{seconds} {effect}")));
        let Some(next) = next else {
            done.push(format!("{seconds} gone"));
            break;
        };
        assert_ne!(
            state, next,
            "a deadline that does nothing comes again for ever"
        );
        state = next;
    }
    done
}

fn outcome<M: Machine>(before: M, after: Option<M>, log: &Log) -> String {
    let next = match after {
        None => "gone".to_owned(),
        Some(after) if after == before => "same".to_owned(),
        Some(after) => spelled(after),
    };
    if log.is_empty() {
        return next;
    }
    format!("{}; {next}", log.join(", "))
}

/// The debug text, with times in seconds.
fn spelled(value: impl Debug) -> String {
    let text = format!("{value:?}");
    let mut parts = text.split("Timestamp(");
    let mut spelled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (micros, rest) = part
            .split_once(')')
            .expect("a debug text closes what it opens");
        let since_start = Duration::from_micros(micros.parse().expect("a number"));
        let _ = write!(spelled, "{since_start:?}{rest}");
    }
    spelled
}
