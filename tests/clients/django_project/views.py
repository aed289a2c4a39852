"""What an application does with django-eventstream, django-grip and gripcontrol."""

from django.http import HttpResponse
from django_eventstream import send_event
from django_grip import publish, set_hold_longpoll, set_hold_stream, websocket_only
from gripcontrol import HttpResponseFormat, HttpStreamFormat, WebSocketMessageFormat

LONG = "beginning " * 100 + "\n"


def send(request):
    """An event for everybody who listens."""
    send_event("news", "message", {"text": request.GET["text"]}, async_publish=False)
    return HttpResponse("sent")


def poll(request):
    """Waits for what is said in a room; long enough that it is compressed."""
    assert request.grip.signed, "the proxy's signature is wrong"
    set_hold_longpoll(request, request.GET["room"], timeout=int(request.GET.get("timeout", 300)))
    return HttpResponse(LONG, content_type="text/plain")


def stream(request):
    """The same, as long as the client likes; with signs of life."""
    assert request.grip.signed, "the proxy's signature is wrong"
    set_hold_stream(request, request.GET["room"], keep_alive_data="alive\n", keep_alive_timeout=1)
    return HttpResponse(LONG, content_type="text/plain")


@websocket_only
def chat(request):
    """A WebSocket, of which nothing stays here between two requests."""
    assert request.grip.signed, "the proxy's signature is wrong"
    socket = request.wscontext
    if socket.is_opening():
        if "room" not in request.GET:
            return HttpResponse("which room?", status=403)
        socket.accept()
        socket.subscribe(request.GET["room"])
        socket.meta["count"] = "0"
        socket.send("welcome")
    while socket.can_recv():
        text = socket.recv()
        if text is None or text == "bye":
            socket.close()
            break
        socket.meta["count"] = str(int(socket.meta["count"]) + 1)
        socket.send(f"{socket.meta['count']}: {text} {LONG}")
    return HttpResponse()


def say(request):
    """Every form in one item, to a room."""
    text = request.GET["text"]
    formats = [
        HttpResponseFormat(code=203, headers={"X-Said": "yes"}, body=text),
        HttpStreamFormat(text + "\n"),
        WebSocketMessageFormat(text),
    ]
    publish(request.GET["room"], formats, blocking=True)
    return HttpResponse("said")
