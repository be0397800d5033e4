//! Which event met which state of which machine, as the machines tell it at level trace.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::with_default;
use tracing::{Event, Metadata, Subscriber};

/// Machine, state and event.
pub(crate) type Step = [String; 3];

thread_local! {
    static SEEN: RefCell<BTreeMap<Step, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// Runs something; beside what it gives, how often which step was made meanwhile.
pub(crate) fn recorded<R>(run: impl FnOnce() -> R) -> (R, BTreeMap<Step, u64>) {
    SEEN.with_borrow_mut(BTreeMap::clear);
    let result = with_default(Recorder, run);
    (result, SEEN.take())
}

/// Hears of steps alone.
struct Recorder;

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "campon::steps"
    }

    fn event(&self, event: &Event<'_>) {
        let mut reader = Reader::default();
        event.record(&mut reader);
        SEEN.with_borrow_mut(|seen| *seen.entry(reader.0).or_default() += 1);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Reader(Step);

impl Reader {
    fn slot(&mut self, field: &Field) -> Option<&mut String> {
        let names = ["machine", "state", "event"];
        let at = names.iter().position(|name| *name == field.name())?;
        self.0.get_mut(at)
    }
}

impl Visit for Reader {
    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(slot) = self.slot(field) {
            slot.push_str(value);
        }
    }

    /// A state without what it carries.
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if let Some(slot) = self.slot(field) {
            let _ = write!(slot, "{value:?}");
            if let Some(end) = slot.find(' ') {
                slot.truncate(end);
            }
        }
    }
}
