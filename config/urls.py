"""The addresses of the whole house; each app brings its own. The probes are in `config.health`."""

from typing import Any

from django.contrib import admin
from django.urls import include, path, re_path

from accounts.views import UnknownView
from config.api import DocsView, SchemaView

routes: list[Any] = [
    path("schema/", SchemaView.as_view(), name="schema"),
    path("docs/", DocsView.as_view(), name="docs"),
    path("", include("accounts.urls")),
    path("", include("waitlist.urls")),
    path("", include("scheduling.urls")),
]
urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/", include(routes)),
    re_path("^api/", UnknownView.as_view(), name="unknown"),
]
