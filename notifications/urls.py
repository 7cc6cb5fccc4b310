"""The addresses of what people and systems are told, and of what they answer, under /api/v1/."""

from django.urls import path

from notifications.api import (
    calendars,
    deliveries,
    inbound,
    inbox,
    links,
    preferences,
    templates,
    webhooks,
)

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
    path("inbound/sms", inbound.SmsView.as_view(), name="inbound-sms"),
    path("inbound/sms-status", inbound.SmsStatusView.as_view(), name="inbound-sms-status"),
    path("inbound/whatsapp", inbound.WhatsAppView.as_view(), name="inbound-whatsapp"),
    path("inbound/mail-status", inbound.MailStatusView.as_view(), name="inbound-mail-status"),
    path("webhooks/", webhooks.EndpointsView.as_view(), name="webhook-list"),
    path("webhooks/<uuid:id>", webhooks.EndpointView.as_view(), name="webhook-detail"),
    path("webhooks/<uuid:id>/rotate", webhooks.RotateView.as_view(), name="webhook-rotate"),
    path("webhooks/<uuid:id>/test", webhooks.TestView.as_view(), name="webhook-test"),
    path(
        "webhooks/<uuid:id>/deliveries",
        webhooks.DeliveriesView.as_view(),
        name="webhook-deliveries",
    ),
    path(
        "webhook-deliveries/<uuid:id>/retry",
        webhooks.RetryView.as_view(),
        name="webhook-delivery-retry",
    ),
    path(
        "webhook-deliveries/<uuid:id>/dismiss",
        webhooks.DismissView.as_view(),
        name="webhook-delivery-dismiss",
    ),
]
