"""WhatsApp through a Meta of our own, which checks what is sent to it."""

import logging
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings

from accounts.models import Language
from notifications import deliveries, facts, inbound, messages, senders, templates, whatsapp, words
from notifications.kinds import KINDS
from notifications.models import Message
from tests.notifications.stub import Stub
from tests.notifications.told import relayed
from tests.waitlist.worlds import MINUTE, NOW, SECOND, World
from waitlist.models import Hold

pytestmark = pytest.mark.django_db

PHONE = "+15005550006"
ROOT = Path(__file__).resolve().parents[2]


def _offer(clinic: World, *, language: str = "en") -> Message:
    """Offer a time to somebody with a phone and return the claimed message of it."""
    patient = clinic.patient(phone=PHONE, language=language)
    clinic.offer(entry=clinic.join(patient=patient))
    relayed()
    [claimed] = messages.claim(channel="whatsapp", now=NOW, limit=1)
    return claimed


def _write(*, ago: timedelta) -> None:
    """Let the patient write to us."""
    inbound.take(
        channel="whatsapp",
        provider_message_id=f"in {ago}",
        phones=[PHONE],
        said=words.read(text="hello"),
        now=NOW - ago,
    )


def test_the_first_message_is_an_approved_template_with_buttons(clinic: World, meta: Stub) -> None:
    message = _offer(clinic)
    assert deliveries.deliver(message=message, now=NOW) == "sent"
    [call] = meta.calls
    assert (call.path, call.authorization) == ("/v24.0/123/messages", "Bearer token")
    hold = Hold.objects.get()
    text = templates.shipped(kind=message.kind, channel="whatsapp", language="en").body
    names = list(dict.fromkeys(templates.PLACEHOLDER.findall(text)))
    values = facts.Facts(message=message, language="en", now=NOW)
    assert "facility_name" in names
    assert _without_none(call.json) == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "15005550006",
        "type": "template",
        "template": {
            "name": "waitlist_hold_offered",
            "language": {"code": "en"},
            "components": [
                {
                    "type": "BODY",
                    "parameters": [
                        {
                            "type": "text",
                            "text": facts.VALUES[name](values),
                            "parameter_name": name,
                        }
                        for name in names
                    ],
                },
                _quick_reply(0, f"yes:{hold.pk}"),
                _quick_reply(1, f"no:{hold.pk}"),
            ],
        },
        "biz_opaque_callback_data": str(message.pk),
    }
    message.refresh_from_db()
    assert (message.status, message.provider_message_id) == ("sent", "wamid.1")


def _quick_reply(index: int, payload: str) -> dict[str, Any]:
    return {
        "type": "button",
        "sub_type": "QUICK_REPLY",
        "index": index,
        "parameters": [{"type": "payload", "payload": payload}],
    }


def _without_none(value: dict[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in value.items() if one is not None}


def test_within_a_day_after_they_wrote_it_is_our_text_with_buttons(
    clinic: World, meta: Stub
) -> None:
    message = _offer(clinic, language="es")
    _write(ago=timedelta(hours=24) - SECOND)
    assert deliveries.deliver(message=message, now=NOW) == "sent"
    sent = meta.calls[0].json
    hold = Hold.objects.get()
    assert sent["type"] == "interactive"
    assert clinic.facility.name in sent["interactive"]["body"]["text"]
    assert sent["interactive"]["action"]["buttons"] == [
        {"type": "reply", "reply": {"id": f"yes:{hold.pk}", "title": "Reservar"}},
        {"type": "reply", "reply": {"id": f"no:{hold.pk}", "title": "No, gracias"}},
    ]
    assert sent["biz_opaque_callback_data"] == str(message.pk)


def test_a_day_after_they_wrote_it_is_a_template_again(clinic: World, meta: Stub) -> None:
    message = _offer(clinic)
    _write(ago=timedelta(hours=24))
    deliveries.deliver(message=message, now=NOW)
    assert meta.calls[0].json["type"] == "template"


def test_who_wrote_from_another_phone_opens_no_window(clinic: World, meta: Stub) -> None:
    clinic.patient(phone="+15005550009")
    inbound.take(
        channel="whatsapp",
        provider_message_id="other",
        phones=["+15005550009"],
        said=words.read(text="hello"),
        now=NOW - MINUTE,
    )
    deliveries.deliver(message=_offer(clinic), now=NOW)
    assert meta.calls[0].json["type"] == "template"


def test_where_meta_counts_the_day_otherwise_a_template_follows_at_once(
    clinic: World, meta: Stub
) -> None:
    message = _offer(clinic)
    _write(ago=MINUTE)
    refused = {"error": {"code": 131047, "message": "Re-engagement message"}}
    meta.answers = [(400, refused), *meta.answers]
    assert deliveries.deliver(message=message, now=NOW) == "sent"
    assert [call.json["type"] for call in meta.calls] == ["interactive", "template"]


def test_what_cannot_be_answered_has_no_buttons(clinic: World, meta: Stub) -> None:
    message = _offer(clinic)
    message.kind = "waitlist.hold_withdrawn"
    whatsapp.send(
        message=message,
        address=PHONE,
        content=templates.render(message=message, now=NOW),
    )
    components = meta.calls[0].json["template"]["components"]
    assert [one["type"] for one in components] == ["BODY"]


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        (400, {"code": 131026}, "failed"),  # no WhatsApp there
        (400, {"code": 132001}, "failed"),  # no such template
        (400, {"code": 100}, "failed"),  # a bad parameter
        (400, {"code": 131049}, "failed"),  # too many from businesses
        (401, {"code": 190}, "away"),  # our token is over
        (429, {"code": 130429}, "away"),  # too many
        (400, {"code": 131056}, "retried"),  # too many to them
        (500, {"code": 131000}, "away"),
        (503, {"code": 2}, "away"),
        (400, {"code": 131026, "is_transient": True}, "retried"),
    ],
)
def test_a_refusal_is_for_good_or_for_now(
    clinic: World, meta: Stub, status: int, error: dict[str, Any], outcome: str
) -> None:
    meta.answers = [(status, {"error": {"message": f"no {PHONE}", **error}})]
    message = _offer(clinic)
    assert deliveries.deliver(message=message, now=NOW) == outcome
    message.refresh_from_db()
    assert message.reason == f"whatsapp_{error['code']}"


def test_a_server_that_is_away_is_tried_again(
    clinic: World, meta: Stub, settings: LazySettings
) -> None:
    settings.WHATSAPP_URL = "http://127.0.0.1:1"
    message = _offer(clinic)
    assert deliveries.deliver(message=message, now=NOW) == "away"
    message.refresh_from_db()
    assert message.reason == "unreachable"


@pytest.mark.parametrize("missing", ["WHATSAPP_PHONE_ID", "WHATSAPP_TOKEN"])
def test_without_settings_the_channel_is_off(
    meta: Stub, settings: LazySettings, missing: str
) -> None:
    assert "whatsapp" in senders.live()
    setattr(settings, missing, "")
    assert "whatsapp" not in senders.live()


@pytest.mark.parametrize(
    "start",
    [
        "import config.asgi",
        "import config.wsgi",
        "from config.celery import app; app.WorkController(pool='solo')",
    ],
)
def test_who_sends_has_loaded_it_before_the_first_message(start: str) -> None:
    """A first offer would wait for it else, and its time runs."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{start}; import sys; print(*sys.modules)"],
        env={**os.environ, "WHATSAPP_PHONE_ID": "123", "WHATSAPP_TOKEN": "token"},
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "pywa.client" in done.stdout.split()


def test_no_log_has_an_address_or_a_text(
    clinic: World, meta: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even the libraries' own, which write whole requests down."""
    caplog.set_level(logging.DEBUG)
    message = _offer(clinic)
    _write(ago=MINUTE)
    for answer in ((400, {"error": {"code": 131026, "message": PHONE}}), meta.answers[0]):
        meta.answers = [answer]
        deliveries.deliver(message=message, now=NOW)
    assert PHONE[1:] not in caplog.text
    assert clinic.facility.name not in caplog.text


def test_each_kind_has_a_template_in_each_language() -> None:
    kinds = {*KINDS, *templates.to_organizers()}
    names = {whatsapp.template_name(kind=kind) for kind in kinds}
    assert {"waitlist_joined", "waitlist_hold_offered", "waitlist_hold_reminder"} <= names
    assert {"organizer_hold_offered", "organizer_hold_reminder"} <= names
    assert len(names) == len(kinds)
    assert set(whatsapp.LANGUAGES) == set(Language.values)
