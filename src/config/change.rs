//! What differs between two files of configuration, and what of it only a restart can bring about.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::shard::Settings;

use super::{Config, Origin};

/// What the process is built on: sockets that are bound, threads that run, the form of a log line.
///
/// A key of this name, and all below it. What stands here is what [`Config::keep_fixed`] keeps.
const FIXED: &[&str] = &[
    "api",
    "limits.connections",
    "limits.connections_of_source",
    "listener",
    "log.format",
    "media",
    "mode",
    "own_calls.listen",
    "records",
    "resolver",
    "store",
];

/// The difference between two files that both hold.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// The keys whose values differ, `section.key`; a list of tables counts as one value. No value
    /// is named, for it may be a password.
    pub keys: Vec<String>,
    /// Those of them that have no effect before a restart.
    pub restart: Vec<String>,
}

impl Changes {
    /// What has to change for one file to say what the other says.
    pub fn between(before: &Origin, after: &Origin) -> Self {
        let (before, after) = (values(&before.text), values(&after.text));
        let names = before.keys().chain(after.keys());
        let mut keys: Vec<_> = names
            .filter(|key| before.get(*key) != after.get(*key))
            .cloned()
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let restart = keys.iter().filter(|key| is_fixed(key)).cloned().collect();
        Self { keys, restart }
    }
}

/// Takes over from the running sites what only a restart can change, sites that came or went
/// included; which keys have no effect for that reason, besides those that never have.
pub fn keep_fixed(next: Vec<Config>, running: &[Config]) -> (Vec<Config>, Vec<String>) {
    let mut kept = Vec::new();
    let is_running = |site: &Config| running.iter().any(|it| it.site == site.site);
    if next.len() != running.len() || !next.iter().all(is_running) {
        kept.push("site".to_owned());
    }
    let mut next: Vec<_> = next.into_iter().map(Some).collect();
    let first = next.iter().flatten().next().map(|first| first.log.clone());
    let mut take = |site: &Option<Box<str>>| {
        let mut found = next.iter_mut();
        let found = found.find(|it| it.as_ref().is_some_and(|it| it.site == *site));
        found.and_then(Option::take)
    };
    let mut sites = Vec::new();
    for running in running {
        let mut site = take(&running.site).unwrap_or_else(|| running.clone());
        let path = running.site.as_ref().map(|name| format!("site.{name}."));
        let path = path.unwrap_or_default();
        let of_site = site.keep_fixed(running).iter();
        kept.extend(of_site.map(|key| format!("{path}{key}")));
        if let Some(log) = &first {
            site.log.level = log.level;
            site.log.file.clone_from(&log.file);
        }
        sites.push(site);
    }
    (sites, kept)
}

impl Config {
    /// Takes over from the running configuration what only a restart can change; which keys have no
    /// effect for that reason, besides those that never have.
    fn keep_fixed(&mut self, running: &Self) -> &'static [&'static str] {
        self.shard.listeners.clone_from(&running.shard.listeners);
        self.log.format = running.log.format;
        self.api = running.api;
        self.api_connections = running.api_connections;
        self.tokens.clone_from(&running.tokens);
        self.records.clone_from(&running.records);
        self.connections = running.connections;
        self.resolver.clone_from(&running.resolver);
        self.tls.clone_from(&running.tls);
        self.store.clone_from(&running.store);
        self.media.clone_from(&running.media);
        let (next, running) = (&mut self.shard, &running.shard);
        let mode = |settings: &Settings| (settings.edge.is_some(), settings.is_trunk);
        if mode(next) != mode(running) {
            // And the PBX that it goes with.
            next.edge.clone_from(&running.edge);
            next.is_trunk = running.is_trunk;
            next.upstream.clone_from(&running.upstream);
        }
        next.own_calls = running.own_calls;
        next.sound.clone_from(&running.sound);
        next.voice.clone_from(&running.voice);
        // R7: what was begun with a peer goes on with that peer and with no other, and it is known by
        // its place. Those that come behind the others take nobody's place.
        let names = |settings: &Settings| -> Vec<String> {
            let peers = settings.peers.iter();
            peers.map(|peer| peer.name.clone()).collect()
        };
        if names(next).starts_with(&names(running)) {
            return &[];
        }
        next.peers.clone_from(&running.peers);
        next.routes.clone_from(&running.routes);
        &["peer", "route"]
    }
}

fn is_fixed(key: &str) -> bool {
    let in_site = key.strip_prefix("site.").and_then(|of| of.split_once('.'));
    let key = in_site.map_or(key, |(_, key)| key);
    FIXED.iter().any(|fixed| {
        let below = key.strip_prefix(fixed);
        below.is_some_and(|below| below.is_empty() || below.starts_with('.'))
    })
}

/// Each value with its dotted key; none where the text is not TOML.
fn values(text: &str) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    collect("", text.parse().unwrap_or_default(), &mut values);
    values
}

fn collect(path: &str, table: Table, values: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let key = format!("{path}{name}");
        match value {
            Value::Table(inner) => collect(&format!("{key}."), inner, values),
            Value::Array(sites) if key == "site" => {
                for site in sites {
                    collect_site(site, values);
                }
            }
            Value::Array(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Float(_)
            | Value::Integer(_)
            | Value::String(_) => {
                values.insert(key, value);
            }
        }
    }
}

/// The values of a site, by its name.
fn collect_site(site: Value, values: &mut BTreeMap<String, Value>) {
    let Value::Table(mut site) = site else {
        return;
    };
    if let Some(Value::String(name)) = site.remove("name") {
        collect(&format!("site.{name}."), site, values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Arguments;

    fn origin(text: &str) -> Origin {
        Origin {
            file: Some("campon.toml".to_owned()),
            text: text.to_owned(),
            arguments: Arguments::default(),
        }
    }

    fn only(text: &str) -> Result<Config, crate::config::Error> {
        Config::parse("campon.toml", text, &Arguments::default())
    }

    fn changes(before: &str, after: &str) -> Changes {
        Changes::between(&origin(before), &origin(after))
    }

    #[test]
    fn a_key_that_came_went_or_changed_is_named_without_its_value() {
        let before = "[calls]\ncalls_max = 1\n[log]\nlevel = \"info\"\n";
        let after = "[calls]\ncalls_max = 2\n[[user]]\nname = \"a\"\npassword = \"secret\"\n";
        let found = changes(before, after);
        assert_eq!(found.keys, ["calls.calls_max", "log.level", "user"]);
        assert_eq!(found.restart, [""; 0]);
    }

    #[test]
    fn comments_and_order_are_no_change() {
        let before = "domains = [\"a.example\"]\n[calls]\ncalls_max = 1\nring_max_s = 185\n";
        let after = "domains = ['a.example'] # ours\ncalls = { ring_max_s = 185, calls_max = 1 }\n";
        assert_eq!(changes(before, after), Changes::default());
    }

    #[test]
    fn what_the_sockets_stand_on_needs_a_restart() {
        let after = "[[listener]]\naddress = \"127.0.0.2\"\n[api]\nlisten = \"127.0.0.2:1\"\n\
                     [log]\nformat = \"json\"\nlevel = \"debug\"\n";
        let found = changes("", after);
        assert_eq!(found.restart, ["api.listen", "listener", "log.format"]);
        assert_eq!(found.keys.len(), 4);
    }

    #[test]
    fn a_peer_takes_nobodys_place_before_a_restart() {
        let peer = |name: &str, host: u8| {
            format!("[[peer]]\nname = \"{name}\"\naddress = \"192.0.2.{host}\"\n")
        };
        let config = |text: &str| only(text).expect("valid");
        let running = config(&(peer("one", 1) + &peer("two", 2)));
        for (text, kept, first) in [
            (
                peer("one", 7) + &peer("two", 2) + &peer("three", 3),
                &[][..],
                "192.0.2.7",
            ),
            (
                peer("two", 2) + &peer("one", 1),
                &["peer", "route"],
                "192.0.2.1",
            ),
            (peer("two", 2), &["peer", "route"], "192.0.2.1"),
        ] {
            let mut next = config(&text);
            assert_eq!(next.keep_fixed(&running), kept, "{text}");
            let shown = next.shard.peers[0].shown();
            assert!(shown.contains(first), "{shown}");
        }
    }

    /// Whatever is said to need a restart keeps its value until then, and nothing else does.
    #[test]
    fn the_running_configuration_keeps_what_is_fixed() {
        let running = only("").expect("valid");
        let text = "mode = \"edge\"\nupstream = \"sip:127.0.0.9\"\n\
                    [[listener]]\naddress = \"127.0.0.2\"\n[api]\nlisten = \"127.0.0.3:80\"\n\
                    [log]\nformat = \"json\"\nlevel = \"warn\"\n[calls]\ncalls_max = 7\n";
        let mut next = only(text).expect("valid");
        next.keep_fixed(&running);
        assert_eq!(next.api, running.api);
        assert_eq!(
            next.shard.listeners[0].bind,
            running.shard.listeners[0].bind
        );
        assert_eq!(next.log.format, running.log.format);
        assert!(next.shard.edge.is_none() && next.shard.upstream.is_none());
        assert_eq!(next.log.level, crate::config::Level::Warn);
        assert_eq!(next.shard.calls.calls_max, Some(7));
    }

    const NORTH: &str = "[[site]]\nname = \"north\"\n[[site.listener]]\naddress = \"127.0.0.2\"\n";
    const SOUTH: &str = "[[site]]\nname = \"south\"\n[[site.listener]]\naddress = \"127.0.0.3\"\n";

    fn sites(text: &str) -> Vec<Config> {
        origin(text).sites().expect("valid")
    }

    #[test]
    fn what_differs_in_a_site_is_named_with_the_site() {
        let before = format!("{NORTH}{SOUTH}");
        let after = format!("{SOUTH}[site.calls]\ncalls_max = 3\n{NORTH}mode = \"edge\"\n");
        let after = after.replace(
            "mode = \"edge\"\n",
            "[site.own_calls]\nlisten = \"127.0.0.4\"\n",
        );
        let found = changes(&before, &after);
        assert_eq!(
            found.keys,
            ["site.north.own_calls.listen", "site.south.calls.calls_max"]
        );
        assert_eq!(found.restart, ["site.north.own_calls.listen"]);
    }

    /// Its threads and sockets are started with the process.
    #[test]
    fn a_site_that_comes_or_goes_needs_a_restart() {
        let running = sites(&format!("{NORTH}{SOUTH}"));
        let west = NORTH
            .replace("north", "west")
            .replace("127.0.0.2", "127.0.0.9");
        let next = sites(&format!(
            "log.level = \"warn\"\n{west}{SOUTH}[site.calls]\ncalls_max = 3\n"
        ));
        let (kept, restart) = keep_fixed(next, &running);
        let names: Vec<_> = kept.iter().map(|it| it.site.as_deref()).collect();
        assert_eq!(names, [Some("north"), Some("south")]);
        assert_eq!(kept[1].shard.calls.calls_max, Some(3));
        assert_eq!(restart, ["site"]);
        assert!(
            kept.iter()
                .all(|it| it.log.level == crate::config::Level::Warn)
        );
    }
}
