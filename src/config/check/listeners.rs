//! The addresses that we listen on, each once, and what those show that speak TLS.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use toml::Spanned;

use crate::config::Arguments;
use crate::config::error::{Error, Source};
use crate::config::raw::{RawListener, RawOwnCalls, RawTls};
use crate::config::value;
use crate::shard::settings::{Carries, Listener};
use crate::sip::flow::{ListenerId, Transport};
use crate::tls::{Clients, Face, File};

use super::argument;

/// The most listeners: `ListenerId` is a byte, and each takes two sockets.
const LISTENERS_MAX: usize = 64;

/// Arguments take the place of all that the file says of listeners.
pub(super) fn listeners(
    source: Source<'_>,
    written: &[Spanned<RawListener>],
    arguments: &Arguments,
) -> Result<(Vec<Listener>, Vec<Option<Face>>), Error> {
    let (mut listeners, mut faces) = (Vec::new(), Vec::new());
    for text in &arguments.listen {
        let address = value::listen_address(text, Transport::Udp.port());
        let listener = Listener::at(argument("--listen", address)?);
        argument("--listen", push(&mut listeners, listener))?;
    }
    let written = if listeners.is_empty() { written } else { &[] };
    for entry in written {
        let (listener, face) = listener(source, entry)?;
        let at = entry.get_ref().address.as_ref();
        push(&mut listeners, listener).map_err(|why| source.blame(at, why))?;
        faces.push(face);
    }
    if listeners.is_empty() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, Transport::Udp.port()));
        listeners.push(Listener::at(address));
    }
    faces.resize(listeners.len(), None);
    Ok((listeners, faces))
}

/// R4: the address that the PBX trusts as ours, which is none that anything is relayed from.
pub(super) fn own_calls(
    source: Source<'_>,
    raw: &RawOwnCalls,
    listeners: &mut Vec<Listener>,
) -> Result<Option<ListenerId>, Error> {
    let Some(written) = &raw.listen else {
        return Ok(None);
    };
    source.read(written, |text| {
        let address = value::listen_address(text, Transport::Udp.port())?;
        if address.ip().is_unspecified() {
            return Err(format!(
                "{address} is a wildcard: the PBX has to know one address"
            ));
        }
        let is_shared = |listener: &Listener| {
            let bind = listener.bind;
            let is_any = bind.ip().is_unspecified() && bind.is_ipv4() == address.is_ipv4();
            bind == address || (is_any && bind.port() == address.port())
        };
        if listeners.iter().any(is_shared) {
            return Err(format!(
                "{address} is a listener's, from which calls are relayed"
            ));
        }
        let id = u8::try_from(listeners.len()).map_err(|_| "one listener too many".to_owned())?;
        listeners.push(Listener::at(address));
        Ok(Some(ListenerId(id)))
    })
}

fn listener(
    source: Source<'_>,
    entry: &Spanned<RawListener>,
) -> Result<(Listener, Option<Face>), Error> {
    let raw = entry.get_ref();
    let Some(written) = &raw.address else {
        let why = "is missing: write address = \"IP:PORT\"";
        return Err(source.error_of("listener.address", &entry.span(), why));
    };
    let face = raw.tls.as_ref().map(|tls| face(source, tls)).transpose()?;
    let (carries, port) = match face {
        Some(_) => (Carries::Tls, Transport::Tls.port()),
        None => (Carries::Plain, Transport::Udp.port()),
    };
    let advertise = raw.advertise.as_ref();
    let advertise = advertise.map(|host| source.read(host, value::advertise));
    let listener = Listener {
        bind: source.read(written, |text| value::listen_address(text, port))?,
        advertise: advertise.transpose()?,
        carries,
        serves: source.read_all(&raw.serves, value::network)?,
    };
    Ok((listener, face))
}

fn push(listeners: &mut Vec<Listener>, listener: Listener) -> Result<(), String> {
    let address = listener.bind;
    // R13: what a wildcard address is reached by is not ours to guess.
    if address.ip().is_unspecified() && listener.advertise.is_none() {
        return Err(format!(
            "{address} is a wildcard: say with `advertise` in a [[listener]] how peers reach it"
        ));
    }
    if listeners.iter().any(|other| other.bind == address) {
        return Err(format!("{address} is listened on twice"));
    }
    if listeners.len() >= LISTENERS_MAX {
        return Err(format!("more than {LISTENERS_MAX} listeners"));
    }
    listeners.push(listener);
    Ok(())
}

/// What a listener shows; its files are read once to see whether they can be.
fn face(source: Source<'_>, written: &Spanned<RawTls>) -> Result<Face, Error> {
    let raw = written.get_ref();
    let needed = |name: &str, file: &Option<Spanned<String>>| {
        let file = file.as_ref().map(|file| PathBuf::from(file.get_ref()));
        file.ok_or_else(|| {
            let key = format!("listener.tls.{name}");
            let why = format!("is missing: write {name} = \"FILE.pem\"");
            source.error_of(&key, &written.span(), why)
        })
    };
    let words = [
        ("off", Auth::Off),
        ("optional", Auth::Optional),
        ("required", Auth::Required),
    ];
    let clients = match source.word(raw.client_auth.as_ref(), Auth::Off, &words)? {
        Auth::Off => {
            if let Some(unused) = &raw.client_ca {
                let why = "has no effect: client_auth is \"off\"";
                return Err(source.error(&unused.span(), why));
            }
            Clients::Unasked
        }
        Auth::Optional => Clients::Asked(needed("client_ca", &raw.client_ca)?),
        Auth::Required => Clients::Demanded(needed("client_ca", &raw.client_ca)?),
    };
    let face = Face {
        certificate: needed("certificate", &raw.certificate)?,
        key: needed("key", &raw.key)?,
        clients,
    };
    if let Err(error) = face.server() {
        let guilty = match error.file {
            File::Authorities => &raw.client_ca,
            File::Certificate => &raw.certificate,
            File::Key => &raw.key,
        };
        return Err(source.blame(guilty.as_ref(), error.why));
    }
    Ok(face)
}

#[derive(Clone, Copy)]
enum Auth {
    Off,
    Optional,
    Required,
}
