//! The thread that keeps records over a restart: what comes while it writes goes into the next batch.
//!
//! Nobody waits for it. When the disk fails it tries again, and keeps the last word on each record
//! in memory until then.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::config::Config;
use crate::store::disk::Disk;
use crate::store::keep::{Change, Keep, Kept, Unkept};

use super::entropy;

/// Changes that wait for the thread; at 300 bytes each, 5 MB.
const CHANGES_MAX: usize = 16 * 1024;
/// The most changes that are written at once.
const BATCH_MAX: usize = 4096;
/// How long the disk is left alone after it has failed.
const AGAIN: Duration = Duration::from_secs(1);

/// The end at which changes are put in.
#[derive(Clone, Debug)]
pub(super) struct Keeper(SyncSender<Change>);

/// What was kept, and what keeps it from here on.
pub(super) struct Opened {
    /// The records of the process before.
    pub(super) kept: Vec<Kept>,
    pub(super) keeper: Keeper,
    pub(super) thread: JoinHandle<()>,
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file is none of ours, or belongs to somebody else.
    #[error(transparent)]
    Store(#[from] Unkept),
    /// The system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// The system gives no thread.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

impl Keeper {
    /// Puts a change in; whether there was room.
    pub(super) fn keep(&self, change: Change) -> bool {
        match self.0.try_send(change) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }
}

/// Opens the store that the configuration names, and lets the worker use what belongs to it.
pub(super) fn open(config: &mut Config) -> Result<Option<Opened>, OpenError> {
    let (Some(path), Some(edge)) = (&config.store, &mut config.shard.edge) else {
        return Ok(None);
    };
    let mut store = Disk::open(Path::new(path))?;
    edge.secret = Some(store.secret(entropy::secret()?)?);
    edge.keeps = true;
    let kept = store.load()?;
    let (sender, changes) = sync_channel(CHANGES_MAX);
    let thread = thread::Builder::new().name("store".to_owned());
    Ok(Some(Opened {
        kept,
        keeper: Keeper(sender),
        thread: thread.spawn(move || run(store, &changes))?,
    }))
}

/// Writes until nobody is left who could change anything.
fn run(mut store: impl Keep, changes: &Receiver<Change>) {
    let mut batch = Batch::default();
    while batch.wait(changes) {
        batch.write(&mut store);
    }
    batch.write(&mut store);
}

/// The last word on each record that is not written yet.
#[derive(Default)]
struct Batch {
    changes: BTreeMap<Box<[u8]>, Option<Box<[u8]>>>,
    has_failed: bool,
}

impl Batch {
    /// Takes in what has come; false when nothing more will.
    fn wait(&mut self, changes: &Receiver<Change>) -> bool {
        let first = if self.has_failed {
            match changes.recv_timeout(AGAIN) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        } else {
            match changes.recv() {
                Ok(first) => Some(first),
                Err(_) => return false,
            }
        };
        let more = changes.try_iter().take(BATCH_MAX);
        for Change { key, record } in first.into_iter().chain(more) {
            self.changes.insert(key, record);
        }
        true
    }

    fn write(&mut self, store: &mut impl Keep) {
        if self.changes.is_empty() {
            return;
        }
        let changes = self.changes.iter().map(|(key, record)| Change {
            key: key.clone(),
            record: record.clone(),
        });
        let changes: Vec<Change> = changes.collect();
        match store.write(&changes) {
            Ok(()) => {
                self.changes.clear();
                if std::mem::take(&mut self.has_failed) {
                    tracing::info!("registrations are kept again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.has_failed, true) {
                    tracing::error!(%error, "registrations are not kept");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    /// A store that fails so many times.
    #[derive(Default)]
    struct Frail {
        fails: u32,
        kept: BTreeMap<Box<[u8]>, Box<[u8]>>,
        writes: u32,
    }

    impl Keep for &RefCell<Frail> {
        fn secret(&mut self, fresh: [u8; 32]) -> Result<[u8; 32], Unkept> {
            Ok(fresh)
        }

        fn load(&self) -> Result<Vec<Kept>, Unkept> {
            Ok(self.borrow().kept.clone().into_iter().collect())
        }

        fn write(&mut self, changes: &[Change]) -> Result<(), Unkept> {
            let mut frail = self.borrow_mut();
            if frail.fails > 0 {
                frail.fails -= 1;
                return Err(Unkept("no space left".to_owned()));
            }
            frail.writes += 1;
            for Change { key, record } in changes {
                match record {
                    Some(record) => drop(frail.kept.insert(key.clone(), record.clone())),
                    None => drop(frail.kept.remove(key)),
                }
            }
            Ok(())
        }
    }

    fn change(key: u8, record: Option<u8>) -> Change {
        Change {
            key: [key].into(),
            record: record.map(|record| [record].into()),
        }
    }

    /// What is kept after these changes, and in how many batches.
    fn after(fails: u32, changes: Vec<Change>) -> (Vec<(u8, u8)>, u32) {
        let frail = RefCell::new(Frail {
            fails,
            ..Frail::default()
        });
        let (sender, receiver) = sync_channel(64);
        for change in changes {
            assert!(Keeper(sender.clone()).keep(change));
        }
        drop(sender);
        run(&frail, &receiver);
        let frail = frail.into_inner();
        let kept = frail.kept.iter().map(|(key, record)| (key[0], record[0]));
        (kept.collect(), frail.writes)
    }

    #[test]
    fn what_has_come_is_written_at_once_and_the_last_word_counts() {
        let changes = vec![
            change(1, Some(1)),
            change(2, Some(2)),
            change(1, Some(3)),
            change(2, None),
        ];
        assert_eq!(after(0, changes), (vec![(1, 3)], 1));
    }

    #[test]
    fn what_could_not_be_written_is_written_later() {
        assert_eq!(after(1, vec![change(1, Some(1))]), (vec![(1, 1)], 1));
    }
}
