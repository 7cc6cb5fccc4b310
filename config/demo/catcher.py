"""The catcher: takes what the demo sends to people, as a mail server, Twilio and Meta would."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from itertools import count
from typing import Any
from uuid import uuid4

from notifications import replies, templates, whatsapp
from notifications.kinds import KINDS
from notifications.models import Channel

KIND_OF = {whatsapp.template_name(kind=kind): kind for kind in KINDS}
NUMBER = "+15005550006"
PHONE_ID = "15005550006"
GRAPH = "/v24.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """What can be pressed: its title, and what comes back then."""

    title: str
    payload: str


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What is attached to a mail."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Caught:
    """One thing that was sent to somebody, or that they answered.

    `id` is unlike that of any other start's: what comes twice with the same one counts once.
    """

    number: int
    id: str
    at: datetime
    channel: str
    address: str
    text: str
    subject: str = ""
    unsubscribe: str = ""
    files: tuple[File, ...] = ()
    buttons: tuple[Button, ...] = ()
    is_answer: bool = False
    is_template: bool = False


@dataclass(kw_only=True)
class Catcher:
    """What was caught, by number, and what the processes need to know to send it here.

    `site` is where web listens, `url` where Twilio, Meta and the page are, `mail_port` that of the
    mail server. The secrets are those that Twilio and Meta sign with.
    """

    site: str
    url: str = ""
    mail_port: int = 0
    account: str = field(default_factory=lambda: f"AC{secrets.token_hex(16)}")
    secret: str = field(default_factory=secrets.token_hex)
    caught: dict[int, Caught] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def environment(self) -> dict[str, str]:
        """The settings with which everything comes here, whatever others there are."""
        return {
            "SITE_URL": self.site,
            "EMAIL_PROVIDER": "",
            "EMAIL_URL": f"smtp://127.0.0.1:{self.mail_port}",
            "TWILIO_ACCOUNT_SID": self.account,
            "TWILIO_AUTH_TOKEN": self.secret,
            "TWILIO_FROM": NUMBER,
            "TWILIO_URL": self.url,
            "WHATSAPP_PHONE_ID": PHONE_ID,
            "WHATSAPP_TOKEN": self.secret,
            "WHATSAPP_APP_SECRET": self.secret,
            "WHATSAPP_URL": f"{self.url}{GRAPH}",
        }

    def newest(self) -> list[Caught]:
        """Return all that was caught, the newest first."""
        return sorted(self.caught.values(), key=lambda one: one.number, reverse=True)

    def last(self, *, channel: str, address: str) -> Caught | None:
        """Return what somebody was sent last on a channel."""
        theirs = (
            one
            for one in self.newest()
            if (one.channel, one.address, one.is_answer) == (channel, address, False)
        )
        return next(theirs, None)

    def keep(self, **what: Any) -> Caught:
        """Keep one thing."""
        one = Caught(number=next(self._numbers), id=uuid4().hex, at=datetime.now(UTC), **what)
        self.caught[one.number] = one
        return one

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Take a mail; aiosmtpd calls this."""
        mail = message_from_bytes(envelope.content, policy=policy.default)
        body = mail.get_body(("plain",))
        unsubscribe = str(mail["List-Unsubscribe"] or "").strip(" <>")
        files = [
            File(
                name=part.get_filename() or "file",
                media_type=part.get_content_type(),
                content=bytes(part.get_payload(decode=True)),
            )
            for part in mail.iter_attachments()
        ]
        for address in envelope.rcpt_tos:
            self.keep(
                channel=Channel.EMAIL.value,
                address=address,
                subject=str(mail["Subject"]),
                text=body.get_content().strip() if body else "",
                unsubscribe=unsubscribe,
                files=tuple(files),
            )
        return "250 OK"

    def take_sms(self, *, form: Mapping[str, str]) -> dict[str, Any]:
        """Take an SMS as Twilio does, and return its answer."""
        one = self.keep(channel=Channel.SMS.value, address=form["To"], text=form["Body"])
        return {"sid": f"SM{one.id}", "status": "queued"}

    def take_whatsapp(self, *, body: Mapping[str, Any]) -> dict[str, Any]:
        """Take a message as Meta does, and return its answer."""
        text, buttons = _read(body)
        one = self.keep(
            channel=Channel.WHATSAPP.value,
            address=f"+{body['to']}",
            text=text,
            buttons=buttons,
            is_template=body["type"] == "template",
        )
        return {
            "messaging_product": "whatsapp",
            "contacts": [{"input": body["to"], "wa_id": body["to"]}],
            "messages": [{"id": f"wamid.{one.id}"}],
        }


def _read(body: Mapping[str, Any]) -> tuple[str, tuple[Button, ...]]:
    """Read what a message says to who gets it, and what they can press."""
    kind = body["type"]
    if kind == "text":
        return body["text"]["body"], ()
    if kind == "interactive":
        given = [button["reply"] for button in body[kind]["action"]["buttons"]]
        buttons = [Button(title=one["title"], payload=one["id"]) for one in given]
        return body[kind]["body"]["text"], tuple(buttons)
    template = body["template"]
    language = template["language"]["code"][:2]
    values: dict[str, str] = {}
    quick = []
    for component in template.get("components") or ():
        for one in component["parameters"]:
            if "payload" in one:
                meaning, payload = one["payload"].partition(":")[0], one["payload"]
                title = replies.write(name=f"button_{meaning}", language=language)
                quick.append(Button(title=title, payload=payload))
            else:
                values[one["parameter_name"]] = one["text"]
    text = templates.shipped(
        kind=KIND_OF[template["name"]], channel=Channel.WHATSAPP, language=language
    ).body
    filled = templates.PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)
    return filled, tuple(quick)
