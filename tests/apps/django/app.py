"""A Django application that lets a proxy hold its clients: nothing but response headers and one HTTP POST.

It runs under gunicorn with a single sync worker, which can do one thing at a time and is free again as soon as
it has answered.
"""

import hashlib
import json
import os
import time
import urllib.request

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path

APP = os.environ.get("APP", "127.0.0.1:8000")
CONTROL = os.environ.get("CONTROL", "127.0.0.1:7070")

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for this example",
    MIDDLEWARE=[],
)


def page(request):
    """The page knows the moment at which it was made, so that its script misses nothing after it."""
    proxy = request.headers.get("X-Comet-Proxy", "no proxy")
    position = request.headers.get("X-Comet-Position", "")
    return HttpResponse(
        f"<!doctype html><title>django</title><p>django behind {proxy}</p><ul id=list></ul>"
        f"<script>const events = new EventSource('/events?lastEventId={position}');"
        "events.onmessage = event => list.append(event.data, document.createElement('br'));</script>\n"
    )


def events(request):
    """Answers at once; the proxy goes on with this response and the worker takes the next request."""
    response = HttpResponse("event: hello\ndata: django\n\n", content_type="text/event-stream")
    response["X-Comet-Subscribe"] = "news"
    response["X-Comet-Transport"] = "sse"
    response["X-Comet-Retry"] = "1000"
    response["Cache-Control"] = "no-store"
    return response


def poll(request):
    """The answer if nothing happens in time, in the form of the answer when something does."""
    position = request.headers.get("X-Comet-Position", "")
    response = JsonResponse({"position": position, "gap": False, "messages": []})
    response["X-Comet-Subscribe"] = "news"
    response["X-Comet-Transport"] = "long-poll"
    response["X-Comet-Timeout"] = request.GET.get("timeout", "25")
    response["Cache-Control"] = "no-store"
    return response


def say(request):
    """Publishes what it was sent."""
    publish = urllib.request.Request(f"http://{CONTROL}/channels/news", data=request.body, method="POST")
    publish.add_header("Content-Type", "text/plain")
    with urllib.request.urlopen(publish, timeout=5) as answer:
        return JsonResponse(json.load(answer))


def film(request):
    """The proxy sends the file, and the worker is free."""
    response = HttpResponse(headers={"X-Accel-Redirect": "/protected/film.bin", "X-Film": "of the application"})
    del response["Content-Type"]
    return response


def slow(request):
    """Keeps the only worker busy."""
    time.sleep(1)
    return HttpResponse("slow\n", content_type="text/plain")


def big(request):
    """So many megabytes, or one."""
    megabytes = int(request.GET.get("megabytes", "1"))
    return HttpResponse(b"0123456789abcde\n" * 65536 * megabytes, content_type="application/octet-stream")


def elsewhere(request):
    """The proxy fetches it, from the first of these that has it."""
    response = HttpResponse(headers={"X-Reproxy-URL": f"http://127.0.0.1:9/ http://{APP}/big"})
    response["X-Film"] = "of the application"
    return response


def up(request):
    """What a health check asks."""
    return HttpResponse("up\n", content_type="text/plain")


class Mood:
    """Every second request fails."""

    bad = False


def moody(request):
    """A proxy that asks again gets a better answer."""
    Mood.bad = not Mood.bad
    status, said = (500, "bad\n") if Mood.bad else (200, "better\n")
    return HttpResponse(said, status=status, content_type="text/plain")


def upload(request):
    """Reads from the server itself, since Django takes a body without a length for an empty one."""
    digest = hashlib.sha256()
    while piece := request.META["wsgi.input"].read(65536):
        digest.update(piece)
    return HttpResponse(digest.hexdigest() + "\n", content_type="text/plain")


urlpatterns = [
    path("", page),
    path("events", events),
    path("poll", poll),
    path("say", say),
    path("slow", slow),
    path("film", film),
    path("big", big),
    path("elsewhere", elsewhere),
    path("up", up),
    path("moody", moody),
    path("upload", upload),
]

application = get_wsgi_application()
