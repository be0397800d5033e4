//! Phones on TLS before Kamailio: what crosses on UDP crosses there, and nobody reads it on the way.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};

use crate::edge::complete;
use crate::real::baresip::{Baresip, Setup};
use crate::real::served::Served;
use crate::real::stage::{Stage, UNHURRIED};

/// Writes a certificate for this address, and gives the file of the authority that gave it.
fn certify(folder: &Path, ip: IpAddr) -> PathBuf {
    let ours = "a certificate of the test's own";
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority
        .distinguished_name
        .push(DnType::CommonName, "Test Authority");
    let authority_key = KeyPair::generate().expect(ours);
    let root = authority.self_signed(&authority_key).expect(ours);
    let issuer = Issuer::new(authority, authority_key);
    let mut server = CertificateParams::new(vec!["pbx.test".to_owned()]).expect(ours);
    server.subject_alt_names.push(SanType::IpAddress(ip));
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server
        .distinguished_name
        .push(DnType::CommonName, "pbx.test");
    let key = KeyPair::generate().expect(ours);
    let certificate = server.signed_by(&key, &issuer).expect(ours);
    let files = [
        ("authority.pem", root.pem()),
        ("campon.pem", certificate.pem()),
        ("campon.key.pem", key.serialize_pem()),
    ];
    for (name, text) in files {
        fs::write(folder.join(name), text).expect("a file in the target folder");
    }
    folder.join("authority.pem")
}

#[test]
fn a_caller_of_a_busy_phone_is_called_back_over_tls() {
    let stage = Stage::open("edge_tls", 17);
    let (us, pbx) = (stage.campon_ip(), stage.pbx_ip());
    let authority = certify(stage.folder(), us.into());
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
            tls: Some(&authority),
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
