//! What crosses to the application of a good request, and what doesn't (catalogue B, items 44 to 48, 50 and 131; E, 82).

use super::Sent::{Get, Post, Raw};
use super::{BAD, Case, last, no, yes};

const GET: &[&[u8]] = &[b"GET / HTTP/1.1\nhost: a\n\n"];

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    // Nominated by Connection: fields of the connection go, what is protected stays.
    last(44, Get(b"Connection: close, Host2\r\nHost2: b\r\nX: y\r\n"), &[b"GET / HTTP/1.1\nhost: a\nx: y\n\n"]),
    yes(44, Get(b"Connection: X-Mine\r\nX-Mine: 1\r\n"), GET),
    yes(44, Get(b"Connection: x-mine,, ,x-yours\r\nX-Mine: 1\r\nX-Yours: 2\r\n"), GET),
    yes(44, Get(b"Connection: keep-alive\r\nConnection: X-Mine\r\nX-Mine: 1\r\n"), GET),
    yes(44, Get(b"Connection: Cookie, Authorization\r\nCookie: a=b\r\nAuthorization: c\r\n"), &[b"GET / HTTP/1.1\nhost: a\ncookie: a=b\nauthorization: c\n\n"]),
    yes(44, Get(b"Connection: X-Forwarded-For, X-Forwarded-Proto, X-Comet-Proxy, X-Request-Id\r\n"), GET),
    no(44, Get(b"Connection: Host\r\n"), BAD),
    no(44, Get(b"Connection: close,\tHOST \r\n"), BAD),
    no(44, Post(b"Connection: close\r\nConnection: Content-Length\r\nContent-Length: 2\r\n\r\nhi"), BAD),
    no(44, Post(b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), BAD),
    // Fields of the connection, whether nominated or not.
    yes(45, Get(b"Keep-Alive: timeout=5\r\n"), GET),
    yes(45, Get(b"Proxy-Connection: keep-alive\r\n"), GET),
    yes(45, Get(b"Proxy-Authorization: Basic eDp5\r\n"), GET),
    yes(45, Get(b"Proxy-Authenticate: Basic\r\n"), GET),
    yes(45, Get(b"TE: gzip, trailers;q=0.5\r\n"), GET),
    yes(45, Get(b"Trailer: X\r\n"), GET),
    yes(45, Get(b"Upgrade: foo\r\n"), GET),
    yes(45, Get(b"HTTP2-Settings: AAMAAABk\r\n"), GET),
    last(45, Get(b"Connection: close\r\n"), GET),
    last(45, Get(b"Connection: foo, CLOSE\r\n"), GET),
    last(45, Raw(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"), GET),
    yes(45, Raw(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n"), GET),
    last(45, Raw(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n"), GET),
    // What a client claims of itself and of proxies before us.
    yes(46, Get(b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n"), GET),
    yes(46, Get(b"X-Forwarded-Port: 1\r\nX-Forwarded-Server: x\r\nX-Forwarded-Prefix: /x\r\nX-Forwarded-Ssl: on\r\n"), GET),
    yes(46, Get(b"Forwarded: for=203.0.113.9;host=evil\r\nX-Real-IP: 203.0.113.9\r\n"), GET),
    yes(46, Get(b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 203.0.113.10\r\nX_Forwarded_For: 1\r\n"), GET),
    yes(46, Get(b"X-Request-Id: mine\r\nX-Request-Start: t=1\r\n"), GET),
    // Expectations.
    yes(47, Post(b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"), &[b"POST / HTTP/1.1\nhost: a\ncontent-length: 2\n\nhi"]),
    yes(47, Post(b"Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"), &[b"POST / HTTP/1.1\nhost: a\ncontent-length: 2\n\nhi"]),
    yes(47, Get(b"Expect: 100-continue\r\n"), GET),
    last(47, Raw(b"POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"), &[b"POST / HTTP/1.1\nhost: a\ncontent-length: 2\n\nhi"]),
    no(47, Raw(b"GET / HTTP/1.0\r\nHost: a\r\nExpect: 200-maybe\r\n\r\n"), &[417]),
    no(47, Get(b"Expect: 200-maybe\r\n"), &[417]),
    no(47, Get(b"Expect: 100-continue, x\r\n"), &[417]),
    no(47, Get(b"Expect: y 100-continue\r\n"), &[417]),
    no(47, Get(b"Expect: 100-continue;q=1\r\n"), &[417]),
    no(47, Get(b"Expect:\r\n"), &[417]),
    no(47, Get(b"Expect: 100-continue\r\nExpect: 100-continue\r\n"), &[417]),
    no(47, Get(b"Expect:\n 100-continue\r\n"), BAD),
    no(47, Get(b"Expect:\r\n 100-continue\r\n"), &[417]),
    // Protocols that aren't switched to.
    yes(48, Get(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"), GET),
    yes(48, Get(b"Connection: Upgrade\r\nUpgrade: h2\r\n"), GET),
    yes(49, Get(b"Connection: Upgrade\r\nUpgrade: foo\r\n"), GET),
    yes(49, Get(b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n"), GET),
    yes(50, Get(b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"), &[b"GET / HTTP/1.1\nhost: a\nsec-websocket-version: 13\n\n"]),
    yes(50, Raw(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi"), &[b"POST / HTTP/1.1\nhost: a\ncontent-length: 2\n\nhi"]),
    yes(50, Raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi"), &[b"GET / HTTP/1.1\nhost: a\ncontent-length: 2\n\nhi"]),
    last(50, Raw(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), GET),
    // The proxy's own words in a client's mouth, however they are spelled.
    yes(82, Get(b"X-Comet-Subscribe: news\r\nx-comet-transport: sse\r\nX-COMET-POSITION: 1-1\r\n"), GET),
    yes(82, Get(b"X-Comet-Anything: 1\r\nX-Comet-Proxy: fake/9\r\n"), GET),
    yes(82, Get(b"X_Comet_Subscribe: news\r\nX-Comet_Subscribe: news\r\n"), GET),
    yes(82, Get(b"X-Reproxy-URL: http://127.0.0.1/\r\nX-REPROXY-FILE: /etc/passwd\r\nX-Reproxy-Service: b\r\n"), GET),
    yes(82, Get(b"X-Accel-Redirect: /internal\r\nX-Accel-Buffering: no\r\n"), GET),
    yes(82, Get(b"X-Sendfile: /etc/passwd\r\nX-SendFile-Type: X-Accel-Redirect\r\n"), GET),
    yes(82, Get(b"Grip-Hold: stream\r\nGrip-Channel: news\r\nGrip-Sig: x\r\nGrip-Feature: y\r\n"), GET),
    yes(82, Get(b"Comet-Ticket: forged\r\nCookie: comet-ticket=forged\r\n"), GET),
    yes(82, Get(b"Cookie: a=1; comet-ticket=forged; b=2\r\n"), &[b"GET / HTTP/1.1\nhost: a\ncookie: a=1; b=2\n\n"]),
];
