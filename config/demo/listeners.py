"""Listeners: servers on a port of this machine alone, in threads that end with the block."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

HOST = "127.0.0.1"


@contextmanager
def web(*, handler: type[BaseHTTPRequestHandler], port: int = 0) -> Iterator[int]:
    """Run an HTTP server on a port, which the system chooses for 0; yield it."""
    server = ThreadingHTTPServer((HOST, port), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def mail(*, handler: Any) -> Iterator[int]:
    """Run an SMTP server with a handler of aiosmtpd's; yield its port, which the system chooses."""
    controller = _Mail(handler, hostname=HOST, port=0)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


class _Mail(Controller):
    """Finds out which port it was given before it tries whether it answers there."""

    server: Any
    port: int

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]
