"""The addresses of the whole house; each app brings its own. The probes are in `config.health`."""

from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
]
