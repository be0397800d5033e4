//! Reason: why a request is sent, or why it failed.
//!
//! Spec: RFC 3326 §2.

use crate::sip::header::item::Item;
use crate::sip::lex::parse_u32;
use crate::sip::message::Message;
use crate::sip::name::Name;

/// The cause that a message names in this protocol, such as `SIP` or `Q.850`; values that cannot be
/// read are passed over.
pub fn cause(message: &Message<'_>, protocol: &str) -> Option<u32> {
    message.values(Name::Reason).find_map(|reason| {
        let reason = Item::parse(reason).ok().filter(|item| item.is(protocol))?;
        parse_u32(reason.params.value("cause")?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Scratch;

    #[test]
    fn each_protocol_has_a_cause_of_its_own() {
        let text = "BYE sip:a SIP/2.0\r\n\
            Reason: oops;;, Q.850;text=\"no cause\", SIP;cause=480, q.850 ; cause=17\r\n\r\n";
        let mut scratch = Scratch::new();
        let message = Message::parse(text.as_bytes(), &mut scratch).unwrap();
        assert_eq!(cause(&message, "Q.850"), Some(17));
        assert_eq!(cause(&message, "SIP"), Some(480));
        assert_eq!(cause(&message, "H.323"), None);
    }
}
