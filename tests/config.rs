//! Configuration files: what is refused, where, and what the checked result holds.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use campon::call::NatMedia;
use campon::cc::trust::Dials;
use campon::config::{Arguments, Config, Error, Format, Level, Origin, Place};
use campon::shard::settings::{KeepAlive, PeerCompletion};
use campon::sip::flow::Transport;

fn parse(text: &str) -> Result<Config, Error> {
    Config::parse("campon.toml", text, &Arguments::default())
}

/// Each file's first line says what is expected: `# LINE | KEY | the reason, to the letter`.
#[test]
fn every_broken_file_is_refused_at_its_line_and_key() {
    let files: Vec<_> = fs::read_dir("tests/config/broken")
        .expect("test data")
        .flatten()
        .collect();
    assert!(files.len() >= 60, "{} files", files.len());
    let mut wrong = String::new();
    for file in files {
        let text = fs::read_to_string(file.path()).expect("UTF-8");
        let expected = text.lines().next().expect("a first line");
        let error = parse(&text).expect_err("broken");
        let Place::Line(_, line) = error.place else {
            panic!("{}: no line in {error}", file.path().display());
        };
        let said = format!("# {line} | {} | {}", error.key, error.why);
        if said != expected {
            let _ = writeln!(wrong, "{}\n  {said}\n  {expected}", file.path().display());
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn edge_mode_has_keys_of_its_own() {
    let plain = parse("mode = \"edge\"\nupstream = \"sip:192.0.2.1\"\n").expect("valid");
    assert_eq!((plain.mode(), &plain.store), ("edge", &None));
    let edge = plain.shard.edge.expect("edge mode");
    assert_eq!(edge.expires_max_s, u32::MAX);
    assert_eq!(edge.keep_alive, KeepAlive::Crlf);
    assert_eq!(edge.keep_alive_every, Duration::from_secs(25));
    assert_eq!(edge.nat_media, NatMedia::Off);
    // R20: the phones and the PBX decide who is busy.
    assert_eq!(plain.shard.calls.calls_max, None);
    let full = "mode = \"edge\"\nupstream = \"sip:192.0.2.1\"\n\
        store.path = \"/var/lib/campon/registrations\"\n[edge]\nexpires_max_s = 120\n\
        failures_max = 3\nfailures_of_source_max = 20\nkeep_alive = \"options\"\n\
        keep_alive_s = 40\nnat_media = \"rewrite\"\n";
    let full = parse(full).expect("valid");
    let shown = full.to_string();
    let path = PathBuf::from("/var/lib/campon/registrations");
    assert_eq!(full.store, Some(path));
    let edge = full.shard.edge.expect("edge mode");
    assert_eq!((edge.expires_max_s, edge.failures_max), (120, 3));
    assert_eq!(edge.failures_of_source_max, 20);
    assert_eq!(edge.keep_alive, KeepAlive::Options);
    assert_eq!(edge.keep_alive_every, Duration::from_secs(40));
    assert_eq!(edge.nat_media, NatMedia::Rewrite);
    for line in [
        "mode       edge, in front of sip:192.0.2.1:5060;transport=udp\n",
        "phones     registered for 120 s at most\n",
        "nat        kept open by OPTIONS every 40s; private media addresses written anew\n",
        "failures   3 of one user, 20 of one address in 1min, then 403\n",
        "users      those of the PBX\n",
        "store      registrations and requests for completion in /var/lib/campon/registrations\n",
    ] {
        assert!(shown.contains(line), "no {line:?} in\n{shown}");
    }
}

const SITES: &str = "log.level = \"warn\"\n\
    [[api.token]]\nname = \"all\"\nsha256 = \"HASH0\"\nscopes = [\"read\"]\n\
    [[api.token]]\nname = \"one\"\nsha256 = \"HASH1\"\nscopes = [\"read\"]\nsite = \"south\"\n\
    [[site]]\nname = \"north\"\n[[site.listener]]\naddress = \"127.0.0.2\"\n\
    [site.calls]\nemergency = [\"112\"]\n\
    [[site]]\nname = \"south\"\nmode = \"edge\"\nupstream = \"sip:192.0.2.1\"\n\
    [[site.listener]]\naddress = \"127.0.0.3\"\n[site.calls]\nemergency = [\"110\"]\n";

#[test]
fn sites_have_all_but_the_process_for_themselves() {
    let text = SITES.replace("HASH", &"0".repeat(63));
    let origin = Origin {
        text,
        ..Origin::default()
    };
    let sites = origin.sites().expect("valid");
    let [north, south] = &*sites else {
        panic!("{} sites", sites.len());
    };
    assert_eq!((north.mode(), south.mode()), ("standalone", "edge"));
    assert_eq!(north.site.as_deref(), Some("north"));
    assert_eq!(north.shard.calls.emergency, ["112"]);
    assert_eq!(south.shard.calls.emergency, ["110"]);
    // One API, beside the first listener, and one log.
    assert_eq!((north.api, south.api), (north.api, north.api));
    assert_eq!(
        (north.log.level, south.log.level),
        (Level::Warn, Level::Warn)
    );
    let names = |config: &Config| -> Vec<_> {
        config
            .tokens
            .iter()
            .map(|token| token.name.clone())
            .collect()
    };
    assert_eq!(
        (names(north), names(south)),
        (
            vec!["all".to_owned()],
            vec!["all".to_owned(), "one".to_owned()]
        )
    );
    assert!(
        south
            .to_string()
            .starts_with("site       south\nmode       edge, ")
    );
    // Whoever expects one site is told that there are more.
    let error = parse(&origin.text).expect_err("two sites");
    assert_eq!(error.to_string(), "campon.toml: site: there are several");
}

#[test]
fn arguments_are_for_a_file_without_sites() {
    let origin = Origin {
        text: SITES.replace("HASH", &"0".repeat(63)),
        arguments: Arguments {
            listen: vec!["127.0.0.1".to_owned()],
            upstream: None,
        },
        ..Origin::default()
    };
    let error = origin.sites().expect_err("arguments").to_string();
    assert!(
        error.ends_with("--listen and --upstream are for a file without sites"),
        "{error}"
    );
}

const TRUNK: &str = "mode = \"trunk\"\nupstream = \"sip:192.0.2.1\"\n\
    [[peer]]\nname = \"carrier\"\naddress = \"192.0.2.2\"\n";

#[test]
fn trunk_mode_stands_between_peers() {
    let config = parse(TRUNK).expect("valid");
    assert_eq!(config.mode(), "trunk");
    assert!(config.shard.is_trunk && config.shard.edge.is_none());
    // Whoever may ask the API needs a token: nobody here could ask by phone.
    assert!(!config.is_open());
    let shown = config.to_string();
    for line in [
        "mode       trunk, in front of sip:192.0.2.1:5060;transport=udp\n",
        "users      those of the peers\n",
    ] {
        assert!(shown.contains(line), "no {line:?} in\n{shown}");
    }
    for (from, result) in [
        (
            "carrier",
            "else to upstream at sip:192.0.2.1:5060;transport=udp",
        ),
        ("upstream", "else 404"),
    ] {
        let told = config.explain_route("sip:1001@127.0.0.1", "INVITE", from);
        let told = told.expect("a request");
        assert!(told.ends_with(result), "{told}");
    }
    let with_codes = format!("{TRUNK}[completion.codes]\nrequest_last = \"*37#\"\n");
    let warnings = parse(&with_codes).expect("valid").warnings();
    assert!(
        warnings.iter().any(|it| it.contains("trunk mode has none")),
        "{warnings:?}"
    );
}

#[test]
fn an_error_is_one_line_that_names_file_line_and_key() {
    let error = parse("[timing]\nt1_ms = 0\n").expect_err("zero");
    assert_eq!(
        error.to_string(),
        "campon.toml:2: timing.t1_ms: must not be 0"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Some("tests/config/none.toml"), &Arguments::default());
    let error = error.expect_err("no such file").to_string();
    assert!(
        error.starts_with("tests/config/none.toml: file: cannot be read: "),
        "{error}"
    );
}

#[test]
fn every_key_has_its_effect() {
    let text = fs::read_to_string("tests/config/full.toml").expect("test data");
    let config = parse(&text).expect("valid");
    insta::assert_snapshot!(format!("{config}\n\n{config:#?}"));
}

const ROUTES: &str = r#"
upstream = "sip:192.0.2.1"
domains = ["example.org"]
calls.emergency = ["112"]

[[peer]]
name = "carrier"
address = "192.0.2.9"

[[peer]]
name = "named"
address = "sip:pbx.example.net"

[[route]]
user = "00*"
from = "registered"
to = "carrier"
strip = 2
prefix = "+"

[[route]]
user = "0900*"
reject = 603

[[route]]
user = "7*"
to = "named"

[[route]]
from = "carrier"
to = "users"
"#;

/// Method, user and sender; which route fits; what comes of it.
const ROUTED: &str = "\
INVITE 0049301 registered | 1: | sip:+49301@example.org, with the peer's host, to carrier at
INVITE 0049301 192.0.2.77 | none fits | if he is registered, else to upstream at
INVITE 09001 registered | 2: | 603
INVITE 70 registered | 3: | to named at sip:pbx.example.net (by DNS)
INVITE bob carrier | 4: | to the phones of the user if he is registered, else 480 or 404
MESSAGE bob 192.0.2.9 | 4: | to the phones of the user if he is registered, else 480 or 404
INVITE bob registered | none fits | else to upstream at sip:192.0.2.1:5060
INVITE 112 carrier | none: a call for help | else to upstream at sip:192.0.2.1:5060";

#[test]
fn the_way_of_a_request_is_told_with_the_route_that_decides() {
    let config = parse(ROUTES).expect("valid");
    for row in ROUTED.lines() {
        let columns: Vec<_> = row.split(" | ").collect();
        let [asks, route, result] = columns[..] else {
            panic!("three columns, not {row}");
        };
        let asks: Vec<_> = asks.split(' ').collect();
        let [method, user, from] = asks[..] else {
            panic!("three words, not {asks:?}");
        };
        let uri = format!("sip:{user}@example.org");
        let told = config.explain_route(&uri, method, from).expect("a way");
        let lines: Vec<_> = told.lines().collect();
        let [asked, decided, comes_of_it] = lines[..] else {
            panic!("three lines, not\n{told}");
        };
        let request = format!("request    {method} {uri} from ");
        assert!(asked.starts_with(&request), "{told}");
        assert!(
            decided.starts_with(&format!("route      {route}")),
            "{told}"
        );
        assert!(comes_of_it.starts_with("result     "), "{told}");
        assert!(comes_of_it.contains(result), "no {result:?} in\n{told}");
    }
}

#[test]
fn a_way_that_cannot_be_told_says_what_is_wrong() {
    let config = parse(ROUTES).expect("valid");
    let wrong = |uri, method, from| {
        let told = config.explain_route(uri, method, from);
        told.expect_err("an argument is wrong")
    };
    let bob = "sip:bob@example.org";
    assert!(wrong("bob", "INVITE", "registered").starts_with("`bob`: "));
    assert_eq!(
        wrong(bob, "IN VITE", "registered"),
        "`IN VITE` is no method"
    );
    let nobody = "`nobody` is no peer, no IP address, not registered";
    assert_eq!(wrong(bob, "INVITE", "nobody"), nobody);
}

#[test]
fn the_least_session_of_the_standard_is_the_default() {
    let least_s = |text: &str| {
        parse(text)
            .expect("valid")
            .shard
            .call_policy
            .session_least_s
    };
    assert_eq!(least_s(""), 90); // S-90
    let short = "[calls]\nmin_se = \"2s\"\n";
    assert_eq!(least_s(short), 2);
    let warnings = parse(short).expect("valid").warnings();
    assert_eq!(warnings, ["calls.min_se: 2s, RFC 4028 says 90s at least"]); // S-90
}

#[test]
fn no_file_is_a_standalone_registrar_on_loopback() {
    let config = parse("").expect("valid");
    assert_eq!(config.mode(), "standalone");
    let api = config.api_connections;
    assert_eq!((api.all_max, api.idle_max), (256, Duration::from_mins(1)));
    // Most of the files that the system allows are the phones'.
    assert_eq!(
        [10_000, 100, 0].map(|files| api.within(files).all_max),
        [256, 25, 1]
    );
    let addresses: Vec<_> = config
        .shard
        .listeners
        .iter()
        .map(|it| it.bind.to_string())
        .collect();
    assert_eq!(addresses, ["127.0.0.1:5060"]);
    assert_eq!(config.shard.calls.calls_max, Some(1));
    assert_eq!(config.api.to_string(), "127.0.0.1:5080");
    assert_eq!(
        (config.log.level, config.log.format),
        (Level::Info, Format::Text)
    );
    assert_eq!(config.shard.timing.t1, Duration::from_millis(500));
    assert_eq!(config.shard.overload.delay_max, Duration::from_millis(50));
}

#[test]
fn arguments_win_over_the_file() {
    let text = fs::read_to_string("tests/config/full.toml").expect("test data");
    let arguments = Arguments {
        listen: vec!["127.0.0.2:5062".to_owned(), "[::1]".to_owned()],
        upstream: Some("sip:127.0.0.3".to_owned()),
    };
    let config = Config::parse("campon.toml", &text, &arguments).expect("valid");
    let addresses: Vec<_> = config
        .shard
        .listeners
        .iter()
        .map(|it| it.bind.to_string())
        .collect();
    // The last one is that of our own calls.
    let listened = ["127.0.0.2:5062", "[::1]:5060", "127.0.0.8:5066"];
    assert_eq!(addresses, listened);
    let upstream = config.shard.upstream.expect("an upstream");
    let address = SocketAddr::from(([127, 0, 0, 3], 5060));
    assert_eq!(upstream.places[0].fixed(), Some((Transport::Udp, address)));
}

/// What the file says of the upstream is about another one.
#[test]
fn an_upstream_of_the_command_line_has_nothing_of_the_files() {
    let arguments = Arguments {
        listen: Vec::new(),
        upstream: Some("sip:127.0.0.3".to_owned()),
    };
    let text = "[upstream]\naddress = \"127.0.0.9\"\ncc_domains = [\"a.example\"]";
    let config = Config::parse("campon.toml", text, &arguments).expect("valid");
    let upstream = config.shard.upstream.expect("an upstream");
    assert_eq!(*upstream.hosts, ["127.0.0.3".into()]);
}

#[test]
fn an_argument_that_does_not_hold_is_named() {
    let wildcard = Arguments {
        listen: vec!["0.0.0.0:5060".to_owned()],
        upstream: None,
    };
    let error = Config::load(None, &wildcard)
        .expect_err("a wildcard")
        .to_string();
    assert!(
        error.starts_with("--listen: 0.0.0.0:5060 is a wildcard"),
        "{error}"
    );
}

#[test]
fn the_api_stays_on_loopback_beside_a_public_listener() {
    let config = parse("[[listener]]\naddress = \"192.0.2.1:5060\"").expect("valid");
    assert_eq!(config.api.to_string(), "127.0.0.1:5080");
    let config = parse("[[listener]]\naddress = \"127.0.0.7:5060\"").expect("valid");
    assert_eq!(config.api.to_string(), "127.0.0.7:5080");
}

#[test]
fn with_a_user_the_registrar_is_closed_and_his_realm_is_our_first_domain() {
    let config = parse(
        "domains = [\"Example.org\", \"example.net\"]\n\
        [[user]]\nname = \"alice\"\npassword = \"wonderland\"",
    );
    let access = config.expect("valid").shard.access.expect("users");
    assert_eq!((access.accounts.len(), &*access.realm), (1, "example.org"));
    let alone = parse("[[user]]\nname = \"alice\"\npassword = \"wonderland\"");
    let access = alone.expect("valid").shard.access.expect("users");
    assert_eq!(access.realm, "campon");
    assert!(parse("").expect("valid").shard.access.is_none());
}

#[test]
fn neither_the_summary_nor_an_error_shows_a_password() {
    let user = "[[user]]\nname = \"alice\"\npassword = \"wonderland\"\n";
    let config = parse(user).expect("valid");
    assert!(!format!("{config} {config:?}").contains("wonderland"));
    let twice = parse(&user.repeat(2)).expect_err("twice");
    let both = parse(&format!("{user}ha1_md5 = \"wonderland\"")).expect_err("two secrets");
    assert!(!format!("{twice} {both}").contains("wonderland"));
}

#[test]
fn in_front_of_a_pbx_the_phones_decide_how_many_calls_they_take() {
    let config = parse("upstream = \"sip:127.0.0.9\"").expect("valid");
    assert_eq!(
        (config.mode(), config.shard.calls.calls_max),
        ("standalone with upstream", None)
    );
}

#[test]
fn an_upstream_is_a_peer_that_dials_the_original_number() {
    let config = parse("upstream = \"sip:127.0.0.9\"").expect("valid");
    let upstream = config.shard.upstream.expect("an upstream");
    assert_eq!(
        (&*upstream.name, upstream.dials),
        ("upstream", Dials::Original)
    );
    assert_eq!(upstream.completion, PeerCompletion::Agent);
}

/// The phones of a PBX keep its domain.
#[test]
fn an_upstream_may_share_our_domain() {
    let text = "domains = [\"a.example\"]\n[upstream]\naddress = \"127.0.0.9\"\n\
                cc_domains = [\"a.example\"]";
    let upstream = parse(text).expect("valid").shard.upstream;
    let hosts = upstream.expect("an upstream").hosts;
    assert_eq!(*hosts, ["127.0.0.9".into(), "a.example".into()]);
}

#[test]
fn completion_is_on_without_codes_unless_told() {
    let completion = parse("").expect("valid").shard.completion;
    assert!(completion.enabled);
    assert_eq!(completion.codes.iter().count(), 0);
    let text = "[completion]\nenabled = false";
    let config = parse(text).expect("valid");
    assert!(!config.shard.completion.enabled);
    assert!(
        config.to_string().contains("\ncompletion off\n"),
        "{config}"
    );
}

#[test]
fn what_a_peer_owes_us_is_waited_for_as_long_as_t1_says() {
    let config = parse("[timing]\nt1_ms = 10").expect("valid");
    let agent = config.shard.completion.service.agent;
    assert_eq!(agent.notify_max, Duration::from_millis(640)); // CC-76
    assert_eq!(agent.leave_max, Duration::from_millis(640));
}

#[test]
fn a_queue_is_long_only_after_the_longest_request() {
    let config = parse("[completion]\nservice_busy = \"20h\"").expect("valid");
    let timing = config.shard.completion.service.timing;
    assert_eq!(timing.queue_long, Duration::from_hours(20)); // CC-74
}

#[test]
fn times_outside_the_standard_hold_with_a_warning() {
    let text = "[completion]\nrecall = \"21s\"\nnotify_window = \"9s\"";
    let config = parse(text).expect("valid");
    assert_eq!(
        config.warnings(),
        [
            "completion.recall: 21s, RFC 6910 says 10s to 20s", // CC-42
            "completion.notify_window: 9s, RFC 6910 says 10s",  // CC-65
        ]
    );
    assert_eq!(parse("").expect("valid").warnings(), [""; 0]);
}

#[test]
fn dangerous_settings_hold_with_a_warning() {
    let listener = "[[listener]]\naddress = \"192.0.2.1\"\n";
    let user = "[[user]]\nname = \"alice\"\npassword = \"wonderland\"\n";
    let open = "registrar.open: whoever reaches 192.0.2.1:5060 may register";
    let closes = "without a password; a [[user]] closes it";
    let relay = "upstream = \"sip:192.0.2.9\"\n";
    for (text, expected) in [
        (listener.to_owned(), format!("{open} {closes}")),
        (
            format!("{relay}{listener}"),
            format!("{open} and call through upstream {closes}"),
        ),
        (format!("{listener}{user}"), String::new()),
        (format!("mode = \"edge\"\n{relay}{listener}"), String::new()),
        (
            "[calls]\nemergency = []".to_owned(),
            "calls.emergency: no number gets through whatever the load and whoever talks"
                .to_owned(),
        ),
        (
            "[timing]\ntimer_c_ms = 180000".to_owned(),
            "timing.timer_c_ms: 3min, RFC 3261 says more than 3min".to_owned(),
        ),
        (
            "[timing]\nt1_ms = 100".to_owned(),
            "timing.t1_ms: 100ms, RFC 3261 says 500ms unless the network is a closed one"
                .to_owned(),
        ),
        (
            "[overload]\ndelay_target_ms = 500".to_owned(),
            "overload.delay_target_ms: 500ms, so that requests are repeated (T1 is 500ms) before \
             they are refused"
                .to_owned(),
        ),
        (
            "[log]\nlevel = \"debug\"".to_owned(),
            "log.level: debug shows names, numbers and who calls whom".to_owned(),
        ),
    ] {
        let warnings = parse(&text).expect("valid").warnings();
        assert_eq!(warnings.join("; "), expected, "{text}");
    }
}

/// It may be made before the start; else that is where it ends.
#[test]
fn a_file_in_a_folder_that_is_not_there_holds_with_a_warning() {
    for (key, text) in [
        ("log.file", "log.file = \"/nowhere/campon.log\""),
        ("records.file", "records.file = \"/nowhere/calls.jsonl\""),
        ("store.path", "store.path = \"/nowhere/store\""),
    ] {
        let warnings = parse(text).expect("valid").warnings();
        let expected = format!("{key}: there is no folder /nowhere yet");
        assert_eq!(warnings, [expected], "{text}");
    }
    let here = "log.file = \"/campon.log\"\nrecords.file = \"calls.jsonl\"";
    assert_eq!(parse(here).expect("valid").warnings(), [""; 0]);
}

#[test]
fn a_pbx_that_dials_made_up_names_holds_with_a_warning() {
    let config = parse("[upstream]\naddress = \"127.0.0.9\"\ndials = \"tokens\"");
    let warnings = config.expect("valid").warnings();
    assert!(warnings[0].starts_with("upstream.dials: "), "{warnings:?}");
}

/// Tests run protocol times in milliseconds; an operator's `ring_max_s` has RFC 3261's least.
#[test]
fn timer_c_may_be_short_in_milliseconds_only() {
    let config = parse("[timing]\ntimer_c_ms = 800").expect("valid");
    assert_eq!(config.shard.call_timing.rings, Duration::from_millis(800));
}
