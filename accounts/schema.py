"""The OpenAPI schema: what every operation shares, told once."""

from typing import Any

from drf_spectacular.openapi import AutoSchema

from accounts.roles import Role, roles


class Schema(AutoSchema):
    """Adds the problems that an operation may answer, and the headers that writes take."""
