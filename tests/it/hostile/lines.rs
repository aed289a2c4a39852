//! Request lines, and what isn't HTTP at all (catalogue A, items 29 and 30; B, 31 to 33; H, 124).

use super::Sent::{Get, Line, Raw};
use super::{BAD, Case, no, yes};

const GET: &[&[u8]] = &[b"GET / HTTP/1.1\nhost: a\n\n"];

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    // Empty lines before it.
    yes(29, Raw(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), GET),
    no(29, Raw(b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), BAD),
    no(29, Raw(b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), BAD),
    no(29, Raw(b"\r\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"), BAD),
    no(29, Raw(b" GET / HTTP/1.1\r\nHost: a\r\n\r\n"), BAD),
    // Other protocols.
    no(30, Raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), BAD),
    no(30, Raw(b"\0GET / HTTP/1.1\r\nHost: a\r\n\r\n"), BAD),
    no(30, Raw(b"SSH-2.0-OpenSSH_9.9\r\n"), BAD),
    no(30, Raw(b"EHLO example.com\r\n"), BAD),
    no(30, Raw(b"{\"json\": 1}"), BAD),
    no(30, Raw(b"\x80\x2e\x01\x03\x01\x00\x15"), BAD),
    no(30, Raw(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), BAD),
    no(30, Raw(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x01\0\x02"), BAD),
    // Blanks.
    no(31, Line(b"GET  / HTTP/1.1"), BAD),
    no(31, Line(b"GET /  HTTP/1.1"), BAD),
    no(31, Line(b"GET  /  HTTP/1.1"), BAD),
    no(31, Line(b"GET / x HTTP/1.1"), BAD),
    no(31, Line(b"GET\t/ HTTP/1.1"), BAD),
    no(31, Line(b"GET /\tHTTP/1.1"), BAD),
    no(31, Line(b"GET\x0b/ HTTP/1.1"), BAD),
    no(31, Line(b"GET / HTTP/1.1 "), BAD),
    no(31, Line(b"GET / HTTP/1.1\t"), BAD),
    // Versions.
    no(31, Line(b"GET / HTTP/1.10"), BAD),
    no(31, Line(b"GET / HTTP/01.1"), BAD),
    no(31, Line(b"GET / http/1.1"), BAD),
    no(31, Line(b"GET / Http/1.1"), BAD),
    no(31, Line(b"GET / HTTP/1.2"), BAD),
    no(31, Line(b"GET / HTTP/1,1"), BAD),
    no(31, Line(b"GET / HTTP/1"), BAD),
    no(31, Line(b"GET / HTTP/"), BAD),
    no(31, Line(b"GET / HTTPS/1.1"), BAD),
    no(31, Line(b"GET / ICY/1.1"), BAD),
    no(31, Line(b"GET / HTTP/2.0"), &[505]),
    no(31, Line(b"GET / HTTP/3.0"), &[505]),
    no(31, Line(b"GET / HTTP/9.9"), &[505]),
    no(31, Line(b"GET / HTTP/0.9"), &[505]),
    no(31, Line(b"GET / HTTP/0.1"), &[505]),
    // HTTP/0.9, and HTTP/2 where it isn't spoken.
    no(32, Raw(b"GET /\r\n"), BAD),
    no(32, Line(b"GET /"), BAD),
    no(32, Line(b"GET"), BAD),
    no(32, Line(b"GET "), BAD),
    no(32, Line(b"GET  HTTP/1.1"), BAD),
    no(32, Raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), BAD),
    // Methods.
    no(33, Line(b"G(T / HTTP/1.1"), BAD),
    no(33, Line(b"G\0T / HTTP/1.1"), BAD),
    no(33, Line(b"G\xc3\xa9T / HTTP/1.1"), BAD),
    no(33, Line(b"G,T / HTTP/1.1"), BAD),
    no(33, Line(b"G/T / HTTP/1.1"), BAD),
    no(33, Line(b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1"), &[501]),
    yes(33, Line(b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1"), &[b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1\nhost: a\n\n"]),
    yes(33, Line(b"get / HTTP/1.1"), &[b"get / HTTP/1.1\nhost: a\n\n"]),
    yes(33, Line(b"M-SEARCH / HTTP/1.1"), &[b"M-SEARCH / HTTP/1.1\nhost: a\n\n"]),
    yes(33, Line(b"PURGE / HTTP/1.1"), &[b"PURGE / HTTP/1.1\nhost: a\n\n"]),
    // Ends of the head that some readers take for others.
    no(124, Get(b"X: y\r\n\rX\r\n"), BAD),
    no(124, Get(b"X: y\rX\r\n"), BAD),
    no(124, Line(b"GET / HTTP/1.1\r"), BAD),
    no(124, Raw(b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"), BAD),
];
