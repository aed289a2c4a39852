//! Which requests are read and what the rest are refused with, byte for byte and however the bytes are cut.

use super::request_head::Framing;
use super::request_reader::{HeadLimits, Refusal, RequestReader};
use Expected::{Pass, Refuse};
use Input::{Chunked, Fields, Line, Raw};

const LIMITS: HeadLimits = HeadLimits { header_bytes: 4096, headers: 20, target_bytes: 1000 };

pub(super) enum Input {
    /// A whole request, or less.
    Raw(&'static [u8]),
    /// A request line in front of a good Host.
    Line(&'static [u8]),
    /// Fields behind those of a good request.
    Fields(&'static [u8]),
    /// A body behind a head that announces chunks.
    Chunked(&'static [u8]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Pass,
    Refuse(u16),
}

impl Input {
    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Raw(bytes) => bytes.to_vec(),
            Line(line) => [*line, b"\r\nHost: a\r\n\r\n"].concat(),
            Fields(fields) => [b"GET / HTTP/1.1\r\nHost: a\r\n", *fields, b"\r\n"].concat(),
            Chunked(body) => [CHUNKED_HEAD, *body].concat(),
        }
    }
}

const CHUNKED_HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

#[rustfmt::skip]
pub(super) const CASES: &[(Input, Expected)] = &[
    // Plain requests.
    (Line(b"GET / HTTP/1.1"), Pass),
    (Raw(b"GET / HTTP/1.0\r\n\r\n"), Pass),
    (Raw(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"), Pass),
    (Raw(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), Pass),
    (Raw(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"), Pass),
    (Raw(b"GET / HTTP/1.1\r\nHost: a\r\ncontent-length: 1\r\n\r\nx"), Pass),
    (Fields(b"Content-Length: 0\r\n"), Pass),
    (Fields(b"Content-Length:  0 \t\r\n"), Pass),
    (Fields(b"X:\r\nY: \r\nZ:z\r\n"), Pass),
    (Fields(b"X: \x80\xff\r\n"), Pass),
    (Fields(b"X_Y: z\r\n"), Pass),
    (Fields(b"Transfer_Encoding: chunked\r\nContent_Length: 9\r\n"), Pass),
    (Fields(b"Authorization: Basic eDp5\r\n"), Pass),
    (Fields(b"Cookie: a=1\r\nCookie: b=2\r\n"), Pass),
    // The request line.
    (Line(b"get / HTTP/1.1"), Pass),
    (Line(b"M-SEARCH / HTTP/1.1"), Pass),
    (Line(b"DELETE /a/../b//c%2f%00;x?y=%zz&z=[{}]|^` HTTP/1.1"), Pass),
    (Line(b"GET /{\"a\":1}|^ HTTP/1.1"), Pass),
    (Line("GET /ü?ü HTTP/1.1".as_bytes()), Pass),
    (Line(b"GET /\xff HTTP/1.1"), Refuse(400)),
    (Line(b"GET /?\xc3 HTTP/1.1"), Refuse(400)),
    (Line(b"GET //evil HTTP/1.1"), Pass),
    (Line(b"GET  / HTTP/1.1"), Refuse(400)),
    (Line(b"GET /  HTTP/1.1"), Refuse(400)),
    (Line(b"GET / x HTTP/1.1"), Refuse(400)),
    (Line(b"GET\t/ HTTP/1.1"), Refuse(400)),
    (Line(b"GET /\tHTTP/1.1"), Refuse(400)),
    (Line(b"GET / HTTP/1.1 "), Refuse(400)),
    (Line(b"GET / HTTP/1.1\t"), Refuse(400)),
    (Line(b" GET / HTTP/1.1"), Refuse(400)),
    (Line(b"GET / HTTP/1.10"), Refuse(400)),
    (Line(b"GET / HTTP/1.2"), Refuse(400)),
    (Line(b"GET / HTTP/01.1"), Refuse(400)),
    (Line(b"GET / http/1.1"), Refuse(400)),
    (Line(b"GET / HTTP/1,1"), Refuse(400)),
    (Line(b"GET / HTTP/"), Refuse(400)),
    (Line(b"GET / HTTP/2"), Refuse(400)),
    (Line(b"GET / HTTP/2.0"), Refuse(505)),
    (Line(b"GET / HTTP/9.9"), Refuse(505)),
    (Line(b"GET / HTTP/0.9"), Refuse(505)),
    (Line(b"GET /"), Refuse(400)),
    (Line(b"GET "), Refuse(400)),
    (Line(b"GET"), Refuse(400)),
    (Line(b"GET  HTTP/1.1"), Refuse(400)),
    (Raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Refuse(400)),
    (Line(b"G(T / HTTP/1.1"), Refuse(400)),
    (Line(b"G\0T / HTTP/1.1"), Refuse(400)),
    (Line(b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1"), Pass),
    (Line(b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1"), Refuse(501)),
    (Line(b"CONNECT a:443 HTTP/1.1"), Refuse(405)),
    (Line(b"CONNECT / HTTP/1.1"), Refuse(405)),
    (Line(b"connect a:443 HTTP/1.1"), Refuse(400)),
    (Line(b"TRACE / HTTP/1.1"), Refuse(405)),
    (Line(b"TRACK / HTTP/1.1"), Refuse(405)),
    (Line(b"OPTIONS * HTTP/1.1"), Pass),
    (Line(b"GET * HTTP/1.1"), Refuse(400)),
    (Line(b"OPTIONS ** HTTP/1.1"), Refuse(400)),
    (Line(b"GET foo HTTP/1.1"), Refuse(400)),
    (Line(b"GET a:80 HTTP/1.1"), Refuse(400)),
    (Line(b"GET ?x HTTP/1.1"), Refuse(400)),
    (Line(b"GET \\x HTTP/1.1"), Refuse(400)),
    (Line(b"GET /a#b HTTP/1.1"), Refuse(400)),
    (Line(b"GET /a?b#c HTTP/1.1"), Refuse(400)),
    (Line(b"GET /a\0 HTTP/1.1"), Refuse(400)),
    (Line(b"GET /a\x7f HTTP/1.1"), Refuse(400)),
    (Line(b"GET /a\x01b HTTP/1.1"), Refuse(400)),
    (Line(b"GET /<x> HTTP/1.1"), Refuse(400)),
    (Line(b"GET /` HTTP/1.1"), Refuse(400)),
    (Line(b"GET /?\" HTTP/1.1"), Refuse(400)),
    (Line(b"GET http://a/x HTTP/1.1"), Pass),
    (Line(b"GET HTTP://A HTTP/1.1"), Pass),
    (Line(b"GET https://a?x=/y HTTP/1.1"), Pass),
    (Line(b"GET http://evil/x HTTP/1.1"), Refuse(400)),
    (Line(b"GET http://a:80/x HTTP/1.1"), Refuse(400)),
    (Line(b"GET http://u@a/ HTTP/1.1"), Refuse(400)),
    (Line(b"GET http:///x HTTP/1.1"), Refuse(400)),
    (Line(b"GET http://a\\b/ HTTP/1.1"), Refuse(400)),
    (Line(b"GET http:/a HTTP/1.1"), Refuse(400)),
    (Line(b"GET foo://a/ HTTP/1.1"), Refuse(400)),
    (Line(b"GET http://a/#b HTTP/1.1"), Refuse(400)),
    (Raw(b"GET http://a/ HTTP/1.1\r\n\r\n"), Refuse(400)),
    // Not HTTP at all, refused before a line ends.
    (Raw(b"\x16\x03\x01\x02\x00\x01"), Refuse(400)),
    (Raw(b"\0"), Refuse(400)),
    (Raw(b"\n"), Refuse(400)),
    (Raw(b"\r\r"), Refuse(400)),
    (Raw(b"\rX"), Refuse(400)),
    (Raw(b"\r\n\r\n"), Refuse(400)),
    (Raw(b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), Refuse(400)),
    (Raw(b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), Refuse(400)),
    (Raw(b"SSH-2.0-OpenSSH_9.2p1\r\n"), Refuse(400)),
    (Raw(b"EHLO example.com\r\n"), Refuse(400)),
    (Raw(b"{\"json\": 1}"), Refuse(400)),
    // Line ends.
    (Raw(b"GET / HTTP/1.1\nHost: a\n\n"), Refuse(400)),
    (Raw(b"GET / HTTP/1.1\r\nHost: a\n\r\n"), Refuse(400)),
    (Raw(b"GET / HTTP/1.1\r\nHost: a\r\n\n"), Refuse(400)),
    (Fields(b"X: y\nTransfer-Encoding: chunked\r\n"), Refuse(400)),
    (Fields(b"X: y\rTransfer-Encoding: chunked\r\n"), Refuse(400)),
    (Fields(b"X: a\r\r\n"), Refuse(400)),
    (Fields(b"X: a\r\n\rX: b\r\n"), Refuse(400)),
    (Fields(b"X: a\rX\r\n"), Refuse(400)),
    (Line(b"GET / HTTP/1.1\r"), Refuse(400)),
    // Fields.
    (Fields(b"X: y\r\n Transfer-Encoding: chunked\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding:\r\n chunked\r\n"), Refuse(400)),
    (Fields(b"X\r\n Y: 1\r\n"), Refuse(400)),
    (Raw(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"), Refuse(400)),
    (Raw(b"GET / HTTP/1.1\r\n\tHost: a\r\n\r\n"), Refuse(400)),
    (Fields(b": x\r\n"), Refuse(400)),
    (Fields(b"X\r\n"), Refuse(400)),
    (Fields(b"X : y\r\n"), Refuse(400)),
    (Fields(b"X\t: y\r\n"), Refuse(400)),
    (Fields(b"X Y: z\r\n"), Refuse(400)),
    (Fields(b"X(: z\r\n"), Refuse(400)),
    (Fields(b"\"X\": z\r\n"), Refuse(400)),
    (Fields(b"X\0: z\r\n"), Refuse(400)),
    (Fields(b"X\x80: z\r\n"), Refuse(400)),
    (Fields(b"X: \0\r\n"), Refuse(400)),
    (Fields(b"X: \x7f\r\n"), Refuse(400)),
    (Fields(b"X: a\x0bb\r\n"), Refuse(400)),
    (Fields(b"Authorization: a\r\nAuthorization: a\r\n"), Refuse(400)),
    // Content-Length.
    (Fields(b"Content-Length: 0\r\nContent-Length: 0\r\n"), Refuse(400)),
    (Fields(b"Content-Length: 6\r\nContent-Length: 5\r\n"), Refuse(400)),
    (Fields(b"Content-Length:\r\nContent-Length: 5\r\n"), Refuse(400)),
    (Fields(b"Content-Length: 5, 5\r\n"), Refuse(400)),
    (Fields(b"Content-Length: +5\r\n"), Refuse(400)),
    (Fields(b"Content-Length: -5\r\n"), Refuse(400)),
    (Fields(b"Content-Length: 5 5\r\n"), Refuse(400)),
    (Fields(b"Content-Length: 5;\r\n"), Refuse(400)),
    (Fields(b"Content-Length: 0x5\r\n"), Refuse(400)),
    (Fields(b"Content-Length: 5.0\r\n"), Refuse(400)),
    (Fields(b"Content-Length: 5_0\r\n"), Refuse(400)),
    (Fields(b"Content-Length:\r\n"), Refuse(400)),
    (Fields(b"Content-Length: \xd9\xa5\r\n"), Refuse(400)),
    (Fields(b"Content-Length: 005\r\n"), Refuse(400)),
    (Fields(b"Content-Length: 00\r\n"), Refuse(400)),
    (Fields(b"Content-Length: 5\0\r\n"), Refuse(400)),
    (Fields(b"Content-Length: 18446744073709551616\r\n"), Refuse(400)),
    (Fields(b"Content-Length: 99999999999999999999999999999999999999999999999999\r\n"), Refuse(400)),
    // Transfer-Encoding.
    (Chunked(b"0\r\n\r\n"), Pass),
    (Raw(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunKed \r\n\r\n0\r\n\r\n"), Pass),
    (Fields(b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding: chunked\r\nContent-Length: zz\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding: chunked, chunked\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding: , chunked\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding: chunked,\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding: identity, chunked\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding: identity\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding: chunked, gzip\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding: gzip, chunked\r\n"), Refuse(501)),
    (Fields(b"Transfer-Encoding: deflate\r\n"), Refuse(501)),
    (Fields(b"Transfer-Encoding: xchunked\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding: \"chunked\"\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding: chunked;q=1\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding: \x0bchunked\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding: \x0cchunked\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding: \xa0chunked\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding: chunked\0\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding:\r\n"), Refuse(400)),
    (Fields(b"Transfer-Encoding : chunked\r\n"), Refuse(400)),
    (Raw(b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), Refuse(400)),
    // Host.
    (Raw(b"GET / HTTP/1.1\r\n\r\n"), Refuse(400)),
    (Raw(b"GET / HTTP/1.1\r\nX: y\r\n\r\n"), Refuse(400)),
    (Fields(b"Host: a\r\n"), Refuse(400)),
    (Fields(b"hOST: b\r\n"), Refuse(400)),
    (Raw(b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"), Refuse(400)),
    (Raw(b"GET / HTTP/1.1\r\nHost:\r\n\r\n"), Refuse(400)),
    (Raw(b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), Refuse(400)),
    (Raw(b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"), Refuse(400)),
    (Raw(b"GET / HTTP/1.1\r\nHost: a/b?x\r\n\r\n"), Refuse(400)),
    (Raw(b"GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n"), Refuse(400)),
    (Raw(b"GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n"), Refuse(400)),
    (Raw(b"GET / HTTP/1.1\r\nHost: a\xa0\r\n\r\n"), Refuse(400)),
    (Raw(b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), Refuse(400)),
    (Raw(b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"), Pass),
    (Raw(b"GET / HTTP/1.1\r\nhost:example.com:80\t\r\n\r\n"), Pass),
    // Connection, Expect, Upgrade.
    (Fields(b"Connection: close, Keep-Alive, X-Forwarded-For, Cookie\r\n"), Pass),
    (Fields(b"Connection: host\r\n"), Refuse(400)),
    (Fields(b"Connection: close,\tHost \r\n"), Refuse(400)),
    (Fields(b"Connection: close\r\nConnection: Content-Length\r\n"), Refuse(400)),
    (Fields(b"Connection: transfer-encoding\r\n"), Refuse(400)),
    (Fields(b"Expect: 100-Continue\r\n"), Pass),
    (Raw(b"GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"), Pass),
    (Fields(b"Expect: 200-maybe\r\n"), Refuse(417)),
    (Fields(b"Expect: 100-continue, x\r\n"), Refuse(417)),
    (Fields(b"Expect: y 100-continue\r\n"), Refuse(417)),
    (Fields(b"Expect:\r\n"), Refuse(417)),
    (Fields(b"Expect: 100-continue\r\nExpect: 100-continue\r\n"), Refuse(417)),
    (Fields(b"Expect:\n 100-continue\r\n"), Refuse(400)),
    (Fields(b"Upgrade: websocket\r\nConnection: Upgrade\r\n"), Pass),
    (Fields(b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n"), Pass),
    // Chunks.
    (Chunked(b"5\r\nhello\r\n0\r\n\r\n"), Pass),
    (Chunked(b"a\r\n0123456789\r\nA\r\n0123456789\r\n000\r\n\r\n"), Pass),
    (Chunked(b"0000000000000002\r\nhi\r\n0\r\n\r\n"), Pass),
    (Chunked(b"2;a=b;c=\"d e\"\r\nhi\r\n0;x\r\n\r\n"), Pass),
    (Chunked(b"2;a=\"\r\nhi\r\n0\r\n\r\n"), Pass),
    (Chunked(b"0\r\nX: y\r\nDigest:\r\n\r\n"), Pass),
    (Chunked(b"0x2\r\nhi\r\n"), Refuse(400)),
    (Chunked(b"+2\r\nhi\r\n"), Refuse(400)),
    (Chunked(b"-1\r\n"), Refuse(400)),
    (Chunked(b" 2\r\nhi\r\n"), Refuse(400)),
    (Chunked(b"2_0\r\n"), Refuse(400)),
    (Chunked(b"\r\n"), Refuse(400)),
    (Chunked(b";a\r\n"), Refuse(400)),
    (Chunked(b"G\r\n"), Refuse(400)),
    (Chunked(b"2 \r\nhi\r\n"), Refuse(400)),
    (Chunked(b"2\t;x\r\nhi\r\n"), Refuse(400)),
    (Chunked(b"00000000000000002\r\nhi\r\n"), Refuse(400)),
    (Chunked(b"10000000000000000\r\n"), Refuse(400)),
    (Chunked(b"2;\nxx\r\n4f\r\n"), Refuse(400)),
    (Chunked(b"2;a\rb\r\nhi\r\n"), Refuse(400)),
    (Chunked(b"2;\0\r\nhi\r\n"), Refuse(400)),
    (Chunked(b"2\nhi\r\n0\r\n\r\n"), Refuse(400)),
    (Chunked(b"2\rXhi\r\n"), Refuse(400)),
    (Chunked(b"2\r;a\r\nhi\r\n"), Refuse(400)),
    (Chunked(b"2\r\nhiXX0\r\n\r\n"), Refuse(400)),
    (Chunked(b"2\r\nhi\n0\r\n\r\n"), Refuse(400)),
    (Chunked(b"2\r\nhi\r\n\r\n0\r\n\r\n"), Refuse(400)),
    (Chunked(b"2\r\nhi\r0\r\n\r\n"), Refuse(400)),
    (Chunked(b"0\r\nXX\r\n"), Refuse(400)),
    (Chunked(b"0\r\nX: y\n\r\n"), Refuse(400)),
    (Chunked(b"0\r\nX: y\rZ"), Refuse(400)),
    (Chunked(b"0\r\nX: \0\r\n\r\n"), Refuse(400)),
    (Chunked(b"0\r\nX: y\r\n z\r\n\r\n"), Refuse(400)),
    (Chunked(b"0\r\n: y\r\n\r\n"), Refuse(400)),
    (Chunked(b"0\r\nX : y\r\n\r\n"), Refuse(400)),
    (Chunked(b"0\r\n\rX"), Refuse(400)),
    (Chunked(b"0\n\n"), Refuse(400)),
    (Chunked(b"0\r\n\n"), Refuse(400)),
];

/// A client whose requests are answered as soon as they are whole.
pub(super) struct Connection {
    pub(super) reader: RequestReader,
    /// Bytes that were read of the client.
    pub(super) written: usize,
    /// The bodies of whole requests.
    pub(super) bodies: Vec<Vec<u8>>,
    /// Where in what was written each request ended.
    pub(super) ends: Vec<usize>,
    /// The body of the request in work.
    body: Option<Vec<u8>>,
    pub(super) refused: Option<Refusal>,
    answers: bool,
}

impl Connection {
    fn new(limits: HeadLimits) -> Self {
        Self::of(RequestReader::new(limits, Vec::new()))
    }

    fn of(reader: RequestReader) -> Self {
        let (bodies, ends) = (Vec::new(), Vec::new());
        Connection { reader, written: 0, bodies, ends, body: None, refused: None, answers: true }
    }

    /// As a server does that reads at most `room` bytes at once.
    fn write(&mut self, piece: &[u8], room: usize) {
        for piece in piece.chunks(room) {
            self.written += piece.len();
            match self.reader.is_between() {
                true => self.reader.write_ahead(piece),
                false => self.read(piece),
            }
            self.go_on();
        }
    }

    /// With what was kept, as long as that leads any further.
    fn go_on(&mut self) {
        loop {
            let before = (self.reader.ahead().len(), self.body.is_some());
            if self.reader.is_between() {
                self.end();
            }
            if !self.reader.ahead().is_empty() && !self.reader.is_between() {
                self.read(&[]);
            }
            if self.refused.is_some() || before == (self.reader.ahead().len(), self.body.is_some()) {
                break;
            }
        }
    }

    fn read(&mut self, fresh: &[u8]) {
        if self.refused.is_some() {
            return;
        }
        if let Some(body) = &mut self.body {
            match self.reader.take_body(fresh) {
                Ok(data) => body.extend_from_slice(&data),
                Err(reason) => self.refused = Some(Refusal::bad(reason)),
            }
            return;
        }
        match self.reader.next_head(fresh) {
            Ok(Some(head)) => {
                assert_eq!(self.reader.is_between(), head.framing == Framing::Length(0));
                self.body = Some(Vec::new());
            }
            Ok(None) => {}
            Err(refusal) => self.refused = Some(refusal),
        }
    }

    fn end(&mut self) {
        if let Some(body) = self.body.take() {
            self.bodies.push(body);
            self.ends.push(self.written - self.reader.ahead().len());
        }
        if self.answers {
            self.reader.release_next();
        }
    }

    pub(super) fn status(&self) -> Option<u16> {
        self.refused.map(|refusal| refusal.status)
    }
}

/// Cuts bytes into pieces whose lengths come from `lengths` in turn.
fn cut<'a>(mut bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at((*length).clamp(1, bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

pub(super) fn outcome(bytes: &[u8], lengths: &[usize], room: usize) -> Connection {
    let mut connection = Connection::new(LIMITS);
    for piece in cut(bytes, lengths) {
        connection.write(piece, room);
    }
    connection
}

#[test]
fn every_case_has_its_answer_however_it_is_cut() {
    for (input, expected) in CASES {
        let bytes = input.bytes();
        let shown = bytes.escape_ascii().to_string();
        for (lengths, room) in [
            (&[usize::MAX][..], usize::MAX),
            (&[1], 1),
            (&[2], 3),
            (&[3, 1, 7, 2, 31], 8),
            (&[17, 5, 1, 1, 40], 1024),
            (&[bytes.len() - 1, 1], 2),
        ] {
            let connection = outcome(&bytes, lengths, room);
            match expected {
                Pass => {
                    assert!(connection.reader.is_idle(), "{shown} cut by {lengths:?}");
                    assert_eq!(connection.ends, [bytes.len()], "{shown} cut by {lengths:?}");
                }
                Refuse(status) => {
                    assert_eq!(connection.status(), Some(*status), "{shown} cut by {lengths:?}");
                    assert_eq!(connection.ends, [0; 0], "{shown} cut by {lengths:?}");
                    let in_body = matches!(input, Chunked(_));
                    assert_eq!(connection.body.is_some(), in_body, "{shown} cut by {lengths:?}");
                }
            }
        }
    }
}

#[test]
fn limits_are_met_exactly() {
    let target =
        |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(bytes - 1)).into_bytes();
    let field = |bytes: usize| {
        let frame = b"GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(bytes - frame)).into_bytes()
    };
    let fields = |count: usize| {
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1)).into_bytes()
    };
    let name =
        |bytes: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}: y\r\n\r\n", "x".repeat(bytes)).into_bytes();
    let trailers =
        |count: usize| [CHUNKED_HEAD, b"0\r\n", "X: y\r\n".repeat(count).as_bytes(), b"\r\n"].concat();
    // What a trailer counts: all but the last line feed of "X: \r\n".
    let trailer =
        |bytes: usize| [CHUNKED_HEAD, b"0\r\nX: ", "y".repeat(bytes - 5).as_bytes(), b"\r\n\r\n"].concat();
    let extension = |bytes: usize| [CHUNKED_HEAD, b"0;", "y".repeat(bytes).as_bytes(), b"\r\n\r\n"].concat();
    for (good, bad, status) in [
        (target(1000), target(1001), 414),
        (field(4096), field(4097), 431),
        (fields(20), fields(21), 431),
        (name(1024), name(1025), 431),
        (trailers(100), trailers(101), 400),
        (trailer(16 * 1024 - 2), trailer(16 * 1024 - 1), 400),
        (extension(16 * 1024 - 2), extension(16 * 1024 - 1), 400),
    ] {
        for lengths in [&[usize::MAX][..], &[1], &[333, 1, 20]] {
            let connection = outcome(&good, lengths, 8192);
            assert_eq!((connection.status(), &connection.ends[..]), (None, &[good.len()][..]), "{lengths:?}");
            assert_eq!(outcome(&bad, lengths, 8192).status(), Some(status), "{lengths:?}");
        }
    }
}

#[test]
fn endless_beginnings_are_refused_at_the_bound() {
    for (start, filler, status) in [
        (&b"GET /"[..], b'x', 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", b'x', 431),
        (b"GET / HTTP/1.1\r\nX: ", b'y', 431),
        (b"", b'G', 501),
        (b"", b'\r', 400),
    ] {
        let mut connection = Connection::new(LIMITS);
        connection.write(start, usize::MAX);
        let mut written = start.len();
        while connection.status().is_none() {
            connection.write(&[filler], 1);
            written += 1;
        }
        assert_eq!(connection.status(), Some(status));
        assert!(written <= LIMITS.header_bytes, "{written}");
    }
}

#[test]
fn it_is_known_whether_anything_of_a_head_is_there() {
    let mut connection = Connection::new(LIMITS);
    for (piece, is_idle) in [
        (&b"\r"[..], true),
        (b"\n", true),
        (b"P", false),
        (b"OST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r", false),
        (b"\n", false),
        (b"h", false),
        (b"i", true),
        (CHUNKED_HEAD, false),
        (b"0\r\n\r", false),
        (b"\n", true),
    ] {
        connection.write(piece, usize::MAX);
        assert_eq!(connection.reader.is_idle(), is_idle, "after {}", piece.escape_ascii());
    }
}

#[test]
fn a_refused_second_request_waits_until_the_first_is_answered() {
    let first = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    let mut connection = Connection::new(LIMITS);
    connection.answers = false;
    connection.write(&[first, &b"GET / HTTP/1.1\r\n\r\n"[..]].concat(), usize::MAX);
    assert_eq!((connection.status(), &connection.ends[..]), (None, &[first.len()][..]));
    connection.answers = true;
    connection.go_on();
    assert_eq!(connection.status(), Some(400));
    assert!(connection.reader.ahead().starts_with(b"GET / HTTP/1.1\r\n"));
}

#[test]
fn a_connection_that_was_taken_over_goes_on_with_what_was_read_ahead() {
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut connection = Connection::new(LIMITS);
    connection.answers = false;
    connection.write(&[get, &get[..9]].concat(), usize::MAX);
    let read_ahead = connection.reader.into_ahead();
    assert_eq!(read_ahead, get[..9]);
    let mut connection = Connection::of(RequestReader::new(LIMITS, read_ahead.into()));
    connection.write(&get[9..], usize::MAX);
    assert_eq!((connection.bodies.len(), connection.reader.is_idle()), (1, true));
}

#[test]
fn a_client_that_writes_ahead_is_bounded_and_loses_nothing() {
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut connection = Connection::new(LIMITS);
    connection.answers = false;
    while connection.reader.has_room() {
        connection.write(get, usize::MAX);
    }
    let written = connection.written;
    assert!(written <= LIMITS.header_bytes + 2 * get.len(), "{written}");
    connection.answers = true;
    connection.go_on();
    assert_eq!(connection.bodies.len(), written / get.len());
    assert!(connection.reader.is_idle());
}

#[test]
fn a_head_says_what_stands_in_it() {
    let text =
        b"\r\nPUT http://a.b:1/c?d HTTP/1.0\r\nHost:\ta.b:1 \r\nX-Y: \r\nConnection: X, Keep-Alive\r\n\
        x-y:  z z\t\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabcGE";
    let mut reader = RequestReader::new(LIMITS, Vec::new());
    let head = reader.next_head(text).unwrap().unwrap();
    assert_eq!(head.parts.method, "PUT");
    assert_eq!(head.parts.uri, "http://a.b:1/c?d");
    assert_eq!(head.parts.version, hyper::Version::HTTP_10);
    assert_eq!(head.parts.headers["host"], "a.b:1");
    assert_eq!(head.parts.headers.get_all("x-y").iter().collect::<Vec<_>>(), ["", "z z"]);
    assert_eq!(head.framing, Framing::Length(3));
    assert!(head.keep_alive && !head.expects_continue);
    assert_eq!((&reader.take_body(b"T").unwrap()[..], reader.ahead()), (&b"abc"[..], &b"GET"[..]));
    for (version, connection, keep_alive) in [
        ("1.1", "x", true),
        ("1.1", "x, Close", false),
        ("1.0", "x", false),
        ("1.0", "keep-alive, close", false),
    ] {
        let text = format!(
            "GET / HTTP/{version}\r\nHost: a\r\nConnection: {connection}\r\nExpect: 100-Continue\r\n\r\n"
        );
        let head = RequestReader::new(LIMITS, Vec::new()).next_head(text.as_bytes()).unwrap().unwrap();
        assert_eq!((head.keep_alive, head.expects_continue), (keep_alive, version == "1.1"), "{text}");
    }
}

#[test]
fn a_dripped_head_costs_no_more_than_its_length_in_searches() {
    // A head of a megabyte in single bytes: seconds if each byte searched the whole again.
    let limits = HeadLimits { header_bytes: 1 << 20, ..LIMITS };
    let mut connection = Connection::new(limits);
    connection.write(b"GET / HTTP/1.1\r\nHost: a\r\nX: ", 1);
    while connection.status().is_none() {
        connection.write(b"y", 1);
    }
    assert_eq!(connection.status(), Some(431));
}

#[test]
fn what_passes_as_a_target_is_one_for_the_uri_type_behind() {
    for byte in 0..=255_u8 {
        for (before, after) in
            [(&b"/a"[..], &b"b"[..]), (b"/?a", b"b"), (b"http://a/", b""), (b"http://a?", b"")]
        {
            let target = [before, &[byte], after].concat();
            let head = [b"GET ", &target[..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            let passes = outcome(&head, &[usize::MAX], usize::MAX).status().is_none();
            let fits = byte > b' ' && byte != b'#' && hyper::Uri::try_from(&target[..]).is_ok();
            assert_eq!(passes, fits, "{}", target.escape_ascii());
        }
    }
}
