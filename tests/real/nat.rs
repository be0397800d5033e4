//! A phone behind a NAT, in a network of its own, whose calls cross campon in another.
//!
//! Three namespaces: the home, its router, and the world. The router lets in what answers something
//! that went out, and gives the phone's signalling another port.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::real::baresip::{Baresip, Setup};
use crate::real::children::{command_in, output_of};
use crate::real::kamailio::Kamailio;
use crate::real::served::Served;
use crate::real::stage::{Stage, UNHURRIED};

const CAMPON: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const ROUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
const BOB: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 3);
const PBX: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 4);
const ALICE: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 2);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);

/// What the router does: it hides the home, and answers nobody from outside.
const ROUTER_RULES: &str = "\
table ip nat {
  chain out {
    type nat hook postrouting priority 100;
    oifname \"wan\" udp dport 5060 masquerade to :40000-40999
    oifname \"wan\" masquerade
  }
}
table inet guard {
  chain through {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname \"lan\" accept
  }
  chain in {
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    iifname != \"wan\" accept
  }
}
";

/// The namespaces of one test; they go when it ends.
struct Networks {
    home: String,
    router: String,
    world: String,
}

impl Networks {
    fn build(number: u8) -> Self {
        let name = |what| format!("campon-{}-{number}-{what}", std::process::id());
        let networks = Self {
            home: name("home"),
            router: name("router"),
            world: name("world"),
        };
        let Self {
            home,
            router,
            world,
        } = &networks;
        for one in [home, router, world] {
            ip(&["netns", "add", one]);
            ip(&["-n", one, "link", "set", "lo", "up"]);
        }
        let cable = |from: &str, own: &str, to: &str, other: &str| {
            ip(&[
                "-n", from, "link", "add", own, "type", "veth", "peer", "name", other, "netns", to,
            ]);
        };
        cable(home, "eth0", router, "lan");
        cable(router, "wan", world, "eth0");
        let at_home = [(home, "eth0", ALICE), (router, "lan", GATEWAY)];
        // The first is where a socket sends from that is bound to none, as Bob's RTP does.
        let outside = [BOB, CAMPON, PBX].map(|address| (world, "eth0", address));
        let places = at_home
            .into_iter()
            .chain([(router, "wan", ROUTER)])
            .chain(outside);
        for (netns, device, address) in places {
            ip(&[
                "-n",
                netns,
                "addr",
                "add",
                &format!("{address}/24"),
                "dev",
                device,
            ]);
            ip(&["-n", netns, "link", "set", device, "up"]);
        }
        ip(&[
            "-n",
            home,
            "route",
            "add",
            "default",
            "via",
            &GATEWAY.to_string(),
        ]);
        let mut forward = command_in(Some(router), "sh");
        forward.args(["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
        output_of(&mut forward, "iproute2");
        networks
    }

    /// Puts the router's rules in force.
    fn guard(&self, folder: &Path) {
        let file = folder.join("router.nft");
        fs::write(&file, ROUTER_RULES).expect("a file in the target folder");
        let mut nft = command_in(Some(&self.router), "nft");
        output_of(nft.arg("-f").arg(file), "nftables");
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for netns in [&self.home, &self.router, &self.world] {
            let mut delete = Command::new("ip");
            delete.args(["netns", "del", netns]).stderr(Stdio::null());
            let _was_never_made = delete.status();
        }
    }
}

fn ip(arguments: &[&str]) {
    output_of(Command::new("ip").args(arguments), "iproute2, as root");
}

fn phone(folder: &Path, user: &str, ip: Ipv4Addr, netns: &str) -> Baresip {
    let setup = Setup {
        user,
        ip: IpAddr::V4(ip),
        proxy: &format!("sip:{CAMPON}:5060"),
        tone: Stage::tone_of(user),
        calls_max: 1,
        rtp_port: 10_000,
        expires: 60,
        account: &[],
        tls: None,
        netns: Some(netns),
    };
    Baresip::start(folder, &setup)
}

#[test]
fn a_phone_behind_a_nat_calls_and_is_called_and_both_sides_are_heard() {
    // R14: Bob was told where the router is, not where Alice thinks that she is.
    both_sides_are_heard(("nat", 40), "rewrite", ROUTER);
}

/// R14: whether the PBX sends media to where it comes from is all the same.
#[test]
fn audio_that_passes_campon_is_heard_on_both_sides_of_a_nat() {
    both_sides_are_heard(("nat_anchor", 48), "anchor", CAMPON);
}

/// Alice at home and Bob outside call each other; Bob is told that she is there.
fn both_sides_are_heard((name, number): (&str, u8), nat_media: &str, place: Ipv4Addr) {
    let stage = Stage::open(name, number);
    let folder = stage.folder();
    let networks = Networks::build(number);
    networks.guard(folder);
    let world = networks.world.as_str();
    let kamailio = Kamailio::start(folder, PBX.into(), Some(world));
    let config = format!(
        "mode = \"edge\"\nupstream = \"sip:{PBX}:5060\"\ndomains = [\"pbx.test\"]\n\
         [[listener]]\naddress = \"{CAMPON}:5060\"\n[edge]\nnat_media = \"{nat_media}\"\n\
         [media]\nports = \"23000-23099\"\n{UNHURRIED}"
    );
    let campon = Served::start(folder, Some(world), &config);
    let mut alice = phone(folder, "alice", ALICE, &networks.home);
    let mut bob = phone(folder, "bob", BOB, world);
    alice.wait_until_registered();
    bob.wait_until_registered();
    assert_eq!(kamailio.contacts("alice").len(), 1);
    for called in ["bob", "alice"] {
        let (caller, callee) = match called {
            "bob" => (&mut alice, &mut bob),
            _ => (&mut bob, &mut alice),
        };
        caller.dial(called);
        callee.wait_for("CALL_INCOMING");
        callee.tell("accept", "");
        caller.wait_for("CALL_ESTABLISHED");
        alice.wait_until_heard(Stage::tone_of("bob"));
        bob.wait_until_heard(Stage::tone_of("alice"));
        alice.forget_recordings();
        bob.forget_recordings();
        bob.tell("hangup", "");
        alice.wait_for("CALL_CLOSED");
        bob.wait_for("CALL_CLOSED");
    }
    let told = bob.whole_log();
    assert!(told.contains(&format!("c=IN IP4 {place}")), "{}", bob.log());
    let hidden = told
        .lines()
        .filter(|line| line.starts_with("c=IN IP4 192.168."));
    assert_eq!(hidden.count(), 0, "{}", bob.log());
    alice.quit();
    bob.quit();
    campon.stop();
}
