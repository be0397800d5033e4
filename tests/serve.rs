//! The binary as an operator meets it: exit codes, what it prints, how it stops.
//!
//! Each test takes an address of its own. Nothing here waits for time: only for a line, an answer or
//! the end of the process.

#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

fn campon(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_campon"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = campon(arguments).output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// A serving campon; what it logs is read line by line.
struct Served {
    process: Child,
    log: BufReader<ChildStderr>,
}

impl Served {
    fn start(ip: &str) -> Self {
        let mut served = Self::spawn(&mut campon(&["serve", "--listen", ip]));
        served.read_until("campon is ready");
        served
    }

    fn spawn(command: &mut Command) -> Self {
        let mut process = command
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let log = BufReader::new(process.stderr.take().expect("a pipe"));
        Self { process, log }
    }

    /// Reads the log up to the line that holds this.
    fn read_until(&mut self, awaited: &str) -> String {
        loop {
            let mut line = String::new();
            let length = self.log.read_line(&mut line).expect("UTF-8");
            assert_ne!(length, 0, "the log ended before `{awaited}`");
            if line.contains(awaited) {
                return line;
            }
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .expect("kill runs");
        assert!(sent.success());
    }

    fn end(mut self) -> Option<i32> {
        self.process.wait().expect("our own process").code()
    }
}

impl Drop for Served {
    /// A test that fails leaves nothing running.
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A request of Alice's about Bob, whose phone answers nothing.
fn message(start: &str, ip: &str, cseq: &str, more: &str) -> String {
    format!(
        "{start} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {ip}:5070;branch=z9hG4bK{}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:alice@{ip}>;tag=1\r\n\
         To: <sip:bob@{ip}>\r\n\
         Call-ID: {}\r\n\
         CSeq: 1 {cseq}\r\n\
         Contact: <sip:bob@{ip}:5070>\r\n\
         {more}Content-Length: 0\r\n\r\n",
        cseq.to_lowercase(),
        cseq.to_lowercase(),
    )
}

#[test]
fn bare_campon_says_what_it_can_do() {
    let (code, help, _) = run(&[]);
    assert_eq!(code, Some(0));
    for word in ["serve", "check", "status", "Examples:", "Exit codes:"] {
        assert!(help.contains(word), "no {word} in {help}");
    }
}

#[test]
fn a_sound_configuration_is_summed_up() {
    let (code, summary, _) = run(&["check", "tests/config/full.toml"]);
    assert_eq!(code, Some(0));
    assert!(
        summary.contains("standalone with upstream, in front of sip:127.0.0.9:5070"),
        "{summary}"
    );
    assert!(
        summary.ends_with("tests/config/full.toml is fine\n"),
        "{summary}"
    );
}

#[test]
fn a_broken_configuration_is_one_line_and_exit_code_2() {
    for command in [&["check"][..], &["serve", "--config"]] {
        let file = "tests/config/broken/zero.toml";
        let (code, stdout, stderr) = run(&[command, &[file]].concat());
        let expected = format!("campon: {file}:3: limits.calls: must not be 0\n");
        assert_eq!((code, &*stdout, stderr), (Some(2), "", expected));
    }
}

#[test]
fn an_unknown_argument_is_exit_code_2() {
    assert_eq!(run(&["serve", "--fast"]).0, Some(2));
}

#[test]
fn an_address_that_is_taken_is_exit_code_1() {
    let _taken = UdpSocket::bind("127.81.1.1:5060").expect("our own address");
    let (code, _, stderr) = run(&["serve", "--listen", "127.81.1.1"]);
    assert_eq!(code, Some(1));
    let complaint = "campon: cannot listen on 127.81.1.1:5060 by UDP: ";
    assert!(
        stderr.lines().any(|line| line.starts_with(complaint)),
        "{stderr}"
    );
}

/// The story: with such a configuration all prompts ended as they began, and nobody could join a call.
#[test]
fn sound_at_an_address_that_is_not_here_is_exit_code_1() {
    let file = sound_file("sound_elsewhere", "address", "203.0.113.9");
    let (code, _, stderr) = run(&["serve", "--listen", "127.81.12.1", "--config", &file]);
    assert_eq!(code, Some(1), "{stderr}");
    let complaint = "campon: cannot listen on 203.0.113.9:0 by UDP: ";
    assert!(
        stderr.lines().any(|line| line.starts_with(complaint)),
        "{stderr}"
    );
}

/// The story: `check` called a configuration fine that `serve` did not start with.
#[test]
fn recordings_that_cannot_be_played_are_exit_code_2_before_and_at_the_start() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no_sound");
    fs::create_dir_all(&folder).expect("cargo's folder for tests can be written");
    let mut silence = b"RIFF\xa4\x3e\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\
        \x02\0\x10\0data\x80\x3e\0\0"
        .to_vec();
    // A second of it.
    silence.resize(silence.len() + 16_000, 0);
    for (name, wav, why) in [
        ("warning.wav", silence, "the warning is shorter than 200 ms"),
        ("busy.wav", b"RIFF".to_vec(), "it is no WAV file"),
    ] {
        fs::write(folder.join(name), wav).expect("written");
        let voice = folder.to_str().expect("UTF-8");
        let file = sound_file("no_sound", "voice", voice);
        let complaint = format!("campon: {file}:3: media.voice: {name} cannot be played: {why}");
        for arguments in [
            &["check", &file][..],
            &["serve", "--listen", "127.81.12.1", "--config", &file],
        ] {
            let (code, _, stderr) = run(arguments);
            assert_eq!(code, Some(2), "{stderr}");
            assert!(stderr.starts_with(&complaint), "{stderr}");
        }
        fs::remove_file(folder.join(name)).expect("removed");
    }
}

/// A configuration with sound of which this is said.
fn sound_file(name: &str, key: &str, value: &str) -> String {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.toml"));
    let text = format!("[media]\nports = \"20000-20009\"\n{key} = \"{value}\"\n");
    fs::write(&file, text).expect("written");
    file.to_str().expect("UTF-8").to_owned()
}

#[test]
fn status_of_nobody_is_exit_code_1() {
    let (code, _, stderr) = run(&["status", "--api", "http://127.81.2.1:5080"]);
    assert_eq!(code, Some(1));
    assert!(
        stderr.starts_with("campon: no status from http://127.81.2.1:5080"),
        "{stderr}"
    );
}

/// The story: these were told as a campon that does not answer, or that has no such resource.
#[test]
fn what_cannot_be_asked_for_is_exit_code_2() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no_token");
    fs::write(&file, "two\nlines\n").expect("cargo's folder for tests can be written");
    let file = file.to_str().expect("UTF-8");
    for arguments in [
        &["status", "--api", "127.81.2.1:5080"][..],
        &["completions", "list", "--api", "https://127.81.2.1:5080"],
        &["completions", "list", "--token-file", file],
        &["completions", "show", ""],
        &["complete", ""],
    ] {
        let (code, _, stderr) = run(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("no answer"), "{stderr}");
    }
}

#[test]
fn the_status_is_a_document_and_tables() {
    let served = Served::start("127.81.3.1");
    let api = "http://127.81.3.1:5080";
    let (code, json, _) = run(&["status", "--json", "--api", api]);
    assert_eq!(code, Some(0));
    let status: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(status["state"], "running");
    assert_eq!(status["tables"]["calls"]["entries"], 0);
    assert_eq!(status["tables"]["connections"]["entries"], 0);
    let (code, tables, _) = run(&["status", "--api", api]);
    assert_eq!(code, Some(0));
    assert!(
        tables.contains("table") && tables.contains("counter"),
        "{tables}"
    );
    served.signal("INT");
    assert_eq!(served.end(), Some(0));
}

#[test]
fn http_has_two_resources_and_says_so() {
    let served = Served::start("127.81.4.1");
    let ask = |request: &str| {
        let mut stream = TcpStream::connect("127.81.4.1:5080").expect("the API listens");
        let rest = "HTTP/1.1\r\nHost: campon\r\nConnection: close\r\n\r\n";
        stream
            .write_all(format!("{request} {rest}").as_bytes())
            .expect("open");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("UTF-8");
        answer
    };
    assert!(ask("GET /v1/status").starts_with("HTTP/1.1 200 "));
    let metrics = ask("GET /metrics");
    assert!(metrics.starts_with("HTTP/1.1 200 "), "{metrics}");
    assert!(
        metrics.contains("content-type: text/plain; version=0.0.4"),
        "{metrics}"
    );
    for (request, status) in [
        ("GET /", "404"),
        ("POST /v1/status", "405"),
        ("POST /metrics", "405"),
    ] {
        let answer = ask(request);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(
            answer.contains("content-type: application/problem+json"),
            "{answer}"
        );
    }
    served.signal("TERM");
    assert_eq!(served.end(), Some(0));
}

#[test]
fn the_first_line_says_mode_and_addresses() {
    let mut command = campon(&["serve", "--listen", "127.81.5.1"]);
    let mut process = command
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut log = BufReader::new(process.stderr.take().expect("a pipe"));
    let mut first = String::new();
    log.read_line(&mut first).expect("UTF-8");
    for word in ["standalone", "127.81.5.1:5060", "127.81.5.1:5080"] {
        assert!(first.contains(word), "no {word} in {first}");
    }
    let mut served = Served { process, log };
    served.read_until("campon is ready");
    served.signal("INT");
    let last = served.read_until("campon has stopped");
    assert!(
        last.contains("owed=0") && last.contains("calls 0"),
        "{last}"
    );
    assert_eq!(served.end(), Some(0));
}

#[test]
fn one_port_answers_over_udp_and_over_tcp() {
    let ip = "127.81.9.1";
    let served = Served::start(ip);
    let options = message(&format!("OPTIONS sip:{ip}"), ip, "OPTIONS", "");
    let mut answer = [0; 2000];
    let udp = UdpSocket::bind((ip, 5070)).expect("our own address");
    udp.send_to(options.as_bytes(), (ip, 5060)).expect("sent");
    let length = udp.recv(&mut answer).expect("an answer");
    // S-23
    assert!(answer[..length].starts_with(b"SIP/2.0 200 "));
    let mut tcp = TcpStream::connect((ip, 5060)).expect("campon listens");
    let options = options.replace("/UDP ", "/TCP ");
    tcp.write_all(options.as_bytes()).expect("sent");
    tcp.read_exact(&mut answer[..12]).expect("an answer");
    // S-23
    assert!(answer.starts_with(b"SIP/2.0 200 "));
    served.signal("TERM");
    assert_eq!(served.end(), Some(0));
}

#[test]
fn the_first_signal_waits_for_a_call_and_the_second_does_not() {
    let ip = "127.81.6.1";
    let mut served = Served::start(ip);
    let phone = UdpSocket::bind((ip, 5070)).expect("our own address");
    let mut answer = [0; 4096];
    let mut exchange = |start: &str, cseq: &str, more: &str| {
        let request = message(start, ip, cseq, more);
        phone
            .send_to(request.as_bytes(), (ip, 5060))
            .expect("loopback");
        let (length, _) = phone.recv_from(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    let registered = exchange(&format!("REGISTER sip:{ip}"), "REGISTER", "Expires: 60\r\n");
    assert!(registered.starts_with("SIP/2.0 200 "), "{registered}");
    let invited = exchange(&format!("INVITE sip:bob@{ip}"), "INVITE", "");
    assert!(
        invited.starts_with("SIP/2.0 100 ") || invited.starts_with("INVITE "),
        "{invited}"
    );

    served.signal("INT");
    served.read_until("a second signal hangs up");
    let (_, json, _) = run(&["status", "--json", "--api", "http://127.81.6.1:5080"]);
    let status: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(status["state"], "draining");
    assert_eq!(status["tables"]["calls"]["entries"], 1);

    served.signal("TERM");
    served.read_until("campon has stopped");
    assert_eq!(served.end(), Some(1));
}

#[test]
fn one_port_serves_udp_and_tcp() {
    let ip = "127.81.8.1";
    let served = Served::start(ip);
    let options = message(&format!("OPTIONS sip:{ip}"), ip, "OPTIONS", "");
    let mut answer = [0; 4096];
    // S-23
    let phone = UdpSocket::bind((ip, 5070)).expect("our own address");
    phone
        .send_to(options.as_bytes(), (ip, 5060))
        .expect("loopback");
    let (length, _) = phone.recv_from(&mut answer).expect("an answer");
    assert!(answer[..length].starts_with(b"SIP/2.0 200 "));
    let mut stream = TcpStream::connect((ip, 5060)).expect("TCP is listened on");
    stream
        .write_all(options.replace("/UDP", "/TCP").as_bytes())
        .expect("open");
    let length = stream.read(&mut answer).expect("an answer");
    assert!(answer[..length].starts_with(b"SIP/2.0 200 "));
    served.signal("INT");
    assert_eq!(served.end(), Some(0));
}

/// What systemd hears from start to stop.
#[test]
fn systemd_is_told_of_start_reload_life_and_stop() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("serve-systemd");
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).expect("cargo's folder for tests can be written");
    let (path, file) = (folder.join("notify"), folder.join("campon.toml"));
    fs::write(&file, "").expect("a file");
    let systemd = UnixDatagram::bind(&path).expect("a socket of our own");
    let patience = Some(Duration::from_secs(20));
    systemd.set_read_timeout(patience).expect("a timeout");
    // What it hears up to and with this, in few datagrams; `STATUS=` is for people.
    let hears = |awaited: &str| {
        let mut heard = Vec::new();
        let mut datagram = [0; 1024];
        for _ in 0..100 {
            let length = systemd.recv(&mut datagram).expect(awaited);
            let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
            let lines = text.lines().filter(|line| !line.starts_with("STATUS="));
            heard.extend(lines.map(str::to_owned));
            if heard.iter().any(|line| line == awaited) {
                return heard;
            }
        }
        panic!("no {awaited} in {heard:?}");
    };
    let file = file.to_string_lossy().into_owned();
    let mut command = campon(&["serve", "--listen", "127.81.10.1", "--config", &file]);
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "300000");
    let mut served = Served::spawn(&mut command);
    hears("READY=1");
    hears("WATCHDOG=1");
    served.read_until("campon is ready");
    served.signal("HUP");
    let reload = hears("RELOADING=1");
    assert!(!reload.contains(&"READY=1".to_owned()), "{reload:?}");
    // systemd.service(5), Type=notify-reload: with the time of the monotonic clock.
    let has_time = reload
        .iter()
        .any(|line| line.starts_with("MONOTONIC_USEC="));
    assert!(has_time, "{reload:?}");
    hears("READY=1");
    served.signal("TERM");
    hears("STOPPING=1");
    assert_eq!(served.end(), Some(0));
}

/// What waits in the kernel of a campon before us must not keep us from its port.
#[test]
fn campon_starts_again_where_it_stopped() {
    for _ in 0..2 {
        let served = Served::start("127.81.7.1");
        let mut stream = TcpStream::connect("127.81.7.1:5060").expect("TCP is listened on");
        served.signal("INT");
        assert_eq!(served.end(), Some(0));
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("an orderly end");
    }
    TcpListener::bind("127.81.7.1:5060").expect("nobody listens any more");
}

/// A PBX and a phone, with a campon in edge mode between them.
struct Office {
    pbx: UdpSocket,
    phone: UdpSocket,
}

impl Office {
    fn open() -> Self {
        let bind = |address: &str| {
            let socket = UdpSocket::bind(address).expect("an address of our own");
            let patience = Some(Duration::from_secs(30));
            socket.set_read_timeout(patience).expect("a timeout");
            socket
        };
        Self {
            pbx: bind("127.81.11.2:5060"),
            phone: bind("127.81.11.3:5060"),
        }
    }

    /// The next message that begins so.
    fn hear(socket: &UdpSocket, start: &str) -> String {
        let mut bytes = [0; 4096];
        loop {
            let (length, _) = socket.recv_from(&mut bytes).expect("a message in time");
            let bytes = bytes.get(..length).unwrap_or_default();
            let text = String::from_utf8_lossy(bytes).into_owned();
            if text.starts_with(start) {
                return text;
            }
        }
    }

    fn send(socket: &UdpSocket, text: &str) {
        let sent = socket.send_to(text.as_bytes(), "127.81.11.1:5060");
        sent.expect("loopback");
    }

    /// The phone registers; the URI that the PBX is to keep.
    fn register(&self) -> String {
        Self::send(
            &self.phone,
            "REGISTER sip:pbx.example SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.81.11.3;branch=z9hG4bKreg\r\n\
             From: <sip:alice@pbx.example>;tag=1\r\n\
             To: <sip:alice@pbx.example>\r\n\
             Call-ID: reg\r\n\
             CSeq: 1 REGISTER\r\n\
             Contact: <sip:alice@127.81.11.3>;expires=600\r\n\
             Content-Length: 0\r\n\r\n",
        );
        let at_pbx = Self::hear(&self.pbx, "REGISTER ");
        let kept = ["Via:", "From:", "To:", "Call-ID:", "CSeq:", "Contact:"];
        let is_kept = |line: &&str| kept.iter().any(|name| line.starts_with(name));
        let lines: Vec<_> = at_pbx.lines().filter(is_kept).collect();
        let fields = lines.join("\r\n");
        let granted = format!("SIP/2.0 200 OK\r\n{fields}\r\nContent-Length: 0\r\n\r\n");
        Self::send(&self.pbx, &granted);
        Self::hear(&self.phone, "SIP/2.0 200 ");
        let contact = lines.iter().find(|line| line.starts_with("Contact:"));
        let uri = contact.and_then(|line| line.split(['<', '>']).nth(1));
        uri.expect("a Contact").to_owned()
    }

    /// What the PBX hears when it asks whether a phone is there.
    fn options(&self, alias: &str, call_id: &str) -> String {
        let options = format!(
            "OPTIONS {alias} SIP/2.0\r\n\
             Via: SIP/2.0/UDP 127.81.11.2;branch=z9hG4bK{call_id}\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:pbx.example>;tag=1\r\n\
             To: <{alias}>\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: 1 OPTIONS\r\n\
             Content-Length: 0\r\n\r\n"
        );
        Self::send(&self.pbx, &options);
        let answer = Self::hear(&self.pbx, "SIP/2.0 ");
        answer.lines().next().unwrap_or_default().to_owned()
    }
}

/// R12: the PBX finds the phone under the same alias, before it has registered again.
#[test]
fn a_registration_outlives_its_campon() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("registrations");
    let _absent_at_first = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("cargo's folder for tests can be written");
    let (file, store) = (folder.join("campon.toml"), folder.join("registrations"));
    let text = format!(
        "mode = \"edge\"\nupstream = \"sip:127.81.11.2\"\n\
         listener = [{{ address = \"127.81.11.1:5060\" }}]\n\
         store.path = \"{}\"\nedge.keep_alive = \"off\"\noverload.delay_target_ms = 60000\n",
        store.display()
    );
    fs::write(&file, text).expect("written");
    let file = file.to_str().expect("UTF-8");
    let start = || {
        let mut served = Served::spawn(&mut campon(&["serve", "--config", file]));
        served.read_until("campon is ready");
        served
    };
    let office = Office::open();
    let served = start();
    let alias = office.register();
    assert_eq!(office.options(&alias, "before"), "SIP/2.0 200 OK");
    served.signal("TERM");
    assert_eq!(served.end(), Some(0));

    let served = start();
    assert_eq!(office.options(&alias, "after"), "SIP/2.0 200 OK");
    let unknown = "sip:reg-000000000000000000000000@127.81.11.1";
    assert_eq!(office.options(unknown, "unknown"), "SIP/2.0 404 Not Found");
    drop(served);
}

/// How many connections to the API there may be, and for how long without a request, is configured.
#[test]
fn connections_to_the_api_are_bounded_as_configured() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let config = folder.join("few-connections.toml");
    fs::write(
        &config,
        "[api]\nconnections_max = 1\nidle_max = \"100ms\"\n",
    )
    .expect("a file");
    let path = config.to_str().expect("UTF-8");
    let mut served = Served::spawn(&mut campon(&[
        "serve",
        "--listen",
        "127.81.17.1",
        "--config",
        path,
    ]));
    served.read_until("campon is ready");
    let open = |request: &str| {
        let mut stream = TcpStream::connect("127.81.17.1:5080").expect("the API listens");
        stream.write_all(request.as_bytes()).expect("open");
        stream
    };
    let events = "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // Whoever looked whether it is ready has had the place.
    let reader = loop {
        let mut reader = open(events);
        let mut start = [0; 12];
        reader.read_exact(&mut start).expect("an answer");
        if &start == b"HTTP/1.1 200" {
            break reader;
        }
    };
    let mut answer = String::new();
    open(events).read_to_string(&mut answer).expect("UTF-8");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    drop(reader);
    // The next one that is let in is closed, for it says nothing.
    loop {
        let mut answer = String::new();
        open("").read_to_string(&mut answer).expect("UTF-8");
        if !answer.starts_with("HTTP/1.1 503 ") {
            break;
        }
    }
    let status = loop {
        let api = "http://127.81.17.1:5080";
        if let (Some(0), json, _) = run(&["status", "--json", "--api", api]) {
            break serde_json::from_str::<Value>(&json).expect("JSON");
        }
    };
    let counters = &status["counters"];
    assert_eq!(counters["api_connections_idle"], 1, "{counters}");
    assert!(counters["api_connections_refused"].as_u64() >= Some(1));
    served.signal("TERM");
    assert_eq!(served.end(), Some(0));
}
