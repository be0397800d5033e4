//! Calls of other people's that go on all the while: SIPp calls SIPp through the same campon.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::super::scene::{PATIENCE, value};

/// Calls that begin in a second.
const A_SECOND: u32 = 20;

/// How many more calls may begin from the last message of one that nobody answers any more to the kill
/// that it was for: half a second, after which SIPp would have said it again.
const PATIENT: usize = 10;

/// How often something is looked for that is to come.
const LOOK: Duration = Duration::from_millis(10);

/// How long SIPp may take to give up the calls that nobody answers any more.
const LAST: Duration = Duration::from_secs(40);

const CALLER: Ipv4Addr = Ipv4Addr::new(127, 84, 1, 5);
const CALLEE: Ipv4Addr = Ipv4Addr::new(127, 84, 1, 6);

/// How an answer begins that SIPp does not expect.
const REFUSALS: [&str; 4] = [
    "\n\nSIP/2.0 3",
    "\n\nSIP/2.0 4",
    "\n\nSIP/2.0 5",
    "\n\nSIP/2.0 6",
];

/// What campon's configuration says of the two.
pub(super) const PEERS: &str = "[[peer]]\nname = \"north\"\naddress = \"127.84.1.5:5060\"\n\
    completion = \"off\"\n[[peer]]\nname = \"south\"\naddress = \"127.84.1.6:5060\"\n\
    completion = \"off\"\n[[route]]\nuser = \"7*\"\nto = \"south\"\n";

/// When nobody served them, by the length of the caller's log.
#[derive(Clone, Copy)]
struct Down {
    from: u64,
    to: u64,
}

/// What was seen of a call.
struct Call {
    /// Its first place in the log, and its last.
    first: u64,
    last: u64,
    end: End,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// As it should.
    Complete,
    /// By an answer that SIPp did not expect.
    Refused,
    /// Nobody answered any more.
    Forgotten,
}

/// What became of all.
pub(super) struct Outcome {
    calls: usize,
    succeeded: u64,
    failed: u64,
    /// How many were up or begun while campon was down.
    touched: usize,
    /// Why those that failed did, by SIPp's own counts.
    reasons: Vec<String>,
    /// Of the other side: those that were taken and not ended.
    left: u64,
    /// The calls that failed and that no kill had touched.
    untouched: Vec<String>,
}

impl Outcome {
    /// Demands that so many succeeded at least, and that only those failed which a kill had touched.
    pub(super) fn check(&self, succeeded_min: u64) {
        assert_eq!(self.untouched, [""; 0], "campon failed them, and was up");
        let touched = u64::try_from(self.touched).expect("a count");
        assert!(self.failed <= touched && self.left <= touched, "{self}");
        assert!(self.succeeded >= succeeded_min, "{self}");
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            calls,
            succeeded,
            failed,
            touched,
            reasons,
            left,
            untouched,
        } = self;
        write!(
            f,
            "SIPp: {calls} calls at {A_SECOND}/s, {succeeded} succeeded, {failed} failed {reasons:?}; \
             {touched} were up or begun while campon was down, of those that failed {} were not; \
             the other side was left with {left}",
            untouched.len()
        )
    }
}

/// A SIPp on each side; ended when it is dropped.
pub(super) struct Traffic {
    folder: PathBuf,
    caller: Child,
    callee: Child,
    downs: Vec<Down>,
    /// Since when campon is down, if it is.
    down: Option<u64>,
}

impl Traffic {
    pub(super) fn start(folder: &Path) -> Self {
        let callee = sipp(folder, "traffic.callee", CALLEE);
        let bound = format!("{:08X}:13C4", u32::from_le_bytes(CALLEE.octets()));
        wait_for("SIPp's port", || {
            let table = fs::read_to_string("/proc/net/udp").unwrap_or_default();
            table.contains(&bound).then_some(())
        });
        let traffic = Self {
            folder: folder.to_owned(),
            callee,
            caller: sipp(folder, "traffic.caller", CALLER),
            downs: Vec::new(),
            down: None,
        };
        traffic.goes_on(0);
        traffic
    }

    fn log(&self) -> PathBuf {
        self.folder.join("traffic.caller.log")
    }

    fn length(&self) -> u64 {
        fs::metadata(self.log()).map_or(0, |file| file.len())
    }

    /// Campon was killed just now.
    pub(super) fn is_cut_off(&mut self) {
        self.down = Some(self.length());
    }

    /// Campon answers again; where that is in the log.
    pub(super) fn is_served(&mut self) -> u64 {
        let to = self.length();
        let from = self.down.take().unwrap_or(to);
        self.downs.push(Down { from, to });
        to
    }

    /// Waits until a call has come to its end since then: calls succeed again.
    pub(super) fn goes_on(&self, since: u64) {
        wait_for("a call that succeeds", || {
            let mut log = File::open(self.log()).ok()?;
            log.seek(SeekFrom::Start(since)).ok()?;
            let mut bytes = Vec::new();
            log.read_to_end(&mut bytes).ok()?;
            let text = String::from_utf8_lossy(&bytes);
            let mut entries = entries(&text);
            entries.any(|(_, entry)| is_end(entry)).then_some(())
        });
    }

    /// Ends both, and says what became of the calls.
    pub(super) fn close(mut self) -> Outcome {
        for child in [&mut self.caller, &mut self.callee] {
            finish(child);
        }
        let log = fs::read(self.log()).expect("SIPp keeps a log");
        let text = String::from_utf8_lossy(&log);
        let calls = calls(&text);
        let mut order: Vec<_> = calls.values().map(|call| call.first).collect();
        order.sort_unstable();
        let begun = |at| order.partition_point(|begun| *begun < at);
        let is_touched = |call: &Call| {
            let lived_to = match call.end {
                End::Complete | End::Refused => call.last,
                End::Forgotten => {
                    let later = order.get(begun(call.last) + PATIENT);
                    later.copied().unwrap_or(u64::MAX)
                }
            };
            let spans = |down: &Down| call.first < down.to && down.from < lived_to;
            self.downs.iter().any(spans)
        };
        let lost = calls.iter().filter(|(_, call)| call.end != End::Complete);
        let untouched = lost.filter(|(_, call)| !is_touched(call));
        let stat = stat(&self.folder, "traffic.caller");
        let count = |stat: &[(String, u64)], name: &str| {
            let found = stat.iter().find(|(its, _)| its == name);
            found.map_or(0, |(_, count)| *count)
        };
        let is_reason = |name: &str| {
            name.starts_with("Failed") && name.ends_with("(C)") && name != "FailedCall(C)"
        };
        let reasons = stat.iter().filter(|(name, n)| is_reason(name) && *n > 0);
        Outcome {
            calls: calls.len(),
            succeeded: count(&stat, "SuccessfulCall(C)"),
            failed: count(&stat, "FailedCall(C)"),
            touched: calls.values().filter(|call| is_touched(call)).count(),
            reasons: reasons.map(|(name, n)| format!("{name} {n}")).collect(),
            left: count(&self::stat(&self.folder, "traffic.callee"), "FailedCall(C)"),
            untouched: untouched.map(|(call, _)| (*call).to_owned()).collect(),
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        for child in [&mut self.caller, &mut self.callee] {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn sipp(folder: &Path, scenario: &str, at: Ipv4Addr) -> Child {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("sipp-scenarios");
    let mut command = Command::new("sipp");
    command.arg("127.84.1.1:5060").arg("-sf");
    command.arg(scenarios.join(format!("{scenario}.xml")));
    command.args(["-key", "domain", "127.84.1.1", "-t", "u1", "-bind_local"]);
    command.args(["-i", &at.to_string(), "-p", "5060", "-nostdin"]);
    command.args(["-default_behaviors", "abortunexp", "-l", "1000"]);
    command.args(["-r", &A_SECOND.to_string()]);
    command.args(["-trace_msg", "-message_file", &format!("{scenario}.log")]);
    command.args(["-trace_stat", "-fd", "1", "-stf"]);
    command.arg(format!("{scenario}.csv"));
    command.current_dir(folder).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn();
    child.expect("SIPp is installed; on Debian: apt-get install sip-tester")
}

/// Has SIPp begin no more calls, and end when those are over that there are.
fn finish(child: &mut Child) {
    let line = format!("kill -USR1 {}", child.id());
    drop(Command::new("sh").args(["-c", &line]).status());
    let begun = Instant::now();
    while matches!(child.try_wait(), Ok(None)) && begun.elapsed() < LAST {
        thread::park_timeout(LOOK);
    }
}

fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} does not come");
        thread::park_timeout(LOOK);
    }
}

/// The messages of a log, each with its place.
fn entries(log: &str) -> impl Iterator<Item = (usize, &str)> {
    let marks = log.match_indices("\nUDP message ");
    marks.map(|(at, _)| {
        let entry = &log[at + 1..];
        let end = entry.find("\nUDP message ").unwrap_or(entry.len());
        (at, &entry[..end])
    })
}

/// Whether a caller's end of the call is answered: it has succeeded.
fn is_end(entry: &str) -> bool {
    let is_heard = entry.starts_with("UDP message received");
    is_heard && entry.contains("\n\nSIP/2.0 200 ") && value(entry, "CSeq").ends_with(" BYE")
}

/// What became of each call.
fn calls(log: &str) -> BTreeMap<&str, Call> {
    let mut calls = BTreeMap::new();
    for (at, entry) in entries(log) {
        let at = u64::try_from(at).expect("a length");
        let call = calls.entry(value(entry, "Call-ID")).or_insert(Call {
            first: at,
            last: at,
            end: End::Forgotten,
        });
        if call.end != End::Forgotten {
            continue;
        }
        call.last = at;
        let is_heard = entry.starts_with("UDP message received");
        if is_end(entry) {
            call.end = End::Complete;
        } else if is_heard && REFUSALS.iter().any(|class| entry.contains(class)) {
            call.end = End::Refused;
        }
    }
    calls
}

/// The last line of SIPp's statistics, column by column.
fn stat(folder: &Path, scenario: &str) -> Vec<(String, u64)> {
    let text = fs::read_to_string(folder.join(format!("{scenario}.csv")));
    let text = text.expect("SIPp keeps statistics");
    let names = text.lines().next().unwrap_or_default().split(';');
    let last = text.lines().last().unwrap_or_default().split(';');
    let columns = names.zip(last).map(|(name, count)| {
        let count = count.parse().unwrap_or_default();
        (name.to_owned(), count)
    });
    columns.collect()
}
