//! TLS on the stream connections: who shows what, on which listener and to whom.
//!
//! Spec: RFC 5922 §7.3, §7.4, §7.8 (S-192, S-193, S-194).
//!
//! What the files hold is read at the start and on [`Secure::reload`]; connections that are up keep
//! what they were made with.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::sip::flow::ListenerId;
use crate::tls::{Error, Face, Proof, names};

/// The certificates of all listeners, and of all connections that we open.
pub(super) struct Secure {
    listeners: Vec<Option<Listener>>,
    connectors: BTreeMap<(ListenerId, Arc<Proof>), TlsConnector>,
}

struct Listener {
    face: Face,
    acceptor: TlsAcceptor,
}

/// What makes a connection one of TLS.
pub(super) enum Handshake {
    /// He connected to us.
    Accept(TlsAcceptor),
    /// We connected to whom this name belongs.
    Connect(TlsConnector, Box<ServerName<'static>>),
}

impl Secure {
    /// Reads what the listeners show; `None` for those that speak no TLS.
    pub(super) fn new(faces: Vec<Option<Face>>) -> Result<Self, Error> {
        let listeners = faces
            .into_iter()
            .map(|face| face.map(Listener::new).transpose());
        Ok(Self {
            listeners: listeners.collect::<Result<_, _>>()?,
            connectors: BTreeMap::new(),
        })
    }

    /// Reads all files anew, for the connections to come; after an error all stays as it was.
    pub(super) fn reload(&mut self) -> Result<(), Error> {
        let faces = self.listeners.iter().map(|listener| {
            let face = listener.as_ref().map(|listener| listener.face.clone());
            face.map(Listener::new).transpose()
        });
        let listeners = faces.collect::<Result<Vec<_>, _>>()?;
        let mut connectors = BTreeMap::new();
        for (listener, proof) in self.connectors.keys() {
            if let Some(connector) = connector(&listeners, *listener, proof)? {
                connectors.insert((*listener, Arc::clone(proof)), connector);
            }
        }
        (self.listeners, self.connectors) = (listeners, connectors);
        Ok(())
    }

    /// What whoever connects to this listener meets; `None` where no TLS is spoken.
    pub(super) fn accept(&self, listener: ListenerId) -> Option<Handshake> {
        let listener = self.listeners.get(usize::from(listener.0))?.as_ref()?;
        Some(Handshake::Accept(listener.acceptor.clone()))
    }

    /// How whoever proves himself so is met; `None` if the listener speaks no TLS.
    pub(super) fn connect(
        &mut self,
        listener: ListenerId,
        proof: &Arc<Proof>,
    ) -> Result<Option<Handshake>, Error> {
        let key = (listener, Arc::clone(proof));
        let connector = match self.connectors.get(&key) {
            Some(connector) => connector.clone(),
            None => match connector(&self.listeners, listener, proof)? {
                Some(connector) => self.connectors.entry(key).or_insert(connector).clone(),
                None => return Ok(None),
            },
        };
        let name = ServerName::try_from(proof.name.to_string()).ok();
        Ok(name.map(|name| Handshake::Connect(connector, Box::new(name))))
    }
}

impl Listener {
    fn new(face: Face) -> Result<Self, Error> {
        let acceptor = TlsAcceptor::from(face.server()?);
        Ok(Self { face, acceptor })
    }
}

fn connector(
    listeners: &[Option<Listener>],
    listener: ListenerId,
    proof: &Proof,
) -> Result<Option<TlsConnector>, Error> {
    let listener = listeners
        .get(usize::from(listener.0))
        .and_then(Option::as_ref);
    let client = listener
        .map(|listener| listener.face.client(proof))
        .transpose();
    Ok(client?.map(TlsConnector::from))
}

impl Handshake {
    /// The connection of TLS, and the names that the other end has proven; `None` if it has shown
    /// no certificate.
    pub(super) async fn run(
        self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Option<Vec<Box<str>>>)> {
        match self {
            Self::Accept(acceptor) => {
                let stream = acceptor.accept(stream).await?;
                let shown = stream.get_ref().1.peer_certificates();
                // S-193
                let names = shown.and_then(|chain| chain.first()).map(names::identities);
                Ok((stream.into(), names))
            }
            Self::Connect(connector, name) => {
                let meant = name.to_str().into_owned().into_boxed_str();
                // S-192, S-194
                let stream = connector.connect(*name, stream).await?;
                Ok((stream.into(), Some(vec![meant])))
            }
        }
    }
}
