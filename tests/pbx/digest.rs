//! Digest (RFC 2617, MD5 with `qop=auth`) on both sides, bound to the request that was challenged.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use md5::{Digest as _, Md5};

use super::sip::{Sip, split};

/// What a nonce was given for.
#[derive(Clone, Debug)]
struct Challenge {
    method: String,
    uri: String,
    call_id: String,
    from_tag: String,
    cseq: u32,
}

/// The PBX's side.
#[derive(Debug, Default)]
pub struct Challenges {
    given: BTreeMap<String, Challenge>,
    realm: String,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The user that it is.
    Right(String),
    /// No credentials, or a wrong password: to be challenged.
    Unproven,
    /// Right credentials on a request that was not the one challenged.
    Unbound(String),
}

impl Challenges {
    pub fn of(realm: &str) -> Self {
        Self {
            given: BTreeMap::new(),
            realm: realm.to_owned(),
        }
    }

    /// The value of a challenge for this request.
    pub fn challenge(&mut self, request: &Sip, nonce: String) -> String {
        let realm = &self.realm;
        let value =
            format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", qop=\"auth\", algorithm=MD5");
        let challenge = Challenge {
            method: request.method().to_owned(),
            uri: request.uri().to_owned(),
            call_id: request.call_id().to_owned(),
            from_tag: request.tag_of_from().unwrap_or_default().to_owned(),
            cseq: request.cseq().0,
        };
        self.given.insert(nonce, challenge);
        value
    }

    pub fn check(&self, request: &Sip, password: impl Fn(&str) -> Option<String>) -> Verdict {
        let name = header_of(request.method());
        let Some(value) = request.first(name) else {
            return Verdict::Unproven;
        };
        let given = |key| parameter_of(value, key).unwrap_or_default();
        let user = given("username");
        let (Some(password), Some(challenge)) = (password(&user), self.given.get(&given("nonce")))
        else {
            return Verdict::Unproven;
        };
        let credentials = Credentials {
            user: &user,
            password: &password,
            realm: &given("realm"),
            nonce: &given("nonce"),
            count: &given("nc"),
            own_nonce: &given("cnonce"),
        };
        let response = credentials.response(request.method(), &given("uri"));
        if given("response") != response || given("realm") != self.realm {
            return Verdict::Unproven;
        }
        match challenge.unlike(request, &given("uri")) {
            Some(why) => Verdict::Unbound(why),
            None => Verdict::Right(user),
        }
    }
}

impl Challenge {
    /// What of a request differs from the one that was challenged.
    fn unlike(&self, request: &Sip, uri: &str) -> Option<String> {
        let is_registration = self.method == "REGISTER";
        let pairs = [
            ("method", request.method(), self.method.as_str()),
            ("Request-URI", request.uri(), &self.uri),
            ("digest URI", uri, &self.uri),
            ("Call-ID", request.call_id(), &self.call_id),
            (
                "From tag",
                request
                    .tag_of_from()
                    .filter(|_| !is_registration)
                    .unwrap_or(&self.from_tag),
                &self.from_tag,
            ),
        ];
        let differs = pairs.iter().find(|(_, now, then)| now != then);
        let differs = differs.map(|(what, now, then)| format!("{what} is {now}, was {then}"));
        // A nonce may serve a later refresh, so a registration only has to count on.
        let cseq = request.cseq().0;
        let counts = if is_registration {
            cseq > self.cseq
        } else {
            cseq == self.cseq + 1
        };
        differs.or_else(|| (!counts).then(|| format!("CSeq is {cseq}, was {}", self.cseq)))
    }
}

/// The phone's side: the credentials for a request that was challenged with this value.
pub fn authorize(request: &Sip, challenge: &str, user: &str, password: &str) -> (String, String) {
    let given = |key| parameter_of(challenge, key).unwrap_or_default();
    let (realm, nonce) = (given("realm"), given("nonce"));
    let credentials = Credentials {
        user,
        password,
        realm: &realm,
        nonce: &nonce,
        count: "00000001",
        own_nonce: "0a4f113b",
    };
    let uri = request.uri();
    let response = credentials.response(request.method(), uri);
    let value = format!(
        "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"0a4f113b\""
    );
    (header_of(request.method()).to_owned(), value)
}

/// A registrar asks with 401, everything else of the PBX with 407.
fn header_of(method: &str) -> &'static str {
    match method {
        "REGISTER" => "Authorization",
        _ => "Proxy-Authorization",
    }
}

struct Credentials<'a> {
    user: &'a str,
    password: &'a str,
    realm: &'a str,
    nonce: &'a str,
    count: &'a str,
    own_nonce: &'a str,
}

impl Credentials<'_> {
    fn response(&self, method: &str, uri: &str) -> String {
        let Self {
            user,
            password,
            realm,
            nonce,
            count,
            own_nonce,
        } = self;
        let who = hash(&format!("{user}:{realm}:{password}"));
        let what = hash(&format!("{method}:{uri}"));
        hash(&format!("{who}:{nonce}:{count}:{own_nonce}:auth:{what}"))
    }
}

fn hash(text: &str) -> String {
    let digest = Md5::digest(text.as_bytes());
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn parameter_of(value: &str, key: &str) -> Option<String> {
    let list = value.trim().strip_prefix("Digest ")?;
    split(list).iter().find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let same = name.trim().eq_ignore_ascii_case(key);
        same.then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// The example of RFC 2617 §3.5.
#[test]
fn a_digest_is_what_the_standard_computes() {
    let credentials = Credentials {
        user: "Mufasa",
        password: "Circle Of Life",
        realm: "testrealm@host.com",
        nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
        count: "00000001",
        own_nonce: "0a4f113b",
    };
    assert_eq!(
        credentials.response("GET", "/dir/index.html"),
        "6629fae49393a05397450978507c4ef1"
    );
}
