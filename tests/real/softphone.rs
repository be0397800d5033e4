//! pjsua2 as a phone: one process of Python each, steered by lines, heard by lines of JSON.
//!
//! It knows what baresip 1.0.0 does not: Replaces, and so the attended transfer.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::children::Running;
use super::shared;
use super::wav::{self, LOUD_ENOUGH, Recording};
use crate::process::wait_for;

const STEP_MAX: Duration = Duration::from_secs(40);

pub struct Softphone {
    process: Running,
    writes: ChildStdin,
    heard: Receiver<Value>,
    /// What happened that nobody has waited for yet.
    events: Vec<Value>,
    folder: PathBuf,
    user: String,
}

impl Softphone {
    /// Starts a phone that plays that tone; it registers by itself.
    pub fn start(folder: &Path, user: &str, ip: Ipv4Addr, proxy: &str, tone: u32) -> Self {
        let folder = folder.join(format!("softphone-{user}"));
        fs::create_dir_all(&folder).expect("a folder in the target folder");
        let wav = folder.join("tone.wav");
        wav::write_tone(&wav, tone, 120);
        let mut command = Command::new(python());
        command
            .arg(shared("pjsua2/phone.py"))
            .args([user, &ip.to_string()]);
        command.args(["--proxy", proxy, "--wav"]).arg(wav);
        command.arg("--rec").arg(folder.join("heard"));
        command.arg("--log").arg(folder.join("log"));
        let errors = File::create(folder.join("errors")).expect("a log in the target folder");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors);
        let mut process = Running::spawn(command, "python3");
        let child = process.child();
        let writes = child.stdin.take().expect("a pipe");
        let reads = child.stdout.take().expect("a pipe");
        let (tell, heard) = channel();
        thread::spawn(move || {
            let lines = BufReader::new(reads).lines().map_while(Result::ok);
            let messages = lines.filter_map(|line| serde_json::from_str(&line).ok());
            for message in messages {
                if tell.send(message).is_err() {
                    return;
                }
            }
        });
        let mut phone = Self {
            process,
            writes,
            heard,
            events: Vec::new(),
            folder,
            user: user.to_owned(),
        };
        phone.wait_for(&json!({"ev": "reg", "code": 200}));
        phone
    }

    /// Gives a command, as `phone.py` lists them.
    pub fn tell(&mut self, command: &str) {
        let told = writeln!(self.writes, "{command}").and_then(|()| self.writes.flush());
        told.unwrap_or_else(|error| panic!("{}: {error}", self.user));
    }

    /// Waits for an event with these values, and gives it; what happened before it is forgotten.
    pub fn wait_for(&mut self, wanted: &Value) -> Value {
        let wanted = wanted.as_object().expect("values by name");
        let is_it = |event: &Value| wanted.iter().all(|(name, value)| &event[name] == value);
        let until = Instant::now() + STEP_MAX;
        loop {
            if let Some(at) = self.events.iter().position(is_it) {
                return self.events.drain(..=at).next_back().expect("it was found");
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(event) => self.events.push(event),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let (user, folder) = (&self.user, self.folder.display());
                    panic!("{user}: no {wanted:?} in {:?}; see {folder}", self.events);
                }
            }
        }
    }

    /// Waits until a tone is heard in the call of that number.
    pub fn wait_until_heard(&self, call: u32, hertz: u32) {
        let file = self.folder.join(format!("heard.{call}.wav"));
        let level = || Recording::read(&file).loudness(hertz);
        let heard = wait_for(STEP_MAX, || (level() > LOUD_ENOUGH).then_some(()));
        assert!(
            heard.is_some(),
            "{} hears {hertz} Hz at {}",
            self.user,
            level()
        );
    }

    /// Ends it; it unregisters if it can.
    pub fn quit(mut self) {
        self.tell("quit");
        wait_for(STEP_MAX, || self.process.ended());
    }
}

/// The Python that has pjsua2; `tests/run` makes it.
fn python() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../pjsua2");
    let python = target.join("bin/python");
    assert!(
        python.exists(),
        "NOT TESTED: no pjsua2. python3 -m venv {0} && {0}/bin/pip install pjsua2-python",
        target.display()
    );
    python
}
