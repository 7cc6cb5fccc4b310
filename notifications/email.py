"""Email: Django's mail, over SMTP or by a provider's API, as the settings say."""

from collections.abc import Mapping
from email.mime.text import MIMEText
from email.utils import parseaddr
from http import HTTPStatus
from smtplib import (
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPException,
    SMTPHeloError,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

from anymail.exceptions import (
    AnymailAPIError,
    AnymailInvalidAddress,
    AnymailRecipientsRefused,
    AnymailRequestsAPIError,
)
from anymail.message import AnymailMessage
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from notifications import calendars, reports, unsubscribes
from notifications.channels import Away, Content, Failed
from notifications.models import Message
from scheduling.models import Appointment

# All by which a mail is not taken; anything else is a fault of ours.
REFUSALS = (
    SMTPException, AnymailAPIError, AnymailRecipientsRefused, AnymailInvalidAddress,
    ImproperlyConfigured, OSError,
)  # fmt: skip
CLOSING = 421  # the server takes nothing from anybody
# Refusals of us, not of a recipient: they end when somebody sees to them, or by themselves.
OURS = (SMTPConnectError, SMTPHeloError, SMTPAuthenticationError)
REFUSING = {HTTPStatus.UNAUTHORIZED, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
# Amazon's, by its code (SES v2, SendEmail): with these statuses or codes it refuses us.
AMAZON_REFUSING = {*REFUSING, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
AMAZON_OURS = {
    "AccountSuspendedException", "SendingPausedException", "MailFromDomainNotVerifiedException",
    "LimitExceededException",
}  # fmt: skip
# An address that was not verified where that is needed, ours or theirs: single mails are refused
# until somebody sees to it.
AMAZON_UNVERIFIED = "MessageRejected"


def send(*, message: Message, address: str, content: Content) -> str:
    """Send a mail and return its id, the same each time the message is sent.

    :raises Failed: if it was not taken.
    """
    mail = write(message=message, address=address, content=content)
    try:
        mail.send()
    except REFUSALS as error:
        raise _failure(error) from error
    status = getattr(mail, "anymail_status", None)  # a provider's API gives an id of its own
    return str(getattr(status, "message_id", None) or mail.extra_headers["Message-ID"])


def write(*, message: Message, address: str, content: Content) -> AnymailMessage:
    """Write the mail. A provider's reports give our id of it back.

    One about the waitlist can be unsubscribed from with one click (RFC 8058), one about an
    appointment says it to calendar programs, too.
    """
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    headers = {"Message-ID": f"<{message.pk}@{domain}>"}
    if message.kind.startswith("waitlist."):
        headers |= {
            "List-Unsubscribe": f"<{unsubscribes.url(message=message)}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }
    mail = AnymailMessage(
        subject=" ".join(content.subject.split()),
        body=content.body,
        to=[address],
        headers=headers,
        metadata={reports.MESSAGE: str(message.pk)},
    )
    if message.appointment is not None and message.kind.startswith("appointment."):
        mail.attach(_for_calendar(appointment=message.appointment))
    return mail


def _for_calendar(*, appointment: Appointment) -> MIMEText:
    """Write what calendar programs read, as RFC 6047 says that a mail carries it."""
    calendar = calendars.invitation(appointment=appointment)
    part = MIMEText(calendar.to_ical().decode(), "calendar", "utf-8")
    part.set_param("method", str(calendar["method"]))
    part.add_header("Content-Disposition", "attachment", filename="appointment.ics")
    return part


def _failure(error: Exception) -> Failed:
    """Say whether it would come again, and whose fault it is, by the status of SMTP or HTTP."""
    if isinstance(error, SMTPRecipientsRefused):
        codes = {code for code, _ in error.recipients.values()}
        if codes == {CLOSING}:
            return Away(code=f"smtp_{CLOSING}")
        return Failed(permanent=min(codes, default=500) >= 500, code="address_refused")
    if isinstance(error, AnymailRecipientsRefused | AnymailInvalidAddress):
        return Failed(permanent=True, code="address_refused")
    if isinstance(error, SMTPResponseException):
        code = f"smtp_{error.smtp_code}"
        if isinstance(error, OURS) or error.smtp_code == CLOSING:
            return Away(code=code)
        return Failed(permanent=500 <= error.smtp_code < 600, code=code)
    if isinstance(error, AnymailRequestsAPIError) and error.status_code:
        status = error.status_code
        if status in REFUSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Away(code=f"http_{status}")
        return Failed(permanent=status >= HTTPStatus.BAD_REQUEST, code=f"http_{status}")
    if isinstance(error, AnymailAPIError) and not isinstance(error, AnymailRequestsAPIError):
        return _amazons(error)
    if isinstance(error, ImproperlyConfigured):
        return Away(code="misconfigured")
    return Away(code="unreachable")


def _amazons(error: AnymailAPIError) -> Failed:
    """Say it of an answer of Amazon's, or of its SDK's word on why there is none.

    Its SDK has the code, and not the status, where other providers have the status.
    """
    if not isinstance(error.response, Mapping):
        return Away(code=f"ses_{type(error.__cause__).__name__}"[:50])
    name = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = f"ses_{name or status}"[:50]
    if name == AMAZON_UNVERIFIED:
        return Failed(permanent=False, code=code)
    refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    if not refused or status in AMAZON_REFUSING or name in AMAZON_OURS:
        return Away(code=code)
    return Failed(permanent=True, code=code)
