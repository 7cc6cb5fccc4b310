"""A mail server of its own: what is sent to it is kept, and it can be told to refuse."""

from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from django.conf import LazySettings

from config.demo import listeners


class Mailbox:
    """Takes every mail, unless `answer` says what to answer instead, such as `550 no`.

    `answers` says it for single addresses.
    """

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.answer: str | None = None
        self.answers: dict[str, str] = {}

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        """Take a recipient, or not."""
        answer = self.answers.get(address, self.answer)
        if answer is not None:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Keep a mail."""
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"


@contextmanager
def opened(settings: LazySettings) -> Iterator[Mailbox]:
    """Run the server and let mail be sent to it."""
    mailbox = Mailbox()
    with listeners.mail(handler=mailbox) as port:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST = listeners.HOST
        settings.EMAIL_PORT = port
        yield mailbox
