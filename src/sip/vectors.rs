//! The torture messages of RFC 4475 and RFC 5118, as far as syntax alone decides.
//!
//! Spec: RFC 4475 §3; RFC 5118 §4.

use std::fs;
use std::path::Path;

use crate::sip::check::{Checked, Refusal, Request};
use crate::sip::lex::unfold;
use crate::sip::message::{Message, Scratch};
use crate::sip::name::Name;
use crate::sip::uri::{Host, Uri, unescape};
use crate::sip::writer::Writer;

/// Beside the repository, as all tests find it.
const VECTORS: &str = "../shared/vectors";

/// What syntax says of each file: a pass, an answer, or a drop.
///
/// A pass may still be refused by what stands above: 405, 416, 420 and others are not of syntax.
const VERDICTS: &[(&str, &str)] = &[
    ("rfc4475/badaspec", "400"),
    ("rfc4475/badbranch", "400"),
    ("rfc4475/baddate", "process"),
    ("rfc4475/baddn", "400"),
    ("rfc4475/badinv01", "400"),
    ("rfc4475/badvers", "505"),
    ("rfc4475/bcast", "drop"),
    ("rfc4475/bext01", "process"),
    ("rfc4475/bigcode", "drop"),
    ("rfc4475/clerr", "400"),
    ("rfc4475/cparam01", "process"),
    ("rfc4475/cparam02", "process"),
    ("rfc4475/dblreq", "process"),
    ("rfc4475/esc01", "process"),
    ("rfc4475/esc02", "process"),
    ("rfc4475/escnull", "process"),
    ("rfc4475/escruri", "400"),
    ("rfc4475/insuf", "400"),
    ("rfc4475/intmeth", "process"),
    ("rfc4475/inv2543", "process"),
    ("rfc4475/invut", "process"),
    ("rfc4475/longreq", "process"),
    ("rfc4475/ltgtruri", "400"),
    ("rfc4475/lwsdisp", "process"),
    ("rfc4475/lwsruri", "400"),
    ("rfc4475/lwsstart", "400"),
    ("rfc4475/mcl01", "400"),
    ("rfc4475/mismatch01", "400"),
    ("rfc4475/mismatch02", "400"),
    ("rfc4475/mpart01", "process"),
    ("rfc4475/multi01", "400"),
    ("rfc4475/ncl", "400"),
    ("rfc4475/noreason", "process"),
    ("rfc4475/novelsc", "process"),
    ("rfc4475/quotbal", "400"),
    ("rfc4475/regaut01", "process"),
    ("rfc4475/regbadct", "400"),
    ("rfc4475/regescrt", "process"),
    ("rfc4475/scalar02", "400"),
    ("rfc4475/scalarlg", "drop"),
    ("rfc4475/sdp01", "process"),
    ("rfc4475/semiuri", "process"),
    ("rfc4475/test", "drop"),
    ("rfc4475/transports", "process"),
    ("rfc4475/trws", "400"),
    ("rfc4475/unkscm", "process"),
    ("rfc4475/unksm2", "process"),
    ("rfc4475/unreason", "process"),
    ("rfc4475/wsinv", "process"),
    ("rfc4475/zeromf", "process"),
    ("rfc5118/ipv4-mapped-ipv6", "process"),
    ("rfc5118/ipv4-mapped-ipv6.fixedcl", "process"),
    ("rfc5118/ipv6-bad", "400"),
    ("rfc5118/ipv6-bug-abnf-3-colons", "process"),
    ("rfc5118/ipv6-correct-abnf-2-colons", "process"),
    ("rfc5118/ipv6-good", "process"),
    ("rfc5118/ipv6-in-sdp", "400"),
    ("rfc5118/ipv6-in-sdp.fixedcl", "process"),
    ("rfc5118/mult-ip-in-header", "process"),
    ("rfc5118/mult-ip-in-sdp", "process"),
    ("rfc5118/mult-ip-in-sdp.fixedcl", "process"),
    ("rfc5118/port-ambiguous", "process"),
    ("rfc5118/port-unambiguous", "process"),
    ("rfc5118/via-received-param-no-delim", "process"),
    ("rfc5118/via-received-param-with-delim", "process"),
];

/// Each file's name, bytes and verdict; none if the vectors are not there.
pub(crate) fn all() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    if !Path::new(VECTORS).is_dir() {
        println!("ABSENT: {VECTORS} is not there, so nothing of it was tested");
        return Vec::new();
    }
    let read = |name: &str| fs::read(format!("{VECTORS}/{name}.dat")).expect("a listed file");
    VERDICTS
        .iter()
        .map(|(name, verdict)| (*name, read(name), *verdict))
        .collect()
}

fn verdict(raw: &[u8]) -> String {
    let mut scratch = Scratch::new();
    let Ok(message) = Message::parse(raw, &mut scratch) else {
        return "drop".to_owned();
    };
    match Checked::check(message) {
        Ok(_) => "process".to_owned(),
        Err(Refusal::Answer { status, .. }) => status.code().to_string(),
        Err(Refusal::Drop(_)) => "drop".to_owned(),
    }
}

fn message<T>(name: &str, look: impl FnOnce(Message<'_>) -> T) -> Option<T> {
    let (_, raw, _) = all().into_iter().find(|(found, ..)| *found == name)?;
    let mut scratch = Scratch::new();
    Some(look(Message::parse(&raw, &mut scratch).unwrap()))
}

fn request<T>(name: &str, look: impl FnOnce(Request<'_>) -> T) {
    message(name, |message| match Checked::check(message) {
        Ok(Checked::Request(request)) => look(request),
        other => panic!("{name}: {other:?}"),
    });
}

fn host(text: &'static str) -> Host<'static> {
    Host::parse(text.as_bytes()).unwrap()
}

#[test]
fn each_message_gets_its_verdict() {
    for (name, raw, expected) in all() {
        assert_eq!(verdict(&raw), expected, "{name}");
    }
}

/// The verdicts above are not ours to choose: the manifests list what is acceptable.
#[test]
fn each_verdict_is_acceptable_to_the_manifest() {
    let mut seen = 0;
    for folder in ["rfc4475", "rfc5118"] {
        let Ok(manifest) = fs::read_to_string(format!("{VECTORS}/{folder}/manifest.json")) else {
            println!("ABSENT: {VECTORS}/{folder}");
            return;
        };
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        for case in manifest["cases"].as_array().unwrap() {
            seen += check_case(folder, case, "file", "acceptable");
            if case.get("fixed_file").is_some() {
                // The unmended file has an acceptance of its own, so its verdict was seen above.
                seen += check_case(folder, case, "fixed_file", "acceptable");
            }
        }
    }
    assert_eq!(seen, VERDICTS.len());
}

/// Checks one file of a case; 1 comes back, for counting.
fn check_case(folder: &str, case: &serde_json::Value, file: &str, accepted: &str) -> usize {
    let name = case[file].as_str().unwrap().trim_end_matches(".dat");
    let name = format!("{folder}/{name}");
    let (_, verdict) = VERDICTS
        .iter()
        .find(|(listed, _)| *listed == name)
        .expect("listed");
    let is_raw = file == "file" && case.get("acceptable_raw").is_some();
    let accepted = &case[if is_raw { "acceptable_raw" } else { accepted }];
    let fits = accepted
        .as_array()
        .unwrap()
        .iter()
        .any(|answer| match answer.as_u64() {
            Some(code @ (400 | 505)) => verdict.parse() == Ok(code),
            // Any other status is given by what stands above, to a message that passes here.
            Some(_) => *verdict == "process",
            None => answer.as_str().unwrap().starts_with(verdict),
        });
    assert!(fits, "{name}: {verdict} is not in {accepted}");
    1
}

/// What crosses us keeps every header field and the body, and nothing of a broken form.
#[test]
fn each_message_that_passes_survives_being_written_again() {
    for (name, raw, _) in all()
        .into_iter()
        .filter(|(.., verdict)| *verdict == "process")
    {
        let mut scratch = Scratch::new();
        let message = Message::parse(&raw, &mut scratch).unwrap();
        let mut out = Vec::new();
        let mut writer = Writer::fragment(&mut out);
        message.headers().for_each(|header| {
            writer.copy(header);
        });
        writer
            .finish(message.body())
            .unwrap_or_else(|refused| panic!("{name}: {refused}"));
        let start = message
            .raw()
            .split_inclusive(|byte| *byte == b'\n')
            .next()
            .unwrap();
        let again = [start, &*out].concat();
        let mut scratch = Scratch::new();
        let again = Message::parse(&again, &mut scratch).unwrap();
        let fields = |message: Message<'_>| {
            let kept = message
                .headers()
                .filter(|header| header.name != Name::ContentLength);
            kept.map(|header| (header.name, unfold(header.value).into_owned()))
                .collect::<Vec<_>>()
        };
        assert_eq!(again.start(), message.start(), "{name}");
        assert_eq!(fields(again), fields(message), "{name}");
        assert_eq!(again.body(), message.body(), "{name}");
        assert_eq!(again.flaw(), None, "{name}");
    }
}

#[test]
fn wsinv_is_read_through_its_folds() {
    request("rfc4475/wsinv", |request| {
        assert_eq!(request.max_forwards, Some(68));
        assert_eq!(request.cseq.number, 9);
        assert_eq!(request.to.tag(), Some(&b"1918181833n"[..]));
        assert_eq!(request.from.tag(), Some(&b"98asjd8"[..]));
        assert_eq!(request.from.display, br#"J Rosenberg \\\""#);
        let message = request.message;
        assert_eq!(message.values(Name::Via).count(), 3); // S-33
        assert_eq!(request.via.branch(), Some(&b"390skdjuw"[..]));
        assert!(!request.via.has_magic_cookie()); // S-01
        assert_eq!(message.first(Name::Subject), Some(&b""[..]));
        let folded = unfold(message.named("newfangledheader").unwrap());
        assert_eq!(&*folded, b"newfangled value continued newfangled value");
        let unusual = message.named("UnknownHeaderWithUnusualValue");
        assert_eq!(unusual, Some(&b";;,,;;,;"[..]));
        assert_eq!(message.body().len(), 150);
    });
}

#[test]
fn intmeth_keeps_its_control_characters() {
    request("rfc4475/intmeth", |request| {
        let method = "!interesting-Method0123456789_*+`.%indeed'~";
        assert_eq!(request.method.as_str(), method);
        assert_eq!(request.to.display, b"BEL:\\\x07 NUL:\\\0 DEL:\\\x7f");
        let uri = request.uri.as_sip().unwrap();
        assert_eq!(
            uri.user,
            Some(&b"1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"[..])
        );
        assert_eq!(
            uri.password,
            Some(&b"&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"[..])
        );
        let extension = request.message.named("extensionHeader-!.%*+_`'~");
        assert_eq!(extension, Some("\u{feff}大停電".as_bytes()));
        assert_eq!(request.from.tag(), Some(&b"_token~1'+`*%!-."[..]));
    });
}

#[test]
fn escapes_are_resolved_once_and_never_to_find_parts() {
    request("rfc4475/esc01", |request| {
        let uri = request.uri.as_sip().unwrap();
        assert!(!uri.secure);
        assert_eq!(uri.user, Some(&b"sips%3Auser%40example.com"[..]));
        assert_eq!(
            &*unescape(request.to.uri.as_sip().unwrap().user.unwrap()),
            b"user"
        );
        let contact = request.message.first(Name::Contact).unwrap();
        let contact = crate::sip::header::name_addr::NameAddr::parse(contact).unwrap();
        let (name, value) = contact.uri.as_sip().unwrap().params.iter().nth(1).unwrap();
        assert_eq!(&*unescape(name), b"name");
        assert_eq!(&*unescape(value.unwrap()), b"value%41");
    });
}

#[test]
fn an_escaped_nul_is_part_of_the_user() {
    message("rfc4475/escnull", |message| {
        let users: Vec<_> = message
            .values(Name::Contact)
            .map(|value| {
                value
                    .strip_prefix(b"<")
                    .unwrap()
                    .strip_suffix(b">")
                    .unwrap()
            })
            .map(|uri| unescape(Uri::parse(uri).unwrap().as_sip().unwrap().user.unwrap()))
            .collect();
        assert_eq!(users, [&b"\0"[..], b"\0\0"]);
    });
}

#[test]
fn a_percent_sign_in_a_name_is_no_escape() {
    request("rfc4475/esc02", |request| {
        assert_eq!(request.method.as_str(), "RE%47IST%45R");
        assert_eq!(request.from.display, b"%Z%45");
        assert_eq!(request.message.values(Name::Contact).count(), 2);
        assert!(request.message.named("C%6Fntact").is_some());
    });
}

#[test]
fn long_values_are_kept_whole() {
    request("rfc4475/longreq", |request| {
        assert_eq!(request.message.values(Name::Via).count(), 34);
        assert_eq!(request.from.tag().unwrap().len(), 155);
        assert_eq!(request.call_id.len(), 141);
    });
}

#[test]
fn what_follows_the_body_of_dblreq_is_not_there() {
    request("rfc4475/dblreq", |request| {
        assert_eq!(request.message.body(), b"");
        assert!(
            !request
                .message
                .raw()
                .windows(6)
                .any(|bytes| bytes == b"INVITE")
        ); // S-26
    });
}

#[test]
fn a_semicolon_before_the_at_sign_is_the_users() {
    request("rfc4475/semiuri", |request| {
        let uri = request.uri.as_sip().unwrap();
        assert_eq!(&*unescape(uri.user.unwrap()), b"user;par=u@example.net");
        assert_eq!(uri.host, host("example.com"));
        assert!(uri.params.is_empty());
    });
}

#[test]
fn a_binary_body_is_kept() {
    message("rfc4475/mpart01", |message| {
        assert_eq!(message.body().len(), 553);
        assert!(message.body().contains(&0));
    });
}

#[test]
fn ipv6_addresses_are_read_wherever_they_stand() {
    request("rfc5118/ipv6-good", |request| {
        assert_eq!(request.uri.as_sip().unwrap().host, host("[2001:db8::10]"));
        assert_eq!(request.via.host, host("[2001:db8::9:1]"));
    });
    request("rfc5118/port-ambiguous", |request| {
        let uri = request.uri.as_sip().unwrap();
        assert_eq!((uri.host, uri.port), (host("[2001:db8::10:5070]"), None));
    });
    request("rfc5118/port-unambiguous", |request| {
        let uri = request.uri.as_sip().unwrap();
        assert_eq!((uri.host, uri.port), (host("[2001:db8::10]"), Some(5070)));
    });
    for name in [
        "rfc5118/via-received-param-with-delim",
        "rfc5118/via-received-param-no-delim",
    ] {
        request(name, |request| {
            assert_eq!(request.via.received(), host("[2001:db8::9:255]").address());
        });
    }
    request("rfc5118/ipv6-bug-abnf-3-colons", |request| {
        let uri = request.uri.as_sip().unwrap();
        assert_eq!(uri.host, host("[2001:db8::192.0.2.1]"));
    });
}
