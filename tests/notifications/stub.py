"""A provider's API of its own: what is sent to it is kept, and it can be told what to answer."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    path: str
    authorization: str
    body: bytes

    @property
    def json(self) -> Any:
        """The body of JSON."""
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        """The body of a form, each field once."""
        return {name: value for name, [value] in parse_qs(self.body.decode()).items()}


@dataclass
class Stub:
    """Answers each request with the next of `answers`, and with the last ever after."""

    answers: list[tuple[int, Any]]
    url: str = ""
    calls: list[Call] = field(default_factory=list)

    def answer(self) -> tuple[int, Any]:
        """Return a status and a body."""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def opened(*, status: int, body: Any) -> Iterator[Stub]:
    """Run a server that answers so."""
    stub = Stub([(status, body)])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            stub.calls.append(Call(self.path, self.headers.get("Authorization", ""), sent))
            status, answer = stub.answer()
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
