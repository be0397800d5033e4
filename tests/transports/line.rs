//! What carries a party's messages: datagrams, a connection, or one of TLS.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

use crate::campon::PATIENCE;

pub enum Line {
    Udp(UdpSocket, SocketAddr),
    Tcp(TcpStream),
    ToServer(Box<StreamOwned<ClientConnection, TcpStream>>),
    FromClient(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Line {
    pub fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        let socket = UdpSocket::bind(local).expect("an address of ours");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self::Udp(socket, remote)
    }

    pub fn tcp(remote: SocketAddr) -> Self {
        Self::Tcp(connect(remote))
    }

    /// Connects and agrees on TLS; the error is what either side has against it.
    pub fn tls(
        remote: SocketAddr,
        name: &str,
        config: Arc<ClientConfig>,
    ) -> Result<Self, std::io::Error> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let client = ClientConnection::new(config, name).expect("a configuration");
        let mut stream = StreamOwned::new(client, connect(remote));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self::ToServer(Box::new(stream)))
    }

    /// Waits for somebody to connect, and agrees on TLS if there is something to show.
    pub fn accept(
        listener: &TcpListener,
        shown: Option<Arc<ServerConfig>>,
    ) -> Result<Self, std::io::Error> {
        let (stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let Some(config) = shown else {
            return Ok(Self::Tcp(stream));
        };
        let server = ServerConnection::new(config).expect("a configuration");
        let mut stream = StreamOwned::new(server, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self::FromClient(Box::new(stream)))
    }

    /// The name in Via.
    pub fn transport(&self) -> &'static str {
        match self {
            Self::Udp(..) => "UDP",
            Self::Tcp(_) => "TCP",
            Self::ToServer(_) | Self::FromClient(_) => "TLS",
        }
    }

    pub fn local(&self) -> SocketAddr {
        let address = match self {
            Self::Udp(socket, _) => socket.local_addr(),
            Self::Tcp(stream) => stream.local_addr(),
            Self::ToServer(stream) => stream.sock.local_addr(),
            Self::FromClient(stream) => stream.sock.local_addr(),
        };
        address.expect("a socket of ours")
    }

    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Udp(socket, remote) => socket.send_to(bytes, *remote).map(|_| ()),
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::ToServer(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Self::FromClient(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// One read; 0 at the end of a connection, however it came.
    pub fn read(&mut self, buffer: &mut [u8]) -> usize {
        let read = match self {
            Self::Udp(socket, _) => socket.recv(buffer),
            Self::Tcp(stream) => stream.read(buffer),
            Self::ToServer(stream) => stream.read(buffer),
            Self::FromClient(stream) => stream.read(buffer),
        };
        match read {
            Ok(length) => length,
            Err(error) if is_late(&error) => panic!("nothing came"),
            Err(_) => 0,
        }
    }
}

fn is_late(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn connect(remote: SocketAddr) -> TcpStream {
    let SocketAddr::V4(mut local) = remote else {
        panic!("{remote} is not of a test's network");
    };
    let [a, b, c, _] = local.ip().octets();
    local.set_ip([a, b, c, 200].into());
    local.set_port(0);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&local.into()).expect("an address of ours");
    socket.connect(&remote.into()).expect("a listener");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}
