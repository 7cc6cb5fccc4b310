"""Addresses of RFPs and of what venues show. Who may call them is in `accounts.roles.ROUTES`."""

from django.urls import path

from availability.api import rfps, venues

RFPS = "organizations/<uuid:organization>/rfps"
VENUE = "venues/<uuid:venue>"

urlpatterns = [
    path(RFPS, rfps.RfpsView.as_view(), name="rfp-list"),
    path(f"{RFPS}/<uuid:id>", rfps.RfpView.as_view(), name="rfp-detail"),
    path(f"{RFPS}/<uuid:id>/send", rfps.SendView.as_view(), name="rfp-send"),
    path(f"{RFPS}/<uuid:id>/shortlist", rfps.ShortlistView.as_view(), name="rfp-shortlist"),
    path(f"{RFPS}/<uuid:id>/award", rfps.AwardView.as_view(), name="rfp-award"),
    path(f"{RFPS}/<uuid:id>/close", rfps.CloseView.as_view(), name="rfp-close"),
    path(f"{VENUE}/rfps", venues.ReceivedRfpsView.as_view(), name="venue-rfp-list"),
    path(
        f"{VENUE}/rfps/<uuid:rfp_venue>/respond",
        venues.RespondView.as_view(),
        name="venue-rfp-respond",
    ),
    path(f"{VENUE}/availability", venues.AvailabilityView.as_view(), name="venue-availability"),
    path(
        f"{VENUE}/availability/override",
        venues.OverrideView.as_view(),
        name="venue-availability-override",
    ),
    path(f"{VENUE}/availability/status", venues.BadgeView.as_view(), name="venue-badge"),
]
