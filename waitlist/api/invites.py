"""What the team does by hand: offer a slot or a vacancy, or book somebody at once."""

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import rows
from accounts.bodies import Body
from accounts.views import ApiView, wanted_version
from audit import clock
from scheduling import appointments, slots
from scheduling import scopes as supply
from waitlist import entries, invites, scopes
from waitlist.api import holds
from waitlist.api.answers import EntryAnswer, HoldAnswer
from waitlist.api.entries import show

# What is refused of an offer.
UNOFFERED = (
    *slots.UNCLAIMABLE, entries.EntryClosed, invites.DoesNotFit, invites.NobodyFits,
    invites.TooLate,
)  # fmt: skip


class Promotion(Body):
    """The slot to be booked."""

    slot = serializers.UUIDField()


class Invitation(Body):
    """Whom to invite; without it, the best match."""

    entry = serializers.UUIDField(required=False, allow_null=True)


class VacancyInvitation(Invitation):
    """Whom to invite, and why the appointment is cancelled."""

    reason = serializers.ChoiceField(choices=appointments.REASONS)


class PromoteView(ApiView, GenericAPIView[Any]):
    """Booking somebody who waits."""

    serializer_class = EntryAnswer
    updates: ClassVar[bool] = True
    problems: ClassVar = {
        "POST": (*slots.UNCLAIMABLE, entries.EntryClosed, appointments.PatientBusy, scopes.NotYours)
    }

    @extend_schema(request=Promotion, responses=EntryAnswer)
    def post(self, request: Request, id: UUID) -> Response:
        """Book a slot for an entry at once; an offer it has is taken back first."""
        body = Promotion(data=request.data)
        body.is_valid(raise_exception=True)
        slot_id = body.validated_data["slot"]
        scopes.check_entry(caller=self.caller, entry_id=id)
        scopes.check_slot(caller=self.caller, slot_id=slot_id)
        invites.promote(
            entry_id=id,
            slot_id=slot_id,
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=request),
        )
        return show(view=self, entry_id=id)


class SlotInviteView(ApiView, GenericAPIView[Any]):
    """Offering a slot."""

    serializer_class = HoldAnswer
    problems: ClassVar = {"POST": (*UNOFFERED, scopes.NotYours)}

    @extend_schema(request=Invitation, responses={201: HoldAnswer})
    def post(self, request: Request, id: UUID) -> Response:
        """Offer an open slot to an entry, or to the best match."""
        body = Invitation(data=request.data)
        body.is_valid(raise_exception=True)
        entry_id = body.validated_data.get("entry")
        scopes.check_slot(caller=self.caller, slot_id=id)
        if entry_id is not None:
            scopes.check_entry(caller=self.caller, entry_id=entry_id)
        actor = self.caller.actor
        hold = invites.invite(slot_id=id, entry_id=entry_id, actor=actor, now=clock.now())
        return holds.show(hold_id=hold.pk, caller=self.caller, status=201)


class AppointmentInviteView(ApiView, GenericAPIView[Any]):
    """Offering the vacancy of an appointment."""

    serializer_class = HoldAnswer
    updates: ClassVar[bool] = True
    problems: ClassVar = {"POST": (*UNOFFERED, appointments.NotBooked)}

    @extend_schema(request=VacancyInvitation, responses={201: HoldAnswer})
    def post(self, request: Request, id: UUID) -> Response:
        """Cancel an appointment and offer its slot to an entry, or to the best match."""
        body = VacancyInvitation(data=request.data)
        body.is_valid(raise_exception=True)
        entry_id = body.validated_data.get("entry")
        rows.find(rows=supply.appointments(caller=self.caller), id=id, field="appointment")
        if entry_id is not None:
            scopes.check_entry(caller=self.caller, entry_id=entry_id)
        hold = invites.invite_for(
            appointment_id=id,
            entry_id=entry_id,
            reason=body.validated_data["reason"],
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=request),
        )
        return holds.show(hold_id=hold.pk, caller=self.caller, status=201)
