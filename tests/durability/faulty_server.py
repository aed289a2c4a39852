"""A small server that publishes and streams from memory, honestly or with one fault: what the checker has to notice."""

import asyncio
import json

from clients import ENDED, read_head

FAULTS = ["lose", "repeat", "swap"]
AT = 20  # The message that the fault happens to.


class FaultyServer:
    def __init__(self, fault=None):
        self.fault = fault
        self.log = []  # (channel, data); the place is the index and one
        self.news = asyncio.Condition()

    async def publish(self, channel, data):
        async with self.news:
            self.log.append((channel, data))
            self.news.notify_all()
            return f"e-{len(self.log)}"

    def after(self, place, channels):
        """What a subscriber gets after a place, with the fault."""
        numbered = [(index + 1, *message) for index, message in enumerate(self.log)]
        if self.fault == "lose":
            numbered = [message for message in numbered if message[0] != AT]
        if self.fault == "swap" and len(numbered) > AT:
            first, second = numbered[AT - 1], numbered[AT]
            numbered[AT - 1], numbered[AT] = (first[0], *second[1:]), (second[0], *first[1:])
        found = [message for message in numbered if message[0] > place and message[1] in channels]
        if self.fault == "repeat":
            found = [message for one in found for message in ([one, one] if one[0] == AT else [one])]
        return found

    async def connection(self, reader, writer):
        try:
            while True:
                await self.request(reader, writer)
        except ENDED:
            writer.close()

    async def request(self, reader, writer):
        line = await reader.readuntil(b"\r\n")
        method, target, _ = line.decode().split(" ")
        _, fields = await read_head_behind(line, reader)
        if method == "POST":
            data = (await reader.readexactly(int(fields["content-length"]))).decode()
            position = await self.publish(target.rsplit("/", 1)[1], data)
            body = json.dumps({"id": position, "subscribers": 0})
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            return
        query = target.split("?", 1)[1].split("&lastEventId=")
        channels, position = query[0].split(","), (query[1:] or [fields.get("last-event-id")])[0]
        place = int(position.rsplit("-", 1)[1])
        if target.startswith("/poll"):
            await self.answer_poll(writer, channels, place)
        else:
            await self.stream(writer, channels, place)

    async def answer_poll(self, writer, channels, place):
        async with self.news:
            await self.news.wait_for(lambda: self.after(place, channels))
        found = self.after(place, channels)
        messages = [{"id": f"e-{at}", "channel": channel, "data": data} for at, channel, data in found]
        body = json.dumps({"position": messages[-1]["id"], "gap": False, "messages": messages})
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    async def stream(self, writer, channels, place):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            async with self.news:
                await self.news.wait_for(lambda: self.after(place, channels))
            for at, _, data in self.after(place, channels):
                event = f"id: e-{at}\ndata: {data}\n\n"
                writer.write(f"{len(event):x}\r\n{event}\r\n".encode())
                place = at
            await writer.drain()


async def read_head_behind(line, reader):
    """The fields behind a request's first line."""
    whole = asyncio.StreamReader()
    whole.feed_data(b"HTTP/1.1 200 OK\r\n" + await reader.readuntil(b"\r\n\r\n"))
    return await read_head(whole)
