"""Kills a proxy with a store in a folder again and again while clients publish and listen, and checks what they saw.

    PERIHELION_BIN=target/debug/perihelion python3 tests/durability/run.py 50

The argument is the number of kills. The seed is printed; SEED=… repeats the times of the kills.
"""

import asyncio
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time

from checker import Notebook, check
from clients import Connection, over_long_poll, over_sse, publish, publisher, serve_application, subscriber

CHANNELS = ["a", "b", "c", "d"]
LIFE = (0.05, 0.4)  # Seconds between the start and the kill.
DEADLINE = 30  # Seconds until everybody has everything.


class Crowd:
    """Publishers and subscribers, and what they have seen."""

    def __init__(self, http, control, subscribers=50, publishers=8, pause=0):
        """`http` and `control` are the addresses of each server, in the same order; publishers pause between messages."""
        self.notebook = Notebook()
        self.http, self.control = http, control
        self.counts, self.pause = (subscribers, publishers), pause
        self.stop = asyncio.Event()

    async def start(self):
        subscribers, publishers = self.counts
        begin = await publish(Connection(*self.control), CHANNELS[0], "begin")
        transports = [over_sse, over_long_poll]
        self.subscribers, self.publishers = [], []
        for number in range(subscribers):
            who = f"subscriber {number}"
            self.notebook.begin[who] = begin
            self.notebook.channels[who] = [CHANNELS[number % 4], CHANNELS[(number + 1 + number // 4 % 3) % 4]]
            task = subscriber(self.notebook, who, transports[number % 2](rotated(self.http, number // 2)))
            self.subscribers.append(asyncio.create_task(task))
        for number in range(publishers):
            insists = number % 2 == 0
            addresses = rotated(self.control, number // 2)
            task = publisher(self.notebook, addresses, f"p{number}", CHANNELS, insists, self.stop, self.pause)
            self.publishers.append(asyncio.create_task(task))

    async def finish(self, deadline=DEADLINE):
        """Publishing ends; whoever listens gets some time for what is left."""
        self.stop.set()
        await asyncio.gather(*self.publishers)
        last = time.monotonic() + deadline
        while time.monotonic() < last and not self.has_everything():
            await asyncio.sleep(0.05)
        # What comes twice or unasked may come last.
        await asyncio.sleep(0.2)
        for task in self.subscribers:
            task.cancel()

    def has_everything(self):
        notebook = self.notebook
        wanted = {channel: set() for channel in CHANNELS}
        for data in notebook.acknowledged:
            wanted[notebook.sent[data]].add(data)
        for who, channels in notebook.channels.items():
            got = {data for _, data, _ in notebook.received[who]}
            if any(wanted[channel] - got for channel in channels):
                return False
        return True


def rotated(addresses, by):
    by %= len(addresses)
    return addresses[by:] + addresses[:by]


class Proxy:
    """The real binary with a file of its own in a folder, killed and started again."""

    def __init__(self, folder, http, control, application, store, more="", files=None, history=1000000):
        """`more` is added to its configuration; `files` is its limit of open files, `history` what each channel keeps."""
        self.files = files
        self.control, self.file = control, os.path.join(folder, f"{http[0]}.yaml")
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(
                f"listen: {http[0]}:{http[1]}\ncontrol: {control[0]}:{control[1]}\n"
                f"upstream: http://{application[0]}:{application[1]}\n"
                f"store: {store}\nlog: {{ access: off, level: warn }}\n"
                f"channels: {{ history: {{ messages: {history}, age: off }} }}\n"
                f"limits: {{ held_connections: 1000 }}\n{more}"
            )

    async def start(self):
        command = [os.environ["PERIHELION_BIN"], "run", "-c", self.file]
        with open(f"{self.file}.log", "ab") as log:
            self.process = subprocess.Popen(command, stderr=log)
        if self.files is not None:
            resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (self.files, self.files))
        last = time.monotonic() + DEADLINE
        while True:
            try:
                _, writer = await asyncio.open_connection(*self.control)
                writer.close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > last:
                    raise SystemExit(f"the proxy doesn't start: {self.process.poll()}\n{self.log()}") from None
                await asyncio.sleep(0.01)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def log(self):
        with open(f"{self.file}.log", encoding="utf-8") as log:
            return log.read()


def addresses(times, count):
    """Hosts of this run's own, so that nothing else on the machine is in the way."""
    network = f"127.{times.randrange(1, 255)}.{times.randrange(1, 255)}"
    first = os.getpid() % 200 + 1
    return [f"{network}.{first + number}" for number in range(count)]


def report(notebook, what, began):
    """Says what was seen; whether nothing is wrong with it."""
    faults = check(notebook)
    received = sum(len(messages) for messages in notebook.received.values())
    print(
        f"{what} in {time.monotonic() - began:.0f} s: {len(notebook.sent)} sent, "
        f"{len(notebook.acknowledged)} acknowledged, {received} received by {len(notebook.channels)} subscribers, "
        f"{len(faults)} faults"
    )
    print("\n".join(faults[:20]))
    return not faults


async def run(kills, seed):
    times = random.Random(seed)
    [host] = addresses(times, 1)
    http, control, application = (host, 8080), (host, 7070), (host, 8000)
    with tempfile.TemporaryDirectory() as folder:
        server = await serve_application(application)
        proxy = Proxy(folder, http, control, application, f"{{ path: {folder}/store }}")
        await proxy.start()
        crowd = Crowd([http], [control])
        await crowd.start()
        began = time.monotonic()
        for _ in range(kills):
            await asyncio.sleep(times.uniform(*LIFE))
            proxy.kill()
            await proxy.start()
        await crowd.finish()
        proxy.kill()
        server.close()
    return report(crowd.notebook, f"{kills} kills", began) and len(crowd.notebook.acknowledged) > 10 * kills


def main():
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    print(f"SEED={seed}")
    sys.exit(0 if asyncio.run(run(kills, seed)) else 1)


if __name__ == "__main__":
    main()
