//! The users who may register: their names, and what proves who they are.
//!
//! Spec: RFC 7616 §3.4.2 (A1), §5.2 (what to store instead of a password).

use std::collections::BTreeMap;
use std::fmt;

use crate::location::Aor;
use crate::sip::digest::Algorithm;

/// The secrets of one user: for each algorithm, the hash of name, realm and password.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Account(BTreeMap<Algorithm, Box<[u8]>>);

impl Account {
    /// The account of this password, which itself is not kept.
    pub fn with_password(name: &str, realm: &str, password: &str) -> Self {
        let texts = [name, realm, password].map(str::as_bytes);
        let secret = |one: Algorithm| (one, Box::from(&*one.hash(&texts)));
        Self(Algorithm::ALL.into_iter().map(secret).collect())
    }

    /// The account with one more secret, as hashed by the operator; `None` if it is no hash of this
    /// algorithm.
    pub fn with_hash(mut self, algorithm: Algorithm, digits: &str) -> Option<Self> {
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let secret = digits.to_ascii_lowercase().into_bytes();
        self.0.insert(algorithm, secret.into_boxed_slice());
        (is_hex && digits.len() == algorithm.digits()).then_some(self)
    }

    /// What this user can prove himself by, the better first.
    pub(super) fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.0.keys().copied()
    }

    pub(super) fn secret(&self, algorithm: Algorithm) -> Option<&[u8]> {
        self.0.get(&algorithm).map(|secret| &**secret)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.algorithms().map(Algorithm::name).collect::<Vec<_>>();
        write!(f, "Account({})", names.join(", "))
    }
}

/// Users by name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Accounts(BTreeMap<Aor, Account>);

impl Accounts {
    /// Adds a user of ours; whether there was none of this name.
    pub fn insert(&mut self, name: &str, account: Account) -> bool {
        let aor = Aor::of_user(name.as_bytes());
        self.0.insert(aor, account).is_none()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn of(&self, user: &Aor) -> Option<&Account> {
        self.0.get(user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_shows_nothing_of_its_password() {
        let mut accounts = Accounts::default();
        let account = Account::with_password("alice", "campon", "secret");
        assert!(accounts.insert("alice", account));
        let shown = format!("{accounts:?}");
        assert_eq!(shown, "Accounts({Aor(**ce@): Account(SHA-256, MD5)})");
    }

    #[test]
    fn a_hash_made_by_the_operator_is_as_good_as_the_password() {
        // printf alice:campon:secret | md5sum
        let made = Account::default().with_hash(Algorithm::Md5, "098B1634DBF1CD6836D59382BEF81922");
        let computed = Account::with_password("alice", "campon", "secret");
        let secret = |account: &Account| account.secret(Algorithm::Md5).map(<[u8]>::to_vec);
        assert_eq!(made.as_ref().and_then(secret), secret(&computed));
        assert_eq!(
            made.and_then(|made| made.secret(Algorithm::Sha256).map(drop)),
            None
        );
    }

    #[test]
    fn what_is_no_hash_of_the_algorithm_is_no_secret() {
        let with = |digits: &str| Account::default().with_hash(Algorithm::Md5, digits);
        assert_eq!(with("secret"), None);
        assert_eq!(with(&"0".repeat(64)), None);
        assert_eq!(with(&"g".repeat(32)), None);
    }
}
