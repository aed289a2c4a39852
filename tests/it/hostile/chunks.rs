//! Chunked bodies of requests (catalogue A, items 19 to 26; H, 125 and 126). Bodies that end well arrive with a length; of
//! those that don't, the application sees nothing.

use super::Sent::Chunked;
use super::{BAD, Case, no, yes};

const EMPTY: &[&[u8]] = &[b"POST / HTTP/1.1\nhost: a\ncontent-length: 0\n\n"];
const HI: &[&[u8]] = &[b"POST / HTTP/1.1\nhost: a\ncontent-length: 2\n\nhi"];

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    yes(19, Chunked(b"0\r\n\r\n"), EMPTY),
    yes(19, Chunked(b"2\r\nhi\r\n0\r\n\r\n"), HI),
    yes(19, Chunked(b"1\r\nh\r\n1\r\ni\r\n000\r\n\r\n"), HI),
    yes(19, Chunked(b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"), &[b"POST / HTTP/1.1\nhost: a\ncontent-length: 20\n\n01234567890123456789"]),
    yes(19, Chunked(b"1f\r\nGET /evil HTTP/1.1\r\nHost: b\r\n\r\n\r\n0\r\n\r\n"), &[b"POST / HTTP/1.1\nhost: a\ncontent-length: 31\n\nGET /evil HTTP/1.1\r\nHost: b\r\n\r\n"]),
    no(19, Chunked(b"0x2\r\nhi\r\n0\r\n\r\n"), BAD),
    no(19, Chunked(b"+2\r\nhi\r\n0\r\n\r\n"), BAD),
    no(19, Chunked(b"-1\r\n\r\n"), BAD),
    no(19, Chunked(b" 2\r\nhi\r\n0\r\n\r\n"), BAD),
    no(19, Chunked(b"2_0\r\n"), BAD),
    no(19, Chunked(b"\r\n"), BAD),
    no(19, Chunked(b"G\r\n"), BAD),
    no(19, Chunked(b"2h\r\nhi\r\n0\r\n\r\n"), BAD),
    no(19, Chunked(b";a\r\n"), BAD),
    no(19, Chunked(b"\xef\xbc\x92\r\nhi\r\n0\r\n\r\n"), BAD),
    // Sizes that are too long.
    yes(20, Chunked(b"0000000000000002\r\nhi\r\n0\r\n\r\n"), HI),
    no(20, Chunked(b"00000000000000002\r\nhi\r\n0\r\n\r\n"), BAD),
    no(20, Chunked(b"10000000000000000\r\nhi\r\n"), BAD),
    no(20, Chunked(b"10000000000000002\r\nhi\r\n0\r\n\r\n"), BAD),
    no(20, Chunked(b"fffffffffffffffff\r\n"), BAD),
    // Blanks behind a size.
    no(21, Chunked(b"2 \r\nhi\r\n0\r\n\r\n"), BAD),
    no(21, Chunked(b"2\t\r\nhi\r\n0\r\n\r\n"), BAD),
    no(21, Chunked(b"2\t;x\r\nhi\r\n0\r\n\r\n"), BAD),
    // Extensions go no further.
    yes(22, Chunked(b"2;a=b\r\nhi\r\n0\r\n\r\n"), HI),
    yes(22, Chunked(b"2;a\r\nhi\r\n0;b=\"c\"\r\n\r\n"), HI),
    yes(22, Chunked(b"2;;;\r\nhi\r\n0\r\n\r\n"), HI),
    yes(22, Chunked(b"2; a = b \r\nhi\r\n0\r\n\r\n"), HI),
    no(23, Chunked(b"2;\nxx\r\n4f\r\n0\r\n\r\n"), BAD),
    no(23, Chunked(b"2;a\nhi\r\n0\r\n\r\n"), BAD),
    no(23, Chunked(b"2;a\rb\r\nhi\r\n0\r\n\r\n"), BAD),
    no(23, Chunked(b"2;\0\r\nhi\r\n0\r\n\r\n"), BAD),
    no(23, Chunked(b"2;\x7f\r\nhi\r\n0\r\n\r\n"), BAD),
    // Line ends.
    no(24, Chunked(b"2\nhi\r\n0\r\n\r\n"), BAD),
    no(24, Chunked(b"2\r\nhi\n0\r\n\r\n"), BAD),
    no(24, Chunked(b"2\r\nhiXX0\r\n\r\n"), BAD),
    no(24, Chunked(b"2\r\nhi\r0\r\n\r\n"), BAD),
    no(24, Chunked(b"2\r\nh\r\n0\r\n\r\n"), BAD),
    no(24, Chunked(b"2\r\nhi0\r\n\r\n"), BAD),
    no(24, Chunked(b"0\n\n"), BAD),
    no(24, Chunked(b"0\r\n\n"), BAD),
    // Trailers are dropped, whatever they say.
    yes(25, Chunked(b"2\r\nhi\r\n0\r\nX: y\r\n\r\n"), HI),
    yes(25, Chunked(b"2\r\nhi\r\n0\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\nHost: evil\r\n\r\n"), HI),
    yes(25, Chunked(b"2\r\nhi\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\nX-Comet-Subscribe: news\r\nCookie: a=b\r\nAuthorization: x\r\n\r\n"), HI),
    yes(25, Chunked(b"2\r\nhi\r\n0\r\nDigest:\r\n\r\n"), HI),
    no(25, Chunked(b"2\r\nhi\r\n0\r\nX: y\n\r\n"), BAD),
    no(25, Chunked(b"2\r\nhi\r\n0\r\nX: y\rZ: z\r\n\r\n"), BAD),
    no(25, Chunked(b"2\r\nhi\r\n0\r\nX: \0\r\n\r\n"), BAD),
    no(25, Chunked(b"2\r\nhi\r\n0\r\nX: y\r\n z\r\n\r\n"), BAD),
    no(25, Chunked(b"2\r\nhi\r\n0\r\n: y\r\n\r\n"), BAD),
    no(25, Chunked(b"2\r\nhi\r\n0\r\nX : y\r\n\r\n"), BAD),
    no(25, Chunked(b"2\r\nhi\r\n0\r\nno colon\r\n\r\n"), BAD),
    no(25, Chunked(b"2\r\nhi\r\n0\r\nGET / HTTP/1.1\r\n\r\n"), BAD),
    // Ends of lines and bodies that some readers take for others.
    no(125, Chunked(b"2\rXhi\r\n0\r\n\r\n"), BAD),
    no(125, Chunked(b"2\r;a\r\nhi\r\n0\r\n\r\n"), BAD),
    no(125, Chunked(b"2\r\nhi\r\n\r\n0\r\n\r\n"), BAD),
    no(125, Chunked(b"0\r\nXX\r\n"), BAD),
    no(125, Chunked(b"0\r\nXX0\r\n\r\n"), BAD),
    no(125, Chunked(b"0\r\n\rX"), BAD),
    no(125, Chunked(b"0_2\r\nhi\r\n0\r\n\r\n"), BAD),
    no(125, Chunked(b"2\r\r\nhi\r\n0\r\n\r\n"), BAD),
    yes(126, Chunked(b"2;a=\"\r\nhi\r\n0\r\n\r\n"), HI),
    yes(126, Chunked(b"2;a=\"\\\r\nhi\r\n0;\"\r\n\r\n"), HI),
];
