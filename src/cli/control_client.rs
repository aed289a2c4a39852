//! The control port's client: one request after the other over HTTP/1.1, by TCP, with TLS or without, or by a Unix socket.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use super::control_tls::connector;
use crate::config::UpstreamTls;

/// From the connect to the end of the answer.
const DEADLINE: Duration = Duration::from_secs(30);
/// Bytes of an answer; a page of channels with the longest names has ten megabytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A channel as the control port shows it.
#[derive(Debug, Deserialize)]
pub(super) struct Channel {
    pub(super) channel: String,
    pub(super) subscribers: u64,
    pub(super) messages: u64,
    pub(super) first: Option<String>,
    pub(super) last: Option<String>,
}

/// Some channels, and where the next ones begin.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) channels: Vec<Channel>,
    pub(super) next: Option<String>,
}

/// What is said of a published message.
#[derive(Debug, Deserialize)]
pub(super) struct Receipt {
    pub(super) id: String,
    pub(super) subscribers: u64,
}

/// A control port to ask.
pub(super) struct ControlClient {
    target: Target,
    /// As it was typed, for errors.
    url: String,
    token: Option<String>,
    /// Where the target has TLS.
    connector: Option<TlsConnector>,
    runtime: Runtime,
}

#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// Host and port, as `Host` says it and as it is connected to.
    Tcp(String),
    /// The same, and whom the certificate has to be for.
    Tls(String, ServerName<'static>),
    Unix(String),
}

impl ControlClient {
    /// `http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH`. Connects with each request.
    pub(super) fn new(url: &str, token: Option<&str>, tls: &UpstreamTls) -> anyhow::Result<ControlClient> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let target = target(url)?;
        let connector = match &target {
            Target::Tls(..) => Some(connector(tls)?),
            Target::Tcp(_) | Target::Unix(_) if *tls != UpstreamTls::default() => {
                bail!("--ca, --certificate and --key are for https://, not {url:?}")
            }
            Target::Tcp(_) | Target::Unix(_) => None,
        };
        Ok(ControlClient { target, url: url.to_owned(), token: token.map(str::to_owned), connector, runtime })
    }

    /// Publishes one message.
    pub(super) fn publish(
        &self,
        channel: &str,
        data: Vec<u8>,
        event: Option<&str>,
        id: Option<&str>,
    ) -> anyhow::Result<Receipt> {
        let mut request = Request::post(format!("/channels/{}", encoded(channel)));
        let headers = [("x-comet-event", event), ("x-comet-id", id)];
        for (name, value) in headers.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            request = request.header(name, value.as_bytes());
        }
        self.ask(request, data.into())
    }

    /// The channels that come after a name.
    pub(super) fn channels(&self, after: Option<&str>) -> anyhow::Result<Page> {
        let query = after.map(|name| format!("?after={}", encoded(name))).unwrap_or_default();
        self.ask(Request::get(format!("/channels{query}")), Bytes::new())
    }

    fn ask<T: DeserializeOwned>(
        &self,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> anyhow::Result<T> {
        let host = match &self.target {
            Target::Tcp(authority) | Target::Tls(authority, _) => authority.as_str(),
            Target::Unix(_) => "localhost",
        };
        let mut request = request.header(HOST, host);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body)).context("the request can't be written as HTTP")?;
        let asked = async { tokio::time::timeout(DEADLINE, self.exchange(request)).await };
        let (status, body) = match self.runtime.block_on(asked) {
            Ok(answer) => answer?,
            Err(_) => bail!("control port {} did not answer in {} s", self.url, DEADLINE.as_secs()),
        };
        read(&self.url, status, &body)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> anyhow::Result<(StatusCode, Bytes)> {
        let unreached = || format!("control port {} not reached", self.url);
        let broken = || format!("control port {} broke off", self.url);
        match &self.target {
            Target::Tcp(authority) => {
                let socket = TcpStream::connect(authority.as_str()).await.with_context(unreached)?;
                over(socket, request).await.with_context(broken)
            }
            Target::Tls(authority, name) => {
                let connector = self.connector.as_ref().context("TLS is set up where it is spoken")?;
                let socket = TcpStream::connect(authority.as_str()).await.with_context(unreached)?;
                let stream = connector.connect(name.clone(), socket).await.with_context(unreached)?;
                over(stream, request).await.with_context(broken)
            }
            Target::Unix(path) => {
                let socket = UnixStream::connect(path).await.with_context(unreached)?;
                over(socket, request).await.with_context(broken)
            }
        }
    }
}

async fn over(
    socket: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let exchange = async move {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(anyhow::Error::from_boxed)?;
        Ok((head.status, body.to_bytes()))
    };
    // The connection ends when the exchange drops its sender; what ends it earlier, the exchange says.
    let (_, answer) = tokio::join!(connection, exchange);
    answer
}

fn read<T: DeserializeOwned>(url: &str, status: StatusCode, body: &[u8]) -> anyhow::Result<T> {
    if status.is_success() {
        return serde_json::from_slice(body)
            .with_context(|| format!("control port {url} gave no answer of its kind"));
    }
    #[derive(Deserialize)]
    struct Refused {
        error: String,
    }
    match serde_json::from_slice::<Refused>(body) {
        Ok(Refused { error }) => bail!("control port {url} refused: {} {error}", status.as_str()),
        Err(_) => bail!("control port {url} answered {status}: is it a control port?"),
    }
}

fn target(url: &str) -> anyhow::Result<Target> {
    if let Some(path) = url.strip_prefix("unix:") {
        return Ok(Target::Unix(path.to_owned()));
    }
    let expected = || format!("--control is http://HOST:PORT, https://HOST:PORT or unix:PATH, not {url:?}");
    let uri: Uri = url.parse().with_context(expected)?;
    let (Some(scheme), Some(authority), "/") = (uri.scheme_str(), uri.authority(), uri.path()) else {
        bail!(expected());
    };
    let with_port = |port: u16| match authority.port_u16() {
        Some(_) => authority.as_str().to_owned(),
        None => format!("{authority}:{port}"),
    };
    match scheme {
        "http" => Ok(Target::Tcp(with_port(80))),
        "https" => {
            let name = authority.host().trim_matches(['[', ']']).to_owned();
            Ok(Target::Tls(with_port(443), ServerName::try_from(name).with_context(expected)?))
        }
        _ => bail!(expected()),
    }
}

/// As one segment of a path, or a value of a query (RFC 3986 §2.3).
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_port_is_named_by_url_or_path() {
        let tcp = |authority: &str| Some(Target::Tcp(authority.to_owned()));
        let tls = |authority: &str, name: &str| {
            Some(Target::Tls(authority.to_owned(), ServerName::try_from(name.to_owned()).unwrap()))
        };
        for (url, expected) in [
            ("http://127.0.0.1:7070", tcp("127.0.0.1:7070")),
            ("http://[::1]:7070/", tcp("[::1]:7070")),
            ("http://control.internal", tcp("control.internal:80")),
            ("unix:/run/control.sock", Some(Target::Unix("/run/control.sock".to_owned()))),
            ("127.0.0.1:7070", None),
            ("https://127.0.0.1:7070", tls("127.0.0.1:7070", "127.0.0.1")),
            ("https://[::1]:7070/", tls("[::1]:7070", "::1")),
            ("https://control.internal", tls("control.internal:443", "control.internal")),
            ("https://control.internal/publish", None),
            ("ftp://127.0.0.1:7070", None),
            ("http://127.0.0.1:7070/publish", None),
            ("", None),
        ] {
            assert_eq!(target(url).ok(), expected, "{url}");
        }
    }

    #[test]
    fn channel_names_are_one_segment() {
        assert_eq!(encoded("user-42/käse?"), "user-42%2Fk%C3%A4se%3F");
    }

    #[test]
    fn a_refusal_is_said_in_the_words_of_the_control_port() {
        let refused = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            read::<Receipt>("http://h", status, body.as_bytes()).unwrap_err().to_string()
        };
        assert_eq!(refused(401, r#"{"error":"no token"}"#), "control port http://h refused: 401 no token");
        assert!(refused(404, "<html>").ends_with("is it a control port?"));
        assert!(refused(200, "<html>").contains("no answer of its kind"));
    }
}
