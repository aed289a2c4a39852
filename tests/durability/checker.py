"""Reads what publishers and subscribers have written down, and says every broken promise.

Knows nothing of how the server works: only what was sent, what was acknowledged, and who got what in which order.
"""

from collections import defaultdict


class Notebook:
    """What was seen, in the order in which it was seen."""

    def __init__(self):
        self.sent = {}  # data -> channel
        self.acknowledged = {}  # data -> position
        self.received = defaultdict(list)  # subscriber -> [(channel, data, position)]
        self.gaps = []  # (subscriber, what it was told)
        self.channels = {}  # subscriber -> its channels
        self.begin = {}  # subscriber -> the position from which on it wants everything

    def processed(self, subscriber):
        """The last position that a subscriber has processed."""
        messages = self.received[subscriber]
        return messages[-1][2] if messages else self.begin[subscriber]


def place(position):
    """The number in a position; all positions of a durable store have one epoch."""
    return int(position.rsplit("-", 1)[1])


def check(notebook):
    """Every fault, as a sentence."""
    faults = [f"{who} was told of a gap: {what}" for who, what in notebook.gaps]
    if len({position.rsplit("-", 1)[0] for position in notebook.acknowledged.values()}) > 1:
        faults.append("the epoch has changed")
    order = {}  # place -> data
    for who, channels in notebook.channels.items():
        faults += check_subscriber(notebook, who, channels, order)
    return faults


def check_subscriber(notebook, who, channels, order):
    faults = []
    last = place(notebook.begin[who])
    got = set()
    for channel, data, position in notebook.received[who]:
        here = place(position)
        if data in got:
            faults.append(f"{who} got {data} twice")
        if here <= last:
            faults.append(f"{who} got {data} at {here} after {last}")
        if notebook.sent.get(data) != channel or channel not in channels:
            faults.append(f"{who} got {data} on {channel}, where nobody has published it")
        if order.setdefault(here, data) != data:
            faults.append(f"{here} is {order[here]} for one and {data} for {who}")
        if notebook.acknowledged.get(data, position) != position:
            faults.append(f"{data} was acknowledged as {notebook.acknowledged[data]} and came as {position}")
        got.add(data)
        last = max(last, here)
    for data, position in notebook.acknowledged.items():
        wanted = notebook.sent[data] in channels and place(position) > place(notebook.begin[who])
        if wanted and data not in got:
            faults.append(f"{who} never got {data}, acknowledged as {position}")
    return faults
