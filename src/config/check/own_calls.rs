//! How the PBX knows calls of our own: by the address that they leave from, or by an account (R4).
//!
//! Spec: RFC 7616 §3.4.2 (what `ha1_…` is the hash of), §5.2.
//!
//! No error shows a password or its hash.

use std::sync::Arc;

use toml::Spanned;

use crate::config::error::{Error, Source};
use crate::config::raw::{Field, RawOwnCalls};
use crate::config::users::realm;
use crate::location::Algorithm;
use crate::transaction::login::Login;

/// The account, if there is one; there is nobody to tell it without an upstream.
pub(super) fn login(
    source: Source<'_>,
    raw: &RawOwnCalls,
    has_upstream: bool,
) -> Result<Option<Arc<Login>>, Error> {
    let login = account(source, raw)?;
    match first_written(raw) {
        Some(written) if !has_upstream => {
            let why = "there is no upstream that we could call through";
            Err(source.error(&written.span(), why))
        }
        _ => Ok(login),
    }
}

fn account(source: Source<'_>, raw: &RawOwnCalls) -> Result<Option<Arc<Login>>, Error> {
    let RawOwnCalls {
        user,
        password,
        ha1_sha256,
        ha1_md5,
        realm: written,
        ..
    } = raw;
    let realm = written.as_ref().map(|text| source.read(text, realm));
    let realm = realm.transpose()?;
    let Some(named) = user else {
        let others = [password, ha1_sha256, ha1_md5, written];
        return match others.into_iter().flatten().next() {
            Some(idle) => Err(source.error(&idle.span(), "goes with own_calls.user")),
            None => Ok(None),
        };
    };
    let user = source.read(named, user_name)?;
    let hashes = [(Algorithm::Sha256, ha1_sha256), (Algorithm::Md5, ha1_md5)];
    let hashes = hashes.map(|(algorithm, written)| Some(algorithm).zip(written.as_ref()));
    let hashes: Vec<_> = hashes.into_iter().flatten().collect();
    let login = match (password, hashes.first()) {
        (None, None) => {
            let why = "lacks a password, or its ha1_sha256 or ha1_md5";
            return Err(source.error(&named.span(), why));
        }
        (Some(_), Some((_, twice))) => {
            let why = "says the same as own_calls.password: leave one out";
            return Err(source.error(&twice.span(), why));
        }
        (Some(password), None) if password.get_ref().is_empty() => {
            return Err(source.error(&password.span(), "must not be empty"));
        }
        (Some(password), None) => Login::with_password(&user, realm.as_deref(), password.get_ref()),
        (None, Some((_, first))) => {
            let Some(realm) = realm else {
                let why = "is the hash of one realm: write own_calls.realm";
                return Err(source.error(&first.span(), why));
            };
            let read = |(algorithm, written): &(Algorithm, &Spanned<String>)| {
                Ok((*algorithm, hash(source, *algorithm, written)?))
            };
            let hashes: Result<Vec<_>, Error> = hashes.iter().map(read).collect();
            Login::with_hashes(&user, &realm, hashes?)
        }
    };
    Ok(Some(Arc::new(login)))
}

/// What is written that means something with an upstream alone.
pub(super) fn first_written(raw: &RawOwnCalls) -> Option<&Spanned<String>> {
    let keys: [&Field<String>; 2] = [&raw.listen, &raw.user];
    keys.into_iter().flatten().next()
}

fn hash(
    source: Source<'_>,
    algorithm: Algorithm,
    written: &Spanned<String>,
) -> Result<Box<[u8]>, Error> {
    let digits = written.get_ref().to_ascii_lowercase().into_bytes();
    if digits.len() == algorithm.digits() && digits.iter().all(u8::is_ascii_hexdigit) {
        return Ok(digits.into_boxed_slice());
    }
    let why = format!("is not {} hexadecimal digits", algorithm.digits());
    Err(source.error(&written.span(), why))
}

/// What can stand in a quoted string as it is; a colon would end it in the hash.
fn user_name(text: &str) -> Result<String, String> {
    let is_plain = |letter: char| !letter.is_control() && !matches!(letter, '"' | '\\' | ':');
    if !text.is_empty() && text.chars().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("is empty or has a quote, a backslash or a colon in it".to_owned())
    }
}
