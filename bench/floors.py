"""The least that a request to join can be: who asks is checked, and one row inserted."""

from uuid import UUID

from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.roles import Caller
from audit import clock, sql


class JoinView(APIView):
    """Inserts an entry, and looks at nothing."""

    permission_classes = (IsAuthenticated,)
    schema = None

    def post(self, request: Request) -> Response:
        """Insert."""
        assert isinstance(request.auth, Caller)
        assert isinstance(request.data, dict)
        [(entry,)] = sql.run(
            app="bench",
            name="insert_entry",
            params={
                "tenant": request.auth.tenant_id,
                "facility": UUID(request.data["facility"]),
                "patient": UUID(request.data["patient"]),
                "now": clock.now(),
            },
        )
        return Response({"id": entry}, status=201)
