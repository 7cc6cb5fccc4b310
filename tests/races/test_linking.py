"""Races of who uses two links at once: the one of a record of theirs and the one they asked for."""

from collections import Counter
from functools import partial

import pytest
from django.db import IntegrityError

from accounts import invitations
from accounts.models import Invitation, User
from audit import events
from config import testing
from scheduling import registration
from scheduling.models import Patient
from scheduling.registration import HasLogin, OtherPatient
from tests.factories import MembershipFactory, PatientFactory, UserFactory
from tests.races import race, sabotage, scene

LOCKS_USER = "FROM .accounts_user. .*FOR NO KEY UPDATE"
GIVES_LOGIN = "^(INSERT INTO|UPDATE) .scheduling_patient"


def links() -> list[race.Call]:
    """Let somebody with an account use the link of a record, and that of a registration."""
    user = UserFactory.create()
    sender = MembershipFactory.create(role="admin")
    record = PatientFactory.create(tenant=sender.tenant, email=user.email)
    registration.invite(
        patient_id=record.pk, invited_by=sender.user_id, actor=events.SYSTEM, now=scene.NOW
    )
    registration.register(tenant=sender.tenant.slug, email=user.email, now=scene.NOW)
    return [
        partial(
            registration.accept,
            token=invitations.token(invitation=invitation),
            password="secret",
            now=scene.NOW,
        )
        for invitation in Invitation.objects.order_by("created_at", "id")
    ]


def logins() -> int:
    """Count the patients who log in."""
    return Patient.objects.exclude(user=None).count()


@pytest.mark.parametrize("reverse", [False, True])
def test_who_uses_two_links_at_once_is_one_patient(reverse: bool) -> None:
    calls = links()[:: -1 if reverse else 1]
    outcomes = race.run(*calls, before=[GIVES_LOGIN])
    assert logins() == 1
    assert race.errors(outcomes) <= {OtherPatient}
    testing.empty_tables()


def test_whatever_is_first_of_two_links_there_is_one_login() -> None:
    made: list[race.Call] = []

    def record() -> race.Call:
        testing.empty_tables()
        made[:] = links()
        return made[0]

    for outcomes in race.interleave(first=record, then=lambda: made[1]):
        assert logins() == 1
        assert race.errors(outcomes) <= {OtherPatient}
        assert outcomes[1].won  # whoever registers is one of the two in the end


def test_without_the_users_lock_the_database_alone_refuses() -> None:
    with sabotage.no_row_locks(User):
        outcomes = race.run(*links(), before=[GIVES_LOGIN])
    assert race.errors(outcomes) == {IntegrityError}
    assert logins() == 1


def test_without_the_constraint_there_would_be_two() -> None:
    with sabotage.no_row_locks(User), sabotage.no_constraints("patient_user"):
        outcomes = race.run(*links(), before=[GIVES_LOGIN])
        assert all(outcome.won for outcome in outcomes)
        assert logins() == 2


@pytest.mark.parametrize("number", [0, 1])
def test_the_link_of_who_is_deleted_meanwhile_is_over(number: int) -> None:
    call = links()[number]
    user = User.objects.get(email=Invitation.objects.earliest("created_at").email)
    [used, _] = race.overtake(call, user.delete, before=LOCKS_USER)
    assert race.errors([used]) == {invitations.InvitationOver}
    assert logins() == 0


def test_one_link_that_is_used_twice_at_once_counts_once() -> None:
    call = links()[0]
    outcomes = race.run(*[call] * 6)
    assert Counter(outcome.won for outcome in outcomes) == {True: 1, False: 5}
    assert race.errors(outcomes) <= {HasLogin, invitations.InvitationOver}
    assert logins() == 1
