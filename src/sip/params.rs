//! The `;name=value` parameters of a header value or a URI.
//!
//! Spec: RFC 3261 §7.3.1, §25.1 (generic-param, uri-parameters).

use crate::sip::class::Class;
use crate::sip::error::{ParseError, What};
use crate::sip::lex::{Cursor, quoted_len, trim};

/// Most parameters of one value; more are an attack on linear searches.
pub const PARAMS_MAX: usize = 64;

/// Parameters as written, known to be well formed; names are compared without their case.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Params<'m>(&'m [u8]);

impl<'m> Params<'m> {
    /// No parameters.
    pub const NONE: Self = Self(&[]);

    /// Checks text that is empty or begins with a semicolon.
    ///
    /// A value is a quoted string, or any bytes but blanks, quotes, commas, semicolons and angle
    /// brackets. An empty parameter (`;;`) is refused.
    pub fn parse(text: &'m [u8]) -> Result<Self, ParseError> {
        Self::parse_noting(text, |_, _| {})
    }

    /// The same, and shows each name with its value in passing, as [`Self::iter`] would.
    #[inline]
    pub(crate) fn parse_noting(
        text: &'m [u8],
        mut note: impl FnMut(&'m [u8], Option<&'m [u8]>),
    ) -> Result<Self, ParseError> {
        let text = trim(text);
        if text.is_empty() {
            return Ok(Self::NONE);
        }
        let mut cursor = Cursor::new(text);
        let mut count = 0;
        while cursor.peek().is_some() {
            if !cursor.eat_spaced(b';') {
                return Err(cursor.error(What::Param));
            }
            count += 1;
            if count > PARAMS_MAX {
                return Err(cursor.error(What::ParamsTooMany));
            }
            let (name, value) = take_one(&mut cursor)?;
            note(name, value);
        }
        Ok(Self(text))
    }

    /// The parameter of this name: `None` if absent, `Some(None)` if it has no value.
    ///
    /// The value is as written, quotes included; see [`unquote`](crate::sip::lex::unquote).
    pub fn get(&self, name: &str) -> Option<Option<&'m [u8]>> {
        let (_, value) = self
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))?;
        Some(value)
    }

    /// The value of the parameter of this name, as written.
    pub fn value(&self, name: &str) -> Option<&'m [u8]> {
        self.get(name).flatten()
    }

    /// Whether there is a parameter of this name, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Names and values in order, as written.
    pub fn iter(&self) -> Iter<'m> {
        Iter(self.0)
    }

    /// The text, from the first semicolon on; empty if there are none.
    pub fn text(&self) -> &'m [u8] {
        self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'m> IntoIterator for &Params<'m> {
    type Item = (&'m [u8], Option<&'m [u8]>);
    type IntoIter = Iter<'m>;

    fn into_iter(self) -> Iter<'m> {
        self.iter()
    }
}

impl<'m> IntoIterator for Params<'m> {
    type Item = (&'m [u8], Option<&'m [u8]>);
    type IntoIter = Iter<'m>;

    fn into_iter(self) -> Iter<'m> {
        Iter(self.0)
    }
}

/// Goes through parameters in order.
#[derive(Clone, Debug)]
pub struct Iter<'m>(&'m [u8]);

impl<'m> Iterator for Iter<'m> {
    type Item = (&'m [u8], Option<&'m [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.strip_prefix(b";")?;
        let (param, rest) = rest.split_at(param_len(rest));
        self.0 = rest;
        let Some(equals) = param.iter().position(|byte| *byte == b'=') else {
            return Some((trim(param), None));
        };
        let (name, value) = param.split_at(equals);
        Some((trim(name), Some(trim(value.get(1..).unwrap_or_default()))))
    }
}

fn take_one<'m>(cursor: &mut Cursor<'m>) -> Result<(&'m [u8], Option<&'m [u8]>), ParseError> {
    let name = cursor.take_all(Class::PARAM_NAME);
    if name.is_empty() {
        return Err(cursor.error(What::Param));
    }
    cursor.skip_lws();
    if !cursor.eat(b'=') {
        return Ok((name, None));
    }
    cursor.skip_lws();
    let value = if cursor.peek() == Some(b'"') {
        let len = quoted_len(cursor.rest()).ok_or_else(|| cursor.error(What::Quote))?;
        cursor.take(len)
    } else {
        cursor.take(value_len(cursor.rest()))
    };
    cursor.skip_lws();
    Ok((name, Some(value)))
}

/// Bytes at the start that an unquoted value may hold; tags and branches are long, hence by eight.
fn value_len(text: &[u8]) -> usize {
    let fits = |byte: &u8| Class::PARAM_VALUE.has(*byte);
    let (eights, _) = text.as_chunks::<8>();
    let whole = eights.iter().position(|eight| !eight.iter().all(fits));
    let len = 8 * whole.unwrap_or(eights.len());
    let rest = text.get(len..).unwrap_or_default();
    len + rest
        .iter()
        .position(|byte| !fits(byte))
        .unwrap_or(rest.len())
}

/// Bytes up to the next semicolon outside a quoted string.
fn param_len(text: &[u8]) -> usize {
    // Values are short: a plain loop beats a vectorised search.
    let mut at = 0;
    while let Some(rest) = text.get(at..)
        && let Some(found) = rest.iter().position(|byte| matches!(byte, b';' | b'"'))
    {
        at += found;
        match rest.get(found..) {
            Some(quoted @ [b'"', ..]) => at += quoted_len(quoted).unwrap_or(quoted.len()),
            _ => return at,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_case_and_blanks_do_not_count() {
        let params = Params::parse(b"\r\n ; Tag \r\n = 98asjd8 ;LR").unwrap();
        assert_eq!(params.value("tag"), Some(&b"98asjd8"[..])); // S-33
        assert_eq!(params.get("lr"), Some(None));
        assert_eq!(params.get("other"), None);
    }

    #[test]
    fn a_quoted_value_may_hold_separators() {
        let params = Params::parse(br#";x="a;b=\"c\"";tag=1"#).unwrap();
        assert_eq!(params.value("x"), Some(&br#""a;b=\"c\"""#[..]));
        assert_eq!(params.value("tag"), Some(&b"1"[..]));
    }

    #[test]
    fn a_value_ends_before_the_first_byte_that_it_may_not_hold() {
        for len in 0..20 {
            let value = "a".repeat(len);
            for after in ["", ";", ";bbbbbbbb", "\t", "<"] {
                let text = format!("{value}{after}");
                assert_eq!(value_len(text.as_bytes()), len, "{text}");
            }
        }
    }

    #[test]
    fn what_is_shown_in_passing_is_what_is_found_later() {
        for text in [
            "",
            ";a",
            "; a = 1 ;b=\"x;y\" ; A=2;c=;d",
            "\r\n ;x \r\n = [::1] ;lr",
        ] {
            let mut shown = Vec::new();
            let params = Params::parse_noting(text.as_bytes(), |name, value| {
                shown.push((name, value));
            });
            let found: Vec<_> = params.unwrap().iter().collect();
            assert_eq!(shown, found, "{text}");
        }
    }

    #[test]
    fn empty_and_broken_parameters_are_refused() {
        for text in [
            ";", ";;", ";a;", ";=1", "a", ";a b", ";a=1 2", ";a=<b>", ";a=1,2",
        ] {
            let error = Params::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.what, What::Param, "{text}");
        }
        let open = Params::parse(br#";a="b"#).unwrap_err();
        assert_eq!(open.what, What::Quote);
    }

    #[test]
    fn more_than_the_cap_are_refused() {
        let fits = ";a".repeat(PARAMS_MAX);
        assert_eq!(
            Params::parse(fits.as_bytes()).unwrap().iter().count(),
            PARAMS_MAX
        );
        let error = Params::parse((fits + ";a").as_bytes()).unwrap_err();
        assert_eq!(error.what, What::ParamsTooMany);
    }
}
