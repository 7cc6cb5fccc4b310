"""Replies: what is said at once to who answers by SMS or WhatsApp."""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from django.utils import formats, translation
from twilio.twiml.messaging_response import MessagingResponse

from notifications.facts import SHORT, offer_url
from notifications.models import InboundMessage
from scheduling.models import Appointment, Slot
from waitlist.models import Hold

TEXTS = Path(__file__).parent / "texts" / "replies.toml"


def compose(*, inbound: InboundMessage, language: str) -> str:
    """Write what is said to a message that came in, the same each time it comes.

    `language` is for who is nobody's patient; all others are answered in their own.
    """
    if inbound.patient is not None:
        language = inbound.patient.language
    if inbound.outcome == InboundMessage.Outcome.WHICH:
        holds = Hold.objects.select_related("facility", "slot").in_bulk(inbound.asked)
        return "\n".join(
            [
                write(name="which", language=language),
                *_list(holds=[holds[id] for id in inbound.asked], language=language),
            ]
        )
    return write(name=inbound.outcome, language=language, **_values(inbound.hold, language))


def write(*, name: str, language: str, **values: str) -> str:
    """Write a reply of texts/replies.toml in a language."""
    return _texts()[language][name].format(**values)


def to_twiml(*, text: str) -> str:
    """Write a reply as Twilio takes it; an empty one says nothing."""
    answer = MessagingResponse()
    if text:
        answer.message(text)
    return str(answer)


def _values(hold: Hold | None, language: str) -> Mapping[str, str]:
    if hold is None:
        return {}
    if hold.slot is None:
        return {"facility_name": hold.facility.name, "offer_url": offer_url(hold_id=hold.pk)}
    booked = hold.entry.appointment if hold.status == Hold.Status.ACCEPTED else None
    place = booked or hold.slot
    return {
        "facility_name": place.facility.name,
        "provider_name": place.provider.name,
        "slot_time": _time(place, language),
    }


def _list(*, holds: Sequence[Hold], language: str) -> list[str]:
    return [
        f"{number}: {_time(hold.slot, language)}, {hold.facility.name}"
        for number, hold in enumerate(holds, start=1)
        if hold.slot is not None
    ]


def _time(place: Slot | Appointment, language: str) -> str:
    local = place.period.lower.astimezone(ZoneInfo(place.facility.timezone))
    with translation.override(language):
        return str(formats.date_format(local, SHORT[language]))


@cache
def _texts() -> Mapping[str, Mapping[str, str]]:
    return tomllib.loads(TEXTS.read_text())
