"""Reports: what providers say became of messages."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from notifications import messages

MESSAGE = "message"  # under which a provider of mail keeps our id of one
# Meta's code where the day is over in which it takes words of our own.
DAY_IS_OVER = "whatsapp_131047"


@dataclass(frozen=True, slots=True)
class Report:
    """A provider's word on one message: `delivered`, or not and why, or None while on its way.

    `message_id` is ours, where the provider gives it back.
    """

    provider_message_id: str
    delivered: bool | None
    code: str = ""
    message_id: UUID | None = None


def note(*, channel: str, report: Report, now: datetime) -> None:
    """Note a report. One of a message that is not known changes nothing."""
    if report.message_id is not None:
        messages.note_taken(
            channel=channel,
            message_id=report.message_id,
            provider_message_id=report.provider_message_id,
            now=now,
        )
    if report.code == DAY_IS_OVER and messages.send_as_template(
        channel=channel, provider_message_id=report.provider_message_id, now=now
    ):
        return
    if report.delivered is not None:
        messages.note_report(
            channel=channel,
            provider_message_id=report.provider_message_id,
            delivered=report.delivered,
            code=report.code,
            now=now,
        )


def message_id(*, text: str) -> UUID | None:
    """Read our id where a provider gives back what it was given."""
    try:
        return UUID(text)
    except ValueError:
        return None
