"""Templates: what a message says. A tenant's own text goes before the one that is shipped.

Looked up for the facility, then for the tenant, then in texts/. Placeholders are the names of
`facts.VALUES` in braces.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import F, Q

from notifications import recipients
from notifications.channels import Content
from notifications.facts import ALIASES, VALUES, Facts
from notifications.kinds import KINDS
from notifications.models import Channel, Message, Template

TEXTS = Path(__file__).parent / "texts"
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Text:
    """A text with its placeholders; only mails and what is told in the app have a subject."""

    subject: str
    body: str


def render(*, message: Message, now: datetime) -> Content:
    """Write what a message says, at `now`."""
    language = recipients.of(message=message).language
    text = find(
        tenant_id=message.tenant_id,
        facility_id=message.facility_id,
        kind=message.kind,
        channel=message.channel,
        language=language,
    )
    facts = Facts(message=message, language=language, now=now)
    return Content(fill(text=text.subject, facts=facts), fill(text=text.body, facts=facts))


def find(*, tenant_id: UUID, facility_id: UUID, kind: str, channel: str, language: str) -> Text:
    """Look a text up: the facility's, else the tenant's, else the one that is shipped."""
    own = Template.objects.filter(
        Q(facility=facility_id) | Q(facility=None),
        tenant=tenant_id,
        kind=kind,
        channel=channel,
        language=language,
    )
    found = own.order_by(F("facility").asc(nulls_last=True)).first()
    if found is not None:
        return Text(found.subject, found.body)
    return shipped(kind=kind, channel=channel, language=language)


def shipped(*, kind: str, channel: str, language: str) -> Text:
    """Return the text of texts/: one for mails, and a short one for all other channels."""
    app, _, name = kind.partition(".")
    texts: Mapping[str, str] = _texts(language=language)[app][name]
    if channel == Channel.EMAIL:
        return Text(texts["subject"], texts["mail"].strip() + "\n")
    return Text(texts["subject"] if channel == Channel.IN_APP else "", texts["short"].strip())


def fill(*, text: str, facts: Facts) -> str:
    """Put the values in the places of their names."""

    def value(found: re.Match[str]) -> str:
        name = ALIASES.get(found[1], found[1])
        return VALUES[name](facts) if name in VALUES else found[0]

    return PLACEHOLDER.sub(value, text)


def check(*, kind: str, channel: str, subject: str, body: str) -> None:
    """Check a tenant's own text.

    :raises ValidationError: naming each field with a fault, such as a placeholder that is none.
    """
    errors: dict[str, str] = {}
    if kind not in KINDS:
        errors["kind"] = "There is no such kind."
    if subject and channel in {Channel.SMS, Channel.WHATSAPP}:
        errors["subject"] = "Only mails and what is told in the app have a subject."
    if not subject and channel in {Channel.EMAIL, Channel.IN_APP}:
        errors["subject"] = "Give a subject."
    for field, text in (("subject", subject), ("body", body)):
        unknown = {name for name in PLACEHOLDER.findall(text)} - set(VALUES) - set(ALIASES)
        if unknown:
            names = ", ".join(f"{{{name}}}" for name in sorted(unknown))
            errors[field] = f"There is no placeholder {names}."
    if errors:
        raise ValidationError(errors)


@cache
def _texts(*, language: str) -> Mapping[str, Any]:
    return tomllib.loads((TEXTS / f"{language}.toml").read_text())
