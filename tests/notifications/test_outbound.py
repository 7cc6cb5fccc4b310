"""Requests to addresses that others chose stay out of private networks, and end in time."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from pytest_django import Settings

from notifications import outbound, tasks, webhooks
from notifications.outbound import Answer
from tests.notifications import certificates, receivers
from tests.notifications.receivers import Receiver

INSIDE = [
    "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
    "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "203.0.113.9", "224.0.0.1",
    "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1",
    "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::",
    "2001:0:7f00:1::", "2001:db8::1", "3fff::1", "100::1", "fec0::1", "5f00::1",
]  # fmt: skip
OUTSIDE = ["8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:829::200e"]

Names = Callable[..., list[str]]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receivers.opened() as opened:
        yield opened


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Let host names mean addresses, other ones each time that they are asked for."""
    real, asked = socket.getaddrinfo, list[str]()

    def set_up(*answers: str) -> list[str]:
        left = list(answers)

        def look_up(host: str, *args: object, **kwargs: object) -> object:
            try:
                ip_address(host)
            except ValueError:
                asked.append(host)
                host = left.pop(0) if len(left) > 1 else left[0]
            return real(host, *args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        return asked

    return set_up


@pytest.fixture
def own_network(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take 127.0.0.2 for the internet, where any port may be used, and the rest for what it is."""
    settings.WEBHOOKS_ALLOW_HTTP = True
    real = outbound.is_public
    monkeypatch.setattr(
        outbound, "is_public", lambda *, address: address == "127.0.0.2" or real(address=address)
    )


def post(url: str) -> Answer:
    return outbound.post(url=url, body=b"{}", headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_not_public(address: str) -> None:
    assert not outbound.is_public(address=address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert outbound.is_public(address=address)


@pytest.mark.parametrize(
    "url",
    [
        "", "example.org", "ftp://example.org/", "http://example.org/", "https:///path",
        "https://user:secret@example.org/", "https://example.org/#part", "https://example.org:22/",
        "https://example.org:99999/", "https://bücher.example/", "https://exa mple.org/",
        "https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest/",
        "https://example.org/\r\nX: y", "https://[::1/",
    ],
)  # fmt: skip
def test_an_address_that_will_not_do_is_told_so(url: str) -> None:
    assert outbound.fault(url=url)
    assert post(url).reason == "address_refused"


def test_an_address_that_will_do(settings: Settings) -> None:
    for url in ("https://example.org/hooks?a=b", "https://example.org:8443/", "https://8.8.8.8/"):
        assert outbound.fault(url=url) == ""
    settings.WEBHOOKS_ALLOW_HTTP = True
    assert outbound.fault(url="http://example.org/") == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "0x7f.1", "2130706433", "127.1", "localhost"])
def test_nothing_reaches_our_own_network_whatever_it_is_called(
    settings: Settings, receiver: Receiver, host: str
) -> None:
    settings.WEBHOOKS_ALLOW_HTTP = True
    answer = post(f"http://{host}:{receiver.port}/")
    assert answer.reason in {"private_address", "address_refused"}
    assert receiver.requests == []
    settings.WEBHOOKS_ALLOW_PRIVATE = True
    assert post(f"http://127.0.0.1:{receiver.port}/").is_taken


def test_one_private_address_among_others_is_one_too_many(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(*_: object, **__: object) -> list[object]:
        return [(2, 1, 6, "", (address, 443)) for address in ("8.8.8.8", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert post("https://example.org/").reason == "private_address"


def test_the_connection_goes_to_the_address_that_was_looked_at(
    own_network: None, names: Names
) -> None:
    """A name that means another address when it is asked for again leads nowhere else."""
    with (
        receivers.opened(address="127.0.0.2") as outside,
        receivers.opened(address="127.0.0.1", port=outside.port) as inside,
    ):
        url = f"http://hook.example:{outside.port}/"
        asked = names("127.0.0.2", "127.0.0.1")
        assert post(url).is_taken
        assert (asked, len(outside.requests), inside.requests) == (["hook.example"], 1, [])
        assert outside.requests[0].headers["host"] == f"hook.example:{outside.port}"
        # Who looks at the address first, and lets a client look it up again, is led inside.
        names("127.0.0.2", "127.0.0.1")
        outbound.resolve(host="hook.example", port=80, seconds=1)
        urlopen(url, data=b"{}").close()
        assert len(inside.requests) == 1


def test_a_redirect_is_not_followed(own_network: None, names: Names) -> None:
    names("127.0.0.2")
    with (
        receivers.opened() as inside,
        receivers.opened(address="127.0.0.2", status=307, location=inside.url) as outside,
    ):
        assert post(f"http://hook.example:{outside.port}/") == Answer(307, "redirect")
        assert inside.requests == []


def test_an_address_that_nobody_answers_at_is_passed_over(
    own_network: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receivers.opened(address="127.0.0.2") as outside:
        monkeypatch.setattr(outbound, "is_public", lambda *, address: True)
        monkeypatch.setattr(outbound, "resolve", lambda **_: ["127.0.0.3", "127.0.0.2"])
        assert post(f"http://hook.example:{outside.port}/").is_taken


def test_an_address_that_is_silent_leaves_the_others_their_time(
    own_network: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one of version 6 where there is none on the way."""
    monkeypatch.setattr(outbound, "SECONDS", 2)
    monkeypatch.setattr(outbound, "resolve", lambda **_: ["127.0.0.3", "127.0.0.2"])
    with (
        receivers.opened(address="127.0.0.2") as outside,
        socket.create_server(("127.0.0.3", outside.port), backlog=0),
        socket.create_connection(("127.0.0.3", outside.port)),  # for which alone there was room
    ):
        assert post(f"http://hook.example:{outside.port}/").is_taken


@pytest.mark.parametrize("shown", ["hook.example", "other.example"])
def test_the_certificate_is_the_hosts_and_not_the_addresses(
    own_network: None, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str
) -> None:
    names("127.0.0.2")
    tls = certificates.server(host=shown, folder=tmp_path)
    with receivers.opened(address="127.0.0.2", tls=tls) as outside:
        url = f"https://hook.example:{outside.port}/"
        assert post(url) == Answer(None, "tls")  # nobody knows who signed it
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        assert post(url) == (Answer(204, "") if shown == "hook.example" else Answer(None, "tls"))


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, Answer(200, "")),
        (302, Answer(302, "redirect")),
        (404, Answer(404, "refused")),
        (500, Answer(500, "refused")),
    ],
)
def test_the_status_is_what_counts(
    settings: Settings, receiver: Receiver, status: int, answer: Answer
) -> None:
    settings.WEBHOOKS_ALLOW_HTTP = settings.WEBHOOKS_ALLOW_PRIVATE = True
    receiver.status = status
    assert post(receiver.url) == answer


def test_who_is_not_there_is_said_to_be(settings: Settings, receiver: Receiver) -> None:
    settings.WEBHOOKS_ALLOW_HTTP = settings.WEBHOOKS_ALLOW_PRIVATE = True
    assert post("http://127.0.0.1:1/") == Answer(None, "connection")
    assert post("http://nobody.invalid/") == Answer(None, "unknown_host")


@pytest.mark.parametrize("kind", [threading.Thread, threading.Timer])
def test_where_there_is_no_thread_to_be_had_nothing_is_sent(
    settings: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    settings.WEBHOOKS_ALLOW_HTTP = settings.WEBHOOKS_ALLOW_PRIVATE = True
    with monkeypatch.context() as patch:
        patch.setattr(kind, "start", refuse)
        assert post(receiver.url) == Answer(None, "connection")
    assert receiver.requests == []
    assert post(receiver.url).is_taken


def test_a_name_that_nobody_knows_the_address_of_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The system's own resolver asks for as long as it likes."""
    known = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: known.wait(30) and [])
    monkeypatch.setattr(outbound, "SECONDS", 0.2)
    start = time.monotonic()
    try:
        assert post("https://hook.example/") == Answer(None, "timeout")
    finally:
        known.set()
    assert time.monotonic() - start < 5


def test_a_receiver_that_answers_byte_by_byte_is_cut_off(
    settings: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WEBHOOKS_ALLOW_HTTP = settings.WEBHOOKS_ALLOW_PRIVATE = True
    monkeypatch.setattr(outbound, "SECONDS", 0.5)
    receiver.drips = True
    start = time.monotonic()
    assert post(receiver.url) == Answer(None, "timeout")
    assert 0.4 <= time.monotonic() - start < 5


# However it is dragged out, over TLS


Serve = Callable[[socket.socket, ssl.SSLContext], None]
LONG = 6  # seconds, after which what drips ends


@contextmanager
def listening(serve: Serve, tls: ssl.SSLContext) -> Iterator[int]:
    """Serve one connection, in bytes, at a port of 127.0.0.2."""
    with socket.create_server(("127.0.0.2", 0)) as server:
        server.settimeout(LONG)

        def run() -> None:
            with suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    serve(connection, tls)

        thread = threading.Thread(target=run)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def _drip(connection: socket.socket, byte: bytes) -> None:
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        connection.sendall(byte)
        time.sleep(0.05)


def _answer_nothing(connection: socket.socket, tls: ssl.SSLContext) -> None:
    while connection.recv(4096):
        pass


def _drip_the_handshake(connection: socket.socket, tls: ssl.SSLContext) -> None:
    connection.sendall(b"\x16\x03\x03\x3f\xff")  # of a long record
    _drip(connection, b"\0")


def _drip_the_answer(connection: socket.socket, tls: ssl.SSLContext) -> None:
    with tls.wrap_socket(connection, server_side=True) as secured:
        secured.recv(4096)
        secured.sendall(b"HTTP/1.1 200 ")
        _drip(secured, b"O")


def _drip_after_a_late_handshake(connection: socket.socket, tls: ssl.SSLContext) -> None:
    time.sleep(0.6)  # the time is over by then
    _drip_the_answer(connection, tls)


@pytest.mark.parametrize(
    "serve",
    [_answer_nothing, _drip_the_handshake, _drip_the_answer, _drip_after_a_late_handshake],
)
def test_a_receiver_with_tls_is_cut_off_whatever_it_does(
    own_network: None, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    """It is some way off: a timeout that begins when it is connected to ends later than ours."""
    connect = socket.socket.connect

    def connect_far(self: socket.socket, address: Any) -> None:
        connect(self, address)
        if address[0] == "127.0.0.2":
            time.sleep(0.3)

    monkeypatch.setattr(socket.socket, "connect", connect_far)
    monkeypatch.setattr(outbound, "SECONDS", 0.5)
    names("127.0.0.2")
    tls = certificates.server(host="hook.example", folder=tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with listening(serve, tls) as port:
        start = time.monotonic()
        assert post(f"https://hook.example:{port}/") == Answer(None, "timeout")
        assert time.monotonic() - start < 2


def test_a_claim_outlasts_the_turn_of_its_sender(settings: Settings) -> None:
    """Else a second one would take what the first is sending."""
    longest = tasks.TURN + outbound.SECONDS
    assert 2 * longest < webhooks.LEASE.total_seconds() < settings.CELERY_TASK_SOFT_TIME_LIMIT
