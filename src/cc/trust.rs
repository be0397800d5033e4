//! What a peer may tell an agent to contact and to dial.
//!
//! Spec: RFC 6910 §11; RFC 3261 §19.1.1 (maddr, headers).
//!
//! Call-Info, cc-URI and Contact are a peer's data, not routes: whatever they say, the message goes
//! to the peer from which the failed response came, and what it dials there is the original number
//! or a name that the peer made up itself.

use std::sync::Arc;

use crate::cc::addr::AddrSpec;
use crate::sip::uri::{Host, SipUri, Uri};

/// Names a peer of the configuration; given by the owner, never looked into.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PeerId(pub u32);

/// The peer from which a failed response came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    /// Where everything about the call goes.
    pub id: PeerId,
    /// Its own addresses and names, and the domains that it speaks for (`cc_domains`), lower case.
    pub hosts: Arc<[Box<str>]>,
    /// What it may have dialled.
    pub dials: Dials,
}

/// What a peer may have dialled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dials {
    /// The original number alone: a PBX, whose dial plan reaches the world at our users' cost.
    Original,
    /// That, or a name of the peer's making.
    Tokens,
}

/// Why an address is not used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Distrust {
    /// It carries headers.
    #[error("the URI carries headers")]
    Headers,
    /// Its host is not the peer's.
    #[error("the host is not the peer's")]
    Host,
    /// It names another address to send to.
    #[error("the URI has maddr")]
    Maddr,
    /// It is no sip or sips URI.
    #[error("the scheme is neither sip nor sips")]
    Scheme,
    /// Its user is a number that was not dialled.
    #[error("the user is a number that was not dialled")]
    User,
}

impl Peer {
    /// Whether a message that starts nothing may name this address: SUBSCRIBE, PUBLISH.
    pub fn may_name(&self, address: &AddrSpec) -> Result<(), Distrust> {
        self.checked(address).map(|_| ())
    }

    /// Whether a call may be placed to this address, where `dialled` was called before.
    pub fn may_dial(&self, address: &AddrSpec, dialled: &AddrSpec) -> Result<(), Distrust> {
        let uri = self.checked(address)?;
        let is_original = uri.user.is_some() && uri.user == user_of(dialled);
        let is_token = self.dials == Dials::Tokens && is_made_up(&uri);
        (is_original || is_token)
            .then_some(())
            .ok_or(Distrust::User)
    }

    fn checked<'a>(&self, address: &'a AddrSpec) -> Result<SipUri<'a>, Distrust> {
        let uri = Uri::parse(address.as_str().as_bytes()).map_err(|_| Distrust::Scheme)?;
        let uri = uri.as_sip().ok_or(Distrust::Scheme)?;
        if uri.headers.is_some() {
            return Err(Distrust::Headers);
        }
        if uri.params.has("maddr") {
            return Err(Distrust::Maddr);
        }
        let known = |host: &str| Host::parse(host.as_bytes()).is_ok_and(|host| host == uri.host);
        if self.hosts.iter().any(|host| known(host)) {
            Ok(uri)
        } else {
            Err(Distrust::Host)
        }
    }
}

fn user_of(address: &AddrSpec) -> Option<&[u8]> {
    match Uri::parse(address.as_str().as_bytes()).ok()? {
        Uri::Sip(uri) => uri.user,
        Uri::Tel(uri) => Some(uri.number),
        Uri::Urn(_) | Uri::Other(_) => None,
    }
}

/// A name, and by no reading a telephone number: some letter, and nothing that hides a digit.
fn is_made_up(uri: &SipUri<'_>) -> bool {
    let user = uri.user.unwrap_or_default();
    let is_phone = uri
        .params
        .value("user")
        .is_some_and(|value| value.eq_ignore_ascii_case(b"phone"));
    let named = user.iter().any(u8::is_ascii_alphabetic);
    let numbered = user.first().is_some_and(|b| b"+*#0123456789".contains(b));
    let escaped = user.contains(&b'%');
    named && !is_phone && !numbered && !escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(dials: Dials) -> Peer {
        let hosts = ["192.0.2.7", "biloxi.example", "[2001:db8::7]"];
        Peer {
            id: PeerId(1),
            hosts: hosts.map(Box::from).into(),
            dials,
        }
    }

    fn address(text: &str) -> AddrSpec {
        AddrSpec::new(text).expect("a URI")
    }

    #[test]
    fn only_plain_sip_addresses_of_the_peer_itself_are_contacted() {
        let peer = peer(Dials::Original);
        for text in [
            "sip:cc-1@192.0.2.7:5070",
            "sips:BILOXI.example;x=1",
            "sip:m@[2001:db8::7];m=BS",
        ] {
            assert_eq!(peer.may_name(&address(text)), Ok(()), "{text}");
        }
        for (text, why) in [
            ("sip:cc-1@198.51.100.9", Distrust::Host),
            ("sip:cc-1@biloxi.example.evil.example", Distrust::Host),
            ("sip:biloxi.example@evil.example", Distrust::Host),
            (
                "sip:cc-1@biloxi.example;maddr=198.51.100.9",
                Distrust::Maddr,
            ),
            (
                "sip:cc-1@biloxi.example?Route=%3Csip:evil%3E",
                Distrust::Headers,
            ),
            ("tel:+19005550100", Distrust::Scheme),
            ("http://biloxi.example/", Distrust::Scheme),
        ] {
            assert_eq!(peer.may_name(&address(text)), Err(why), "{text}");
        }
    }

    #[test]
    fn only_the_original_number_or_a_made_up_name_is_dialled() {
        let dialled = address("sip:+15550123@biloxi.example");
        let dials = |text: &str, dials| peer(dials).may_dial(&address(text), &dialled);
        for text in [
            "sip:+19005550100@biloxi.example",
            "sip:19005550100@biloxi.example",
            "sip:%2B19005550100@biloxi.example",
            "sip:a@biloxi.example;user=phone",
            "sip:*72a@biloxi.example",
            "sip:biloxi.example",
        ] {
            assert_eq!(dials(text, Dials::Tokens), Err(Distrust::User), "{text}");
        }
        let original = "sip:+15550123@biloxi.example;m=BS";
        assert_eq!(dials(original, Dials::Original), Ok(()));
        let token = "sip:cce-mzxw6@biloxi.example";
        assert_eq!(dials(token, Dials::Tokens), Ok(()));
        assert_eq!(dials(token, Dials::Original), Err(Distrust::User));
    }

    #[test]
    fn a_number_dialled_as_tel_is_the_same_number() {
        let dialled = address("tel:+15550123");
        let target = address("sip:+15550123@biloxi.example");
        assert_eq!(peer(Dials::Original).may_dial(&target, &dialled), Ok(()));
    }
}
