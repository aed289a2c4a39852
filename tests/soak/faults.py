"""What goes wrong during a soak: one coroutine each, which leaves everything as it was."""

import asyncio
import os
import pathlib
import signal
import subprocess
import sys

from load import LOST, crowd

HERE = pathlib.Path(__file__).resolve().parent
# In all of them some clients see failures while they last; none of them may see a wrong byte.
FAULTS = []


def fault(function):
    FAULTS.append(function)
    return function


class World:
    """What faults may touch."""

    def __init__(self, proxy, address, application_address, files, disk):
        self.proxy, self.address, self.files, self.disk = proxy, address, files, disk
        self.application_address = application_address
        self.application = None

    async def start_application(self):
        command = [sys.executable, HERE / "application.py", *map(str, self.application_address)]
        self.application = subprocess.Popen(command)
        while True:
            try:
                _, writer = await asyncio.open_connection(*self.application_address)
                writer.close()
                return
            except OSError:
                await asyncio.sleep(0.02)

    def end_application(self):
        self.application.kill()
        self.application.wait()

    def hang_up(self, text):
        """Puts a text in the place of the configuration and tells the proxy."""
        pathlib.Path(self.proxy.file).write_text(text, encoding="utf-8")
        self.proxy.process.send_signal(signal.SIGHUP)


@fault
async def the_application_is_killed(world):
    world.end_application()
    await asyncio.sleep(2)
    await world.start_application()


@fault
async def the_application_stands_still(world):
    world.application.send_signal(signal.SIGSTOP)
    await asyncio.sleep(4)
    world.application.send_signal(signal.SIGCONT)


@fault
async def the_application_flaps(world):
    for _ in range(5):
        world.end_application()
        await asyncio.sleep(0.2)
        await world.start_application()
        await asyncio.sleep(0.3)


@fault
async def a_bad_configuration_comes_and_goes(world):
    good = pathlib.Path(world.proxy.file).read_text(encoding="utf-8")
    for _ in range(3):
        world.hang_up(good + "nonsense: [\n")
        await asyncio.sleep(0.5)
        world.hang_up(good)
        await asyncio.sleep(0.5)


@fault
async def no_file_is_left(world):
    streams = []
    for _ in range(world.files + 50):
        try:
            streams.append(await asyncio.wait_for(asyncio.open_connection(*world.address), 1))
        except (*LOST, TimeoutError):
            break
    await asyncio.sleep(3)
    for _, writer in streams:
        writer.close()


@fault
async def the_disk_is_full(world):
    """A file that takes what is left, so that bodies which don't fit in memory find no room."""
    filler = pathlib.Path(world.disk) / "filler"
    with open(filler, "wb") as file:
        try:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        except OSError:
            pass
    await readers_that_sleep(world)
    os.unlink(filler)


@fault
async def clients_send_nonsense(world):
    for request in (b"\x16\x03\x01\x02\x00" * 50, b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100), b"GET /" + b"a" * 100_000, bytes(range(256)) * 40):
        await crowd(40, world.address, request, 0.3)


@fault
async def clients_leave_in_the_middle(world):
    await crowd(60, world.address, b"GET /body?seed=1&size=2000000 HTTP/1.1\r\nHost: a\r\n\r\n", 0.2)
    await crowd(60, world.address, b"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n" + bytes(500_000), 0.2)
    await crowd(60, world.address, b"GET /events?a,b HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n", 0.5)


@fault
async def readers_that_sleep(world):
    await crowd(40, world.address, b"GET /body?seed=1&size=2000000 HTTP/1.1\r\nHost: a\r\n\r\n", 6)


@fault
async def uploads_that_stall(world):
    await crowd(40, world.address, b"POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n" + bytes(300_000), 6)


@fault
async def heads_that_never_end(world):
    await crowd(80, world.address, b"GET / HTTP/1.1\r\nHost: a\r\nX-A: ", 7)
