"""Requests to addresses that others chose: never into the private network, and never for long.

All that a host resolves to has to be public, and the connection goes to an address that was looked
at: an answer of the DNS that changes meanwhile changes nothing. Redirects are not followed. Of the
answer, the status is read and nothing else.
"""

import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from ipaddress import IPv6Network, ip_address
from threading import Thread, Timer
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

SECONDS = 10  # that one request may take, from the question to the DNS to the status
TRIED = 3  # addresses of one host
#: The only addresses of version 6 that lead anywhere, and those among them that do not; 6to4 and
#: Teredo hide others.
UNICAST, EXAMPLES = IPv6Network("2000::/3"), IPv6Network("3fff::/20")
AGENT = "Backfill-Webhooks/1"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request: the status, if there was one, and a code for what went wrong."""

    status: int | None
    reason: str

    @property
    def is_taken(self) -> bool:
        """Whether the receiver has it."""
        return not self.reason


class Unsafe(Exception):
    """A host that nothing is sent to; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def fault(*, url: str) -> str:
    """Say in a sentence what keeps an address from being written to, or nothing."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", _port(parts)
    except ValueError:
        return "This is no address."
    if parts.scheme != "https" and not (parts.scheme == "http" and settings.WEBHOOKS_ALLOW_HTTP):
        return "Give an address that begins with https://."
    if not host or not url.isascii() or not url.isprintable() or " " in url:
        return "Give a host's name, in plain characters."
    if parts.username is not None or parts.password is not None or parts.fragment:
        return "Give an address without a login and without a fragment."
    if settings.WEBHOOKS_ALLOW_PRIVATE:
        return ""
    if port not in {80, 443} and port < 1024:
        return "Give a port that the web uses."
    with suppress(ValueError):
        if not is_public(address=str(ip_address(host))):
            return "Give an address outside of private networks."
    return ""


def is_public(*, address: str) -> bool:
    """Whether an IP address is one of the internet's, and hides none that is not."""
    ip = ip_address(address)
    if ip.version == 6:
        hides = ip.sixtofour is not None or ip.teredo is not None
        return ip in UNICAST and ip not in EXAMPLES and ip.is_global and not hides
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def post(*, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Send a body, and return what came of it within `SECONDS`. Raises nothing."""
    end = time.monotonic() + SECONDS
    if fault(url=url):
        return Answer(None, "address_refused")
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = {"Host": parts.netloc, "User-Agent": AGENT, **headers}
    try:
        addresses = resolve(host=parts.hostname or "", port=_port(parts), seconds=SECONDS)
        with _connection(parts=parts, addresses=addresses, end=end) as connection:
            connection.request("POST", target, body=body, headers=head)
            with connection.getresponse() as response:
                status = response.status
    except Unsafe as unsafe:
        return Answer(None, unsafe.code)
    except (HTTPException, OSError, RuntimeError, ValueError) as error:  # no thread to be had, too
        return Answer(None, _code(error, end=end))
    # What was cut may look like an answer that is whole.
    return _answer(status) if time.monotonic() < end else Answer(None, "timeout")


def resolve(*, host: str, port: int, seconds: float) -> Sequence[str]:
    """Return the addresses of a host, all of which are public unless settings allow others.

    :raises Unsafe: if it has none, or one that is not, or they are not known within `seconds`.
    """
    try:
        found = _look_up(host=host, port=port).result(timeout=seconds)
    except TimeoutError:
        raise Unsafe("timeout") from None
    except (OSError, UnicodeError):
        raise Unsafe("unknown_host") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not settings.WEBHOOKS_ALLOW_PRIVATE and not all(
        is_public(address=address) for address in addresses
    ):
        raise Unsafe("private_address")
    return addresses


def _look_up(*, host: str, port: int) -> "Future[Any]":
    """Ask the system for a host's addresses, in a thread that may outlive the question.

    The system has no time limit of its own, and no pool ends while one of its threads waits.
    """
    answer: Future[Any] = Future()

    def ask() -> None:
        try:
            answer.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            answer.set_exception(error)

    Thread(target=ask, daemon=True).start()
    return answer


@contextmanager
def _connection(
    *, parts: SplitResult, addresses: Sequence[str], end: float
) -> Iterator[HTTPConnection]:
    """Give a connection to one of the addresses, with TLS where it is asked for, cut at the end."""
    connection = HTTPConnection(parts.hostname or "", _port(parts))
    with _connect(addresses=addresses, port=_port(parts), end=end) as sock, _cut(sock, end=end):
        try:
            connection.sock = _secure(sock, parts=parts) if parts.scheme == "https" else sock
            yield connection
        finally:
            connection.close()


def _connect(*, addresses: Sequence[str], port: int, end: float) -> socket.socket:
    """Connect to the first address that answers; each may take an equal share of what is left."""
    tried = addresses[:TRIED]
    failure = OSError("no address")
    for number, address in enumerate(tried):
        share = (end - time.monotonic()) / (len(tried) - number)
        if share <= 0:
            raise TimeoutError
        try:
            sock = socket.create_connection((address, port), timeout=share)
        except OSError as error:
            failure = error
        else:
            sock.settimeout(SECONDS)  # the share was for connecting
            return sock
    raise failure


@contextmanager
def _cut(sock: socket.socket, *, end: float) -> Iterator[None]:
    """Shut a connection down when the time is over, whatever it is doing then.

    A timeout of the socket begins anew with each byte, so that it alone would let a receiver that
    sends one now and then keep us for as long as it likes. The socket itself is taken over by that
    of TLS, at a time that no other thread knows; so what is shut down is a second handle of it.
    """
    with sock.dup() as handle:

        def cut() -> None:
            with suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)

        timer = Timer(end - time.monotonic(), cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()  # it may be at work on the handle


def _secure(sock: socket.socket, *, parts: SplitResult) -> ssl.SSLSocket:
    """Speak TLS to the host of that name."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context.wrap_socket(sock, server_hostname=(parts.hostname or "").rstrip("."))


def _answer(status: int) -> Answer:
    if 200 <= status < 300:
        return Answer(status, "")
    return Answer(status, "redirect" if 300 <= status < 400 else "refused")


def _code(error: Exception, *, end: float) -> str:
    if time.monotonic() >= end or isinstance(error, TimeoutError):
        return "timeout"
    return "tls" if isinstance(error, ssl.SSLError) else "connection"


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)
