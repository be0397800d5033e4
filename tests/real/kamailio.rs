//! Kamailio as a PBX: digest users, its own location, TLS if wanted.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::children::{Running, command_in, output_of};
use super::shared;
use crate::process::wait_for;

/// What has to be installed.
const PACKAGES: &str = "kamailio kamailio-tls-modules kamailio-presence-modules";

/// Where Debian has its modules, on this machine's architecture.
const MODULES: &str = "/usr/lib/x86_64-linux-gnu/kamailio/modules";

const START_MAX: Duration = Duration::from_secs(20);

pub struct Kamailio {
    process: Option<Running>,
    address: SocketAddr,
    folder: PathBuf,
    starts: u32,
    netns: Option<String>,
    /// What it serves besides: `WITH_PRESENCE`.
    serves: Option<&'static str>,
    /// What it runs by.
    config: PathBuf,
}

impl Kamailio {
    /// Starts it with `pbx.cfg` on port 5060 of this address and waits until it answers.
    pub fn start(folder: &Path, ip: IpAddr, netns: Option<&str>) -> Self {
        let mut kamailio = Self::new(folder, ip);
        kamailio.netns = netns.map(str::to_owned);
        kamailio.start_again();
        kamailio
    }

    /// The same, which also tells who is there (RFC 3856).
    pub fn start_with_presence(folder: &Path, ip: IpAddr) -> Self {
        let mut kamailio = Self::new(folder, ip);
        kamailio.serves = Some("WITH_PRESENCE");
        let mut tables = Command::new("sh");
        let tables = tables.arg(shared("kamailio/mkdbtext.sh"));
        output_of(tables.arg(&kamailio.folder), "kamailio");
        kamailio.start_again();
        kamailio
    }

    /// The same, which also listens for TLS, on 5061: with `pbx.pem` and `pbx.key.pem` of the folder.
    pub fn start_with_tls(folder: &Path, ip: IpAddr) -> Self {
        let mut kamailio = Self::new(folder, ip);
        let (certificate, key) = (folder.join("pbx.pem"), folder.join("pbx.key.pem"));
        let plain = &kamailio.config;
        let config = format!(
            "#!KAMAILIO\nenable_tls=yes\nlisten=tls:{ip}:5061\nloadmodule \"{MODULES}/tls.so\"\n\
             modparam(\"tls\", \"tls_method\", \"TLSv1.2+\")\n\
             modparam(\"tls\", \"certificate\", \"{}\")\n\
             modparam(\"tls\", \"private_key\", \"{}\")\ninclude_file \"{}\"\n",
            certificate.display(),
            key.display(),
            plain.display()
        );
        let file = kamailio.folder.join("tls.cfg");
        fs::write(&file, config).expect("a file in the target folder");
        kamailio.config = file;
        kamailio.start_again();
        kamailio
    }

    /// The same, whose configuration is another one in these places, each of which is there once; and
    /// goes on with that.
    pub fn start_with(folder: &Path, ip: IpAddr, places: &[(&str, &str)], more: &str) -> Self {
        let mut kamailio = Self::new(folder, ip);
        let mut config = fs::read_to_string(&kamailio.config).expect("the configuration");
        for (before, after) in places {
            assert_eq!(config.matches(before).count(), 1, "{before}");
            config = config.replace(before, after);
        }
        let file = kamailio.folder.join("pbx.cfg");
        fs::write(&file, config + more).expect("a file in the target folder");
        kamailio.config = file;
        kamailio.start_again();
        kamailio
    }

    fn new(folder: &Path, ip: IpAddr) -> Self {
        let folder = folder.join(format!("kamailio-{ip}"));
        fs::create_dir_all(&folder).expect("a folder in the target folder");
        Self {
            process: None,
            address: SocketAddr::new(ip, 5060),
            folder,
            starts: 0,
            netns: None,
            serves: None,
            config: shared("kamailio/pbx.cfg"),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts it once more; of its registrations nothing is left.
    pub fn start_again(&mut self) {
        self.starts += 1;
        let folder = self.folder.display().to_string();
        let mut command = command_in(self.netns.as_deref(), "kamailio");
        // In the foreground, so that its pid is ours.
        command.args(["-DD", "-E", "-m", "64", "-M", "8"]);
        command.arg("-f").arg(&self.config);
        command.args(["-P", &format!("{folder}/kam.pid"), "-Y", &folder]);
        if let Some(serves) = self.serves {
            command.args(["-A", serves]);
        }
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
        let mut process = Running::start(command, PACKAGES, &log);
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

    /// Whether it takes orders: then it also listens.
    fn answers(&self) -> Option<()> {
        self.order("core.uptime")
            .output()
            .is_ok_and(|output| output.status.success())
            .then_some(())
    }

    fn order(&self, order: &str) -> Command {
        let socket = format!("unix:{}/kam.ctl", self.folder.display());
        let mut command = Command::new("kamcmd");
        command.args(["-s", &socket, order]);
        command
    }

    /// The contacts of a user, as its own location has them.
    pub fn contacts(&self, user: &str) -> Vec<String> {
        let dump = output_of(&mut self.order("ul.dump"), "kamailio");
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
