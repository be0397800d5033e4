//! What a phone with a password answers to a challenge, reckoned by the kit alone.
//!
//! Spec: RFC 7616 §3.4.1.

use std::fmt::Write as _;

use md5::Md5;
use sha2::Sha256;
use sha2::digest::Digest;

use super::draft::Draft;
use super::message::Message;

/// A user, and what he types in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Login {
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
}

pub(crate) const ALICE: Login = Login {
    user: "alice",
    password: "wonderland",
};

pub(crate) const BOB: Login = Login {
    user: "bob",
    password: "builder",
};

/// Campon's own account at the upstream, where it has one.
pub(crate) const CAMPON: Login = Login {
    user: "campon",
    password: "outside",
};

impl Login {
    /// Whether these credentials are right for the request in which they stand, and made for this
    /// challenge.
    #[track_caller]
    pub(crate) fn is_proven_by(self, credentials: &str, challenge: &str, request: &Message) {
        let given = |name| part(credentials, name);
        let expected = self.answers(challenge, request);
        for name in [
            "username",
            "realm",
            "nonce",
            "uri",
            "algorithm",
            "opaque",
            "qop",
            "nc",
        ] {
            assert_eq!(
                given(name),
                part(&expected, name),
                "{name} in {credentials}"
            );
        }
        let Self { user, password } = self;
        let hash = match given("algorithm") {
            "SHA-256" => hash::<Sha256>,
            _ => hash::<Md5>,
        };
        let secret = hash(&format!("{user}:{}:{password}", given("realm")));
        let asked = hash(&format!("{}:{}", request.kind(), request.uri()));
        let (nonce, own_nonce) = (given("nonce"), given("cnonce"));
        assert!(own_nonce.len() >= 8, "{credentials}");
        let text = format!("{secret}:{nonce}:00000001:{own_nonce}:auth:{asked}");
        assert_eq!(given("response"), hash(&text), "{credentials}");
    }

    /// The credentials for a request like the one that met this challenge.
    pub(crate) fn answers(self, challenge: &str, request: &Message) -> String {
        self.answers_nth(challenge, request, 1)
    }

    /// The same when the nonce has been used before.
    pub(crate) fn answers_nth(self, challenge: &str, request: &Message, count: u32) -> String {
        let Self { user, password } = self;
        let hash = match part(challenge, "algorithm") {
            "SHA-256" => hash::<Sha256>,
            "MD5" => hash::<Md5>,
            other => panic!("no phone knows {other}: {challenge}"),
        };
        let (realm, nonce) = (part(challenge, "realm"), part(challenge, "nonce"));
        let (method, uri) = (request.kind(), request.uri());
        let secret = hash(&format!("{user}:{realm}:{password}"));
        let asked = hash(&format!("{method}:{uri}"));
        let response = hash(&format!(
            "{secret}:{nonce}:{count:08x}:0a4f113b:auth:{asked}"
        ));
        format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm={}, cnonce=\"0a4f113b\", opaque=\"{}\", qop=auth, \
             nc={count:08x}",
            part(challenge, "algorithm"),
            part(challenge, "opaque")
        )
    }
}

/// The same request once more, as RFC 3261 §22.2 has it: with the next CSeq number.
pub(crate) fn repeated(draft: Draft, sent: &Message) -> Draft {
    draft
        .with("Call-ID", sent.call_id())
        .with("From", sent.header("From"))
        .with("CSeq", &format!("{} {}", sent.cseq() + 1, sent.kind()))
}

/// A parameter of a challenge, without its quotes.
pub(crate) fn part<'c>(challenge: &'c str, name: &str) -> &'c str {
    let params = challenge.trim_start_matches("Digest ").split(", ");
    let mut named = params.filter_map(|param| param.split_once('='));
    let found = named.find(|(found, _)| *found == name);
    found.map_or("", |(_, value)| value.trim_matches('"'))
}

fn hash<D: Digest>(text: &str) -> String {
    let bytes = D::digest(text.as_bytes());
    bytes.iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}
