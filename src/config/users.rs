//! The users who may register, and the realm of their passwords; or the numbers of those of a PBX.
//!
//! Spec: RFC 7616 §3.3 (realm), §3.4.2 (what `ha1_…` is the hash of), §5.2.
//!
//! No error shows a password or its hash.

use std::collections::BTreeMap;

use toml::Spanned;

use crate::completion::intrusion::{Level, Rights};
use crate::location::{Access, Account, Accounts, Algorithm, Aor};
use crate::shard::settings::Edge;

use super::error::{Error, Source};
use super::raw::{RawConfig, RawUser};

/// What is said of a key that means nothing in the other modes.
pub(super) const ONLY_EDGE: &str = "is of use in edge mode alone: write mode = \"edge\"";

/// `None`: anybody may register, or the PBX decides who.
pub(super) fn access(
    source: Source<'_>,
    raw: &RawConfig,
    (domains, edge): (&[String], Option<&Edge>),
) -> Result<Option<Access>, Error> {
    if edge.is_some() {
        return Ok(None);
    }
    let mut numbers = raw
        .user
        .iter()
        .filter_map(|user| user.get_ref().numbers.as_ref());
    if let Some(number) = numbers.find_map(|numbers| numbers.first()) {
        return Err(source.error(&number.span(), ONLY_EDGE));
    }
    let registrar = &raw.registrar;
    let Some(first) = raw.user.first() else {
        return match registrar.open.as_ref().filter(|open| !open.get_ref()) {
            Some(closed) => {
                let why = "a closed registrar lets nobody in without a [[user]]";
                Err(source.error(&closed.span(), why))
            }
            None => Ok(None),
        };
    };
    if registrar.open.as_ref().is_some_and(|open| *open.get_ref()) {
        let why = "goes with a closed registrar: registrar.open is true";
        return Err(source.error_of("user", &first.span(), why));
    }
    let usual = Access::default();
    let realm = match &registrar.realm {
        Some(written) => source.read(written, realm)?,
        None => domains.first().cloned().unwrap_or(usual.realm),
    };
    Ok(Some(Access {
        accounts: accounts(source, &raw.user, &realm)?,
        realm,
        nonce_life: source.millis(registrar.nonce_life_ms.as_ref(), usual.nonce_life)?,
        ..usual
    }))
}

/// R1: whose number it is, where it is not the name under which his phones register with the PBX.
pub(super) fn numbers(
    source: Source<'_>,
    written: &[Spanned<RawUser>],
) -> Result<BTreeMap<Box<str>, Aor>, Error> {
    let mut owners = BTreeMap::new();
    for user in written {
        let name = name(source, user)?;
        let RawUser {
            password,
            ha1_sha256,
            ha1_md5,
            numbers,
            intrudes,
            protection,
            ..
        } = user.get_ref();
        let secrets = [password, ha1_sha256, ha1_md5];
        if let Some(secret) = secrets.into_iter().flatten().next() {
            let why = "the users of edge mode are the PBX's, and so are their passwords";
            return Err(source.error(&secret.span(), why));
        }
        if numbers.is_none() && (intrudes.is_some() || protection.is_some()) {
            continue;
        }
        let Some(numbers) = numbers.as_ref().filter(|numbers| !numbers.is_empty()) else {
            let why = "is missing: a [[user]] of edge mode is there for them";
            return Err(source.error_of("user.numbers", &user.span(), why));
        };
        for number in numbers {
            let text: Box<str> = source.read(number, user_name)?.into();
            if owners.insert(text, Aor::of_user(name.as_bytes())).is_some() {
                let why = format!("`{}` is there twice", number.get_ref());
                return Err(source.error(&number.span(), why));
            }
        }
    }
    Ok(owners)
}

/// R17: the rights of those who have some of their own.
pub(super) fn rights(
    source: Source<'_>,
    written: &[Spanned<RawUser>],
    usual: Rights,
) -> Result<BTreeMap<Aor, Rights>, Error> {
    let mut users = BTreeMap::new();
    for user in written {
        let RawUser {
            intrudes,
            protection,
            ..
        } = user.get_ref();
        let intrudes = level(source, intrudes.as_ref())?;
        let protection = level(source, protection.as_ref())?;
        if intrudes.is_none() && protection.is_none() {
            continue;
        }
        let rights = Rights {
            intrudes: intrudes.unwrap_or(usual.intrudes),
            protection: protection.unwrap_or(usual.protection),
        };
        users.insert(Aor::of_user(name(source, user)?.as_bytes()), rights);
    }
    Ok(users)
}

fn level(source: Source<'_>, written: Option<&Spanned<u32>>) -> Result<Option<Level>, Error> {
    let Some(written) = written else {
        return Ok(None);
    };
    let found = Level::new(*written.get_ref());
    let why = || source.error(&written.span(), "is not a level from 0 to 3");
    found.ok_or_else(why).map(Some)
}

fn name(source: Source<'_>, user: &Spanned<RawUser>) -> Result<String, Error> {
    let Some(written) = &user.get_ref().name else {
        return Err(source.error_of("user.name", &user.span(), "is missing"));
    };
    source.read(written, user_name)
}

fn accounts(
    source: Source<'_>,
    written: &[Spanned<RawUser>],
    realm: &str,
) -> Result<Accounts, Error> {
    let mut accounts = Accounts::default();
    for user in written {
        let name = name(source, user)?;
        let account = account(source, user, &name, realm)?;
        if !accounts.insert(&name, account) {
            let written = user.get_ref().name.as_ref().map(Spanned::span);
            let span = written.unwrap_or_else(|| user.span());
            return Err(source.error(&span, format!("`{name}` is there twice")));
        }
    }
    Ok(accounts)
}

fn account(
    source: Source<'_>,
    user: &Spanned<RawUser>,
    name: &str,
    realm: &str,
) -> Result<Account, Error> {
    let RawUser {
        password,
        ha1_sha256,
        ha1_md5,
        ..
    } = user.get_ref();
    let hashes = [(Algorithm::Sha256, ha1_sha256), (Algorithm::Md5, ha1_md5)];
    let hashes = hashes.map(|(algorithm, written)| Some(algorithm).zip(written.as_ref()));
    let mut hashes = hashes.into_iter().flatten().peekable();
    match (password, hashes.peek()) {
        (None, None) => {
            let why = "is missing: write a password, or its ha1_sha256 or ha1_md5";
            Err(source.error_of("user.password", &user.span(), why))
        }
        (Some(_), Some((_, twice))) => {
            let why = "says the same as user.password: leave one out";
            Err(source.error(&twice.span(), why))
        }
        (Some(password), None) if password.get_ref().is_empty() => {
            Err(source.error(&password.span(), "must not be empty"))
        }
        (Some(password), None) => Ok(Account::with_password(name, realm, password.get_ref())),
        (None, Some(_)) => hashes.try_fold(Account::default(), |account, (algorithm, written)| {
            let why = || format!("is not {} hexadecimal digits", algorithm.digits());
            let account = account.with_hash(algorithm, written.get_ref());
            account.ok_or_else(|| source.error(&written.span(), why()))
        }),
    }
}

/// What can stand in a quoted string as it is.
pub(super) fn realm(text: &str) -> Result<String, String> {
    let is_plain = |letter: char| !letter.is_control() && !matches!(letter, '"' | '\\');
    if !text.is_empty() && text.chars().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("is empty or has a quote, a backslash or a control character in it".to_owned())
    }
}

/// The user part of an address, which is the user name of the credentials too; a colon would end it
/// there.
fn user_name(text: &str) -> Result<String, String> {
    let is_plain = |letter: char| {
        let is_mark = matches!(letter, '"' | '\\' | ':' | '@' | '<' | '>');
        !letter.is_control() && !letter.is_whitespace() && !is_mark
    };
    if !text.is_empty() && text.chars().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not the user part of an address"))
    }
}
