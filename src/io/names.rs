//! DNS: asks what the worker wants to know, a few questions at a time, and mails it the answers.
//!
//! Spec: RFC 1035; RFC 2782; RFC 3403; RFC 3596.
//!
//! What is known is kept by the worker; nothing is kept here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::sync::{Semaphore, mpsc};

use crate::routing::names::{Answer, Failed, Kind, Naptr, Question, Records, Srv};

use super::mail::Mail;

/// How many questions are out at a time.
const AT_ONCE_MAX: usize = 32;
/// How long one server has for one answer, and how often it is asked: together less than what the
/// worker waits.
const TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
/// The time of an answer that says of itself for how long something will not be there (RFC 2308 §5:
/// it may be left out).
const NOTHING_TTL: Duration = Duration::from_secs(30);

/// Asks for as long as the worker has questions; without servers, those of the system. That there
/// are none is an error only if somebody has a name to ask for.
pub(super) fn start(
    servers: &[SocketAddr],
    is_needed: bool,
    mail: mpsc::Sender<Mail>,
    mut questions: mpsc::Receiver<Question>,
) -> Result<(), NetError> {
    let resolver = match resolver(servers) {
        Ok(resolver) => resolver,
        Err(error) if is_needed => return Err(error),
        Err(_) => return Ok(()),
    };
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(AT_ONCE_MAX));
        while let Some(question) = questions.recv().await {
            let place = Arc::clone(&places).acquire_owned().await;
            let (resolver, mail) = (resolver.clone(), mail.clone());
            tokio::spawn(async move {
                let reply = ask(&resolver, &question).await;
                drop(place);
                // A worker that is gone needs no mail.
                drop(mail.send(Mail::Resolved { question, reply }).await);
            });
        }
    });
    Ok(())
}

fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = servers.iter().map(name_server).collect();
        let config = ResolverConfig::from_name_servers(servers);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.timeout = TIMEOUT;
    options.attempts = ATTEMPTS;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = 0;
    builder.build()
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        let connection: &mut ConnectionConfig = connection;
        connection.port = address.port();
    }
    server
}

async fn ask(resolver: &TokioResolver, question: &Question) -> Result<Answer, Failed> {
    // With a dot at its end, a name is not looked for below the domains of this machine.
    let name = format!("{}.", question.name);
    let found = match question.kind {
        Kind::Address => {
            let found = resolver.lookup_ip(name).await;
            found.map(|found| answer(found.as_lookup()))
        }
        Kind::Naptr => resolver
            .lookup(name, RecordType::NAPTR)
            .await
            .map(|found| answer(&found)),
        Kind::Srv => resolver
            .lookup(name, RecordType::SRV)
            .await
            .map(|found| answer(&found)),
    };
    found.or_else(|error| nothing(&error))
}

/// That something is not there is an answer.
fn nothing(error: &NetError) -> Result<Answer, Failed> {
    let NetError::Dns(DnsError::NoRecordsFound(none)) = error else {
        return Err(Failed);
    };
    let ttl = none.negative_ttl.map(|ttl| Duration::from_secs(ttl.into()));
    Ok(Answer {
        records: Records::default(),
        ttl: ttl.unwrap_or(NOTHING_TTL),
    })
}

fn answer(lookup: &Lookup) -> Answer {
    let mut records = Records::default();
    let mut ttl: Option<u32> = None;
    for record in lookup.answers() {
        ttl = Some(ttl.map_or(record.ttl, |ttl| ttl.min(record.ttl)));
        add(&mut records, &record.data);
    }
    let ttl = ttl.map(|ttl| Duration::from_secs(ttl.into()));
    Answer {
        records,
        ttl: ttl.unwrap_or(NOTHING_TTL),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many kinds of records these four say where a server is"
)]
fn add(records: &mut Records, data: &RData) {
    match data {
        RData::A(address) => records.addresses.push(address.0.into()),
        RData::AAAA(address) => records.addresses.push(address.0.into()),
        RData::NAPTR(naptr) if naptr.regexp.is_empty() => records.naptr.push(Naptr {
            order: naptr.order,
            preference: naptr.preference,
            flags: String::from_utf8_lossy(&naptr.flags).into_owned(),
            service: String::from_utf8_lossy(&naptr.services).into_owned(),
            replacement: text(&naptr.replacement),
        }),
        RData::SRV(srv) => records.srv.push(Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: text(&srv.target),
        }),
        _ => {}
    }
}

/// A name as [`Question`] has it; the root is empty.
fn text(name: &Name) -> Arc<str> {
    let text = name.to_ascii().to_ascii_lowercase();
    text.trim_end_matches('.').into()
}
