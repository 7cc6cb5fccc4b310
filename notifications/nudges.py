"""Links by which somebody says, without logging in, whether they still wait."""

from uuid import UUID

from django.conf import settings
from django.core import signing

from audit.errors import Refused

SALT = "notifications.nudge"


class BadLink(Refused):
    """The link is not one of ours."""

    code = "not_found"


def url(*, entry_id: UUID) -> str:
    """Return the link of an entry."""
    return f"{settings.SITE_URL}/api/v1/nudges/{signing.dumps(str(entry_id), salt=SALT)}"


def read(*, token: str) -> UUID:
    """Return the entry that a token names.

    :raises BadLink: if it is not one of ours.
    """
    try:
        return UUID(signing.loads(token, salt=SALT))
    except signing.BadSignature:
        raise BadLink("There is nobody who waits with this link.") from None
