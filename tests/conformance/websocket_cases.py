"""The rules of WebSockets that a server has to keep (RFC 6455), each by what a client sends and what has to come of it.

The chapters are those of the Autobahn test suite, which runs on Python 2 only: framing, pings, reserved bits, opcodes,
fragments, UTF-8, closing, limits. A row is (number, what, pieces, outcome). Pieces are written one after the other as they
stand; WAIT waits for the answers to those before it. An outcome is what the server says: messages in their order, pongs in
theirs, and how it ends. A row that doesn't end by itself is closed by 1000.
"""

from dataclasses import dataclass, field

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"
LIMIT = 1 << 20  # Of a message; the configuration says the same.
WAIT = object()


def frame(opcode, payload=b"", fin=True, rsv=0, masked=True, length=None):
    """One frame of a client. `length` writes that in 2 or 8 bytes, whether or not the payload needs them."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    size, mask_bit = len(payload), 0x80 if masked else 0
    if length is None:
        length = 0 if size < 126 else 2 if size < 1 << 16 else 8
    second = {0: size, 2: 126, 8: 127}[length]
    head = bytes([first, mask_bit | second]) + (size.to_bytes(length, "big") if length else b"")
    if not masked:
        return head + payload
    repeated = MASK * (size // 4 + 1)
    bits = int.from_bytes(payload, "big") ^ int.from_bytes(repeated[:size], "big")
    return head + MASK + bits.to_bytes(size, "big")


def text(content=b"", **more):
    return frame(TEXT, content if isinstance(content, bytes) else content.encode(), **more)


def binary(content=b"", **more):
    return frame(BINARY, content, **more)


def rest(content=b"", fin=True, **more):
    return frame(0, content, fin=fin, **more)


def close(code=None, reason=b""):
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


def ping(content=b""):
    return frame(PING, content)


def pong(content=b""):
    return frame(PONG, content)


def chopped(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


@dataclass
class Heard:
    """What a server says: (opcode, payload) of each message, payloads of pongs, the code of its close."""

    messages: list = field(default_factory=list)
    pongs: list = field(default_factory=list)
    code: object = 1000
    # Whether the row ends by itself: then not everything that was said before needs an answer.
    ends: bool = False


def echo(*messages, pongs=()):
    """Everything is taken."""
    kind = lambda content: (BINARY, content) if isinstance(content, bytes) else (TEXT, content.encode())
    return Heard([kind(content) for content in messages], list(pongs))


def fails(code, *messages, pongs=()):
    """The connection ends with this code; what was said before may be answered before that."""
    heard = echo(*messages, pongs=pongs)
    heard.code, heard.ends = code, True
    return heard


def closed(code, *messages):
    """A close of the client's is returned; what was said before it may be answered before that."""
    return fails(code, *messages)


BAD, NOT_TEXT, TOO_LONG = fails(1002), fails(1007), fails(1009)

FRAMING = []
for number, size in enumerate((0, 125, 126, 127, 128, 65535, 65536), 1):
    FRAMING += [
        (f"1.1.{number}", f"a text of {size} bytes", [text("*" * size)], echo("*" * size)),
        (f"1.2.{number}", f"{size} bytes that are none", [binary(b"\xfe" * size)], echo(b"\xfe" * size)),
    ]
FRAMING += [
    ("1.1.8", "a text of 65536 bytes that comes in pieces", chopped(text("*" * 65536), 997), echo("*" * 65536)),
    ("1.2.8", "65536 bytes that come in pieces", chopped(binary(b"\xfe" * 65536), 997), echo(b"\xfe" * 65536)),
    ("1.3.1", "a text byte by byte", chopped(text("hello"), 1), echo("hello")),
    ("1.3.2", "many messages at once", [text("a") + binary(b"b") + text("c")], echo("a", b"b", "c")),
    ("1.3.3", "a frame without a mask", [text("hello", masked=False)], BAD),
    ("1.3.4", "an empty frame without a mask", [text(masked=False)], BAD),
    ("1.3.7", "a length of 2^63", [b"\x82\xff" + b"\x80" + b"\0" * 7 + MASK], BAD),
]

PINGS = [
    ("2.1", "a ping that says nothing", [ping()], echo(pongs=[b""])),
    ("2.2", "a ping with text", [ping(b"Hello, world!")], echo(pongs=[b"Hello, world!"])),
    ("2.3", "a ping with what is no text", [ping(b"\0\xff\xfe\xfd\xfc\xfb\0\xff")], echo(pongs=[b"\0\xff\xfe\xfd\xfc\xfb\0\xff"])),
    ("2.4", "a ping of 125 bytes", [ping(b"\xfe" * 125)], echo(pongs=[b"\xfe" * 125])),
    ("2.5", "a ping of 126 bytes", [ping(b"\xfe" * 126)], BAD),
    ("2.6", "a ping byte by byte", chopped(ping(b"\xfe" * 125), 1), echo(pongs=[b"\xfe" * 125])),
    ("2.7", "a pong that nobody asked for", [pong()], echo()),
    ("2.8", "a pong with text that nobody asked for", [pong(b"unsolicited")], echo()),
    ("2.9", "a pong, then a ping", [pong(b"unsolicited"), ping(b"asked")], echo(pongs=[b"asked"])),
    ("2.10", "ten pings", [ping(b"%d" % n) for n in range(10)], echo(pongs=[b"%d" % n for n in range(10)])),
    ("2.11", "ten pings byte by byte", chopped(b"".join(ping(b"%d" % n) for n in range(10)), 1), echo(pongs=[b"%d" % n for n in range(10)])),
]

RESERVED = []
for number, rsv in enumerate(range(1, 8), 1):
    RESERVED += [
        (f"3.{number}.1", f"reserved bits {rsv:03b} on a text", [text("hello"), WAIT, text("hello", rsv=rsv), ping(b"x")], fails(1002, "hello")),
        (f"3.{number}.2", f"reserved bits {rsv:03b} on a ping", [frame(PING, b"x", rsv=rsv)], BAD),
        (f"3.{number}.3", f"reserved bits {rsv:03b} on a close", [frame(CLOSE, b"\x03\xe8", rsv=rsv)], BAD),
    ]

OPCODES = []
for number, opcode in enumerate((3, 4, 5, 6, 7, 11, 12, 13, 14, 15), 1):
    OPCODES += [
        (f"4.{number}.1", f"opcode {opcode}", [frame(opcode)], BAD),
        (f"4.{number}.2", f"opcode {opcode} with a payload, behind a text", [text("hello"), WAIT, frame(opcode, b"x"), ping()], fails(1002, "hello")),
        (f"4.{number}.3", f"opcode {opcode} inside a message", [text("a", fin=False), frame(opcode, b"x"), rest(b"b")], BAD),
    ]

HALVES = [text("frag", fin=False), rest(b"ment")]
FRAGMENTS = [
    ("5.1", "a ping in two", [frame(PING, b"frag", fin=False), rest(b"ment")], BAD),
    ("5.2", "a pong in two", [frame(PONG, b"frag", fin=False), rest(b"ment")], BAD),
    ("5.2.1", "a close in two", [frame(CLOSE, b"\x03", fin=False), rest(b"\xe8")], BAD),
    ("5.3", "a text in two", HALVES, echo("fragment")),
    ("5.4", "a text in two at once", [b"".join(HALVES)], echo("fragment")),
    ("5.5", "a text in two byte by byte", chopped(b"".join(HALVES), 1), echo("fragment")),
    ("5.6", "a ping between two halves", [HALVES[0], ping(b"x"), HALVES[1]], echo("fragment", pongs=[b"x"])),
    ("5.7", "a ping between two halves at once", [HALVES[0] + ping(b"x") + HALVES[1]], echo("fragment", pongs=[b"x"])),
    ("5.8", "a ping between two halves byte by byte", chopped(HALVES[0] + ping(b"x") + HALVES[1], 1), echo("fragment", pongs=[b"x"])),
    ("5.9", "a rest of nothing", [rest(b"x"), text("hello")], BAD),
    ("5.10", "a rest of nothing at once with a text", [rest(b"x") + text("hello")], BAD),
    ("5.11", "a rest of nothing byte by byte", chopped(rest(b"x") + text("hello"), 1), BAD),
    ("5.12", "a rest of nothing that goes on", [rest(b"x", fin=False), text("hello")], BAD),
    ("5.13", "a rest behind a whole message", [text("hello"), WAIT, rest(b"x")], fails(1002, "hello")),
    ("5.14", "a rest of nothing that goes on, byte by byte", chopped(rest(b"x", fin=False) + text("hello"), 1), BAD),
    ("5.15", "a rest behind the end of a message in two", [*HALVES, rest(b"x", fin=False), text("hello")], fails(1002, "fragment")),
    ("5.16", "rests that begin nothing, twice", [rest(b"x", fin=False), text("a", fin=False), rest(b"b")] * 2, BAD),
    ("5.17", "a rest of nothing, then a message in two", [rest(b"x"), *HALVES], BAD),
    ("5.18", "a text inside a text", [text("a", fin=False), text("b")], BAD),
    ("5.18.1", "bytes inside a text", [text("a", fin=False), binary(b"b")], BAD),
    ("5.19", "a text in five, with pings", [text("a", fin=False), rest(b"b", fin=False), ping(b"1"), rest(b"c", fin=False), rest(b"d", fin=False), ping(b"2"), rest(b"e")], echo("abcde", pongs=[b"1", b"2"])),
    ("5.20", "the same, with waits for the pongs", [text("a", fin=False), rest(b"b", fin=False), ping(b"1"), WAIT, rest(b"c", fin=False), rest(b"d", fin=False), ping(b"2"), WAIT, rest(b"e")], echo("abcde", pongs=[b"1", b"2"])),
    ("5.21", "empty fragments", [text("", fin=False), rest(b"", fin=False), rest(b"")], echo("")),
    ("5.22", "empty fragments around a text", [text("", fin=False), rest(b"middle", fin=False), rest(b"")], echo("middle")),
    ("5.23", "a pong between two halves", [HALVES[0], pong(b"x"), HALVES[1]], echo("fragment")),
]

GREEK = "\u03ba\u1f79\u03c3\u03bc\u03b5"  # Autobahn's own example: five letters of two and three bytes.
LONG = "Hello-\u00b5@\u00df\u00f6\u00e4\u00fc\u00e0\u00e1-UTF-8!!"
GOOD_TEXTS = [
    "", "\0", "\x7f", "\u0080", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffd", "\uffff", "\U00010000", "\U0010ffff",
    "\ufeff", "\ufffe", "\u2028", GREEK, LONG, "\U0001f600" * 20,
]
BAD_TEXTS = [
    b"\x80", b"\xbf", b"\x80\xbf\x80", b"\xc0", b"\xc0\x80", b"\xc1\xbf", b"\xc3", b"\xc3(", b"\xe0\x80\x80", b"\xe0\x9f\xbf", b"\xe2\x82",
    b"\xe2(\xa1", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80", b"\xf0\x80\x80\x80", b"\xf0\x8f\xbf\xbf", b"\xf0\x9f\x98",
    b"\xf0(\x8c\xbc", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf7\xbf\xbf\xbf", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80", b"\xfe", b"\xff",
    b"\xfe\xfe\xff\xff", GREEK.encode() + b"\xed\xa0\x80edited", GREEK.encode()[:-1],
]
UTF8 = [
    ("6.1", "three empty fragments of a text", [text(fin=False), rest(fin=False), rest()], echo("")),
    ("6.2.1", "letters of many bytes", [text(LONG)], echo(LONG)),
    ("6.2.2", "letters cut between them", [text(LONG[:9], fin=False), rest(LONG[9:].encode())], echo(LONG)),
    ("6.2.3", "a fragment for each byte", [text(LONG.encode()[:1], fin=False), *(rest(bytes([byte]), fin=False) for byte in LONG.encode()[1:]), rest()], echo(LONG)),
    ("6.2.4", "Greek, a fragment for each byte", [text(GREEK.encode()[:1], fin=False), *(rest(bytes([byte]), fin=False) for byte in GREEK.encode()[1:]), rest()], echo(GREEK)),
    ("6.2.5", "Greek byte by byte", chopped(text(GREEK), 1), echo(GREEK)),
    ("6.4.5", "a letter that the end of the message cuts", [text(b"\xe2\x82", fin=False), rest()], NOT_TEXT),
    ("6.4.6", "what is no text in bytes", [binary(b"\xff\xfe\xc3(")], echo(b"\xff\xfe\xc3(")),
    ("6.4.7", "a ping between the bytes of a letter", [text(b"\xe2\x82", fin=False), ping(b"\xe2"), rest(b"\xac")], echo("\u20ac", pongs=[b"\xe2"])),
]
UTF8 += [(f"6.5.{n}", f"a good text, {content.encode()[:12]}", [text(content)], echo(content)) for n, content in enumerate(GOOD_TEXTS, 1)]
UTF8 += [(f"6.6.{n}", f"a bad text, {content[:12]}", [text(content)], NOT_TEXT) for n, content in enumerate(BAD_TEXTS, 1)]
UTF8 += [(f"6.7.{n}", f"a bad text in fragments, {content[:12]}", [text(content[:1], fin=False), rest(content[1:], fin=True)], NOT_TEXT) for n, content in enumerate(BAD_TEXTS, 1)]

GOOD_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999]
BAD_CODES = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]
CLOSING = [
    ("7.1.1", "a message, then a close", [text("Hello World!"), WAIT, close(1000)], closed(1000, "Hello World!")),
    ("7.1.2", "two closes", [close(1000), close(1000)], closed(1000)),
    ("7.1.3", "a ping behind the close", [close(1000), ping(b"x")], closed(1000)),
    ("7.1.4", "a text behind the close", [close(1000), text("late")], closed(1000)),
    ("7.1.5", "a close inside a message", [text("frag", fin=False), close(1000), rest(b"ment")], closed(1000)),
    ("7.1.6", "a large message, a text and a close at once", [text("x" * 262144) + text("Hello World!") + close(1000)], closed(1000, "x" * 262144, "Hello World!")),
    ("7.1.7", "what is no frame behind the close", [close(1000), b"\xff" * 20], closed(1000)),
    ("7.3.1", "a close that says nothing", [close()], closed(1000)),
    ("7.3.2", "a close of one byte", [frame(CLOSE, b"a")], BAD),
    ("7.3.3", "a close with a code", [close(1000)], closed(1000)),
    ("7.3.4", "a close with a reason", [close(1000, b"Hello World!")], closed(1000)),
    ("7.3.5", "a close with the longest reason", [close(1000, b"*" * 123)], closed(1000)),
    ("7.3.6", "a close that is too long", [close(1000, b"*" * 124)], BAD),
    ("7.5.1", "a reason that is no text", [close(1000, GREEK.encode() + b"\xed\xa0\x80")], NOT_TEXT),
    ("7.5.2", "a reason in Greek", [close(1000, GREEK.encode())], closed(1000)),
    ("7.5.3", "a close byte by byte", chopped(close(1000, b"bye"), 1), closed(1000)),
]
CLOSING += [(f"7.7.{n}", f"a close with {code}", [close(code)], closed(code)) for n, code in enumerate(GOOD_CODES, 1)]
CLOSING += [(f"7.9.{n}", f"a close with {code}, which nobody may send", [close(code)], BAD) for n, code in enumerate(BAD_CODES, 1)]

MOST = "m" * LIMIT
LIMITS = [
    ("9.1.1", "a text of 256 KiB", [text("t" * (256 << 10))], echo("t" * (256 << 10))),
    ("9.2.1", "256 KiB of bytes", [binary(b"\xfe" * (256 << 10))], echo(b"\xfe" * (256 << 10))),
    ("9.1.2", "a text as long as it may be", [text(MOST)], echo(MOST)),
    ("9.2.2", "bytes as many as there may be", [binary(MOST.encode())], echo(MOST.encode())),
    ("9.3.1", "as much in fragments of 64", [text("m" * 64, fin=False), *[rest(b"m" * 64, fin=False)] * (LIMIT // 64 - 1), rest()], echo(MOST)),
    ("9.3.2", "as much in fragments of 64 KiB", [text("m" * 65536, fin=False), *[rest(b"m" * 65536, fin=False)] * 15, rest()], echo(MOST)),
    ("9.5.1", "as much in pieces of 2 KiB", chopped(text(MOST), 2048), echo(MOST)),
    ("9.6.1", "as many bytes in pieces of 64 KiB", chopped(binary(MOST.encode()), 65536), echo(MOST.encode())),
    ("9.7.1", "a hundred small texts", [b"".join(text(f"{n}") for n in range(100))], echo(*(f"{n}" for n in range(100)))),
    ("9.8.1", "fifty messages of 16 KiB", [binary(b"%03d" % n + b"x" * 16381) for n in range(50)], echo(*(b"%03d" % n + b"x" * 16381 for n in range(50)))),
]
# What servers are known to pass over or to see later; where the proxy is who reads, it does not.
STRICT = [
    ("1.3.5", "a length in more bytes than it needs", [text("hello", length=2)], BAD),
    ("1.3.6", "a length in far more bytes than it needs", [text("*" * 200, length=8)], BAD),
    ("6.4.1", "a bad fragment is known before the next", [text(GREEK, fin=False), rest(b"\xf4\x90\x80\x80", fin=False), WAIT], NOT_TEXT),
    ("6.4.2", "a bad fragment is known at its worst byte", [text(GREEK.encode() + b"\xf4", fin=False), rest(b"\x90", fin=False), WAIT], NOT_TEXT),
    ("6.4.3", "a bad frame is known before its end", [text(GREEK.encode() + b"\xf4\x90\x80\x80edited")[:-8], WAIT], NOT_TEXT),
    ("6.4.4", "a bad byte is known though its letter goes on", [text(GREEK.encode() + b"\xed\xa0\x80edited")[:-7], WAIT], NOT_TEXT),
    ("9.9.1", "a text longer than it may be, at its head", [b"\x81\xff" + (LIMIT + 1).to_bytes(8, "big") + MASK, WAIT], TOO_LONG),
    ("9.9.2", "fragments longer together", [text("m" * LIMIT, fin=False), b"\x80\x81" + MASK, WAIT], TOO_LONG),
    ("9.9.3", "a length of 2^62", [b"\x82\xff" + b"\x40" + b"\0" * 7 + MASK, WAIT], TOO_LONG),
    ("9.9.4", "fragments without end", [text("a", fin=False), *[rest(b"m" * 65536, fin=False)] * 40, WAIT], TOO_LONG),
]

CHAPTERS = [FRAMING, PINGS, RESERVED, OPCODES, FRAGMENTS, UTF8, CLOSING, LIMITS]
