"""What a deployment is told before it serves anybody."""

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

HEADER = ("HTTP_X_FORWARDED_PROTO", "https")


@pytest.mark.parametrize(
    ("header", "proxies", "told"), [(HEADER, 0, True), (HEADER, 1, False), (None, 0, False)]
)
def test_a_proxy_that_is_not_counted_is_an_error(
    settings: Settings, header: tuple[str, str] | None, proxies: int, told: bool
) -> None:
    settings.SECURE_PROXY_SSL_HEADER = header
    settings.PROXIES = proxies
    found = {
        message.id for message in run_checks(tags=["security"], include_deployment_checks=True)
    }
    assert ("accounts.E001" in found) == told
