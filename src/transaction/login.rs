//! Our own name and password, for requests of ours that are challenged.
//!
//! Spec: RFC 3261 §22.2, §22.3 (S-170); RFC 7616 §3.4; RFC 8760 §2.4; RULES R4.
//!
//! Invariants: a request is proven by this only where its sender asks for it; a password that was
//! wrong is not tried again; no text of ours shows it.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::random::Rng;
use crate::sip::digest::{Algorithm, Hex, QOP, Said};
use crate::sip::header::challenge::Challenge;
use crate::sip::{Method, Name, Response, Status};
use crate::table::Key;
use crate::transaction::User;
use crate::transaction::branch::hex;

/// The most times that one request is repeated with credentials: for a proxy, the server behind it,
/// and a nonce of either that has run out.
const ROUNDS_MAX: u8 = 4;

/// An account of ours at somebody else's server.
#[derive(Clone, Eq, PartialEq)]
pub struct Login {
    /// The user name, as it stands between quotes.
    user: Box<str>,
    /// The realm that is answered; `None`: any of that server.
    realm: Option<Box<str>>,
    secret: Secret,
}

#[derive(Clone, Eq, PartialEq)]
enum Secret {
    Password(Box<str>),
    /// The hash of name, realm and password, by algorithm.
    Hashes(Box<[(Algorithm, Box<[u8]>)]>),
}

/// What became of the credentials of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Proven {
    /// The request went again with them, under a number of its own.
    Repeated {
        /// Who hears of the answers, if anybody does.
        user: Option<User>,
        /// The new transaction.
        client: Key,
        /// The new CSeq number.
        number: u32,
    },
    /// They were asked for and are not to be had, or were refused: the challenge is the answer.
    Refused,
}

/// The credentials of one request, round by round.
#[derive(Clone, Debug)]
pub(super) struct Session {
    login: Arc<Login>,
    answers: SmallVec<[Answer; 1]>,
    rounds: u8,
}

/// What answers the challenges of one realm.
#[derive(Clone, Debug)]
struct Answer {
    field: Name,
    realm: Box<[u8]>,
    nonce: Box<[u8]>,
    opaque: Option<Box<[u8]>>,
    algorithm: Algorithm,
    has_qop: bool,
    /// How often the nonce has been used.
    count: u32,
}

impl Login {
    /// The account of this password.
    pub fn with_password(user: &str, realm: Option<&str>, password: &str) -> Self {
        Self {
            user: user.into(),
            realm: realm.map(Box::from),
            secret: Secret::Password(password.into()),
        }
    }

    /// The account of a password that is known by its hashes alone (RFC 7616 §3.4.2, A1), which are
    /// of one realm; lower-case hexadecimal digits.
    pub fn with_hashes(
        user: &str,
        realm: &str,
        hashes: impl IntoIterator<Item = (Algorithm, Box<[u8]>)>,
    ) -> Self {
        Self {
            user: user.into(),
            realm: Some(realm.into()),
            secret: Secret::Hashes(hashes.into_iter().collect()),
        }
    }

    /// The user name.
    pub fn user(&self) -> &str {
        &self.user
    }

    fn secret(&self, challenge: &Challenge<'_>) -> Option<Hex> {
        let is_for = |realm: &str| realm.as_bytes() == challenge.realm;
        if !self.realm.as_deref().is_none_or(is_for) {
            return None;
        }
        match &self.secret {
            Secret::Password(password) => Some(challenge.algorithm.hash(&[
                self.user.as_bytes(),
                challenge.realm,
                password.as_bytes(),
            ])),
            Secret::Hashes(hashes) => {
                let mut hashes = hashes.iter();
                let (_, hash) = hashes.find(|(one, _)| *one == challenge.algorithm)?;
                Some(Hex::from_slice(hash))
            }
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(login: Arc<Login>) -> Self {
        Self {
            login,
            answers: SmallVec::new(),
            rounds: 0,
        }
    }

    /// Takes in the challenges of a 401 or 407; whether all that ask us for something new can be
    /// answered.
    pub(super) fn take_in(&mut self, response: &Response<'_>) -> bool {
        if self.rounds >= ROUNDS_MAX {
            return false;
        }
        self.rounds += 1;
        let (asks, field) = match response.status {
            Status::UNAUTHORIZED => (Name::WwwAuthenticate, Name::Authorization),
            _ => (Name::ProxyAuthenticate, Name::ProxyAuthorization),
        };
        // RFC 8760 §2.4: the first of a realm that can be answered is the best.
        let mut taken: SmallVec<[&[u8]; 2]> = SmallVec::new();
        for challenge in response.message.fields(asks).filter_map(Challenge::parse) {
            let is_known = taken.contains(&challenge.realm);
            if is_known || self.login.secret(&challenge).is_none() {
                continue;
            }
            if !self.answer(field, &challenge) {
                return false;
            }
            taken.push(challenge.realm);
        }
        !taken.is_empty()
    }

    /// Whether a challenge is new: who knows our answer and asks again does not believe it.
    fn answer(&mut self, field: Name, challenge: &Challenge<'_>) -> bool {
        let fresh = Answer {
            field,
            realm: challenge.realm.into(),
            nonce: challenge.nonce.into(),
            opaque: challenge.opaque.map(Box::from),
            algorithm: challenge.algorithm,
            has_qop: challenge.has_qop,
            count: 0,
        };
        let mut answers = self.answers.iter_mut();
        let known = answers.find(|it| it.field == field && *it.realm == *challenge.realm);
        match known {
            Some(_) if !challenge.is_stale => return false,
            Some(known) => *known = fresh,
            None => self.answers.push(fresh),
        }
        true
    }

    /// Writes the header lines of all credentials for this request, each use of a nonce counted.
    pub(super) fn write(
        &mut self,
        out: &mut Vec<u8>,
        (method, uri): (Method<'_>, &[u8]),
        rng: &mut Rng,
    ) {
        for answer in &mut self.answers {
            answer.count += 1;
            let own_nonce = hex(rng.bits());
            answer.write(out, &self.login, (method, uri), &own_nonce);
        }
    }
}

impl Answer {
    fn write(
        &self,
        out: &mut Vec<u8>,
        login: &Login,
        (method, uri): (Method<'_>, &[u8]),
        own_nonce: &[u8],
    ) {
        let challenge = Challenge {
            realm: &self.realm,
            nonce: &self.nonce,
            opaque: self.opaque.as_deref(),
            is_stale: false,
            algorithm: self.algorithm,
            has_qop: self.has_qop,
        };
        let secret = login.secret(&challenge).unwrap_or_default();
        let count = format!("{:08x}", self.count);
        let said = Said {
            nonce: &self.nonce,
            count: count.as_bytes(),
            own_nonce,
            qop: if self.has_qop { QOP.as_bytes() } else { b"" },
            method: method.as_str().as_bytes(),
            uri,
        };
        let response = said.answer(self.algorithm, &secret);
        out.extend_from_slice(self.field.as_str().as_bytes());
        out.extend_from_slice(b": Digest ");
        let mut quoted = |before: &[u8], value: &[u8]| {
            out.extend_from_slice(before);
            out.extend_from_slice(b"=\"");
            out.extend_from_slice(value);
            out.push(b'"');
        };
        quoted(b"username", login.user.as_bytes());
        quoted(b", realm", &self.realm);
        quoted(b", nonce", &self.nonce);
        quoted(b", uri", uri);
        quoted(b", response", &response);
        if let Some(opaque) = &self.opaque {
            quoted(b", opaque", opaque);
        }
        if self.has_qop {
            quoted(b", cnonce", own_nonce);
            out.extend_from_slice(b", qop=auth, nc=");
            out.extend_from_slice(count.as_bytes());
        }
        out.extend_from_slice(b", algorithm=");
        out.extend_from_slice(self.algorithm.name().as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}
