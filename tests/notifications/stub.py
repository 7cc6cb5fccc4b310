"""A provider's API of its own: what is sent to it is kept, and it can be told what to answer."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs

from config.demo import listeners


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
    """Answers each request with the next of `answers`, and with the last ever after.

    An answer that is a text goes out as it is, all else as JSON.
    """

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
            text = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with listeners.web(handler=Handler) as port:
        stub.url = f"http://{listeners.HOST}:{port}"
        yield stub
