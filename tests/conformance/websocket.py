"""WebSockets as RFC 6455 has them, frame by frame, against the real binary in the ways in which it has to do with them.

    PERIHELION_BIN=target/debug/perihelion tests/conformance/.venv/bin/python tests/conformance/websocket.py [WORD]

The rows of websocket_cases.py are played on one that is held, whose messages the application gets as requests; on one
over HTTP, of which the application gets events; and on a tunnel to a server of the library websockets, where exactly the same
has to come as without the proxy. Through a tunnel to a mirror every byte has to come back as it went. All but that is done
on streams of HTTP/2 as well (RFC 8441), by the library h2. What the proxy says is read by the library wsproto, which
refuses what breaks the protocol. WORD plays rows whose text has it.
"""

import logging
import socket
import sys
import threading
import time

import h2.config
import h2.connection
import h2.events
from websockets.sync.server import serve
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode

from stage import Application, Proxy
from websocket_cases import BINARY, CHAPTERS, LIMIT, STRICT, TEXT, WAIT, Heard, close

PATIENCE = 20  # Seconds for an answer that has to come.
CONFIGURATION = """
listen: [{ address: $HTTP, http2: true }]
control: $CONTROL
pools: { app: "%s", server: "%s", mirror: "%s" }
sites:
  "*":
    routes:
      - { path: /held, pool: app }
      - { path: /say, pool: app }
      - { path: /over, pool: app, websockets: over_http }
      - { path: /server, pool: server }
      - { path: /mirror, pool: mirror }
limits: { socket_message: 1MiB, hold_body: 2MiB }
log: { access: off, level: warn }
"""
OPENED = (
    "GET %s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
# An empty answer of the application to a message says nothing: what it says begins with this.
SIGN = b"="


def answer(method, path, headers, body):
    """The application: it holds, and says again what it is told, both as requests and as events."""
    if path == "/held":
        return 200, {"X-Comet-Subscribe": "news", "X-Comet-Messages": "/say"}, b""
    if path == "/say":
        return 200, {"Content-Type": headers["Content-Type"]}, SIGN + body
    said = b"".join(event(kind, content) for kind, content in events(body))
    return 200, {"Content-Type": "application/websocket-events"}, said


def events(body):
    """What is told over HTTP, as what is to be said."""
    while body:
        line, body = body.split(b"\r\n", 1)
        kind, *length = line.split(b" ")
        content = None
        if length:
            size = int(length[0], 16)
            content, body = body[:size], body[size + 2 :]
        if kind in (b"TEXT", b"BINARY"):
            yield kind, SIGN + (content or b"")
        elif kind == b"PING":
            yield b"PONG", content
        elif kind in (b"OPEN", b"CLOSE"):
            yield kind, content


def event(kind, content):
    return kind + b"\r\n" if content is None else b"%s %x\r\n%s\r\n" % (kind, len(content), content)


class Conversation:
    """A WebSocket, and what was heard on it."""

    def __init__(self, address, path):
        self.reader, self.unfinished, self.bytes = FrameProtocol(client=True, extensions=[]), b"", b""
        self.heard, self.is_closed, self.has_close = Heard(code="none"), False, False
        self.socket = socket.create_connection(address, PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.bytes = self.open(path)
        self.take(self.bytes)

    def open(self, path):
        """Asks for it; gives what came behind the head."""
        self.socket.sendall((OPENED % path).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            some = self.socket.recv(65536)
            if not some:
                raise ConnectionError(f"no answer but {head}")
            head += some
        head, rest = head.split(b"\r\n\r\n", 1)
        if not head.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(head.decode())
        return rest

    def send(self, piece):
        """Writes and reads at once, since who says much may be waited for with its answers."""
        sender = threading.Thread(target=self.write, args=(piece,))
        if len(piece) < 60_000:
            return self.write(piece)
        sender.start()
        while sender.is_alive() and not self.is_closed:
            self.read(0.05)
        sender.join()

    def write(self, piece):
        try:
            self.socket.settimeout(PATIENCE)
            self.socket.sendall(piece)
        except OSError:
            pass  # Whoever ends a connection may do so early.

    def read(self, patience):
        self.socket.settimeout(patience)
        try:
            some = self.receive()
        except TimeoutError:
            return False
        except ConnectionError:
            some = b""
        if some is None:
            return True
        if some:
            self.bytes += some
            self.take(some)
        else:
            self.is_closed = True
        return True

    def receive(self):
        """The next bytes; none at the end."""
        return self.socket.recv(1 << 20)

    def take(self, some):
        """Frames as wsproto reads them."""
        if self.has_close:
            return
        self.reader.receive_bytes(some)
        for frame in self.reader.received_frames():
            if frame.opcode is Opcode.CLOSE:
                self.has_close = True
                code = frame.payload[0]
                # Who closes without a code is answered with the ordinary one, or with none.
                self.heard.code = 1000 if code is CloseReason.NO_STATUS_RCVD else int(code)
                return
            if frame.opcode is Opcode.PONG:
                self.heard.pongs.append(bytes(frame.payload))
            elif frame.opcode in (Opcode.TEXT, Opcode.BINARY):
                payload = frame.payload.encode() if isinstance(frame.payload, str) else bytes(frame.payload)
                self.unfinished += payload
                if frame.message_finished:
                    self.heard.messages.append((TEXT if frame.opcode is Opcode.TEXT else BINARY, self.unfinished))
                    self.unfinished = b""

    def until(self, condition):
        last = time.monotonic() + PATIENCE
        while not condition() and not self.is_closed:
            if time.monotonic() > last or not self.read(last - time.monotonic()):
                return False
        return condition()


class Stream(Conversation):
    """The same on a stream of HTTP/2."""

    def open(self, path):
        configuration = h2.config.H2Configuration(validate_outbound_headers=False, header_encoding="utf-8")
        self.connection, self.head, self.came, self.has_end = h2.connection.H2Connection(configuration), None, b"", False
        self.connection.initiate_connection()
        asked = {":method": "CONNECT", ":protocol": "websocket", ":scheme": "http", ":path": path, ":authority": "a"}
        self.connection.send_headers(1, list({**asked, "sec-websocket-version": "13"}.items()))
        while self.head is None:
            self.turn()
        if self.head[":status"] != "200":
            raise ConnectionError(f"{self.head}")
        came, self.came = self.came, b""
        return came

    def turn(self):
        """Sends what is to be sent, and takes what comes."""
        self.socket.sendall(self.connection.data_to_send())
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionError("the connection has ended")
        for event in self.connection.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.head = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                self.came += event.data
                self.connection.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset, h2.events.ConnectionTerminated)):
                self.has_end = True
        self.socket.sendall(self.connection.data_to_send())

    def receive(self):
        if not self.came and not self.has_end:
            self.turn()
        came, self.came = self.came, b""
        return came or (b"" if self.has_end else None)

    def send(self, piece):
        self.socket.settimeout(PATIENCE)
        while piece and not self.is_closed and not self.has_end:
            size = min(len(piece), self.connection.local_flow_control_window(1), self.connection.max_outbound_frame_size)
            if size == 0:
                self.read(PATIENCE)
                continue
            self.connection.send_data(1, piece[:size])
            self.socket.sendall(self.connection.data_to_send())
            piece = piece[size:]


def play(address, path, row, talker=Conversation):
    """What was heard of a row to its end."""
    _, _, pieces, expected = row
    talk = talker(address, path)
    try:
        answered = lambda: (len(talk.heard.messages), len(talk.heard.pongs)) == (len(expected.messages), len(expected.pongs))
        waits, sent_pings = 0, 0
        for piece in pieces:
            if piece is WAIT and not expected.ends:
                waits += 1
                talk.until(lambda: len(talk.heard.pongs) >= waits)
            elif piece is WAIT:
                talk.until(lambda: len(talk.heard.messages) == len(expected.messages) > 0 or talk.has_close)
            else:
                talk.send(piece)
        if not expected.ends:
            talk.until(answered)
            talk.send(close(1000))
        talk.until(lambda: talk.has_close)
        # Who closes first waits for the same from the other.
        talk.send(close(1000))
        talk.until(lambda: talk.is_closed)
        return talk
    finally:
        talk.socket.close()


def compare(row, talk, sign=b""):
    """What is wrong with what was heard."""
    expected, heard = row[3], talk.heard
    messages = [(kind, sign + content) for kind, content in expected.messages]
    ends = expected.ends
    # Who ends by itself needn't have heard everything before.
    if heard.messages != (messages[: len(heard.messages)] if ends else messages):
        return f"heard {shown(heard.messages)}"
    if heard.pongs != (expected.pongs[: len(heard.pongs)] if ends else expected.pongs):
        return f"pongs {shown(heard.pongs)}"
    if heard.code != expected.code:
        return f"closed with {heard.code} instead of {expected.code}"
    return None if talk.is_closed else "stays open"


def shown(what):
    return repr(what)[:150]


def same(row, direct, through):
    """What a tunnel has changed."""
    one, other = direct.heard, through.heard
    ends = row[3].ends
    for name, ours, theirs in (("messages", one.messages, other.messages), ("pongs", one.pongs, other.pongs)):
        shorter = min(len(ours), len(theirs)) if ends else None
        if ours[:shorter] != theirs[:shorter]:
            return f"{name} {shown(theirs)} instead of {shown(ours)}"
    if (one.code, direct.is_closed) != (other.code, through.is_closed):
        return f"{other.code}, closed {through.is_closed}, instead of {one.code}, closed {direct.is_closed}"
    return None


def mirrored(address, row):
    """What a mirror behind a tunnel gives back otherwise than it was sent."""
    talk = Conversation.__new__(Conversation)
    talk.take = lambda some: None
    sent = b"".join(piece for piece in row[2] if piece is not WAIT)
    talk.socket = socket.create_connection(address, PATIENCE)
    try:
        talk.socket.sendall((OPENED % "/mirror").encode() + sent[:100])
        head = b""
        while b"\r\n\r\n" not in head:
            head += talk.socket.recv(65536)
        talk.bytes, talk.is_closed = head.split(b"\r\n\r\n", 1)[1], False
        talk.send(sent[100:])
        talk.until(lambda: len(talk.bytes) >= len(sent))
        return None if talk.bytes == sent else f"{len(talk.bytes)} bytes instead of {len(sent)}, or others"
    finally:
        talk.socket.close()


class Mirror:
    """A server that agrees to every upgrade and gives back what it gets."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            client, _ = self.server.accept()
            threading.Thread(target=self.reflect, args=(client,), daemon=True).start()

    @staticmethod
    def reflect(client):
        head = b""
        with client:
            try:
                while b"\r\n\r\n" not in head:
                    head += client.recv(65536)
                client.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
                some = head.split(b"\r\n\r\n", 1)[1]
                while True:
                    client.sendall(some)
                    some = client.recv(65536)
                    if not some:
                        return
            except OSError:
                pass  # Its client has left.


def echo_server():
    """The library's own server, without its limits and pings of its own."""
    quiet = logging.getLogger("websockets.server")
    quiet.setLevel(logging.CRITICAL)

    def handler(connection):
        for message in connection:
            connection.send(message)

    server = serve(handler, "127.0.0.1", 0, compression=None, max_size=4 * LIMIT, ping_interval=None, close_timeout=1, logger=quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def check(proxy, server, row):
    """Every way in which a row goes wrong."""
    address = server.socket.getsockname()
    held = lambda: compare(row, play(proxy.http, "/held", row), SIGN)
    over = lambda: compare(row, play(proxy.http, "/over", row), SIGN)
    tunnel = lambda: same(row, play(address, "/server", row), play(proxy.http, "/server", row))
    on_stream = lambda path: play(proxy.http, path, row, Stream)
    ways = [("held", held), ("over HTTP", over)]
    ways += [(f"{path} on HTTP/2", lambda path=path: compare(row, on_stream(path), SIGN)) for path in ("/held", "/over")]
    if row not in STRICT:
        ways += [("tunnel", tunnel), ("mirror", lambda: mirrored(proxy.http, row))]
        ways += [("tunnel on HTTP/2", lambda: same(row, play(address, "/server", row), on_stream("/server")))]
    for name, way in ways:
        try:
            fault = way()
        except Exception as error:  # Whatever a library says of it.
            fault = f"{type(error).__name__}: {error}"
        if fault:
            yield f"{row[0]} {row[1]}, {name}: {fault}"


def main():
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    rows = [row for chapter in [*CHAPTERS, STRICT] for row in chapter if word in f"{row[0]} {row[1]}"]
    began, wrong, server, mirror = time.monotonic(), [], echo_server(), Mirror()
    url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
    with Application(answer) as application, Proxy(CONFIGURATION % (application.url, url, mirror.url)) as proxy:
        for row in rows:
            wrong += check(proxy, server, row)
        if "panicked" in proxy.said():
            wrong.append(proxy.said())
    server.shutdown()
    print(f"WebSockets: {len(rows)} rules in 3 ways, on HTTP/1 and HTTP/2, and a mirror in {time.monotonic() - began:.1f} s, {len(wrong)} broken")
    print("\n".join(wrong))
    sys.exit(1 if wrong or not rows else 0)


if __name__ == "__main__":
    main()
