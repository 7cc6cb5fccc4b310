"""What the ways to reach a person share: what is sent, and how sending fails."""

from dataclasses import dataclass
from typing import Protocol

from notifications.facts import Facts
from notifications.models import Message


class Failed(Exception):
    """A provider did not take a message; `code` says why and names nobody.

    A `permanent` failure would come again: such a message is not tried any more.
    """

    def __init__(self, *, permanent: bool, code: str) -> None:
        super().__init__(code)
        self.permanent = permanent
        self.code = code


class Away(Failed):
    """The channel failed, not this message: no other would have been taken, until that passes."""

    def __init__(self, *, code: str) -> None:
        super().__init__(permanent=False, code=code)


@dataclass(frozen=True, slots=True)
class Content:
    """A rendered message. It is made when it is sent, and kept nowhere."""

    subject: str
    body: str
    facts: Facts | None = None  # what it was written from


class Sender(Protocol):
    """A channel: a module with this function."""

    def send(self, *, message: Message, address: str, content: Content) -> str:
        """Send, outside of any transaction, and return the provider's id of the message.

        :raises Failed: if it was not taken.
        """
