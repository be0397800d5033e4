//! What went over the wire of a network: captured by dumpcap, read by field with tshark.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
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
        let ports = format!("udp.dstport >= {to} && udp.dstport < {}", to + 100);
        let filter = format!("rtp.p_type == 8 && {ports}");
        let mut command = tshark(&self.file, &filter);
        command.args(["-d", &format!("udp.port=={to}-{},rtp", to + 99)]);
        command.args(["-T", "fields", "-e", "frame.time_epoch"]);
        let text = output_of(&mut command, "tshark");
        let times: Vec<f64> = text.lines().filter_map(|line| line.parse().ok()).collect();
        assert!(times.len() > 100, "{} packets", times.len());
        let gaps = times.windows(2).map(|two| two[1] - two[0]);
        gaps.fold(0.0, f64::max)
    }

    /// When A-law audio went from these hundred ports to those, and what it sounds like.
    pub fn audio_between(&self, from: u16, to: u16) -> (Vec<f64>, Recording) {
        let is_in = |field: &str, first: u16| {
            format!("udp.{field} >= {first} && udp.{field} < {}", first + 100)
        };
        let way = format!("{} && {}", is_in("srcport", from), is_in("dstport", to));
        self.audio_of(&way, &format!("{to}-{}", to + 99))
    }

    /// The same of all that went from these hundred ports.
    pub fn sent_from(&self, first: u16) -> (Vec<f64>, Recording) {
        let last = first + 99;
        let way = format!("udp.srcport >= {first} && udp.srcport <= {last}");
        self.audio_of(&way, &format!("{first}-{last}"))
    }

    /// The same from one address to another, of phones whose ports are those of SIPp or ours there.
    pub fn sent(&self, from: Ipv4Addr, to: Ipv4Addr) -> (Vec<f64>, Recording) {
        let way = format!("ip.src == {from} && ip.dst == {to}");
        self.audio_of(&way, "6000-65535")
    }

    /// What went that way as A-law audio where these ports are RTP's.
    fn audio_of(&self, way: &str, ports: &str) -> (Vec<f64>, Recording) {
        let mut command = tshark(&self.file, &format!("rtp.p_type == 8 && {way}"));
        command.args(["-d", &format!("udp.port=={ports},rtp"), "-T", "fields"]);
        command.args(["-e", "frame.time_epoch", "-e", "rtp.payload"]);
        let text = output_of(&mut command, "tshark");
        let lines = text.lines().filter_map(|line| line.split_once('\t'));
        let (times, payloads): (Vec<_>, Vec<_>) = lines.unzip();
        let times = times.into_iter().filter_map(|time: &str| time.parse().ok());
        (
            times.collect(),
            Recording::of_alaw(&bytes_of(&payloads.concat())),
        )
    }

    /// What went there as A-law audio from these hundred ports.
    pub fn audio(&self, from: u16, to: Ipv4Addr) -> Recording {
        let ports = format!("udp.srcport >= {from} && udp.srcport < {}", from + 100);
        let filter = format!("rtp.p_type == 8 && {ports} && ip.dst == {to}");
        let mut command = tshark(&self.file, &filter);
        // What was agreed under TLS is not seen, so the ports are told.
        let is_rtp = format!("udp.port=={from}-{},rtp", from + 99);
        command.args(["-d", &is_rtp, "-T", "fields", "-e", "rtp.payload"]);
        let text = output_of(&mut command, "tshark");
        Recording::of_alaw(&bytes_of(&text))
    }
}

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
