//! What every message must be, whatever it is about.
//!
//! Spec: RFC 3261 §7, §8.1.1, §8.2.6, §20; RFC 4566 §5 for the order of an SDP body.

use std::net::SocketAddr;

use super::sip::{Sip, address, parameter, split};

/// Everything that is wrong with a message that came from there.
pub fn faults(sip: &Sip, raw: &[u8], source: SocketAddr) -> Vec<String> {
    let mut faults = Vec::new();
    for name in ["From", "To", "Call-ID", "CSeq", "Content-Length"] {
        if sip.all(name).count() != 1 {
            faults.push(format!("{} times {name}", sip.all(name).count()));
        }
    }
    for name in [
        "Max-Forwards",
        "Content-Type",
        "Expires",
        "Event",
        "Reason-Phrase",
    ] {
        if sip.all(name).count() > 1 {
            faults.push(format!("several {name}"));
        }
    }
    if sip.first("Content-Length").map(str::parse) != Some(Ok(sip.body.len())) {
        faults.push("Content-Length is not the body's".to_owned());
    }
    if sip.body.is_empty() == sip.first("Content-Type").is_some() {
        faults.push("a body and its Content-Type come together or not at all".to_owned());
    }
    if sip.tag_of_from().is_none_or(str::is_empty) {
        faults.push("no From tag".to_owned());
    }
    if raw.starts_with(b"\r\n") {
        faults.push("an empty line before the message".to_owned());
    }
    for name in ["From", "To", "Contact", "Route", "Record-Route"] {
        faults.extend(
            sip.list(name)
                .iter()
                .filter_map(|value| wrong_address(name, value)),
        );
    }
    if sip.status().is_some() {
        response(sip, &mut faults);
    } else {
        request(sip, source, &mut faults);
    }
    if sip.first("Content-Type") == Some("application/sdp") {
        faults.extend(wrong_sdp(&sip.body));
    }
    faults
}

fn request(sip: &Sip, source: SocketAddr, faults: &mut Vec<String>) {
    let words: Vec<_> = sip.start.split(' ').collect();
    let [method, uri, "SIP/2.0"] = *words else {
        faults.push(format!("`{}` starts no request", sip.start));
        return;
    };
    let scheme = uri.split(':').next().unwrap_or_default();
    if !["sip", "sips", "tel", "urn"].contains(&scheme) || uri.contains(['<', '>', '"']) {
        faults.push(format!("`{uri}` is no Request-URI"));
    }
    if sip.cseq().1 != method || sip.cseq().0 == 0 || sip.cseq().0 >= 1 << 31 {
        faults.push("CSeq is not that of the method".to_owned());
    }
    let hops = sip.first("Max-Forwards").map(str::parse::<u8>);
    if !matches!(hops, Some(Ok(1..=70))) {
        faults.push(format!("Max-Forwards {hops:?}"));
    }
    if !sip.branch().starts_with("z9hG4bK") || sip.branch().len() < 12 {
        faults.push(format!("branch `{}`", sip.branch()));
    }
    let vias = sip.list("Via");
    if vias.len() != 1 {
        faults.push(format!(
            "{} Vias from a back-to-back user agent",
            vias.len()
        ));
    }
    let sent_by = vias.first().and_then(|via| via.split([' ', ';']).nth(1));
    if sent_by != Some(&source.to_string()) && sent_by != Some(&source.ip().to_string()) {
        faults.push(format!("Via names {sent_by:?}, not {source}"));
    }
    let makes_dialog = ["INVITE", "SUBSCRIBE", "REFER", "NOTIFY", "UPDATE"].contains(&method);
    if makes_dialog && sip.list("Contact").len() != 1 {
        faults.push(format!("{} Contacts", sip.list("Contact").len()));
    }
    if ["ACK", "BYE", "CANCEL"].contains(&method) && sip.first("Contact").is_some() {
        faults.push(format!("Contact in {method}"));
    }
    if sip.first("Record-Route").is_some() {
        faults.push("Record-Route from a back-to-back user agent".to_owned());
    }
    if sip.tag_of_to().is_none() && ["ACK", "BYE", "PRACK", "INFO"].contains(&method) {
        // The ACK of a failure has the tag of the failure.
        faults.push("no To tag".to_owned());
    }
}

fn response(sip: &Sip, faults: &mut Vec<String>) {
    if !matches!(sip.status(), Some(100..=699)) || sip.reason().is_empty() {
        faults.push(format!("`{}` starts no response", sip.start));
    }
    if sip.status() != Some(100) && sip.tag_of_to().is_none_or(str::is_empty) {
        faults.push("no To tag".to_owned());
    }
    let is_answer = sip.status() == Some(200) && sip.method() == "INVITE";
    if is_answer && sip.list("Contact").len() != 1 {
        faults.push(format!("{} Contacts", sip.list("Contact").len()));
    }
}

fn wrong_address(name: &str, value: &str) -> Option<String> {
    if value == "*" && name == "Contact" {
        return None;
    }
    let uri = address(value);
    let scheme = uri.split(':').next().unwrap_or_default();
    let known = ["sip", "sips", "tel", "urn", "mailto"].contains(&scheme);
    let paired = value.matches('<').count() == value.matches('>').count();
    let tags = split(&value.replace(';', ","))
        .iter()
        .filter(|one| one.starts_with("tag="))
        .count();
    let fine = known && paired && tags <= 1 && parameter(value, "tag") != Some("");
    (!fine).then(|| format!("{name}: {value}"))
}

/// The order of the lines, and that each says something.
fn wrong_sdp(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let kinds: String = text
        .lines()
        .filter_map(|line| line.chars().next())
        .collect();
    let session = kinds.split('m').next().unwrap_or_default();
    let order = "vosiuepcbtrzka";
    let places: Vec<_> = session.chars().map(|kind| order.find(kind)).collect();
    let fine = session.starts_with("vos")
        && session.contains('t')
        && places.is_sorted()
        && text.ends_with('\n')
        && text
            .lines()
            .all(|line| line.get(1..2) == Some("=") && line.len() > 2);
    (!fine).then(|| format!("an SDP body of lines {kinds}"))
}
