//! Stand-in.
use crate::sip::flow::Flow;
use crate::sip::{Host, Request, SipUri, Status, Uri};
use crate::time::Timestamp;
use std::net::IpAddr;
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Aor(Box<[u8]>);
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy;
#[derive(Debug)]
pub struct Domains {
    ips: Vec<IpAddr>,
}
impl Domains {
    pub fn new<'d>(ips: impl Iterator<Item = IpAddr>, _d: impl Iterator<Item = &'d str>) -> Self {
        Self { ips: ips.collect() }
    }
    pub fn aor(&self, uri: &Uri<'_>) -> Option<Aor> {
        uri.as_sip().and_then(|s| s.user).map(|u| Aor(Box::from(u)))
    }
    pub fn is_own(&self, uri: &SipUri<'_>) -> bool {
        match uri.host {
            Host::V4(a) => self.ips.contains(&IpAddr::V4(a)),
            Host::V6(a) => self.ips.contains(&IpAddr::V6(a)),
            Host::Name(_) => false,
        }
    }
}
#[derive(Debug)]
pub struct Target<'t> {
    pub uri: &'t [u8],
    pub flow: Flow,
    pub is_nat: bool,
}
#[derive(Debug)]
pub struct Registrar;
impl Registrar {
    pub fn new(_: Policy) -> Self {
        Self
    }
    pub fn handle_register(
        &mut self,
        _now: Timestamp,
        _r: &Request<'_>,
        _f: &Flow,
        _d: &Domains,
        out: &mut Vec<u8>,
    ) -> Status {
        out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        Status::OK
    }
    pub fn targets(&self, _now: Timestamp, _a: &Aor) -> impl Iterator<Item = Target<'_>> {
        std::iter::empty()
    }
    pub fn is_known(&self, _a: &Aor) -> bool {
        false
    }
    pub fn is_registered_at(&self, _a: &Aor, _f: &Flow) -> bool {
        false
    }
    pub fn handle_disconnected(&mut self, _f: &Flow) {}
    pub fn handle_timeout(&mut self, _n: Timestamp) {}
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }
    pub fn len(&self) -> usize {
        0
    }
}
