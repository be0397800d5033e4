//! What went over the wire of a network: captured by dumpcap, read by field with tshark.

use std::cell::OnceCell;
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::children::{Running, output_of};
use super::wav::Recording;
use crate::process::wait_for;

/// How long the capture may take to begin.
const START_MAX: Duration = Duration::from_secs(20);

/// What is read of each SIP message.
const FIELDS: &[&str] = &[
    "frame.time_epoch",
    "ip.src",
    "ip.dst",
    "sip.Method",
    "sip.Status-Code",
    "sip.CSeq.method",
    "sip.CSeq.seq",
    "sip.Call-ID",
    "sip.r-uri",
    "sip.from.user",
    "sip.to.user",
    "sip.from.tag",
    "sip.to.tag",
    "sip.contact.uri",
    "sip.Authorization",
    "sip.auth.uri",
    "sip.auth.username",
    "sip.Refer-To",
    "sip.Replaces",
    "sip.Event",
    "sip.Call-Info",
    "sip.Alert-Info",
    "sip.Reason",
    "sip.Expires",
    "sip.Subscription-State",
    "sip.msg_body",
    "sdp.connection_info.address",
    "sdp.media.media",
    "sdp.media_attr",
];

/// What the capture ends with: all that came before it is written when it is.
const MARK: &str = "the capture ends here";

pub struct Capture {
    dumpcap: Running,
    file: PathBuf,
    /// Where a datagram goes that the capture sees.
    seen_at: SocketAddr,
}

impl Capture {
    /// Begins to capture what has an address of this network, 127.a.b.0/24.
    pub fn start(folder: &Path, network: Ipv4Addr) -> Self {
        let [a, b, c, _] = network.octets();
        let seen_at = SocketAddr::from(([a, b, c, 254], 9));
        Self::begin(folder, &format!("net {a}.{b}.{c}.0/24"), seen_at)
    }

    /// The same of what goes over IPv6 from or to these hundred ports, the last of which is nobody's.
    pub fn over_ipv6(folder: &Path, first: u16) -> Self {
        let last = first + 99;
        let seen_at = SocketAddr::from((Ipv6Addr::LOCALHOST, last));
        Self::begin(
            folder,
            &format!("ip6 and udp portrange {first}-{last}"),
            seen_at,
        )
    }

    fn begin(folder: &Path, filter: &str, seen_at: SocketAddr) -> Self {
        let file = folder.join("lo.pcapng");
        let log = folder.join("dumpcap.log");
        let mut command = Command::new("dumpcap");
        command
            .args(["-q", "-i", "lo", "-f", filter, "-w"])
            .arg(&file);
        // A flood is a failure, not a full disk.
        command.args(["-a", "filesize:100000"]);
        let mut dumpcap = Running::start(command, "tshark", &log);
        let begun = wait_for(START_MAX, || {
            let said = fs::read_to_string(&log).unwrap_or_default();
            assert!(dumpcap.ended().is_none(), "dumpcap ended: {said}");
            said.contains("File:").then_some(())
        });
        assert!(begun.is_some(), "dumpcap does not begin");
        Self {
            dumpcap,
            file,
            seen_at,
        }
    }

    /// Ends the capture and reads it.
    pub fn finish(mut self) -> Captured {
        self.wait_for_the_mark();
        self.dumpcap.end("INT");
        let mut command = tshark(&self.file, "sip");
        command.args(["-T", "json"]);
        for field in FIELDS {
            command.args(["-e", field]);
        }
        let text = output_of(&mut command, "tshark");
        let packets: Vec<Value> = serde_json::from_str(&text).expect("tshark writes JSON");
        let messages = packets.into_iter().filter_map(|mut packet| {
            let layers = packet.pointer_mut("/_source/layers")?.take();
            Some(Wire { layers })
        });
        Captured {
            messages: messages.collect(),
            file: self.file.clone(),
            packets: OnceCell::new(),
        }
    }
}

impl Capture {
    /// dumpcap forgets what the kernel has not handed over when it is told to end.
    fn wait_for_the_mark(&self) {
        let here = match self.seen_at {
            SocketAddr::V4(_) => "127.0.0.1:0",
            SocketAddr::V6(_) => "[::1]:0",
        };
        let socket = UdpSocket::bind(here).expect("a free port on loopback");
        let sent = socket.send_to(MARK.as_bytes(), self.seen_at);
        sent.expect("a route on loopback");
        let written = wait_for(START_MAX, || {
            let file = fs::read(&self.file).unwrap_or_default();
            let mut windows = file.windows(MARK.len());
            windows
                .any(|window| window == MARK.as_bytes())
                .then_some(())
        });
        assert!(written.is_some(), "the capture does not end");
    }
}

fn tshark(file: &Path, filter: &str) -> Command {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-Y", filter]);
    command
}

pub struct Captured {
    pub messages: Vec<Wire>,
    file: PathBuf,
    /// The audio, once somebody asks for it.
    packets: OnceCell<Vec<Packet>>,
}

/// A SIP message of the capture.
pub struct Wire {
    layers: Value,
}

impl Wire {
    /// The first value of a field; empty where it is not there.
    pub fn field(&self, name: &str) -> &str {
        self.fields(name).next().unwrap_or_default()
    }

    pub fn fields<'w>(&'w self, name: &str) -> impl Iterator<Item = &'w str> + use<'w> {
        let values = self.layers.get(name).and_then(Value::as_array);
        values.into_iter().flatten().filter_map(Value::as_str)
    }

    /// `INVITE`, or `486 INVITE`.
    pub fn label(&self) -> String {
        match self.field("sip.Status-Code") {
            "" => self.field("sip.Method").to_owned(),
            status => format!("{status} {}", self.field("sip.CSeq.method")),
        }
    }

    pub fn goes(&self, from: Ipv4Addr, to: Ipv4Addr) -> bool {
        self.field("ip.src") == from.to_string() && self.field("ip.dst") == to.to_string()
    }
}

impl Captured {
    /// The messages with that label that went that way.
    pub fn between(&self, from: Ipv4Addr, to: Ipv4Addr, label: &str) -> Vec<&Wire> {
        let same = |one: &&Wire| one.goes(from, to) && one.label() == label;
        self.messages.iter().filter(same).collect()
    }

    /// The longest time without a packet of A-law audio to these hundred ports, from the first to the
    /// last, in seconds.
    pub fn longest_silence(&self, to: u16) -> f64 {
        let (times, _) = self.audio_of(|one| is_of(to, one.ports.1));
        assert!(times.len() > 100, "{} packets", times.len());
        let gaps = times.windows(2).map(|two| two[1] - two[0]);
        gaps.fold(0.0, f64::max)
    }

    /// When A-law audio went from these hundred ports to those, and what it sounds like.
    pub fn audio_between(&self, from: u16, to: u16) -> (Vec<f64>, Recording) {
        self.audio_of(|one| is_of(from, one.ports.0) && is_of(to, one.ports.1))
    }

    /// The same of all that went from these hundred ports.
    pub fn sent_from(&self, first: u16) -> (Vec<f64>, Recording) {
        self.audio_of(|one| is_of(first, one.ports.0))
    }

    /// The same from one address to another.
    pub fn sent(&self, from: Ipv4Addr, to: Ipv4Addr) -> (Vec<f64>, Recording) {
        self.audio_of(|one| one.from == from && one.to == to)
    }

    /// What went there as A-law audio from these hundred ports.
    pub fn audio(&self, from: u16, to: Ipv4Addr) -> Recording {
        self.audio_of(|one| is_of(from, one.ports.0) && one.to == to)
            .1
    }

    /// When A-law audio went that way, and what it sounds like.
    fn audio_of(&self, is_wanted: impl Fn(&Packet) -> bool) -> (Vec<f64>, Recording) {
        let packets = self.packets.get_or_init(|| packets_in(&self.file));
        let wanted = packets.iter().filter(|one| is_wanted(one));
        let (times, payloads): (Vec<_>, Vec<_>) =
            wanted.map(|one| (one.time, one.payload.as_slice())).unzip();
        (times, Recording::of_alaw(&payloads.concat()))
    }
}

/// A packet of A-law audio.
struct Packet {
    time: f64,
    from: IpAddr,
    to: IpAddr,
    ports: (u16, u16),
    payload: Vec<u8>,
}

/// Whether that port is one of the hundred that begin with this.
fn is_of(first: u16, port: u16) -> bool {
    (first..first.saturating_add(100)).contains(&port)
}

/// All A-law audio of a capture.
fn packets_in(file: &Path) -> Vec<Packet> {
    // What an error of ICMP quotes went nowhere.
    let mut command = tshark(file, "rtp.p_type == 8 && !icmp && !icmpv6");
    // What was agreed under TLS is not seen, so the ports are told.
    command.args(["-d", "udp.port==6000-65535,rtp", "-T", "fields"]);
    for field in PACKET_FIELDS {
        command.args(["-e", field]);
    }
    let text = output_of(&mut command, "tshark");
    let packets = text.lines().map(|line| {
        let fields: Vec<_> = line.split('\t').collect();
        let [time, from, to, from_v6, to_v6, from_port, to_port, payload] = fields.as_slice()
        else {
            panic!("not as many fields: {line}");
        };
        let address = |v4: &str, v6: &str| [v4, v6].concat().parse().expect("one address");
        Packet {
            time: time.parse().expect("a time"),
            from: address(from, from_v6),
            to: address(to, to_v6),
            ports: (
                from_port.parse().expect("a port"),
                to_port.parse().expect("a port"),
            ),
            payload: bytes_of(payload),
        }
    });
    packets.collect()
}

/// What is read of each packet of audio.
const PACKET_FIELDS: [&str; 8] = [
    "frame.time_epoch",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "udp.srcport",
    "udp.dstport",
    "rtp.payload",
];

/// Bytes that tshark has written in hexadecimal digits.
fn bytes_of(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.as_chunks::<2>().0.iter();
    let bytes = pairs.filter_map(|pair| {
        let pair = str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    bytes.collect()
}

/// The whole ladder, for a failure to show.
impl fmt::Display for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self
            .messages
            .first()
            .map_or("", |one| one.field("frame.time_epoch"));
        let begun: f64 = first.parse().unwrap_or_default();
        for one in &self.messages {
            let at: f64 = one.field("frame.time_epoch").parse().unwrap_or_default();
            let (from, to) = (one.field("ip.src"), one.field("ip.dst"));
            let (label, uri) = (one.label(), one.field("sip.r-uri"));
            let call_id = one.field("sip.Call-ID");
            writeln!(
                f,
                "{:8.3} {from} > {to} {label} {uri} [{call_id}]",
                at - begun
            )?;
        }
        Ok(())
    }
}
