"""What servers write of requests whose addresses and bodies hold secrets: never the secret."""

import json
import socket
from pathlib import Path
from uuid import uuid4

import pytest

from accounts import invitations
from accounts.models import Invitation
from scheduling import callers
from tests.e2e import servers
from tests.factories import MembershipFactory
from waitlist import offers

pytestmark = pytest.mark.django_db(transaction=True)

FORM = "application/x-www-form-urlencoded"
NOWHERE = "postgresql:///none?host=/nowhere"


def requests(*, offer: str, invitation: str, access: str) -> list[tuple[str, str, str]]:
    """List requests with secrets in them: first line, type of the body, body."""
    bearer, json_type = f"token={access}", "application/json"
    confirm = json.dumps({"token": invitation, "password": "x", "name": "Ada"})
    return [
        (f"GET /api/v1/offers/{offer} HTTP/1.1", "", ""),
        (f"POST /api/v1/offers/{offer}/accept HTTP/1.1", FORM, bearer),
        (f"GET /api/v1/%6Fffers/{offer.replace('.', '%2E')} HTTP/1.1", "", ""),
        (f"GET /api/v1/offers/{offer}/nothing?{bearer} HTTP/1.1", "", ""),
        (f"GET /api/v1/auth/invitations/{invitation} HTTP/1.1", "", ""),
        (f"GET /api/v1/auth/invitations/{invitation.replace(':', '%3a')}?a HTTP/1.1", "", ""),
        (f"POST /api/v1/auth/invitations/{invitation} HTTP/1.1", json_type, "{"),
        ("POST /api/v1/auth/register/confirm HTTP/1.1", json_type, confirm),
        (f"POST /api/v1/auth/register/confirm?{bearer} HTTP/1.1", FORM, confirm),
        (f"POST /api/v1/auth/invitations/{invitation} HTTP/1.1", FORM, "password=x"),
        (f"POST /admin/offers/{offer} HTTP/1.1", FORM, bearer),  # no CSRF cookie
        (f"POST /admin/login/{access} HTTP/1.1", FORM, bearer),
        (f"GET /calendar/{invitation}.ics HTTP/1.1\r\nHost: {offer}", "", ""),  # not our host
        (f"GET /api/v1/offers/{offer} HTTP/9.9", "", ""),
        (f"GET /api/v1/offers/{offer} and more HTTP/1.1", "", ""),
        (f"NONSENSE /api/v1/offers/{offer} HTTP/1.1", "", ""),
    ]


def send(*, port: int, line: str, kind: str, body: str) -> bytes:
    """Send a request as it stands; return the first line of the answer."""
    host = "" if "Host:" in line else "Host: 127.0.0.1\r\n"
    head = f"{line}\r\n{host}Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"{head}Connection: close\r\n\r\n{body}".encode())
        return connection.recv(100).partition(b"\r\n")[0]


@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("uvicorn", {"DEBUG": "0"}),
        ("runserver", {"DEBUG": "1"}),
        ("uvicorn", {"DEBUG": "0", "DATABASE_URL": NOWHERE}),
    ],
)
def test_no_log_holds_a_secret_of_a_link(
    environment: dict[str, str], tmp_path: Path, command: str, given: dict[str, str]
) -> None:
    member = MembershipFactory.create()
    secrets = {
        "offer": offers.sign(hold_id=uuid4()),
        "invitation": invitations.token(invitation=Invitation(pk=uuid4())),
        "access": callers.issue(user=member.user, tenant_id=member.tenant.pk),
    }
    log = tmp_path / "server.log"
    known = {**environment, "LOG_LEVEL": "DEBUG", **given}
    with servers.serve(command=command, environment=known, log=log) as port:
        answers = [
            send(port=port, line=line, kind=kind, body=body)
            for line, kind, body in requests(**secrets)
        ]
    assert all(answers)
    text = log.read_text().replace(r"\u2026", "…")
    signatures = {name: secret[-43:] for name, secret in secrets.items()}
    assert not [name for name, signature in signatures.items() if signature in text]
    assert "offers/…" in text
    assert "auth/invitations/…" in text
    assert "Forbidden (CSRF cookie not set.): /admin/offers/…" in text
