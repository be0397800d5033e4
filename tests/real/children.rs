//! Processes that a test started: ended by their own pid, and always ended.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::process::wait_for;

/// How long a process may take to end by itself when it is asked to.
const END_MAX: Duration = Duration::from_secs(5);

/// A child that does not outlive its owner.
pub struct Running {
    child: Child,
    name: String,
}

impl Running {
    /// Starts a program whose output goes to a file; its Debian package is named if it is missing.
    pub fn start(mut command: Command, package: &str, log: &Path) -> Self {
        let out = File::create(log).expect("a log in the target folder");
        let err = out.try_clone().expect("a second handle of the log");
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        Self::spawn(command, package)
    }

    /// The same with its streams as the caller has set them.
    pub fn spawn(mut command: Command, package: &str) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().unwrap_or_else(|error| {
            assert!(
                error.kind() != ErrorKind::NotFound,
                "{name} is not installed; on Debian: apt-get install {package}"
            );
            panic!("{name}: {error}")
        });
        Self { child, name }
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of a child of ours")
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "{name} to {}",
            self.name
        );
    }

    /// Asks it to end; whoever does not is killed.
    pub fn end(&mut self, signal: &str) {
        if self.ended().is_none() {
            self.signal(signal);
            wait_for(END_MAX, || self.ended());
        }
        self.kill();
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            let _gone_meanwhile = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a command to its end and gives what it printed.
pub fn output_of(command: &mut Command, package: &str) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}; is {package} there?"));
    let (text, error) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{command:?}: {text}{error}");
    text
}

/// A program, to be started in a network namespace if one is named.
pub fn command_in(netns: Option<&str>, program: &str) -> Command {
    let Some(netns) = netns else {
        return Command::new(program);
    };
    let mut command = Command::new("ip");
    command.args(["netns", "exec", netns, program]);
    command
}
