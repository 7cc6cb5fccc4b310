"""Inbound: what people answer by SMS and WhatsApp.

An answer is taken once, by the provider's id of it; the same one again is told what it was told.
Whoever sends from a patient's phone answers for that patient. One phone may be that of several
patients, and of several tenants: one number is texted for all of them, and who has the phone got
their offers on it anyway.

Organizers are offered venues, and answer on the page of the offer: that drafts a request.
"""

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef

from accounts.models import Membership, User
from audit.errors import Refused
from audit.events import Actor
from notifications import preferences
from notifications.models import InboundMessage, Message
from notifications.words import Meaning, Said
from scheduling.appointments import PatientBusy
from scheduling.models import Appointment, Patient
from waitlist import holds
from waitlist.models import Hold

Outcome = InboundMessage.Outcome


@transaction.atomic
def take(
    *, channel: str, provider_message_id: str, phones: Collection[str], said: Said, now: datetime
) -> InboundMessage:
    """Do what somebody says who writes from a phone, `phones` being the ways to write its number.

    Never refuses: the outcome says what came of it. A message that was taken before is returned as
    it is. Locks queue, provider, patient, slot, hold, entry.
    """
    inbound, is_new = InboundMessage.objects.get_or_create(
        channel=channel,
        digest=hashlib.sha256(provider_message_id.encode()).hexdigest(),
        defaults={"outcome": Outcome.UNCLEAR, "at": now},
    )
    if not is_new:
        return inbound
    found = Patient.objects.filter(phone__in=phones, erased_at=None)
    people = list(found.order_by("pk"))
    if said.meaning in {Meaning.STOP, Meaning.START}:
        _switch(channel=channel, people=people, phones=phones, is_on=said.meaning == Meaning.START)
        stopped = said.meaning == Meaning.STOP
        return _note(inbound, people, Outcome.STOPPED if stopped else Outcome.STARTED)
    live = _live(people=people, now=now)
    venue = None if live or said.hold_id else _live_at_venue(phones=phones, now=now)
    if venue is not None:
        return _note(inbound, [], Outcome.PAGE, hold=venue)
    if said.meaning is None:
        return _note(inbound, people, Outcome.UNCLEAR if live else Outcome.NOTHING)
    hold = _choose(said=said, people=people, live=live)
    if hold is not None:
        return _note(inbound, people, _answer(hold=hold, said=said, now=now), hold=hold)
    if live and said.hold_id is None:
        return _note(inbound, people, Outcome.WHICH, asked=live)
    return _note(inbound, people, Outcome.NOTHING)


def language(*, phones: Collection[str], said: Said) -> str:
    """Return the language to answer who is nobody's patient: a member's own, else the word's."""
    members = User.objects.filter(phone__in=phones, is_active=True).order_by("pk")
    return members.values_list("language", flat=True).first() or said.language


def _live(*, people: Sequence[Patient], now: datetime) -> list[Hold]:
    """Return what they are offered, by time."""
    offered = Hold.objects.filter(
        patient__in=people, slot__isnull=False, status=Hold.Status.OFFERED, expires_at__gt=now
    )
    return list(offered.order_by("period__startswith", "pk"))


def _live_at_venue(*, phones: Collection[str], now: datetime) -> Hold | None:
    """Return which venue somebody with a phone was told is kept for them, the first to lapse."""
    member = Membership.objects.filter(
        user=OuterRef("user"), tenant=OuterRef("tenant"), user__is_active=True
    )
    told = Message.objects.filter(
        Exists(member),
        user__phone__in=phones,
        hold__slot=None,
        hold__status=Hold.Status.OFFERED,
        hold__expires_at__gt=now,
    )
    first = told.select_related("hold").order_by("hold__expires_at", "hold", "pk").first()
    return first.hold if first else None


def _choose(*, said: Said, people: Sequence[Patient], live: Sequence[Hold]) -> Hold | None:
    """Say which offer of theirs an answer means; None if there is none or that is not clear.

    A number is that of the list they were sent, whatever else is offered by now.
    """
    theirs = Hold.objects.filter(patient__in=people, slot__isnull=False)
    if said.hold_id is not None:
        return theirs.filter(pk=said.hold_id).first()
    if said.number is not None:
        listed = InboundMessage.objects.filter(patient__in=people, outcome=Outcome.WHICH)
        last = listed.order_by("-at", "-pk").first()
        asked = [hold.pk for hold in live]
        if last is not None and (not live or set(asked) & set(last.asked)):
            asked = last.asked
        if not 0 < said.number <= len(asked):
            return None
        return theirs.filter(pk=asked[said.number - 1]).first()
    if len(live) == 1:
        return live[0]
    # Without any, the last that they were told of is what they answer too late.
    told = Message.objects.filter(patient__in=people, hold__isnull=False)
    last_told = told.order_by("-pk").values_list("hold", flat=True)[:1]
    return None if live else theirs.filter(pk__in=list(last_told)).first()


def _answer(*, hold: Hold, said: Said, now: datetime) -> Outcome:
    """Accept or decline an offer; say what came of it."""
    accept = said.meaning == Meaning.YES
    answer = holds.accept if accept else holds.decline
    try:
        answer(hold_id=hold.pk, actor=Actor("patient", hold.patient_id), now=now)
    except holds.HoldClosed as closed:
        return _answered_before(hold=hold, accept=accept, state=closed.more["state"])
    except PatientBusy:
        return Outcome.BUSY
    except Refused:  # the slot was blocked or taken, or its provider is not there any longer
        return Outcome.GONE
    return Outcome.ACCEPTED if accept else Outcome.DECLINED


def _answered_before(*, hold: Hold, accept: bool, state: str) -> Outcome:
    """Say again what was said to the same answer, while that is still so."""
    if not accept and state == Hold.Status.DECLINED:
        return Outcome.DECLINED
    booked = Appointment.objects.filter(entries__holds=hold, status=Appointment.Status.BOOKED)
    if accept and state == Hold.Status.ACCEPTED and booked.exists():
        return Outcome.ACCEPTED
    return Outcome.CLOSED


def _switch(
    *, channel: str, people: Sequence[Patient], phones: Collection[str], is_on: bool
) -> None:
    """Turn a channel on or off for all who have a phone."""
    for patient in people:
        _change(patient.tenant_id, channel, is_on, patient_id=patient.pk)
    for member in Membership.objects.filter(user__phone__in=phones):
        _change(member.tenant_id, channel, is_on, user_id=member.user_id)


def _change(
    tenant_id: UUID,
    channel: str,
    is_on: bool,
    *,
    patient_id: UUID | None = None,
    user_id: UUID | None = None,
) -> None:
    preferences.change(
        tenant_id=tenant_id, patient_id=patient_id, user_id=user_id, changes={channel: is_on}
    )


def _note(
    inbound: InboundMessage,
    people: Sequence[Patient],
    outcome: Outcome,
    *,
    hold: Hold | None = None,
    asked: Sequence[Hold] = (),
) -> InboundMessage:
    whose = hold or next(iter(asked), None)
    inbound.patient_id = whose.patient_id if whose else next((one.pk for one in people), None)
    inbound.hold = hold
    inbound.outcome = outcome
    inbound.asked = [one.pk for one in asked]
    inbound.save(update_fields=["patient", "hold", "outcome", "asked"])
    return inbound
