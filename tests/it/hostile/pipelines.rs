//! What comes behind a request on its connection (catalogue A, items 27 and 28; B, 49; H, 133 and 134).

use super::Sent::Raw;
use super::{After, Case};

const fn all(
    item: u16,
    sent: &'static [u8],
    answers: &'static [u16],
    seen: &'static [&'static [u8]],
    then: After,
) -> Case {
    Case { item, sent: Raw(sent), answers, seen, then }
}

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    // The rest of a body that is longer than its length is a request of its own, and is checked as one.
    all(27, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /evil HTTP/1.1\r\nHost: b\r\n\r\n", &[200, 200],
        &[b"POST / HTTP/1.1\nhost: a\ncontent-length: 2\n\nhi", b"GET /evil HTTP/1.1\nhost: b\n\n"], After::Kept),
    all(27, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi!!GET /evil HTTP/1.1\r\nHost: b\r\n\r\n", &[200, 200],
        &[b"POST / HTTP/1.1\nhost: a\ncontent-length: 2\n\nhi", b"!!GET /evil HTTP/1.1\nhost: b\n\n"], After::Kept),
    all(27, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\0GET /evil HTTP/1.1\r\nHost: b\r\n\r\n", &[200, 400],
        &[b"POST / HTTP/1.1\nhost: a\ncontent-length: 2\n\nhi"], After::Closed),
    all(27, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", &[200, 200],
        &[b"POST / HTTP/1.1\nhost: a\ncontent-length: 2\n\nhi", b"GET /x HTTP/1.1\nhost: a\n\n"], After::Kept),
    all(27, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\nX-Comet-Subscribe: n\r\n\r\n", &[200, 200],
        &[b"POST / HTTP/1.1\nhost: a\ncontent-length: 2\n\nhi", b"GET /evil HTTP/1.1\nhost: a\n\n"], After::Kept),
    all(27, b"GET / HTTP/1.1\r\nHost: a\r\n\r\nhello\r\n", &[200, 400], &[b"GET / HTTP/1.1\nhost: a\n\n"], After::Closed),
    // Several at once are answered in order.
    all(28, b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n", &[200, 200, 200],
        &[b"GET /1 HTTP/1.1\nhost: a\n\n", b"GET /2 HTTP/1.1\nhost: a\n\n", b"GET /3 HTTP/1.1\nhost: a\n\n"], After::Kept),
    all(28, b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", &[200],
        &[b"GET /1 HTTP/1.1\nhost: a\n\n"], After::Closed),
    all(28, b"GET /1 HTTP/1.0\r\nHost: a\r\n\r\nGET /2 HTTP/1.0\r\nHost: a\r\n\r\n", &[200],
        &[b"GET /1 HTTP/1.1\nhost: a\n\n"], After::Closed),
    // Behind an upgrade that wasn't made.
    all(49, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n", &[200, 200],
        &[b"GET / HTTP/1.1\nhost: a\n\n", b"GET /admin HTTP/1.1\nhost: a\n\n"], After::Kept),
    all(49, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\nGET /admin HTTP/1.1\r\n\r\n", &[200, 400],
        &[b"GET / HTTP/1.1\nhost: a\n\n"], After::Closed),
    all(49, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n\x82\x05hello", &[200, 400],
        &[b"GET / HTTP/1.1\nhost: a\n\n"], After::Closed),
    // A bad one behind a good one.
    all(133, b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", &[200, 400],
        &[b"GET /1 HTTP/1.1\nhost: a\n\n"], After::Closed),
    all(133, b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", &[200, 400],
        &[b"GET /1 HTTP/1.1\nhost: a\n\n"], After::Closed),
    all(133, b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nCONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n", &[200, 405],
        &[b"GET /1 HTTP/1.1\nhost: a\n\n"], After::Closed),
    all(133, b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nG\r\n", &[200, 400],
        &[b"GET /1 HTTP/1.1\nhost: a\n\n"], After::Closed),
    // A body that comes without waiting for the 100 that was expected.
    all(134, b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 31\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n", &[200],
        &[b"POST / HTTP/1.1\nhost: a\ncontent-length: 31\n\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n"], After::Kept),
    all(134, b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-maybe\r\nContent-Length: 31\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n", &[417],
        &[], After::Closed),
];
