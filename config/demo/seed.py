"""What the demo plays with: tenants with logins, and for each play a fresh place and people."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from accounts.models import Language, Membership, Tenant, User
from audit import events
from audit.events import Actor
from notifications import preferences
from notifications.models import Channel
from scheduling import patients
from scheduling.models import Facility, Patient, Provider, ProviderFacility, Service
from waitlist import policies

#: Made-up people. Each play takes the next ones, so that nobody meets a namesake.
FIRST_NAMES = (
    "Ada", "Bruno", "Carmen", "Dario", "Elif", "Farid", "Greta", "Hugo", "Imani", "Jonas", "Keiko",
    "Leona", "Mateo", "Nadia", "Oscar", "Priya", "Quentin", "Rosa", "Samir", "Tessa", "Umar",
    "Vera", "Wanda", "Yusuf", "Zoe",
)  # fmt: skip
LAST_NAMES = (
    "Abernath", "Bellweather", "Castellon", "Drummore", "Everdeen", "Fairbairn", "Goldsworth",
    "Hollander", "Ironwood", "Jessamy", "Kestrel", "Larkspur", "Marchetti", "Nightingale",
    "Oakshott", "Pemberly", "Quillfeather", "Ravensworth", "Silverstone", "Thistlewood",
)  # fmt: skip

#: Made-up organizers. Each play has its own, so that nobody waits or asks for too much.
ORGANIZERS = ("Aster Events", "Birch and Partners", "Cedar Society")

#: How often the demo's beat looks for offers that lapsed, in seconds: its windows are short.
EXPIRE_EVERY = 2

#: What makes each queue quick enough to watch. All else is as the preset of its kind says.
QUICK: dict[str, Any] = {
    "min_notice": timedelta(minutes=1),
    "min_hold": timedelta(seconds=1),
    "reminder_lead": None,
    "quiet_from": None,
    "quiet_until": None,
}


@dataclass(frozen=True, kw_only=True)
class Login:
    """A way into the admin."""

    email: str
    what: str
    #: The tenant that a token is asked for; none for who is a member of none.
    tenant: str = "-"


@dataclass(frozen=True, kw_only=True)
class Hours:
    """Opening hours of a weekday."""

    opens: time
    closes: time
    minutes: int


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a story is played: one provider's day at one facility."""

    facility: Facility
    provider: Provider
    service: Service | None
    day: date
    #: What its desk will enter; None where opening hours are there already.
    hours: Hours | None = None

    @property
    def zone(self) -> ZoneInfo:
        """The zone that its times are told in."""
        return ZoneInfo(self.facility.timezone)

    @property
    def opens(self) -> datetime:
        """The first instant of the day."""
        return datetime.combine(self.day, time(), self.zone)

    @property
    def closes(self) -> datetime:
        """The first instant of the next day."""
        return datetime.combine(self.day + timedelta(days=1), time(), self.zone)


def tenant(*, slug: str, name: str, kind: Tenant.Kind) -> Tenant:
    """Load a tenant, unless it is there."""
    return Tenant.objects.get_or_create(slug=slug, defaults={"name": name, "kind": kind})[0]


def logins(*, tenants: Sequence[Tenant]) -> tuple[list[Login], str]:
    """Load somebody who may do everything and an admin of each tenant, with a new password.

    Returns the logins and the password, which is theirs until the next start.
    """
    password = secrets.token_urlsafe(9)
    hashed = make_password(password)
    made = [Login(email="everything@demo.example", what="everything, in every tenant")]
    user(email=made[0].email, name="Demo", password=hashed, is_superuser=True)
    for one in tenants:
        kind = Tenant.Kind(one.kind).label.lower()
        login = Login(
            email=f"{one.slug}@demo.example", what=f"admin of {one.name}, {kind}", tenant=one.slug
        )
        Membership.objects.update_or_create(
            tenant=one,
            user=user(email=login.email, name=f"Desk of {one.name}", password=hashed),
            defaults={"role": Membership.Role.ADMIN},
        )
        made.append(login)
    return made, password


def admin(*, tenant: Tenant) -> User:
    """Return the admin of a tenant."""
    admins = Membership.objects.filter(tenant=tenant, role=Membership.Role.ADMIN)
    return admins.select_related("user").earliest("pk").user


def desk(*, tenant: Tenant) -> Actor:
    """Return the admin of a tenant, as who acts."""
    return Actor("user", admin(tenant=tenant).pk)


def user(*, email: str, **columns: Any) -> User:
    """Load a user, or give them these columns; `password` is hashed already."""
    return User.objects.update_or_create(email=email, defaults=columns)[0]


def people(*, tenant: Tenant, count: int) -> list[Patient]:
    """Load so many people, whom no earlier play knows."""
    known = Patient.objects.count()
    chosen = [full_name(number=known + number) for number in range(count)]
    return [
        Patient.objects.create(
            tenant=tenant,
            name=name,
            email=f"{name.lower().replace(' ', '.')}@demo.example",
            # Numbers that are kept for made-up people.
            phone=f"+447700900{(known + number) % 1000:03}",
        )
        for number, name in enumerate(chosen)
    ]


def prefer(*, patient: Patient, channel: Channel, language: Language, now: datetime) -> None:
    """Let somebody be told in a language, and of offers by mail and on one channel more."""
    patients.update(
        patient_id=patient.pk, changes={"language": language}, actor=events.SYSTEM, now=now
    )
    others = {other.value: other == channel for other in (Channel.SMS, Channel.WHATSAPP)}
    preferences.change(
        tenant_id=patient.tenant_id, patient_id=patient.pk, user_id=None, changes=others
    )


def full_name(*, number: int) -> str:
    """Make up a name; the first 500 differ, and those next to each other share nothing."""
    turn, first = divmod(number, len(FIRST_NAMES))
    return f"{FIRST_NAMES[first]} {LAST_NAMES[(7 * first + turn) % len(LAST_NAMES)]}"


def clinic(*, tenant: Tenant, now: datetime) -> Place:
    """Load a clinic with a morning of half hours."""
    return place(
        tenant=tenant,
        facility="Harbour Street Clinic",
        provider="Dr Ines Marlow",
        timezone="Europe/Dublin",
        service="Consultation",
        price=None,
        hours=Hours(opens=time(9), closes=time(12), minutes=30),
        now=now,
    )


def salon(*, tenant: Tenant, now: datetime) -> Place:
    """Load a salon with a stylist's afternoon."""
    return place(
        tenant=tenant,
        facility="Salon Lumiere",
        provider="Noor",
        timezone="Europe/Paris",
        service="Cut and finish",
        price=Decimal("48.00"),
        hours=Hours(opens=time(13), closes=time(16), minutes=45),
        now=now,
    )


def place(
    *,
    tenant: Tenant,
    facility: str,
    provider: str,
    timezone: str,
    service: str,
    price: Decimal | None,
    hours: Hours,
    now: datetime,
) -> Place:
    """Load a facility with one provider, who will be open on the next working day.

    Every play gets its own, so that none meets what an earlier one left behind.
    """
    number, suffix = turn(tenant=tenant)
    here = Facility.objects.create(
        tenant=tenant,
        name=f"{facility}{suffix}",
        slug=f"demo-{number}",
        kind=Facility.Kind(tenant.kind),
        timezone=timezone,
    )
    who = Provider.objects.create(tenant=tenant, name=f"{provider}{suffix}")
    ProviderFacility.objects.create(tenant=tenant, provider=who, facility=here)
    what, _ = Service.objects.get_or_create(
        tenant=tenant,
        name=service,
        defaults={
            "duration": timedelta(minutes=hours.minutes),
            "price": price,
            "currency": "EUR" if price else "",
        },
    )
    day = next_day(timezone=timezone, weekdays=range(1, 6), now=now)
    return Place(facility=here, provider=who, service=what, day=day, hours=hours)


def venue(*, tenant: Tenant) -> Facility:
    """Load a venue, a new one for every play."""
    number, suffix = turn(tenant=tenant)
    return Facility.objects.create(
        tenant=tenant,
        name=f"Quay Hall{suffix}",
        slug=f"demo-{number}",
        kind=Facility.Kind.VENUE,
        timezone="Europe/Lisbon",
        city="Lisbon",
        country="PT",
    )


def organizers(*, owner: Tenant) -> list[Tenant]:
    """Load those who will wait for the next venue of an owner."""
    number, suffix = turn(tenant=owner)
    return [
        tenant(
            slug=f"demo-{name.split()[0].lower()}{f'-{number}' if number > 1 else ''}",
            name=f"{name}{suffix}",
            kind=Tenant.Kind.ORGANIZER,
        )
        for name in ORGANIZERS
    ]


def turn(*, tenant: Tenant) -> tuple[int, str]:
    """Return the number of a tenant's next play, and what its names end in."""
    number = Facility.objects.filter(tenant=tenant).count() + 1
    return number, f" {number}" if number > 1 else ""


def next_day(*, timezone: str, weekdays: Sequence[int], now: datetime) -> date:
    """Return the first local date after today that is one of these ISO weekdays."""
    day = now.astimezone(ZoneInfo(timezone)).date() + timedelta(days=1)
    while day.isoweekday() not in weekdays:
        day += timedelta(days=1)
    return day


def hurry(*, place: Place, hold: timedelta, now: datetime) -> None:
    """Make a facility's queue quick enough to watch: its offers stand for `hold`."""
    policies.change(
        facility_id=place.facility.pk,
        changes={**QUICK, "hold_window": hold},
        actor=events.SYSTEM,
        now=now,
    )


def hurry_beat() -> None:
    """Let beat look for lapsed offers more often than it does elsewhere."""
    interval, _ = IntervalSchedule.objects.get_or_create(
        every=EXPIRE_EVERY, period=IntervalSchedule.SECONDS
    )
    for name, entry in settings.CELERY_BEAT_SCHEDULE.items():
        if entry["task"] == "waitlist.tasks.expire_holds":
            PeriodicTask.objects.update_or_create(
                name=name,
                defaults={
                    "task": entry["task"],
                    "interval": interval,
                    "expire_seconds": EXPIRE_EVERY,
                    "enabled": True,
                },
            )
