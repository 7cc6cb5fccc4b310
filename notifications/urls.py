"""The addresses of what people and systems are told, under /api/v1/."""

from django.urls import path

from notifications.api import webhooks

urlpatterns = [
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
