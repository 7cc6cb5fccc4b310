"""The addresses of the waitlist, under /api/v1/."""

from django.urls import path

from waitlist.api import (
    breakers,
    entries,
    erasure,
    explanations,
    holds,
    invites,
    notes,
    offers,
    organizers,
    policies,
    slots,
)

ORGANIZATION = "organizations/<uuid:organization>/waitlists"

urlpatterns = [
    path("slots/", slots.SlotsOrWaitlistView.as_view(), name="slot-list"),
    path("waitlists", entries.QueueView.as_view(), name="waitlist-list"),
    path("waitlists/<uuid:id>", entries.EntryView.as_view(), name="waitlist-detail"),
    path("waitlists/<uuid:id>/notes", notes.NotesView.as_view(), name="waitlist-notes"),
    path("waitlists/<uuid:id>/history", notes.HistoryView.as_view(), name="waitlist-history"),
    path(
        "waitlists/<uuid:id>/still-interested",
        notes.StillInterestedView.as_view(),
        name="waitlist-still-interested",
    ),
    path(
        "waitlists/<uuid:id>/explain",
        explanations.EntryExplanationView.as_view(),
        name="waitlist-explain",
    ),
    path("waitlists/<uuid:id>/promote", invites.PromoteView.as_view(), name="waitlist-promote"),
    path(
        "patients/<uuid:id>/waitlists",
        entries.PatientEntriesView.as_view(),
        name="patient-waitlists",
    ),
    path("patients/<uuid:id>/erase", erasure.PatientEraseView.as_view(), name="patient-erase"),
    path(
        "slots/<uuid:id>/waitlist/explain",
        explanations.SlotExplanationView.as_view(),
        name="slot-explain",
    ),
    path("slots/<uuid:id>/waitlist/invite", invites.SlotInviteView.as_view(), name="slot-invite"),
    path(
        "appointments/<uuid:id>/waitlist/invite",
        invites.AppointmentInviteView.as_view(),
        name="appointment-invite",
    ),
    path("holds/<uuid:id>", holds.HoldView.as_view(), name="hold-detail"),
    path("holds/<uuid:id>/accept", holds.HoldAcceptView.as_view(), name="hold-accept"),
    path("holds/<uuid:id>/decline", holds.HoldDeclineView.as_view(), name="hold-decline"),
    path("offers/<str:token>", offers.OfferView.as_view(), name="offer"),
    path("offers/<str:token>/accept", offers.OfferAcceptView.as_view(), name="offer-accept"),
    path("offers/<str:token>/decline", offers.OfferDeclineView.as_view(), name="offer-decline"),
    path(
        "facilities/<uuid:id>/waitlist-policy",
        policies.PolicyView.as_view(),
        name="waitlist-policy",
    ),
    path(
        "tenants/<uuid:tenant>/clinics/<uuid:facility>/waitlist-policy",
        policies.TenantPolicyView.as_view(),
        name="tenant-waitlist-policy",
    ),
    path(ORGANIZATION, organizers.VenueEntriesView.as_view(), name="organization-waitlist-list"),
    path(
        f"{ORGANIZATION}/<uuid:id>",
        organizers.VenueEntryView.as_view(),
        name="organization-waitlist-detail",
    ),
    path(
        f"{ORGANIZATION}/<uuid:id>/convert",
        organizers.ConvertView.as_view(),
        name="organization-waitlist-convert",
    ),
    path(
        f"{ORGANIZATION}/<uuid:id>/cancel",
        organizers.CancelView.as_view(),
        name="organization-waitlist-cancel",
    ),
    path(
        f"{ORGANIZATION}/<uuid:id>/still-interested",
        organizers.VenueInterestView.as_view(),
        name="organization-waitlist-still-interested",
    ),
    path(
        "venues/<uuid:venue>/waitlist-circuit-breaker/resolve",
        breakers.ResolveBreakerView.as_view(),
        name="venue-breaker-resolve",
    ),
]
