//! Kamailio as a PBX: digest users, its own location, TLS if wanted.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::children::{Running, output_of};
use super::shared;
use crate::process::wait_for;

const START_MAX: Duration = Duration::from_secs(20);

pub struct Kamailio {
    process: Option<Running>,
    address: SocketAddr,
    folder: PathBuf,
    starts: u32,
}

impl Kamailio {
    /// Starts it with `pbx.cfg` on port 5060 of this address and waits until it answers.
    pub fn start(folder: &Path, ip: IpAddr) -> Self {
        let folder = folder.join(format!("kamailio-{ip}"));
        fs::create_dir_all(&folder).expect("a folder in the target folder");
        let mut kamailio = Self {
            process: None,
            address: SocketAddr::new(ip, 5060),
            folder,
            starts: 0,
        };
        kamailio.start_again();
        kamailio
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts it once more; of its registrations nothing is left.
    pub fn start_again(&mut self) {
        self.starts += 1;
        let folder = self.folder.display().to_string();
        let mut command = Command::new("kamailio");
        // In the foreground, so that its pid is ours.
        command.args(["-DD", "-E", "-m", "64", "-M", "8"]);
        command.arg("-f").arg(shared("kamailio/pbx.cfg"));
        command.args(["-P", &format!("{folder}/kam.pid"), "-Y", &folder]);
        let port = self.address.port().to_string();
        let names = [
            ("PBX_IP", self.address.ip().to_string()),
            ("PBX_PORT", port),
            ("RUN_DIR", folder.clone()),
        ];
        for (name, value) in names {
            command.args(["--substdef", &format!("!{name}!{value}!g")]);
        }
        let log = self.folder.join(format!("log-{}", self.starts));
        let mut process = Running::start(command, "kamailio kamailio-tls-modules", &log);
        let answers = wait_for(START_MAX, || {
            let said = fs::read_to_string(&log).unwrap_or_default();
            assert!(process.ended().is_none(), "kamailio ended: {said}");
            self.answers()
        });
        assert!(answers.is_some(), "kamailio is silent");
        self.process = Some(process);
    }

    /// Ends it without a word to anybody: its children go with it.
    pub fn kill(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        // Its main process takes all others with it on SIGTERM, and tells no phone.
        process.end("TERM");
        let gone = wait_for(START_MAX, || UdpSocket::bind(self.address).ok().map(drop));
        assert!(gone.is_some(), "kamailio still holds {}", self.address);
    }

    fn answers(&self) -> Option<()> {
        let socket = UdpSocket::bind(SocketAddr::new(self.address.ip(), 0)).ok()?;
        let (own, to) = (socket.local_addr().ok()?, self.address);
        let port = own.port();
        let request = format!(
            "OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK-ready-{port}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:ready@{own}>;tag={port}\r\nTo: <sip:{to}>\r\n\
             Call-ID: ready-{port}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        socket.send_to(request.as_bytes(), to).ok()?;
        let patience = Some(Duration::from_millis(200));
        socket.set_read_timeout(patience).expect("a timeout");
        let mut answer = [0; 2000];
        let length = socket.recv(&mut answer).ok()?;
        answer
            .get(..length)?
            .starts_with(b"SIP/2.0 200")
            .then_some(())
    }

    /// The contacts of a user, as its own location has them.
    pub fn contacts(&self, user: &str) -> Vec<String> {
        let socket = format!("unix:{}/kam.ctl", self.folder.display());
        let mut command = Command::new("kamcmd");
        command.args(["-s", &socket, "ul.dump"]);
        let dump = output_of(&mut command, "kamailio");
        let records = dump.split("AoR:").skip(1);
        let of_user = records.filter(|record| record.trim_start().starts_with(user));
        let lines = of_user.flat_map(str::lines);
        let addresses = lines.filter_map(|line| line.trim().strip_prefix("Address: "));
        addresses.map(str::to_owned).collect()
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.end("TERM");
        }
    }
}
