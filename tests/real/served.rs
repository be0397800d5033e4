//! campon, started where no socket of the test's can reach it: it is ready when its log says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::children::{Running, command_in};
use crate::process::{binary, wait_for};

const START_MAX: Duration = Duration::from_secs(20);
const STOP_MAX: Duration = Duration::from_secs(20);

pub struct Served {
    process: Running,
    log: PathBuf,
}

impl Served {
    /// Starts it with this configuration, listeners and all.
    pub fn start(folder: &Path, netns: Option<&str>, config: &str) -> Self {
        let file = folder.join("campon.toml");
        fs::write(&file, config).expect("a file in the target folder");
        let mut command = command_in(netns, &binary().to_string_lossy());
        command
            .current_dir(folder)
            .args(["serve", "--config"])
            .arg(file);
        let log = folder.join("campon.log");
        let process = Running::start(command, "campon itself", &log);
        let mut served = Self { process, log };
        let ready = wait_for(START_MAX, || {
            assert!(
                served.process.ended().is_none(),
                "campon ended: {}",
                served.log()
            );
            served.log().contains("campon is ready").then_some(())
        });
        assert!(ready.is_some(), "campon is not ready: {}", served.log());
        served
    }

    pub fn log(&self) -> String {
        let raw = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&raw).into_owned()
    }

    /// Sends SIGINT, once, and demands a clean end.
    pub fn stop(mut self) {
        self.process.signal("INT");
        let ended = wait_for(STOP_MAX, || self.process.ended());
        let code = ended.and_then(|status| status.code());
        assert_eq!(code, Some(0), "campon left something: {}", self.log());
    }
}
