//! Sockets, bound and set up as SIP over a busy network needs them.
//!
//! Spec: RFC 3261 §18.2.1 (one port for UDP and TCP).

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// Asked of the system for each direction: some thousand datagrams, the burst of a tenth of a
/// second at full load. The system may grant less.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long a connection may be silent before the system asks whether the peer still lives.
const KEEPALIVE: Duration = Duration::from_mins(2);

/// A datagram socket at this address.
pub(super) fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = new_socket(address, Type::DGRAM, Protocol::UDP)?;
    // A system that grants less still serves; its own limit is what the operator set.
    drop(socket.set_recv_buffer_size(BUFFER_BYTES));
    drop(socket.set_send_buffer_size(BUFFER_BYTES));
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A listening stream socket at this address.
pub(super) fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = new_socket(address, Type::STREAM, Protocol::TCP)?;
    // Connections of the process before us may still be waiting out their time.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A socket to connect from, bound to the listener's address and any port.
pub(super) fn outgoing_tcp(listener: SocketAddr) -> io::Result<std::net::TcpStream> {
    let socket = new_socket(listener, Type::STREAM, Protocol::TCP)?;
    socket.bind(&SocketAddr::new(listener.ip(), 0).into())?;
    Ok(socket.into())
}

/// Sets up a stream connection of either direction.
pub(super) fn tune_stream(stream: &tokio::net::TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE / 4);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// How many files the system lets us have open; as many as we ask for where it does not say.
pub(super) fn files_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    soft_limit_of_files(&limits).unwrap_or(usize::MAX)
}

/// `Max open files   SOFT   HARD   files`; a SOFT of `unlimited` is no number.
fn soft_limit_of_files(limits: &str) -> Option<usize> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn new_socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // An IPv4 peer must not appear as an IPv6 one: the flow names him.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_the_soft_one() {
        let line = |soft| format!("Limit Soft Hard\nMax open files            {soft} 4096 files\n");
        assert_eq!(soft_limit_of_files(&line("1024")), Some(1024));
        assert_eq!(soft_limit_of_files(&line("unlimited")), None);
        assert!(files_max() > 0);
    }
}
