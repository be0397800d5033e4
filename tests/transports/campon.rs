//! A serving campon on a network of a test's own.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything that is awaited may take on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How often something outside is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(10);

pub struct Campon {
    process: Child,
    pub folder: PathBuf,
    network: [u8; 3],
}

/// Looks until `found` gives something.
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "{what} did not come");
        sleep(LOOK_EVERY);
    }
}

/// An empty folder for the files of a test.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("transports")
        .join(name);
    // What an earlier run left would be read as this run's.
    let _absent_at_first = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("cargo's folder for tests can be written");
    folder
}

impl Campon {
    /// Starts campon with a configuration in which `NET` stands for the network, `127.a.b`.
    pub fn start(folder: &Path, network: [u8; 3], config: &str) -> Self {
        // However slow the machine is, nothing is refused for it.
        let config = format!("{config}\n[overload]\ndelay_target_ms = 60000\n");
        Self::start_as_written(folder, network, &config)
    }

    /// The same with nothing added.
    pub fn start_as_written(folder: &Path, network: [u8; 3], config: &str) -> Self {
        let [a, b, c] = network;
        let config = config.replace("NET", &format!("{a}.{b}.{c}"));
        let file = folder.join("campon.toml");
        fs::write(&file, &config).expect("a file");
        let log = File::create(folder.join("campon.log")).expect("a file");
        let process = Command::new(env!("CARGO_BIN_EXE_campon"))
            .args(["serve", "--config"])
            .arg(&file)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let mut campon = Self {
            process: process.expect("the binary runs"),
            folder: folder.to_owned(),
            network,
        };
        wait_for("readiness", || {
            let ended = campon.process.try_wait().expect("a child of ours");
            assert!(ended.is_none(), "campon ended: {}", campon.log());
            campon.log().contains("campon is ready").then_some(())
        });
        campon
    }

    /// An address of the network; campon's own ends in 1.
    pub fn ip(&self, last: u8) -> IpAddr {
        let [a, b, c] = self.network;
        Ipv4Addr::new(a, b, c, last).into()
    }

    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(1), port)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("campon.log")).unwrap_or_default()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// A counter of the status.
    pub fn count(&self, name: &str) -> u64 {
        let status = self.status();
        let count = status["counters"][name].as_u64();
        count.unwrap_or_else(|| panic!("no counter {name} in {status}"))
    }

    /// How many entries a table of the status has.
    pub fn table(&self, name: &str) -> u64 {
        let status = self.status();
        let entries = status["tables"][name]["entries"].as_u64();
        entries.unwrap_or_else(|| panic!("no table {name} in {status}"))
    }

    pub fn status(&self) -> Value {
        self.status_with(&[])
    }

    /// The status that `campon status` tells with these arguments.
    pub fn status_with(&self, arguments: &[&str]) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_campon"));
        let api = format!("http://{}:5080", self.ip(1));
        command.args(["status", "--json", "--api", &api]);
        command.args(arguments);
        let output = command.output().expect("the binary runs");
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }
}

impl Campon {
    /// Waits for the end, and gives the exit code.
    pub fn end(mut self) -> Option<i32> {
        let ended = wait_for("the end", || {
            self.process.try_wait().expect("a child of ours")
        });
        ended.code()
    }
}

impl Drop for Campon {
    fn drop(&mut self) {
        let _gone_meanwhile = self.process.kill();
        let _reaped = self.process.wait();
    }
}
