//! TLS as SIP uses it: what we show of ourselves, and whose certificates we believe.
//!
//! Spec: RFC 5922 §4, §7; RFC 3261 §26.3.1.
//!
//! No sockets: files in, configurations of rustls out. A private key lives in those alone, and
//! nothing here prints one.

pub mod names;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use names::DomainVerifier;

/// What a listener that speaks TLS shows, and what it asks of those who connect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Face {
    /// A PEM file: our certificate, then those that lead to its authority.
    pub certificate: PathBuf,
    /// A PEM file: the private key of the certificate.
    pub key: PathBuf,
    /// What those who connect have to show.
    pub clients: Clients,
}

/// Whether those who connect show a certificate of theirs; a PEM file of the authorities that are
/// believed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Clients {
    /// They may, and a wrong one ends the connection.
    Asked(PathBuf),
    /// They must.
    Demanded(PathBuf),
    /// Nobody is asked.
    Unasked,
}

/// How a party that we connect to proves itself.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Proof {
    /// S-192: the domain that its certificate has to name; lower case.
    pub name: Box<str>,
    /// A PEM file of the authorities that are believed.
    pub authorities: PathBuf,
}

/// Which file cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum File {
    /// Authorities of certificates that others show.
    Authorities,
    /// Our certificate.
    Certificate,
    /// Our private key.
    Key,
}

/// Why there is no configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Error {
    /// Which file is to blame.
    pub file: File,
    /// What is wrong with it, in one line.
    pub why: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Error {}

impl Face {
    /// The server side of a listener, from what the files hold now.
    pub fn server(&self) -> Result<Arc<ServerConfig>, Error> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the cipher suites of both versions");
        let builder = match &self.clients {
            Clients::Unasked => builder.with_no_client_auth(),
            Clients::Asked(file) | Clients::Demanded(file) => {
                let roots = Arc::new(authorities(file)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                let verifier = match &self.clients {
                    Clients::Asked(_) => verifier.allow_unauthenticated(),
                    Clients::Demanded(_) | Clients::Unasked => verifier,
                };
                let verifier = verifier.build().map_err(|error| Error {
                    file: File::Authorities,
                    why: unusable(file, &error),
                })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let (chain, key) = self.read()?;
        let config = builder.with_single_cert(chain, key);
        config.map(Arc::new).map_err(|error| self.blame(&error))
    }

    /// The client side, for connections to whoever proves himself so.
    pub fn client(&self, proof: &Proof) -> Result<Arc<ClientConfig>, Error> {
        let verifier = DomainVerifier::new(authorities(&proof.authorities)?, &provider());
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the cipher suites of both versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let (chain, key) = self.read()?;
        let config = builder.with_client_auth_cert(chain, key);
        config.map(Arc::new).map_err(|error| self.blame(&error))
    }

    /// The names in our certificate.
    pub fn names(&self) -> Result<Vec<Box<str>>, Error> {
        let (chain, _) = self.read()?;
        Ok(chain.first().map(names::identities).unwrap_or_default())
    }

    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
        let chain = certificates(&self.certificate, File::Certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| Error {
            file: File::Key,
            why: unusable(&self.key, &error),
        })?;
        Ok((chain, key))
    }

    /// What rustls says of a certificate with its key.
    fn blame(&self, error: &rustls::Error) -> Error {
        let is_key = matches!(error, rustls::Error::InconsistentKeys(_));
        if is_key {
            let certificate = self.certificate.display();
            let why = format!("{} is not the key of {certificate}", self.key.display());
            return Error {
                file: File::Key,
                why,
            };
        }
        Error {
            file: File::Certificate,
            why: unusable(&self.certificate, error),
        }
    }
}

impl Proof {
    /// Whether its authorities can be read.
    pub fn check(&self) -> Result<(), Error> {
        authorities(&self.authorities).map(|_| ())
    }
}

/// ring: it needs a C compiler and nothing else to build.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn authorities(file: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(file, File::Authorities)?);
    if added == 0 {
        let why = format!("{} holds no certificate of an authority", file.display());
        return Err(Error {
            file: File::Authorities,
            why,
        });
    }
    Ok(roots)
}

fn certificates(file: &Path, which: File) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|error| Error {
        file: which,
        why: unusable(file, &error),
    })?;
    if found.is_empty() {
        let why = format!("{} holds no certificate", file.display());
        return Err(Error { file: which, why });
    }
    Ok(found)
}

fn unusable(file: &Path, error: &dyn fmt::Display) -> String {
    format!("{} cannot be used: {error}", file.display())
}
