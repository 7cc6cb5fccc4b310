"""The addresses of the site, and one more: the floor of a join."""

from django.urls import include, path

from bench import floors

urlpatterns = [path("", include("config.urls")), path("bench/join", floors.JoinView.as_view())]
