"""Clients: those who are logged in, and call the API over HTTP as any program does."""

import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError

from accounts.models import Tenant
from config.demo import seed, supervisor
from scheduling import callers

SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Calls what is below /api/v1/ of a site; as nobody, without a token."""

    site: str
    token: str = ""

    def get(self, path: str) -> Any:
        """Read.

        :raises Unseen: naming what is refused.
        """
        return self._call("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Do something.

        :raises Unseen: naming what is refused.
        """
        return self._call("POST", path, body or {})

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        """Replace something.

        :raises Unseen: naming what is refused.
        """
        return self._call("PUT", path, body)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.site}/api/v1/{path}", content, method=method)
        request.add_header("Content-Type", "application/json")
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return json.load(answer)
        except HTTPError as error:
            why = error.read().decode(errors="replace")
            raise supervisor.Unseen(f"{method} {path}: {error.code} {why}") from None
        except OSError as error:
            raise supervisor.Unseen(f"{method} {path}: {error}") from None


def log_in(*, site: str, tenant: Tenant) -> Client:
    """Return the client of a tenant's admin.

    The token is made here: those that are asked for with a password are limited per address, and
    who looks at the demo asks for some, too.
    """
    token = callers.issue(user=seed.admin(tenant=tenant), tenant_id=tenant.pk)
    return Client(site=site, token=token)
