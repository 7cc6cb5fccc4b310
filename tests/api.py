"""Clients of the API who log in as somebody of a role."""

from functools import cache
from typing import Any

from rest_framework.test import APIClient

from accounts import routes
from accounts.models import Membership, Tenant, User
from accounts.problems import MEDIA_TYPE
from accounts.roles import Role
from config.api import schema
from scheduling import callers
from scheduling.models import Patient
from tests.factories import MembershipFactory, PatientFactory, UserFactory

BASE = "/api/v1/"
# What a member of an organizer is called there.
MEMBERS: dict[str, str] = {
    Role.ORGANIZER: Membership.Role.STAFF,
    Role.ORGANIZER_ADMIN: Membership.Role.ADMIN,
}


class Api(APIClient):
    """Sends and gets JSON below /api/v1/, as one user of one tenant; `user` is nobody's if None."""

    def __init__(
        self, *, user: User | None = None, tenant: Tenant | None = None, role: str | None = None
    ) -> None:
        super().__init__()
        self.documented = documented()  # here: a client may be used by many threads at once
        self.user = user
        if user is not None and tenant is not None:
            token = callers.issue(user=user, tenant_id=tenant.pk, role=role)
            self.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")

    def generic(self, method: str, path: Any, *args: Any, **kwargs: Any) -> Any:
        """Send a request to a path below the base, and hold a problem against the schema."""
        path = path if path[0] == "/" else BASE + path
        response = super().generic(method, path, *args, **kwargs)
        place = (response.resolver_match.url_name, method)
        is_problem = response.headers.get("Content-Type") == MEDIA_TYPE
        if place in self.documented and is_problem and response.status_code != 500:
            found = (response.status_code, response.json()["code"])
            assert found in self.documented[place], (*place, *found)
        return response

    def get(self, path: Any, data: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Get a path, `data` being its parameters."""
        return super().get(path if path[0] == "/" else BASE + path, data, **kwargs)


@cache
def documented() -> dict[tuple[str, str], set[tuple[int, str]]]:
    """Return the statuses and codes of problems by route and method."""
    return {
        (routes.names()[path], method.upper()): {
            (int(status), code)
            for status, answer in operation["responses"].items()
            for code in answer.get("content", {}).get(MEDIA_TYPE, {}).get("examples", ())
        }
        for path, item in schema()["paths"].items()
        for method, operation in item.items()
    }


def log_in(*, tenant: Tenant, role: Role | str) -> Api:
    """Make a user of a role in a tenant and a client with their token."""
    if role == Role.NONE:
        return Api()
    user = UserFactory.create()
    if role == Role.PATIENT:
        PatientFactory.create(tenant=tenant, user=user)
    else:
        MembershipFactory.create(tenant=tenant, user=user, role=MEMBERS.get(role, role))
    return Api(user=user, tenant=tenant)


def patient_of(*, api: Api) -> Patient:
    """Return who a client is as a patient."""
    assert api.user is not None
    return Patient.objects.get(user=api.user)
