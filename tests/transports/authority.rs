//! An authority of a test's own, and what it certifies.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

pub struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as files.
pub struct Certified {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
        let issuer = issuer.expect("an authority");
        let authority = Self {
            folder: folder.to_owned(),
            issuer,
        };
        fs::write(authority.file(), authority.issuer.pem()).expect("a file");
        authority
    }

    /// Where others find whom to believe.
    pub fn file(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    /// A certificate for these alternative names: a URI where there is a colon, else a host.
    pub fn certify(&self, file: &str, names: &[&str]) -> Certified {
        self.certify_for(file, names, Vec::new())
    }

    /// One that is good for those who connect, and for nobody else.
    pub fn certify_client(&self, file: &str, names: &[&str]) -> Certified {
        self.certify_for(file, names, vec![ExtendedKeyUsagePurpose::ClientAuth])
    }

    fn certify_for(
        &self,
        file: &str,
        names: &[&str],
        usages: Vec<ExtendedKeyUsagePurpose>,
    ) -> Certified {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.extended_key_usages = usages;
        params.subject_alt_names = names.iter().map(|name| alternative(name)).collect();
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let certified = Certified {
            certificate: self.folder.join(format!("{file}.pem")),
            key: self.folder.join(format!("{file}.key.pem")),
        };
        fs::write(&certified.certificate, certificate.pem()).expect("a file");
        fs::write(&certified.key, key.serialize_pem()).expect("a file");
        certified
    }

    /// What a phone believes, and what it shows.
    pub fn client(&self, shown: Option<&Certified>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority");
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions().expect("both");
        let builder = builder.with_root_certificates(roots);
        Arc::new(match shown {
            None => builder.with_no_client_auth(),
            Some(shown) => {
                let (chain, key) = shown.read();
                builder.with_client_auth_cert(chain, key).expect("a pair")
            }
        })
    }
}

impl Certified {
    /// What a PBX shows.
    pub fn server(&self) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions().expect("both");
        let (chain, key) = self.read();
        let config = builder.with_no_client_auth().with_single_cert(chain, key);
        Arc::new(config.expect("a pair"))
    }

    fn read(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let certificate = CertificateDer::from_pem_file(&self.certificate).expect("PEM");
        let key = PrivateKeyDer::from_pem_file(&self.key).expect("PEM");
        (vec![certificate], key)
    }
}

fn alternative(name: &str) -> SanType {
    let name_of = |name: &str| name.try_into().expect("ASCII");
    if name.contains(':') {
        SanType::URI(name_of(name))
    } else {
        SanType::DnsName(name_of(name))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
