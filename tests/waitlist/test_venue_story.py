"""The story of a venue for which three organizers wait, and of its owner, by a clock that moves."""

from datetime import timedelta
from unittest import mock

import pytest

from accounts.models import Membership
from audit import clock
from notifications import relay
from notifications.models import Message
from scheduling.models import Facility
from tests import factories, venues
from tests.api import Api
from tests.waitlist import asking
from tests.waitlist.worlds import DAY, HOUR, NOW
from waitlist import invariants, tasks
from waitlist.models import Queue, WaitlistEntry

pytestmark = pytest.mark.django_db


class Story:
    """The clock, and what beat would have done by the time that it shows."""

    def __init__(self, place: Facility) -> None:
        self.place, self.now = place, NOW

    def wait(self, time: timedelta) -> None:
        """Let time pass, and the workers do what is due."""
        self.now += time
        with mock.patch.object(clock, "now", return_value=self.now):
            tasks.expire_holds()
            tasks.deactivate_breakers()
            tasks.offer_vacancy(str(self.place.pk))
            relay.relay(limit=1000, now=self.now)
        assert invariants.breaches() == []

    def statuses(self, *entries: WaitlistEntry) -> list[str]:
        """Say how it stands with these."""
        return [WaitlistEntry.objects.get(pk=entry.pk).status for entry in entries]


def test_three_organizers_three_lapses_a_breaker_a_deactivation_and_a_conversion() -> None:
    place = venues.open_venue(name="Great Hall")
    owner = factories.MembershipFactory.create(tenant=place.tenant, role=Membership.Role.ADMIN)
    venue = Api(user=owner.user, tenant=place.tenant)
    resolve = f"venues/{place.pk}/waitlist-circuit-breaker/resolve"
    story = Story(place)

    # Three organizers are told that there is no room, and wait.
    first, second, third = (asking.wait(place=place, at=NOW + n * HOUR) for n in range(3))
    story.wait(DAY)
    assert story.statuses(first, second, third) == ["waiting", "waiting", "waiting"]

    # The hall has room again. One after the other is offered it for two days; nobody answers.
    asking.free(place=place, at=story.now)
    story.wait(HOUR)
    assert story.statuses(first, second, third) == ["offered", "waiting", "waiting"]
    story.wait(2 * DAY)
    assert story.statuses(first, second, third) == ["expired", "offered", "waiting"]
    story.wait(2 * DAY)
    assert story.statuses(first, second, third) == ["expired", "expired", "offered"]
    assert venue.post(resolve, {"action": "resume"}, format="json").status_code == 409

    # The third lapse trips the breaker. The owner is asked; who comes now waits, with no offer.
    story.wait(2 * DAY)
    assert story.statuses(first, second, third) == ["expired", "expired", "expired"]
    told = Message.objects.filter(user=owner.user).values_list("kind", "channel")
    assert set(told) == {
        ("waitlist.circuit_breaker_triggered", "in_app"),
        ("waitlist.circuit_breaker_triggered", "email"),
    }
    fourth, fifth = (asking.wait(place=place, at=story.now + n * HOUR) for n in range(2))
    story.wait(DAY)
    assert story.statuses(fourth, fifth) == ["waiting", "waiting"]

    # On the seventh day without an answer the waitlist is deactivated: nobody comes any more.
    story.wait(6 * DAY)
    assert Queue.objects.get(pk=place.pk).deactivated_at == story.now
    assert ("waitlist.deactivated", "email") in set(told.all())
    [refused] = asking.refused(places=[place], by=asking.organizer(), at=story.now)
    with pytest.raises(Exception, match="closed"):
        asking.join(source=refused, at=story.now)
    assert story.statuses(fourth, fifth) == ["waiting", "waiting"]

    # The owner comes back. The next who waits is offered the hall, and the owner is not told who.
    story.now += DAY
    with mock.patch.object(clock, "now", return_value=story.now):
        answer = venue.post(resolve, {"action": "resume"}, format="json")
    assert (answer.status_code, answer.json()) == (
        200,
        {"circuit_breaker_resolved": True, "cascade_resumed": True, "next_entry_offered": True},
    )
    assert story.statuses(fourth, fifth) == ["offered", "waiting"]

    # They accept: a draft for this hall alone. The hall is taken; the last one keeps waiting.
    entry = asking.convert(fourth.holds.get(), at=story.now + HOUR)
    assert entry.converted_rfp is not None
    assert [target.facility for target in entry.converted_rfp.targets.all()] == [place]
    story.wait(3 * DAY)
    assert story.statuses(fourth, fifth) == ["converted", "waiting"]
    assert venue.post(resolve, {"action": "resume"}, format="json").status_code == 409
