"""A container engine's API on a Unix socket, scripted: says what it can do, and records what it is asked to create."""

from __future__ import annotations

import json
import re
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.helpers import listening

CONTAINER = "c" * 64


@dataclass
class EngineApi:
    """What the engine says, and what it was asked.

    Attributes:
        version: Of the engine.
        component: First name in its list of components.
        info: What ``/info`` answers.
        refuses: Message with which it refuses to start a container; empty if it starts it.
        created: Bodies of the requests to create one.
        removed: Number of containers removed.
        executed: Bodies of the requests to run a program in one.
    """

    version: str = "28.3.0"
    component: str = "Engine"
    info: dict[str, Any] = field(default_factory=dict)
    refuses: str = ""
    created: list[dict[str, Any]] = field(default_factory=list)
    removed: int = 0
    executed: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Status and body for a request; the version prefix is cut off."""
        if path == "/version":
            return 200, {"Version": self.version, "ApiVersion": "1.44", "Components": [{"Name": self.component}]}
        if path == "/info":
            return 200, self.info
        if path == "/containers/create":
            self.created.append(body)
            return 201, {"Id": CONTAINER, "Warnings": []}
        if path.endswith("/exec"):
            self.executed.append(body)
            return 201, {"Id": "e" * 64}
        if path.startswith("/exec/") and method == "GET":
            return 200, {"Running": False, "ExitCode": 0}
        if path.endswith("/start"):
            return (500, {"message": self.refuses}) if self.refuses else (204, None)
        if method == "DELETE":
            self.removed += 1
            return 204, None
        return 200, {"Id": CONTAINER, "Config": {"Labels": {}}, "State": {"Status": "running"}}


@contextmanager
def serving(api: EngineApi, path: Path) -> Iterator[str]:
    """Serve it on a socket at ``path``, and give the address for ``DOCKER_HOST``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or "null")
            asked = re.sub(r"^/v[\d.]+", "", self.path.partition("?")[0])
            status, answer = api.answer(self.command, asked, body)
            content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815 # the base class's own names

        def log_message(self, *_: object) -> None:
            pass

        def address_string(self) -> str:
            return "socket"

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    server = Server(str(path), Handler)
    with listening(server):
        yield f"unix://{path}"
