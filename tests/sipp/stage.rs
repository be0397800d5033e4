//! A stage: addresses of its own, a campon, and the phones that play on it.

use std::cell::Cell;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bridge::Bridge;
use serde_json::Value;

use crate::player::{Crowd, Player, finish};
use crate::process::{Campon, Meanwhile, Pace, Script, Turn, wait_for};
use crate::scenarios;
use crate::trace::Trace;

/// How long campon may take to have done what it was told.
const DONE_MAX: Duration = Duration::from_secs(10);

/// How long a connection may last on which a message is begun and not ended: 10 s.
const CLOSED_MAX: Duration = Duration::from_mins(1);

/// How long the last timer of a call takes: 32 s (RFC 3261 timers D, H and J, RFC 6026 L and M).
const TIMERS_MAX: Duration = Duration::from_secs(40);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    Tcp,
    Udp,
}

/// Who plays; each has an address on the stage.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phone {
    Alice,
    /// The same user at another phone.
    AliceAtHome,
    Bob,
    Carol,
    Dave,
    Eve,
}

impl Phone {
    /// The user part of its address: `[user]` in the scenarios.
    pub fn user(self) -> &'static str {
        match self {
            Self::Alice | Self::AliceAtHome => "alice",
            Self::Bob => "bob",
            Self::Carol => "carol",
            Self::Dave => "dave",
            Self::Eve => "eve",
        }
    }

    /// How far its address is from campon's.
    fn place(self) -> u8 {
        match self {
            Self::Bob => 1,
            Self::Alice => 2,
            Self::AliceAtHome => 3,
            Self::Carol => 4,
            Self::Dave => 5,
            Self::Eve => 6,
        }
    }
}

pub struct Stage {
    folder: PathBuf,
    address: SocketAddr,
    /// How URIs name campon.
    domain: String,
    campon: Campon,
    /// How many processes have played: numbers their folders.
    played: Cell<u32>,
    _turn: Turn,
}

impl Stage {
    /// Waits for a turn, then starts campon on an address that belongs to this name.
    pub fn open(name: &str) -> Self {
        let address = SocketAddr::new(network(name).into(), 5060);
        Self::open_at(name, address, address.ip().to_string(), None)
    }

    /// The same with a configuration.
    pub fn open_with(name: &str, config: &str) -> Self {
        let address = SocketAddr::new(network(name).into(), 5060);
        Self::open_at(name, address, address.ip().to_string(), Some(config))
    }

    /// The same on `::1`, where ports tell the parties apart.
    pub fn open_ipv6(name: &str) -> Self {
        Self::open_at_ipv6(name, None)
    }

    /// The same with a configuration.
    pub fn open_ipv6_with(name: &str, config: &str) -> Self {
        Self::open_at_ipv6(name, Some(config))
    }

    fn open_at_ipv6(name: &str, config: Option<&str>) -> Self {
        let [_, _, high, low] = hash(name).to_be_bytes();
        let port = 20_000 + u16::from_be_bytes([high, low]) % 10_000;
        let address = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port);
        Self::open_at(name, address, address.to_string(), config)
    }

    fn open_at(name: &str, address: SocketAddr, domain: String, config: Option<&str>) -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sipp");
        let folder = target.join(name);
        let turn = fs::create_dir_all(&target).map(|()| Turn::take(&target, address));
        let turn = turn.expect("cargo's folder for tests can be written");
        // What an earlier run left would be read as this run's.
        let _absent_at_first = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("cargo's folder for tests can be written");
        let campon = Campon::start(address, &folder, config);
        Self {
            folder,
            address,
            domain,
            campon,
            played: Cell::new(0),
            _turn: turn,
        }
    }

    /// Plays a flow of one phone.
    pub fn play(&self, scenario: &str, phone: Phone, transport: Transport) -> Trace {
        self.start(scenario, phone, transport).finish()
    }

    /// Registers these phones; what they do next comes from the same addresses.
    pub fn register(&self, phones: &[Phone]) {
        for phone in phones {
            self.play("registration.phone", *phone, Transport::Udp);
        }
    }

    /// Plays a call: Bob registers and leaves, Bob comes back and waits, Alice calls.
    pub fn play_call(&self, flow: &str, transport: Transport) -> Bridge {
        self.play("registration.phone", Phone::Bob, transport);
        let mut callee = self.start(&format!("{flow}.callee"), Phone::Bob, transport);
        callee.wait_until_listening();
        let caller = self.start(&format!("{flow}.caller"), Phone::Alice, transport);
        Bridge::of(finish(vec![caller, callee]))
    }

    /// Plays a call to a phone that stays on the connection with which it registered.
    pub fn play_call_on_kept_connection(&self, flow: &str) -> Bridge {
        let mut script = self.script(&format!("{flow}.line"), Phone::Bob, Transport::Tcp);
        script.meanwhile = Some(Meanwhile {
            scenario: scenarios::path(&format!("{flow}.callee")),
            calls: 1,
        });
        let mut line = Player::start(&script);
        line.wait_until_heard("200 REGISTER", 1);
        let caller = self.start(&format!("{flow}.caller"), Phone::Alice, Transport::Tcp);
        let caller = caller.finish();
        // The caller ends with a silence in which it hears nothing, so all has been said.
        Bridge::new(caller, line.hang_up())
    }

    /// Demands that no call is left, stops campon by SIGINT, and demands the same of its last line.
    pub fn close(self) {
        let held = self.campon.held();
        let is_of_calls = |name: &str| ["calls", "users_engaged"].contains(&name);
        let calls: Vec<_> = held.iter().filter(|(name, _)| is_of_calls(name)).collect();
        assert_eq!(calls.len(), 2, "no table of calls in {held:?}");
        assert!(calls.iter().all(|(_, entries)| *entries == 0), "{held:?}");
        let log = self.campon.stop();
        let last = last_line(&log);
        for nothing in ["owed=0", "calls 0", "users_engaged 0"] {
            assert!(last.contains(nothing), "not {nothing}: {last}");
        }
    }

    /// The same, and demands that nobody waits for anybody, and these counts of requests for
    /// completion by what became of them: all others are 0.
    pub fn close_served(self, counts: &[(&str, u64)]) {
        let held = self.campon.held();
        for table in ["completions", "subscriptions"] {
            assert!(held.contains(&(table.to_owned(), 0)), "{held:?}");
        }
        let mut counted = self.campon.counted();
        counted.retain(|(name, count)| name.starts_with("completions_") && *count > 0);
        let mut expected: Vec<_> = counts.to_vec();
        expected.sort_unstable();
        let counted: Vec<_> = counted
            .iter()
            .map(|(name, n)| (name.as_str(), *n))
            .collect();
        assert_eq!(counted, expected);
        self.close();
    }

    /// The same after one request that was recalled once and completed.
    pub fn close_completed(self) {
        self.close_served(&[
            ("completions_accepted", 1),
            ("completions_completed", 1),
            ("completions_recalled", 1),
        ]);
    }

    /// The same when all timers have run out: then every table is empty.
    pub fn close_empty(self) {
        let is_empty = || {
            let held = self.campon.held();
            held.iter().all(|(_, entries)| *entries == 0).then_some(())
        };
        let emptied = wait_for(TIMERS_MAX, is_empty);
        assert!(emptied.is_some(), "still held: {:?}", self.campon.held());
        let log = self.campon.stop();
        let last = last_line(&log);
        let (_, tables) = last.split_once("left=").unwrap_or_default();
        let tables: Vec<_> = tables.trim_matches('"').split(", ").collect();
        let is_empty = |table: &&str| table.ends_with(" 0");
        assert!(tables.len() > 2 && tables.iter().all(is_empty), "{last}");
    }

    /// Starts a phone that plays its scenario so many times, so many times a second.
    pub fn crowd(&self, scenario: &str, phone: Phone, calls: u32, a_second: u32) -> Crowd {
        let mut script = self.script(scenario, phone, Transport::Udp);
        script.pace = Some(Pace { calls, a_second });
        Crowd::start(&script)
    }

    /// Puts this in the place of the configuration, as an editor does: whole, or not at all.
    pub fn write_config(&self, text: &str) {
        let (file, next) = (self.file("campon.toml"), self.file("campon.toml.next"));
        fs::write(&next, text).expect("a file in the target folder");
        fs::rename(&next, &file).expect("a file in the target folder");
    }

    /// Has campon read another configuration: what `campon status` says of it.
    pub fn reload(&self, text: &str) -> Value {
        let before = self.status_of("reload");
        self.write_config(text);
        self.signal("HUP");
        let reloaded = wait_for(DONE_MAX, || {
            let reload = self.status_of("reload");
            (reload != before).then_some(reload)
        });
        reloaded.expect("another reload")
    }

    /// Asks campon to stop when the last call has ended, and waits until it knows.
    pub fn drain(&self) {
        self.signal("TERM");
        let is_draining = || (self.status_of("state") == "draining").then_some(());
        assert!(wait_for(DONE_MAX, is_draining).is_some(), "it goes on");
    }

    /// Waits until campon has counted so many.
    pub fn wait_until_counted(&self, name: &str, count: u64) {
        let counted = wait_for(DONE_MAX, || (self.count(name) >= count).then_some(()));
        assert!(counted.is_some(), "{:?}", self.counted());
    }

    /// What campon has counted.
    pub fn counted(&self) -> Vec<(String, u64)> {
        self.campon.counted()
    }

    /// How many entries a table has.
    pub fn held(&self, table: &str) -> u64 {
        let held = self.campon.held();
        let found = held.iter().find(|(name, _)| name == table);
        found.unwrap_or_else(|| panic!("no {table} in {held:?}")).1
    }

    /// The document of `campon status --json`.
    pub fn status(&self) -> Value {
        self.campon.status()
    }

    /// One part of it.
    pub fn status_of(&self, part: &str) -> Value {
        self.status().get(part).cloned().unwrap_or_default()
    }

    /// Sends campon a signal.
    pub fn signal(&self, name: &str) {
        self.campon.signal(name);
    }

    /// A file where campon runs.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The body of what the API answers to GET, which must be 200.
    pub fn fetch(&self, path: &str) -> String {
        let api = SocketAddr::new(self.address.ip(), 5080);
        let mut stream = TcpStream::connect(api).expect("the API listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: campon\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("open");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        body.to_owned()
    }

    /// Stops campon, and gives what it said on the standard error.
    pub fn stop(self) -> String {
        self.campon.stop()
    }

    /// Waits for the end of a campon that was told to stop when the last call has ended.
    pub fn close_drained(self) {
        let log = self.campon.join();
        let last = last_line(&log);
        for nothing in ["owed=0", "calls 0", "users_engaged 0"] {
            assert!(last.contains(nothing), "not {nothing}: {last}");
        }
    }

    /// A counter of campon's.
    pub fn count(&self, name: &str) -> u64 {
        let counted = self.campon.counted();
        let found = counted.into_iter().find(|(its, _)| its == name);
        found.unwrap_or_else(|| panic!("no counter {name}")).1
    }

    /// How URIs name campon.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Starts a phone.
    pub fn start(&self, scenario: &str, phone: Phone, transport: Transport) -> Player {
        Player::start(&self.script(scenario, phone, transport))
    }

    /// What a phone is to do, its folder numbered in the order of play.
    pub fn script(&self, scenario: &str, phone: Phone, transport: Transport) -> Script {
        let number = self.played.get() + 1;
        self.played.set(number);
        Script {
            scenario: scenarios::path(scenario),
            meanwhile: None,
            local: self.address_of(phone),
            campon: self.address,
            keys: vec![
                ("domain", self.domain.clone()),
                ("user", phone.user().to_owned()),
            ],
            call_id: None,
            pace: None,
            transport: match transport {
                Transport::Tcp => "t1",
                Transport::Udp => "u1",
            },
            folder: self.folder.join(format!("{number}-{scenario}")),
        }
    }

    /// A connection of nobody's.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("campon listens");
        let timeout = Some(CLOSED_MAX);
        stream.set_read_timeout(timeout).expect("a socket option");
        stream
    }

    /// Where campon is.
    pub fn campon_address(&self) -> IpAddr {
        self.address.ip()
    }

    pub fn address_of(&self, phone: Phone) -> SocketAddr {
        let place = phone.place();
        match self.address.ip() {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                let ip = Ipv4Addr::new(a, b, c, d + place);
                SocketAddr::new(ip.into(), self.address.port())
            }
            IpAddr::V6(ip) => SocketAddr::new(ip.into(), self.address.port() + u16::from(place)),
        }
    }
}

/// The network of a stage: 127.a.b.0/24, with campon on 127.a.b.1.
pub fn network(name: &str) -> Ipv4Addr {
    let [_, _, a, b] = hash(name).to_be_bytes();
    // 127.0.*.* belongs to everybody.
    Ipv4Addr::new(127, a.max(1), b, 1)
}

/// FNV-1a: the same in every process, unlike std's hashers.
fn hash(name: &str) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
    name.bytes().fold(2_166_136_261, step)
}

/// What campon said when it stopped.
fn last_line(log: &str) -> &str {
    let mut lines = log.lines().rev();
    let last = lines.find(|line| line.contains("campon has stopped"));
    last.unwrap_or_else(|| panic!("no stop line: {log}"))
}

#[test]
fn every_stage_has_a_network_of_its_own() {
    let source = concat!(
        include_str!("../sipp.rs"),
        include_str!("calls.rs"),
        include_str!("campons.rs"),
        include_str!("edge.rs"),
        include_str!("keys.rs"),
        include_str!("mixing.rs"),
        include_str!("messages.rs"),
        include_str!("operator.rs"),
        include_str!("peers.rs"),
        include_str!("recalls.rs"),
        include_str!("relayed.rs"),
        include_str!("tour.rs"),
        include_str!("ways.rs"),
        include_str!("servers.rs")
    );
    let opened = [
        "open(\"",
        "open_with(\"",
        "open_before_pbx(\"",
        "open_for_intrusion(\"",
        "open_at_office(\"",
    ];
    let opened = opened.iter().flat_map(|open| source.split(open).skip(1));
    let names = opened.filter_map(|rest| rest.split('"').next());
    let mut networks: Vec<_> = names.map(network).collect();
    let stages = networks.len();
    assert!(stages > 1, "no stages found");
    networks.sort();
    networks.dedup();
    assert_eq!(networks.len(), stages, "two stages share addresses");
}
