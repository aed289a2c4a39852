"""HTTP/2 as RFC 9113 and RFC 7541 have it, frame by frame, against the real binary.

    PERIHELION_BIN=target/debug/perihelion tests/conformance/.venv/bin/python tests/conformance/http2.py [WORD]

The rules are rows of http2_cases.py; where one answer depends on the next, they are functions here. WORD plays those rows
only whose text has it. Beside each row another request is under way on the same connection, which has to end well where
only a stream is at fault, and the next connection has to be served in any case.
"""

import sys
import time

import h2.config
import h2.connection
import h2.events

from frames import *
from http2_cases import FIRST, SLOW, SYNC, TABLES, Closed, Differs, Fine, GoAway, Reset, Status
from stage import Application, Proxy

STREAMS = 8  # At once; the rows rely on it.
WINDOW = 65535
CONFIGURATION = """
listen: [{ address: $HTTP, http2: true }]
control: $CONTROL
upstream: %s
limits: { http2: { streams: 8, window: 64KiB } }
log: { access: off, level: warn }
"""
BYSTANDER, NEXT = 1, 101
LARGE = b"0123456789" * 30_000


def answer(method, path, headers, body):
    """What the application says."""
    if path == "/slow":
        time.sleep(0.2)
    if path == "/unread":
        time.sleep(0.5)
    return (200, {}, LARGE if path == "/large" else path.encode() + b" " + body)


def outcome(client, expected):
    """What has come of a row, as far as it takes to know whether that is what was expected."""
    client.sync()
    if isinstance(expected, Status):
        client.until(lambda: client.is_over(expected.stream) or client.goaway or client.resets)
    elif isinstance(expected, Reset):
        client.until(lambda: client.resets or client.goaway or client.is_over(expected.stream))
    elif isinstance(expected, (GoAway, Closed)):
        client.until(lambda: False)  # To its end.
    if client.goaway and client.goaway.error_code != NO_ERROR:
        return GoAway(client.goaway.error_code)
    if client.is_closed:
        return Closed()
    for stream, code in client.resets.items():
        # Behind an answer, NO_ERROR says that the rest of the request isn't wanted.
        if code != NO_ERROR or not client.is_over(stream):
            return Reset(code, stream)
    if isinstance(expected, (Status, Reset)) and client.status(expected.stream):
        return Status(client.status(expected.stream), expected.stream)
    return Fine()


def state_is_right(client, outcome, with_bystander):
    """What is wrong with the connection and its other streams."""
    if isinstance(outcome, (GoAway, Closed)):
        if not client.until(lambda: client.is_closed):
            return "the connection stays open"
        if client.goaway and with_bystander and client.goaway.last_stream_id < BYSTANDER:
            return f"the other request is said to have been seen by nobody: {client.goaway}"
        return None
    if with_bystander:
        client.send(data(BYSTANDER, b"rest", end_stream=True))
        client.until(lambda: client.is_over(BYSTANDER) or client.is_closed)
        if (client.status(BYSTANDER), client.body(BYSTANDER)) != (200, b"/bystander part,rest"):
            return f"the other request got {client.heads.get(BYSTANDER)}, {client.body(BYSTANDER)}"
    last = max((frame.stream_id for frame in client.frames), default=0)
    if last < NEXT:
        client.send(headers(NEXT, changed(GET, path="/next")))
        client.until(lambda: client.is_over(NEXT) or client.is_closed)
        if client.status(NEXT) != 200:
            return "the next request isn't served"
    return None


def play(proxy, row, with_bystander=True):
    """What is wrong with a row; None if nothing is."""
    section, what, frames, expected, *differs = row
    expected = differs[0].outcome if differs else expected
    client = Client(proxy.http)
    try:
        if with_bystander:
            client.begin()
            client.send(headers(BYSTANDER, changed(POST, path="/bystander"), end_stream=False), data(BYSTANDER, b"part,"))
        for frame in frames:
            if frame is SYNC:
                client.sync()
            elif isinstance(frame, Status):
                client.until(lambda: client.is_over(frame.stream))
            else:
                client.send(frame)
        got = outcome(client, expected)
        if got != expected:
            return f"{got} instead of {expected}"
        return state_is_right(client, got, with_bystander)
    finally:
        client.close()


# Rules in which one answer depends on the next. Each gives what is wrong.


def settings_are_acknowledged_each(client):
    """§6.5.3: settings are acknowledged, each once and in their order"""
    client.begin()
    client.send(*(settings((INITIAL_WINDOW_SIZE, size)) for size in (1, 2, 3)))
    client.sync()
    acknowledged = sum(frame.type == SETTINGS and "ACK" in frame.flags for frame in client.frames)
    return None if acknowledged == 4 else f"{acknowledged} acknowledgements of 4 settings"


def pings_are_answered_with_what_they_say(client):
    """§6.7: a PING is answered with the same bytes"""
    client.begin()
    client.send(ping(b"abcdefgh"))
    said = lambda: client.has(PingFrame, lambda frame: "ACK" in frame.flags and frame.opaque_data == b"abcdefgh")
    return None if client.until(said) else "no answer"


def a_window_of_one_byte(client):
    """§6.9.1: with a window of one byte, one byte comes"""
    client.begin((INITIAL_WINDOW_SIZE, 1))
    client.send(headers(3, changed(GET, path="/large")))
    client.until(lambda: client.body(3))
    client.sync()
    if client.body(3) != LARGE[:1]:
        return f"{len(client.body(3))} bytes"
    client.send(window(3, 2))
    client.until(lambda: len(client.body(3)) == 3)
    client.sync()
    return None if client.body(3) == LARGE[:3] else f"{len(client.body(3))} bytes instead of 3"


def a_window_that_settings_open(client):
    """§6.9.2: settings change the windows of streams that there are"""
    client.begin((INITIAL_WINDOW_SIZE, 0))
    client.send(headers(3, changed(GET, path="/large")))
    client.until(lambda: client.status(3))
    client.sync()
    if client.body(3):
        return "bytes in a window of zero"
    client.send(settings((INITIAL_WINDOW_SIZE, 1)))
    client.until(lambda: client.body(3))
    client.sync()
    return None if client.body(3) == LARGE[:1] else f"{len(client.body(3))} bytes instead of 1"


def a_window_below_zero(client):
    """§6.9.2: a window that settings take below zero has to be opened beyond that"""
    client.begin((INITIAL_WINDOW_SIZE, 3))
    client.send(headers(3, changed(GET, path="/large")))
    client.until(lambda: len(client.body(3)) == 3)
    client.send(settings((INITIAL_WINDOW_SIZE, 1)), window(3, 2))
    client.sync()
    if len(client.body(3)) != 3:
        return "bytes in a window of zero"
    client.send(window(3, 1))
    client.until(lambda: len(client.body(3)) == 4)
    client.sync()
    return None if len(client.body(3)) == 4 else f"{len(client.body(3))} bytes instead of 4"


def the_window_of_the_connection(client):
    """§6.9.1: however large the windows of streams are, the connection has one"""
    client.begin((INITIAL_WINDOW_SIZE, 1 << 20))
    client.send(headers(3, changed(GET, path="/large")), headers(5, changed(GET, path="/large")))
    together = lambda: len(client.body(3)) + len(client.body(5))
    client.until(lambda: together() >= WINDOW)
    client.sync()
    if together() != WINDOW:
        return f"{together()} bytes in a window of {WINDOW}"
    client.send(window(0, 1 << 20))
    client.until(lambda: client.is_over(3) and client.is_over(5))
    return None if (client.body(3), client.body(5)) == (LARGE, LARGE) else "the rest doesn't come"


def frames_are_as_large_as_the_client_says(client):
    """§4.2: no frame is larger than 2^14 bytes, unless the client takes such"""
    client.begin((INITIAL_WINDOW_SIZE, 1 << 20))
    client.send(window(0, 1 << 20), headers(3, changed(GET, path="/large")))
    client.until(lambda: client.is_over(3))
    largest = max(len(frame.data) for frame in client.frames if frame.type == DATA)
    return None if largest <= 16384 and client.body(3) == LARGE else f"{largest} bytes in a frame"


def a_place_is_free_again_after_a_reset(client):
    """§5.1.2: streams that are closed don't count any more"""
    client.begin()
    for stream in range(1, 1 + 2 * STREAMS, 2):
        client.send(headers(stream, SLOW))
    client.sync()
    client.send(rst(1), rst(3))
    client.send(headers(51), headers(53))
    client.until(lambda: client.is_over(51) and client.is_over(53))
    return None if (client.status(51), client.status(53)) == (200, 200) else f"{client.resets}"


def a_goaway_of_the_client_lets_requests_end(client):
    """§6.8: a client that says GOAWAY gets its answers"""
    client.begin()
    client.send(headers(3, SLOW), raw(GOAWAY, 0, 0, b"\0" * 8))
    client.until(lambda: client.is_over(3))
    if client.status(3) != 200:
        return f"{client.heads.get(3)}"
    return None if client.until(lambda: client.is_closed) else "the connection stays open"


def an_early_answer_ends_with_no_error(client):
    """§8.1: who answers before the request's end may ask to stop it with NO_ERROR, behind the whole answer"""
    client.begin()
    client.send(headers(3, changed(POST, method="TRACE"), end_stream=False))
    client.until(lambda: client.is_over(3))
    client.sync()
    reset = client.resets.get(3, NO_ERROR)
    return None if (client.status(3), reset) == (405, NO_ERROR) else f"{client.heads.get(3)}, reset {reset}"


def heads_without_end_end_the_connection(client):
    """§10.5.1, §6.10: CONTINUATION without end"""
    client.begin()
    client.send(begun(3, GET[:1]))
    for _ in range(2000):
        client.send(continuation(3, end=False))
    client.until(lambda: client.is_closed)
    return None if client.is_closed else "the connection stays open"


def what_is_too_large_is_answered(client):
    """§10.5.1: a list of fields that is too large is answered 431"""
    client.begin()
    client.send(headers(3, (*GET, *((f"x-{number}", "y" * 100) for number in range(150)))))
    client.until(lambda: client.is_over(3) or client.is_closed)
    return None if client.status(3) == 431 else f"{client.heads.get(3)}"


def a_whole_client_finds_nothing_wrong(client):
    """a client of the library h2, which checks what it gets: uploads and downloads at once"""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    streams = range(1, 2 * STREAMS, 2)
    left = {stream: LARGE for stream in streams}
    for stream in streams:
        connection.send_headers(stream, list(changed(POST, path=f"/{stream}")))
    got, ended = {stream: b"" for stream in streams}, set()
    while len(ended) < len(streams):
        for stream in streams:
            while left[stream] is not None:
                size = min(connection.local_flow_control_window(stream), connection.max_outbound_frame_size)
                if size == 0:
                    break
                piece, rest = left[stream][:size], left[stream][size:]
                connection.send_data(stream, piece, end_stream=not rest)
                left[stream] = rest or None
        client.send(connection.data_to_send())
        client.socket.settimeout(PATIENCE)
        for event in connection.receive_data(client.socket.recv(65536)):
            if isinstance(event, h2.events.DataReceived):
                got[event.stream_id] += event.data
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                ended.add(event.stream_id)
            elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                return f"{event}"
    wrong = [stream for stream in streams if got[stream] != f"/{stream} ".encode() + LARGE]
    return f"{wrong} are not what was sent" if wrong else None


RULES = [
    settings_are_acknowledged_each,
    pings_are_answered_with_what_they_say,
    a_window_of_one_byte,
    a_window_that_settings_open,
    a_window_below_zero,
    the_window_of_the_connection,
    frames_are_as_large_as_the_client_says,
    a_place_is_free_again_after_a_reset,
    a_goaway_of_the_client_lets_requests_end,
    an_early_answer_ends_with_no_error,
    heads_without_end_end_the_connection,
    what_is_too_large_is_answered,
    a_whole_client_finds_nothing_wrong,
]


def play_rule(proxy, rule):
    client = Client(proxy.http)
    try:
        return rule(client)
    except (OSError, TimeoutError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        client.close()


def main():
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    began, played, differing, wrong = time.monotonic(), 0, 0, []
    with Application(answer) as application, Proxy(CONFIGURATION % application.url) as proxy:
        rows = [("connections", row, False) for row in FIRST]
        rows += [(name, row, True) for name, table in TABLES for row in table]
        for name, row, with_bystander in rows:
            if word in f"{row[0]} {row[1]}":
                played, differing = played + 1, differing + (len(row) > 4)
                fault = play(proxy, row, with_bystander)
                wrong += [f"{row[0]}, {row[1]}: {fault}"] if fault else []
        for rule in RULES:
            if word in rule.__doc__:
                played += 1
                fault = play_rule(proxy, rule)
                wrong += [f"{rule.__doc__}: {fault}"] if fault else []
        if "panicked" in proxy.said():
            wrong.append(proxy.said())
    print(f"HTTP/2: {played} rules in {time.monotonic() - began:.1f} s, {len(wrong)} broken, {differing} kept in another way")
    print("\n".join(wrong))
    sys.exit(1 if wrong or not played else 0)


if __name__ == "__main__":
    main()
