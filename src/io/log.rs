//! Log lines, written by a thread of their own, so that no line costs its writer a system call.
//!
//! A line is appended to a buffer under a lock that is held for no longer than that; the thread
//! wakes on the first line, lets more gather, and writes them together. When the lines come faster
//! than they can be written, the newest are lost, and a line says how many. The file can be changed
//! for another between two such batches, and the level at any time.

#![expect(
    clippy::disallowed_types,
    reason = "every thread appends to the one buffer; the core holds no lock"
)]

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::{registry, reload};

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
    pen: Pen,
    thread: JoinHandle<()>,
}

/// What can be changed of a log that is being written.
#[derive(Clone, Debug)]
pub(super) struct Pen {
    lines: Lines,
    /// The level; none in the tests of lines alone.
    level: Option<reload::Handle<LevelFilter, Registry>>,
}

/// Where each line becomes an event of `tracing`.
type Registry = registry::Registry;
/// What bytes are written to.
type Sink = Box<dyn Write + Send>;

/// Where lines are appended.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    buffer: Mutex<Buffer>,
    /// Told when the buffer stops being empty, is nearly full, or is closed.
    changed: Condvar,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    lost: u64,
    /// Takes the place of what was written to so far.
    sink: Option<Sink>,
    closed: bool,
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.bytes.len())
    }
}

impl Log {
    /// Opens the log and makes it the process's own.
    pub(super) fn open(settings: &config::Log) -> io::Result<Self> {
        let mut log = Self::start(sink(settings.file.as_deref())?)?;
        let (filter, level) = reload::Layer::new(filter(settings.level));
        log.pen.level = Some(level);
        let lines = layer()
            .with_writer(log.pen.lines.clone())
            .with_target(false);
        let lines = match settings.format {
            config::Format::Json => lines.json().boxed(),
            config::Format::Text => lines.boxed(),
        };
        // A second log in one process, which only tests start, leaves the first in charge.
        let set = tracing::subscriber::set_global_default(registry().with(filter).with(lines));
        drop(set);
        Ok(log)
    }

    /// What can be changed while it is written.
    pub(super) fn pen(&self) -> Pen {
        self.pen.clone()
    }

    /// Writes what is left, and ends.
    pub(super) fn close(self) {
        self.pen.lines.lock().closed = true;
        self.pen.lines.0.changed.notify_one();
        // A panic of that thread has been printed; there is nobody else to tell.
        drop(self.thread.join());
    }

    fn start(mut sink: Sink) -> io::Result<Self> {
        let lines = Lines::default();
        let own = lines.clone();
        let write = move || while own.write_batch(&mut sink) {};
        let thread = thread::Builder::new().name("log".to_owned()).spawn(write)?;
        let pen = Pen { lines, level: None };
        Ok(Self { pen, thread })
    }
}

impl Pen {
    /// Opens this file, which may have been moved away under its name, and writes there from now on.
    pub(super) fn reopen(&self, file: Option<&Path>) -> io::Result<()> {
        let sink = sink(file)?;
        self.lines.lock().sink = Some(sink);
        self.lines.0.changed.notify_one();
        Ok(())
    }

    /// Keeps lines of this level and of those above it.
    pub(super) fn set_level(&self, level: config::Level) {
        if let Some(handle) = &self.level {
            // It fails when there is no log any more; then nobody reads its level.
            drop(handle.reload(filter(level)));
        }
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
    fn write_batch(&self, sink: &mut Sink) -> bool {
        let is_idle = |buffer: &mut Buffer| {
            buffer.bytes.is_empty() && buffer.sink.is_none() && !buffer.closed
        };
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
        let next = buffer.sink.take();
        drop(buffer);
        if let Some(next) = next {
            *sink = next;
        }
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

/// The end of this file, or the standard error.
fn sink(file: Option<&Path>) -> io::Result<Sink> {
    Ok(match file {
        Some(file) => Box::new(append_to(file)?),
        None => Box::new(io::stderr()),
    })
}

fn append_to(file: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(file)
}

fn filter(level: config::Level) -> LevelFilter {
    LevelFilter::from_level(match level {
        config::Level::Debug => Level::DEBUG,
        config::Level::Error => Level::ERROR,
        config::Level::Info => Level::INFO,
        config::Level::Trace => Level::TRACE,
        config::Level::Warn => Level::WARN,
    })
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
        log.pen.lines.append(b"one\n");
        log.pen.lines.append(b"two\n");
        log.close();
        let all: Vec<u8> = written.into_iter().flatten().collect();
        assert_eq!(all, b"one\ntwo\n");
    }

    #[test]
    fn a_line_is_written_without_waiting_for_another() {
        let (log, written) = started();
        log.pen.lines.append(b"alone\n");
        assert_eq!(written.recv().expect("the line"), b"alone\n");
        log.close();
    }

    #[test]
    fn lines_that_find_no_room_are_counted() {
        let lines = Lines::default();
        lines.append(&vec![b'x'; BYTES_MAX]);
        lines.append(b"lost\n");
        let (told, written) = mpsc::channel();
        assert!(lines.write_batch(&mut (Box::new(Told(told)) as Sink)));
        let all: Vec<u8> = written.try_iter().flatten().collect();
        assert!(all.ends_with(b"x1 log lines were lost: they came too fast\n"));
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let folder = std::env::temp_dir().join(format!("campon-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for temporary files");
        let (file, old) = (folder.join("campon.log"), folder.join("campon.log.1"));
        let log = Log::start(sink(Some(&file)).expect("a file")).expect("a thread starts");
        log.pen.lines.append(b"before\n");
        let pen = log.pen();
        std::fs::rename(&file, &old).expect("our own file");
        pen.reopen(Some(&file)).expect("a file");
        pen.lines.append(b"after\n");
        log.close();
        let read = |file| std::fs::read_to_string(file).expect("UTF-8");
        // What was said at that moment is in either of them.
        assert_eq!(read(&old) + &read(&file), "before\nafter\n");
        assert!(read(&file).ends_with("after\n"));
        std::fs::remove_dir_all(&folder).expect("our own folder");
    }
}
