//! The thread that keeps records over a restart, all that has come meanwhile by one commit.
//!
//! Nobody waits for it but those who are answered when something is kept. When the disk fails, it says
//! so once, opens the file anew until that works, and keeps the last word on each registration in
//! memory until then; completions are written again by those who know them.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::config::Config;
use crate::store::disk::Disk;
use crate::store::keep::{Change, Keep, Kept, Unkept};
use crate::store::{Key, Opening, Order, Put, Reply, Stored};

use super::entropy;
use super::mail::Mail;

/// Changes of registrations that wait for the thread; at 300 bytes each, 5 MB. Of completions there is
/// one order at a time for each, and they are bounded themselves.
const CHANGES_MAX: usize = 16 * 1024;
/// The most that is written at once.
const BATCH_MAX: usize = 4096;
/// How long the disk is left alone after it has failed.
const AGAIN: Duration = Duration::from_secs(1);

/// The end at which things are put in.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    sender: Sender<Wish>,
    /// Changes on their way.
    changes: Arc<AtomicUsize>,
}

/// What was kept, and what keeps it from here on.
pub(super) struct Opened {
    /// The registrations of the process before.
    pub(super) kept: Vec<Kept>,
    /// Its completions.
    pub(super) completions: Vec<(Key, Stored)>,
    pub(super) store: Store,
}

/// A store that was opened.
pub(super) struct Store {
    path: PathBuf,
    disk: Disk,
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
}

/// What the thread is to do.
#[derive(Debug)]
enum Wish {
    Keep(Change),
    Order(Opening, Order),
}

impl Keeper {
    /// Puts a change in; whether there was room.
    pub(super) fn keep(&self, change: Change) -> bool {
        if self.changes.fetch_add(1, Ordering::Relaxed) >= CHANGES_MAX {
            self.changes.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        self.sender.send(Wish::Keep(change)).is_ok()
    }

    /// Puts an order in; one that nobody takes is asked for again by those who wait.
    pub(super) fn order(&self, opening: Opening, order: Order) {
        drop(self.sender.send(Wish::Order(opening, order)));
    }
}

/// Opens the store that the configuration names, and lets the worker use what belongs to it.
pub(super) fn open(config: &mut Config) -> Result<Option<Opened>, OpenError> {
    let Some(path) = config.store.clone() else {
        return Ok(None);
    };
    let mut disk = Disk::open(&path)?;
    let secret = disk.secret(entropy::secret()?)?;
    let mut kept = Vec::new();
    if let Some(edge) = &mut config.shard.edge {
        edge.secret = Some(secret);
        edge.keeps = true;
        kept = disk.load()?;
    }
    config.shard.completion.keeps = true;
    Ok(Some(Opened {
        kept,
        completions: disk.completions()?,
        store: Store { path, disk },
    }))
}

impl Store {
    /// Starts the thread, whose answers go to this mailbox.
    pub(super) fn start(self, mail: mpsc::Sender<Mail>) -> io::Result<(Keeper, JoinHandle<()>)> {
        let (sender, wishes) = channel();
        let changes = Arc::new(AtomicUsize::new(0));
        let keeper = Keeper {
            sender,
            changes: Arc::clone(&changes),
        };
        let Self { path, disk } = self;
        let mut clerk = Clerk {
            store: Some(disk),
            open: move || Disk::open(&path),
            opening: Opening::default(),
            changes: BTreeMap::new(),
            orders: Vec::new(),
            on_their_way: changes,
            // Whoever asked has gone when the worker has.
            tell: move |replies| drop(mail.blocking_send(Mail::Store(replies))),
        };
        let thread = thread::Builder::new().name("store".to_owned());
        let thread = thread.spawn(move || clerk.run(&wishes))?;
        Ok((keeper, thread))
    }
}

/// Who carries wishes out.
struct Clerk<S, Open, Tell> {
    /// `None` while it cannot be used.
    store: Option<S>,
    open: Open,
    opening: Opening,
    /// The last word on each registration that is not written yet.
    changes: BTreeMap<Box<[u8]>, Option<Box<[u8]>>>,
    /// What is to be done for completions, in its order.
    orders: Vec<Order>,
    on_their_way: Arc<AtomicUsize>,
    tell: Tell,
}

impl<S, Open, Tell> Clerk<S, Open, Tell>
where
    S: Keep,
    Open: FnMut() -> Result<S, Unkept>,
    Tell: FnMut(Vec<Reply>),
{
    /// Works until nobody is left who could wish for anything.
    fn run(&mut self, wishes: &Receiver<Wish>) {
        while self.wait(wishes) {
            self.reopen();
            self.write();
        }
        self.write();
    }

    /// Takes in what has come; false when nothing more will.
    fn wait(&mut self, wishes: &Receiver<Wish>) -> bool {
        let first = if self.store.is_none() {
            match wishes.recv_timeout(AGAIN) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        } else {
            match wishes.recv() {
                Ok(first) => Some(first),
                Err(_) => return false,
            }
        };
        let more = wishes.try_iter().take(BATCH_MAX);
        for wish in first.into_iter().chain(more) {
            match wish {
                Wish::Keep(Change { key, record }) => {
                    self.on_their_way.fetch_sub(1, Ordering::Relaxed);
                    self.changes.insert(key, record);
                }
                Wish::Order(opening, order) if opening == self.opening => self.orders.push(order),
                // What was meant for an earlier opening is void.
                Wish::Order(..) => {}
            }
        }
        true
    }

    /// Tries to use the store again after it has failed.
    fn reopen(&mut self) {
        if self.store.is_some() {
            return;
        }
        let opened = (self.open)().and_then(|mut store| {
            store.probe()?;
            let records = store.completions()?;
            Ok((store, records))
        });
        if let Ok((store, records)) = opened {
            self.store = Some(store);
            tracing::info!("the store keeps again what it is given");
            self.announce(records);
        }
    }

    /// From here on all that was asked for before is void.
    fn announce(&mut self, records: Vec<(Key, Stored)>) {
        self.opening.0 = self.opening.0.wrapping_add(1);
        self.orders.clear();
        let opening = self.opening;
        (self.tell)(vec![Reply::Opened { opening, records }]);
    }

    fn write(&mut self) {
        let Some(store) = &mut self.store else {
            self.orders.clear();
            return;
        };
        let puts = self.orders.iter().filter_map(|order| match order {
            Order::Put(put) => Some(put.clone()),
            Order::Load | Order::Read(_) => None,
        });
        let puts: Vec<Put> = puts.collect();
        match carry_out(store, &self.changes, &puts, &self.orders) {
            Ok(Done { replies, loaded }) => {
                self.changes.clear();
                self.orders.clear();
                if !replies.is_empty() {
                    (self.tell)(replies);
                }
                if let Some(records) = loaded {
                    self.announce(records);
                }
            }
            Err(error) => {
                tracing::error!(%error, "the store does not keep what it is given");
                self.store = None;
                self.orders.clear();
                (self.tell)(vec![Reply::Failed]);
            }
        }
    }
}

/// What came of a batch.
struct Done {
    replies: Vec<Reply>,
    /// All records, if they were asked for.
    loaded: Option<Vec<(Key, Stored)>>,
}

/// Writes all that is to be written by one commit, then reads.
fn carry_out(
    store: &mut impl Keep,
    changes: &BTreeMap<Box<[u8]>, Option<Box<[u8]>>>,
    puts: &[Put],
    orders: &[Order],
) -> Result<Done, Unkept> {
    let changes = changes.iter().map(|(key, record)| Change {
        key: key.clone(),
        record: record.clone(),
    });
    let changes: Vec<Change> = changes.collect();
    let mut answers = Vec::new();
    if !changes.is_empty() || !puts.is_empty() {
        answers = store.write(&changes, puts)?;
    }
    let puts = puts.iter().zip(answers);
    let replies = puts.map(|(put, answer)| Reply::Put {
        key: put.key,
        answer,
    });
    let mut replies: Vec<Reply> = replies.collect();
    let mut loaded = None;
    for order in orders {
        match order {
            Order::Put(_) => {}
            Order::Read(key) => replies.push(Reply::Read {
                key: *key,
                stored: store.read(*key)?,
            }),
            Order::Load => loaded = Some(store.completions()?),
        }
    }
    Ok(Done { replies, loaded })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Answer, Epoch, Version};
    use std::cell::RefCell;

    /// A store that fails so many times.
    #[derive(Default)]
    struct Frail {
        fails: u32,
        kept: BTreeMap<Box<[u8]>, Box<[u8]>>,
        completions: BTreeMap<Key, Stored>,
        writes: u32,
    }

    impl Keep for &RefCell<Frail> {
        fn secret(&mut self, fresh: [u8; 32]) -> Result<[u8; 32], Unkept> {
            Ok(fresh)
        }

        fn probe(&mut self) -> Result<(), Unkept> {
            Ok(())
        }

        fn load(&self) -> Result<Vec<Kept>, Unkept> {
            Ok(self.borrow().kept.clone().into_iter().collect())
        }

        fn completions(&self) -> Result<Vec<(Key, Stored)>, Unkept> {
            Ok(self.borrow().completions.clone().into_iter().collect())
        }

        fn read(&self, key: Key) -> Result<Option<Stored>, Unkept> {
            Ok(self.borrow().completions.get(&key).cloned())
        }

        fn write(&mut self, changes: &[Change], puts: &[Put]) -> Result<Vec<Answer>, Unkept> {
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
            let answers = puts.iter().map(|put| {
                let version = Version(put.expect.map_or(1, |seen| seen.0 + 1));
                match put.record.clone() {
                    Some(record) => {
                        let stored = Stored { version, record };
                        frail.completions.insert(put.key, stored);
                    }
                    None => drop(frail.completions.remove(&put.key)),
                }
                Answer::Done(version)
            });
            Ok(answers.collect())
        }
    }

    fn change(key: u8, record: Option<u8>) -> Wish {
        Wish::Keep(Change {
            key: [key].into(),
            record: record.map(|record| [record].into()),
        })
    }

    fn put(id: u128) -> Wish {
        order(Order::Put(Put {
            key: key(id),
            expect: None,
            epoch: Epoch::default(),
            record: Some([1].into()),
        }))
    }

    fn order(order: Order) -> Wish {
        Wish::Order(Opening::default(), order)
    }

    fn key(id: u128) -> Key {
        Key { partition: 1, id }
    }

    fn done(id: u128) -> Reply {
        Reply::Put {
            key: key(id),
            answer: Answer::Done(Version(1)),
        }
    }

    /// What is kept after these wishes, and what was said.
    fn after(fails: u32, wishes: Vec<Wish>) -> (Frail, Vec<Vec<Reply>>) {
        let frail = RefCell::new(Frail {
            fails,
            ..Frail::default()
        });
        let mut said = Vec::new();
        let (sender, receiver) = channel();
        let on_their_way = Arc::new(AtomicUsize::new(wishes.len()));
        let mut clerk = Clerk {
            store: Some(&frail),
            open: || Ok(&frail),
            opening: Opening::default(),
            changes: BTreeMap::new(),
            orders: Vec::new(),
            on_their_way,
            tell: |replies| said.push(replies),
        };
        for wish in wishes {
            sender.send(wish).expect("a receiver");
            if fails > 0 {
                assert!(clerk.wait(&receiver));
                clerk.write();
                clerk.reopen();
            }
        }
        drop(sender);
        clerk.run(&receiver);
        drop(clerk);
        (frail.into_inner(), said)
    }

    fn kept(frail: &Frail) -> Vec<(u8, u8)> {
        let kept = frail.kept.iter().map(|(key, record)| (key[0], record[0]));
        kept.collect()
    }

    #[test]
    fn what_has_come_is_written_at_once_and_the_last_word_counts() {
        let wishes = vec![
            change(1, Some(1)),
            change(2, Some(2)),
            put(7),
            change(1, Some(3)),
            change(2, None),
            put(8),
            order(Order::Read(key(8))),
            order(Order::Read(key(9))),
        ];
        let (frail, said) = after(0, wishes);
        assert_eq!((kept(&frail), frail.writes), (vec![(1, 3)], 1));
        let read = |id, stored| Reply::Read {
            key: key(id),
            stored,
        };
        let stored = frail.completions.get(&key(8)).cloned();
        let expected = vec![done(7), done(8), read(8, stored), read(9, None)];
        assert_eq!(said, [expected]);
    }

    #[test]
    fn what_could_not_be_written_is_written_later() {
        let (frail, _) = after(1, vec![change(1, Some(1))]);
        assert_eq!((kept(&frail), frail.writes), (vec![(1, 1)], 1));
    }

    #[test]
    fn after_a_failure_orders_are_void_until_who_gave_them_knows() {
        let again = Wish::Order(Opening(1), Order::Load);
        let (frail, said) = after(1, vec![put(7), put(8), again]);
        assert!(frail.completions.is_empty());
        let opened = |number| Reply::Opened {
            opening: Opening(number),
            records: Vec::new(),
        };
        let expected = [vec![Reply::Failed], vec![opened(1)], vec![opened(2)]];
        assert_eq!(said, expected);
    }

    #[test]
    fn more_registrations_than_there_is_room_for_are_not_taken() {
        let (sender, wishes) = channel();
        let keeper = Keeper {
            sender,
            changes: Arc::new(AtomicUsize::new(CHANGES_MAX - 1)),
        };
        let taken = [1, 2].map(|number| {
            let Wish::Keep(change) = change(number, None) else {
                unreachable!("a change");
            };
            keeper.keep(change)
        });
        assert_eq!(taken, [true, false]);
        assert_eq!(wishes.try_iter().count(), 1);
    }
}
