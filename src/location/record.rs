//! A registration that was relayed, as it is kept over a restart.
//!
//! Spec: RULES R12.
//!
//! ```text
//!   version, transport; then, each behind its length in two bytes: our address, the phone's,
//!   the AOR, the Contact, the Call-ID; then CSeq and three times of the calendar, big-endian
//! ```

use std::net::SocketAddr;

use crate::sip::Flow;
use crate::sip::ListenerId;
use crate::sip::Transport;

/// The layout that is written, and the only one that is read.
const VERSION: u8 = 1;

/// What is kept of one alias; times in microseconds of the calendar.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Record<'r> {
    pub(super) transport: Transport,
    /// Where we listen, by address: the order of the listeners may change.
    pub(super) listener: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) aor: &'r str,
    /// The Contact with its parameters, but for `expires`.
    pub(super) contact: &'r [u8],
    pub(super) call_id: &'r [u8],
    pub(super) cseq: u32,
    /// Until when the phone was told that it is registered.
    pub(super) phone_until: u64,
    /// Until when a refresh is ours to answer.
    pub(super) fresh_until: u64,
    /// Until when the PBX has it.
    pub(super) until: u64,
}

impl<'r> Record<'r> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let transport = match self.transport {
            Transport::Udp => 0,
            Transport::Tcp => 1,
            Transport::Tls => 2,
        };
        let mut out = vec![VERSION, transport];
        let (listener, remote) = (self.listener.to_string(), self.remote.to_string());
        let texts = [
            listener.as_bytes(),
            remote.as_bytes(),
            self.aor.as_bytes(),
            self.contact,
            self.call_id,
        ];
        for text in texts {
            // A registration comes in one message of at most 65 535 bytes.
            let length = u16::try_from(text.len()).unwrap_or_default();
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(text);
        }
        out.extend_from_slice(&self.cseq.to_be_bytes());
        for time in [self.phone_until, self.fresh_until, self.until] {
            out.extend_from_slice(&time.to_be_bytes());
        }
        out
    }

    /// Reads a record; `None` if it is none of ours.
    pub(super) fn decode(bytes: &'r [u8]) -> Option<Self> {
        let ([VERSION, transport], mut rest) = bytes.split_first_chunk()? else {
            return None;
        };
        let transport = match transport {
            0 => Transport::Udp,
            1 => Transport::Tcp,
            2 => Transport::Tls,
            _ => return None,
        };
        let mut text = || {
            let (length, after) = rest.split_first_chunk()?;
            let (text, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
            rest = after;
            Some(text)
        };
        let [listener, remote, aor] = [text()?, text()?, text()?].map(str::from_utf8);
        let (contact, call_id) = (text()?, text()?);
        let (cseq, mut rest) = rest.split_first_chunk()?;
        let mut time = || {
            let (time, after) = rest.split_first_chunk()?;
            rest = after;
            Some(u64::from_be_bytes(*time))
        };
        let times = [time()?, time()?, time()?];
        let [phone_until, fresh_until, until] = times;
        rest.is_empty().then_some(Self {
            transport,
            listener: listener.ok()?.parse().ok()?,
            remote: remote.ok()?.parse().ok()?,
            aor: aor.ok()?,
            contact,
            call_id,
            cseq: u32::from_be_bytes(*cseq),
            phone_until,
            fresh_until,
            until,
        })
    }

    /// The flow, if we still listen there; a connection of the process before has ended.
    pub(super) fn flow(&self, listeners: &[SocketAddr]) -> Option<Flow> {
        let at = listeners.iter().position(|it| *it == self.listener)?;
        Some(Flow {
            transport: self.transport,
            listener: ListenerId(u8::try_from(at).ok()?),
            remote: self.remote,
            connection: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record<'static> {
        Record {
            transport: Transport::Tcp,
            listener: "192.0.2.1:5060".parse().expect("an address"),
            remote: "[2001:db8::7]:40000".parse().expect("an address"),
            aor: "alice@pbx.example",
            contact: b"<sip:alice@10.0.0.7>;q=0.5",
            call_id: b"one",
            cseq: 7,
            phone_until: 1,
            fresh_until: 2,
            until: u64::MAX,
        }
    }

    #[test]
    fn a_record_reads_as_it_was_written() {
        let bytes = record().encode();
        assert_eq!(Record::decode(&bytes), Some(record()));
    }

    #[test]
    fn a_record_that_was_cut_short_or_lengthened_is_none() {
        let bytes = record().encode();
        for length in 0..bytes.len() {
            assert_eq!(Record::decode(&bytes[..length]), None, "{length}");
        }
        assert_eq!(Record::decode(&[&bytes[..], b"x"].concat()), None);
        let other = [&[VERSION + 1], &bytes[1..]].concat();
        assert_eq!(Record::decode(&other), None);
    }

    #[test]
    fn a_flow_is_found_by_the_address_that_it_came_by() {
        let listener = record().listener;
        let other = "192.0.2.9:5060".parse().expect("an address");
        let flow = record().flow(&[other, listener]).expect("a listener");
        assert_eq!((flow.listener, flow.connection), (ListenerId(1), None));
        assert_eq!(record().flow(&[other]), None);
    }
}
