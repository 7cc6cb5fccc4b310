"""The addresses of what people are told and what they answer, under /api/v1/."""

from django.urls import path

from notifications.api import inbound

urlpatterns = [
    path("inbound/sms", inbound.SmsView.as_view(), name="inbound-sms"),
    path("inbound/sms-status", inbound.SmsStatusView.as_view(), name="inbound-sms-status"),
    path("inbound/whatsapp", inbound.WhatsAppView.as_view(), name="inbound-whatsapp"),
    path("inbound/mail-status", inbound.MailStatusView.as_view(), name="inbound-mail-status"),
]
