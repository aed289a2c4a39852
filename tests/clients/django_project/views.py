"""What an application does with django-eventstream, django-grip and gripcontrol."""

from django.http import HttpResponse
from django_eventstream import send_event
from django_grip import publish, set_hold_longpoll, set_hold_stream
from gripcontrol import HttpResponseFormat, HttpStreamFormat

LONG = "beginning " * 100 + "\n"


def send(request):
    """An event for everybody who listens."""
    send_event("news", "message", {"text": request.GET["text"]}, async_publish=False)
    return HttpResponse("sent")


def poll(request):
    """Waits for what is said in a room; long enough that it is compressed."""
    assert request.grip.signed, "the proxy's signature is wrong"
    set_hold_longpoll(request, request.GET["room"], timeout=5)
    return HttpResponse(LONG, content_type="text/plain")


def stream(request):
    """The same, as long as the client likes; with signs of life."""
    assert request.grip.signed, "the proxy's signature is wrong"
    set_hold_stream(request, request.GET["room"], keep_alive_data="alive\n", keep_alive_timeout=1)
    return HttpResponse(LONG, content_type="text/plain")


def say(request):
    """Both forms in one item, to a room."""
    text = request.GET["text"]
    formats = [HttpResponseFormat(code=203, headers={"X-Said": "yes"}, body=text), HttpStreamFormat(text + "\n")]
    publish(request.GET["room"], formats, blocking=True)
    return HttpResponse("said")
