//! campon in front of the scripted PBX, and scripted phones that go through it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{Pbx, Phone, Switches};
use crate::process::{Campon, Turn, wait_for};

/// A machine with much else to do is no reason to refuse or to repeat anything.
const UNHURRIED: &str = "[overload]\ndelay_target_ms = 60000\n[timing]\nt1_ms = 4000\n";

pub struct Office {
    pub pbx: Pbx,
    /// There is none only while it is started anew.
    campon: Option<Campon>,
    folder: PathBuf,
    config: String,
    network: Ipv4Addr,
    _turn: Turn,
}

impl Office {
    /// Opens at the addresses 127.203.n.*: campon is 1, the PBX 2. The configuration comes before all
    /// tables.
    pub fn open(name: &str, number: u8, switches: Switches, config: &str) -> Self {
        Self::in_mode("edge", (name, number), switches, config)
    }

    /// The same in trunk mode; the carrier's place is 21.
    pub fn between_peers(name: &str, number: u8, switches: Switches) -> Self {
        let carrier = at(Ipv4Addr::new(127, 203, number, 0), 21);
        let config = format!("[[peer]]\nname = \"carrier\"\naddress = \"{carrier}\"\n");
        Self::in_mode("trunk", (name, number), switches, &config)
    }

    fn in_mode(mode: &str, (name, number): (&str, u8), switches: Switches, config: &str) -> Self {
        let network = Ipv4Addr::new(127, 203, number, 0);
        let at = |place| at(network, place);
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pbx");
        let folder = target.join(name);
        // What an earlier run stored would be this run's.
        let _absent_at_first = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("cargo's folder for tests can be written");
        let turn = Turn::take(&target, at(1));
        let pbx = Pbx::start(at(2), switches);
        let config = format!(
            "mode = \"{mode}\"\nupstream.address = \"sip:{}\"\ndomains = [\"pbx.test\"]\n{config}\n{UNHURRIED}",
            at(2)
        );
        let campon = Some(Campon::start(at(1), &folder, Some(&config)));
        Self {
            pbx,
            campon,
            folder,
            config,
            network,
            _turn: turn,
        }
    }

    pub fn campon(&self) -> &Campon {
        self.campon.as_ref().expect("campon runs")
    }

    /// Kills campon without a word, and starts it anew.
    pub fn crash(&mut self) {
        // Dropped, it is killed; its addresses are free when that returns.
        drop(self.campon.take());
        let campon = Campon::start(self.campon_at(), &self.folder, Some(&self.config));
        self.campon = Some(campon);
    }

    /// Waits until that file of campon's holds this.
    pub fn wait_until_stored(&self, file: &str, what: &str) {
        let stored = wait_for(Duration::from_secs(10), || {
            let raw = fs::read(self.folder.join(file)).unwrap_or_default();
            let mut windows = raw.windows(what.len());
            windows
                .any(|window| window == what.as_bytes())
                .then_some(())
        });
        assert!(stored.is_some(), "{file} never holds {what}");
    }

    /// The records of this type, if campon writes them to `records`.
    pub fn recorded(&self, kind: &str) -> Vec<Value> {
        let records = fs::read_to_string(self.folder.join("records")).unwrap_or_default();
        let records = records
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        records
            .filter(|record: &Value| record["type"] == kind)
            .collect()
    }

    /// A phone that is not registered yet.
    pub fn phone(&self, user: &str, place: u8) -> Phone {
        Phone::open(user, at(self.network, place), self.campon_at())
    }

    /// A phone that is registered with the PBX itself.
    pub fn phone_of_pbx(&self, user: &str, place: u8) -> Phone {
        let mut phone = Phone::open(user, at(self.network, place), self.pbx.address());
        phone.speak_directly();
        phone.register(300);
        phone
    }

    /// Alice's and Bob's, registered.
    pub fn alice_and_bob(&self) -> (Phone, Phone) {
        let (mut alice, mut bob) = (self.phone("alice", 11), self.phone("bob", 12));
        alice.register(300);
        bob.register(300);
        (alice, bob)
    }

    pub fn campon_at(&self) -> SocketAddr {
        at(self.network, 1)
    }

    /// Demands that nobody complains and that campon has no call left.
    pub fn close<const N: usize>(self, phones: [Phone; N]) {
        phones.into_iter().for_each(Phone::close);
        let held = self.campon().held();
        let left = held.iter().find(|(name, _)| name == "calls");
        assert_eq!(left, Some(&("calls".to_owned(), 0)), "{held:?}");
        self.pbx.close();
        if let Some(campon) = self.campon {
            campon.stop();
        }
    }
}

fn at(network: Ipv4Addr, place: u8) -> SocketAddr {
    let [a, b, c, _] = network.octets();
    SocketAddr::from(([a, b, c, place], 5060))
}
