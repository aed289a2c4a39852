"""A published Bayeux client in Python: subscribes thrice to the same, publishes, and prints what it gets as lines of JSON."""

import asyncio
import json
import sys

from aiocometd_ng import Client, ConnectionType
from aiocometd_ng.extensions import Extension


class Acknowledgement(Extension):
    """Says with each connect which batch it has, as cometd.js does."""

    def __init__(self):
        self.has = 0

    async def outgoing(self, payload, headers):
        for message in payload:
            if message["channel"] == "/meta/handshake":
                message.setdefault("ext", {})["ack"] = True
            if message["channel"] == "/meta/connect":
                message.setdefault("ext", {})["ack"] = self.has

    async def incoming(self, payload, headers=None):
        for message in payload:
            if message["channel"] == "/meta/handshake" and message["successful"]:
                assert message["ext"]["ack"] is True, message
                self.has = 0
            if message["channel"] == "/meta/connect" and message["successful"]:
                self.has = message["ext"]["ack"]


async def main(url, kind):
    # Without a timeout of its own it tries to come back for as long as its server advises.
    client = Client(url, ConnectionType(kind), connection_timeout=0, extensions=[Acknowledgement()])
    async with client:
        for pattern in ("/python/*", "/python/**", "/python/here"):
            await client.subscribe(pattern)
        await client.publish("/python/a", {"n": 1})
        async for message in client:
            print(json.dumps(message), flush=True)


asyncio.run(main(sys.argv[1], sys.argv[2]))
