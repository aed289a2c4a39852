"""A published Bayeux client in Python: subscribes, publishes, and prints what it gets as lines of JSON."""

import asyncio
import json
import sys

from aiocometd_ng import Client, ConnectionType


async def main(url):
    async with Client(url, connection_types=ConnectionType.LONG_POLLING) as client:
        await client.subscribe("/python/**")
        await client.publish("/python/a", {"n": 1})
        for _ in range(2):
            print(json.dumps(await client.receive()), flush=True)


asyncio.run(main(sys.argv[1]))
