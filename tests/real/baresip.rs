//! baresip as a phone: started with a configuration of its own, steered over its control socket.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::children::{Running, command_in, output_of};
use super::shared;
use super::wav::{self, LOUD_ENOUGH, Recording};
use crate::process::wait_for;

/// How long a phone may take for anything that it is waited for.
const STEP_MAX: Duration = Duration::from_secs(40);

/// Where the control socket listens, on the phone's own address.
const CONTROL_PORT: u16 = 4444;

/// How long the tone of a phone is: longer than any test.
const TONE_SECONDS: u32 = 120;

/// What a phone is.
pub struct Setup<'a> {
    pub user: &'a str,
    pub ip: IpAddr,
    /// Its outbound proxy, as in `sip:127.0.0.1:5060`.
    pub proxy: &'a str,
    /// The tone that it plays, in Hz.
    pub tone: u32,
    pub calls_max: u32,
    /// The first of the hundred ports that its audio comes from: its source address is no mark, as
    /// baresip sends RTP from a socket that is bound to none.
    pub rtp_port: u16,
    /// For how many seconds it registers.
    pub expires: u32,
    /// Parameters of its account, as in `answermode=auto`.
    pub account: &'a [&'a str],
    /// `tls`, and what it trusts.
    pub tls: Option<&'a Path>,
    /// A namespace to run in.
    pub netns: Option<&'a str>,
}

pub struct Baresip {
    process: Running,
    control: Control,
    unread: Vec<u8>,
    /// What happened that nobody has waited for yet.
    events: Vec<Value>,
    folder: PathBuf,
    user: String,
}

impl Baresip {
    /// Starts a phone; it registers by itself.
    pub fn start(folder: &Path, setup: &Setup<'_>) -> Self {
        let folder = folder.join(format!("baresip-{}", setup.user));
        let _absent_at_first = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder in the target folder");
        let tone = folder.join("tone.wav");
        wav::write_tone(&tone, setup.tone, TONE_SECONDS);
        configure(&folder, setup, &tone);
        let mut command = command_in(setup.netns, "baresip");
        command.args(["-4", "-v", "-s", "-f"]).arg(&folder);
        let log = folder.join("log");
        let mut process = Running::start(command, "baresip-core", &log);
        let address = SocketAddr::new(setup.ip, CONTROL_PORT);
        let control = match setup.netns {
            Some(netns) => Control::across(netns, address),
            None => Control::to(address, || {
                let said = fs::read_to_string(&log).unwrap_or_default();
                assert!(process.ended().is_none(), "baresip ended: {said}");
            }),
        };
        Self {
            process,
            control,
            unread: Vec::new(),
            events: Vec::new(),
            folder,
            user: setup.user.to_owned(),
        }
    }

    /// Gives a command and waits for its answer.
    pub fn tell(&mut self, command: &str, parameters: &str) -> String {
        let message = json!({"command": command, "params": parameters, "token": "t"});
        let message = message.to_string();
        let framed = format!("{}:{message},", message.len());
        let sent = self.control.say(framed.as_bytes());
        sent.unwrap_or_else(|error| panic!("{}: {error}: {}", self.user, self.log()));
        let until = Instant::now() + STEP_MAX;
        while let Some(heard) = self.read(until) {
            if heard.get("response") == Some(&Value::Bool(true)) {
                let data = heard.get("data").and_then(Value::as_str);
                return data.unwrap_or_default().to_owned();
            }
            self.events.push(heard);
        }
        panic!("{} does not answer {command}: {}", self.user, self.log());
    }

    pub fn dial(&mut self, number: &str) {
        self.tell("dial", &format!("sip:{number}@pbx.test"));
    }

    /// Waits for an event, and gives its parameter; what happened before it is forgotten.
    pub fn wait_for(&mut self, event: &str) -> String {
        self.wait_until(event, |_| true)
    }

    /// The same of an event with such a parameter.
    pub fn wait_until(&mut self, event: &str, wanted: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + STEP_MAX;
        let parameter = |one: &Value| {
            let is_it = one.get("type").and_then(Value::as_str) == Some(event);
            let parameter = one.get("param").and_then(Value::as_str).unwrap_or_default();
            (is_it && wanted(parameter)).then(|| parameter.to_owned())
        };
        loop {
            let mut found = self.events.iter().enumerate();
            let found = found.find_map(|(at, one)| Some((at, parameter(one)?)));
            if let Some((at, parameter)) = found {
                self.events.drain(..=at);
                return parameter;
            }
            match self.read(until) {
                Some(heard) => self.events.push(heard),
                None => panic!("{}: no {event}: {}", self.user, self.log()),
            }
        }
    }

    /// Waits until it is registered.
    pub fn wait_until_registered(&mut self) {
        let registered = wait_for(STEP_MAX, || {
            self.tell("reginfo", "").contains("OK").then_some(())
        });
        assert!(
            registered.is_some(),
            "{} is not registered: {}",
            self.user,
            self.log()
        );
    }

    /// One message, or `None` when the time is up.
    fn read(&mut self, until: Instant) -> Option<Value> {
        loop {
            if let Some(message) = take_netstring(&mut self.unread) {
                return Some(serde_json::from_slice(&message).expect("baresip speaks JSON"));
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.control.heard.recv_timeout(left) {
                Ok(some) => self.unread.extend(some),
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("{} is gone: {}", self.user, self.log())
                }
            }
        }
    }

    /// Waits until a tone is heard: recordings are written while the call goes on.
    ///
    /// baresip 1.0.0 records nothing more of what it hears once the audio was for one direction or
    /// none when a session was agreed on (its `audio_decoder_set` then drops the filters of what is
    /// heard, and sets none up while those of what is said are there): so nothing in the talk after a
    /// recall by flow IV of RFC 3725, and all of it over a re-INVITE to another address.
    pub fn wait_until_heard(&self, hertz: u32) {
        let loudest = || {
            let heard = self.recordings("-dec.wav").into_iter();
            heard.map(|heard| heard.loudness(hertz)).fold(0.0, f64::max)
        };
        let heard = wait_for(STEP_MAX, || (loudest() > LOUD_ENOUGH).then_some(()));
        let level = loudest();
        assert!(
            heard.is_some(),
            "{} hears {hertz} Hz at {level}: {}",
            self.user,
            self.log()
        );
    }

    /// Waits until it has played for a second more.
    pub fn play_for_a_second(&self) {
        let played = || {
            let played = self.recordings("-enc.wav").into_iter();
            played.map(|played| played.seconds()).fold(0.0, f64::max)
        };
        let so_far = played();
        let more = wait_for(STEP_MAX, || (played() > so_far + 1.0).then_some(()));
        assert!(
            more.is_some(),
            "{} plays nothing: {}",
            self.user,
            self.log()
        );
    }

    /// Says this from its next call on, instead of its tone.
    pub fn says_key(&self, hertz: [u32; 2]) {
        wav::write_key(&self.folder.join("tone.wav"), hertz);
    }

    /// Removes what was recorded so far, so that the next call is heard by itself.
    pub fn forget_recordings(&self) {
        let folder = self.folder.join("rec");
        fs::remove_dir_all(&folder).expect("the folder of its recordings");
        fs::create_dir(&folder).expect("a folder in the target folder");
    }

    /// The longest of what it heard, and of what it said: a call's each.
    pub fn longest_recordings(&self) -> [Recording; 2] {
        ["-dec.wav", "-enc.wav"].map(|end| {
            let recordings = self.recordings(end).into_iter();
            let longest = recordings.max_by(|a, b| a.seconds().total_cmp(&b.seconds()));
            longest.unwrap_or_else(|| panic!("no recording: {}", self.log()))
        })
    }

    fn recordings(&self, end: &str) -> Vec<Recording> {
        let files = fs::read_dir(self.folder.join("rec")).expect("the folder of its recordings");
        let files = files.flatten().map(|entry| entry.path());
        let named = files.filter(|path| path.to_string_lossy().ends_with(end));
        named.map(|path| Recording::read(&path)).collect()
    }

    /// All that it printed.
    pub fn whole_log(&self) -> String {
        let raw = fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&raw).into_owned()
    }

    /// The end of what it printed, its SIP messages among it; all of it stands in its folder.
    pub fn log(&self) -> String {
        let text = self.whole_log();
        // It counts the seconds of a call on one line.
        let lines: Vec<_> = text
            .lines()
            .filter(|line| !line.contains("(bit/s)"))
            .collect();
        let last = lines.len().saturating_sub(60);
        format!("{}:\n{}", self.folder.display(), lines[last..].join("\n"))
    }

    /// Ends it; it unregisters if it can.
    pub fn quit(mut self) {
        self.process.end("TERM");
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

/// The way to a phone's control socket.
struct Control {
    writes: Box<dyn Write + Send>,
    heard: Receiver<Vec<u8>>,
    /// What carries it into a namespace.
    _carrier: Option<Running>,
}

impl Control {
    /// Connects as soon as the phone listens; `check` is asked meanwhile.
    fn to(address: SocketAddr, mut check: impl FnMut()) -> Self {
        let stream = wait_for(STEP_MAX, || {
            check();
            TcpStream::connect(address).ok()
        });
        let stream = stream.expect("baresip opens its control socket");
        let reads = stream.try_clone().expect("a second handle of a socket");
        Self::new(reads, stream, None)
    }

    /// The same from within a network namespace, over the pipes of a shell there.
    fn across(netns: &str, address: SocketAddr) -> Self {
        let (ip, port) = (address.ip(), address.port());
        let script = format!(
            "until {{ exec 3<>/dev/tcp/{ip}/{port}; }} 2>/dev/null; do sleep 0.05; done; \
             cat <&3 & exec cat >&3"
        );
        let mut command = command_in(Some(netns), "bash");
        command.args(["-c", &script]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut carrier = Running::spawn(command, "iproute2");
        let child = carrier.child();
        let reads = child.stdout.take().expect("a pipe");
        let writes = child.stdin.take().expect("a pipe");
        Self::new(reads, writes, Some(carrier))
    }

    fn new(
        mut reads: impl Read + Send + 'static,
        writes: impl Write + Send + 'static,
        carrier: Option<Running>,
    ) -> Self {
        let (tell, heard) = channel();
        thread::spawn(move || {
            let mut some = [0; 4096];
            // It ends with the phone, or with the test that hears nothing more.
            while let Ok(length @ 1..) = reads.read(&mut some) {
                if tell.send(some[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            writes: Box::new(writes),
            heard,
            _carrier: carrier,
        }
    }

    fn say(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.writes.write_all(bytes)?;
        self.writes.flush()
    }
}

fn configure(folder: &Path, setup: &Setup<'_>, tone: &Path) {
    let mut command = Command::new("sh");
    command.arg(shared("baresip/mkphone.sh")).arg(folder);
    command.args([setup.user, &setup.ip.to_string(), &CONTROL_PORT.to_string()]);
    command.arg(tone).args(setup.account);
    command.env("PROXY", setup.proxy);
    command.env("MAXCALLS", setup.calls_max.to_string());
    command.env("REGINT", setup.expires.to_string());
    command.env("RTP", format!("{}-{}", setup.rtp_port, setup.rtp_port + 99));
    if let Some(trusted) = setup.tls {
        command.env("TRANSPORT", "tls").env("CAFILE", trusted);
    }
    output_of(&mut command, "a shell");
    // With a second codec the first may change within a call, and then baresip records no more.
    let file = folder.join("accounts");
    let account = fs::read_to_string(&file).expect("the account that was written");
    let codecs = "audio_codecs=PCMA/8000,PCMU/8000";
    let is_codecs = |wanted: &&&str| wanted.starts_with("audio_codecs=");
    let wanted = setup.account.iter().find(is_codecs);
    let account = account.replace(codecs, wanted.unwrap_or(&"audio_codecs=PCMA/8000"));
    fs::write(&file, account).expect("a file in the target folder");
    if wanted.is_some() {
        let file = folder.join("config");
        let config = fs::read_to_string(&file).expect("the configuration that was written");
        let g711 = "module\t\t\tg711.so\n";
        let more = format!("{g711}module\t\t\tg722.so\nmodule\t\t\topus.so\n");
        fs::write(&file, config.replace(g711, &more)).expect("a file in the target folder");
    }
}

/// Takes one `LENGTH:BYTES,` off the front.
fn take_netstring(unread: &mut Vec<u8>) -> Option<Vec<u8>> {
    let colon = unread.iter().position(|byte| *byte == b':')?;
    let length: usize = str::from_utf8(&unread[..colon]).ok()?.parse().ok()?;
    let end = colon + 1 + length;
    if unread.len() <= end {
        return None;
    }
    let message = unread[colon + 1..end].to_vec();
    unread.drain(..=end);
    Some(message)
}

#[test]
fn netstrings_are_taken_one_by_one() {
    let mut unread = b"2:{},4:nul".to_vec();
    assert_eq!(take_netstring(&mut unread), Some(b"{}".to_vec()));
    assert_eq!(take_netstring(&mut unread), None);
    unread.extend(b"l,");
    assert_eq!(take_netstring(&mut unread), Some(b"null".to_vec()));
    assert!(unread.is_empty());
}
