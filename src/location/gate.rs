//! The gate: it lets in who proves to be a user of ours, and tells the others how to.
//!
//! Spec: RFC 3261 §22; RFC 7616 §3.3, §3.4; RFC 8760 §2.

use std::net::IpAddr;
use std::time::Duration;

use crate::location::Aor;
use crate::location::Domains;
use crate::location::account::Accounts;
use crate::location::nonce::Nonces;
use crate::location::nonce::Stale;
use crate::location::proof::Malformed;
use crate::location::proof::Proof;
use crate::location::throttle::Throttle;
use crate::observe::Pii;
use crate::random::Rng;
use crate::sip::Flow;
use crate::sip::Name;
use crate::sip::Request;
use crate::sip::Writer;
use crate::sip::digest::Algorithm;
use crate::sip::digest::QOP;
use crate::time::Timestamp;

/// Who is let in, and how hard it is to guess.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Access {
    /// The realm of all passwords: what a phone shows its user, and what is hashed with them.
    pub realm: String,
    /// The users.
    pub accounts: Accounts,
    /// How long a phone may go on with one nonce; each costs it a round trip.
    pub nonce_life: Duration,
    /// Most nonces that are remembered as used; at 64 bytes each, the default is 4 MB. What makes
    /// way costs a phone a round trip.
    pub nonces_max: usize,
    /// How long a wrong password is held against its source.
    pub failures_window: Duration,
    /// The most wrong passwords in that time; a phone with an old one tries twice a minute.
    pub failures_max: u32,
    /// Most sources that wrong passwords are held against; at 100 bytes each, the default is 1 MB.
    pub sources_max: usize,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            realm: "campon".to_owned(),
            accounts: Accounts::default(),
            nonce_life: Duration::from_mins(5),
            nonces_max: 65_536,
            failures_window: Duration::from_mins(1),
            failures_max: 10,
            sources_max: 10_000,
        }
    }
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Denied {
    /// Credentials that lack something, or are for another request.
    Malformed,
    /// No credentials for our realm.
    Missing,
    /// A nonce that has had its time, or its use.
    Stale,
    /// Too many wrong passwords, so that this one was not even looked at.
    Throttled,
    /// A wrong password, or no user of ours.
    Wrong,
}

impl From<Malformed> for Denied {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl From<Stale> for Denied {
    fn from(_: Stale) -> Self {
        Self::Stale
    }
}

/// Why somebody is challenged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Again {
    /// For his nonce alone: the phone need not ask its user.
    Stale,
    /// He has not proven anything.
    Unproven,
}

/// Somebody who is to prove who he is.
#[derive(Clone, Debug)]
pub struct Challenged {
    /// Where he is; the answer has to come from there.
    pub source: IpAddr,
    /// Who he says he is.
    pub user: Option<Aor>,
    /// Why he is asked.
    pub again: Again,
}

/// Knows users by their passwords.
#[derive(Debug)]
pub struct Gate {
    access: Access,
    nonces: Nonces,
    throttle: Throttle,
}

impl Gate {
    /// A gate for these users, with secrets of its own.
    pub fn new(access: Access, rng: &mut Rng) -> Self {
        let Access {
            nonce_life,
            nonces_max,
            failures_window,
            failures_max,
            sources_max,
            ..
        } = access;
        Self {
            access,
            nonces: Nonces::new(rng, nonce_life, nonces_max),
            throttle: Throttle::new(rng, failures_window, failures_max, sources_max),
        }
    }

    /// Other users, or other times, from here on; the nonces that phones have stay good.
    pub fn set_access(&mut self, access: Access) {
        self.nonces.set_life(access.nonce_life);
        self.access = access;
    }

    /// The user that the request proves to be sent by, in this header field.
    ///
    /// The nonce is looked at before the password: so a wrong password is held against nobody who
    /// did not get our challenge, and who did not get it learns nothing of the password.
    pub fn check(
        &mut self,
        now: Timestamp,
        request: &Request<'_>,
        flow: &Flow,
        field: Name,
        domains: &Domains,
    ) -> Result<Aor, Denied> {
        let proof = Proof::find(&request.message, field, &self.access.realm);
        let proof = proof.ok_or(Denied::Missing)??;
        if !proof.is_for(&request.uri, domains) {
            return Err(Denied::Malformed);
        }
        let source = flow.remote.ip();
        if self.throttle.is_closed(now, source, proof.username) {
            return Err(Denied::Throttled);
        }
        let nonce = self.nonces.read(now, source, proof.nonce)?;
        let user = Aor::of_user(proof.username);
        let account = self.access.accounts.of(&user);
        let secret = account.and_then(|account| account.secret(proof.algorithm));
        if !secret.is_some_and(|secret| proof.is_right(request, secret)) {
            let failures = self.throttle.add(now, source, proof.username);
            self.log_failure(flow, proof.username, failures);
            return Err(Denied::Wrong);
        }
        self.nonces.spend(now, nonce, proof.count)?;
        Ok(user)
    }

    /// Writes what has to be answered, in this header field.
    pub fn challenge(
        &mut self,
        now: Timestamp,
        whom: &Challenged,
        field: Name,
        writer: &mut Writer<'_>,
    ) {
        let nonce = self.nonces.make(now, whom.source);
        let realm = &self.access.realm;
        let stale = match whom.again {
            Again::Stale => "stale=true, ",
            Again::Unproven => "",
        };
        let account = whom.user.as_ref();
        let account = account.and_then(|user| self.access.accounts.of(user));
        let offered = |algorithm: &Algorithm| {
            account.is_none_or(|account| account.secret(*algorithm).is_some())
        };
        // S-170: the better algorithm first; none that this user's secret was not hashed with.
        for algorithm in Algorithm::ALL.iter().filter(|one| offered(one)) {
            let algorithm = algorithm.name();
            // S-172. Some phones wait for an `opaque`; all that we need to know is in the nonce.
            writer.header_fmt(
                field,
                format_args!(
                    "Digest realm=\"{realm}\", nonce=\"{nonce}\", opaque=\"campon\", \
                     {stale}algorithm={algorithm}, qop=\"{QOP}\""
                ),
            );
        }
    }

    /// Whether this is a user of ours.
    pub fn has(&self, user: &Aor) -> bool {
        self.access.accounts.of(user).is_some()
    }

    /// The realm, whose credentials are for us alone.
    pub fn realm(&self) -> &str {
        &self.access.realm
    }

    /// One line a minute for each source and user.
    fn log_failure(&self, flow: &Flow, user: &[u8], failures: u32) {
        let user = Pii(user);
        if failures == 1 {
            tracing::warn!(from = %flow, %user, "wrong user or password");
        }
        if failures == self.access.failures_max {
            let window = self.access.failures_window;
            tracing::warn!(from = %flow, %user, ?window, "too many wrong passwords: shut out");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::account::Account;
    use crate::location::rig::at;
    use crate::location::rig::udp;
    use crate::sip::Checked;
    use crate::sip::Message;
    use crate::sip::Scratch;

    /// A gate for Alice, whose password is known, and for Bob, of whose password only the MD5 is.
    fn gate() -> Gate {
        let mut accounts = Accounts::default();
        accounts.insert("alice", Account::with_password("alice", "campon", "secret"));
        let hash = Algorithm::Md5.hash(&[b"bob", b"campon", b"secret"]);
        let hash = str::from_utf8(&hash).expect("digits");
        let bob = Account::default().with_hash(Algorithm::Md5, hash);
        accounts.insert("bob", bob.expect("a hash"));
        let access = Access {
            accounts,
            ..Access::default()
        };
        Gate::new(access, &mut Rng::from_number(1))
    }

    fn challenges(gate: &mut Gate, at_s: u64, user: Option<&str>, again: Again) -> Vec<String> {
        let user = user.map(|user| Aor::of_user(user.as_bytes()));
        let mut out = Vec::new();
        let mut writer = Writer::fragment(&mut out);
        let whom = Challenged {
            source: flow().remote.ip(),
            user,
            again,
        };
        gate.challenge(at(at_s), &whom, Name::WwwAuthenticate, &mut writer);
        writer.finish(b"").expect("a fragment");
        let text = String::from_utf8(out).expect("ASCII");
        let lines = text.lines().filter(|line| line.starts_with("WWW-"));
        lines.map(str::to_owned).collect()
    }

    /// A nonce as it stands in a challenge.
    fn nonce(gate: &mut Gate, at_s: u64) -> String {
        let lines = challenges(gate, at_s, None, Again::Unproven);
        let (_, rest) = lines[0].split_once("nonce=\"").expect("a nonce");
        rest.split('"').next().expect("its end").to_owned()
    }

    /// A phone that answers challenges.
    struct Login {
        user: &'static str,
        password: &'static str,
        algorithm: Algorithm,
        count: u32,
    }

    const ALICE: Login = Login {
        user: "alice",
        password: "secret",
        algorithm: Algorithm::Sha256,
        count: 1,
    };

    impl Login {
        fn credentials(&self, nonce: &str) -> String {
            let Self {
                user,
                password,
                algorithm,
                count,
            } = self;
            let hash = |texts: &[&str]| {
                let texts: Vec<_> = texts.iter().map(|text| text.as_bytes()).collect();
                String::from_utf8(algorithm.hash(&texts).to_vec()).expect("digits")
            };
            let secret = hash(&[user, "campon", password]);
            let request = hash(&["REGISTER", "sip:127.0.0.1"]);
            let nc = format!("{count:08x}");
            let response = hash(&[&secret, nonce, &nc, "c", "auth", &request]);
            format!(
                "Digest username=\"{user}\", realm=\"campon\", nonce=\"{nonce}\", \
                 uri=\"sip:127.0.0.1\", response=\"{response}\", algorithm={}, cnonce=\"c\", \
                 qop=auth, nc={nc}",
                algorithm.name()
            )
        }

        /// What becomes of a REGISTER with these credentials.
        fn comes(&self, gate: &mut Gate, at_s: u64, nonce: &str) -> Result<Aor, Denied> {
            check(gate, at_s, &self.credentials(nonce))
        }
    }

    fn check(gate: &mut Gate, at_s: u64, credentials: &str) -> Result<Aor, Denied> {
        let text = format!(
            "REGISTER sip:127.0.0.1 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
             From: <sip:alice@127.0.0.1>;tag=1\r\n\
             To: <sip:alice@127.0.0.1>\r\n\
             Call-ID: 1\r\n\
             CSeq: 1 REGISTER\r\n\
             Authorization: {credentials}\r\n\r\n"
        );
        let mut scratch = Scratch::new();
        let message = Message::parse(text.as_bytes(), &mut scratch).expect("a message");
        let Ok(Checked::Request(request)) = Checked::check(message) else {
            panic!("the REGISTER is no coherent request");
        };
        let domains = Domains::new(["127.0.0.1".parse().expect("an address")], [""; 0]);
        gate.check(at(at_s), &request, &flow(), Name::Authorization, &domains)
    }

    /// Where everybody is.
    fn flow() -> Flow {
        udp("192.0.2.1:5060")
    }

    fn alice() -> Aor {
        Aor::of_user(b"alice")
    }

    #[test]
    fn a_challenge_offers_the_better_algorithm_first() {
        let mut gate = gate();
        let lines = challenges(&mut gate, 0, Some("alice"), Again::Unproven);
        let nonce = nonce(&mut self::gate(), 0);
        let expected = ["SHA-256", "MD5"].map(|algorithm| {
            format!(
                "WWW-Authenticate: Digest realm=\"campon\", nonce=\"{nonce}\", opaque=\"campon\", \
                 algorithm={algorithm}, qop=\"auth\""
            )
        });
        assert_eq!(lines, expected); // S-170, S-172
        let stale = challenges(&mut gate, 0, None, Again::Stale);
        assert_eq!(stale.len(), 2);
        assert!(stale.iter().all(|line| line.contains(", stale=true, ")));
    }

    #[test]
    fn nobody_is_asked_for_what_he_cannot_prove() {
        let lines = challenges(&mut gate(), 0, Some("bob"), Again::Unproven);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("algorithm=MD5")); // S-170
    }

    #[test]
    fn the_right_password_is_let_in_by_either_algorithm() {
        let mut gate = gate();
        for algorithm in Algorithm::ALL {
            let login = Login { algorithm, ..ALICE };
            let nonce = nonce(&mut gate, 0);
            assert_eq!(login.comes(&mut gate, 1, &nonce), Ok(alice()));
        }
        let nonce = nonce(&mut gate, 0);
        let bob = Login {
            user: "bob",
            ..ALICE
        };
        assert_eq!(bob.comes(&mut gate, 1, &nonce), Err(Denied::Wrong));
    }

    #[test]
    fn a_wrong_password_and_an_unknown_user_are_refused_alike() {
        let mut gate = gate();
        let nonce = nonce(&mut gate, 0);
        for (user, password) in [("alice", "wrong"), ("carol", "secret")] {
            let login = Login {
                user,
                password,
                ..ALICE
            };
            assert_eq!(login.comes(&mut gate, 1, &nonce), Err(Denied::Wrong));
        }
        assert_eq!(ALICE.comes(&mut gate, 1, &nonce), Ok(alice()));
    }

    #[test]
    fn what_somebody_overheard_is_of_no_use_to_him() {
        let mut gate = gate();
        let nonce = nonce(&mut gate, 0);
        assert_eq!(ALICE.comes(&mut gate, 1, &nonce), Ok(alice()));
        assert_eq!(ALICE.comes(&mut gate, 1, &nonce), Err(Denied::Stale)); // S-173
        let next = Login { count: 2, ..ALICE };
        assert_eq!(next.comes(&mut gate, 1, &nonce), Ok(alice())); // S-173
    }

    /// After a restart of ours no phone asks its user; and a guess that nobody counts tells nothing.
    #[test]
    fn with_a_nonce_that_is_not_ours_the_password_does_not_matter() {
        let mut gate = gate();
        let before = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        for password in ["secret", "wrong"] {
            let login = Login { password, ..ALICE };
            for _ in 0..20 {
                assert_eq!(login.comes(&mut gate, 1, before), Err(Denied::Stale)); // S-173
            }
        }
    }

    #[test]
    fn a_nonce_is_stale_after_five_minutes() {
        let mut gate = gate();
        let nonce = nonce(&mut gate, 0);
        assert_eq!(ALICE.comes(&mut gate, 301, &nonce), Err(Denied::Stale)); // S-173
    }

    #[test]
    fn who_guesses_is_shut_out_for_a_minute_even_with_the_right_password() {
        let mut gate = gate();
        let login = Login {
            password: "wrong",
            ..ALICE
        };
        for _ in 0..10 {
            let nonce = nonce(&mut gate, 0);
            assert_eq!(login.comes(&mut gate, 0, &nonce), Err(Denied::Wrong));
        }
        let nonce = nonce(&mut gate, 0);
        assert_eq!(ALICE.comes(&mut gate, 59, &nonce), Err(Denied::Throttled));
        assert_eq!(ALICE.comes(&mut gate, 60, &nonce), Ok(alice()));
    }

    #[test]
    fn credentials_for_another_request_are_malformed() {
        let mut gate = gate();
        let nonce = nonce(&mut gate, 0);
        let elsewhere = ALICE
            .credentials(&nonce)
            .replace("sip:127.0.0.1", "sip:bob@127.0.0.1");
        assert_eq!(check(&mut gate, 1, &elsewhere), Err(Denied::Malformed));
        let unknown = "NoOneKnowsThisScheme opaque-data=here";
        assert_eq!(check(&mut gate, 1, unknown), Err(Denied::Missing)); // S-171
    }
}
