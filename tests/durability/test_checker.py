"""The checker finds nothing with an honest server, and the one message that another one loses, repeats or swaps."""

import asyncio
import unittest

from checker import check
from faulty_server import AT, FAULTS, FaultyServer
from run import Crowd


async def watch(fault):
    server = FaultyServer(fault)
    listener = await asyncio.start_server(server.connection, "127.0.0.1", 0)
    address = listener.sockets[0].getsockname()[:2]
    crowd = Crowd(http=[address], control=[address], subscribers=6, publishers=2)
    await crowd.start()
    while len(server.log) < 3 * AT:
        await asyncio.sleep(0.01)
    await crowd.finish(deadline=2)
    return check(crowd.notebook)


class CheckerTest(unittest.TestCase):
    def test_an_honest_server_is_believed(self):
        self.assertEqual(asyncio.run(watch(None)), [])

    def test_one_message_is_enough_to_be_found_out(self):
        for fault in FAULTS:
            with self.subTest(fault):
                self.assertNotEqual(asyncio.run(watch(fault)), [])


if __name__ == "__main__":
    unittest.main()
