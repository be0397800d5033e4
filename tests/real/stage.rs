//! A stage for real parties: addresses of its own, a folder, and a turn.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::baresip::{Baresip, Setup};
use super::capture::{Capture, Captured};
use super::kamailio::Kamailio;
use super::softphone::Softphone;
use super::wav::{self, LOUD_ENOUGH};
use crate::process::{Campon, Turn};

/// Who stands where on the stage: the last number of the address, and the tone of a phone.
const PHONES: &[(&str, u8, u32)] = &[
    ("alice", 11, 440),
    ("bob", 12, 880),
    ("carol", 13, 1320),
    ("dave", 14, 1760),
];

/// What the mailbox plays, in Hz.
const MAILBOX_TONE: u32 = 2200;

/// A machine with much else to do is no reason to refuse anything.
pub const UNHURRIED: &str = "[overload]\ndelay_target_ms = 60000\n";

pub struct Stage {
    folder: PathBuf,
    network: Ipv4Addr,
    _turn: Turn,
}

impl Stage {
    /// Waits for a turn at the addresses 127.202.n.*.
    pub fn open(name: &str, number: u8) -> Self {
        let network = Ipv4Addr::new(127, 202, number, 0);
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real");
        fs::create_dir_all(&target).expect("cargo's folder for tests can be written");
        let stage = Self {
            folder: target.join(name),
            network,
            _turn: Turn::take(&target, SocketAddr::new(at(network, 1).into(), 5060)),
        };
        let _absent_at_first = fs::remove_dir_all(&stage.folder);
        fs::create_dir_all(&stage.folder).expect("cargo's folder for tests can be written");
        stage
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn network(&self) -> Ipv4Addr {
        self.network
    }

    /// campon's address.
    pub fn campon_at(&self) -> SocketAddr {
        SocketAddr::new(self.campon_ip().into(), 5060)
    }

    /// The same without the port.
    pub fn campon_ip(&self) -> Ipv4Addr {
        at(self.network, 1)
    }

    pub fn pbx_ip(&self) -> Ipv4Addr {
        at(self.network, 2)
    }

    pub fn ip_of(&self, user: &str) -> Ipv4Addr {
        at(self.network, place_of(user).0)
    }

    /// Where the hundred ports of a phone's audio begin.
    pub fn audio_port_of(user: &str) -> u16 {
        rtp_port(user)
    }

    pub fn tone_of(user: &str) -> u32 {
        place_of(user).1
    }

    /// Demands that each of these two was sent the tone of the other, from phone to phone.
    pub fn assert_audio_is_direct(&self, captured: &Captured, [a, b]: [&str; 2]) {
        for (from, to) in [(a, b), (b, a)] {
            let tone = Self::tone_of(from);
            let loud = captured
                .audio(rtp_port(from), self.ip_of(to))
                .loudness(tone);
            assert!(
                loud > LOUD_ENOUGH,
                "{from} to {to}: {tone} Hz at {loud}:\n{captured}"
            );
            let astray = captured.audio(rtp_port(from), self.campon_ip());
            assert!(astray.is_empty(), "from {from} to campon:\n{captured}");
        }
    }

    /// Phones of these users, each registered.
    pub fn registered<const N: usize>(&self, users: [&str; N]) -> [Baresip; N] {
        let mut phones = users.map(|user| self.phone(user));
        phones.iter_mut().for_each(Baresip::wait_until_registered);
        phones
    }

    /// The folder for `media.voice` where each of these sounds of ours is a tone of that length, so that it
    /// can be told from anything else in a recording.
    pub fn voice(&self, sounds: &[(&str, u32)], seconds: u32) -> String {
        let folder = self.folder.join("voice");
        fs::create_dir_all(&folder).expect("a folder in the target folder");
        for (name, hertz) in sounds {
            let file = folder.join(name).with_extension("wav");
            wav::write_tone(&file, *hertz, seconds);
        }
        folder.display().to_string()
    }

    pub fn capture(&self) -> Capture {
        Capture::start(&self.folder, self.network)
    }

    pub fn campon(&self, config: &str) -> Campon {
        Campon::start(self.campon_at(), &self.folder, Some(config))
    }

    pub fn kamailio(&self) -> Kamailio {
        Kamailio::start(&self.folder, self.pbx_ip().into(), None)
    }

    /// The same, which also tells who is there.
    pub fn kamailio_with_presence(&self) -> Kamailio {
        Kamailio::start_with_presence(&self.folder, self.pbx_ip().into())
    }

    /// A Kamailio with a mailbox, which answers whoever finds a phone busy.
    pub fn kamailio_with_mailbox(&self) -> (Kamailio, Baresip) {
        let (pbx, place) = (self.pbx_ip(), at(self.network, 15));
        let kamailio = Kamailio::start_with(
            &self.folder,
            pbx.into(),
            &[(
                "{ dlg_manage();",
                "{ t_on_failure(\"MAILBOX\"); dlg_manage();",
            )],
            &format!(
                "failure_route[MAILBOX] {{ if (t_is_canceled()) exit;\n\
                 if (t_check_status(\"486\")) {{ $ru = \"sip:erin@{place}:5060\"; t_relay(); }} }}\n"
            ),
        );
        let setup = Setup {
            user: "erin",
            ip: IpAddr::V4(place),
            proxy: &format!("sip:{pbx}:5060"),
            tone: MAILBOX_TONE,
            calls_max: 4,
            rtp_port: 11_500,
            account: &["answermode=auto"],
            expires: 600,
            tls: None,
            netns: None,
        };
        (kamailio, Baresip::start(&self.folder, &setup))
    }

    /// A phone that goes through campon, with room for one call.
    pub fn phone(&self, user: &str) -> Baresip {
        let proxy = format!("sip:{}:5060", self.campon_ip());
        self.phone_with(user, &proxy, &[])
    }

    pub fn phone_with(&self, user: &str, proxy: &str, account: &[&str]) -> Baresip {
        let setup = Setup {
            proxy,
            account,
            ..self.setup(user)
        };
        Baresip::start(&self.folder, &setup)
    }

    /// The same phone by another maker, who knows Replaces.
    pub fn softphone(&self, user: &str) -> Softphone {
        let proxy = format!("sip:{}:5060;lr", self.campon_ip());
        let (ip, tone) = (self.ip_of(user), Self::tone_of(user));
        Softphone::start(&self.folder, user, ip, &proxy, tone)
    }

    /// What a phone is unless a test wants it otherwise.
    pub fn setup<'a>(&self, user: &'a str) -> Setup<'a> {
        Setup {
            user,
            ip: IpAddr::V4(self.ip_of(user)),
            proxy: "",
            tone: Self::tone_of(user),
            calls_max: 1,
            rtp_port: rtp_port(user),
            // A refresh reaches the PBX when half of it is over: also one that has forgotten.
            expires: 20,
            account: &[],
            tls: None,
            netns: None,
        }
    }
}

fn place_of(user: &str) -> (u8, u32) {
    let found = PHONES.iter().find(|(name, ..)| *name == user);
    let (_, place, tone) = found.unwrap_or_else(|| panic!("no place for {user}"));
    (*place, *tone)
}

/// Where the ports of a phone's audio begin.
fn rtp_port(user: &str) -> u16 {
    10_000 + 100 * u16::from(place_of(user).0)
}

fn at(network: Ipv4Addr, place: u8) -> Ipv4Addr {
    let [a, b, c, _] = network.octets();
    Ipv4Addr::new(a, b, c, place)
}
