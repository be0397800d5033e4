//! Log lines, written by a thread of their own, so that no line costs its writer a system call.
//!
//! A line is appended to a buffer under a lock that is held for no longer than that; the thread
//! wakes on the first line, lets more gather, and writes them together. When the lines come faster
//! than they can be written, the newest are lost, and a line says how many.

#![expect(
    clippy::disallowed_types,
    reason = "every thread appends to the one buffer; the core holds no lock"
)]

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use crate::config;

/// How long lines gather before they are written.
const GATHERING: Duration = Duration::from_millis(50);
/// So many bytes are not kept waiting.
const BUSY_BYTES: usize = 64 * 1024;
/// More bytes than a disk that stands still for a second may cost in memory.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// The log of the process; ends, with every line written, at [`Log::close`].
#[derive(Debug)]
pub(super) struct Log {
    lines: Lines,
    thread: JoinHandle<()>,
}

/// Where lines are appended.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    buffer: Mutex<Buffer>,
    /// Told when the buffer stops being empty, is nearly full, or is closed.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    lost: u64,
    closed: bool,
}

impl Log {
    /// Opens the log and makes it the process's own.
    pub(super) fn open(settings: &config::Log) -> io::Result<Self> {
        let sink: Box<dyn Write + Send> = match &settings.file {
            Some(file) => Box::new(append_to(file)?),
            None => Box::new(io::stderr()),
        };
        let log = Self::start(sink)?;
        let builder = tracing_subscriber::fmt()
            .with_writer(log.lines.clone())
            .with_max_level(level(settings.level))
            .with_target(false);
        // A second log in one process, which only tests start, leaves the first in charge.
        let set = match settings.format {
            config::Format::Json => {
                tracing::subscriber::set_global_default(builder.json().finish())
            }
            config::Format::Text => tracing::subscriber::set_global_default(builder.finish()),
        };
        drop(set);
        Ok(log)
    }

    /// Writes what is left, and ends.
    pub(super) fn close(self) {
        self.lines.lock().closed = true;
        self.lines.0.changed.notify_one();
        // A panic of that thread has been printed; there is nobody else to tell.
        drop(self.thread.join());
    }

    fn start(mut sink: Box<dyn Write + Send>) -> io::Result<Self> {
        let lines = Lines::default();
        let own = lines.clone();
        let write = move || while own.write_batch(&mut *sink) {};
        let thread = thread::Builder::new().name("log".to_owned()).spawn(write)?;
        Ok(Self { lines, thread })
    }
}

impl Lines {
    fn append(&self, line: &[u8]) {
        let mut buffer = self.lock();
        let before = buffer.bytes.len();
        let after = before + line.len();
        if after > BYTES_MAX {
            buffer.lost += 1;
            return;
        }
        buffer.bytes.extend_from_slice(line);
        drop(buffer);
        if before == 0 || (before < BUSY_BYTES && after >= BUSY_BYTES) {
            self.0.changed.notify_one();
        }
    }

    /// Waits for lines and writes them; whether more may come.
    fn write_batch(&self, sink: &mut dyn Write) -> bool {
        let is_idle = |buffer: &mut Buffer| buffer.bytes.is_empty() && !buffer.closed;
        let buffer = self.0.changed.wait_while(self.lock(), is_idle);
        let is_gathering = |buffer: &mut Buffer| buffer.bytes.len() < BUSY_BYTES && !buffer.closed;
        let buffer = buffer.unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .0
            .changed
            .wait_timeout_while(buffer, GATHERING, is_gathering);
        let (mut buffer, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let bytes = mem::take(&mut buffer.bytes);
        let lost = mem::take(&mut buffer.lost);
        let closed = buffer.closed;
        drop(buffer);
        // A log that cannot be written is no reason to end calls, and there is nowhere to say it.
        drop(sink.write_all(&bytes));
        if lost > 0 {
            drop(writeln!(
                sink,
                "{lost} log lines were lost: they came too fast"
            ));
        }
        drop(sink.flush());
        !closed
    }

    fn lock(&self) -> MutexGuard<'_, Buffer> {
        // The buffer holds whole lines at any time, so a writer's panic leaves it sound.
        self.0.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.append(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn append_to(file: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(file)
}

fn level(level: config::Level) -> Level {
    match level {
        config::Level::Debug => Level::DEBUG,
        config::Level::Error => Level::ERROR,
        config::Level::Info => Level::INFO,
        config::Level::Trace => Level::TRACE,
        config::Level::Warn => Level::WARN,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Hands each write to the test.
    struct Told(mpsc::Sender<Vec<u8>>);

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).expect("the test listens");
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn started() -> (Log, mpsc::Receiver<Vec<u8>>) {
        let (told, written) = mpsc::channel();
        (
            Log::start(Box::new(Told(told))).expect("a thread starts"),
            written,
        )
    }

    #[test]
    fn every_line_is_written_by_the_time_the_log_is_closed() {
        let (log, written) = started();
        log.lines.append(b"one\n");
        log.lines.append(b"two\n");
        log.close();
        let all: Vec<u8> = written.into_iter().flatten().collect();
        assert_eq!(all, b"one\ntwo\n");
    }

    #[test]
    fn a_line_is_written_without_waiting_for_another() {
        let (log, written) = started();
        log.lines.append(b"alone\n");
        assert_eq!(written.recv().expect("the line"), b"alone\n");
        log.close();
    }

    #[test]
    fn lines_that_find_no_room_are_counted() {
        let lines = Lines::default();
        lines.append(&vec![b'x'; BYTES_MAX]);
        lines.append(b"lost\n");
        let mut sink = Vec::new();
        assert!(lines.write_batch(&mut sink));
        assert!(sink.ends_with(b"x1 log lines were lost: they came too fast\n"));
    }
}
