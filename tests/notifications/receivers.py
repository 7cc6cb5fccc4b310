"""Servers that take webhooks, over real HTTP: what is sent to one is kept."""

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """One request; the names of headers are in small letters."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Answers `status` to each request; `statuses` are answered first, one by one.

    With `drips` it sends a byte of its answer now and then, and never ends.
    """

    address: str = "127.0.0.1"
    status: int = 204
    statuses: list[int] = field(default_factory=list)
    location: str = ""
    drips: bool = False
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.address}:{self.port}/hooks?from=backfill"

    @property
    def ids(self) -> list[str]:
        """The ids of what came, in order."""
        return [request.headers["webhook-id"] for request in self.requests]


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.requests.append(Request(self.path, headers, body))
            if receiver.drips:
                self._drip()
                return
            status = receiver.statuses.pop(0) if receiver.statuses else receiver.status
            self.send_response(status)
            if receiver.location:
                self.send_header("Location", receiver.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _drip(self) -> None:
            try:
                self.wfile.write(b"HTTP/1.1 200 ")
                while True:
                    self.wfile.write(b"O")
                    time.sleep(0.05)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def opened(
    *, address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None, **said: Any
) -> Iterator[Receiver]:
    """Run a receiver on a port that the system chooses, unless one is given."""
    receiver = Receiver(address=address, **said)
    server = ThreadingHTTPServer((address, port), _handler(receiver))
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    receiver.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
