"""The catcher's page, and the addresses at which Twilio and Meta take what is sent."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from django.db import connections
from django.db.models import Q
from django.template.loader import render_to_string

from accounts.models import User
from config.demo import answers, listeners
from config.demo.catcher import GRAPH, Catcher, Caught
from notifications.models import Channel
from scheduling.models import Patient

TWILIO = "/2010-04-01/"
CHANNELS = (Channel.EMAIL, Channel.SMS, Channel.WHATSAPP)
ANSWERED = {Channel.SMS, Channel.WHATSAPP}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One thing on the page; `is_last` is what somebody was sent last there."""

    caught: Caught
    name: str
    is_last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """All that was sent on a channel, the newest first."""

    channel: str
    label: str
    cards: Sequence[Card]


@contextmanager
def running(*, catcher: Catcher, port: int) -> Iterator[None]:
    """Take mail, SMS and WhatsApp messages, and show them on a page, until the block ends."""
    with (
        listeners.mail(handler=catcher) as catcher.mail_port,
        listeners.web(handler=_handler(catcher), port=port) as chosen,
    ):
        catcher.url = f"http://{listeners.HOST}:{chosen}"
        yield


def render(*, catcher: Catcher, person: str) -> str:
    """Write the page: of a person, or of all."""
    caught = catcher.newest()
    names = _names({one.address for one in caught})
    people: dict[str, int] = {}
    for one in caught:
        people[names[one.address]] = people.get(names[one.address], 0) + 1
    shown = [one for one in caught if not person or names[one.address] == person]
    columns = [
        Column(
            channel=channel.value,
            label=channel.label,
            cards=_cards(
                caught=[one for one in shown if one.channel == channel],
                names=names,
                answered=channel in ANSWERED,
            ),
        )
        for channel in CHANNELS
    ]
    known = {
        "columns": columns,
        "people": [(name, count, urlencode({"person": name})) for name, count in people.items()],
        "person": person,
        "total": len(caught),
        "site": catcher.site,
    }
    return render_to_string("config/catcher.html", known)


def _cards(*, caught: Sequence[Caught], names: dict[str, str], answered: bool) -> list[Card]:
    last: dict[str, int] = {}
    for one in caught:
        if answered and not one.is_answer:
            last.setdefault(one.address, one.number)
    return [
        Card(caught=one, name=names[one.address], is_last=last.get(one.address) == one.number)
        for one in caught
    ]


def _names(addresses: set[str]) -> dict[str, str]:
    """Return whose the addresses are; who is nobody's is called by it."""
    names = {address: address for address in addresses}
    for email, name in User.objects.filter(email__in=addresses).values_list("email", "name"):
        names[email] = name
    patients = Patient.objects.filter(Q(email__in=addresses) | Q(phone__in=addresses))
    for patient in patients.order_by("pk"):
        names |= {address: patient.name for address in (patient.email, patient.phone) if address}
    return names


def _handler(catcher: Catcher) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/":
                person = parse_qs(url.query).get("person", [""])[0]
                try:
                    page = render(catcher=catcher, person=person)
                finally:
                    connections.close_all()  # this thread's
                self._answer(page.encode(), "text/html; charset=utf-8")
                return
            try:
                _, _, number, index = url.path.split("/")
                file = catcher.caught[int(number)].files[int(index)]
            except (ValueError, LookupError):
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            self._answer(file.content, file.media_type, name=file.name)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path.startswith(TWILIO):
                form = dict(parse_qsl(body.decode(), keep_blank_values=True))
                self._answer_json(catcher.take_sms(form=form), HTTPStatus.CREATED)
            elif self.path.startswith(GRAPH):
                self._answer_json(catcher.take_whatsapp(body=json.loads(body)), HTTPStatus.OK)
            else:
                self._reply(dict(parse_qsl(body.decode())))

        def _reply(self, form: dict[str, str]) -> None:
            """Answer as the person does whom a message was sent to."""
            try:
                message = catcher.caught[int(form.get("number", ""))]
                if payload := form.get("payload"):
                    answers.press(catcher=catcher, message=message, payload=payload)
                elif text := form.get("text", "").strip():
                    answers.write(catcher=catcher, message=message, text=text)
            except (ValueError, LookupError):
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            except OSError as error:
                self.send_error(HTTPStatus.BAD_GATEWAY, f"The web process says: {error}")
                return
            self.send_response(HTTPStatus.SEE_OTHER)
            self.send_header("Location", f"/?{urlencode({'person': form.get('person', '')})}")
            self.end_headers()

        def _answer_json(self, answer: Any, status: HTTPStatus) -> None:
            self._answer(json.dumps(answer).encode(), "application/json", status=status)

        def _answer(
            self, body: bytes, kind: str, *, name: str = "", status: HTTPStatus = HTTPStatus.OK
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            if name:
                self.send_header("Content-Disposition", f'attachment; filename="{name}"')
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
