"""Offer links: answered by whoever bears them, as JSON or on a page."""

import re
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import formats, translation

from audit import clock
from audit.events import SYSTEM
from audit.models import Event
from scheduling import appointments
from scheduling.models import Appointment
from tests.api import Api
from tests.clinics import Clinic
from waitlist import holds, invites, offers
from waitlist.models import Hold, WaitlistEntry

HTML = "text/html,application/xhtml+xml,*/*;q=0.8"


@pytest.fixture
def hold(clinic: Clinic) -> Hold:
    """An offer to the clinic's patient."""
    entry = clinic.join()
    return invites.invite(
        slot_id=clinic.slot().pk, entry_id=entry.pk, actor=SYSTEM, now=clock.now()
    )


def link(hold: Hold) -> str:
    """Return the address of an offer."""
    return f"/api/v1/offers/{offers.sign(hold_id=hold.pk)}"


def test_link_shows_the_offer_and_nobody(clinic: Clinic, hold: Hold) -> None:
    answer = Api().get(link(hold))
    assert answer.status_code == 200
    assert answer.data["state"] == "offered"
    assert answer.data["facility"] == clinic.facility.name
    assert answer.data["provider"] == clinic.provider.name
    assert set(answer.data) == {
        "state", "expires_at", "facility", "timezone", "provider", "service", "starts_at",
        "ends_at",
    }  # fmt: skip
    assert answer["Cache-Control"] == "no-store"
    page = Client().get(link(hold), headers={"accept": HTML})
    assert page["Content-Type"] == "text/html; charset=utf-8"
    for text in (clinic.patient.name, clinic.patient.email, str(clinic.patient.pk)):
        assert text not in page.content.decode()


def test_reading_changes_nothing(clinic: Clinic, hold: Hold) -> None:
    """Scanners of mail follow links, with GET and HEAD."""
    before = Event.objects.count()
    for client, accept in ((Api(), "*/*"), (Client(), HTML)):
        for call in (client.get, client.head):
            assert call(link(hold), headers={"accept": accept}).status_code == 200
        for verb in ("accept", "decline"):
            assert client.get(f"{link(hold)}/{verb}").status_code == 405
    hold.refresh_from_db()
    assert hold.status == "offered"
    assert Event.objects.count() == before


def test_accept_and_then_again(clinic: Clinic, hold: Hold) -> None:
    client = Api()
    answer = client.post(f"{link(hold)}/accept", {}, format="json")
    assert answer.status_code == 200, answer.data
    assert answer.data["state"] == "accepted"
    assert answer.data["starts_at"]
    assert Appointment.objects.get().patient == clinic.patient
    assert Event.objects.get(kind="waitlist.converted").actor_type == "link"
    for verb in ("accept", "decline"):
        again = client.post(f"{link(hold)}/{verb}", {}, format="json")
        assert again.status_code == 409
        assert again["Content-Type"].startswith("application/problem+json")
        assert (again.data["code"], again.data["state"]) == ("hold_closed", "accepted")
    shown = client.get(link(hold)).data
    assert (shown["state"], bool(shown["starts_at"])) == ("accepted", True)


@pytest.mark.parametrize("ending", ["cancelled", "completed", "no_show", "over"])
def test_a_link_tells_no_visit_that_is_over(clinic: Clinic, hold: Hold, ending: str) -> None:
    booked = holds.accept(hold_id=hold.pk, actor=SYSTEM, now=clock.now())
    after = clock.now() + timedelta(days=3)
    known: dict[str, Any] = {"appointment_id": booked.pk, "actor": SYSTEM, "now": after}
    if ending == "cancelled":
        appointments.cancel(**known | {"now": clock.now()}, reason="other")
        after = clock.now()
    elif ending != "over":
        (appointments.complete if ending == "completed" else appointments.miss)(**known)
    told = offers.describe(hold=offers.read(token=offers.sign(hold_id=hold.pk)), now=after)
    assert told.state == "accepted"
    assert not any((told.provider, told.service, told.starts_at, told.ends_at))
    if ending != "over":
        page = Client().get(link(hold), headers={"accept": HTML}).content.decode()
        assert "You accepted this offer" in page
        assert clinic.provider.name not in page


def test_a_link_tells_the_visit_while_it_lasts(clinic: Clinic, hold: Hold) -> None:
    booked = holds.accept(hold_id=hold.pk, actor=SYSTEM, now=clock.now())
    last = booked.period.upper - timedelta(seconds=1)
    told = offers.describe(hold=offers.read(token=offers.sign(hold_id=hold.pk)), now=last)
    assert (told.provider, told.starts_at) == (clinic.provider.name, booked.period.lower)


def test_decline(hold: Hold) -> None:
    answer = Api().post(f"{link(hold)}/decline")
    assert (answer.status_code, answer.data["state"]) == (200, "declined")
    assert answer.data["starts_at"] is answer.data["provider"] is None
    assert WaitlistEntry.objects.get().status == "waiting"


@pytest.mark.parametrize(
    ("language", "title", "when", "closed"),
    [
        ("en", "A time has become free for you", "l, j F Y, H:i", "You declined this offer"),
        ("es", "Hay una hora libre para usted", r"l j \d\e F \d\e Y, H:i", "Ha rechazado"),
        ("fr", "Un horaire s’est libéré pour vous", "l j F Y, H:i", "Vous avez refusé"),
        ("pt", "Há uma hora livre para si", r"l, j \d\e F \d\e Y, H:i", "Recusou"),
    ],
)
def test_the_page_is_in_the_language_of_who_was_written_to(
    clinic: Clinic, hold: Hold, language: str, title: str, when: str, closed: str
) -> None:
    type(clinic.patient).objects.update(language=language)
    # What the browser would rather have does not count.
    client = Client(headers={"accept": HTML, "accept-language": "de, es;q=0.5"})
    page = client.get(link(hold))
    text = page.content.decode()
    assert page["Content-Language"] == language
    assert f'<html lang="{language}">' in text
    assert title in text
    assert hold.period is not None
    local = hold.period.lower.astimezone(ZoneInfo(hold.facility.timezone))
    with translation.override(language):
        assert formats.date_format(local, when) in text
    holds.decline(hold_id=hold.pk, actor=SYSTEM, now=clock.now())
    assert closed in client.get(link(hold)).content.decode()


def lapse(hold: Hold) -> None:
    """Let the time to answer be over, before any sweep has been there."""
    now = clock.now()
    Hold.objects.filter(pk=hold.pk).update(offered_at=now - timedelta(hours=2), expires_at=now)


@pytest.mark.parametrize("state", ["expired", "withdrawn", "declined", "accepted"])
def test_page_says_what_became_of_it(clinic: Clinic, hold: Hold, state: str) -> None:
    if state == "expired":
        lapse(hold)
    elif state == "withdrawn":
        url = f"/api/v1/waitlists/{hold.entry_id}"
        body = {"status": "cancelled", "reason": "other"}
        clinic.client("staff").patch(url, body, format="json")
    elif state == "declined":
        holds.decline(hold_id=hold.pk, actor=SYSTEM, now=clock.now())
    else:
        holds.accept(hold_id=hold.pk, actor=SYSTEM, now=clock.now())
    answer = Api().get(link(hold))
    assert (answer.status_code, answer.data["state"]) == (200, state)
    page = Client().get(link(hold), headers={"accept": HTML}).content.decode()
    assert "<form" not in page
    assert {
        "expired": "has expired",
        "withdrawn": "was withdrawn",
        "declined": "You declined",
        "accepted": "You accepted",
    }[state] in page
    refused = Api().post(f"{link(hold)}/accept", {}, format="json")
    assert (refused.status_code, refused.data["state"]) == (409, state)


def test_forms_of_the_page_work(clinic: Clinic, hold: Hold) -> None:
    client = Client(enforce_csrf_checks=True)
    page = client.get(link(hold), headers={"accept": HTML}).content.decode()
    action, token = re.search(r'action="([^"]+/accept)">.*?value="([^"]+)"', page).groups()  # type: ignore[union-attr]
    form = {"csrfmiddlewaretoken": token}
    answer = _submit(client, action, form)
    assert answer.status_code == 303
    assert answer["Location"] == link(hold)
    assert Appointment.objects.count() == 1
    again = _submit(client, action, form)  # a second click
    assert again.status_code == 303
    shown = client.get(again["Location"], headers={"accept": HTML}).content.decode()
    assert "You accepted" in shown


def test_form_of_another_site_is_refused(hold: Hold) -> None:
    answer = _submit(Client(enforce_csrf_checks=True), f"{link(hold)}/accept", {"answer": "yes"})
    assert answer.status_code == 403
    assert "Open the link again" in answer.content.decode()
    bare = Client(enforce_csrf_checks=True).post(
        f"{link(hold)}/accept", headers={"origin": "https://elsewhere.example"}
    )
    assert (bare.status_code, bare.json()["code"]) == (403, "csrf_failed")
    hold.refresh_from_db()
    assert hold.status == "offered"


def _submit(client: Client, url: str, form: dict[str, str]) -> Any:
    return client.post(
        url,
        data="&".join(f"{name}={value}" for name, value in form.items()),
        content_type="application/x-www-form-urlencoded",
        headers={"accept": HTML},
    )


def test_forged_links_lead_nowhere(hold: Hold) -> None:
    token = offers.sign(hold_id=hold.pk)
    for bad in (token[:-1], "x" + token, "nonsense", "a.b", offers.sign(hold_id=hold.entry_id)):
        answer = Api().get(f"/api/v1/offers/{bad}")
        assert (answer.status_code, answer.data["code"]) == (404, "not_found")
        assert bad not in answer.content.decode()
        page = Client().get(f"/api/v1/offers/{bad}", headers={"accept": HTML})
        assert page.status_code == 404
        assert page["Content-Type"].startswith("text/html")
        assert "leads to no offer" in page.content.decode()


def test_links_are_limited_by_address(hold: Hold, settings: Any) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"offer": "2/minute"}
    statuses = [Api().get(link(hold), REMOTE_ADDR="203.0.113.9").status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert Api().get(link(hold), REMOTE_ADDR="203.0.113.10").status_code == 200


def test_a_tenant_has_its_share_of_links(hold: Hold, settings: Any) -> None:
    share = {"offer": "1/minute", f"offer:{hold.tenant_id}": "2/minute"}
    settings.RATE_LIMITS = settings.RATE_LIMITS | share

    def get(path: str) -> int:
        status: int = Api().get(path, REMOTE_ADDR="203.0.113.11").status_code
        return status

    statuses = [get(link(hold)) for _ in range(3)]
    assert statuses == [200, 200, 429]
    # A link that is nobody's is counted, too, with those of all who have no share of their own.
    unknown = [get("/api/v1/offers/x") for _ in range(2)]
    assert unknown == [404, 429]
