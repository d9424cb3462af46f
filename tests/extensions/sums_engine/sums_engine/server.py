"""The engine: an OpenAI-compatible server that reads two numbers in a prompt and answers with their sum."""

from __future__ import annotations

import argparse
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar


class Handler(BaseHTTPRequestHandler):
    """One request."""

    finished: ClassVar[list[str]] = []
    off_by: ClassVar[int] = 0

    def do_GET(self) -> None:
        """``/health`` and ``/metrics``."""
        total = f'sums:requests_total{{reason="stop"}} {len(self.finished)}\n'
        text = f"# TYPE sums:requests counter\n{total}" if self.path == "/metrics" else "ok"
        self._answer(text.encode(), "text/plain")

    def do_POST(self) -> None:
        """``/v1/completions``."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        numbers = [int(number) for number in re.findall(r"\d+", asked["prompt"])]
        said = {
            "choices": [{"index": 0, "text": f" {sum(numbers) + self.off_by}", "finish_reason": "stop"}],
            "usage": {"prompt_tokens": len(asked["prompt"].split()), "completion_tokens": 1},
        }
        self.finished.append("stop")
        self._answer(json.dumps(said).encode(), "application/json")

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def main() -> None:
    """Serve until somebody ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--off-by", type=int, default=0, help="What every answer is wrong by.")
    given = parser.parse_args()
    Handler.off_by = given.off_by
    ThreadingHTTPServer(("127.0.0.1", given.port), Handler).serve_forever()
