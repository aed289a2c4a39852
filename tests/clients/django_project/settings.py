"""A project as django-eventstream's README has it, behind a proxy that speaks GRIP."""

import os

SECRET_KEY = "known to whoever reads the test, which does no harm"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django_eventstream"]
MIDDLEWARE = ["django.middleware.gzip.GZipMiddleware", "django_grip.GripMiddleware"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
# Warnings only, as plain lines.
LOGGING_CONFIG = None

GRIP_URL = os.environ["GRIP_URL"]
EVENTSTREAM_STORAGE_CLASS = "django_eventstream.storage.DjangoModelStorage"
