//! DNS: asks what the worker wants to know, a few questions at a time, and mails it the answers.
//!
//! Spec: RFC 1035; RFC 2782; RFC 3403; RFC 3596.
//!
//! What is known is kept by the worker; nothing is kept here.

use std::mem;
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
/// are none is an error only if somebody has a name to ask for; if not, they are looked for again
/// when another configuration brings the first name.
pub(super) fn start(
    servers: &[SocketAddr],
    is_needed: bool,
    mail: mpsc::Sender<Mail>,
    questions: mpsc::Receiver<Question>,
) -> Result<(), NetError> {
    let servers = servers.to_vec();
    let mut asking = Asking::new(move || resolver(&servers));
    if is_needed {
        asking.start()?;
    }
    tokio::spawn(asking.run(mail, questions));
    Ok(())
}

/// Whoever asks, once there is somebody to ask.
struct Asking<F> {
    make: F,
    resolver: Option<TokioResolver>,
    /// Whether the log says that there is nobody to ask.
    is_told: bool,
}

impl<F: FnMut() -> Result<TokioResolver, NetError>> Asking<F> {
    const fn new(make: F) -> Self {
        Self {
            make,
            resolver: None,
            is_told: false,
        }
    }

    /// Whoever can be asked; looked for until there is somebody.
    fn start(&mut self) -> Result<&TokioResolver, NetError> {
        match &mut self.resolver {
            Some(resolver) => Ok(resolver),
            none => Ok(none.insert((self.make)()?)),
        }
    }

    /// Says once that nobody can be asked.
    fn tell(&mut self, error: &NetError) {
        if !mem::replace(&mut self.is_told, true) {
            tracing::error!(%error, "DNS cannot be asked: write its servers in [resolver] servers");
        }
    }

    async fn run(mut self, mail: mpsc::Sender<Mail>, mut questions: mpsc::Receiver<Question>) {
        let places = Arc::new(Semaphore::new(AT_ONCE_MAX));
        while let Some(question) = questions.recv().await {
            let place = Arc::clone(&places).acquire_owned().await;
            let resolver = self.start().cloned().map_err(|error| self.tell(&error));
            let mail = mail.clone();
            tokio::spawn(async move {
                let reply = match resolver {
                    Ok(resolver) => ask(&resolver, &question).await,
                    Err(()) => Err(Failed),
                };
                drop(place);
                // A worker that is gone needs no mail.
                drop(mail.send(Mail::Resolved { question, reply }).await);
            });
        }
    }
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::UdpSocket;
    use tokio::runtime::Builder;
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn run(test: impl Future<Output = ()>) {
        let runtime = Builder::new_current_thread().enable_all().build();
        let bounded = async { timeout(LONG, test).await.expect("in time") };
        runtime.expect("an event loop").block_on(bounded);
    }

    /// A DNS server that knows one address of every name.
    async fn answer_all(socket: UdpSocket) {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let asked = &buffer[..length];
            // The question ends with its class, four bytes after the root label.
            let name = asked[12..].iter().position(|byte| *byte == 0);
            let end = 12 + name.expect("a name") + 5;
            let is_a = asked[end - 3] == 1;
            let mut reply = asked[..end].to_vec();
            // A response, recursion available; one question, and one answer at most.
            reply[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
            if is_a {
                reply.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
            }
            socket.send_to(&reply, from).await.expect("loopback");
        }
    }

    fn question() -> Question {
        Question {
            kind: Kind::Address,
            name: "pbx.example.org".into(),
        }
    }

    async fn reply(mailbox: &mut mpsc::Receiver<Mail>) -> Result<Answer, Failed> {
        let mail = mailbox.recv().await;
        let Some(Mail::Resolved { reply, .. }) = mail else {
            panic!("no answer, but {mail:?}");
        };
        reply
    }

    /// Where there was nobody to ask at the start, every later question was lost.
    #[test]
    fn who_is_to_be_asked_is_looked_for_again_when_there_is_a_question() {
        run(async {
            let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
            let server = server.expect("loopback");
            let servers = [server.local_addr().expect("bound")];
            tokio::spawn(answer_all(server));
            let mut missing = 1;
            let asking = Asking::new(move || {
                if missing > 0 {
                    missing -= 1;
                    return Err(NetError::from("no servers"));
                }
                resolver(&servers)
            });
            let (mail, mut mailbox) = mpsc::channel(4);
            let (asker, questions) = mpsc::channel(4);
            tokio::spawn(asking.run(mail, questions));

            asker.send(question()).await.expect("asked");
            assert_eq!(reply(&mut mailbox).await, Err(Failed));
            asker.send(question()).await.expect("asked");
            let found = reply(&mut mailbox).await.expect("an answer");
            assert_eq!(found.records.addresses, [Ipv4Addr::new(192, 0, 2, 1)]);
        });
    }
}
