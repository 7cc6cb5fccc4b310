"""What organizers and the owners of venues are told, by whom it is read, and in which words."""

from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.test import Client

from accounts.models import Language, Membership, User
from audit.events import Actor
from notifications import facts, inbound, replies, senders, templates, whatsapp, words
from notifications.models import Channel, Message, Preference
from scheduling.models import Facility
from tests import factories, venues
from tests.api import Api
from tests.notifications.told import messages, relayed
from tests.waitlist import asking
from tests.waitlist.worlds import DAY, HOUR, NOW
from waitlist import breakers, cascades, entries, holds
from waitlist.models import Hold, WaitlistEntry

pytestmark = pytest.mark.django_db

PHONE = "+447700900123"


@pytest.fixture(autouse=True)
def _all_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every channel be on."""
    live = sorted({*Channel.values} - {"in_app"})
    monkeypatch.setattr(senders, "live", lambda: live)


@pytest.fixture
def place() -> Facility:
    return venues.open_venue(name="Great Hall")


@pytest.fixture
def member() -> Membership:
    """The member of an organizer who joins; an admin there is told nothing."""
    organizer = asking.organizer(name="Bright Events")
    factories.MembershipFactory.create(tenant=organizer, role="admin")
    return factories.MembershipFactory.create(
        tenant=organizer, user__phone=PHONE, user__name="Ada Byron"
    )


def wait(place: Facility, member: Membership) -> WaitlistEntry:
    [source] = asking.refused(places=[place], by=member.tenant, title="Spring gala")
    return entries.join_venue(
        rfp_venue_id=source.pk,
        organizer_id=member.tenant_id,
        actor=Actor("user", member.user_id),
        now=NOW,
    )


@pytest.fixture
def hold(place: Facility, member: Membership) -> Hold:
    wait(place, member)
    return asking.offer(place=place)


def said(kind: str, channel: str, *, to: User, now: timedelta = HOUR) -> str:
    """Return what somebody reads of a kind on a channel, its subject first."""
    message = Message.objects.get(kind=f"waitlist.{kind}", channel=channel, user=to)
    content = templates.render(message=message, now=NOW + now)
    return f"{content.subject}\n{content.body}"


FULL = {"in_app delivered", "email queued", "sms queued", "whatsapp queued"}
TWO = {"in_app delivered", "email queued"}


def test_who_joined_is_told_from_the_offer_to_the_draft(hold: Hold, member: Membership) -> None:
    assert holds.remind_due(now=hold.expires_at - DAY, limit=10) == 1
    asking.convert(hold, at=hold.expires_at - HOUR)
    relayed(now=NOW)
    assert messages(to=member.user) == {
        "waitlist.joined": TWO,
        "waitlist.hold_offered": FULL,
        "waitlist.hold_reminded": FULL - {"in_app delivered"},
        "waitlist.converted": TWO,
    }
    assert set(Message.objects.values_list("user", flat=True)) == {member.user_id}


def test_who_lets_it_lapse_is_told(hold: Hold, member: Membership) -> None:
    holds.expire_due(now=hold.expires_at, limit=10)
    relayed(now=NOW)
    assert messages(to=member.user)["waitlist.hold_expired"] == TWO
    assert messages(to=member.user)["waitlist.auto_expired"] == TWO


def test_preferences_count_for_organizers_too(place: Facility, member: Membership) -> None:
    Preference.objects.create(tenant=member.tenant, user=member.user, sms=False, whatsapp=False)
    wait(place, member)
    asking.offer(place=place)
    relayed()
    assert messages(to=member.user)["waitlist.hold_offered"] == {
        *TWO, "sms suppressed not_wanted", "whatsapp suppressed not_wanted"
    }  # fmt: skip


def test_an_offer_says_which_venue_for_which_rfp_and_until_when(
    hold: Hold, member: Membership
) -> None:
    relayed()
    mail = said("hold_offered", "email", to=member.user)
    assert mail.startswith("Great Hall has room again\nHello Ada Byron,")
    for fact in ("Spring gala", "Wednesday 6 March 2030, 10:00", "/api/v1/offers/"):
        assert fact in mail
    assert "Great Hall" in said("joined", "in_app", to=member.user)
    assert "at place 1" in said("joined", "email", to=member.user)
    asking.convert(hold)
    relayed()
    rfp = WaitlistEntry.objects.get().converted_rfp
    assert rfp is not None
    assert f"/admin/availability/rfp/{rfp.pk}/change/\n" in said(
        "converted", "email", to=member.user
    )


def test_the_draft_is_sent_on_the_page_that_the_mail_leads_to(
    hold: Hold, member: Membership, client: Client
) -> None:
    asking.convert(hold)
    relayed()
    message = Message.objects.get(kind="waitlist.converted", channel="email")
    told = facts.Facts(message=message, language="en", now=NOW)
    page = urlsplit(facts.VALUES["rfp_url"](told)).path
    assert client.get(page).status_code == 302  # to log in
    client.force_login(member.user)
    shown = client.get(page)
    assert shown.status_code == 200
    assert 'name="action" value="send"' in shown.content.decode()


@pytest.mark.parametrize("language", Language.values)
@pytest.mark.parametrize("channel", Channel.values)
def test_no_organizer_reads_of_times_and_providers(
    place: Facility, member: Membership, language: str, channel: str
) -> None:
    """Every text whose facts an organizer's entry has not is told them in other words."""
    of_slots = {"slot_time", "provider_name", "duration", "service_name", "price"}
    entry = wait(place, member)
    for kind in ("joined", "auto_expired", "hold_expired", "hold_offered", "hold_reminded",
                 "converted", "cancelled", "position_changed", "still_interested",
                 "hold_withdrawn"):  # fmt: skip
        message = Message(kind=f"waitlist.{kind}", channel=channel, entry=entry)
        told = templates.told_as(message=message)
        text = templates.shipped(kind=told, channel=channel, language=language)
        assert not of_slots & {*templates.PLACEHOLDER.findall(text.subject + text.body)}


def test_by_whatsapp_they_get_a_template_of_their_own_without_buttons(
    hold: Hold, member: Membership
) -> None:
    relayed()
    message = Message.objects.get(kind="waitlist.hold_offered", channel="whatsapp")
    kind = templates.told_as(message=message)
    assert whatsapp.template_name(kind=kind) == "organizer_hold_offered"
    assert kind not in whatsapp.ANSWERABLE


WHERE = {
    "en": "Please answer Great Hall on this page: ",
    "es": "Responda a Great Hall en este enlace: ",
    "fr": "Répondez à Great Hall sur cette page : ",
    "pt": "Responda a Great Hall neste link: ",
}


def answer_by_sms(text: str, *, now: timedelta = HOUR) -> tuple[str, str]:
    """Let the member send an SMS; return what came of it, and the reply."""
    said = words.read(text=text)
    taken = inbound.take(
        channel="sms", provider_message_id=text, phones=[PHONE], said=said, now=NOW + now
    )
    language = inbound.language(phones=[PHONE], said=said)
    return taken.outcome, replies.compose(inbound=taken, language=language)


@pytest.mark.parametrize("language", Language.values)
@pytest.mark.parametrize("text", ["YES", "No", "when is that?"])
def test_an_answer_by_sms_is_told_where_it_counts(
    hold: Hold, member: Membership, language: str, text: str
) -> None:
    """Nothing is booked by it: a request is drafted, which they check on its page."""
    relayed()
    User.objects.filter(pk=member.user_id).update(language=language)
    outcome, reply = answer_by_sms(text)
    assert (outcome, answer_by_sms(text)) == ("page", (outcome, reply)), "the same, said twice"
    assert WHERE[language] in reply
    assert urlsplit(reply.split()[-1]).path == _link(hold, member)
    hold.refresh_from_db()
    assert hold.status == "offered"


def test_an_answer_by_sms_to_what_is_not_kept_for_them_any_longer(
    hold: Hold, member: Membership
) -> None:
    assert answer_by_sms("YES")[0] == "nothing", "nobody was told yet"
    relayed()
    assert answer_by_sms("Yes, please", now=hold.expires_at - NOW)[0] == "nothing"
    member.delete()
    assert answer_by_sms("yes")[0] == "nothing"


def _link(hold: Hold, member: Membership) -> str:
    message = Message.objects.get(kind="waitlist.hold_offered", channel="email")
    values = facts.Facts(message=message, language="en", now=NOW)
    return urlsplit(facts.VALUES["offer_url"](values)).path


@pytest.mark.parametrize(("answer", "status"), [("accept", "converted"), ("decline", "cancelled")])
def test_the_link_answers_without_logging_in(
    hold: Hold, member: Membership, monkeypatch: pytest.MonkeyPatch, answer: str, status: str
) -> None:
    monkeypatch.setattr("audit.clock.now", lambda: NOW + HOUR)
    relayed()
    link = _link(hold, member)
    shown = Api().get(link).json()
    assert (shown["state"], shown["facility"], shown["starts_at"]) == (
        "offered", "Great Hall", None
    )  # fmt: skip
    assert Api().post(f"{link}/{answer}", {}, format="json").status_code == 200
    assert WaitlistEntry.objects.get().status == status
    page = Api().get(link, headers={"Accept": "text/html"}).content.decode()
    assert "None" not in page


def test_the_page_of_an_offer_names_the_venue_and_no_time(
    hold: Hold, member: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.clock.now", lambda: NOW + HOUR)
    relayed()
    page = Api().get(_link(hold, member), headers={"Accept": "text/html"}).content.decode()
    assert "Great Hall" in page
    assert "None" not in page
    assert "<dt>When</dt>" not in page


@pytest.mark.parametrize("language", Language.values)
def test_a_venues_admins_are_told_whose_hold_was_converted(
    hold: Hold, place: Facility, language: str
) -> None:
    admin = factories.MembershipFactory.create(
        tenant=place.tenant, role="admin", user__language=language
    )
    factories.MembershipFactory.create(tenant=place.tenant)
    asking.convert(hold)
    relayed()
    told = Message.objects.filter(kind="venue.hold_converted")
    assert {message.user for message in told} == {admin.user}
    assert messages(to=admin.user) == {"venue.hold_converted": TWO}
    for message in told:
        content = templates.render(message=message, now=NOW)
        assert "Great Hall" in content.subject + content.body
        assert "Bright Events" in content.body
        assert "Spring gala" not in content.body  # they see the RFP once it is sent


def test_a_venues_admins_are_told_of_each_step_of_its_breaker(place: Facility) -> None:
    admin = factories.MembershipFactory.create(tenant=place.tenant, role="admin")
    asking.free(place=place)
    for n in range(3):
        asking.wait(place=place)
        at = NOW + n * 2 * DAY
        assert cascades.go_on(facility_id=place.pk, now=at)
        holds.expire_due(now=at + 2 * DAY, limit=10)
    breakers.deactivate_due(now=NOW + 20 * DAY, limit=10)
    breakers.resolve(facility_id=place.pk, actor=Actor("system"), now=NOW + 21 * DAY)
    relayed()
    assert messages(to=admin.user) == {
        "waitlist.circuit_breaker_triggered": TWO,
        "waitlist.deactivated": TWO,
        "waitlist.circuit_breaker_resolved": {"in_app delivered"},
    }
