"""The addresses of what people are told, under /api/v1/."""

from django.urls import path

from notifications.api import calendars

urlpatterns = [
    path("calendar-feed", calendars.FeedView.as_view(), name="calendar-feed"),
    path("calendar/<str:token>.ics", calendars.CalendarView.as_view(), name="calendar"),
]
