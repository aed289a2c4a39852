"""The application of the soak: bodies that anybody can check, hashes of uploads, and channels to hold. `application.py HOST PORT`."""

import asyncio
import hashlib
import pathlib
import sys
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "durability"))
from clients import ENDED, read_head  # noqa: E402

PIECE = bytes(range(251)) * 261  # A prime length inside, so that pieces that are swapped don't fit.


def body(seed, size):
    """The same bytes for the same seed."""
    return (PIECE[seed % 251 :] + PIECE * (size // len(PIECE) + 1))[:size]


async def read_body(reader, fields):
    if fields.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(fields.get("content-length", 0)))
    pieces = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        pieces.append((await reader.readexactly(size + 2))[:-2])
    await reader.readexactly(2)
    return b"".join(pieces)


def answer(path, query, upload):
    """Header fields and body."""
    if path == "/body":
        return "", body(int(query["seed"]), int(query["size"]))
    if path == "/sink":
        return "", hashlib.sha256(upload).hexdigest().encode()
    return f"X-Comet-Subscribe: {query['channels']}\r\nX-Comet-Timeout: 20\r\n", b""


async def read_request(reader):
    """Path, query and body of the next request."""
    target = (await reader.readuntil(b"\r\n")).decode().split(" ")[1]
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    url = urllib.parse.urlsplit(target)
    channels, *_ = pairs = url.query.split("&")
    query = {"channels": channels} | dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    return url.path, query, await read_body(reader, fields)


async def connection(reader, writer):
    try:
        while True:
            more, content = answer(*await read_request(reader))
            writer.write(f"HTTP/1.1 200 OK\r\n{more}Content-Length: {len(content)}\r\n\r\n".encode() + content)
            await writer.drain()
    except ENDED:
        writer.close()


async def main(host, port):
    server = await asyncio.start_server(connection, host, int(port), limit=1 << 20)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
