//! The processes of a flow: campon, SIPp, and the slots that keep them few.
//!
//! Every process is one that the test started: it is ended by its own pid, and always ended.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::message::Message;
use crate::trace::Trace;

/// How often something outside is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Flows that may run at once, over all test processes: more would make SIPp itself late.
const FLOWS_MAX: usize = 2;

/// How long a flow may wait for its turn.
const TURN_MAX: Duration = Duration::from_mins(5);

/// How long campon may take to answer its first request.
const START_MAX: Duration = Duration::from_secs(10);

/// How long campon may take from SIGINT to its end when no call is up.
const STOP_MAX: Duration = Duration::from_mins(1);

/// Where the API listens, on campon's own address.
const API_PORT: u16 = 5080;

/// Looks until `found` gives something; `None` when `at_most` has passed.
pub fn wait_for<T>(at_most: Duration, mut found: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        if let Some(value) = found() {
            return Some(value);
        }
        if started.elapsed() > at_most {
            return None;
        }
        sleep(LOOK_EVERY);
    }
}

/// The right to run one flow, and to do so at its addresses. Both go with the process, however that
/// ends.
pub struct Turn {
    _lock: File,
    /// Bound beside campon: the same flow may be run from another clone on this machine.
    _claim: UdpSocket,
}

impl Turn {
    pub fn take(folder: &Path, campon: SocketAddr) -> Self {
        let beside = SocketAddr::new(campon.ip(), campon.port() - 1);
        let claim = wait_for(TURN_MAX, || UdpSocket::bind(beside).ok());
        let lock = wait_for(TURN_MAX, || {
            (0..FLOWS_MAX).find_map(|slot| try_lock(&folder.join(format!("slot-{slot}"))))
        });
        Self {
            _lock: lock.expect("a turn: flows end within their timeouts"),
            _claim: claim.expect("free addresses: flows end within their timeouts"),
        }
    }
}

fn try_lock(path: &Path) -> Option<File> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    let lock = opened.expect("a lock file in the target folder");
    lock.try_lock().ok().map(|()| lock)
}

/// A child process that does not outlive its owner.
struct Guarded(Child);

impl Guarded {
    fn start(command: &mut Command, missing: &str) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| {
            let why = if error.kind() == ErrorKind::NotFound {
                missing
            } else {
                ""
            };
            panic!("{command:?}: {error} {why}")
        }))
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("the state of a child of ours")
    }

    fn kill(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _gone_meanwhile = self.0.kill();
            let _reaped = self.0.wait();
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}

/// campon, running.
pub struct Campon {
    process: Guarded,
    address: SocketAddr,
    log: PathBuf,
}

impl Campon {
    /// Starts campon, with a configuration or without, and waits until it answers OPTIONS.
    pub fn start(address: SocketAddr, folder: &Path, config: Option<&str>) -> Self {
        let log = folder.join("campon.log");
        let binary = binary();
        let out = File::create(&log).expect("a log file in the target folder");
        let err = out.try_clone().expect("a second handle of the log");
        let mut command = Command::new(&binary);
        command.arg("serve");
        if !config.is_some_and(|config| config.contains("[[listener]]")) {
            command.args(["--listen", &address.to_string()]);
        }
        if let Some(config) = config {
            let file = folder.join("campon.toml");
            fs::write(&file, config).expect("a file in the target folder");
            command.arg("--config").arg(file);
        }
        command.current_dir(folder).stdout(out).stderr(err);
        let process = Guarded::start(&mut command, "the binary under test is not built");
        let mut campon = Self {
            process,
            address,
            log,
        };
        let ready = wait_for(START_MAX, || campon.answers_options());
        assert!(
            ready.is_some(),
            "{} is silent: {}",
            binary.display(),
            campon.log()
        );
        campon
    }

    /// What each table holds, as `campon status --json` tells.
    pub fn held(&self) -> Vec<(String, u64)> {
        let status = self.status();
        let tables = entries(&status, "tables");
        let held = tables.map(|(name, table)| {
            let entries = table.get("entries").and_then(Value::as_u64);
            (name, entries.unwrap_or_else(|| panic!("{status}")))
        });
        held.collect()
    }

    /// What has been counted, likewise.
    pub fn counted(&self) -> Vec<(String, u64)> {
        let status = self.status();
        let counters = entries(&status, "counters");
        let counted = counters.map(|(name, count)| {
            let count = count.as_u64();
            (name, count.unwrap_or_else(|| panic!("{status}")))
        });
        counted.collect()
    }

    /// The document of `campon status --json`.
    pub fn status(&self) -> Value {
        let mut command = Command::new(binary());
        let api = SocketAddr::new(self.address.ip(), API_PORT);
        command.args(["status", "--json", "--api", &format!("http://{api}")]);
        let output = command.output().expect("the binary runs");
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error} in the status {text}: {output:?}"))
    }

    /// Sends SIGINT, once, and demands a clean end. Gives the log.
    pub fn stop(self) -> String {
        self.signal("INT");
        self.join()
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        signal(&self.process.0, name);
    }

    /// Demands a clean end of a campon that was told to stop. Gives the log.
    pub fn join(mut self) -> String {
        let ended = wait_for(STOP_MAX, || self.process.ended());
        let log = self.log();
        let status = ended.unwrap_or_else(|| panic!("campon does not stop: {log}"));
        assert_eq!(status.code(), Some(0), "campon left something: {log}");
        log
    }

    fn answers_options(&mut self) -> Option<()> {
        if let Some(status) = self.process.ended() {
            panic!("campon ended at start, {status}: {}", self.log());
        }
        let from = SocketAddr::new(self.address.ip(), 0);
        let socket = UdpSocket::bind(from).expect("a free port on loopback");
        socket.connect(self.address).expect("a route on loopback");
        let asked = socket.send(options(&socket, self.address).as_bytes());
        asked.ok()?;
        let patience = Some(Duration::from_millis(200));
        socket.set_read_timeout(patience).expect("a timeout");
        let mut answer = [0; 4096];
        let length = socket.recv(&mut answer).ok()?;
        let answer = Message::read(answer.get(..length)?);
        (answer.status() == Some(200)).then_some(())
    }

    fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Names and values of a part of the status.
fn entries<'s>(status: &'s Value, part: &str) -> impl Iterator<Item = (String, &'s Value)> {
    let entries = status.get(part).and_then(Value::as_object);
    let entries = entries.unwrap_or_else(|| panic!("no {part} in {status}"));
    entries.iter().map(|(name, value)| (name.clone(), value))
}

/// What one SIPp process is to do.
pub struct Script {
    pub scenario: PathBuf,
    /// Played to calls that come in while `scenario` runs, as a phone on one connection would.
    pub meanwhile: Option<Meanwhile>,
    pub local: SocketAddr,
    pub campon: SocketAddr,
    /// What `[domain]` and other names in square brackets stand for.
    pub keys: Vec<(&'static str, String)>,
    /// How often the scenario is played; once if nothing is said.
    pub pace: Option<Pace>,
    /// The Call-ID, if it is one that a phone before has begun with.
    pub call_id: Option<String>,
    /// SIPp's name of the transport: `u1` or `t1`.
    pub transport: &'static str,
    /// A folder of its own, for its logs.
    pub folder: PathBuf,
}

/// How often a scenario is played.
pub struct Pace {
    /// How many times in all.
    pub calls: u32,
    /// How many are begun in a second, by who begins.
    pub a_second: u32,
}

/// What happens to calls that come in.
pub struct Meanwhile {
    pub scenario: PathBuf,
    /// How many there will be.
    pub calls: usize,
}

/// One SIPp process.
pub struct Sipp {
    process: Guarded,
    folder: PathBuf,
}

impl Sipp {
    pub fn start(script: &Script) -> Self {
        fs::create_dir_all(&script.folder).expect("a folder for SIPp's logs");
        let out = File::create(script.folder.join("screen.txt")).expect("a file for the screen");
        let mut command = Command::new("sipp");
        command.arg(script.campon.to_string());
        command.arg("-sf").arg(&script.scenario);
        if let Some(meanwhile) = &script.meanwhile {
            command.arg("-oocsf").arg(&meanwhile.scenario);
        }
        command.args(["-t", script.transport, "-bind_local"]);
        command.args(["-i", &script.local.ip().to_string()]);
        command.args(["-p", &script.local.port().to_string()]);
        for (name, value) in &script.keys {
            command.args(["-key", name, value]);
        }
        if let Some(call_id) = &script.call_id {
            command.args(["-cid_str", call_id]);
        }
        let pace = script.pace.as_ref();
        let calls = pace.map_or(1, |pace| pace.calls).to_string();
        command.args(["-m", &calls, "-nostdin", "-default_behaviors", "abortunexp"]);
        if let Some(pace) = pace {
            command.args(["-r", &pace.a_second.to_string()]);
        }
        command.args(["-timeout", "20s", "-timeout_error"]);
        command.args(["-trace_msg", "-message_file", "messages.log"]);
        command.args(["-trace_err", "-error_file", "errors.log"]);
        command.args(["-trace_counts", "-fd", "1"]);
        command.current_dir(&script.folder);
        command.stdout(out).stderr(Stdio::null());
        let missing = "sipp is not installed; on Debian: apt-get install sip-tester";
        Self {
            process: Guarded::start(&mut command, missing),
            folder: script.folder.clone(),
        }
    }

    /// Whether the process has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// Ends the process at once.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// What was said, once the process has ended.
    pub fn trace(&self) -> Trace {
        Trace::read(&self.folder.join("messages.log"))
    }

    /// What has been said up to now.
    pub fn trace_so_far(&self) -> Trace {
        Trace::read_so_far(&self.folder.join("messages.log"))
    }

    /// What SIPp complained about.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.folder.join("errors.log")).unwrap_or_default()
    }

    /// The text of the `-trace_counts` file, whose name holds the pid; empty before SIPp's end.
    pub fn counts(&self) -> String {
        let files = fs::read_dir(&self.folder).expect("the folder made at start");
        let mut names = files.flatten().map(|entry| entry.path());
        let counts = names.find(|path| path.to_string_lossy().ends_with("_counts.csv"));
        counts
            .and_then(|path| fs::read_to_string(path).ok())
            .unwrap_or_default()
    }
}

/// Whether some process has bound this address, for UDP or as a TCP listener.
pub fn is_bound(address: SocketAddr) -> bool {
    let tables = ["udp", "udp6", "tcp", "tcp6"];
    let wanted = as_proc_net(address);
    tables.iter().any(|table| {
        let text = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        let stream = table.starts_with("tcp");
        text.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next();
            let state = fields.nth(1);
            // 0A is LISTEN; a connection of the same port is no listener.
            local == Some(&wanted) && (!stream || state == Some("0A"))
        })
    })
}

/// The way the kernel prints an address: words in host order, port in network order.
fn as_proc_net(address: SocketAddr) -> String {
    let octets = match address {
        SocketAddr::V4(v4) => v4.ip().octets().to_vec(),
        SocketAddr::V6(v6) => v6.ip().octets().to_vec(),
    };
    let mut text = String::new();
    for word in octets.as_chunks::<4>().0 {
        let _ = write!(text, "{:08X}", u32::from_ne_bytes(*word));
    }
    format!("{text}:{:04X}", address.port())
}

/// The binary under test: `CAMPON_BIN`, else the release build if it is newer than all sources, else
/// the one that cargo built along with this test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CAMPON_BIN") {
        return fs::canonicalize(path).expect("CAMPON_BIN names a file");
    }
    let built = PathBuf::from(env!("CARGO_BIN_EXE_campon"));
    let target = built.ancestors().nth(2).unwrap_or(&built);
    let release = target.join("release").join("campon");
    let is_fresh = modified(&release).is_some_and(|time| time >= newest(Path::new("src")));
    if is_fresh { release } else { built }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|found| found.modified()).ok()
}

fn newest(folder: &Path) -> SystemTime {
    let entries = fs::read_dir(folder).expect("the tests run in the repository root");
    let times = entries.flatten().filter_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            Some(newest(&path))
        } else {
            modified(&path)
        }
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// std sends no signal but SIGKILL; the shell's own `kill` needs no package.
fn signal(child: &Child, name: &str) {
    let line = format!("kill -{name} {}", child.id());
    let done = Command::new("sh").args(["-c", &line]).status();
    assert!(done.is_ok_and(|status| status.success()), "{line}");
}

fn options(socket: &UdpSocket, campon: SocketAddr) -> String {
    let own = socket.local_addr().expect("a bound socket");
    let port = own.port();
    format!(
        "OPTIONS sip:{campon} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {own};branch=z9hG4bK-ready-{port}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:ready@{own}>;tag={port}\r\n\
         To: <sip:{campon}>\r\n\
         Call-ID: ready-{port}\r\n\
         CSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

#[test]
fn a_bound_port_is_seen_without_touching_it() {
    for free in ["127.0.0.1:0", "[::1]:0"] {
        let socket = UdpSocket::bind(free).expect("a free port on loopback");
        let address = socket.local_addr().expect("a bound socket");
        assert!(is_bound(address), "{address}");
        drop(socket);
        assert!(!is_bound(address), "{address}");
    }
}
