//! What the process shows of itself: counters, and personal data that no log line shows by accident.
//!
//! Spec: RFC 3261 §19.1.1, RFC 3966 §3 (where a URI names a person).

use std::fmt;

/// Personal data: a number, a name, a URI with a user part.
///
/// What is shown is the host and the last two characters of the user part (`sip:**34@example.org`,
/// `tel:**34`, `**34`), always on one line of ASCII; [`Pii::expose`] gives the whole.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Pii<T>(pub T);

impl<T> Pii<T> {
    /// The whole, for log lines of level debug and below, and for the wire.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: AsRef<[u8]>> fmt::Display for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = without_display_name(self.0.as_ref());
        let Shape { scheme, user, rest } = Shape::of(text);
        write!(f, "{}", scheme.escape_ascii())?;
        if !user.is_empty() {
            write!(f, "**{}", last_two(user).escape_ascii())?;
        }
        write!(f, "{}", rest.escape_ascii())
    }
}

impl<T: AsRef<[u8]>> fmt::Debug for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pii({self})")
    }
}

/// A URI or number cut in three; parameters and headers are left out.
struct Shape<'t> {
    scheme: &'t [u8],
    user: &'t [u8],
    rest: &'t [u8],
}

impl<'t> Shape<'t> {
    fn of(text: &'t [u8]) -> Self {
        let (scheme, inside) = split_scheme(text);
        // A user part may hold `;` and `?`, a host may not.
        if let Some(at) = inside.iter().rposition(|&byte| byte == b'@') {
            let (user, rest) = inside.split_at(at);
            let user = until(user, b":");
            return Self {
                scheme,
                user,
                rest: until(rest, b";?>"),
            };
        }
        let inside = until(inside, b";?>");
        // No user part: a service's name or a host names nobody.
        let is_public = [&b"urn:"[..], b"sip:", b"sips:"]
            .iter()
            .any(|public| scheme.eq_ignore_ascii_case(public));
        if is_public {
            Self {
                scheme,
                user: b"",
                rest: inside,
            }
        } else {
            Self {
                scheme,
                user: inside,
                rest: b"",
            }
        }
    }
}

/// What stands between `<` and `>`, or all of it.
fn without_display_name(text: &[u8]) -> &[u8] {
    let Some(open) = text.iter().position(|&byte| byte == b'<') else {
        return text;
    };
    let (_, inside) = text.split_at(open + 1);
    until(inside, b">")
}

/// `sip:` and the like, and what follows; no scheme where none stands.
fn split_scheme(text: &[u8]) -> (&[u8], &[u8]) {
    let is_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    match text.iter().position(|byte| !is_scheme(byte)) {
        Some(colon) if colon > 0 && text.get(colon) == Some(&b':') => text.split_at(colon + 1),
        Some(_) | None => (b"", text),
    }
}

/// The text before the first of these bytes.
fn until<'t>(text: &'t [u8], stops: &[u8]) -> &'t [u8] {
    text.split(|byte| stops.contains(byte))
        .next()
        .unwrap_or_default()
}

/// Two characters where they leave at least one hidden.
fn last_two(user: &[u8]) -> &[u8] {
    match user.len() {
        0..=2 => b"",
        long => user.split_at(long - 2).1,
    }
}

/// Declares a struct of counters: plain numbers that only grow, by name.
macro_rules! counters {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $counter:ident)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        pub struct $name {
            $($(#[$doc])* pub $counter: u64,)*
        }

        impl $name {
            /// Every counter with its name, alphabetically.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($counter), self.$counter),)*].into_iter()
            }
        }
    };
}

counters! {
    /// What a worker has counted since the process started.
    Counters {
        /// Calls that were answered.
        calls_answered
        /// Calls that the PBX asked for credentials, and that may come again with them.
        calls_challenged
        /// Calls that ended without an answer.
        calls_failed
        /// Calls whose INVITE was let in.
        calls_started
        /// Requests for completion that were accepted.
        completions_accepted
        /// Requests that their callers took back.
        completions_cancelled
        /// Requests after which the two talked.
        completions_completed
        /// Requests whose time ran out.
        completions_expired
        /// Recalls of callers.
        completions_recalled
        /// Requests that the callee's side ended.
        completions_refused
        /// CC-74: what looked like probing.
        completions_suspected
        /// Messages that were thrown away, because nobody could be told what was wrong with them.
        messages_dropped
        /// Requests that were answered 400 or the like, because they could not be read.
        messages_malformed
        /// Messages that came in.
        messages_received
        /// Messages that went out.
        messages_sent
        /// Panics that were caught: each one is a bug of ours.
        panics
        /// Requests outside calls, and without a dialog of their own, that were passed on.
        requests_relayed
        /// S-44: responses that answer nothing that we sent.
        responses_stray
        /// Requests for a subscription that were passed on.
        subscriptions_relayed
    }
}

counters! {
    /// What a worker's datagram sockets have counted since the process started.
    DatagramCounters {
        /// Datagrams that the system could not take at once, and that waited to be sent.
        datagrams_deferred
        /// Datagrams that were given up, because too many were waiting.
        datagrams_dropped
        /// Datagrams that came in.
        datagrams_received
        /// Datagrams that went out.
        datagrams_sent
        /// Messages that did not leave: no connection, no route, too long, too many waiting.
        sends_failed
    }
}

counters! {
    /// What the stream connections have counted since the process started.
    StreamCounters {
        /// Connections that were let in.
        connections_accepted
        /// Connections that were closed to make room, before their first whole message.
        connections_evicted
        /// Connections that we opened.
        connections_opened
        /// Connections that were not let in: too many.
        connections_refused
        /// Connections that were closed for what they sent: not SIP, too long or too slow.
        connections_spoiled
        /// Connections on which TLS was not agreed on: too slow, not believed, not TLS.
        connections_unsecured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Pii(text).to_string()
    }

    #[test]
    fn a_number_shows_its_last_two_digits_only() {
        assert_eq!(shown("+4930123434"), "**34");
        assert_eq!(shown("tel:+4930123434;phone-context=+49"), "tel:**34");
    }

    #[test]
    fn a_short_user_part_shows_nothing_of_itself() {
        assert_eq!(shown("sip:10@192.0.2.1"), "sip:**@192.0.2.1");
    }

    #[test]
    fn a_sip_uri_shows_its_host_but_neither_password_nor_parameters() {
        assert_eq!(
            shown("sip:alice:secret@[::1]:5070;cpc=x?Subject=y"),
            "sip:**ce@[::1]:5070"
        );
    }

    #[test]
    fn a_display_name_is_not_shown() {
        assert_eq!(
            shown("\"Alice\" <sip:alice@example.org>;tag=1"),
            "sip:**ce@example.org"
        );
    }

    #[test]
    fn a_host_and_a_service_are_nobody() {
        assert_eq!(shown("sip:example.org;lr"), "sip:example.org");
        assert_eq!(shown("urn:service:sos"), "urn:service:sos");
    }

    #[test]
    fn what_a_peer_wrote_stays_on_one_line() {
        assert_eq!(shown("sip:a\r\nb\u{1b}@h\n"), "sip:**b\\x1b@h\\n");
    }

    #[test]
    fn a_debug_print_masks_too() {
        assert_eq!(format!("{:?}", Pii("1234")), "Pii(**34)");
        assert_eq!(*Pii("1234").expose(), "1234");
    }

    #[test]
    fn counters_stand_in_the_order_of_their_names() {
        let counters = DatagramCounters {
            datagrams_sent: 7,
            ..DatagramCounters::default()
        };
        let listed: Vec<_> = counters.iter().collect();
        assert!(listed.contains(&("datagrams_sent", 7)));
        let names = |listed: &[(&'static str, u64)]| listed.iter().map(|row| row.0).collect();
        for listed in [
            listed,
            Counters::default().iter().collect(),
            StreamCounters::default().iter().collect(),
        ] {
            let found: Vec<_> = names(&listed);
            assert!(found.is_sorted(), "{found:?}");
        }
    }
}
