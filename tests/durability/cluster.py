"""Three proxies on one Redis: nodes are killed, Redis is killed, paused and cut off, and what clients saw is checked.

    PERIHELION_BIN=target/debug/perihelion python3 tests/durability/cluster.py 8

The argument is the number of faults, of four kinds in turn. While Redis can't be had, every node has to say so, and to
refuse what is published. The seed is printed; SEED=… repeats the times of the faults.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

from clients import ENDED, LOST, Connection, serve_application
from run import DEADLINE, Crowd, Proxy, addresses, report

PEACE = (0.3, 1.5)  # Seconds between two faults.
PAUSE = 10  # Seconds that Redis is stopped.
CUT = (0.5, 4)  # Seconds that nobody gets through to it.


class Redis:
    """A real redis-server that keeps what it has answered."""

    def __init__(self, folder, host):
        self.folder, self.address = folder, (host, 6379)

    async def start(self):
        host, port = self.address
        self.process = subprocess.Popen(
            ["redis-server", "--bind", host, "--port", str(port), "--dir", self.folder, "--save", ""]
            + ["--appendonly", "yes", "--appendfsync", "always"],
            stdout=subprocess.DEVNULL,
        )
        await until("redis answers", self.answers)

    async def answers(self):
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(b"PING\r\n")
        line = await reader.readline()
        writer.close()
        return line == b"+PONG\r\n"

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Relay:
    """The way from the nodes to Redis, which can be cut."""

    def __init__(self, host, target):
        self.address, self.target = (host, 6380), target
        self.writers, self.is_cut = set(), False

    async def start(self):
        self.server = await asyncio.start_server(self.connection, *self.address)

    async def connection(self, reader, writer):
        self.writers.add(writer)
        try:
            onwards = await asyncio.open_connection(*self.target)
            self.writers.add(onwards[1])
            if self.is_cut:
                onwards[1].close()
                return
            await asyncio.gather(self.copy(reader, onwards[1]), self.copy(onwards[0], writer))
        except ENDED:
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def copy(self, reader, writer):
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except ENDED:
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    def cut(self):
        """Nothing that is on its way arrives."""
        self.is_cut = True
        for writer in list(self.writers):
            writer.transport.abort()

    def mend(self):
        self.is_cut = False

    async def close(self):
        self.cut()
        self.server.close()
        # What has just come in gets to its end.
        await asyncio.sleep(0.1)


class Cluster:
    """Everything that can break, and what has to be seen while it is broken."""

    def __init__(self, redis, relay, nodes, times):
        self.redis, self.relay, self.nodes, self.times = redis, relay, nodes, times

    async def kill_a_node(self):
        node = self.times.choice(self.nodes)
        node.kill()
        await asyncio.sleep(self.times.uniform(0, 0.5))
        await start(node)

    async def restart_redis(self):
        """And one of the nodes, which can't start before."""
        self.redis.kill()
        await self.all_refuse()
        node = self.times.choice(self.nodes)
        node.kill()
        await self.redis.start()
        await start(node)
        await self.all_accept()

    async def pause_redis(self):
        self.redis.signal(signal.SIGSTOP)
        end = time.monotonic() + PAUSE
        try:
            await self.all_refuse()
            await asyncio.sleep(end - time.monotonic())
        finally:
            self.redis.signal(signal.SIGCONT)
        await self.all_accept()

    async def cut_redis_off(self):
        self.relay.cut()
        end = time.monotonic() + self.times.uniform(*CUT)
        await self.all_refuse()
        await asyncio.sleep(max(0, end - time.monotonic()))
        self.relay.mend()
        await self.all_accept()

    async def all_refuse(self):
        for node in self.nodes:
            await until("a node says that it is degraded", lambda: says(node, "unreachable", b"_connected 0"))
            status, _ = await ask(node, "POST /channels/refused", "x")
            assert status == 503, f"a publish was answered {status} while redis could not be had"
            assert "messages are refused and none comes from other nodes" in node.log()

    async def all_accept(self):
        for node in self.nodes:
            await until("a node is well again", lambda: says(node, '"ok"', b"_connected 1"))


async def start(node):
    """A node ends where it loses Redis while it starts, so that nothing is broken until it is there."""
    await node.start()
    await until("a node starts", lambda: says(node, '"ok"', b"_connected 1"))


async def says(node, ready, metric):
    _, body = await ask(node, "GET /readyz")
    _, metrics = await ask(node, "GET /metrics")
    return ready.encode() in body and b"perihelion_store" + metric in metrics


async def ask(node, what, data=""):
    connection = Connection(node.control)
    try:
        head = f"{what} HTTP/1.1\r\nHost: {node.control[0]}:{node.control[1]}\r\nContent-Length: {len(data)}\r\n\r\n"
        status, fields, reader = await connection.ask(f"{head}{data}".encode())
        return status, await reader.readexactly(int(fields["content-length"]))
    finally:
        connection.lose()


async def until(what, holds):
    last = time.monotonic() + DEADLINE
    while time.monotonic() < last:
        try:
            if await holds():
                return
        except LOST:
            pass
        await asyncio.sleep(0.02)
    raise SystemExit(f"in vain: {what}")


async def run(faults, seed):
    times = random.Random(seed)
    *hosts, elsewhere = addresses(times, 4)
    application = (elsewhere, 8000)
    with tempfile.TemporaryDirectory() as folder:
        server = await serve_application(application)
        redis = Redis(folder, elsewhere)
        relay = Relay(elsewhere, redis.address)
        nodes = []
        try:
            await redis.start()
            await relay.start()
            store = f"{{ redis: 'redis://{elsewhere}:6380' }}"
            for host in hosts:
                nodes.append(Proxy(folder, (host, 8080), (host, 7070), application, store))
                await start(nodes[-1])
            return await watch(Cluster(redis, relay, nodes, times), hosts, faults)
        except BaseException:
            for node in nodes:
                print(f"{node.file}, {node.process.poll()}:\n{node.log()}")
            raise
        finally:
            server.close()
            for process in [*nodes, redis]:
                process.kill()
            await relay.close()


async def watch(cluster, hosts, faults):
    crowd = Crowd([(host, 8080) for host in hosts], [(host, 7070) for host in hosts])
    await crowd.start()
    began = time.monotonic()
    kinds = [cluster.kill_a_node, cluster.cut_redis_off, cluster.restart_redis, cluster.pause_redis]
    for number in range(faults):
        await asyncio.sleep(cluster.times.uniform(*PEACE))
        await kinds[number % len(kinds)]()
    await crowd.finish()
    is_right = report(crowd.notebook, f"{faults} faults in a cluster", began)
    return is_right and len(crowd.notebook.acknowledged) > 10 * faults


def main():
    faults = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    print(f"SEED={seed}")
    sys.exit(0 if asyncio.run(run(faults, seed)) else 1)


if __name__ == "__main__":
    main()
