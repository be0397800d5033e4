//! The SIP domains that a certificate is for, and whether they are those that we mean.
//!
//! Spec: RFC 5922 §7.1–7.3 (S-190, S-191, S-192, S-195).

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use webpki::EndEntityCert;

use crate::sip::{Host, Uri};

/// S-190: the domains in the alternative names; none where it cannot be read. The common name is
/// not looked at.
pub fn identities(certificate: &CertificateDer<'_>) -> Vec<Box<str>> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else {
        return Vec::new();
    };
    let domains = certificate.valid_uri_names().filter_map(domain_of);
    let domains: Vec<_> = domains.collect();
    if !domains.is_empty() {
        return domains;
    }
    let hosts = certificate.valid_dns_names();
    // S-191: a wildcard stands for nobody.
    let hosts = hosts.filter(|host| !host.contains('*'));
    hosts.map(|host| host.to_ascii_lowercase().into()).collect()
}

/// The domain of a `sip:` URI that names no user.
fn domain_of(uri: &str) -> Option<Box<str>> {
    let uri = Uri::parse(uri.as_bytes()).ok()?.as_sip()?;
    if uri.secure || uri.user.is_some() {
        return None;
    }
    match uri.host {
        Host::Name(name) => Some(name.to_ascii_lowercase().into()),
        Host::V4(_) | Host::V6(_) => None,
    }
}

/// S-191: the same domain, letter for letter but for their case.
pub fn is_same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Believes a certificate that leads to one of our authorities and names the domain that is meant.
#[derive(Debug)]
pub(super) struct DomainVerifier {
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl DomainVerifier {
    pub(super) fn new(roots: RootCertStore, provider: &CryptoProvider) -> Self {
        Self {
            roots,
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for DomainVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let all = self.algorithms.all;
        // S-195: that includes what the certificate may be used for.
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, all)?;
        let ServerName::DnsName(meant) = server_name else {
            return Err(CertificateError::NotValidForName.into());
        };
        // S-192
        let names = identities(end_entity);
        if names.iter().any(|name| is_same(name, meant.as_ref())) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::NotValidForName.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn names(alternatives: &[&str]) -> Vec<String> {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.subject_alt_names = alternatives.iter().map(|text| alternative(text)).collect();
        let certificate = params.self_signed(&key).expect("a certificate");
        let names = identities(certificate.der());
        names.iter().map(ToString::to_string).collect()
    }

    fn alternative(text: &str) -> SanType {
        let kind = if text.contains(':') {
            SanType::URI
        } else {
            SanType::DnsName
        };
        kind(text.try_into().expect("ASCII"))
    }

    #[test]
    fn a_certificate_is_for_the_domain_of_its_sip_uri() {
        assert_eq!(names(&["sip:Example.ORG"]), ["example.org"]); // S-190
        assert_eq!(
            names(&["SIP:a.example;transport=tls", "sip:b.example"]),
            ["a.example", "b.example"]
        );
    }

    #[test]
    fn a_host_counts_only_where_no_uri_names_a_domain() {
        assert_eq!(
            names(&["a.example", "b.example"]),
            ["a.example", "b.example"]
        ); // S-190
        assert_eq!(names(&["a.example", "sip:b.example"]), ["b.example"]);
        for no_domain in [
            "sip:alice@b.example",
            "sips:b.example",
            "https://b.example",
            "sip:192.0.2.1",
        ] {
            assert_eq!(names(&["a.example", no_domain]), ["a.example"]);
        }
    }

    #[test]
    fn neither_a_wildcard_nor_a_name_with_a_nul_is_anybodys() {
        assert_eq!(names(&["*.example.org"]), [""; 0]); // S-191
        assert_eq!(names(&["good.example\0.evil.example"]), [""; 0]);
        assert_eq!(names(&["sip:good.example\0.evil.example"]), [""; 0]);
        assert_eq!(names(&[]), [""; 0]);
    }

    #[test]
    fn names_are_compared_whole_and_whatever_their_case() {
        assert!(is_same("pbx.example.org", "PBX.Example.org")); // S-191
        assert!(!is_same("pbx.example.org", "example.org"));
        assert!(!is_same("*.example.org", "pbx.example.org"));
    }
}
