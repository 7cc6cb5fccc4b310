"""The addresses of the whole house; each app brings its own. The probes are in `config.health`."""

from typing import Any

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path, re_path
from django.utils.functional import lazy
from django.views.generic import RedirectView

from accounts.views import UnknownView
from config.api import DocsView, SchemaView
from config.graphql import GraphqlView

routes: list[Any] = [
    path("schema/", SchemaView.as_view(), name="schema"),
    path("docs/", DocsView.as_view(), name="docs"),
    path("", include("accounts.urls")),
    path("", include("waitlist.urls")),
    path("", include("scheduling.urls")),
    path("", include("availability.urls")),
    path("", include("notifications.urls")),
]
urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),  # until patients have pages
    path("favicon.ico", RedirectView.as_view(url=lazy(static, str)("config/favicon.svg"))),
    path("admin/", admin.site.urls),
    path("api/v1/", include(routes)),
    path("graphql/", GraphqlView.as_view(), name="graphql"),
    re_path("^api/", UnknownView.as_view(), name="unknown"),
]
