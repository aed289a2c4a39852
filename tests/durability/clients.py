"""Publishers and subscribers that write down what they see, and come back whatever happens to their connections."""

import asyncio
import json

PAUSE = 0.02  # Between a failure and the next try.
LOST = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError)
ENDED = (*LOST, asyncio.CancelledError)  # For tasks that nobody waits for.


async def read_head(reader):
    """Status and header fields, names in lower case."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    return int(lines[0].split(" ")[1]), fields


class Connection:
    """One connection, opened when it is needed, and again when it is lost, to the next address where there are more."""

    def __init__(self, *addresses):
        self.addresses = addresses
        self.streams = None

    @property
    def address(self):
        return self.addresses[0]

    async def ask(self, request):
        """Sends a request; status, fields and the reader behind the head."""
        if self.streams is None:
            self.streams = await asyncio.open_connection(*self.address, limit=1 << 20)
        reader, writer = self.streams
        writer.write(request)
        await writer.drain()
        return *(await read_head(reader)), reader

    def lose(self):
        if self.streams is not None:
            self.streams[1].close()
        self.streams = None
        self.addresses = self.addresses[1:] + self.addresses[:1]


async def publish(connection, channel, data, publisher_id=None):
    """The position of a message that was acknowledged; None where it was refused."""
    own_id = f"X-Comet-Id: {publisher_id}\r\n" if publisher_id else ""
    head = f"POST /channels/{channel} HTTP/1.1\r\nHost: {connection.address[0]}:{connection.address[1]}\r\n"
    status, fields, reader = await connection.ask(
        f"{head}{own_id}Content-Length: {len(data)}\r\n\r\n{data}".encode()
    )
    body = await reader.readexactly(int(fields["content-length"]))
    return json.loads(body)["id"] if status == 200 else None


async def publisher(notebook, addresses, name, channels, insists, stop, pause=0):
    """Publishes one message after the other. One that insists gives each an id, and sends it until it is answered;
    the others never know what became of a message whose answer was lost."""
    connection = Connection(*addresses)
    number = 0
    while not stop.is_set():
        data, channel = f"{name}-{number}", channels[number % len(channels)]
        number += 1
        notebook.sent[data] = channel
        while data not in notebook.acknowledged:
            try:
                position = await publish(connection, channel, data, data if insists else None)
                if position:
                    notebook.acknowledged[data] = position
            except LOST:
                connection.lose()
            if data not in notebook.acknowledged:
                await asyncio.sleep(PAUSE)
                if not insists:
                    break
        await asyncio.sleep(pause)


async def subscriber(notebook, who, follow):
    """Follows its channels until it is cancelled, each time from the last position that it has processed."""
    while True:
        try:
            await follow(notebook, who)
        except LOST:
            pass
        await asyncio.sleep(PAUSE)


def over_sse(addresses):
    connection = Connection(*addresses)

    async def follow(notebook, who):
        try:
            await read_events(notebook, who, connection)
        finally:
            connection.lose()

    return follow


async def read_events(notebook, who, connection):
    position, channels = notebook.processed(who), ",".join(notebook.channels[who])
    status, _, reader = await connection.ask(
        f"GET /events?{channels} HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n"
        f"Last-Event-ID: {position}\r\n\r\n".encode()
    )
    if status != 200:
        raise OSError(status)
    text = ""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        text += (await reader.readexactly(size + 2))[:-2].decode()
        *events, text = text.split("\n\n")
        for event in events:
            fields = dict(line.split(": ", 1) for line in event.split("\n") if not line.startswith(":") and ": " in line)
            if fields.get("event") == "comet.gap":
                notebook.gaps.append((who, fields.get("data")))
            elif "data" in fields:
                data = fields["data"]
                notebook.received[who].append((notebook.sent.get(data), data, fields["id"]))


def over_long_poll(addresses):
    connection = Connection(*addresses)

    async def follow(notebook, who):
        try:
            while True:
                await poll(notebook, who, connection)
        finally:
            connection.lose()

    return follow


async def poll(notebook, who, connection):
    position, channels = notebook.processed(who), ",".join(notebook.channels[who])
    status, fields, reader = await connection.ask(
        f"GET /poll?{channels}&lastEventId={position} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    )
    body = await reader.readexactly(int(fields["content-length"]))
    if status != 200 or not body:
        await asyncio.sleep(PAUSE)
        return
    answer = json.loads(body)
    if answer["gap"]:
        notebook.gaps.append((who, answer["position"]))
    for message in answer["messages"]:
        notebook.received[who].append((message["channel"], message["data"], message["id"]))


async def serve_application(address):
    """An application that holds what the query names."""

    async def connection(reader, writer):
        try:
            while True:
                target = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ")[1]
                channels = target.split("?", 1)[1].split("&")[0]
                head = f"HTTP/1.1 200 OK\r\nX-Comet-Subscribe: {channels}\r\nX-Comet-Timeout: 20\r\n"
                writer.write(f"{head}Content-Length: 0\r\n\r\n".encode())
        except ENDED:
            writer.close()

    return await asyncio.start_server(connection, *address)
