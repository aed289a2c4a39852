//! A client that sends what it is told and shows what comes back, over TCP, TLS or a Unix socket.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::http::field;
use super::{Answer, DEADLINE, Head};

pub(crate) struct Raw {
    io: Io,
    /// Read and not yet asked for.
    ahead: Vec<u8>,
}

enum Io {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Unix(UnixStream),
}

impl Raw {
    pub(crate) fn connect(address: SocketAddr) -> Raw {
        Raw::from_tcp(tcp(address))
    }

    pub(crate) fn from_tcp(stream: TcpStream) -> Raw {
        stream.set_read_timeout(Some(DEADLINE)).expect("an open socket");
        stream.set_write_timeout(Some(DEADLINE)).expect("an open socket");
        // What is sent in pieces would wait for the other side's late acknowledgement.
        stream.set_nodelay(true).expect("an open socket");
        Raw { io: Io::Tcp(stream), ahead: Vec::new() }
    }

    /// Asks for the server by this name; the handshake happens with the first bytes.
    pub(crate) fn tls(address: SocketAddr, name: &str, config: Arc<ClientConfig>) -> Raw {
        Raw::tls_over(tcp(address), name, config)
    }

    /// The same over a connection on which something else was sent before.
    pub(crate) fn tls_over(stream: TcpStream, name: &str, config: Arc<ClientConfig>) -> Raw {
        let name = name.to_string().try_into().expect("a host name");
        let session = ClientConnection::new(config, name).expect("a client's session");
        Raw { io: Io::Tls(Box::new(StreamOwned::new(session, stream))), ahead: Vec::new() }
    }

    pub(crate) fn unix(path: &Path) -> Raw {
        let stream = UnixStream::connect(path).expect("the socket accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("an open socket");
        Raw { io: Io::Unix(stream), ahead: Vec::new() }
    }

    pub(crate) fn local_address(&self) -> SocketAddr {
        self.tcp_stream().local_addr().expect("a connected socket")
    }

    /// The certificate that the server has shown.
    pub(crate) fn server_certificate(&self) -> Vec<u8> {
        let Io::Tls(stream) = &self.io else { panic!("not a TLS connection") };
        let chain = stream.conn.peer_certificates().expect("the handshake is over");
        chain[0].to_vec()
    }

    fn tcp_stream(&self) -> &TcpStream {
        match &self.io {
            Io::Tcp(stream) => stream,
            Io::Tls(stream) => &stream.sock,
            Io::Unix(_) => panic!("not a TCP connection"),
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the server reads");
    }

    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        match &mut self.io {
            Io::Tcp(stream) => stream.write_all(bytes.as_ref()),
            Io::Tls(stream) => stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()),
            Io::Unix(stream) => stream.write_all(bytes.as_ref()),
        }
    }

    /// `GET` with a host that every site answers for.
    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n"));
        self.answer()
    }

    /// Says that nothing more will come.
    pub(crate) fn finish_sending(&mut self) {
        self.tcp_stream().shutdown(Shutdown::Write).expect("an open socket");
    }

    /// From now on its system takes nothing from the network, and acknowledges nothing: as if its cable were cut.
    pub(crate) fn cut_cable(&self) {
        // `ret #0` of the classic BPF: no byte of any segment is let through.
        const DROP: socket2::SockFilter = socket2::SockFilter::new(0x06, 0, 0, 0);
        socket2::SockRef::from(self.tcp_stream()).attach_filter(&[DROP]).expect("a filter of Linux");
    }

    /// Reads a head, interim answers (1xx) included.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Head {
        Head::parse(&self.until(b"\r\n\r\n"))
    }

    /// Reads a whole answer to a request with a method other than HEAD, interim ones passed over.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        let head = std::iter::repeat_with(|| self.head()).find(|head| head.status() / 100 != 1);
        let head = head.expect("an iterator without end");
        self.body_behind(head)
    }

    #[track_caller]
    pub(crate) fn body_behind(&mut self, head: Head) -> Answer {
        let mut body = Vec::new();
        let mut trailers = Vec::new();
        if head.chunked() {
            assert!(!head.has("content-length"), "two framings: {head:?}");
            while let Some(chunk) = self.chunk_or_trailers(&mut trailers) {
                body.extend_from_slice(&chunk);
            }
        } else if let Some(length) = head.length() {
            body = self.exactly(length);
        } else if !matches!(head.status(), 204 | 304) {
            body = self.until_close();
        }
        Answer { head, body, trailers }
    }

    /// One chunk; `None` for the last one. Trailers are no part of what is expected.
    #[track_caller]
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut trailers = Vec::new();
        let chunk = self.chunk_or_trailers(&mut trailers);
        assert!(trailers.is_empty(), "{trailers:?}");
        chunk
    }

    #[track_caller]
    fn chunk_or_trailers(&mut self, trailers: &mut Vec<(String, String)>) -> Option<Vec<u8>> {
        let line = self.until(b"\r\n");
        let size = std::str::from_utf8(&line[..line.len() - 2]).expect("a size in digits");
        let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("no size of a chunk: {size:?}"));
        if size > 0 {
            let mut chunk = self.exactly(size + 2);
            assert_eq!(chunk.split_off(size), b"\r\n");
            return Some(chunk);
        }
        loop {
            let line = self.until(b"\r\n");
            match std::str::from_utf8(&line[..line.len() - 2]).expect("trailers in ASCII") {
                "" => return None,
                line => trailers.push(field(line)),
            }
        }
    }

    /// Reads the next bytes of a chunked stream, however they are cut, which are to be these.
    #[track_caller]
    pub(crate) fn piece(&mut self, expected: &str) {
        let mut read = Vec::new();
        while read.len() < expected.len() {
            read.extend(self.chunk().unwrap_or_else(|| panic!("the stream ended after {read:?}")));
        }
        assert_eq!(String::from_utf8_lossy(&read), expected);
    }

    /// Everything up to and with these bytes.
    #[track_caller]
    pub(crate) fn until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut searched = 0;
        loop {
            let found = self.ahead[searched..].windows(end.len()).position(|window| window == end);
            if let Some(place) = found {
                return self.take(searched + place + end.len());
            }
            searched = self.ahead.len().saturating_sub(end.len() - 1);
            let text = || String::from_utf8_lossy(end).into_owned();
            assert!(self.more(), "closed before {:?}: {:?}", text(), String::from_utf8_lossy(&self.ahead));
        }
    }

    #[track_caller]
    pub(crate) fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.ahead.len() < length {
            assert!(self.more(), "closed after {} of {length} bytes", self.ahead.len());
        }
        self.take(length)
    }

    /// The same; `None` where the other side closes before.
    #[track_caller]
    pub(crate) fn exactly_unless_closed(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.ahead.len() < length {
            if !self.more() {
                return None;
            }
        }
        Some(self.take(length))
    }

    /// Everything until the other side closes. A reset counts as a close.
    #[track_caller]
    pub(crate) fn until_close(&mut self) -> Vec<u8> {
        while self.more() {}
        self.take(self.ahead.len())
    }

    /// The other side closes, and says nothing more before.
    #[track_caller]
    pub(crate) fn assert_closed(&mut self) {
        let rest = self.until_close();
        assert!(rest.is_empty(), "unexpected bytes: {:?}", String::from_utf8_lossy(&rest));
    }

    /// Whether the other side says anything before it closes or breaks off, by an alert of TLS as well.
    pub(crate) fn hears_something(&mut self) -> bool {
        let mut byte = [0; 1];
        let read = match &mut self.io {
            Io::Tcp(stream) => stream.read(&mut byte),
            Io::Tls(stream) => stream.read(&mut byte),
            Io::Unix(stream) => stream.read(&mut byte),
        };
        match read {
            Ok(length) => length > 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("silence for {DEADLINE:?}"),
            Err(_) => false,
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.ahead.split_off(length);
        std::mem::replace(&mut self.ahead, rest)
    }

    /// Reads once; false at the end.
    #[track_caller]
    fn more(&mut self) -> bool {
        let mut bytes = [0; 64 * 1024];
        let read = match &mut self.io {
            Io::Tcp(stream) => stream.read(&mut bytes),
            Io::Tls(stream) => stream.read(&mut bytes),
            Io::Unix(stream) => stream.read(&mut bytes),
        };
        match read {
            Ok(length) => {
                self.ahead.extend_from_slice(&bytes[..length]);
                length > 0
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) => {
                false
            }
            Err(error) => {
                panic!("{error} after {DEADLINE:?}; read so far: {:?}", String::from_utf8_lossy(&self.ahead))
            }
        }
    }
}

fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server accepts");
    stream.set_read_timeout(Some(DEADLINE)).expect("an open socket");
    stream.set_write_timeout(Some(DEADLINE)).expect("an open socket");
    stream
}
