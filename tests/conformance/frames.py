"""A client of HTTP/2 that sends what it is told to, and frames that break rules beside those that keep them.

Frames are built and read by hyperframe, heads by hpack. What hyperframe refuses to build is written by `raw`.
"""

import socket
import time

import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATIENCE = 10  # Seconds for an answer that has to come.

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = 5, 6, 7, 8
COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 9, 11

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 32

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 4, 5, 6


def raw(kind, flags, stream, payload=b""):
    """A frame as it is, whatever the rules."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def built(frame_class, stream, flags=(), **fields):
    frame = frame_class(stream, **fields)
    frame.flags |= set(flags)
    return frame.serialize()


def block(*fields):
    """A head that no table remembers (RFC 7541 §6.2.3), with names as they are."""
    return hpack.Encoder().encode([(name, value, True) for name, value in fields], huffman=False)


GET = ((":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/"))
POST = ((":method", "POST"), *GET[1:])


def changed(head, **values):
    """A head in which pseudo-fields have other values, or are missing where that is None."""
    fields = [(name, values.get(name.lstrip(":"), value)) for name, value in head]
    return tuple((name, value) for name, value in fields if value is not None)


def headers(stream, fields=GET, end_stream=True, **more):
    flags = ["END_HEADERS"] + (["END_STREAM"] if end_stream else [])
    data = fields if isinstance(fields, bytes) else block(*fields)
    return built(HeadersFrame, stream, flags, data=data, **more)


def begun(stream, fields=GET, end_stream=True):
    """A head without its end."""
    return built(HeadersFrame, stream, ["END_STREAM"] if end_stream else [], data=block(*fields))


def continuation(stream, *fields, end=True):
    return built(ContinuationFrame, stream, ["END_HEADERS"] if end else [], data=block(*fields) if fields else b"")


def data(stream, content=b"", end_stream=False, **more):
    flags = (["END_STREAM"] if end_stream else []) + (["PADDED"] if more else [])
    return built(DataFrame, stream, flags, data=content, **more)


def settings(*values):
    return raw(SETTINGS, 0, 0, b"".join(name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in values))


def ping(content=b"12345678"):
    return built(PingFrame, 0, opaque_data=content)


def rst(stream, code=CANCEL):
    return built(RstStreamFrame, stream, error_code=code)


def window(stream, increment):
    return raw(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


class Ended(Exception):
    """The other side has closed the connection."""


class Client:
    """One connection, and what has come on it."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.decoder = b"", hpack.Decoder()
        self.frames, self.heads, self.blocks = [], {}, b""
        self.goaway, self.resets, self.is_closed, self.pings = None, {}, False, 0

    def close(self):
        self.socket.close()

    def send(self, *frames):
        try:
            self.socket.sendall(b"".join(frames))
        except OSError:
            pass  # Whoever ends a connection may do so early.

    def begin(self, *values):
        """Preface and settings, both ways."""
        self.send(PREFACE, settings(*values))
        self.until(lambda: self.has(SettingsFrame, lambda frame: "ACK" not in frame.flags))
        self.send(raw(SETTINGS, ACK, 0))
        self.until(lambda: self.has(SettingsFrame, lambda frame: "ACK" in frame.flags))

    def has(self, frame_class, condition=lambda frame: True):
        return any(isinstance(frame, frame_class) and condition(frame) for frame in self.frames)

    def until(self, condition, patience=PATIENCE):
        """Reads until something is so; whether it is, before the end and before patience is lost."""
        last = time.monotonic() + patience
        while not condition():
            left = last - time.monotonic()
            if self.is_closed or left <= 0:
                return False
            self.socket.settimeout(left)
            try:
                self.read()
            except TimeoutError:
                return False
        return True

    def sync(self):
        """Waits until everything was read that was sent; whether the connection lives."""
        self.pings += 1
        content = b"sync%04d" % self.pings
        self.send(ping(content))
        return self.until(lambda: self.has(PingFrame, lambda frame: "ACK" in frame.flags and frame.opaque_data == content))

    def read(self):
        try:
            some = self.socket.recv(65536)
        except ConnectionError:
            some = b""
        if not some:
            self.is_closed = True
            return
        self.buffer += some
        while len(self.buffer) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self.buffer[:9]))
            if len(self.buffer) < 9 + length:
                break
            frame.parse_body(memoryview(self.buffer[9 : 9 + length]))
            self.buffer = self.buffer[9 + length :]
            self.note(frame)

    def note(self, frame):
        self.frames.append(frame)
        if isinstance(frame, GoAwayFrame):
            self.goaway = frame
        elif isinstance(frame, RstStreamFrame):
            self.resets[frame.stream_id] = frame.error_code
        elif isinstance(frame, (HeadersFrame, ContinuationFrame)):
            self.blocks += frame.data
            if "END_HEADERS" in frame.flags:
                head = dict(self.decoder.decode(self.blocks))
                self.heads.setdefault(frame.stream_id, []).append(head)
                self.blocks = b""

    def status(self, stream):
        heads = self.heads.get(stream)
        return int(heads[-1][":status"]) if heads else None

    def body(self, stream):
        return b"".join(frame.data for frame in self.frames if isinstance(frame, DataFrame) and frame.stream_id == stream)

    def is_over(self, stream):
        return any(frame.stream_id == stream and "END_STREAM" in frame.flags for frame in self.frames)
