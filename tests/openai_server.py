"""A server with OpenAI's API and nothing else, in this process: what it says, a test says."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.helpers import listening


@dataclass
class Api:
    """What the server does.

    Attributes:
        base: Path below which everything is.
        models: Ids that it lists.
        key: That it wants; empty: none.
        said: The text of an answer.
        message: Laid over the message of a chat.
        lacks: Keys that its answers do not have: ``usage``, ``finish_reason``.
        loading: So many GETs answer 503 first.
        refuses: Status with which it refuses to answer.
        latency: Seconds an answer takes.
        paths: Others that answer, with their text: ``/metrics``.
        asked: Every request: method, path, its headers and its body.
    """

    base: str = ""
    models: list[str] = field(default_factory=lambda: ["smol"])
    key: str = ""
    said: str = r"So it is \\boxed{18}."
    message: dict[str, Any] = field(default_factory=dict)
    lacks: list[str] = field(default_factory=list)
    loading: int = 0
    refuses: int = 0
    latency: float = 0.0
    paths: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)

    def answer(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        if self.key and headers.get("Authorization") != f"Bearer {self.key}":
            return 401, json.dumps({"error": f"wrong key in {headers.get('Authorization', 'nothing')}"})
        if method == "GET":
            self.loading -= 1
            if self.loading >= 0:
                return 503, "loading"
            if path == f"{self.base}/v1/models":
                return 200, json.dumps({"object": "list", "data": [{"id": each} for each in self.models]})
            name = path.removeprefix(self.base)
            return (200, self.paths[name]) if name in self.paths else (404, "no such path")
        if self.refuses:
            return self.refuses, json.dumps({"error": {"message": "not today"}})
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        if path == f"{self.base}/v1/chat/completions":
            choice["message"] = {"role": "assistant", "content": self.said} | self.message
        elif path == f"{self.base}/v1/completions":
            choice["text"] = self.said
        else:
            return 404, "no such path"
        time.sleep(self.latency)
        body = {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}
        for holder in (choice, body):
            for name in self.lacks:
                holder.pop(name, None)
        return 200, json.dumps(body)


@contextmanager
def serving(api: Api, certificate: Path | None = None) -> Iterator[str]:
    """Serve it as long as the block lasts, and give its address; by TLS with a certificate and its key in one file."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or "null")
            api.asked.append((self.command, self.path, dict(self.headers), body))
            status, text = api.answer(self.command, self.path, dict(self.headers))
            content = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _handle  # noqa: N815 # the base class's own names

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with listening(server):
        yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_address[1]}{api.base}"
