"""The pages of jobs and of events."""

import pytest
from django.test import Client

from accounts.models import User
from audit import clock
from audit.models import Event, JobRun
from audit.pages import CappedPaginator
from tests.accounts.pages import act, url
from tests.accounts.seeds import Seed, plant
from waitlist.models import WaitlistEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def seed(client: Client) -> Seed:
    seed = plant(name="Apple")
    client.force_login(User.objects.create_superuser("root@example.com", "secret", name="Root"))
    return seed


def run(*, state: str) -> JobRun:
    return JobRun.objects.create(task="tests.nothing", state=state, finished_at=clock.now())


def test_failed_runs_are_retried_or_dismissed(client: Client, seed: Seed) -> None:
    failed, done = run(state="failed"), run(state="succeeded")
    told = act(client, "retry", failed, done)
    assert told == [
        f"Job run {done.pk} is not a failed one.",
        "Sent again: 1 of 2.",
    ]
    failed.refresh_from_db()
    assert failed.state == "retried"
    other = run(state="failed")
    assert act(client, "dismiss", other) == ["Dismissed: 1 of 1."]
    other.refresh_from_db()
    assert other.state == "dismissed"


def test_a_run_offers_what_its_state_allows(client: Client, seed: Seed) -> None:
    page = client.get(url(JobRun, "change", run(state="failed").pk)).content.decode()
    assert 'value="retry"' in page
    page = client.get(url(JobRun, "change", run(state="succeeded").pk)).content.decode()
    assert 'value="retry"' not in page


def test_nobody_changes_a_run_or_an_event(client: Client, seed: Seed) -> None:
    for row in (JobRun.objects.all()[0], Event.objects.all()[0]):
        assert client.post(url(type(row), "change", row.pk), {}).status_code == 403
        assert client.post(url(type(row), "delete", row.pk), {"post": "yes"}).status_code == 403
        assert client.post(url(type(row), "add"), {}).status_code == 403


def test_an_entry_leads_to_its_events(client: Client, seed: Seed) -> None:
    """The history of a row are its events, which lead back to it and to what they concern."""
    client.force_login(seed.staff)
    response = client.get(url(WaitlistEntry, "history", seed.entry.pk), follow=True)
    page = response.content.decode()
    assert response.redirect_chain[0][0] == url(Event, "changelist", entry_id=seed.entry.pk)
    assert "waitlist.joined" in page
    assert "waitlist.hold_offered" in page
    assert str(seed.appointment.pk) not in page
    assert url(WaitlistEntry, "change", seed.entry.pk) in page


def test_events_are_found_by_kind_and_id(client: Client, seed: Seed) -> None:
    page = client.get(url(Event, "changelist", kind="appointment.booked")).content.decode()
    assert str(seed.appointment.pk) in page
    assert str(seed.hold.pk) not in page
    page = client.get(url(Event, "changelist", q=seed.hold.pk)).content.decode()
    assert f"hold {seed.hold.pk}" in page
    assert str(seed.appointment.pk) not in page
    assert (
        client.get(url(Event, "changelist", at_from="2000-01-01", at_to="2000-01-02"))
        .context["cl"]
        .result_count
        == 0
    )


def test_a_count_that_stopped_says_so(
    client: Client, seed: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Show all` is the way out of a list that is narrowed, and on no other."""
    for number in range(3):
        run(state="failed" if number else "succeeded")

    def words(**query: str) -> str:
        page = client.get(url(JobRun, "changelist", **query)).content.decode()
        return " ".join(page.split())

    assert "Show all" not in words()
    assert f" {JobRun.objects.count()} job runs" in words()
    assert '(<a href="?">Show all</a>)' in words(state__exact="failed")
    monkeypatch.setattr(CappedPaginator, "cap", 2)
    for query in ({}, {"state__exact": "failed"}):
        assert " 2+ job runs" in words(**query)
        assert "Show all" not in words(**query)
