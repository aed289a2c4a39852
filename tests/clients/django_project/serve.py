"""Serves the project with Django's own server on a port that is free, and says which."""

import os

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"

import django
from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application

django.setup()
call_command("migrate", verbosity=0)
server = ThreadedWSGIServer(("127.0.0.1", 0), WSGIRequestHandler)
server.set_app(get_wsgi_application())
print(server.server_port, flush=True)
server.serve_forever()
