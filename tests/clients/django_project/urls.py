"""The project's pages."""

import django_eventstream
from django.urls import include, path

import views

urlpatterns = [
    path("events/", include(django_eventstream.urls), {"channels": ["news"]}),
    path("send", views.send),
    path("poll", views.poll),
    path("stream", views.stream),
    path("say", views.say),
    path("chat", views.chat),
]
