//! Call-Info: what else there is to know of a party, and where completion can be asked for.
//!
//! Spec: RFC 3261 §20.9; RFC 6910 §7.1, §12.4, §12.5.

use crate::sip::error::ParseError;
use crate::sip::header::name_addr::NameAddr;
use crate::sip::message::Message;
use crate::sip::name::Name;
use crate::sip::params::Params;
use crate::sip::uri::Uri;

/// One value of Call-Info.
#[derive(Clone, Copy, Debug)]
pub struct CallInfo<'m> {
    /// Where it is found.
    pub uri: Uri<'m>,
    /// The parameters of the value, which are not the URI's.
    pub params: Params<'m>,
}

impl<'m> CallInfo<'m> {
    /// Parses one value; the angle brackets may be missing.
    pub fn parse(value: &'m [u8]) -> Result<Self, ParseError> {
        let NameAddr { uri, params, .. } = NameAddr::parse(value)?;
        Ok(Self { uri, params })
    }

    /// The offers to complete the call; values that cannot be read are passed over.
    pub fn offers(message: &Message<'m>) -> impl Iterator<Item = Self> + use<'m> {
        let values = message.values(Name::CallInfo);
        let read = values.filter_map(|value| Self::parse(value).ok());
        read.filter(Self::is_offer)
    }

    /// Whether its purpose is `call-completion`.
    pub fn is_offer(&self) -> bool {
        let purpose = self.params.value("purpose");
        purpose.is_some_and(|purpose| purpose.eq_ignore_ascii_case(b"call-completion"))
    }

    /// CC-32: the `m` parameter, known or not; of the URI, if the value itself has none.
    pub fn m(&self) -> Option<&'m str> {
        let own = self.params.value("m");
        let of_uri = || self.uri.as_sip()?.params.value("m");
        str::from_utf8(own.or_else(of_uri)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Scratch;

    fn offers(fields: &str) -> Vec<(String, Option<String>)> {
        let text = format!("SIP/2.0 486 Busy Here\r\n{fields}\r\n");
        let mut scratch = Scratch::new();
        let message = Message::parse(text.as_bytes(), &mut scratch).unwrap();
        let offer = |info: CallInfo<'_>| {
            let uri = String::from_utf8_lossy(info.uri.text()).into_owned();
            (uri, info.m().map(str::to_owned))
        };
        CallInfo::offers(&message).map(offer).collect()
    }

    fn offer(uri: &str, m: Option<&str>) -> (String, Option<String>) {
        (uri.to_owned(), m.map(str::to_owned))
    }

    #[test]
    fn offers_are_found_among_other_values() {
        let fields = "Call-Info: <http://www.example.com/a.png>;purpose=icon, \
            <sip:ccm-7@b.example;gr>;m=BS;purpose=Call-Completion\r\n\
            Call-Info: <oops>;purpose=call-completion\r\n\
            call-info: <sip:other@c.example>;purpose=call-completion;m=NL\r\n";
        let found = offers(fields);
        let first = offer("sip:ccm-7@b.example;gr", Some("BS"));
        let second = offer("sip:other@c.example", Some("NL"));
        assert_eq!(found, [first, second]);
    }

    #[test]
    fn a_missing_or_misplaced_m_does_not_hide_an_offer() {
        for (value, m) in [
            ("<sip:a@h>;purpose=call-completion", None),
            ("<sip:a@h>;purpose=call-completion;m=ZZ", Some("ZZ")),
            ("<sip:a@h>;purpose=call-completion;m", None),
            ("sip:a@h;purpose=call-completion;m=NR", Some("NR")),
        ] {
            // CC-32
            assert_eq!(
                offers(&format!("Call-Info: {value}\r\n")),
                [offer("sip:a@h", m)]
            );
        }
        let inside = "Call-Info: <sip:a@h;m=NR>;purpose=call-completion\r\n";
        assert_eq!(offers(inside), [offer("sip:a@h;m=NR", Some("NR"))]);
    }

    #[test]
    fn without_its_purpose_it_is_no_offer() {
        for value in ["<sip:a@h>;m=BS", "<sip:a@h>;purpose=info;m=BS"] {
            assert_eq!(offers(&format!("Call-Info: {value}\r\n")), []);
        }
    }
}
