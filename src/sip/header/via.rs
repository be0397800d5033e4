//! Via: one hop of the way that a request came.
//!
//! Spec: RFC 3261 §8.1.1.7, §18.2, §20.42; RFC 3581 §4; RFC 5118 §4.5.

use std::net::IpAddr;

use crate::sip::error::{ParseError, What};
use crate::sip::host::{Host, parse_address};
use crate::sip::lex::{Cursor, parse_port, trim};
use crate::sip::name::Name;
use crate::sip::params::Params;

/// What the branch of every RFC 3261 client begins with.
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// One value of Via.
#[derive(Clone, Copy, Debug)]
pub struct Via<'m> {
    /// The transport, as written: `UDP`, `TCP`, `TLS`, `WS`, `WSS`, `SCTP` or another token.
    pub transport: &'m [u8],
    /// The host of sent-by.
    pub host: Host<'m>,
    /// The port of sent-by, if one is written.
    pub port: Option<u16>,
    /// `branch`, `rport`, `received` and others.
    pub params: Params<'m>,
    /// The whole value, as written; may hold folds.
    pub text: &'m [u8],
    sent_by: &'m [u8],
    /// Asked for by each layer, so found once.
    branch: Option<&'m [u8]>,
    has_rport: bool,
    rport: Option<u16>,
}

impl<'m> Via<'m> {
    /// Parses one value, from the protocol to the last parameter.
    pub fn parse(value: &'m [u8]) -> Result<Self, ParseError> {
        let text = trim(value);
        let mut cursor = Cursor::new(text);
        take_word(&mut cursor)?;
        take_slash(&mut cursor)?;
        take_word(&mut cursor)?;
        take_slash(&mut cursor)?;
        let transport = take_word(&mut cursor)?;
        cursor.skip_lws();
        let start = cursor;
        let host = Host::take(&mut cursor)?;
        let mut port = None;
        let mut sent_by = cursor.since(start);
        if cursor.eat_spaced(b':') {
            let error = cursor.error(What::Port);
            let digits = cursor.take_while(|byte| byte.is_ascii_digit());
            port = Some(parse_port(digits).ok_or(error)?);
            sent_by = cursor.since(start);
        }
        let before = cursor.at();
        let (mut branch, mut rport) = (None, None);
        let params = Params::parse_noting(cursor.rest(), |name, value| {
            if name.eq_ignore_ascii_case(b"branch") {
                branch.get_or_insert(value);
            } else if name.eq_ignore_ascii_case(b"rport") {
                rport.get_or_insert(value);
            }
        });
        Ok(Self {
            transport,
            host,
            port,
            params: params.map_err(|error| error.after(before))?,
            text,
            sent_by,
            branch: branch.flatten().filter(|branch| !branch.is_empty()),
            has_rport: rport.is_some(),
            rport: rport.flatten().and_then(parse_port),
        })
    }

    /// The transaction's id, as the client made it.
    pub fn branch(&self) -> Option<&'m [u8]> {
        self.branch
    }

    /// The `rport` parameter: `None` if absent, `Some(None)` if it asks to be filled in.
    ///
    /// A value that is no port counts as none.
    pub fn rport(&self) -> Option<Option<u16>> {
        self.has_rport.then_some(self.rport)
    }

    /// The source address that the receiver saw, with or without brackets.
    pub fn received(&self) -> Option<IpAddr> {
        self.params.value("received").and_then(parse_address)
    }

    /// Host and port as written.
    pub fn sent_by(&self) -> &'m [u8] {
        self.sent_by
    }

    /// Whether the branch is one of RFC 3261: the cookie, and something after it.
    pub fn has_magic_cookie(&self) -> bool {
        // S-01: the cookie alone names no transaction.
        let id = self
            .branch()
            .and_then(|branch| branch.strip_prefix(MAGIC_COOKIE.as_bytes()));
        id.is_some_and(|id| !id.is_empty())
    }
}

fn take_word<'m>(cursor: &mut Cursor<'m>) -> Result<&'m [u8], ParseError> {
    let word = cursor.take_token();
    if word.is_empty() {
        return Err(cursor.error(What::Malformed(Name::Via)));
    }
    Ok(word)
}

fn take_slash(cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
    if cursor.eat_spaced(b'/') {
        Ok(())
    } else {
        Err(cursor.error(What::Malformed(Name::Via)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(value: &str) -> Via<'_> {
        Via::parse(value.as_bytes()).unwrap()
    }

    #[test]
    fn a_plain_value_is_split() {
        let via = via("SIP/2.0/UDP client.biloxi.com:5070;branch=z9hG4bKnashds8;rport");
        assert_eq!(via.transport, b"UDP");
        assert_eq!(via.host, Host::Name("client.biloxi.com"));
        assert_eq!(via.port, Some(5070));
        assert_eq!(via.sent_by(), b"client.biloxi.com:5070");
        assert_eq!(via.branch(), Some(&b"z9hG4bKnashds8"[..]));
        assert_eq!(via.rport(), Some(None));
        assert!(via.has_magic_cookie()); // S-01
    }

    #[test]
    fn blanks_and_folds_may_stand_between_all_parts() {
        let via =
            via("SIP  /   2.0\r\n /TCP     spindle.example.com : 99  ;\r\n  branch  =   z9hG4bK9 ");
        assert_eq!(via.transport, b"TCP");
        assert_eq!(via.port, Some(99)); // S-33
        assert_eq!(via.branch(), Some(&b"z9hG4bK9"[..]));
    }

    #[test]
    fn received_may_be_an_ipv6_address_in_either_form() {
        let address = Some("2001:db8::9:255".parse().unwrap());
        assert_eq!(
            via("SIP/2.0/UDP [::1];received=[2001:db8::9:255]").received(),
            address
        );
        assert_eq!(
            via("SIP/2.0/UDP [::1];received=2001:db8::9:255").received(),
            address
        );
    }

    #[test]
    fn rport_may_be_absent_empty_or_filled() {
        assert_eq!(via("SIP/2.0/UDP h").rport(), None);
        assert_eq!(via("SIP/2.0/UDP h;rport=").rport(), Some(None)); // S-80
        assert_eq!(via("SIP/2.0/UDP h;rport=5099").rport(), Some(Some(5099)));
    }

    #[test]
    fn the_cookie_alone_is_no_branch_of_rfc_3261() {
        assert!(!via("SIP/2.0/UDP h;branch=z9hG4bK").has_magic_cookie()); // S-01
        assert!(!via("SIP/2.0/UDP h;branch=390skdjuw").has_magic_cookie());
        assert!(!via("SIP/2.0/UDP h").has_magic_cookie());
    }

    #[test]
    fn broken_values_are_refused() {
        for value in [
            "",
            "SIP/2.0",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ;branch=a",
            "SIP/2.0/UDP 192.0.2.15;;",
            "SIP/2.0/UDP h:",
            "SIP/2.0/UDP h:0",
            "SIP/2.0/UDP h:70000",
            "SIP/2.0/UDP 2001:db8::1",
            "SIP/2.0/UDP a b",
        ] {
            assert!(Via::parse(value.as_bytes()).is_err(), "{value}");
        }
    }
}
