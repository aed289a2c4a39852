"""The rules of HTTP/2 that a server has to keep, each by what a client sends and what has to come of it.

A row is (section, what, frames, outcome), or (…, Differs(number, outcome)) where the library does something else, which
docs/hostile-input.md has by that number. Frames are sent in their order; SYNC waits until those before it were read.
Stream 1 is another request that is under way meanwhile, the row's own begin with 3; a row of `FIRST` begins with nothing.

Sections are those of RFC 9113, and of RFC 7541 where it says HPACK. Of a stream error RFC 9113 §5.4.1 allows to make one
of the connection; that is not taken for right here, since others would suffer for it.
"""

from dataclasses import dataclass

from frames import *


@dataclass(frozen=True)
class Status:
    """The stream is answered so, and everything goes on."""

    code: int
    stream: int = 3


@dataclass(frozen=True)
class Reset:
    """The stream is reset for this reason, and everything else goes on."""

    code: int
    stream: int = 3


@dataclass(frozen=True)
class GoAway:
    """The connection ends for this reason."""

    code: int


@dataclass(frozen=True)
class Fine:
    """It is taken without a word, and everything goes on."""


@dataclass(frozen=True)
class Closed:
    """The connection ends, with a reason or without."""


@dataclass(frozen=True)
class Differs:
    """What comes of it here, by its number in docs/hostile-input.md."""

    number: int
    outcome: object


SYNC = object()
FINE, CLOSED = Fine(), Closed()
PROTOCOL, SIZE, FLOW = GoAway(PROTOCOL_ERROR), GoAway(FRAME_SIZE_ERROR), GoAway(FLOW_CONTROL_ERROR)
COMPRESSION, MALFORMED, OK = GoAway(COMPRESSION_ERROR), Reset(PROTOCOL_ERROR), Status(200)

WHOLE = END_STREAM | END_HEADERS


def with_fields(*fields, head=GET):
    return [headers(3, (*head, *fields))]


def pseudo(**values):
    return [headers(3, changed(GET, **values))]


def upload(*pieces, fields=(), end=True):
    """A POST whose body comes in these pieces."""
    last = len(pieces) - 1
    frames = [data(3, piece, end_stream=end and number == last) for number, piece in enumerate(pieces)]
    return [headers(3, (*POST, *fields), end_stream=False), *frames]


def trailers(*fields, end_stream=True):
    return [headers(3, POST, end_stream=False), data(3, b"body"), headers(3, fields, end_stream=end_stream)]


# Without preface, settings and the other request.
FIRST = [
    ("§3.4", "the preface and empty settings", [PREFACE, settings(), headers(3)], OK),
    ("§3.4", "a preface that is none", [b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", settings()], CLOSED),
    ("§3.4", "a frame before the settings", [PREFACE, ping(), settings()], PROTOCOL, Differs(1, FINE)),
    ("§3.4", "a request before the settings", [PREFACE, headers(3), settings()], PROTOCOL, Differs(1, OK)),
    ("§3.4", "an acknowledgement before the settings", [PREFACE, raw(SETTINGS, ACK, 0), settings()], PROTOCOL, Differs(1, FINE)),
    ("§3.4", "requests behind the preface, before anything has come", [PREFACE, settings(), headers(3), headers(5)], Status(200, 5)),
    ("§6.5", "settings that mean nothing, and some that do", [PREFACE, settings((0x7777, 5), (INITIAL_WINDOW_SIZE, 70000), (ENABLE_PUSH, 0)), headers(3)], OK),
    ("§6.5.2", "settings in which one is there twice", [PREFACE, settings((INITIAL_WINDOW_SIZE, 0), (INITIAL_WINDOW_SIZE, 9)), headers(3)], OK),
    ("§6.5.2", "a header table of none", [PREFACE, settings((HEADER_TABLE_SIZE, 0)), headers(3), headers(5)], Status(200, 5)),
    ("§6.5.2", "a header table of gigabytes", [PREFACE, settings((HEADER_TABLE_SIZE, 0xFFFFFFFF)), headers(3), headers(5)], Status(200, 5)),
    ("§6.5.2", "no streams of the server's", [PREFACE, settings((MAX_CONCURRENT_STREAMS, 0)), headers(3)], OK),
    ("§6.5.2", "the largest frames", [PREFACE, settings((MAX_FRAME_SIZE, 16777215)), headers(3)], OK),
]

FRAMES = [
    ("§4.1", "a frame of an unknown kind", [raw(0x42, 0xFF, 3, b"whatever"), headers(3)], OK),
    ("§4.1", "a frame of an unknown kind, of no stream", [raw(0xFF, 0, 0, b"12345678"), headers(3)], OK),
    ("§4.1", "flags that mean nothing", [raw(PING, 0xFE, 0, b"12345678"), headers(3)], OK),
    ("§4.1", "a reserved bit that is set", [raw(PING, 0, 0x80000000, b"12345678"), headers(3)], OK),
    ("§4.1", "a reserved bit of a request's that is set", [raw(HEADERS, WHOLE, 0x80000003, block(*GET))], OK),
    ("§4.2", "DATA as large as it may be", [*upload(b"x" * 16384)], OK),
    ("§4.2", "DATA that is larger", [headers(3, POST, end_stream=False), raw(DATA, 0, 3, b"x" * 16385)], SIZE),
    ("§4.2", "HEADERS that are larger", [raw(HEADERS, WHOLE, 3, b"\0" * 16385)], SIZE),
    ("§4.2", "CONTINUATION that is larger", [begun(3), raw(CONTINUATION, END_HEADERS, 3, b"\0" * 16385)], SIZE),
    ("§4.2", "SETTINGS that are larger", [raw(SETTINGS, 0, 0, b"\0" * 16386)], SIZE),
    ("§4.2", "an unknown frame that is larger", [raw(0x42, 0, 3, b"x" * 16385)], SIZE),
    ("§4.2", "a frame that says 16 MB and sends none of it", [b"\xff\xff\xff\x42\0\0\0\0\3"], SIZE),
    ("§4.3", "a head that can't be decoded", [raw(HEADERS, WHOLE, 3, b"\xff" * 8)], COMPRESSION, Differs(2, PROTOCOL)),
    ("§4.3", "PRIORITY inside a head", [begun(3), raw(PRIORITY, 0, 3, b"\0\0\0\1\x10")], PROTOCOL),
    ("§4.3", "PING inside a head", [begun(3), ping()], PROTOCOL),
    ("§4.3", "SETTINGS inside a head", [begun(3), settings()], PROTOCOL),
    ("§4.3", "DATA inside a head", [begun(3, end_stream=False), data(3, b"x")], PROTOCOL),
    ("§4.3", "a reset inside a head", [begun(3), rst(3)], PROTOCOL),
    ("§4.3", "another head inside a head", [begun(3), headers(5)], PROTOCOL),
    ("§5.5", "an unknown frame inside a head", [begun(3), raw(0x42, 0, 3, b"x"), continuation(3)], PROTOCOL),
]

SLOW = changed(GET, path="/slow")

STREAMS = [
    ("§5.1", "DATA of an idle stream", [data(3, b"x")], PROTOCOL),
    ("§5.1", "a reset of an idle stream", [rst(3)], PROTOCOL),
    ("§5.1", "a window of an idle stream", [window(3, 100)], PROTOCOL),
    ("§5.1", "CONTINUATION of an idle stream", [continuation(3, *GET)], PROTOCOL),
    ("§5.1", "PRIORITY of an idle stream", [raw(PRIORITY, 0, 3, b"\0\0\0\0\x10"), headers(3)], OK),
    ("§5.1", "DATA behind the end of a request in work", [headers(3, SLOW), data(3, b"x", end_stream=True)], Reset(STREAM_CLOSED), Differs(3, PROTOCOL)),
    ("§5.1", "HEADERS behind the end of a request in work", [headers(3, SLOW), headers(3)], Reset(STREAM_CLOSED), Differs(3, PROTOCOL)),
    ("§5.1", "CONTINUATION behind the end of a request in work", [headers(3, SLOW), continuation(3, *GET)], PROTOCOL),
    ("§5.1", "a window behind the end of a request in work", [headers(3, SLOW), window(3, 100)], OK),
    ("§5.1", "PRIORITY behind the end of a request in work", [headers(3, SLOW), raw(PRIORITY, 0, 3, b"\0\0\0\1\x10")], OK),
    ("§5.1", "a reset behind the end of a request in work", [headers(3, SLOW), rst(3)], FINE),
    ("§5.1", "DATA behind a reset of one's own", [headers(3, POST, end_stream=False), SYNC, rst(3), data(3, b"x")], Reset(STREAM_CLOSED)),
    ("§5.1.1", "HEADERS behind a reset of one's own", [headers(3, POST, end_stream=False), SYNC, rst(3), headers(3)], PROTOCOL),
    ("§5.1", "CONTINUATION behind a reset of one's own", [headers(3), SYNC, rst(3), continuation(3, *GET)], PROTOCOL),
    ("§5.1", "two resets", [headers(3, SLOW), rst(3), rst(3)], FINE),
    ("§5.1", "a window behind a reset", [headers(3, SLOW), rst(3), window(3, 1)], FINE),
    ("§5.1", "DATA on a stream that is closed", [headers(3), Status(200), data(3, b"x")], Reset(STREAM_CLOSED)),
    ("§5.1.1", "HEADERS on a stream that is closed", [headers(3), Status(200), headers(3)], PROTOCOL),
    ("§5.1", "CONTINUATION on a stream that is closed", [headers(3), Status(200), continuation(3, *GET)], PROTOCOL),
    ("§5.1", "PRIORITY on a stream that is closed", [headers(3), Status(200), raw(PRIORITY, 0, 3, b"\0\0\0\1\x10")], FINE),
    ("§5.1", "a window on a stream that is closed", [headers(3), Status(200), window(3, 100)], FINE),
    ("§5.1", "a reset of a stream that is closed", [headers(3), Status(200), rst(3)], FINE),
    ("§5.1.1", "an even stream", [headers(4)], PROTOCOL),
    ("§5.1.1", "an even stream whose head is no request", [headers(4, GET[:2])], PROTOCOL),
    ("§5.1.1", "a stream that goes down", [headers(7), headers(5)], PROTOCOL),
    ("§5.1.1", "streams that are left out are closed", [headers(9), headers(5)], PROTOCOL),
    ("§5.1.1", "the last stream that there is", [headers(0x7FFFFFFF)], Status(200, 0x7FFFFFFF)),
    ("§5.1.1", "a request of no stream", [raw(HEADERS, WHOLE, 0, block(*GET))], PROTOCOL),
    ("§5.1.2", "more streams than the server has said", [headers(3 + 2 * n, SLOW) for n in range(8)], Reset(REFUSED_STREAM, 17)),
    ("§5.3.1", "HEADERS with a priority", [raw(HEADERS, WHOLE | WITH_PRIORITY, 3, b"\x80\0\0\1\xff" + block(*GET))], OK),
    ("§5.3.1", "HEADERS that depend on themselves", [raw(HEADERS, WHOLE | WITH_PRIORITY, 3, b"\0\0\0\3\x10" + block(*GET))], MALFORMED),
    ("§5.3.1", "PRIORITY that depends on itself", [raw(PRIORITY, 0, 3, b"\0\0\0\3\x10")], MALFORMED),
    ("§5.4.1", "frames behind an error of the connection are not looked at", [raw(PING, 0, 0, b"x"), headers(3)], SIZE, Differs(2, PROTOCOL)),
]

KINDS = [
    ("§6.1", "DATA in pieces", upload(b"a", b"", b"bc"), OK),
    ("§6.1", "DATA with padding", [headers(3, POST, end_stream=False), data(3, b"abc", end_stream=True, pad_length=200)], OK),
    ("§6.1", "DATA that is padding alone", [headers(3, POST, end_stream=False), raw(DATA, PADDED | END_STREAM, 3, b"\4\0\0\0\0")], OK),
    ("§6.1", "DATA of no stream", [raw(DATA, 0, 0, b"x")], PROTOCOL),
    ("§6.1", "padding as long as the frame", [headers(3, POST, end_stream=False), raw(DATA, PADDED, 3, b"\5\0\0\0\0")], PROTOCOL),
    ("§6.1", "padding that is longer", [headers(3, POST, end_stream=False), raw(DATA, PADDED, 3, b"\x09x")], PROTOCOL),
    ("§6.1", "a padding without its length", [headers(3, POST, end_stream=False), raw(DATA, PADDED, 3)], SIZE, Differs(2, PROTOCOL)),
    ("§6.2", "HEADERS with padding", [raw(HEADERS, WHOLE | PADDED, 3, b"\5" + block(*GET) + b"\0" * 5)], OK),
    ("§6.2", "HEADERS with padding and a priority", [raw(HEADERS, WHOLE | PADDED | WITH_PRIORITY, 3, b"\5\0\0\0\1\x10" + block(*GET) + b"\0" * 5)], OK),
    ("§6.2", "HEADERS whose padding is longer", [raw(HEADERS, WHOLE | PADDED, 3, b"\xff" + block(*GET))], PROTOCOL),
    ("§6.2", "HEADERS too short for their priority", [raw(HEADERS, WHOLE | WITH_PRIORITY, 3, b"\0\0")], SIZE, Differs(2, PROTOCOL)),
    ("§6.2", "HEADERS with nothing in them", [raw(HEADERS, WHOLE, 3)], MALFORMED),
    ("§6.2", "HEADERS, END_STREAM before END_HEADERS", [begun(3), continuation(3)], OK),
    ("§6.3", "PRIORITY of no stream", [raw(PRIORITY, 0, 0, b"\0\0\0\1\x10")], PROTOCOL),
    ("§6.3", "PRIORITY of 4 bytes", [raw(PRIORITY, 0, 3, b"\0\0\0\1"), headers(5)], Reset(FRAME_SIZE_ERROR), Differs(2, PROTOCOL)),
    ("§6.4", "a reset of no stream", [raw(RST_STREAM, 0, 0, b"\0\0\0\x08")], PROTOCOL),
    ("§6.4", "a reset of 3 bytes", [headers(3, SLOW), raw(RST_STREAM, 0, 3, b"\0\0\0")], SIZE, Differs(2, PROTOCOL)),
    ("§6.4", "a reset of 5 bytes", [headers(3, SLOW), raw(RST_STREAM, 0, 3, b"\0\0\0\0\0")], SIZE, Differs(2, PROTOCOL)),
    ("§6.5", "an acknowledgement that says more", [raw(SETTINGS, ACK, 0, b"\0" * 6)], SIZE, Differs(2, PROTOCOL)),
    ("§6.5", "SETTINGS of a stream", [raw(SETTINGS, 0, 3)], PROTOCOL),
    ("§6.5", "half a setting", [raw(SETTINGS, 0, 0, b"\0\0\0")], SIZE, Differs(2, PROTOCOL)),
    ("§6.5.2", "a push that is neither on nor off", [settings((ENABLE_PUSH, 2))], PROTOCOL),
    ("§6.5.2", "a window of 2^31", [settings((INITIAL_WINDOW_SIZE, 1 << 31))], FLOW, Differs(2, PROTOCOL)),
    ("§6.5.2", "the largest window", [settings((INITIAL_WINDOW_SIZE, (1 << 31) - 1)), headers(3)], OK),
    ("§6.5.2", "frames below 2^14", [settings((MAX_FRAME_SIZE, 16383))], PROTOCOL),
    ("§6.5.2", "frames above 2^24 - 1", [settings((MAX_FRAME_SIZE, 1 << 24))], PROTOCOL),
    ("§6.5.2", "an unknown setting", [settings((0xFF, 1)), headers(3)], OK),
    ("§6.5.3", "an acknowledgement of nothing", [raw(SETTINGS, ACK, 0)], PROTOCOL),
    ("§6.6", "a push of the client's", [raw(5, END_HEADERS, 3, b"\0\0\0\x04" + block(*GET))], PROTOCOL),
    ("§6.7", "an answer to no PING", [raw(PING, ACK, 0, b"invalid!"), headers(3)], OK),
    ("§6.7", "PING of a stream", [raw(PING, 0, 3, b"12345678")], PROTOCOL),
    ("§6.7", "PING of 6 bytes", [raw(PING, 0, 0, b"123456")], SIZE, Differs(2, PROTOCOL)),
    ("§6.7", "PING of 9 bytes", [raw(PING, 0, 0, b"123456789")], SIZE, Differs(2, PROTOCOL)),
    ("§6.8", "GOAWAY of a stream", [raw(GOAWAY, 0, 3, b"\0" * 8)], PROTOCOL),
    ("§6.8", "GOAWAY of 7 bytes", [raw(GOAWAY, 0, 0, b"\0" * 7)], SIZE, Differs(2, PROTOCOL)),
    ("§6.8", "GOAWAY that takes more streams back than the one before", [raw(GOAWAY, 0, 0, b"\0\0\0\0" + b"\0" * 4), raw(GOAWAY, 0, 0, b"\0\0\0\5" + b"\0" * 4)], PROTOCOL),
    ("§6.9", "a window of zero more", [window(0, 0)], PROTOCOL),
    ("§6.9", "a window of zero more of a stream", [headers(3, SLOW), window(3, 0)], MALFORMED, Differs(4, PROTOCOL)),
    ("§6.9", "a window of 3 bytes", [raw(WINDOW_UPDATE, 0, 0, b"\0\0\1")], SIZE, Differs(2, PROTOCOL)),
    ("§6.9", "a window of 5 bytes of a stream", [headers(3, SLOW), raw(WINDOW_UPDATE, 0, 3, b"\0\0\0\0\1")], SIZE, Differs(2, PROTOCOL)),
    ("§6.9.1", "windows of 2^31 together", [window(0, 0x7FFFFFFF), window(0, 0x7FFFFFFF)], FLOW),
    ("§6.9.1", "windows of a stream of 2^31 together", [headers(3, SLOW), window(3, 0x7FFFFFFF), window(3, 0x7FFFFFFF)], Reset(FLOW_CONTROL_ERROR)),
    ("§6.9.2", "settings that take a window over 2^31", [headers(3, SLOW), window(3, 0x7FFF0000), settings((INITIAL_WINDOW_SIZE, 0x7FFFFFFF))], FLOW),
    ("§6.9", "more DATA than the window of the stream", [headers(3, changed(POST, path="/unread"), end_stream=False), *[data(3, b"x" * 16384)] * 5], Reset(FLOW_CONTROL_ERROR)),
    ("§6.10", "a head in two parts", [begun(3, GET[:2]), continuation(3, *GET[2:])], OK),
    ("§6.10", "a head in many parts", [begun(3, GET[:1]), *(continuation(3, field, end=False) for field in GET[1:]), continuation(3)], OK),
    ("§6.10", "a field in two parts", [raw(HEADERS, END_STREAM, 3, block(*GET)[:11]), raw(CONTINUATION, END_HEADERS, 3, block(*GET)[11:])], OK),
    ("§6.10", "trailers in two parts", [headers(3, POST, end_stream=False), data(3, b"body"), begun(3, (("x", "y"),)), continuation(3, ("z", ""))], OK),
    ("§6.10", "CONTINUATION of no stream", [begun(3), raw(CONTINUATION, END_HEADERS, 0, block(*GET))], PROTOCOL),
    ("§6.10", "CONTINUATION of another stream", [begun(3), continuation(5, *GET)], PROTOCOL),
    ("§6.10", "CONTINUATION behind END_HEADERS", [headers(3, POST, end_stream=False), continuation(3, *GET)], PROTOCOL),
    ("§6.10", "CONTINUATION behind the end of a CONTINUATION", [begun(3, end_stream=False), continuation(3), continuation(3)], PROTOCOL),
    ("§6.10", "CONTINUATION behind DATA", [headers(3, POST, end_stream=False), data(3, b"x"), continuation(3, *GET)], PROTOCOL),
    ("§7", "a reset for a reason that nobody knows", [headers(3, SLOW), raw(RST_STREAM, 0, 3, b"\0\0\0\xff"), headers(5)], Status(200, 5)),
]

MESSAGES = [
    ("§8.1", "a second head that isn't the end", trailers(("x", "y"), end_stream=False), MALFORMED),
    ("§8.1", "trailers", trailers(("x-digest", "abc")), OK),
    ("§8.1", "trailers without a body", [headers(3, POST, end_stream=False), headers(3, (("x", "y"),))], OK),
    ("§8.1", "a pseudo-field in trailers", trailers((":path", "/")), MALFORMED, Differs(5, OK)),
    ("§8.1", "a method in trailers", trailers((":method", "GET")), MALFORMED, Differs(5, OK)),
    ("§8.1", "what nobody knows with a colon, in trailers", trailers((":x", "")), MALFORMED, Differs(6, PROTOCOL)),
    ("§8.2", "a capital letter in a name", with_fields(("X-A", "b")), MALFORMED, Differs(6, PROTOCOL)),
    ("§8.2.1", "a blank in a name", with_fields(("x a", "b")), MALFORMED, Differs(6, PROTOCOL)),
    ("§8.2.1", "a line end in a name", with_fields(("x\n", "b")), MALFORMED, Differs(6, PROTOCOL)),
    ("§8.2.1", "a letter beyond ASCII in a name", with_fields(("x\u00fc", "b")), MALFORMED, Differs(6, PROTOCOL)),
    ("§8.2.1", "a line end in a value", with_fields(("x", "a\r\nb: c")), MALFORMED, Differs(6, PROTOCOL)),
    ("§8.2.1", "a zero in a value", with_fields(("x", "a\0")), MALFORMED, Differs(6, PROTOCOL)),
    ("§8.2.1", "blanks around a value", with_fields(("x", " a ")), MALFORMED, Differs(7, OK)),
    ("§8.2.2", "Connection", with_fields(("connection", "keep-alive")), MALFORMED),
    ("§8.2.2", "Keep-Alive", with_fields(("keep-alive", "5")), MALFORMED),
    ("§8.2.2", "Proxy-Connection", with_fields(("proxy-connection", "keep-alive")), MALFORMED),
    ("§8.2.2", "Transfer-Encoding", with_fields(("transfer-encoding", "chunked")), MALFORMED),
    ("§8.2.2", "Upgrade", with_fields(("upgrade", "h2c")), MALFORMED),
    ("§8.2.2", "TE: trailers", with_fields(("te", "trailers")), OK),
    ("§8.2.2", "TE that says more", with_fields(("te", "trailers, deflate;q=0.5")), MALFORMED),
    ("§8.2.2", "Connection in trailers", trailers(("connection", "close")), MALFORMED),
    ("§8.2.3", "cookies in crumbs", with_fields(("cookie", "a=1"), ("cookie", "b=2")), OK),
    ("§8.3", "an unknown pseudo-field", with_fields((":x", "y")), MALFORMED, Differs(6, PROTOCOL)),
    ("§8.3", "the pseudo-field of an answer", with_fields((":status", "200")), MALFORMED),
    ("§8.3", "a pseudo-field behind others", [headers(3, (("x", "y"), *GET))], MALFORMED),
    ("§8.3", "one of them behind others", [headers(3, (*GET[:3], ("x", "y"), GET[3]))], MALFORMED),
    ("§8.3.1", "no method", pseudo(method=None), MALFORMED),
    ("§8.3.1", "no scheme", pseudo(scheme=None), MALFORMED),
    ("§8.3.1", "no path", pseudo(path=None), MALFORMED),
    ("§8.3.1", "an empty path", pseudo(path=""), MALFORMED),
    ("§8.3.1", "an empty method", pseudo(method=""), MALFORMED, Differs(6, PROTOCOL)),
    ("§8.3.1", "two methods", with_fields((":method", "GET")), MALFORMED),
    ("§8.3.1", "two schemes", with_fields((":scheme", "http")), MALFORMED),
    ("§8.3.1", "two paths", with_fields((":path", "/")), MALFORMED),
    ("§8.3.1", "two authorities", with_fields((":authority", "a")), MALFORMED),
    ("§8.3.1", "a path without a slash", pseudo(path="x"), MALFORMED),
    ("§8.3.1", "OPTIONS of the server", pseudo(method="OPTIONS", path="*"), OK),
    ("§8.3.1", "a user in the authority", pseudo(authority="u@a"), MALFORMED, Differs(8, Status(400))),
    ("§8.3.1", "Host that isn't the authority", with_fields(("host", "b")), MALFORMED, Differs(8, Status(400))),
    ("§8.3.1", "Host instead of the authority", [headers(3, (*GET[:2], GET[3], ("host", "a")))], OK),
    ("§8.5", "CONNECT with a path", pseudo(method="CONNECT"), MALFORMED),
    ("§8.5", "CONNECT without an authority", [headers(3, ((":method", "CONNECT"),))], MALFORMED, Differs(8, Status(405))),
    ("§8.1.1", "a length that is that of the body", upload(b"ab", b"c", fields=[("content-length", "3")]), OK),
    ("§8.1.1", "a length that is longer than the body", upload(b"abc", fields=[("content-length", "4")]), MALFORMED),
    ("§8.1.1", "a length that is shorter than the body", upload(b"abc", fields=[("content-length", "2")]), MALFORMED),
    ("§8.1.1", "a length of pieces that isn't theirs", upload(b"ab", b"c", fields=[("content-length", "2")]), MALFORMED),
    ("§8.1.1", "a length without a body", with_fields(("content-length", "1")), MALFORMED),
    ("§8.1.1", "a length that is none", upload(b"abc", fields=[("content-length", "3a")]), MALFORMED),
    ("§8.1.1", "two lengths", upload(b"abc", fields=[("content-length", "3"), ("content-length", "4")]), MALFORMED),
    ("§8.1.1", "a length that is too long, before trailers", [*upload(b"abc", fields=[("content-length", "4")], end=False), headers(3, (("x", "y"),))], MALFORMED),
]

GET_BLOCK = block(*GET)


def hpack_head(encoded):
    return [raw(HEADERS, WHOLE, 3, encoded)]


HPACK = [
    ("HPACK §2.3.3", "an index of the static table", hpack_head(b"\x82\x86\x84\x41\x01a"), OK),
    ("HPACK §2.3.3", "an index behind both tables", hpack_head(GET_BLOCK + b"\xbe"), COMPRESSION, Differs(2, PROTOCOL)),
    ("HPACK §2.3.3", "a name behind both tables", hpack_head(GET_BLOCK + b"\x7f\x01\x01x"), COMPRESSION, Differs(2, PROTOCOL)),
    ("HPACK §2.3.2", "a field of the dynamic table", hpack_head(GET_BLOCK + b"\x40\x01x\x01y\xbe"), OK),
    ("HPACK §2.3.2", "a field that is kept from one head to the next", [raw(HEADERS, WHOLE, 3, GET_BLOCK + b"\x40\x01x\x01y"), raw(HEADERS, WHOLE, 5, GET_BLOCK + b"\xbe")], Status(200, 5)),
    ("HPACK §4.2", "a smaller table, and back", [raw(HEADERS, WHOLE, 3, b"\x20\x3f\xe1\x1f" + GET_BLOCK)], OK),
    ("HPACK §4.2", "a change of the table's size behind a field", hpack_head(GET_BLOCK + b"\x3f\xe1\x1f"), COMPRESSION, Differs(2, PROTOCOL)),
    ("HPACK §4.3", "what a smaller table forgets", [raw(HEADERS, WHOLE, 3, GET_BLOCK + b"\x40\x01x\x01y"), SYNC, raw(HEADERS, WHOLE, 5, b"\x20" + GET_BLOCK + b"\xbe")], COMPRESSION, Differs(2, PROTOCOL)),
    ("HPACK §4.4", "a field that is larger than the table empties it", hpack_head(GET_BLOCK + b"\x40\x01x\x01y\x40\x01z\x7f\x80\x20" + b"a" * 4223 + b"\xbe"), COMPRESSION, Differs(2, PROTOCOL)),
    ("HPACK §5.1", "a number that doesn't end", hpack_head(GET_BLOCK + b"\x7f" + b"\xff" * 12), COMPRESSION, Differs(2, PROTOCOL)),
    ("HPACK §5.1", "a number with a longer form than it needs", hpack_head(GET_BLOCK + b"\x00\x01x\x7f\x80\x00" + b"a" * 127), OK),
    ("HPACK §5.2", "a string longer than the head", hpack_head(GET_BLOCK + b"\x00\x01x\x7e"), COMPRESSION, Differs(2, PROTOCOL)),
    ("HPACK §5.2", "a string in Huffman's code", hpack_head(GET_BLOCK + b"\x00\x81\xf3\x81\xf5"), OK),
    ("HPACK §5.2", "a padding of more than 7 bits", hpack_head(GET_BLOCK + b"\x00\x82\xf3\xff\x81\xf5"), COMPRESSION, Differs(2, PROTOCOL)),
    ("HPACK §5.2", "a padding of zeros", hpack_head(GET_BLOCK + b"\x00\x81\xf2\x81\xf5"), COMPRESSION, Differs(2, PROTOCOL)),
    ("HPACK §5.2", "the end of a string within it", hpack_head(GET_BLOCK + b"\x00\x85\xf3\xff\xff\xff\xff\x81\xf5"), COMPRESSION, Differs(2, PROTOCOL)),
    ("HPACK §6.1", "index 0", hpack_head(GET_BLOCK + b"\x80"), COMPRESSION, Differs(2, PROTOCOL)),
    ("HPACK §6.3", "a table larger than the server has said", hpack_head(b"\x3f\xe2\x1f" + GET_BLOCK), COMPRESSION, Differs(2, PROTOCOL)),
]

TABLES = [("frames", FRAMES), ("streams", STREAMS), ("kinds of frames", KINDS), ("messages", MESSAGES), ("HPACK", HPACK)]
