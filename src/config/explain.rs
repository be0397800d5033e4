//! What the configuration makes of a request, without sending anything: `campon route`.

use std::fmt::Write as _;

use crate::location::Domains;
use crate::routing::Place;
use crate::routing::table::{Asked, Destination, Origin, Refusal, Route, decide, rewritten};
use crate::shard::settings::{Peer, Settings};
use crate::sip::{Method, Uri, unescape};

use super::Config;

impl Config {
    /// Where a request of this method to this URI goes, and why; a few lines for people.
    ///
    /// `from` is `registered`, the name of a peer or an IP address. What is wrong with an argument
    /// comes back as the error.
    pub fn explain_route(&self, uri: &str, method: &str, from: &str) -> Result<String, String> {
        let settings = &self.shard;
        let parsed = Uri::parse(uri.as_bytes()).map_err(|error| format!("`{uri}`: {error}"))?;
        let raw_user: &[u8] = match parsed {
            Uri::Sip(uri) => uri.user.unwrap_or_default(),
            Uri::Tel(uri) => uri.number,
            Uri::Urn(_) | Uri::Other(_) => b"",
        };
        if Method::parse(method.as_bytes()).is_none() {
            return Err(format!("`{method}` is no method"));
        }
        let user = unescape(raw_user);
        let mut asked = Asked {
            user: &user,
            method,
            source: std::net::Ipv4Addr::UNSPECIFIED.into(),
            peer: None,
            is_registered: from == "registered",
        };
        if !asked.is_registered {
            sent_from(settings, from, &mut asked)?;
        }
        let mut text = String::new();
        // Writing to memory cannot fail.
        let _written = writeln!(
            text,
            "request    {method} {uri} from {}",
            sender(settings, &asked)
        );
        let decided = if is_emergency(settings, method, &parsed, &user) {
            let _written = writeln!(text, "route      none: a call for help passes the table by");
            None
        } else {
            decide(&settings.routes, &asked)
        };
        if let Some((number, route)) = decided {
            let _written = writeln!(text, "route      {number}: {}", shown(settings, route));
            text.push_str(&taken(settings, route, &parsed, raw_user));
        } else {
            if !settings.routes.is_empty() && !text.contains("none:") {
                text.push_str("route      none fits\n");
            }
            text.push_str(&without_table(settings, &asked));
        }
        Ok(text.trim_end().to_owned())
    }
}

fn sent_from(settings: &Settings, from: &str, asked: &mut Asked<'_>) -> Result<(), String> {
    let named = settings.peers().find(|(_, peer)| peer.name == from);
    let located = |peer: &Peer| peer.places.first().and_then(Place::fixed);
    if let Some((id, peer)) = named {
        asked.peer = Some(id.0);
        if let Some((_, address)) = located(peer) {
            asked.source = address.ip();
        }
        return Ok(());
    }
    let ip = from.parse();
    asked.source = ip.map_err(|_| format!("`{from}` is no peer, no IP address, not registered"))?;
    let has = |peer: &Peer| {
        let mut fixed = peer.places.iter().filter_map(Place::fixed);
        fixed.any(|(_, address)| address.ip() == asked.source)
    };
    let peer = settings.peers().find(|(_, peer)| has(peer));
    asked.peer = peer.map(|(id, _)| id.0);
    Ok(())
}

fn sender(settings: &Settings, asked: &Asked<'_>) -> String {
    if asked.is_registered {
        return "a registered phone".to_owned();
    }
    match asked.peer {
        Some(peer) => format!("peer {}", name_of(settings, peer)),
        None => format!("{}, which is no peer", asked.source),
    }
}

fn is_emergency(settings: &Settings, method: &str, uri: &Uri<'_>, user: &[u8]) -> bool {
    let sos = b"urn:service:sos";
    let is_sos = matches!(uri, Uri::Urn(urn) if urn.to_ascii_lowercase().starts_with(sos));
    let mut numbers = settings.calls.emergency.iter();
    method == "INVITE" && (is_sos || numbers.any(|number| number.as_bytes() == user))
}

/// One route as `campon check` shows it.
pub(super) fn shown(settings: &Settings, route: &Route) -> String {
    let mut text = String::new();
    if let Some(method) = &route.method {
        text.push_str(method);
        text.push(' ');
    }
    match &route.user {
        Some(user) => text.push_str(&user.0),
        None => text.push_str("everything"),
    }
    match &route.from {
        None => {}
        Some(Origin::Registered) => text.push_str(" from registered phones"),
        Some(Origin::Peer(peer)) => {
            let _written = write!(text, " from {}", name_of(settings, *peer));
        }
        Some(Origin::Network(network)) => {
            let _written = write!(text, " from {}/{}", network.ip, network.bits);
        }
    }
    match &route.to {
        Destination::Users => text.push_str(" to our users"),
        Destination::Refused(refusal) => {
            let _written = write!(text, " refused with {}", status_of(*refusal));
        }
        Destination::Peer {
            peer,
            strip,
            prefix,
        } => {
            let _written = write!(text, " to {}", name_of(settings, *peer));
            if *strip > 0 {
                let _written = write!(text, ", without the first {strip}");
            }
            if !prefix.is_empty() {
                let _written = write!(text, ", with {prefix} before");
            }
        }
    }
    text
}

/// What becomes of the request by this route.
fn taken(settings: &Settings, route: &Route, uri: &Uri<'_>, user: &[u8]) -> String {
    match &route.to {
        Destination::Users => {
            "result     to the phones of the user if he is registered, else 480 or 404\n".to_owned()
        }
        Destination::Refused(refusal) => format!("result     {}\n", status_of(*refusal)),
        Destination::Peer {
            peer,
            strip,
            prefix,
        } => {
            let changed = rewritten(uri.text(), user, *strip, prefix);
            let changed = String::from_utf8_lossy(&changed).into_owned();
            let own = Domains::new(
                settings.listeners.iter().map(|it| it.bind.ip()),
                settings.domains.iter().map(String::as_str),
            );
            let is_own = matches!(uri, Uri::Sip(uri) if own.is_own(uri));
            let host = if is_own && settings.edge.is_none() {
                ", with the peer's host"
            } else {
                ""
            };
            let at = at(settings, *peer);
            format!("result     {changed}{host}, to {at}\n")
        }
    }
}

/// Where trunk mode sends what no route fits.
const TO_NAMED: &str = "to the peer whose host the URI names";

fn without_table(settings: &Settings, asked: &Asked<'_>) -> String {
    let upstream = settings.upstream.as_ref();
    let from_pbx = asked.peer == Some(Settings::UPSTREAM.0);
    let up = || at(settings, Settings::UPSTREAM.0);
    if settings.is_trunk {
        return match upstream {
            Some(_) if !from_pbx => format!("result     {TO_NAMED}, else to {}\n", up()),
            Some(_) | None => format!("result     {TO_NAMED}, else 404\n"),
        };
    }
    match (upstream, settings.edge.is_some()) {
        (Some(_), true) if from_pbx => {
            "result     to the phone whose alias is called, else 480 or 404\n".to_owned()
        }
        (Some(_), true) => format!("result     as it is, to {}\n", up()),
        (Some(_), false) => format!(
            "result     to the phones of the user if he is registered, else to {}\n",
            up()
        ),
        (None, _) => {
            "result     to the phones of the user if he is registered, else 480 or 404\n".to_owned()
        }
    }
}

fn at(settings: &Settings, peer: u32) -> String {
    let found = settings.peers().find(|(id, _)| id.0 == peer);
    found.map_or_else(String::new, |(_, peer)| {
        let by_dns = if peer.has_names() { " (by DNS)" } else { "" };
        format!("{} at {}{by_dns}", peer.name, peer.shown())
    })
}

fn name_of(settings: &Settings, peer: u32) -> &str {
    let found = settings.peers().find(|(id, _)| id.0 == peer);
    found.map_or("", |(_, peer)| &peer.name)
}

fn status_of(refusal: Refusal) -> u16 {
    match refusal {
        Refusal::Declined => 603,
        Refusal::Forbidden => 403,
        Refusal::NotFound => 404,
    }
}
