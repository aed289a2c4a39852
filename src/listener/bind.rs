//! Listening sockets: one for each worker on the same address, so that the kernel spreads the clients.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 8192;

/// Finds out in about two minutes that the other end is gone without a word, on connections to which nothing is sent.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// An address that can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {}", explain(reason))]
pub struct BindError {
    address: SocketAddr,
    reason: io::Error,
}

/// The usual reasons in words that help.
pub fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process uses the address".into(),
        io::ErrorKind::PermissionDenied => {
            "no permission (ports below 1024 need root or CAP_NET_BIND_SERVICE)".into()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address".into(),
        _ => error.to_string(),
    }
}

/// Listens with so many sockets. For port 0 the system chooses one, the same for all of them.
pub fn bind(address: SocketAddr, sockets: usize) -> Result<Vec<TcpListener>, BindError> {
    let listen = || {
        refuse_shared(address)?;
        let first = listen(address)?;
        let chosen = first.local_addr()?;
        let others = (1..sockets).map(|_| listen(chosen));
        std::iter::once(Ok(first)).chain(others).collect::<io::Result<Vec<_>>>()
    };
    listen().map_err(|reason| BindError { address, reason })
}

/// Fails if another process listens there. Sockets that share their port are taken even beside those of a stranger
/// under the same user, who would get a part of our clients.
fn refuse_shared(address: SocketAddr) -> io::Result<()> {
    socket(address)?.bind(&SockAddr::from(address))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&SockAddr::from(address))?;
    // What is set here every accepted socket has, without a system call of its own.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // `[::]:80` beside `0.0.0.0:80` shall work, and each say what it is.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_socket_gets_the_port_that_the_system_chose_and_nobody_else_does() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let addresses: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
        assert!(addresses.iter().all(|address| *address == addresses[0]));
        let error = bind(addresses[0], 1).unwrap_err().to_string();
        assert_eq!(error, format!("can't listen on {}: another process uses the address", addresses[0]));
    }
}
