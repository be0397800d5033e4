//! Who may ask the API: bearer tokens, by their hashes.

use toml::Spanned;

use crate::api::access::{Scope, Token};
use crate::config::error::{Error, Source};
use crate::config::raw::RawToken;

/// The tokens that are good for this site, or for the only one; no two alike.
pub(super) fn tokens(
    source: Source<'_>,
    written: &[Spanned<RawToken>],
    site: Option<&Spanned<String>>,
) -> Result<Vec<Token>, Error> {
    let site = site.map(|name| name.get_ref().as_str());
    let mut tokens: Vec<Token> = Vec::new();
    let mut others = Vec::new();
    for raw in written {
        let span = raw.span();
        let raw = raw.get_ref();
        let missing = |key| source.error_of(key, &span, "is missing");
        let name = raw.name.as_ref().ok_or_else(|| missing("api.token.name"))?;
        let hash = raw.sha256.as_ref();
        let hash = hash.ok_or_else(|| missing("api.token.sha256"))?;
        if raw.scopes.is_empty() {
            return Err(missing("api.token.scopes"));
        }
        let token = Token {
            name: name.get_ref().clone(),
            hash: source.read(hash, digest)?,
            scopes: source.read_all(&raw.scopes, scope)?,
            line: raw.line.as_ref().map(|line| line.get_ref().as_str().into()),
        };
        if tokens
            .iter()
            .chain(&others)
            .any(|other| other.hash == token.hash)
        {
            return Err(source.error(&hash.span(), "is there twice"));
        }
        let is_for = raw.site.as_ref().map(|of| of.get_ref().as_str());
        if is_for.is_none() || is_for == site {
            tokens.push(token);
        } else {
            others.push(token);
        }
    }
    Ok(tokens)
}

fn digest(text: &str) -> Result<[u8; 32], String> {
    let why = || "is not 64 hexadecimal digits, the SHA-256 of a token".to_owned();
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return Err(why());
    }
    for (byte, at) in hash.iter_mut().zip((0..).step_by(2)) {
        let digits = text.get(at..at + 2).unwrap_or_default();
        *byte = u8::from_str_radix(digits, 16).map_err(|_| why())?;
    }
    Ok(hash)
}

fn scope(text: &str) -> Result<Scope, String> {
    let found = Scope::WORDS.iter().find(|(word, _)| *word == text);
    found
        .map(|(_, scope)| *scope)
        .ok_or_else(|| format!("`{text}` is none of admin, complete, read"))
}
