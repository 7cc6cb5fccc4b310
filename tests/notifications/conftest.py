from collections.abc import Iterator

import pytest
from django.conf import LazySettings
from django.core.cache import cache

from audit import clock
from tests.notifications import mailbox as mailboxes
from tests.notifications import stub
from tests.notifications.mailbox import Mailbox
from tests.notifications.stub import Stub
from tests.waitlist import worlds
from tests.waitlist.worlds import World


@pytest.fixture
def clinic(db: None) -> World:
    return worlds.build()


@pytest.fixture
def mailbox(settings: LazySettings) -> Iterator[Mailbox]:
    """A server that takes mail."""
    with mailboxes.opened(settings) as opened:
        yield opened


@pytest.fixture
def by_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tasks read a clock at which it is nobody's quiet hours."""
    monkeypatch.setattr(clock, "now", lambda: worlds.NOW)


@pytest.fixture(autouse=True)
def _rested() -> Iterator[None]:
    """Let no channel rest that another test has tired."""
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def twilio(settings: LazySettings) -> Iterator[Stub]:
    """Twilio's API, with the settings to use it."""
    settings.TWILIO_ACCOUNT_SID = "AC" + "0" * 32
    settings.TWILIO_AUTH_TOKEN = "token"
    settings.TWILIO_FROM = "+15005550001"
    with stub.opened(status=201, body={"sid": "SM1", "status": "queued"}) as opened:
        settings.TWILIO_URL = opened.url
        yield opened


@pytest.fixture
def meta(settings: LazySettings) -> Iterator[Stub]:
    """Meta's API, with the settings to use it."""
    settings.WHATSAPP_PHONE_ID = "123"
    settings.WHATSAPP_TOKEN = "token"
    settings.WHATSAPP_APP_SECRET = "secret"
    settings.WHATSAPP_VERIFY_TOKEN = "verify"
    sent = {"contacts": [{"input": "1", "wa_id": "1"}], "messages": [{"id": "wamid.1"}]}
    with stub.opened(status=200, body={"messaging_product": "whatsapp", **sent}) as opened:
        settings.WHATSAPP_URL = f"{opened.url}/v24.0"
        yield opened
