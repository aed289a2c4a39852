//! Applications that misbehave, one kind of fault each.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::{Application, DEADLINE, Received, Reply, Then};

/// An address that takes no connection and refuses none: its queue is full, so that the kernel drops who knocks.
pub(crate) struct Unreachable {
    address: SocketAddr,
    _listener: Socket,
    _queued: Vec<TcpStream>,
}

impl Unreachable {
    pub(crate) fn new() -> Unreachable {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("descriptors are left");
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("an address of our own");
        listener.listen(0).expect("a bound socket");
        let address = listener.local_addr().expect("a bound socket").as_socket().expect("an IP address");
        let knock = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let queued: Vec<TcpStream> = std::iter::from_fn(knock).take(100).collect();
        assert!(queued.len() < 100, "a queue without an end");
        Unreachable { address, _listener: listener, _queued: queued }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Closes without a byte.
pub(crate) struct ClosesEarly;

impl Application for ClosesEarly {
    fn answer(&self, _request: &Received, _socket: &mut Socket) -> Then {
        Then::Close
    }
}

/// Sends a head that promises a body, and then nothing more until the other side gives up.
pub(crate) struct StallsAfterHead;

impl Application for StallsAfterHead {
    fn answer(&self, _request: &Received, socket: &mut Socket) -> Then {
        say(socket, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
        wait_for_close(socket)
    }
}

/// Resets the connection in the middle of the body, when it is told.
pub(crate) struct ResetsInTheBody(Mutex<Receiver<()>>);

impl ResetsInTheBody {
    pub(crate) fn when(told: Receiver<()>) -> ResetsInTheBody {
        ResetsInTheBody(Mutex::new(told))
    }
}

impl Application for ResetsInTheBody {
    fn answer(&self, _request: &Received, socket: &mut Socket) -> Then {
        say(socket, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        self.0.lock().expect("one request at a time").recv_timeout(DEADLINE).expect("the test says when");
        Then::Reset
    }
}

/// Promises more bytes than it sends.
pub(crate) struct LengthTooLong;

impl Application for LengthTooLong {
    fn answer(&self, _request: &Received, socket: &mut Socket) -> Then {
        say(socket, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
        Then::Close
    }
}

/// Switches protocols though nobody asked.
pub(crate) struct SwitchesUnasked;

impl Application for SwitchesUnasked {
    fn answer(&self, _request: &Received, socket: &mut Socket) -> Then {
        say(
            socket,
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nEVIL",
        );
        wait_for_close(socket)
    }
}

/// Answers one request with two answers.
pub(crate) struct AnswersTwice;

impl Application for AnswersTwice {
    fn answer(&self, request: &Received, socket: &mut Socket) -> Then {
        // In one write: what comes only after the next request was sent can't be told from its answer.
        let both = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL",
            request.target().len(),
            request.target()
        );
        say(socket, both.as_bytes());
        Then::KeepAlive
    }
}

/// Sends each byte of a good answer by itself.
pub(crate) struct OneByteAtATime;

impl Application for OneByteAtATime {
    fn answer(&self, _request: &Received, socket: &mut Socket) -> Then {
        // Otherwise the system joins what is written one by one.
        socket.set_tcp_nodelay(true).expect("an open TCP socket");
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ndrips\r\n0\r\n\r\n";
        answer.chunks(1).for_each(|byte| say(socket, byte));
        Then::KeepAlive
    }
}

/// Sends interim answers without end.
pub(crate) struct ContinuesForever;

impl Application for ContinuesForever {
    fn answer(&self, _request: &Received, socket: &mut Socket) -> Then {
        while socket.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").is_ok() {}
        Then::Close
    }
}

/// Answers the first request of a connection and closes on the second, as a server does whose keep-alive
/// has run out while the request was on its way.
pub(crate) struct ClosesOnSecondRequest;

impl Application for ClosesOnSecondRequest {
    fn answer(&self, request: &Received, socket: &mut Socket) -> Then {
        match request.place {
            0 => Reply::ok(format!("connection {}", request.connection)).send_to(request, socket),
            _ => Then::Close,
        }
    }
}

/// Who doesn't read any more is not this test's matter.
fn say(socket: &mut Socket, bytes: &[u8]) {
    let _ = socket.write_all(bytes);
}

fn wait_for_close(socket: &mut Socket) -> Then {
    let mut bytes = [0; 1024];
    while socket.read(&mut bytes).is_ok_and(|length| length > 0) {}
    Then::Close
}
