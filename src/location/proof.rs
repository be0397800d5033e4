//! Credentials with everything that proves whose a request is.
//!
//! Spec: RFC 7616 §3.4.1–§3.4.3, §3.4.6; RFC 3261 §22.4.

use crate::location::Domains;
use crate::sip::Message;
use crate::sip::Name;
use crate::sip::Request;
use crate::sip::Uri;
use crate::sip::digest::Algorithm;
use crate::sip::digest::QOP;
use crate::sip::digest::Said;
use crate::sip::header::credentials::Credentials;

/// What somebody brings forward to be taken for a user of ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proof<'m> {
    pub(super) username: &'m [u8],
    pub(super) algorithm: Algorithm,
    pub(super) nonce: &'m [u8],
    /// How often the phone has used the nonce, this time included; not 0.
    pub(super) count: u32,
    uri: &'m [u8],
    answer: &'m [u8],
    credentials: Credentials<'m>,
}

/// Credentials that lack something, or say something that was not asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Malformed;

impl<'m> Proof<'m> {
    /// The proof for this realm; `None` if the request has none.
    ///
    /// S-171: what is of another scheme or realm is for others, and says nothing to us.
    pub(super) fn find(
        message: &Message<'m>,
        name: Name,
        realm: &str,
    ) -> Option<Result<Self, Malformed>> {
        let mut all = message.fields(name).filter_map(Credentials::parse);
        let ours = all.find(|credentials| credentials.is_for(realm))?;
        Some(Self::of(ours).ok_or(Malformed))
    }

    fn of(credentials: Credentials<'m>) -> Option<Self> {
        let algorithm = match credentials.algorithm {
            Some(name) => Algorithm::of(name)?,
            None => Algorithm::Md5,
        };
        // S-172: we always offer it, so whoever understood the challenge has it.
        credentials
            .qop
            .filter(|qop| qop.eq_ignore_ascii_case(QOP.as_bytes()))?;
        credentials.cnonce?;
        Some(Self {
            username: credentials.username?,
            algorithm,
            nonce: credentials.nonce?,
            count: count(credentials.nc?).filter(|count| *count > 0)?,
            uri: credentials.uri?,
            answer: credentials.response?,
            credentials,
        })
    }

    /// Whether it was made for this request's target, which a proxy may have spelled otherwise.
    pub(super) fn is_for(&self, target: &Uri<'_>, domains: &Domains) -> bool {
        let Ok(uri) = Uri::parse(self.uri) else {
            return false;
        };
        let is_ours = |uri: &Uri<'_>| uri.as_sip().is_some_and(|uri| domains.is_own(&uri));
        let is_same_user = domains.aor(&uri) == domains.aor(target);
        uri.is_equivalent(target) || (is_ours(&uri) && is_ours(target) && is_same_user)
    }

    /// Whether the one who knows this secret has made it, and for this method.
    pub(super) fn is_right(&self, request: &Request<'_>, secret: &[u8]) -> bool {
        let Credentials {
            nc, cnonce, qop, ..
        } = self.credentials;
        let said = Said {
            nonce: self.nonce,
            count: nc.unwrap_or_default(),
            own_nonce: cnonce.unwrap_or_default(),
            qop: qop.unwrap_or_default(),
            method: request.method.as_str().as_bytes(),
            uri: self.uri,
        };
        said.is_answered(self.algorithm, secret, self.answer)
    }
}

/// The number of eight hexadecimal digits.
fn count(digits: &[u8]) -> Option<u32> {
    let is_hex = digits.len() == 8 && digits.iter().all(u8::is_ascii_hexdigit);
    let digits = str::from_utf8(digits).ok().filter(|_| is_hex)?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Scratch;

    const WHOLE: &str = "Digest username=\"bob\", realm=\"campon\", nonce=\"n\", uri=\"sip:campon\", \
        response=\"00\", algorithm=SHA-256, qop=auth, nc=00000002, cnonce=\"c\"";

    type Found = Option<Result<(String, Algorithm, u32), Malformed>>;

    fn found(values: &[&str]) -> Found {
        let lines = values
            .iter()
            .map(|value| format!("Authorization: {value}\r\n"));
        let lines: String = lines.collect();
        let text = format!("REGISTER sip:campon SIP/2.0\r\n{lines}\r\n");
        let mut scratch = Scratch::new();
        let message = Message::parse(text.as_bytes(), &mut scratch).expect("a message");
        let found = Proof::find(&message, Name::Authorization, "campon")?;
        Some(found.map(|proof| {
            let username = String::from_utf8_lossy(proof.username).into_owned();
            (username, proof.algorithm, proof.count)
        }))
    }

    fn changed(part: &str, by: &str) -> String {
        assert!(WHOLE.contains(part), "{part}");
        WHOLE.replace(part, by)
    }

    #[test]
    fn credentials_for_our_realm_are_found_among_others() {
        let elsewhere = changed("\"campon\"", "\"pbx.example\"");
        let others = ["NoOneKnowsThisScheme opaque-data=here", &elsewhere];
        let expected = ("bob".to_owned(), Algorithm::Sha256, 2);
        assert_eq!(found(&[others[0], others[1], WHOLE]), Some(Ok(expected))); // S-171
        assert_eq!(found(&others), None); // S-171
    }

    #[test]
    fn without_an_algorithm_it_is_md5() {
        let expected = ("bob".to_owned(), Algorithm::Md5, 2);
        assert_eq!(
            found(&[&changed("algorithm=SHA-256, ", "")]),
            Some(Ok(expected))
        );
    }

    #[test]
    fn what_lacks_something_is_malformed() {
        for part in [
            "username=\"bob\",",
            "nonce=\"n\",",
            "uri=\"sip:campon\",",
            "response=\"00\",",
            " qop=auth,",
            " nc=00000002,",
            ", cnonce=\"c\"",
        ] {
            // S-172
            assert_eq!(found(&[&changed(part, "")]), Some(Err(Malformed)), "{part}");
        }
    }

    #[test]
    fn what_was_not_offered_is_malformed() {
        for (part, by) in [
            ("qop=auth", "qop=auth-int"),
            ("SHA-256", "SHA-256-sess"),
            ("nc=00000002", "nc=00000000"),
            ("nc=00000002", "nc=2"),
            ("nc=00000002", "nc=+0000002"),
        ] {
            assert_eq!(found(&[&changed(part, by)]), Some(Err(Malformed)), "{by}");
        }
    }

    #[test]
    fn a_proof_is_for_its_own_target_however_that_is_written() {
        let own = "192.0.2.1".parse().expect("an address");
        let domains = Domains::new([own], ["campon.example"]);
        let is_for = |uri: &str, target: &str| {
            let field = changed("\"sip:campon\"", &format!("\"{uri}\""));
            let credentials = Credentials::parse(field.as_bytes()).expect("credentials");
            let proof = Proof::of(credentials).expect("a proof");
            let target = Uri::parse(target.as_bytes()).expect("a URI");
            proof.is_for(&target, &domains)
        };
        assert!(is_for(
            "sip:192.0.2.1",
            "sip:campon.example:5060;transport=udp"
        ));
        assert!(is_for("sip:bob@campon.example", "sip:%62ob@192.0.2.1;x=1"));
        assert!(is_for("sip:bob@pbx.example", "SIP:bob@PBX.example"));
        assert!(!is_for("sip:192.0.2.1", "sip:bob@192.0.2.1"));
        assert!(!is_for("sip:bob@192.0.2.1", "sip:carol@192.0.2.1"));
        assert!(!is_for("sip:bob@pbx.example", "sip:bob@pbx.example:5070"));
        assert!(!is_for("bob", "sip:bob@192.0.2.1"));
    }
}
