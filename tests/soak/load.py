"""Clients of the soak: each does one thing again and again, and counts what came of it."""

import asyncio
import collections
import hashlib
import pathlib
import random
import socket
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "durability"))
from application import body, read_body  # noqa: E402
from clients import LOST, Connection  # noqa: E402

SIZES = [100, 3_000, 60_000, 400_000, 2_000_000]
PAUSE = 0.05
# What a client waits for an answer: more than every clock of the proxy's configuration.
PATIENCE = 40


class Count:
    """What came of all requests: whole ones, refusals by status, ones that broke off, and wrong ones, which must not be."""

    def __init__(self):
        self.whole = 0
        self.refused = collections.Counter()
        self.broken = 0
        self.wrong = []

    def total(self):
        return self.whole + sum(self.refused.values()) + self.broken


async def again(count, once, address):
    """One client for ever; `once` says whether an answer was whole, or gives its status."""
    connection = Connection(address)
    while True:
        try:
            status = await asyncio.wait_for(once(connection, count), PATIENCE)
            if status == 200:
                count.whole += 1
            else:
                count.refused[status] += 1
                connection.lose()
        except (*LOST, TimeoutError):
            count.broken += 1
            connection.lose()
        await asyncio.sleep(PAUSE)


async def download(connection, count):
    seed, size = random.randrange(251), random.choice(SIZES)
    request = f"GET /body?seed={seed}&size={size} HTTP/1.1\r\nHost: a\r\n\r\n"
    status, fields, reader = await connection.ask(request.encode())
    got = await read_body(reader, fields)
    if status == 200 and got != body(seed, size):
        count.wrong.append(f"a download of {size} bytes came as {len(got)} others")
    return status


async def upload(connection, count):
    content = body(random.randrange(251), random.choice(SIZES))
    framing = f"Content-Length: {len(content)}\r\n\r\n".encode()
    sent = content
    if random.random() < 0.5:
        framing = b"Transfer-Encoding: chunked\r\n\r\n"
        cut = random.randrange(1, len(content))
        sent = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (content[:cut], content[cut:])) + b"0\r\n\r\n"
    status, fields, reader = await connection.ask(b"POST /sink HTTP/1.1\r\nHost: a\r\n" + framing + sent)
    got = await read_body(reader, fields)
    if status == 200 and got.decode() != hashlib.sha256(content).hexdigest():
        count.wrong.append(f"an upload of {len(content)} bytes arrived as something else")
    return status


async def reset(address, request, wait):
    """Sends something, waits without reading, and is gone without a word."""
    try:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(request)
        await asyncio.sleep(wait)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
    except LOST:
        pass


async def crowd(count, address, request, wait):
    """So many clients at once that go without a word."""
    await asyncio.gather(*(reset(address, request, wait) for _ in range(count)))
