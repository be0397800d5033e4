//! What crosses from one leg to the other: the table, and the copying.
//!
//! Spec: RFC 3261 §6 ("B2BUA"), §20; RFC 7092 §3.1 (S-37).
//!
//! A header crosses untouched unless the table says why not: what nobody here understands may be
//! just what the two ends need.

use crate::call::{Ids, PeerOffers};
use crate::sip::header::credentials::Credentials;
use crate::sip::lex::Commas;
use crate::sip::{Header, Message, Name, NameAddr, Response, Status, Writer, parse_u32};

/// What becomes of a header on its way to the other leg.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It crosses as it is.
    Crosses,
    /// Each leg has its own.
    PerLeg,
    /// It crosses without the option tags of [`HOP_OPTIONS`].
    Filtered,
    /// It crosses in the responses where it is not the address of a dialog.
    OtherTargets,
    /// It crosses in the responses that say with it what was asked for too little.
    TooShort,
}

/// Option tags that belong to one hop or one leg and must not promise anything across.
///
/// - `100rel`: each leg acknowledges its own provisional responses (S-59);
/// - `outbound`, `path`, `gruu`: about the way of a registration (R12).
pub const HOP_OPTIONS: &[&[u8]] = &[b"100rel", b"gruu", b"outbound", b"path"];

/// Option tags that a request may require, because we let them cross or do not need to know.
pub const KNOWN_OPTIONS: &[&[u8]] = &[
    b"100rel",
    b"answermode",
    b"from-change",
    b"histinfo",
    b"norefersub",
    b"privacy",
    b"replaces",
    b"tdialog",
    b"timer",
];

/// The most branches that one INVITE may have, all in all (RFC 5393 §5.3.3).
const BREADTH_MAX: u32 = 60;

/// The fate of a header.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not in the table crosses: that is the rule"
)]
pub fn fate(name: Name) -> Fate {
    match name {
        // Who talks to whom, and in which order, is a matter of each leg (S-37).
        Name::CallId
        | Name::CSeq
        | Name::From
        | Name::To
        | Name::MaxForwards
        | Name::MaxBreadth
        // The way of each leg.
        | Name::Via
        | Name::Route
        | Name::RecordRoute
        | Name::Path
        | Name::ServiceRoute
        // Reliable provisional responses are acknowledged on each leg (S-59).
        | Name::RSeq
        | Name::RAck
        // Each leg is timed by itself (S-97).
        | Name::SessionExpires
        // Written with the body.
        | Name::ContentLength
        // Echoed in the responses to the one who sent it.
        | Name::Timestamp => Fate::PerLeg,
        Name::Require | Name::ProxyRequire | Name::Supported => Fate::Filtered,
        Name::Contact => Fate::OtherTargets,
        Name::MinSe => Fate::TooShort,
        _ => Fate::Crosses,
    }
}

/// S-112: how many branches the INVITE may still have, all in all: at most 60, and as many where it
/// does not say. What is no number gives room for one.
pub fn breadth(request: &Message<'_>) -> u32 {
    let written = request.first(Name::MaxBreadth);
    written.map_or(BREADTH_MAX, |written| {
        parse_u32(written).map_or(1, |breadth| breadth.min(BREADTH_MAX))
    })
}

/// S-112: what each of so many branches gets of it; `None` where there is no need to say.
pub fn share_of_breadth(request: &Message<'_>, branches: usize) -> Option<u32> {
    let is_said = branches > 1 || request.first(Name::MaxBreadth).is_some();
    let branches = u32::try_from(branches.max(1)).unwrap_or(u32::MAX);
    is_said.then(|| breadth(request) / branches)
}

/// Copies what crosses of a response.
pub fn copy_crossing(writer: &mut Writer<'_>, response: &Response<'_>) {
    for header in response.message.headers() {
        copy_header(writer, header, Some(response.status));
    }
}

/// Copies what crosses of a response, without these fields.
pub fn copy_crossing_but(writer: &mut Writer<'_>, response: &Response<'_>, without: &[Name]) {
    for header in response.message.headers() {
        if !without.contains(&header.name) {
            copy_header(writer, header, Some(response.status));
        }
    }
}

/// Copies what crosses of a request; credentials for `realm` do not.
pub fn copy_request(writer: &mut Writer<'_>, request: &Message<'_>, realm: Option<&str>) {
    for header in request.headers() {
        if !realm.is_some_and(|realm| is_credentials(header, realm)) {
            copy_header(writer, header, None);
        }
    }
}

/// The same, with the ids of dialogs as the receiver knows them.
pub fn copy_naming(
    writer: &mut Writer<'_>,
    request: &Message<'_>,
    realm: Option<&str>,
    ids: &Ids<'_>,
) {
    for header in request.headers() {
        if realm.is_some_and(|realm| is_credentials(header, realm)) {
            continue;
        }
        match ids.header(header) {
            Some(value) => {
                writer.header(header.name, &value);
            }
            None => copy_header(writer, header, None),
        }
    }
}

/// Copies what crosses of a response to A's INVITE; the offers of B's side may stay behind.
pub fn copy_response(writer: &mut Writer<'_>, response: &Response<'_>, offers: PeerOffers) {
    for header in response.message.headers() {
        if header.name == Name::CallInfo && offers == PeerOffers::Removed {
            copy_without_offers(writer, header.value);
        } else {
            copy_header(writer, header, Some(response.status));
        }
    }
}

fn copy_header(writer: &mut Writer<'_>, header: Header<'_>, status: Option<Status>) {
    match fate(header.name) {
        Fate::Crosses => {
            writer.copy(header);
        }
        Fate::PerLeg => {}
        Fate::Filtered => copy_options(writer, header.name, header.value),
        Fate::OtherTargets => {
            if status.is_some_and(names_other_targets) {
                writer.copy(header);
            }
        }
        Fate::TooShort => {
            if status == Some(Status::SESSION_INTERVAL_TOO_SMALL) {
                writer.copy(header);
            }
        }
    }
}

/// RFC 3261 §22.3: whoever asked for credentials takes them out.
fn is_credentials(header: Header<'_>, realm: &str) -> bool {
    let names = [Name::Authorization, Name::ProxyAuthorization];
    let is_for_us = |found: Credentials<'_>| found.is_for(realm);
    names.contains(&header.name) && Credentials::parse(header.value).is_some_and(is_for_us)
}

/// Each Call-Info but those that offer completion.
fn copy_without_offers(writer: &mut Writer<'_>, value: &[u8]) {
    for entry in Commas::of(value).filter(|entry| !is_offer(entry)) {
        writer.header(Name::CallInfo, entry);
    }
}

/// Whether a Call-Info offers completion (CC-30).
pub fn is_offer(entry: &[u8]) -> bool {
    NameAddr::parse(entry).is_ok_and(|entry| {
        let purpose = entry.params.value("purpose").unwrap_or_default();
        purpose.eq_ignore_ascii_case(b"call-completion")
    })
}

/// Whether the body is, or may have in it, an offer or answer.
pub fn carries_session(message: &Message<'_>) -> bool {
    let kind = message.first(Name::ContentType).unwrap_or_default();
    let is = |wanted: &[u8]| {
        let head = kind.get(..wanted.len()).unwrap_or_default();
        head.eq_ignore_ascii_case(wanted)
    };
    !message.body().is_empty() && (is(b"application/sdp") || is(b"multipart/"))
}

/// In these responses Contact says where else to try, not where the dialog goes on.
fn names_other_targets(status: Status) -> bool {
    matches!(status.code(), 300..400 | 485)
}

fn copy_options(writer: &mut Writer<'_>, name: Name, value: &[u8]) {
    let mut kept: smallvec::SmallVec<[u8; 128]> = smallvec::SmallVec::new();
    for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        let is_hop = HOP_OPTIONS
            .iter()
            .any(|hop| hop.eq_ignore_ascii_case(option));
        // Whoever requires a timer gets it on its own leg (S-97).
        let is_timer = name == Name::Require && option.eq_ignore_ascii_case(b"timer");
        let is_hop = is_hop || is_timer;
        if is_hop || option.is_empty() {
            continue;
        }
        if !kept.is_empty() {
            kept.extend_from_slice(b", ");
        }
        kept.extend_from_slice(option);
    }
    if !kept.is_empty() {
        writer.header(name, &kept);
    }
}
