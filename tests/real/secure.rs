//! Phones on TLS before Kamailio, and Kamailio on TLS: what crosses on UDP crosses there, and nobody
//! reads it on the way.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};

use crate::edge::complete;
use crate::real::baresip::{Baresip, Setup};
use crate::real::kamailio::Kamailio;
use crate::real::served::Served;
use crate::real::stage::{Stage, UNHURRIED};

/// Who gives certificates, and whom the parties believe.
struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Writes its own certificate into this folder.
    fn new(folder: &Path) -> Self {
        let mut own = CertificateParams::default();
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        own.distinguished_name
            .push(DnType::CommonName, "Test Authority");
        let key = KeyPair::generate().expect(OURS);
        let root = own.self_signed(&key).expect(OURS);
        let authority = Self {
            folder: folder.to_owned(),
            issuer: Issuer::new(own, key),
        };
        fs::write(authority.file(), root.pem()).expect("a file in the target folder");
        authority
    }

    fn file(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    /// Writes `NAME.pem` and `NAME.key.pem` for this address, and for the domain of the PBX.
    fn certify(&self, name: &str, ip: IpAddr) {
        let mut server = CertificateParams::new(vec!["pbx.test".to_owned()]).expect(OURS);
        server.subject_alt_names.push(SanType::IpAddress(ip));
        server.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        server
            .distinguished_name
            .push(DnType::CommonName, "pbx.test");
        let key = KeyPair::generate().expect(OURS);
        let certificate = server.signed_by(&key, &self.issuer).expect(OURS);
        let files = [
            (format!("{name}.pem"), certificate.pem()),
            (format!("{name}.key.pem"), key.serialize_pem()),
        ];
        for (name, text) in files {
            fs::write(self.folder.join(name), text).expect("a file in the target folder");
        }
    }
}

const OURS: &str = "a certificate of the test's own";

#[test]
fn a_caller_of_a_busy_phone_is_called_back_over_tls() {
    let stage = Stage::open("edge_tls", 17);
    let (us, pbx) = (stage.campon_ip(), stage.pbx_ip());
    let authority = Authority::new(stage.folder());
    authority.certify("campon", us.into());
    let kamailio = stage.kamailio();
    let config = format!(
        r#"
mode = "edge"
upstream = "sip:{pbx}:5060"
domains = ["pbx.test"]

[[listener]]
address = "{us}:5060"

[[listener]]
address = "{us}:5061"
tls = {{ certificate = "campon.pem", key = "campon.key.pem" }}

[completion]
guard = "300ms"

[completion.codes]
request_last = "*37#"

{UNHURRIED}"#
    );
    let campon = Served::start(stage.folder(), None, &config);
    let capture = stage.capture();
    let [mut alice, mut bob, mut carol] = ["alice", "bob", "carol"].map(|user| {
        let setup = Setup {
            proxy: &format!("sip:{us}:5061;transport=tls"),
            tls: Some(&authority.file()),
            ..stage.setup(user)
        };
        Baresip::start(stage.folder(), &setup)
    });
    for phone in [&mut alice, &mut bob, &mut carol] {
        phone.wait_until_registered();
    }
    assert_eq!(kamailio.contacts("alice").len(), 1);
    complete(&mut alice, &mut bob, &mut carol);
    [alice, bob, carol].into_iter().for_each(Baresip::quit);
    campon.stop();
    let captured = capture.finish();
    stage.assert_audio_is_direct(&captured, ["alice", "bob"]);
    // The PBX was reached; on the phones' side there is nothing to be read.
    assert!(captured.between(us, pbx, "INVITE").len() >= 2, "{captured}");
    let clear = captured.messages.iter().filter(|one| {
        let ends = [one.field("ip.src"), one.field("ip.dst")];
        !ends.contains(&pbx.to_string().as_str())
    });
    assert_eq!(clear.count(), 0, "{captured}");
}

/// Phones on UDP, whose PBX is reached by TLS and calls them by TLS.
#[test]
fn a_caller_of_a_busy_phone_is_called_back_through_a_pbx_on_tls() {
    let stage = Stage::open("edge_tls_pbx", 23);
    let (us, pbx) = (stage.campon_ip(), stage.pbx_ip());
    let authority = Authority::new(stage.folder());
    authority.certify("campon", us.into());
    authority.certify("pbx", pbx.into());
    let kamailio = Kamailio::start_with_tls(stage.folder(), pbx.into());
    let config = format!(
        r#"
mode = "edge"
domains = ["pbx.test"]

[upstream]
address = "sip:{pbx}:5061;transport=tls"
tls_name = "pbx.test"
tls_ca = "authority.pem"

[[listener]]
address = "{us}:5060"

[[listener]]
address = "{us}:5061"
tls = {{ certificate = "campon.pem", key = "campon.key.pem" }}

[completion]
guard = "300ms"

[completion.codes]
request_last = "*37#"

{UNHURRIED}"#
    );
    let campon = Served::start(stage.folder(), None, &config);
    let capture = stage.capture();
    let [mut alice, mut bob, mut carol] = stage.registered(["alice", "bob", "carol"]);
    let contacts = kamailio.contacts("alice");
    assert!(
        matches!(&*contacts, [one] if one.contains("transport=tls")),
        "{contacts:?}"
    );
    complete(&mut alice, &mut bob, &mut carol);
    [alice, bob, carol].into_iter().for_each(Baresip::quit);
    campon.stop();
    let captured = capture.finish();
    stage.assert_audio_is_direct(&captured, ["alice", "bob"]);
    // Between campon and the PBX there is nothing to be read.
    let clear = captured.messages.iter().filter(|one| {
        let ends = [one.field("ip.src"), one.field("ip.dst")];
        ends.contains(&pbx.to_string().as_str())
    });
    assert_eq!(clear.count(), 0, "{captured}");
    assert!(
        !captured
            .between(us, stage.ip_of("bob"), "INVITE")
            .is_empty()
    );
}
