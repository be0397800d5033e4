//! Sound of our own: where it comes from, what is said, and which digit means what.
//!
//! Spec: RULES R16; RFC 3550 §11 (ports in pairs).

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use crate::completion::Mode;
use crate::completion::intrusion::{Level, Rights};
use crate::config::error::{Error, Source};
use crate::config::raw::{Field, RawIntrusion, RawMedia, RawPrompt};
use crate::config::{Media, voice};
use crate::media::digit::Digit;
use crate::shard::intrusion::Intrusion;
use crate::shard::settings::{Carries, Listener, Prompt, Sound};

/// A prompt that is shorter cannot be heard; one that is longer holds the line of somebody who left.
const LASTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(1);

/// How often a warning may come again: less often, and who comes to the phone later does not hear it.
const WARNS: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(30);

/// How long nothing may be heard of a party: a phone sends a report every 5 s (RFC 3550 §6.2).
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_mins(10);

/// How long sound goes to where nothing comes from: a second says what it is, and for a minute more is
/// played than a prompt takes.
const TRIALS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(1);

/// What is heard of us, if `[media]` is written.
pub(super) fn media(
    source: Source<'_>,
    raw: &RawMedia,
    listeners: &[Listener],
) -> Result<Option<Media>, Error> {
    let Some(written) = &raw.ports else {
        let others = [&raw.address, &raw.timeout, &raw.trial, &raw.voice]
            .into_iter()
            .flatten()
            .next();
        return match others {
            Some(other) => {
                Err(source.error(&other.span(), "without media.ports there is no sound"))
            }
            None => Ok(None),
        };
    };
    let ports = source.read(written, ports)?;
    let address = match &raw.address {
        Some(written) => source.read(written, address)?,
        None => address_beside(listeners).ok_or_else(|| {
            let why = "the first listener has no address to be heard from: write media.address";
            source.error(&written.span(), why)
        })?,
    };
    if let Some(taken) = port_of_a_listener(&ports, address, listeners) {
        return Err(source.error(&written.span(), format!("{taken} is a SIP listener's")));
    }
    let timeout = source.time(raw.timeout.as_ref(), Duration::from_secs(30), TIMEOUTS)?;
    let trial = source.time(raw.trial.as_ref(), Duration::from_secs(5), TRIALS)?;
    let takes_new_keys = raw.takes_new_keys.as_ref();
    let voice = raw.voice.as_ref();
    let voice = voice
        .map(|written| source.read(written, folder))
        .transpose()?;
    Ok(Some(Media {
        sound: Sound {
            address,
            ports,
            timeout,
            trial,
            takes_new_keys: takes_new_keys.is_some_and(|written| *written.get_ref()),
        },
        voice,
    }))
}

/// Which digit asks for what; without any nothing is said.
pub(super) fn prompt(
    source: Source<'_>,
    (raw, has_texts): (&RawPrompt, bool),
    media: Option<&Media>,
) -> Result<Option<Prompt>, Error> {
    let usual = Prompt::default();
    if let Some(written) = raw.message.as_ref().filter(|_| !has_texts) {
        let why = "there are no texts to be left: write completion.messages.texts";
        return Err(source.error(&written.span(), why));
    }
    let mut digits: Vec<(Digit, Mode)> = Vec::new();
    // In the order in which they are said.
    for (written, mode) in [
        (&raw.callback, Mode::Callback),
        (&raw.camp_on, Mode::CampOn),
        (&raw.intrude, Mode::Intrude),
        (&raw.message, Mode::Message),
    ] {
        let Some(written) = written else {
            continue;
        };
        if media.is_none() {
            return Err(source.error(&written.span(), "without media.ports nothing can be said"));
        }
        let digit = source.read(written, digit)?;
        if digits.iter().any(|(other, _)| *other == digit) {
            let why = format!("{} asks for something else already", digit.key());
            return Err(source.error(&written.span(), why));
        }
        digits.push((digit, mode));
    }
    if digits.is_empty() {
        return match &raw.lasts {
            Some(other) => Err(source.error(&other.span(), "there is no digit to wait for")),
            None => Ok(None),
        };
    }
    let lasts = source.time(raw.lasts.as_ref(), usual.lasts, LASTS)?;
    Ok(Some(Prompt { digits, lasts }))
}

/// Whether callers who are called back hear whom for.
pub(super) fn announces(
    source: Source<'_>,
    written: Option<&Spanned<bool>>,
    media: Option<&Media>,
) -> Result<bool, Error> {
    match written {
        Some(written) if *written.get_ref() && media.is_none() => {
            Err(source.error(&written.span(), "without media.ports nothing can be said"))
        }
        Some(written) => Ok(*written.get_ref()),
        None => Ok(false),
    }
}

/// Who may join whose call where no user says otherwise, and what is heard of it.
pub(super) fn intrusion(source: Source<'_>, raw: &RawIntrusion) -> Result<Intrusion, Error> {
    let usual = Intrusion::default();
    let level = |written: &Field<u32>, usual: Level| match written {
        None => Ok(usual),
        Some(written) => Level::new(*written.get_ref())
            .ok_or_else(|| source.error(&written.span(), "is a level from 0 to 3")),
    };
    Ok(Intrusion {
        usual: Rights {
            intrudes: level(&raw.intrudes, usual.usual.intrudes)?,
            protection: level(&raw.protection, usual.usual.protection)?,
        },
        warns_every: source.time(raw.warns_every.as_ref(), usual.warns_every, WARNS)?,
        is_silent: raw
            .silent
            .as_ref()
            .is_some_and(|written| *written.get_ref()),
        rights: usual.rights,
    })
}

fn address_beside(listeners: &[Listener]) -> Option<IpAddr> {
    let first = listeners.first()?;
    Some(first.bind.ip()).filter(|address| !address.is_unspecified())
}

/// The UDP address among these ports that SIP is spoken at: no sound would ever get it.
fn port_of_a_listener(
    ports: &RangeInclusive<u16>,
    address: IpAddr,
    listeners: &[Listener],
) -> Option<SocketAddr> {
    let takes = |listener: &&Listener| {
        let (ip, port) = (listener.bind.ip(), listener.bind.port());
        let is_there = ip == address || ip.is_unspecified();
        listener.carries == Carries::Plain && is_there && ports.contains(&port)
    };
    Some(listeners.iter().find(takes)?.bind)
}

/// `FIRST-LAST`.
fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let wrong = || format!("`{text}` is not FIRST-LAST, two ports from 1024 on");
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port >= 1024);
    let (first, last) = port(first).zip(port(last)).ok_or_else(wrong)?;
    if last <= first {
        return Err(wrong());
    }
    // RFC 3550 §11: an even one and the next.
    if last - first == 1 && !first.is_multiple_of(2) {
        return Err(format!("`{text}` has no even port with the one after it"));
    }
    Ok(first..=last)
}

fn address(text: &str) -> Result<IpAddr, String> {
    let inside = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let ip = inside.unwrap_or(text).parse::<IpAddr>();
    let ip = ip.map_err(|_| format!("`{text}` is not an IP address"))?;
    if ip.is_unspecified() || ip.is_multicast() {
        return Err(format!("{ip} is not an address that phones can send to"));
    }
    Ok(ip)
}

/// A folder whose recordings can all be played.
fn folder(text: &str) -> Result<PathBuf, String> {
    let folder = PathBuf::from(text);
    voice::load(Some(&folder)).map_err(|why| why.to_string())?;
    Ok(folder)
}

fn digit(text: &str) -> Result<Digit, String> {
    let one = match text.as_bytes() {
        [key] => Digit::of_key(*key),
        _ => None,
    };
    let is_on_phones = |digit: &Digit| !digit.key().is_ascii_alphabetic();
    one.filter(is_on_phones)
        .ok_or_else(|| format!("`{text}` is not one digit, * or #"))
}
