//! The servers of a place: which transport, which hosts, which addresses.
//!
//! Spec: RFC 3263 §4.1, §4.2 (S-100, S-103); RFC 2782.
//!
//! ```text
//!   address ────────────────────────────────────────────────► it
//!   name with port ─────────────────────────────► A, AAAA ──► each
//!   name with transport ──────────► SRV ──none──► A, AAAA
//!   name ──► NAPTR ──none──► SRV of each transport ──none──► A, AAAA
//! ```

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::routing::names::{Kind, Missing, Names, Naptr, Srv};
use crate::routing::place::{Place, Spot, port_of};
use crate::routing::srv::Rank;
use crate::routing::targets::Server;
use crate::sip::flow::Transport;
use crate::time::Timestamp;

/// The most servers of one place: beyond that, nobody is ever tried.
const SERVERS_MAX: usize = 32;

/// Which addresses a listener of ours can send to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

impl Families {
    fn has(self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.v4,
            IpAddr::V6(_) => self.v6,
        }
    }
}

/// The servers of a place, with their ranks.
pub type Ranked = Vec<(Server, Rank)>;

/// Finds the servers of a place among what DNS has said, and asks for what it has not.
pub fn locate(
    names: &mut Names,
    now: Timestamp,
    place: &Place,
    families: Families,
) -> Result<Ranked, Missing> {
    let name = match &place.spot {
        Spot::Name(name) => name,
        Spot::Address(_) => {
            let (transport, remote) = place.fixed().ok_or(Missing::Nowhere)?;
            return Ok(vec![(Server { transport, remote }, Rank::default())]);
        }
    };
    let mut search = Search {
        names,
        now,
        families,
    };
    let mut found = search.servers(place, name)?;
    found.truncate(SERVERS_MAX);
    if found.is_empty() {
        return Err(Missing::Nowhere);
    }
    Ok(found)
}

/// A walk through what DNS has said.
struct Search<'n> {
    names: &'n mut Names,
    now: Timestamp,
    families: Families,
}

impl Search<'_> {
    fn servers(&mut self, place: &Place, name: &Arc<str>) -> Result<Ranked, Missing> {
        let usual = place.transport();
        if let Some(port) = place.port {
            return self.at(name, usual, port, Rank::default());
        }
        let by_srv = if place.transport.is_some() {
            self.by_srv(&service(usual, name), usual)?
        } else {
            match self.by_naptr(place, name)? {
                Some(found) => Some(found),
                None => self.by_each_srv(place, name)?,
            }
        };
        match by_srv {
            Some(found) => Ok(found),
            None => self.at(name, usual, port_of(usual), Rank::default()),
        }
    }

    /// What the NAPTR records lead to; `None` if there are none that we could follow.
    fn by_naptr(&mut self, place: &Place, name: &Arc<str>) -> Result<Option<Ranked>, Missing> {
        let records = self.names.look_up(self.now, name, Kind::Naptr)?;
        let mut known: Vec<(Naptr, Transport)> = records
            .naptr
            .iter()
            .filter_map(|record| Some((record.clone(), transport_of(record, place.secure)?)))
            .collect();
        known.sort_by_key(|(record, _)| (record.order, record.preference));
        for (record, transport) in known {
            if let Some(found) = self.by_srv(&record.replacement, transport)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The SRV records of the first transport that has some.
    fn by_each_srv(&mut self, place: &Place, name: &Arc<str>) -> Result<Option<Ranked>, Missing> {
        let transports: &[Transport] = if place.secure {
            &[Transport::Tls]
        } else {
            &[Transport::Udp, Transport::Tcp]
        };
        for transport in transports {
            if let Some(found) = self.by_srv(&service(*transport, name), *transport)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The servers of SRV records; `None` if there are no records.
    ///
    /// A record whose host is not known does not hide the others.
    fn by_srv(
        &mut self,
        service: &Arc<str>,
        transport: Transport,
    ) -> Result<Option<Ranked>, Missing> {
        let records = self.names.look_up(self.now, service, Kind::Srv)?;
        let records: Vec<Srv> = records.srv.iter().take(SERVERS_MAX).cloned().collect();
        if records.is_empty() {
            return Ok(None);
        }
        let mut found = Vec::new();
        let mut missing = Missing::Nowhere;
        // RFC 2782: a host of "." says that the service is not there.
        for record in records.iter().filter(|record| !record.target.is_empty()) {
            let rank = Rank {
                priority: record.priority.into(),
                weight: record.weight,
            };
            match self.at(&record.target, transport, record.port, rank) {
                Ok(servers) => found.extend(servers),
                Err(why) => missing = more_hopeful(missing, why),
            }
        }
        if missing == Missing::Pending || found.is_empty() {
            return Err(missing);
        }
        Ok(Some(found))
    }

    /// The addresses of a host.
    fn at(
        &mut self,
        host: &Arc<str>,
        transport: Transport,
        port: u16,
        rank: Rank,
    ) -> Result<Ranked, Missing> {
        let families = self.families;
        let records = self.names.look_up(self.now, host, Kind::Address)?;
        let usable = records.addresses.iter().filter(|ip| families.has(**ip));
        let server = |ip: &IpAddr| Server {
            transport,
            remote: SocketAddr::new(*ip, port),
        };
        let found: Ranked = usable.map(|ip| (server(ip), rank)).collect();
        if found.is_empty() {
            return Err(Missing::Nowhere);
        }
        Ok(found)
    }
}

/// Of two reasons that nothing was found, that which may yet pass.
fn more_hopeful(one: Missing, other: Missing) -> Missing {
    let hope = |missing: &Missing| match missing {
        Missing::Pending => 2,
        Missing::Silent => 1,
        Missing::Nowhere => 0,
    };
    std::cmp::max_by_key(one, other, hope)
}

/// The name of a service of SIP at a domain (RFC 3263 §4.1).
fn service(transport: Transport, name: &str) -> Arc<str> {
    let service = match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
    };
    format!("{service}.{name}").into()
}

/// The transport of a NAPTR record that we can follow.
fn transport_of(record: &Naptr, is_secure: bool) -> Option<Transport> {
    if !record.flags.eq_ignore_ascii_case("s") {
        return None;
    }
    let service = record.service.to_ascii_uppercase();
    match (&*service, is_secure) {
        // S-103: who wants TLS all the way takes nothing less.
        ("SIPS+D2T", true) => Some(Transport::Tls),
        ("SIP+D2U", false) => Some(Transport::Udp),
        ("SIP+D2T", false) => Some(Transport::Tcp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::routing::names::{Answer, Failed, Question, Records};

    const NOW: Timestamp = Timestamp::START;
    const BOTH: Families = Families { v4: true, v6: true };

    /// A zone, and who answers from it.
    #[derive(Default)]
    struct Zone {
        records: BTreeMap<Question, Records>,
        dead: Vec<Arc<str>>,
        asked: Vec<Question>,
    }

    impl Zone {
        fn of(&mut self, name: &str, kind: Kind) -> &mut Records {
            let name = name.into();
            self.records.entry(Question { name, kind }).or_default()
        }

        fn a(&mut self, name: &str, address: &str) {
            let address = address.parse().expect("an address");
            self.of(name, Kind::Address).addresses.push(address);
        }

        fn srv(&mut self, name: &str, (priority, weight, port): (u16, u16, u16), target: &str) {
            let srv = Srv {
                priority,
                weight,
                port,
                target: target.into(),
            };
            self.of(name, Kind::Srv).srv.push(srv);
        }

        fn naptr(&mut self, name: &str, order: u16, service: &str, replacement: &str) {
            let naptr = Naptr {
                order,
                preference: 1,
                flags: "S".to_owned(),
                service: service.to_owned(),
                replacement: replacement.into(),
            };
            self.of(name, Kind::Naptr).naptr.push(naptr);
        }

        /// Asks and answers until it is found or not.
        fn locate(&mut self, place: &str, families: Families) -> Result<Vec<String>, Missing> {
            let mut names = Names::default();
            let place = read(place);
            loop {
                names.begin();
                let found = locate(&mut names, NOW, &place, families);
                if found != Err(Missing::Pending) {
                    return found.map(|found| found.iter().map(shown).collect());
                }
                let mut progress = false;
                while let Some(question) = names.poll_question() {
                    progress = true;
                    self.answer(&mut names, question);
                }
                assert!(progress, "it waits for nothing");
            }
        }

        fn answer(&mut self, names: &mut Names, question: Question) {
            let records = self.records.get(&question).cloned().unwrap_or_default();
            let answer = Answer {
                records,
                ttl: Duration::from_mins(1),
            };
            let is_dead = self.dead.contains(&question.name);
            let reply = if is_dead { Err(Failed) } else { Ok(&answer) };
            names.on_reply(NOW, &question, reply);
            self.asked.push(question);
        }
    }

    /// `[sips:]NAME[:PORT][;TRANSPORT]`
    fn read(text: &str) -> Place {
        let (secure, text) = match text.strip_prefix("sips:") {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (text, transport) = match text.split_once(';') {
            Some((text, "tcp")) => (text, Some(Transport::Tcp)),
            Some((text, _)) => (text, Some(Transport::Udp)),
            None => (text, None),
        };
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, port.parse().ok()),
            None => (text, None),
        };
        Place {
            secure,
            spot: Spot::Name(name.into()),
            port,
            transport,
        }
    }

    fn shown((server, rank): &(Server, Rank)) -> String {
        let transport = server.transport.uri_name();
        format!("{transport} {} {}", server.remote, rank.priority)
    }

    /// Two servers by UDP and one by TCP and TLS, and NAPTR that prefers TCP.
    fn zone() -> Zone {
        let mut zone = Zone::default();
        zone.naptr("pbx.test", 20, "SIP+D2U", "_sip._udp.pbx.test");
        zone.naptr("pbx.test", 10, "SIP+D2T", "_sip._tcp.pbx.test");
        zone.naptr("pbx.test", 30, "SIPS+D2T", "_sips._tcp.pbx.test");
        zone.srv("_sip._udp.pbx.test", (20, 1, 5070), "b.test");
        zone.srv("_sip._udp.pbx.test", (10, 1, 5060), "a.test");
        zone.srv("_sip._tcp.pbx.test", (10, 1, 5060), "a.test");
        zone.srv("_sips._tcp.pbx.test", (10, 1, 5061), "a.test");
        zone.a("a.test", "192.0.2.1");
        zone.a("b.test", "192.0.2.2");
        zone.a("pbx.test", "192.0.2.9");
        zone
    }

    #[test]
    fn a_name_goes_by_naptr_then_srv_then_addresses() {
        // S-100
        let found = zone().locate("pbx.test", BOTH);
        assert_eq!(found, Ok(vec!["tcp 192.0.2.1:5060 10".to_owned()]));
    }

    #[test]
    fn a_transport_that_is_given_skips_naptr() {
        let mut zone = zone();
        let found = zone.locate("pbx.test;udp", BOTH);
        // S-100
        let expected = ["udp 192.0.2.2:5070 20", "udp 192.0.2.1:5060 10"];
        assert_eq!(found, Ok(expected.map(str::to_owned).to_vec()));
        assert!(zone.asked.iter().all(|asked| asked.kind != Kind::Naptr));
    }

    #[test]
    fn a_port_that_is_given_skips_srv() {
        let mut zone = zone();
        // S-100
        let found = zone.locate("pbx.test:5090", BOTH);
        assert_eq!(found, Ok(vec!["udp 192.0.2.9:5090 0".to_owned()]));
        assert!(zone.asked.iter().all(|asked| asked.kind == Kind::Address));
    }

    #[test]
    fn sips_takes_no_naptr_but_that_of_sips() {
        // S-103
        let found = zone().locate("sips:pbx.test", BOTH);
        assert_eq!(found, Ok(vec!["tls 192.0.2.1:5061 10".to_owned()]));
    }

    #[test]
    fn without_naptr_each_transport_has_its_srv() {
        let mut zone = Zone::default();
        zone.srv("_sip._tcp.pbx.test", (1, 1, 5065), "a.test");
        zone.a("a.test", "192.0.2.1");
        let found = zone.locate("pbx.test", BOTH);
        assert_eq!(found, Ok(vec!["tcp 192.0.2.1:5065 1".to_owned()]));
    }

    #[test]
    fn without_srv_the_name_itself_has_addresses() {
        let mut zone = Zone::default();
        zone.a("pbx.test", "192.0.2.9");
        zone.a("pbx.test", "2001:db8::9");
        // S-100
        let found = zone.locate("pbx.test", BOTH);
        let expected = ["udp 192.0.2.9:5060 0", "udp [2001:db8::9]:5060 0"];
        assert_eq!(found, Ok(expected.map(str::to_owned).to_vec()));
        let v4 = Families { v6: false, ..BOTH };
        assert_eq!(zone.locate("pbx.test", v4).map(|found| found.len()), Ok(1));
    }

    #[test]
    fn a_name_that_is_not_there_is_nowhere() {
        assert_eq!(
            Zone::default().locate("pbx.test", BOTH),
            Err(Missing::Nowhere)
        );
        let mut zone = Zone::default();
        // RFC 2782: decidedly not there.
        zone.srv("_sip._udp.pbx.test", (0, 0, 0), "");
        zone.a("pbx.test", "192.0.2.9");
        let found = zone.locate("pbx.test;udp", BOTH);
        assert_eq!(found, Err(Missing::Nowhere));
    }

    #[test]
    fn a_host_that_dns_does_not_know_hides_no_other() {
        let mut zone = zone();
        zone.dead.push("b.test".into());
        let found = zone.locate("pbx.test;udp", BOTH);
        assert_eq!(found, Ok(vec!["udp 192.0.2.1:5060 10".to_owned()]));
        zone.dead.push("a.test".into());
        let found = zone.locate("pbx.test;udp", BOTH);
        assert_eq!(found, Err(Missing::Silent));
    }
}
