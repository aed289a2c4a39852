//! A client of HTTP/2 that sees each piece: the library's other half, driven by a thread of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use hyper::http::request;
use hyper::{HeaderMap, Request, Response};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::DEADLINE;

/// A connection.
pub(crate) struct Http2 {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
    end: Receiver<Result<(), h2::Error>>,
}

/// A request that was sent.
pub(crate) struct Http2Stream<'a> {
    client: &'a Http2,
    response: Option<ResponseFuture>,
    pub(crate) send: SendStream<Bytes>,
    body: Option<RecvStream>,
}

impl Http2 {
    /// By prior knowledge.
    pub(crate) fn connect(address: SocketAddr) -> Http2 {
        Http2::connect_with(address, &Builder::new())
    }

    /// The same with settings of one's own.
    pub(crate) fn connect_with(address: SocketAddr, settings: &Builder) -> Http2 {
        let runtime = runtime();
        let socket = runtime.block_on(TcpStream::connect(address)).expect("the proxy listens");
        Http2::over(runtime, socket, settings)
    }

    /// By ALPN; gives what was agreed on if that isn't HTTP/2.
    pub(crate) fn tls(
        address: SocketAddr,
        name: &'static str,
        config: &Arc<ClientConfig>,
        protocols: &[&str],
    ) -> Result<Http2, Option<Vec<u8>>> {
        let runtime = runtime();
        let mut config = ClientConfig::clone(config);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from(name).expect("a name");
        let socket = runtime.block_on(async {
            let socket = TcpStream::connect(address).await.expect("the proxy listens");
            connector.connect(name, socket).await.expect("a handshake")
        });
        match socket.get_ref().1.alpn_protocol().map(<[u8]>::to_vec) {
            Some(agreed) if agreed == b"h2" => Ok(Http2::over(runtime, socket, &Builder::new())),
            other => Err(other),
        }
    }

    fn over(
        driver: Runtime,
        socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        settings: &Builder,
    ) -> Http2 {
        let (requests, connection) = driver.block_on(settings.handshake(socket)).expect("HTTP/2");
        let (tell, end) = sync_channel(1);
        // Nobody may wait for it.
        std::thread::spawn(move || drop(tell.send(driver.block_on(connection))));
        Http2 { runtime: runtime(), requests, end }
    }

    #[track_caller]
    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let waited = self.runtime.block_on(async { tokio::time::timeout(DEADLINE, future).await });
        waited.unwrap_or_else(|_| panic!("waited {DEADLINE:?} in vain"))
    }

    /// Whether the proxy allows WebSockets on it (RFC 8441 §3).
    pub(crate) fn may_connect(&self) -> bool {
        self.requests.is_extended_connect_protocol_enabled()
    }

    /// Sends a head; the body is still to be sent unless that `is_whole`.
    #[track_caller]
    pub(crate) fn begin(&self, request: request::Builder, is_whole: bool) -> Http2Stream<'_> {
        let mut requests = self.requests.clone();
        self.wait(std::future::poll_fn(|cx| requests.poll_ready(cx))).expect("an open connection");
        let request = request.body(()).expect("a request");
        let (response, send) = requests.send_request(request, is_whole).expect("an open connection");
        Http2Stream { client: self, response: Some(response), send, body: None }
    }

    /// Begins a GET.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Http2Stream<'_> {
        self.begin(Request::get(format!("http://example.com{target}")), true)
    }

    /// How the connection ends.
    #[track_caller]
    pub(crate) fn end(&self) -> Result<(), h2::Error> {
        self.end.recv_timeout(DEADLINE).expect("it ends")
    }
}

impl Http2Stream<'_> {
    /// Sends a body, as fast as it is taken.
    #[track_caller]
    pub(crate) fn send_body(&mut self, body: &[u8]) {
        self.send_some(body);
        self.send.send_data(Bytes::new(), true).expect("the stream is open");
    }

    /// The same, of which there is more.
    #[track_caller]
    pub(crate) fn send_some(&mut self, body: &[u8]) {
        let mut rest = Bytes::copy_from_slice(body);
        while !rest.is_empty() {
            let taken = self.wait_for_window(rest.len()).expect("the stream is open");
            self.send.send_data(rest.split_to(taken), false).expect("the stream is open");
        }
    }

    /// Sends a piece that the window has room for.
    pub(crate) fn say(&mut self, piece: &[u8]) {
        self.send.send_data(Bytes::copy_from_slice(piece), false).expect("the stream is open");
    }

    #[track_caller]
    fn wait_for_window(&mut self, wanted: usize) -> Option<usize> {
        self.send.reserve_capacity(wanted);
        let send = &mut self.send;
        let more = std::future::poll_fn(|cx| match send.capacity() {
            0 => send.poll_capacity(cx).map(|more| more.and_then(Result::ok)),
            some => std::task::Poll::Ready(Some(some)),
        });
        self.client.wait(more).map(|more| more.min(wanted))
    }

    /// The head of the answer.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Response<()> {
        self.try_head().expect("an answer")
    }

    /// The same, or why there is none.
    #[track_caller]
    pub(crate) fn try_head(&mut self) -> Result<Response<()>, Option<Reason>> {
        let response = self.response.take().expect("a head comes once");
        let (parts, body) = self.client.wait(response).map_err(|error| error.reason())?.into_parts();
        self.body = Some(body);
        Ok(Response::from_parts(parts, ()))
    }

    /// The next piece of the body; `None` at its end. What was read makes room for more.
    #[track_caller]
    pub(crate) fn piece(&mut self) -> Result<Option<Bytes>, Option<Reason>> {
        let body = self.body.as_mut().expect("behind the head");
        match self.client.wait(body.data()) {
            None => Ok(None),
            Some(Ok(piece)) => {
                body.flow_control().release_capacity(piece.len()).expect("that much came");
                Ok(Some(piece))
            }
            Some(Err(error)) => Err(error.reason()),
        }
    }

    /// So many bytes of the body.
    #[track_caller]
    pub(crate) fn exactly(&mut self, bytes: usize) -> Vec<u8> {
        let mut read = Vec::new();
        while read.len() < bytes {
            read.extend(self.piece().expect("no reset").expect("not the end"));
        }
        assert_eq!(read.len(), bytes, "{}", String::from_utf8_lossy(&read));
        read
    }

    /// What the body says up to this.
    #[track_caller]
    pub(crate) fn until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let piece = self.piece().expect("no reset");
            let so_far = String::from_utf8_lossy(&read).into_owned();
            read.extend(piece.unwrap_or_else(|| panic!("ended behind {so_far:?}")));
        }
        String::from_utf8(read).expect("text")
    }

    /// The rest of the body, and the trailers behind it.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> (Vec<u8>, Option<HeaderMap>) {
        let mut read = Vec::new();
        while let Some(piece) = self.piece().expect("no reset") {
            read.extend(piece);
        }
        let body = self.body.as_mut().expect("behind the head");
        (read, self.client.wait(body.trailers()).expect("an open stream"))
    }

    /// Status and body of the answer.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> (u16, String) {
        let status = self.head().status().as_u16();
        (status, String::from_utf8(self.rest().0).expect("text"))
    }

    /// Reads what there is, and says why nothing follows.
    #[track_caller]
    pub(crate) fn reset_behind(&mut self) -> Option<Reason> {
        loop {
            match self.piece() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a clean end"),
                Err(reason) => return reason,
            }
        }
    }

    /// Takes the request back.
    pub(crate) fn reset(mut self) {
        self.send.send_reset(Reason::CANCEL);
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("descriptors are left")
}
