"""Publishes with pubcontrol and gripcontrol alone: `grip_publish.py GRIP_URL CHANNEL TEXT`."""

import sys

from gripcontrol import GripPubControl, HttpResponseFormat, HttpStreamFormat, parse_grip_uri
from pubcontrol import Item

url, channel, text = sys.argv[1:]
control = GripPubControl()
control.apply_grip_config(parse_grip_uri(url))
control.publish(channel, Item([HttpResponseFormat(body=text), HttpStreamFormat(text + "\n")]), blocking=True)
