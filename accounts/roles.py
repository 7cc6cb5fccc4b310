"""Who is asking, which role may call which route of the API, and ask for which GraphQL field.

`ROUTES` and `FIELDS` are the one place that decides it: they are read on every request,
docs/access.md is made from them, and tests walk every route of the URL resolver and every field of
the schema through them. Which rows a caller sees there is decided where the rows are: in
`scopes.py` of their app.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from audit.events import Actor


class Role(StrEnum):
    """What a caller is in the tenant of their token."""

    PATIENT = "patient"
    PROVIDER = "provider"
    STAFF = "staff"
    ADMIN = "admin"
    ORGANIZER = "organizer"
    ORGANIZER_ADMIN = "organizer_admin"
    NONE = "none"  # not logged in


@dataclass(frozen=True, slots=True)
class Caller:
    """A user in the tenant of their token; `patient_id` is who they are there as a patient."""

    user_id: UUID
    tenant_id: UUID
    role: Role
    patient_id: UUID | None = None

    @property
    def actor(self) -> Actor:
        """Who the event log says it was."""
        if self.patient_id is not None:
            return Actor("patient", self.patient_id)
        return Actor("user", self.user_id)


Roles = frozenset[Role]

NOBODY: Roles = frozenset()
ANYONE: Roles = frozenset(Role)
ORGANIZERS: Roles = frozenset({Role.ORGANIZER, Role.ORGANIZER_ADMIN})
LOGGED_IN: Roles = ANYONE - {Role.NONE}
ADMINS: Roles = frozenset({Role.ADMIN})
MANAGERS: Roles = ADMINS | {Role.ORGANIZER_ADMIN}
STAFF: Roles = ADMINS | {Role.STAFF}
TEAM: Roles = STAFF | {Role.PROVIDER}
BOOKED: Roles = frozenset({Role.PATIENT, Role.PROVIDER})
CLINICAL: Roles = TEAM | {Role.PATIENT}

READ = ("GET", "HEAD")


def _route(*, read: Roles = NOBODY, **writes: Roles) -> Mapping[str, Roles]:
    """Say who may read (GET, HEAD) and who may use each other method."""
    return {**dict.fromkeys(READ, read), **{method.upper(): who for method, who in writes.items()}}


def _rows(*, name: str, read: Roles, write: Roles) -> dict[str, Mapping[str, Roles]]:
    """Say who may read and who may edit the rows of a list and their pages."""
    return {
        f"{name}-list": _route(read=read, post=write),
        f"{name}-detail": _route(read=read, patch=write, delete=write),
    }


# Route name → method → roles.
ROUTES: dict[str, Mapping[str, Roles]] = {
    "schema": _route(read=ANYONE),
    "docs": _route(read=ANYONE),
    "token": _route(post=ANYONE),
    "token-refresh": _route(post=ANYONE),
    "register": _route(post=ANYONE),
    "register-confirm": _route(post=ANYONE),
    "invitation-accept": _route(read=ANYONE, post=ANYONE),
    "me": _route(read=LOGGED_IN),
    "member-list": _route(read=MANAGERS),
    "member-detail": _route(read=MANAGERS, patch=MANAGERS, delete=MANAGERS),
    "invitation-list": _route(read=MANAGERS, post=MANAGERS),
    "invitation-detail": _route(read=MANAGERS, delete=MANAGERS),
    **_rows(name="facility", read=CLINICAL, write=STAFF),
    **_rows(name="provider", read=CLINICAL, write=STAFF),
    **_rows(name="service", read=CLINICAL, write=STAFF),
    **_rows(name="patient", read=STAFF, write=STAFF),
    "patient-invite": _route(post=STAFF),
    "patient-erase": _route(post=ADMINS),
    **_rows(name="availability-rule", read=STAFF, write=STAFF),
    **_rows(name="availability-exception", read=STAFF, write=STAFF),
    **_rows(name="time-block", read=STAFF, write=STAFF),
    "slot-list": _route(read=CLINICAL),
    "slot-detail": _route(read=CLINICAL),
    "slot-reserve": _route(post=STAFF | {Role.PATIENT}),
    "slot-release": _route(post=STAFF | {Role.PATIENT}),
    "slot-invite": _route(post=TEAM),
    "slot-explain": _route(read=STAFF),
    "appointment-list": _route(read=CLINICAL, post=STAFF | {Role.PATIENT}),
    "appointment-detail": _route(read=CLINICAL),
    "appointment-cancel": _route(post=STAFF | {Role.PATIENT}),
    "appointment-reschedule": _route(post=STAFF | {Role.PATIENT}),
    "appointment-complete": _route(post=TEAM),
    "appointment-no-show": _route(post=TEAM),
    "appointment-invite": _route(post=STAFF),
    "waitlist-list": _route(read=TEAM, post=STAFF | {Role.PATIENT}),
    "waitlist-detail": _route(read=CLINICAL, patch=CLINICAL),
    "waitlist-notes": _route(read=STAFF, post=STAFF),
    "waitlist-promote": _route(post=TEAM),
    "waitlist-explain": _route(read=STAFF | {Role.PATIENT}),
    "waitlist-history": _route(read=STAFF | {Role.PATIENT}),
    "waitlist-still-interested": _route(post=frozenset({Role.PATIENT})),
    "patient-waitlists": _route(read=STAFF | {Role.PATIENT}),
    "hold-detail": _route(read=STAFF | {Role.PATIENT}),
    "hold-accept": _route(post=frozenset({Role.PATIENT})),
    "hold-decline": _route(post=frozenset({Role.PATIENT})),
    "offer": _route(read=ANYONE),
    "offer-accept": _route(post=ANYONE),
    "offer-decline": _route(post=ANYONE),
    "waitlist-policy": _route(read=TEAM, put=ADMINS),
    "organization-waitlist-list": _route(read=ORGANIZERS, post=ORGANIZERS),
    "organization-waitlist-detail": _route(read=ORGANIZERS),
    "organization-waitlist-convert": _route(post=ORGANIZERS),
    "organization-waitlist-cancel": _route(post=ORGANIZERS),
    "organization-waitlist-still-interested": _route(post=ORGANIZERS),
    "venue-breaker-resolve": _route(post=ADMINS),
    "inbox-list": _route(read=LOGGED_IN),
    "inbox-read": _route(post=LOGGED_IN),
    "preferences": _route(read=LOGGED_IN, put=LOGGED_IN),
    "delivery-list": _route(read=ADMINS),
    "delivery-detail": _route(read=ADMINS),
    "delivery-retry": _route(post=ADMINS),
    "delivery-dismiss": _route(post=ADMINS),
    **_rows(name="template", read=ADMINS, write=ADMINS),
    "unsubscribe": _route(read=ANYONE, post=ANYONE),
    "nudge": _route(read=ANYONE, post=ANYONE),
    "inbound-whatsapp": _route(read=ANYONE, post=ANYONE),
    "inbound-sms": _route(post=ANYONE),
    "inbound-sms-status": _route(post=ANYONE),
    "inbound-mail-status": _route(post=ANYONE),
    "tenant-waitlist-policy": _route(read=TEAM, put=ADMINS),
    "calendar-feed": _route(read=BOOKED, post=BOOKED, delete=BOOKED),
    "calendar": _route(read=ANYONE),
    "rfp-list": _route(read=ORGANIZERS, post=ORGANIZERS),
    "rfp-detail": _route(read=ORGANIZERS, patch=ORGANIZERS, delete=ORGANIZERS),
    "rfp-send": _route(post=ORGANIZERS),
    "rfp-shortlist": _route(post=ORGANIZERS),
    "rfp-award": _route(post=ORGANIZERS),
    "rfp-close": _route(post=ORGANIZERS),
    "venue-rfp-list": _route(read=STAFF),
    "venue-rfp-respond": _route(post=STAFF),
    "venue-availability": _route(read=STAFF, put=ADMINS),
    "venue-availability-override": _route(delete=ADMINS),
    "venue-badge": _route(read=ANYONE),
    **_rows(name="webhook", read=MANAGERS, write=MANAGERS),
    "webhook-rotate": _route(post=MANAGERS),
    "webhook-test": _route(post=MANAGERS),
    "webhook-deliveries": _route(read=MANAGERS),
    "webhook-delivery-retry": _route(post=MANAGERS),
    "webhook-delivery-dismiss": _route(post=MANAGERS),
    "graphql": _route(post=ANYONE),  # by field
}


def _fields(names: str, who: Roles) -> dict[str, Roles]:
    """Say who may ask for several fields."""
    return dict.fromkeys(names.split(), who)


# GraphQL's type → field → roles.
FIELDS: dict[str, Mapping[str, Roles]] = {
    "Query": {
        "myWaitlistEntries": ORGANIZERS,
        "waitlistEntry": ORGANIZERS,
        "venueAvailability": STAFF,
        "venueAvailabilityBadge": ANYONE,
        "venue": LOGGED_IN,
        "venues": LOGGED_IN,
    },
    "Mutation": {
        "joinVenueWaitlist": ORGANIZERS,
        "convertWaitlistHold": ORGANIZERS,
        "cancelWaitlistEntry": ORGANIZERS,
        "respondStillInterested": ORGANIZERS,
        "setVenueAvailability": ADMINS,
        "clearVenueAvailabilityOverride": ADMINS,
        "resolveWaitlistCircuitBreaker": ADMINS,
    },
    "WaitlistEntryListResult": _fields("waitlistEntries pagination", ORGANIZERS),
    "VenueWaitlistEntryType": _fields(
        "id organizationId venueId venueName venueSlug venueCity venueCountry"
        " venueAvailabilityStatus sourceRfpId sourceRfpTitle sourceRfpVenueId desiredDatesStart"
        " desiredDatesEnd datesFlexible attendanceMin attendanceMax eventType spaceRequirements"
        " status queuePosition holdOfferedAt holdExpiresAt holdRemainingSeconds holdReminderSent"
        " convertedRfpId cancellationReason cancellationNotes expiresAt stillInterestedSentAt"
        " stillInterestedResponded joinedAt closedAt version createdAt updatedAt",
        ORGANIZERS,
    ),
    "WaitlistConversionResult": _fields("waitlistEntry newRfp", ORGANIZERS),
    "NewRfp": _fields("id title status venueCount message", ORGANIZERS),
    "Pagination": _fields("page pageSize totalCount totalPages", LOGGED_IN),
    "VenueListResult": _fields("venues pagination", LOGGED_IN),
    "VenueType": {
        **_fields("id name slug city country", LOGGED_IN),
        **_fields("availabilityStatus availabilityBadgeColor availabilityBadgeLabel", LOGGED_IN),
        "availabilityIsManualOverride": STAFF,
    },
    "VenueAvailabilityType": _fields(
        "venueId availabilityStatus isManualOverride manualOverrideAt inferredStatus lastInferredAt"
        " signalSummary version updatedAt",
        STAFF,
    ),
    "AvailabilitySignalSummary": _fields("periodDays counts unavailableRatio", STAFF),
    "SignalCount": _fields("type count", STAFF),
    "AvailabilityBadge": _fields("venueId availabilityStatus badgeColor badgeLabel", ANYONE),
    "CircuitBreakerResult": _fields(
        "circuitBreakerResolved cascadeResumed nextEntryOffered", ADMINS
    ),
}


def roles(*, route: str | None, method: str | None) -> Roles:
    """Return who may call a route with a method; nobody, if nothing was decided."""
    return ROUTES.get(route or "", {}).get(method or "", NOBODY)


def field_roles(*, type: str, field: str) -> Roles:
    """Return who may ask GraphQL for a field of a type; nobody, if nothing was decided."""
    return FIELDS.get(type, {}).get(field, NOBODY)


class ByRoute(BasePermission):
    """Lets in whom `ROUTES` lets in."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Compare the caller's role with the route's.

        :raises MethodNotAllowed: if the route has no such method.
        """
        match = request.resolver_match
        route = match.url_name if match else None
        allowed = roles(route=route, method=request.method)
        if not allowed and route in ROUTES:
            raise MethodNotAllowed(request.method or "")
        if Role.NONE in allowed:
            return True
        caller = request.auth
        return isinstance(caller, Caller) and caller.role in allowed
