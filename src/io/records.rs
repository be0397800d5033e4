//! Call records, written to their file by a thread of their own, one JSON object a line.
//!
//! Whoever hands in a record never waits: what finds no room is lost, and counted. The file is opened
//! anew when the operator says so, for whoever moves it away.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::api::record::to_line;
use crate::observe::RecordCounters;
use crate::shard::record::Record;

use super::clock::Clock;

/// Records that wait for the disk: a second's worth at full load, some 20 MB.
const WAITING_MAX: usize = 20_000;

/// The thread; ends, with every record written, when all its [`Slot`]s are gone.
#[derive(Debug)]
pub(super) struct Records {
    thread: JoinHandle<()>,
}

/// Where records are handed in.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    entries: SyncSender<Entry>,
    counts: Arc<Counts>,
}

/// What has become of records.
#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    lost: AtomicU64,
}

#[derive(Debug)]
enum Entry {
    Record(Record),
    Reopen,
}

impl Records {
    /// Opens the file and starts the thread.
    pub(super) fn open(file: &Path, clock: Clock) -> io::Result<(Self, Slot)> {
        let (entries, waiting) = sync_channel(WAITING_MAX);
        let counts = Arc::<Counts>::default();
        let mut writer = Writer {
            sink: BufWriter::new(append_to(file)?),
            file: file.to_owned(),
            clock,
            counts: Arc::clone(&counts),
            is_broken: false,
        };
        let write = move || writer.run(&waiting);
        let thread = thread::Builder::new()
            .name("records".to_owned())
            .spawn(write)?;
        Ok((Self { thread }, Slot { entries, counts }))
    }

    /// Waits until the last record is written.
    pub(super) fn close(self) {
        // A panic of that thread has been printed; there is nobody else to tell.
        drop(self.thread.join());
    }
}

impl Slot {
    /// Hands in a record, unless too many wait.
    pub(super) fn put(&self, record: Record) {
        if self.entries.try_send(Entry::Record(record)).is_err() {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has the file opened anew; whether there was room to say so.
    pub(super) fn reopen(&self) -> bool {
        self.entries.try_send(Entry::Reopen).is_ok()
    }

    /// What has become of records.
    pub(super) fn counts(&self) -> RecordCounters {
        RecordCounters {
            call_records_lost: self.counts.lost.load(Ordering::Relaxed),
            call_records_written: self.counts.written.load(Ordering::Relaxed),
        }
    }
}

struct Writer {
    sink: BufWriter<File>,
    file: PathBuf,
    clock: Clock,
    counts: Arc<Counts>,
    /// Whether the file could not be written last, which is said once.
    is_broken: bool,
}

impl Writer {
    fn run(&mut self, waiting: &Receiver<Entry>) {
        while let Ok(first) = waiting.recv() {
            let mut batch = 0;
            for entry in std::iter::once(first).chain(waiting.try_iter()) {
                match entry {
                    Entry::Record(record) => batch += u64::from(self.write(&record)),
                    Entry::Reopen => self.reopen(),
                }
            }
            let flushed = self.sink.flush();
            self.settle(batch, flushed);
        }
    }

    /// Whether the record is on its way to the file; if not, it is counted as lost.
    fn write(&mut self, record: &Record) -> bool {
        let calendar = self.clock.calendar();
        let line = to_line(record, |at| calendar.utc(at));
        let written = self.sink.write_all(line.as_bytes());
        let is_written = written.is_ok();
        if !is_written {
            self.settle(1, written);
        }
        is_written
    }

    /// Counts so many records as written, or as lost.
    fn settle(&mut self, records: u64, result: io::Result<()>) {
        match result {
            Ok(()) => {
                self.counts.written.fetch_add(records, Ordering::Relaxed);
                self.is_broken = false;
            }
            Err(error) => {
                self.counts.lost.fetch_add(records, Ordering::Relaxed);
                if !std::mem::replace(&mut self.is_broken, true) {
                    let file = self.file.display();
                    tracing::error!(%file, %error, "call records cannot be written and are lost");
                }
                // What could not be written is not tried again: half a line may be there.
                self.renew();
            }
        }
    }

    fn reopen(&mut self) {
        let flushed = self.sink.flush();
        self.settle(0, flushed);
        self.renew();
    }

    fn renew(&mut self) {
        match append_to(&self.file) {
            Ok(file) => drop(std::mem::replace(&mut self.sink, BufWriter::new(file)).into_parts()),
            Err(error) => {
                let file = self.file.display();
                tracing::error!(%file, %error, "call records go on where they were");
            }
        }
    }
}

fn append_to(file: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(file)
}
