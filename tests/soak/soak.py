"""A mixed load for a long time, one fault after the other, against the real binary.

    PERIHELION_BIN=target/release/perihelion python3 tests/soak/soak.py --minutes 30 [--docs docs]

Downloads and uploads are checked byte by byte, what subscribers get by the checker of tests/durability. Fails if
anything was wrong, lost or repeated, or if memory or descriptors grow. With --docs it writes the table and the plot of
docs/reliability.md. A full disk needs root, for a file system of its own, and is left out by name without.
"""

import argparse
import asyncio
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "durability"))
import faults  # noqa: E402
import plot  # noqa: E402
from checker import check  # noqa: E402
from load import Count, again, download, upload  # noqa: E402
from run import Crowd, Proxy, addresses  # noqa: E402

FILES = 1000  # The proxy's limit of open files.
EVERY = 5  # Seconds between two looks at the proxy.
HISTORY = 1000  # Messages of a channel: minutes of them.
REST = 10  # Seconds between two faults.
CALM = 8  # Seconds after the end in which connections that nobody uses are closed.
# What may be more at the end than at the beginning: what was warmed up, a kept connection or two.
MEMORY_GROWTH_MAX = 1.15
FILES_GROWTH_MAX = 10
MORE = """\
buffers: { memory: 16MiB, folder: FOLDER, disk: 256MiB }
timeouts: { request_head: 5s, body: 5s, connect: 1s, response: 8s, idle: 20s }
"""


class Watch:
    """What the proxy's process holds, every few seconds."""

    def __init__(self, pid, count):
        self.pid, self.count = pid, count
        self.began = time.monotonic()
        self.samples = []  # (seconds, resident MiB, open files, whole requests a second)
        self.marks = []  # (from, to, name)

    def now(self):
        return time.monotonic() - self.began

    def look(self):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        resident = int(status.split("VmRSS:")[1].split()[0]) / 1024
        return resident, len(os.listdir(f"/proc/{self.pid}/fd"))

    async def run(self):
        before = self.count.whole
        while True:
            await asyncio.sleep(EVERY)
            self.samples.append((self.now(), *self.look(), (self.count.whole - before) / EVERY))
            before = self.count.whole

    async def during(self, fault, world):
        began = self.now()
        await fault(world)
        self.marks.append((began, self.now(), fault.__name__.replace("_", " ")))


def own_disk(folder):
    """A small file system for bodies, where this may be; whether it is one."""
    return subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], stderr=subprocess.DEVNULL).returncode == 0


async def soak(seconds, files):
    [host] = addresses(random.Random(), 1)
    http, control, application = (host, 8080), (host, 7070), (host, 8000)
    with tempfile.TemporaryDirectory(prefix="perihelion-soak-") as folder:
        disk = pathlib.Path(folder) / "disk"
        disk.mkdir()
        mounted = own_disk(disk)
        try:
            more = MORE.replace("FOLDER", str(disk))
            proxy = Proxy(folder, http, control, application, f"{{ path: {folder}/store }}", more, files, HISTORY)
            await proxy.start()
            try:
                return await turn(proxy, faults.World(proxy, http, application, files, disk), seconds, mounted, control)
            finally:
                proxy.kill()
        finally:
            if mounted:
                subprocess.run(["umount", disk], check=True)


async def turn(proxy, world, seconds, mounted, control):
    await world.start_application()
    count = Count()
    crowd = Crowd([world.address], [control], subscribers=20, publishers=2, pause=0.2)
    await crowd.start()
    clients = [asyncio.create_task(again(count, once, world.address)) for once in [download, upload] for _ in range(4)]
    await asyncio.sleep(EVERY * 2)
    watch = Watch(proxy.process.pid, count)
    watching = asyncio.create_task(watch.run())
    wanted = [fault for fault in faults.FAULTS if mounted or fault is not faults.the_disk_is_full]
    if not mounted:
        print("left out, since this needs root: the disk is full")
    before = watch.look()
    while watch.now() < seconds:
        for fault in wanted:
            await watch.during(fault, world)
            await asyncio.sleep(REST)
            if watch.now() >= seconds:
                break
    await asyncio.sleep(CALM)
    after = watch.look()
    await crowd.finish()
    watching.cancel()
    for client in clients:
        client.cancel()
    world.end_application()
    alive = proxy.process.poll() is None
    return Outcome(watch, count, crowd.notebook, before, after, alive)


class Outcome:
    """What is told at the end."""

    def __init__(self, watch, count, notebook, before, after, alive):
        self.watch, self.count, self.notebook = watch, count, notebook
        self.before, self.after = before, after
        self.wrong = [*count.wrong, *check(notebook)]
        if not alive:
            self.wrong.append("the proxy has ended")
        early, late = self.typical(0), self.typical(2)
        self.memory = early, late
        if late > early * MEMORY_GROWTH_MAX:
            self.wrong.append(f"resident memory grew from {early:.1f} to {late:.1f} MiB")
        if after[1] > before[1] + FILES_GROWTH_MAX:
            self.wrong.append(f"open files grew from {before[1]} to {after[1]}")

    def typical(self, third):
        """The median of resident memory in a third of the time, in MiB."""
        samples = self.watch.samples
        part = sorted(sample[1] for sample in samples[len(samples) * third // 3 : len(samples) * (third + 1) // 3])
        return part[len(part) // 2] if part else 0.0

    def lines(self):
        """Name and value of each row of the table."""
        received = sum(len(messages) for messages in self.notebook.received.values())
        refused = ", ".join(f"{count} × {status}" for status, count in sorted(self.count.refused.items())) or "none"
        yield "time", f"{self.watch.now() / 60:.0f} minutes, {len(self.watch.marks)} faults of {len(faults.FAULTS)} kinds"
        yield "downloads and uploads that came whole", f"{self.count.whole}, every byte compared"
        yield "refused while something was broken", refused
        yield "broken off while something was broken", str(self.count.broken)
        yield "messages acknowledged, received", f"{len(self.notebook.acknowledged)}, {received} by {len(self.notebook.channels)} subscribers"
        yield "resident memory, first and last third (median)", f"{self.memory[0]:.1f} and {self.memory[1]:.1f} MiB"
        yield "open files before and after", f"{self.before[1]} and {self.after[1]}"
        yield "wrong, lost, repeated, out of order", str(len(self.wrong))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--docs", type=pathlib.Path, help="where the table and the plot are written")
    options = parser.parse_args()
    outcome = asyncio.run(soak(options.minutes * 60, FILES))
    for name, value in outcome.lines():
        print(f"{name}: {value}")
    print("\n".join(outcome.wrong[:20]))
    if options.docs:
        plot.write(options.docs, outcome, options.minutes)
    sys.exit(1 if outcome.wrong else 0)


if __name__ == "__main__":
    main()
