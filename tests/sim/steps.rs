//! Which event met which state of which machine, as the machines tell it at level trace.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::with_default;
use tracing::{Event, Metadata, Subscriber};

/// Machine, state and event.
pub(crate) type Step = [String; 3];

thread_local! {
    static SEEN: RefCell<BTreeMap<Step, u64>> = const { RefCell::new(BTreeMap::new()) };
    static READER: RefCell<Reader> = RefCell::default();
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
        READER.with_borrow_mut(|reader| {
            reader.0.iter_mut().for_each(String::clear);
            event.record(reader);
            SEEN.with_borrow_mut(|seen| match seen.get_mut(&reader.0) {
                Some(count) => *count += 1,
                None => drop(seen.insert(reader.0.clone(), 1)),
            });
        });
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
            let _ = write!(FirstWord(slot), "{value:?}");
        }
    }
}

/// Takes what comes before the first blank, and refuses the rest.
struct FirstWord<'s>(&'s mut String);

impl fmt::Write for FirstWord<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let Some((first, _)) = text.split_once(' ') else {
            self.0.push_str(text);
            return Ok(());
        };
        self.0.push_str(first);
        Err(fmt::Error)
    }
}
