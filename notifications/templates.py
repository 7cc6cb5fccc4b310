"""Templates: what a message says. A tenant's own text goes before the one that is shipped.

Looked up for the facility, then for the tenant, then in texts/. Placeholders are the names of
`facts.VALUES` in braces.
"""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Q

from accounts import rows
from accounts.models import Language
from audit.errors import NotFound
from audit.models import Event
from notifications import recipients
from notifications.channels import Content
from notifications.facts import ALIASES, VALUES, Facts, sample
from notifications.kinds import KINDS
from notifications.models import Channel, Message, Template

TEXTS = Path(__file__).parent / "texts"
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
# By what a message is answered where nothing else does it.
LINKS = frozenset({"offer_url", "nudge_url"})

# Whose text it is and of what: tenant, facility, kind, channel, language.
Key = tuple[UUID, UUID | None, str, str, str]


@dataclass(frozen=True, slots=True)
class Text:
    """A text with its placeholders; only mails and what is told in the app have a subject."""

    subject: str
    body: str


def render(*, message: Message, now: datetime) -> Content:
    """Write what a message says, at `now`."""
    return _render(message=message, own=_own(messages=[message]), event=None, now=now)


def render_all(*, messages: Sequence[Message], now: datetime) -> list[Content]:
    """Write what messages say, at `now`, in as few statements for many as for one."""
    own = _own(messages=messages)
    events = Event.objects.in_bulk([one.event_id for one in messages])
    return [
        _render(message=one, own=own, event=events.get(one.event_id), now=now) for one in messages
    ]


def _render(
    *, message: Message, own: Mapping[Key, Text], event: Event | None, now: datetime
) -> Content:
    language = recipients.of(message=message).language
    text = _find(message=message, own=own, language=language)
    facts = Facts(message=message, language=language, now=now, event=event)
    written = fill(text=text, value=lambda name: VALUES[name](facts))
    return replace(written, facts=facts)


def preview(*, text: Text, channel: str, language: str) -> Content:
    """Write what a text would say, to nobody in particular."""
    return fill(text=text, value=lambda name: sample(name=name, channel=channel, language=language))


def _own(*, messages: Sequence[Message]) -> dict[Key, Text]:
    """Read the tenants' own texts that may go with messages."""
    found = Template.objects.filter(
        Q(facility__in={one.facility_id for one in messages}) | Q(facility=None),
        tenant__in={one.tenant_id for one in messages},
        kind__in={one.kind for one in messages},
        channel__in={one.channel for one in messages},
    )
    return {
        (one.tenant_id, one.facility_id, one.kind, one.channel, one.language): Text(
            one.subject, one.body
        )
        for one in found
    }


def _find(*, message: Message, own: Mapping[Key, Text], language: str) -> Text:
    """Look a text up: the facility's, else the tenant's, else the one that is shipped."""
    for facility_id in (message.facility_id, None):
        key = (message.tenant_id, facility_id, message.kind, message.channel, language)
        if key in own:
            return own[key]
    return shipped(kind=told_as(message=message), channel=message.channel, language=language)


def told_as(*, message: Message) -> str:
    """Return the kind whose text is shipped for a message: some are told organizers otherwise."""
    other = message.kind.replace("waitlist.", "organizer.")
    entry = message.entry
    is_other = entry is not None and entry.organizer_id is not None and other in to_organizers()
    return other if is_other else message.kind


def to_organizers() -> frozenset[str]:
    """Return as what organizers are told kinds that have other words for them."""
    return frozenset(f"organizer.{name}" for name in _texts(language="en")["organizer"])


def shipped(*, kind: str, channel: str, language: str) -> Text:
    """Return the text of texts/: the channel's own, else the short one."""
    app, _, name = kind.partition(".")
    texts: Mapping[str, str] = _texts(language=language)[app][name]
    if channel == Channel.EMAIL:
        return Text(texts["subject"], texts["mail"].strip() + "\n")
    body = texts.get(channel, texts["short"])
    return Text(texts["subject"] if channel == Channel.IN_APP else "", body)


def fill(*, text: Text, value: Callable[[str], str]) -> Content:
    """Put the values in the places of their names."""

    def put(found: re.Match[str]) -> str:
        name = ALIASES.get(found[1], found[1])
        return value(name) if name in VALUES else found[0]

    return Content(PLACEHOLDER.sub(put, text.subject), PLACEHOLDER.sub(put, text.body))


def add(
    *, tenant_id: UUID, kind: str, channel: str, language: str, body: str, subject: str = "",
    facility_id: UUID | None = None,
) -> Template:  # fmt: skip
    """Write a tenant's own text of a kind, for one facility or for all.

    :raises ValidationError: naming each field with a fault.
    """
    check(kind=kind, channel=channel, subject=subject, body=body)
    template = Template(
        tenant_id=tenant_id,
        facility_id=facility_id,
        kind=kind,
        channel=channel,
        language=language,
        subject=subject,
        body=body,
    )
    if template.facility is not None and template.facility.tenant_id != tenant_id:
        raise NotFound("facility", facility_id)
    return rows.add(row=template)


def change(
    *, template_id: UUID, changes: Mapping[str, Any], version: int | None = None
) -> Template:
    """Change what a text says.

    :raises NotFound: if it is not there.
    :raises Stale: if its version is not the wanted one.
    :raises ValidationError: naming each field with a fault, or that a text keeps.
    """
    fixed = [name.removesuffix("_id") for name in changes if name not in {"subject", "body"}]
    if fixed:
        raise ValidationError(dict.fromkeys(fixed, "A text keeps this; add another text instead."))
    found = Template.objects.all()
    template = rows.find(rows=found, id=template_id, field="template")
    said = {"subject": template.subject, "body": template.body, **changes}
    check(kind=template.kind, channel=template.channel, **said)
    return rows.edit(rows=found, id=template_id, changes=changes, version=version)


def remove(*, template_id: UUID, version: int | None = None) -> None:
    """Delete a tenant's own text: what is shipped counts again.

    :raises NotFound, Stale: as `change`.
    """
    rows.remove(rows=Template.objects.all(), id=template_id, version=version)


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
        unknown = _placeholders(text) - set(VALUES)
        if unknown:
            names = ", ".join(f"{{{name}}}" for name in sorted(unknown))
            errors[field] = f"There is no placeholder {names}."
    if kind in KINDS and channel in Channel.values:
        usual = shipped(kind=kind, channel=channel, language=Language.EN)
        missing = LINKS & _placeholders(usual.body) - _placeholders(body)
        if missing:
            names = ", ".join(f"{{{name}}}" for name in sorted(missing))
            errors.setdefault("body", f"Nobody could answer without {names}.")
    if errors:
        raise ValidationError(errors)


def _placeholders(text: str) -> set[str]:
    return {ALIASES.get(name, name) for name in PLACEHOLDER.findall(text)}


@cache
def _texts(*, language: str) -> Mapping[str, Any]:
    return tomllib.loads((TEXTS / f"{language}.toml").read_text())
