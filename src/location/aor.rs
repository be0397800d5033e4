//! The address of record: the name under which a user is called, in a form that can be compared.
//!
//! Spec: RFC 3261 §10.3 step 5, §19.1.4; RFC 3966 §5.1 (visual separators).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::observe::Pii;
use crate::sip::Host;
use crate::sip::SipUri;
use crate::sip::TelUri;
use crate::sip::Uri;
use crate::sip::unescape;

/// Who is meant, whatever the spelling: the user unescaped, the host in lower case, no parameters.
///
/// All hosts of our own are one domain, so that a phone that knows us by name and one that knows our
/// address can call each other.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Aor(Arc<str>);

/// Room for the longest AOR that people have, so that the one allocation is the last copy.
type Canonical = SmallVec<[u8; 128]>;

impl Aor {
    fn new(user: &[u8], domain: &str) -> Self {
        let mut text = Canonical::new();
        append_readable(&mut text, user);
        text.push(b'@');
        text.extend_from_slice(domain.as_bytes());
        let text = str::from_utf8(&text).expect("what is no UTF-8 was escaped");
        Self(Arc::from(text))
    }

    /// A user of ours, of this name.
    pub fn of_user(name: &[u8]) -> Self {
        Self::new(name, "")
    }

    /// The AOR whose [`Self::as_str`] this was.
    pub fn from_canonical(text: Arc<str>) -> Self {
        Self(text)
    }

    /// User, `@`, and the domain, which is empty if it is our own; the last `@` divides them.
    ///
    /// In the user, percent signs, control characters and what is no UTF-8 are escaped.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The user part of [`Self::as_str`].
    pub fn user(&self) -> &str {
        self.0.rsplit_once('@').map_or(&*self.0, |(user, _)| user)
    }

    /// The same text, to be shared.
    pub fn as_arc(&self) -> &Arc<str> {
        &self.0
    }
}

impl fmt::Debug for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aor({})", Pii(self.as_str()))
    }
}

/// The hosts that are ours.
#[derive(Clone, Debug, Default)]
pub struct Domains {
    addresses: Vec<IpAddr>,
    names: Vec<Box<str>>,
}

impl Domains {
    /// The domains of these addresses and names; a name may be an address.
    ///
    /// Who listens on a loopback address, or on every address, is `localhost` as well.
    pub fn new(
        addresses: impl IntoIterator<Item = IpAddr>,
        names: impl IntoIterator<Item: AsRef<str>>,
    ) -> Self {
        let mut own = Self {
            addresses: addresses.into_iter().collect(),
            names: Vec::new(),
        };
        let is_local = |address: &IpAddr| address.is_loopback() || address.is_unspecified();
        if own.addresses.iter().any(is_local) {
            own.names.push("localhost".into());
        }
        for name in names {
            match name.as_ref().parse() {
                Ok(address) => own.addresses.push(address),
                Err(_) => own.names.push(name.as_ref().into()),
            }
        }
        own
    }

    /// Whom this URI names; `None` if it names no user.
    ///
    /// A telephone number is a user of ours of that name, without its visual separators.
    pub fn aor(&self, uri: &Uri<'_>) -> Option<Aor> {
        match uri {
            Uri::Sip(uri) => self.sip_aor(uri),
            Uri::Tel(uri) => Some(tel_aor(uri)),
            Uri::Urn(_) | Uri::Other(_) => None,
        }
    }

    /// Whether the URI's host is one of ours.
    pub fn is_own(&self, uri: &SipUri<'_>) -> bool {
        match uri.host.address() {
            Some(address) => self.addresses.contains(&address),
            None => self.names.iter().any(|name| is_name(&uri.host, name)),
        }
    }

    fn sip_aor(&self, uri: &SipUri<'_>) -> Option<Aor> {
        let user = unescape(uri.user?);
        if self.is_own(uri) {
            return Some(Aor::new(&user, ""));
        }
        let host = uri.host.to_string().to_ascii_lowercase();
        Some(Aor::new(&user, host.trim_end_matches('.')))
    }
}

/// Appends a user as text in which two users never look the same.
fn append_readable(text: &mut Canonical, user: &[u8]) {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'%';
    if user.iter().all(is_plain) {
        text.extend_from_slice(user);
        return;
    }
    for chunk in user.utf8_chunks() {
        for letter in chunk.valid().chars() {
            let mut bytes = [0; 4];
            let bytes = letter.encode_utf8(&mut bytes).as_bytes();
            if letter == '%' || letter.is_control() {
                append_escaped(text, bytes);
            } else {
                text.extend_from_slice(bytes);
            }
        }
        append_escaped(text, chunk.invalid());
    }
}

fn append_escaped(text: &mut Canonical, bytes: &[u8]) {
    for byte in bytes {
        text.extend_from_slice(format!("%{byte:02X}").as_bytes());
    }
}

fn is_name(host: &Host<'_>, own: &str) -> bool {
    match host {
        Host::Name(name) => name.trim_end_matches('.').eq_ignore_ascii_case(own),
        Host::V4(_) | Host::V6(_) => false,
    }
}

fn tel_aor(uri: &TelUri<'_>) -> Aor {
    let is_separator = |byte: &u8| matches!(byte, b'-' | b'.' | b'(' | b')');
    let digits = uri.number.iter().filter(|byte| !is_separator(byte));
    Aor::new(&digits.copied().collect::<Vec<_>>(), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains() -> Domains {
        let own = ["127.0.0.1", "2001:db8::1"].map(|text| text.parse().expect("an address"));
        Domains::new(own, ["pbx.example.com", "192.0.2.7"])
    }

    fn aor(text: &str) -> Option<Aor> {
        let uri = Uri::parse(text.as_bytes()).expect("a URI");
        domains().aor(&uri)
    }

    #[test]
    fn every_host_of_ours_is_the_same_domain() {
        for host in [
            "[2001:DB8:0::1]",
            "PBX.example.com",
            "192.0.2.7:5070",
            "localhost",
        ] {
            assert_eq!(aor(&format!("sip:bob@{host}")), aor("sip:bob@127.0.0.1"));
        }
        assert_ne!(aor("sip:bob@example.com"), aor("sip:bob@127.0.0.1"));
    }

    #[test]
    fn a_domain_of_others_has_no_case_and_no_last_dot() {
        assert_eq!(aor("sip:bob@Office.Local."), aor("sip:bob@office.local"));
        assert_ne!(aor("sip:bob@office.local"), aor("sip:bob@home.local"));
    }

    #[test]
    fn scheme_port_parameters_and_password_name_nobody_else() {
        let bob = aor("sip:bob@pbx.example.com");
        assert_eq!(
            aor("sips:bob:secret@pbx.example.com:5061;transport=tcp"),
            bob
        );
    }

    #[test]
    fn a_user_is_compared_unescaped_and_with_case() {
        assert_eq!(aor("sip:%62ob@localhost"), aor("sip:bob@localhost")); // S-34
        assert_ne!(aor("sip:Bob@localhost"), aor("sip:bob@localhost")); // S-34
    }

    #[test]
    fn an_escaped_at_sign_does_not_move_a_user_to_our_domain() {
        assert_ne!(aor("sip:bob%40@example.com"), aor("sip:bob@example.com"));
        assert_ne!(
            aor("sip:bob%40example.com@localhost"),
            aor("sip:bob@example.com")
        );
    }

    #[test]
    fn what_is_no_readable_text_is_escaped() {
        let canonical = |uri: &str| aor(uri).expect("a user").as_str().to_owned();
        assert_eq!(canonical("sip:j%C3%BCrgen%20b@localhost"), "jürgen b@");
        assert_eq!(
            canonical("sip:a%0d%0A%C2%85%fe@H.Example"),
            "a%0D%0A%C2%85%FE@h.example"
        );
    }

    #[test]
    fn a_percent_sign_makes_no_two_users_the_same() {
        assert_ne!(aor("sip:a%2501@localhost"), aor("sip:a%01@localhost"));
    }

    #[test]
    fn the_canonical_text_is_the_user() {
        let bob = aor("sip:%62ob@Example.com").expect("a user");
        assert_eq!(bob.as_str(), "bob@example.com");
        assert_eq!(Aor::from_canonical(bob.as_arc().clone()), bob);
    }

    #[test]
    fn a_telephone_number_is_a_user_of_ours_without_its_separators() {
        assert_eq!(aor("tel:+49-(30).123"), aor("sip:+4930123@localhost")); // S-35
    }

    #[test]
    fn a_uri_without_a_user_names_nobody() {
        assert_eq!(aor("sip:pbx.example.com"), None);
        assert_eq!(aor("urn:service:sos"), None);
    }

    #[test]
    fn a_log_line_does_not_show_the_user() {
        let shown = format!("{:?}", aor("sip:bobby@example.com").expect("a user"));
        assert_eq!(shown, "Aor(**by@example.com)");
    }
}
