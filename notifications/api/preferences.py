"""What the caller wants to be told, and how."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.bodies import Body
from accounts.views import ApiView, read
from notifications import preferences
from notifications.models import Preference


class PreferenceBody(Body, serializers.ModelSerializer[Preference]):
    """Whether to be told of the waitlist at all, and by which ways; in the app it always is."""

    class Meta:
        model = Preference
        fields = preferences.FIELDS
        extra_kwargs = {name: {"required": True} for name in preferences.FIELDS}  # noqa: RUF012


class PreferencesView(ApiView, GenericAPIView[Any]):
    """The caller's own, in this tenant."""

    serializer_class = PreferenceBody

    def get(self, request: Request) -> Response:
        """Read what one wants to be told."""
        return Response(PreferenceBody(preferences.get(**self._whose())).data)

    @extend_schema(responses=PreferenceBody)
    def put(self, request: Request) -> Response:
        """Say what one wants to be told from now on, of what is on its way, too."""
        said = preferences.change(**self._whose(), changes=read(view=self))
        return Response(PreferenceBody(said).data)

    def _whose(self) -> dict[str, Any]:
        caller = self.caller
        return {
            "tenant_id": caller.tenant_id,
            "patient_id": caller.patient_id,
            "user_id": caller.user_id,
        }
