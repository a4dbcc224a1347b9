"""django-oauth-toolkit as its tutorial sets it up, in one file: `server.py [PORT] [--strict]`.

`--strict` switches on what its settings call compliance with RFC 9700, which is off by default.
"""

import os
import sys
import tempfile
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command

arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
strict = "--strict" in sys.argv
port = int(arguments[0]) if arguments else 8462
home = tempfile.TemporaryDirectory()

provider = {"SCOPES": {"read": "See your calendar", "write": "Change your calendar"}}
if strict:
    provider |= {
        "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
        "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": True,
        "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
        "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
        "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
        "REFRESH_TOKEN_REUSE_PROTECTION": True,
    }

settings.configure(
    DEBUG=False,
    ALLOWED_HOSTS=["127.0.0.1"],
    SECRET_KEY=os.urandom(32).hex(),
    ROOT_URLCONF=__name__,
    LOGIN_URL="/login/",
    STATIC_URL="/static/",
    USE_TZ=True,
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(home.name) / "db.sqlite3"}
    },
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "oauth2_provider",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    OAUTH2_PROVIDER=provider,
)
django.setup()

from django.contrib import admin  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.contrib.auth.views import LoginView  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from oauth2_provider.decorators import protected_resource  # noqa: E402
from oauth2_provider.models import get_application_model  # noqa: E402


@protected_resource(scopes=["read"])
def resource(_request):
    return HttpResponse("the events of the day")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("login/", LoginView.as_view(template_name="admin/login.html")),
    path("resource", resource),
    path("", include("oauth2_provider.urls", namespace="oauth2_provider")),
]

call_command("migrate", verbosity=0)
get_user_model().objects.create_user("alice", password="wonderland")
callback = "https://client.example/callback"
Application = get_application_model()
for role, kind, grant, uris in [
    ("confidential", "confidential", "authorization-code", [callback]),
    ("confidential-other", "confidential", "authorization-code", [callback]),
    ("public", "public", "authorization-code", [callback]),
    ("public-other", "public", "authorization-code", [callback]),
    ("native", "public", "authorization-code", ["http://127.0.0.1/callback"]),
    ("several", "confidential", "authorization-code", [callback, f"{callback}/other", f"{callback}?a=1&b=%2F"]),
    ("service", "confidential", "client-credentials", []),
]:
    Application.objects.create(
        name=f"Conformance {role}",
        client_id=f"conformance-{role}",
        client_secret=f"a-secret-of-{role}-for-tests-only",
        client_type=kind,
        authorization_grant_type=grant,
        redirect_uris=" ".join(uris),
    )

print(f"listening on http://127.0.0.1:{port}", flush=True)
call_command("runserver", f"127.0.0.1:{port}", use_reloader=False, verbosity=0)
