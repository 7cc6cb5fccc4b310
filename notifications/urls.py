"""The addresses of what people are told, under /api/v1/."""

from django.urls import path

from notifications.api import calendars, deliveries, inbox, links, preferences, templates

urlpatterns = [
    path("inbox/", inbox.InboxView.as_view(), name="inbox-list"),
    path("inbox/<uuid:id>/read", inbox.InboxReadView.as_view(), name="inbox-read"),
    path("preferences/", preferences.PreferencesView.as_view(), name="preferences"),
    path("deliveries/", deliveries.DeliveriesView.as_view(), name="delivery-list"),
    path("deliveries/<uuid:id>", deliveries.DeliveryView.as_view(), name="delivery-detail"),
    path(
        "deliveries/<uuid:id>/retry", deliveries.DeliveryRetryView.as_view(), name="delivery-retry"
    ),
    path(
        "deliveries/<uuid:id>/dismiss",
        deliveries.DeliveryDismissView.as_view(),
        name="delivery-dismiss",
    ),
    path("templates/", templates.TemplatesView.as_view(), name="template-list"),
    path("templates/<uuid:id>", templates.TemplateView.as_view(), name="template-detail"),
    path("unsubscribe/<str:token>", links.UnsubscribeView.as_view(), name="unsubscribe"),
    path("nudges/<str:token>", links.NudgeView.as_view(), name="nudge"),
    path("calendar-feed", calendars.FeedView.as_view(), name="calendar-feed"),
    path("calendar/<str:token>.ics", calendars.CalendarView.as_view(), name="calendar"),
]
