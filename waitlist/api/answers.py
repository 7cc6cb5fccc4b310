"""Entries and holds as the API shows them."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.roles import Caller, Role
from scheduling.models import Appointment
from waitlist import ranking
from waitlist.models import Hold, WaitlistEntry

PERIOD_FIELDS = ("starts_at", "ends_at")


class BookedAnswer(serializers.ModelSerializer[Appointment]):
    """The appointment that somebody who waited got."""

    starts_at = serializers.DateTimeField(source="period.lower")
    ends_at = serializers.DateTimeField(source="period.upper")

    class Meta:
        model = Appointment
        fields = ("id", "slot", "facility", "provider", "service", *PERIOD_FIELDS, "status")


class HoldAnswer(serializers.ModelSerializer[Hold]):
    """A place kept for an entry; `appointment` once it was accepted."""

    starts_at = serializers.DateTimeField(source="period.lower", default=None, allow_null=True)
    ends_at = serializers.DateTimeField(source="period.upper", default=None, allow_null=True)
    appointment = serializers.SerializerMethodField()

    class Meta:
        model = Hold
        fields = (
            "id", "entry", "facility", "slot", *PERIOD_FIELDS, "status", "source", "offered_at",
            "expires_at", "closed_at", "appointment",
        )  # fmt: skip

    @extend_schema_field(BookedAnswer(allow_null=True))
    def get_appointment(self, hold: Hold) -> dict[str, Any] | None:
        """Return what was booked with this hold, not by another way."""
        booked = hold.entry.appointment if hold.status == Hold.Status.ACCEPTED else None
        return dict(BookedAnswer(booked).data) if booked else None


class LiveHoldAnswer(serializers.ModelSerializer[Hold]):
    """What an entry is offered at the moment."""

    starts_at = serializers.DateTimeField(source="period.lower", default=None, allow_null=True)
    ends_at = serializers.DateTimeField(source="period.upper", default=None, allow_null=True)

    class Meta:
        model = Hold
        fields = ("id", "slot", *PERIOD_FIELDS, "offered_at", "expires_at")


class EntryAnswer(serializers.ModelSerializer[WaitlistEntry]):
    """An entry with its place; the context has the `positions` of all, `now` and the `caller`.

    Position and score are null once it has ended. Who waits by name, and what staff noted when they
    cancelled, is for the team.
    """

    patient_name = serializers.SerializerMethodField()
    position = serializers.SerializerMethodField()
    priority_score = serializers.SerializerMethodField()
    hold = serializers.SerializerMethodField()
    appointment = BookedAnswer(allow_null=True)
    cancellation_notes = serializers.SerializerMethodField()
    metadata = serializers.DictField()

    class Meta:
        model = WaitlistEntry
        fields = (
            "id", "facility", "patient", "patient_name", "provider", "provider_required",
            "service", "any_facility", "preferred_days", "preferred_time", "earliest", "latest",
            "dates_flexible", "urgency", "metadata", "status", "position", "priority_score",
            "hold", "appointment", "joined_at", "expires_at", "offers_made", "nudged_at",
            "nudge_answered_at", "cancellation_reason", "cancellation_notes", "closed_at",
            "version", "created_at", "updated_at",
        )  # fmt: skip
        extra_kwargs: ClassVar = {
            "offers_made": {"help_text": "How many offers were declined or lapsed."}
        }

    def get_patient_name(self, entry: WaitlistEntry) -> str | None:
        """Say who waits, to the team."""
        return entry.patient.name if entry.patient and self._inside else None

    def get_position(self, entry: WaitlistEntry) -> int | None:
        """Return 1 for who goes first."""
        found: int | None = self.context["positions"].get(entry.pk)
        return found

    def get_priority_score(self, entry: WaitlistEntry) -> float | None:
        """Return the priority at the moment, in points."""
        if entry.closed_at is not None:
            return None
        policy = entry.facility.waitlist_policy
        now = self.context["now"]
        return round(ranking.priority_score(entry=entry, policy=policy, now=now), 3)

    @extend_schema_field(LiveHoldAnswer(allow_null=True))
    def get_hold(self, entry: WaitlistEntry) -> dict[str, Any] | None:
        """Return what it is offered."""
        live: list[Hold] = entry.live  # type: ignore[attr-defined]
        return dict(LiveHoldAnswer(live[0]).data) if live else None

    def get_cancellation_notes(self, entry: WaitlistEntry) -> str | None:
        """Return what was noted, to the team."""
        return entry.cancellation_notes if self._inside else None

    @property
    def _inside(self) -> bool:
        caller: Caller = self.context["caller"]
        return caller.role != Role.PATIENT
