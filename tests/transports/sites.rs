//! Two sites of one process: calls in each at once, from one to the other, reload, drain, restart.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::campon::{Campon, folder, wait_for};
use crate::line::Line;
use crate::phone::{Heard, Phone};

/// Numbers that begin with 1 are the north's, those with 2 the south's.
const CONFIG: &str = r#"
api.listen = "NET.1:5080"

[[site]]
name = "north"
domains = ["office.example"]
store.path = "north.redb"
calls.calls_max = 3
overload.delay_target_ms = 60000
# Nothing is repeated on a slow machine.
timing.t1_ms = 4000

[[site.listener]]
address = "NET.1:5060"

[[site.peer]]
name = "south"
address = "NET.2:5060"

[[site.route]]
user = "2*"
to = "south"

[[site]]
name = "south"
domains = ["office.example"]
store.path = "south.redb"
calls.calls_max = 3
overload.delay_target_ms = 60000
# Nothing is repeated on a slow machine.
timing.t1_ms = 4000

[[site.listener]]
address = "NET.2:5060"

[[site.peer]]
name = "north"
address = "NET.1:5060"

[[site.route]]
user = "1*"
from = "registered"
to = "north"
"#;

/// A call from its caller's end.
struct Call {
    id: String,
    answer: Heard,
}

/// A phone of a site, which is the last number of campon's address; registered.
fn phone(campon: &Campon, user: &'static str, site: u8, last: u8) -> Phone {
    let line = Line::udp(
        (campon.ip(last), 5060).into(),
        (campon.ip(site), 5060).into(),
    );
    let mut phone = Phone::new(user, "office.example", line);
    phone.register();
    phone
}

/// The caller's n-th call; what the callee got.
fn rings(caller: &mut Phone, callee: &mut Phone, n: u8) -> (String, Heard) {
    let id = invites(caller, callee.user, n);
    (id, callee.hears("INVITE"))
}

fn invites(caller: &mut Phone, whom: &str, n: u8) -> String {
    let id = format!("{}-{n}", caller.user);
    let invite = caller.invite(whom);
    let invite = invite.replace(&format!("{}-INVITE", caller.user), &id);
    caller.send(&invite);
    id
}

/// The callee picks up.
fn talks(caller: &mut Phone, callee: &mut Phone, n: u8) -> Call {
    let (id, invite) = rings(caller, callee, n);
    callee.answer(&invite, "200 OK");
    let answer = caller.hears("200");
    let call = Call { id, answer };
    let ack = within(caller, &call, "ACK", 1);
    caller.send(&ack);
    callee.hears("ACK");
    call
}

/// A request of the caller's in his call.
fn within(caller: &Phone, call: &Call, method: &str, cseq: u8) -> String {
    let (user, domain, local) = (caller.user, &caller.domain, caller.line.local());
    let (id, to) = (&call.id, call.answer.field("To"));
    let uri = call.answer.field("Contact").trim_matches(['<', '>']);
    format!(
        "{method} {uri} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {local};branch=z9hG4bK-{id}-{method};rport\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:{user}@{domain}>;tag={user}\r\n\
         To: {to}\r\n\
         Call-ID: {id}\r\n\
         CSeq: {cseq} {method}\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

fn hangs_up(caller: &mut Phone, callee: &mut Phone, call: &Call) {
    let bye = within(caller, call, "BYE", 2);
    caller.send(&bye);
    let heard = callee.hears("BYE");
    callee.answer(&heard, "200 OK");
    caller.hears("200");
}

/// Calls that are up at a site, or at all.
fn calls(campon: &Campon, site: Option<&str>) -> u64 {
    let arguments: Vec<_> = site.into_iter().flat_map(|site| ["--site", site]).collect();
    let status = campon.status_with(&arguments);
    let entries = status["tables"]["calls"]["entries"].as_u64();
    entries.unwrap_or_else(|| panic!("no calls in {status}"))
}

/// What the API says there.
fn get(campon: &Campon, path: &str) -> String {
    let mut stream = TcpStream::connect(campon.at(5080)).expect("the API");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("an open line");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("UTF-8");
    answer
}

#[test]
fn sites_serve_at_once_and_call_each_other() {
    let campon = Campon::start_as_written(&folder("sites_calls"), [127, 93, 41], CONFIG);
    let (mut ann, mut bob) = (phone(&campon, "100", 1, 11), phone(&campon, "101", 1, 12));
    let (mut cleo, mut dan) = (phone(&campon, "200", 2, 13), phone(&campon, "201", 2, 14));
    // Both ring at once, and are answered in the other order.
    let (north, to_bob) = rings(&mut ann, &mut bob, 1);
    let (south, to_dan) = rings(&mut cleo, &mut dan, 1);
    assert_ne!(north, south);
    dan.answer(&to_dan, "486 Busy Here");
    cleo.hears("486");
    bob.answer(&to_bob, "486 Busy Here");
    ann.hears("486");
    let (north, south) = (talks(&mut ann, &mut bob, 2), talks(&mut cleo, &mut dan, 2));
    let both = [None, Some("north"), Some("south")].map(|site| calls(&campon, site));
    assert_eq!(both, [2, 1, 1]);
    hangs_up(&mut ann, &mut bob, &north);
    hangs_up(&mut cleo, &mut dan, &south);
    // From one site to the other, by SIP: a call of each.
    let across = talks(&mut ann, &mut cleo, 3);
    let both = [None, Some("north"), Some("south")].map(|site| calls(&campon, site));
    assert_eq!(both, [2, 1, 1]);
    hangs_up(&mut ann, &mut cleo, &across);
    let back = talks(&mut dan, &mut bob, 3);
    hangs_up(&mut dan, &mut bob, &back);
}

#[test]
fn each_site_has_an_api_of_its_own() {
    let campon = Campon::start_as_written(&folder("sites_api"), [127, 93, 42], CONFIG);
    let _phones = [phone(&campon, "100", 1, 11), phone(&campon, "200", 2, 13)];
    let (north, south) = ("/sites/north/v1/lines", "/sites/south/v1/lines");
    let (north, south) = (get(&campon, north), get(&campon, south));
    assert!(
        north.contains("\"100") && !north.contains("\"200"),
        "{north}"
    );
    assert!(
        south.contains("\"200") && !south.contains("\"100"),
        "{south}"
    );
    // There is nothing that is no site's.
    assert!(get(&campon, "/v1/lines").starts_with("HTTP/1.1 404 "));
    assert!(get(&campon, "/sites/west/v1/status").starts_with("HTTP/1.1 404 "));
    let status = campon.status();
    assert_eq!(status["mode"], "2 sites");
    let names: Vec<_> = (0..2)
        .map(|nth| status["sites"][nth]["site"].clone())
        .collect();
    assert_eq!(names, ["north", "south"]);
    assert_eq!(status["tables"]["registrations"]["entries"], 2);
    let metrics = get(&campon, "/metrics");
    for line in [
        "campon_table_entries{site=\"north\",table=\"registrations\"} 1",
        "campon_table_entries{site=\"south\",table=\"registrations\"} 1",
    ] {
        assert!(metrics.contains(line), "no {line} in {metrics}");
    }
    for file in ["north.redb", "south.redb"] {
        assert!(campon.folder.join(file).exists(), "no {file}");
    }
}

#[test]
fn a_reload_changes_one_site_and_keeps_the_calls_of_all() {
    let campon = Campon::start_as_written(&folder("sites_reload"), [127, 93, 43], CONFIG);
    let (mut ann, mut bob) = (phone(&campon, "100", 1, 11), phone(&campon, "101", 1, 12));
    let (mut cleo, mut dan) = (phone(&campon, "200", 2, 13), phone(&campon, "201", 2, 14));
    let north = talks(&mut ann, &mut bob, 1);
    let south = talks(&mut cleo, &mut dan, 1);
    let file = campon.folder.join("campon.toml");
    let text = fs::read_to_string(&file).expect("a file");
    let (head, tail) = text
        .split_once("name = \"south\"\ndomains")
        .expect("the site");
    let tail = tail.replace("calls_max = 3", "calls_max = 1");
    fs::write(&file, format!("{head}name = \"south\"\ndomains{tail}")).expect("a file");
    campon.signal("HUP");
    let line = wait_for("the reload", || {
        let log = campon.log();
        let mut lines = log.lines().filter(|line| line.contains("is in force"));
        lines.next().map(str::to_owned)
    });
    assert!(
        line.contains("changed=\"site.south.calls.calls_max\""),
        "{line}"
    );
    // In the south one call is all that a user has now.
    invites(&mut ann, "201", 2);
    ann.hears("486");
    // In the north nothing is new.
    let (_, second) = rings(&mut cleo, &mut bob, 2);
    bob.answer(&second, "603 Decline");
    cleo.hears("603");
    hangs_up(&mut ann, &mut bob, &north);
    hangs_up(&mut cleo, &mut dan, &south);
}

#[test]
fn sites_stop_together_when_the_last_call_of_any_has_ended() {
    let campon = Campon::start_as_written(&folder("sites_drain"), [127, 93, 44], CONFIG);
    let (mut ann, mut cleo) = (phone(&campon, "100", 1, 11), phone(&campon, "200", 2, 13));
    let across = talks(&mut ann, &mut cleo, 1);
    campon.signal("TERM");
    wait_for("the drain", || {
        let status = campon.status_with(&["--site", "south"]);
        (status["state"] == "draining").then_some(())
    });
    invites(&mut cleo, "100", 2);
    cleo.hears("503");
    hangs_up(&mut ann, &mut cleo, &across);
    let log = campon.folder.join("campon.log");
    assert_eq!(campon.end(), Some(0));
    let log = fs::read_to_string(log).expect("a log");
    assert!(log.contains("campon has stopped"), "{log}");
    assert!(log.contains("site{name=\"south\"}"), "{log}");
}
