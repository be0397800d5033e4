//! Single values as an operator writes them: addresses, names, numbers to dial.
//!
//! Spec: RFC 3261 §19.1.1, §25.1 (`host`).
//!
//! Each function says what would be right where a text is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use crate::routing::{Place, Spot};
use crate::sip::flow::Transport;

/// The port of DNS.
const DNS_PORT: u16 = 53;
/// The units of a time with their milliseconds, the longest first.
const UNITS: [(&str, u64); 4] = [
    ("h", 60 * 60 * 1000),
    ("min", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// Longer than any name and version.
const SERVER_BYTES_MAX: usize = 64;

/// `IP:PORT` or `IP`, of a socket of ours.
pub(super) fn listen_address(text: &str, port: u16) -> Result<SocketAddr, String> {
    let (ip, given) = socket_address(text).ok_or_else(|| format!("`{text}` is not IP:PORT"))?;
    let address = SocketAddr::new(ip, given.unwrap_or(port));
    if address.ip().is_multicast() {
        return Err(format!("{address} is a multicast address"));
    }
    if address.port() == 0 {
        return Err("port 0 is no address to be reached at".to_owned());
    }
    Ok(address)
}

/// `[sip:|sips:]HOST[:PORT][;transport=udp|tcp|tls]`.
pub(super) fn place(text: &str) -> Result<Place, String> {
    let wrong = || format!("`{text}` is not sip:HOST[:PORT][;transport=udp|tcp|tls]");
    let (secure, rest) = match text.strip_prefix("sips:") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("sip:").unwrap_or(text)),
    };
    let (host, transport) = match rest.split_once(';') {
        None => (rest, None),
        Some((host, "transport=udp")) if !secure => (host, Some(Transport::Udp)),
        Some((host, "transport=tcp")) => (host, Some(Transport::Tcp)),
        Some((host, "transport=tls")) => (host, Some(Transport::Tls)),
        Some(_) => return Err(wrong()),
    };
    let (spot, port) = match socket_address(host) {
        Some((ip, _)) if ip.is_unspecified() || ip.is_multicast() => return Err(wrong()),
        Some((ip, port)) => (Spot::Address(ip), port),
        None => {
            let (name, port) = host_and_port(host).ok_or_else(wrong)?;
            let name = Some(name).filter(|name| is_domain(name));
            let name = name.ok_or_else(wrong)?.to_ascii_lowercase();
            (Spot::Name(name.into()), port)
        }
    };
    if port == Some(0) {
        return Err(wrong());
    }
    Ok(Place {
        secure,
        spot,
        port,
        transport,
    })
}

/// `IP[:PORT]` of a DNS server.
pub(super) fn dns_server(text: &str) -> Result<SocketAddr, String> {
    let wrong = || format!("`{text}` is not IP:PORT");
    let (ip, port) = socket_address(text).ok_or_else(wrong)?;
    match port.unwrap_or(DNS_PORT) {
        0 => Err(wrong()),
        _ if ip.is_unspecified() || ip.is_multicast() => Err(wrong()),
        port => Ok(SocketAddr::new(ip, port)),
    }
}

/// `HOST[:PORT]`, an IPv6 address in brackets.
pub(super) fn advertise(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is not HOST or HOST:PORT");
    let (host, port) = host_and_port(text).ok_or_else(wrong)?;
    let host = host_name(host).map_err(|_| wrong())?;
    match port {
        None => Ok(host),
        Some(0) => Err(wrong()),
        Some(port) => Ok(format!("{host}:{port}")),
    }
}

/// A host name, an IPv4 address or an IPv6 address in brackets; in lower case.
pub(super) fn host_name(text: &str) -> Result<String, String> {
    let is_host = if let Some(v6) = text.strip_prefix('[') {
        let v6 = v6.strip_suffix(']').map(str::parse::<Ipv6Addr>);
        matches!(v6, Some(Ok(address)) if !address.is_unspecified())
    } else if let Ok(v4) = text.parse::<Ipv4Addr>() {
        !v4.is_unspecified()
    } else {
        is_domain(text)
    };
    if is_host {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!("`{text}` is not a host name or address"))
    }
}

/// A number as somebody dials it: digits, `+`, `*`, `#`.
pub(super) fn dialled(text: &str) -> Result<String, String> {
    let is_key = |byte: u8| byte.is_ascii_digit() || b"*#+".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_key) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a number as it is dialled"))
    }
}

/// `IP/LENGTH`, or one `IP`.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let one = text.parse().map(|ip: IpAddr| IpNet::from(ip));
    let network = one.or_else(|_| text.parse::<IpNet>().map(|network| network.trunc()));
    network.map_err(|_| format!("`{text}` is not IP or IP/LENGTH"))
}

/// A method, as it stands in a request.
pub(super) fn method(text: &str) -> Result<Box<str>, String> {
    let is_method = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase());
    if is_method {
        Ok(text.into())
    } else {
        Err(format!("`{text}` is not a method such as INVITE"))
    }
}

/// S-191: the domain that a certificate names; in lower case.
pub(super) fn certified_name(text: &str) -> Result<String, String> {
    let name = host_name(text)?;
    if is_domain(&name) {
        Ok(name)
    } else {
        Err(format!(
            "`{text}` is an address: a certificate of SIP names a domain"
        ))
    }
}

/// What somebody calls a peer: one line of text.
pub(super) fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.contains(char::is_control) {
        return Err(format!("{text:?} is no name"));
    }
    Ok(text.to_owned())
}

/// What can stand in the Server field as it is (RFC 3261 §20.35).
pub(super) fn server(text: &str) -> Result<Box<str>, String> {
    let is_plain = |letter: char| letter == ' ' || letter.is_ascii_graphic();
    let is_fine = !text.is_empty() && text.len() <= SERVER_BYTES_MAX && text == text.trim();
    if is_fine && text.chars().all(is_plain) {
        Ok(text.into())
    } else {
        Err(format!(
            "{text:?} is not 1 to {SERVER_BYTES_MAX} printable ASCII characters"
        ))
    }
}

/// A whole number and its unit: `300ms`, `20s`, `3min`, `1h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time such as 300ms, 20s, 3min or 1h");
    let number = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let unit = text.strip_prefix(number).ok_or_else(wrong)?;
    let unit = UNITS.iter().find(|(name, _)| *name == unit);
    let (_, millis) = unit.ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis = number.checked_mul(*millis).ok_or_else(wrong)?;
    Ok(Duration::from_millis(millis))
}

/// The same time as an operator would write it, in the longest unit that holds it.
pub(super) fn spelled(time: Duration) -> String {
    let millis = time.as_millis();
    let whole = |(_, unit): &&(&str, u64)| millis.is_multiple_of(u128::from(*unit));
    match UNITS.iter().find(whole) {
        Some((name, unit)) if millis > 0 => format!("{}{name}", millis / u128::from(*unit)),
        Some(_) | None => "0s".to_owned(),
    }
}

/// `HOST[:PORT]`, cut in two.
fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => Some((host, Some(port.parse().ok()?))),
        Some(_) | None => Some((text, None)),
    }
}

/// `IP:PORT` or `IP`, an IPv6 address in brackets or, without a port, bare.
fn socket_address(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some((address.ip(), Some(address.port())));
    }
    let inside = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let ip: IpAddr = inside.unwrap_or(text).parse().ok()?;
    Some((ip, None))
}

fn is_domain(text: &str) -> bool {
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_label = |label: &str| {
        let edges = [label.bytes().next(), label.bytes().last()];
        label.bytes().all(is_inside) && edges.iter().all(|edge| edge.is_some_and(|b| b != b'-'))
    };
    // A last label that begins with a digit is a mistyped address.
    let top = text.rsplit('.').next().unwrap_or_default();
    text.split('.').all(is_label) && !top.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_port_has_the_port_of_sip() {
        assert_eq!(
            listen_address("127.0.0.1", 5060),
            Ok(([127, 0, 0, 1], 5060).into())
        );
        assert_eq!(
            listen_address("::1", 5061),
            Ok((Ipv6Addr::LOCALHOST, 5061).into())
        );
        assert_eq!(
            listen_address("[::1]:5070", 5061),
            Ok((Ipv6Addr::LOCALHOST, 5070).into())
        );
    }

    #[test]
    fn a_peer_may_name_its_transport() {
        let tcp = place("sip:127.0.0.1:5070;transport=tcp").expect("valid");
        let address = ([127, 0, 0, 1], 5070).into();
        assert_eq!(tcp.fixed(), Some((Transport::Tcp, address)));
        let udp = place("sip:[::1];transport=udp").expect("valid");
        assert_eq!(udp.fixed().map(|(_, address)| address.port()), Some(5060));
        let tls = place("sips:127.0.0.1").expect("valid");
        let address = ([127, 0, 0, 1], 5061).into();
        assert_eq!(tls.fixed(), Some((Transport::Tls, address)));
        let tls = place("127.0.0.1;transport=tls").expect("valid");
        assert_eq!(tls.fixed(), Some((Transport::Tls, address))); // S-100
    }

    #[test]
    fn a_peer_may_be_a_name() {
        let name = place("sip:PBX.Example.org").expect("valid");
        assert_eq!(name.spot, Spot::Name("pbx.example.org".into()));
        assert_eq!((name.port, name.transport), (None, None));
        let name = place("pbx.example.org:5070;transport=tcp").expect("valid");
        assert_eq!(
            (name.port, name.transport),
            (Some(5070), Some(Transport::Tcp))
        );
        assert_eq!(
            place("pbx").map(|place| place.to_string()),
            Ok("sip:pbx".to_owned())
        );
    }

    #[test]
    fn a_peer_is_one_place_without_a_user() {
        for wrong in [
            "",
            "sip:",
            "sip:a@127.0.0.1",
            "sip:a@pbx",
            "sip:0.0.0.0",
            "sip:127.0.0.1;lr",
            "sip:pbx:0",
            "sip:pbx:x",
            "sips:pbx;transport=udp",
            "192.0.2.300",
            "p b x",
        ] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_advertised_host_may_have_a_port() {
        for (text, expected) in [
            ("Sip.Example.org:5070", "sip.example.org:5070"),
            ("[2001:db8::1]:5070", "[2001:db8::1]:5070"),
            ("[2001:db8::1]", "[2001:db8::1]"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(advertise(text).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_no_peer_could_reach_is_not_advertised() {
        for wrong in [
            "",
            "0.0.0.0",
            "[::]",
            "::1",
            "a..b",
            "-a",
            "192.0.2.300",
            "h:0",
            "h:x",
            "a b",
        ] {
            assert!(advertise(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_is_a_number_and_its_unit() {
        for (text, millis) in [
            ("0s", 0),
            ("300ms", 300),
            ("20s", 20_000),
            ("3min", 180_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)));
            assert_eq!(spelled(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_time_without_a_unit_or_in_parts_is_refused() {
        for wrong in [
            "",
            "s",
            "20",
            "1.5s",
            "1h30min",
            "-1s",
            "1 s",
            "1m",
            "99999999999999999h",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
