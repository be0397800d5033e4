//! What the process shows of itself: what it counts, and personal data that nothing shows by accident.
//!
//! Spec: RFC 3261 §19.1.1, RFC 3966 §3 (where a URI names a person).

use std::fmt;
use std::time::Duration;

/// Personal data: a number, a name, a URI with a user part.
///
/// What is shown is the host and the last two characters of the user part (`sip:**34@example.org`,
/// `tel:**34`, `**34`), always on one line of ASCII; field 0 is the whole.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Pii<T>(pub T);

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
    ($(#[$about:meta])* $name:ident { $(#[doc = $doc:literal] $counter:ident)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        pub struct $name {
            $(#[doc = $doc] pub $counter: u64,)*
        }

        impl $name {
            /// The documentation of each, by name.
            const HELP: &[(&str, &str)] = &[$((stringify!($counter), $doc),)*];

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
        /// Questions of applications about an address that is none, or that nobody has.
        api_refused_address
        /// About a call that is not there, or is another line's.
        api_refused_call
        /// Wishes of applications that the service refused.
        api_refused_completion
        /// About a line that is not there, or is another's.
        api_refused_line
        /// About a message that is not there.
        api_refused_message
        /// About a mode that is not there.
        api_refused_mode
        /// About a phone that cannot be rung.
        api_refused_phone
        /// About a call that is in no such state.
        api_refused_state
        /// That were lost.
        api_refused_worker
        /// Calls that were answered.
        calls_answered
        /// Calls that have waited for their callee.
        calls_camped
        /// Calls that the PBX asked for credentials, and that may come again with them.
        calls_challenged
        /// Calls that ended without an answer.
        calls_failed
        /// Of these, calls that were sent elsewhere.
        calls_failed_3xx
        /// Of these, calls whose callers got a 4xx: busy, not there, refused.
        calls_failed_4xx
        /// Of these, calls that failed on the way.
        calls_failed_5xx
        /// Of these, calls that the callee wants nowhere.
        calls_failed_6xx
        /// Of these, calls that were given up before they were answered.
        calls_failed_cancelled
        /// Calls that somebody else has joined.
        calls_joined
        /// Calls that we ended because nothing was heard of who had joined another, or of both sides of one whose audio passes us.
        calls_silent
        /// Calls whose INVITE was let in.
        calls_started
        /// Calls that have waited and were answered by us meanwhile.
        calls_waiting_answered
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
        /// Requests for completion that the process before had, and that are waited for again.
        completions_restored
        /// CC-74: what looked like probing.
        completions_suspected
        /// Requests of our own that the upstream did not let in with our credentials.
        credentials_refused
        /// SUBSCRIBEs for the dialogs of callees.
        dialog_watches_asked
        /// Callees of whom nothing was told for a while, because the PBX said nothing or forgot it.
        dialog_watches_lost
        /// Callees of whom the PBX does not tell.
        dialog_watches_refused
        /// Wishes to join a call that were refused: no right, protected, or no call to join.
        intrusions_denied
        /// Wishes to join a call that came to nothing, because a side did not take part.
        intrusions_failed
        /// Texts that a callee's phone has taken.
        messages_delivered
        /// Messages that were thrown away, because nobody could be told what was wrong with them.
        messages_dropped
        /// Requests that were answered 400 or the like, because they could not be read.
        messages_malformed
        /// Attempts at a text that no phone of its callee's has taken.
        messages_not_taken
        /// Messages that came in.
        messages_received
        /// Messages that went out.
        messages_sent
        /// Mixers that a phone does not let go of, though who had joined has left.
        mixers_kept
        /// Panics that were caught: each one is a bug of ours.
        panics
        /// Phones that have stopped answering.
        phones_silent
        /// Calls to somebody known to be busy, of a phone that had just heard so: answered here.
        polls_absorbed
        /// Callers of somebody busy who were asked what is to be done.
        prompts
        /// S-32: redirections of peers that calls were sent on by.
        redirections_followed
        /// Registrations that were kept over a restart.
        registrations_restored
        /// S-101: requests that went on to another server, because the one before failed them.
        requests_moved_on
        /// Requests of our own that were repeated with our credentials.
        requests_proven
        /// Requests outside calls, and without a dialog of their own, that were passed on.
        requests_relayed
        /// T06: requests that were thrown away, because their source had sent too many.
        requests_throttled
        /// S-44: responses that answer nothing that we sent.
        responses_stray
        /// What was not played, because no port was free.
        rooms_refused
        /// T32: requests of scanners, which got no answer.
        scanners_dropped
        /// Descriptions that wanted sound where none may be sent: to a group of hosts, to none, or to this machine.
        sounds_misdirected
        /// Parties that were sent no more sound, because nothing came from where they wanted it.
        sounds_unconfirmed
        /// Times that the store stopped keeping what it was given.
        store_failures
        /// Requests for a subscription that were passed on.
        subscriptions_relayed
    }
}

impl Counters {
    /// Counts a call that failed with this status, or was given up.
    pub fn count_failed(&mut self, status: Option<u16>) {
        self.calls_failed += 1;
        *match status {
            None => &mut self.calls_failed_cancelled,
            Some(300..400) => &mut self.calls_failed_3xx,
            Some(400..500) => &mut self.calls_failed_4xx,
            Some(600..) => &mut self.calls_failed_6xx,
            Some(_) => &mut self.calls_failed_5xx,
        } += 1;
    }
}

/// What a counter counts, as one sentence; `None` if there is none of this name.
pub fn help(counter: &str) -> Option<&'static str> {
    let all = [
        ApiCounters::HELP,
        Counters::HELP,
        DatagramCounters::HELP,
        RecordCounters::HELP,
        SoundCounters::HELP,
        StreamCounters::HELP,
    ];
    let mut all = all.into_iter().flatten();
    let (_, help) = all.find(|(name, _)| *name == counter)?;
    let help = help.trim();
    // `CC-74: what looked like …`
    let said = help.split_once(": ").filter(|(id, _)| !id.contains(' '));
    Some(said.map_or(help, |(_, said)| said))
}

/// How long messages may have waited: a histogram that costs a comparison or two a message.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Delays {
    /// How many there were below each bound and above the one before; then those above all bounds.
    counts: [u64; Self::BOUNDS_US.len() + 1],
    sum_us: u64,
}

impl Delays {
    /// The bounds in microseconds: most messages find us idle, and 50 ms is where we begin to refuse.
    const BOUNDS_US: [u64; 10] = [
        100, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000,
    ];

    /// Counts one more.
    pub fn add(&mut self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        let bucket = Self::BOUNDS_US.iter().position(|bound| micros <= *bound);
        let bucket = bucket.unwrap_or(Self::BOUNDS_US.len());
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum_us = self.sum_us.saturating_add(micros);
    }

    /// Counts all of these as well.
    pub fn join(&mut self, more: &Self) {
        for (ours, theirs) in self.counts.iter_mut().zip(more.counts) {
            *ours += theirs;
        }
        self.sum_us = self.sum_us.saturating_add(more.sum_us);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long they waited together.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    /// The upper bound of each bucket in seconds, the last infinite, and how many are in it alone.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let seconds = |micros: u64| Duration::from_micros(micros).as_secs_f64();
        let bounds = Self::BOUNDS_US.into_iter().map(seconds);
        bounds.chain([f64::INFINITY]).zip(self.counts)
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
        /// Records that are not kept over a restart, because too many were waiting.
        records_dropped
        /// Messages that did not leave: no connection, no route, too long, too many waiting.
        sends_failed
    }
}

counters! {
    /// What has become of call records since the process started.
    RecordCounters {
        /// Call records that were lost: too many waited, or the file could not be written.
        call_records_lost
        /// Call records that were written.
        call_records_written
    }
}

counters! {
    /// What the sound thread has counted since the process started.
    SoundCounters {
        /// Wishes of calls to be heard that were refused, because too many were waiting, or nobody was there to fulfil them.
        sound_commands_refused
        /// Gaps in what a party said, filled with silence: a packet was not there when its turn came.
        sound_gaps
        /// How unevenly packets came, as the mean deviation of each stream that has ended (RFC 3550 §6.4.1), added up, in microseconds.
        sound_jitter_us
        /// Packets of sound that were thrown away, because they were not under the keys agreed on (SRTP), or had come before.
        sound_packets_forged
        /// Packets of sound that came too late to be heard, or twice.
        sound_packets_late
        /// Packets of sound that were sent to us and did not come, of streams that have ended.
        sound_packets_lost
        /// Packets of sound that were thrown away, because they were no RTP or longer than sound is.
        sound_packets_malformed
        /// Packets of sound that came in.
        sound_packets_received
        /// Packets of sound that went out.
        sound_packets_sent
        /// Packets of sound that were not sent, because they would have come to us.
        sound_packets_turned_back
        /// Packets of sound that were thrown away, because nobody had agreed on their kind.
        sound_packets_unagreed
        /// Packets of sound that were thrown away, because they were from a stranger.
        sound_packets_unknown
        /// Panics of sound that were caught: each one is a bug of ours, and has ended all that was heard just then.
        sound_panics
        /// Conversations that were not heard, because the system gave no port.
        sound_ports_refused
        /// Streams of sound that were opened.
        sound_streams
        /// Streams of sound that have ended.
        sound_streams_ended
        /// Times that sound was so late that it went on without making up for it.
        sound_ticks_skipped
    }
}

counters! {
    /// What the API has counted since the process started.
    ApiCounters {
        /// Connections that were let in.
        api_connections_accepted
        /// Connections that were closed, because no request came in time.
        api_connections_idle
        /// Connections that were not let in: too many.
        api_connections_refused
        /// Readers of events that were dropped, because too many events waited for them.
        api_readers_dropped
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
    }

    #[test]
    fn the_help_of_a_counter_is_a_sentence_without_the_id_of_its_requirement() {
        assert_eq!(
            help("completions_suspected"),
            Some("what looked like probing.")
        );
        assert_eq!(help("calls_answered"), Some("Calls that were answered."));
        assert_eq!(help("nothing"), None);
    }

    #[test]
    fn a_delay_is_counted_up_to_its_bound() {
        let mut delays = Delays::default();
        for micros in [0, 100, 101, 500_000, 500_001] {
            delays.add(Duration::from_micros(micros));
        }
        let counts: Vec<_> = delays.buckets().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((delays.count(), delays.sum().as_micros()), (5, 1_000_202));
        let bounds: Vec<_> = delays.buckets().map(|(bound, _)| bound).collect();
        assert!(bounds.is_sorted() && bounds.last() == Some(&f64::INFINITY));
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
            RecordCounters::default().iter().collect(),
            SoundCounters::default().iter().collect(),
            StreamCounters::default().iter().collect(),
        ] {
            let found: Vec<_> = names(&listed);
            assert!(found.is_sorted(), "{found:?}");
        }
    }
}
