"""Forgetting a patient."""

from typing import ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import rows
from accounts.views import ApiView, wanted_version
from audit import clock
from scheduling import scopes
from waitlist import erasure


class PatientEraseView(ApiView):
    """The end of all that is known of a patient."""

    updates: ClassVar[bool] = True

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request, id: UUID) -> Response:
        """Forget a patient for good.

        What they wait for, are offered, have reserved and are booked for ends, and goes on to the
        next. Their name, contacts, metadata, notes and stored answers are deleted, and so is their
        account, if they are nothing else by it. Their row stays, and says nothing of them.
        """
        rows.find(rows=scopes.patients(caller=self.caller), id=id, field="patient")
        erasure.erase(
            patient_id=id,
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=request),
        )
        return Response(status=204)
