"""One answer that is none among others that are: it is that request's error, and no other is lost."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.base.domain import Item, Sample
from harness.host import concurrent_requests
from harness.run.rundir import RunDir
from harness.run.stages import evaluate
from tests.helpers import listening

GOOD = json.dumps(
    {
        "choices": [{"index": 0, "text": "fine", "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
    }
).encode()


def usage(value: str) -> bytes:
    return GOOD.replace(b'"prompt_tokens": 3', b'"prompt_tokens": ' + value.encode())


BROKEN: dict[str, bytes] = {
    "infinite": usage("Infinity"),
    "no_number": usage("NaN"),
    "overflow": usage("1e999"),
    "negative": usage("-1"),
    "fraction": usage("2.5"),
    "huge": usage("9" * 300),
    "words": usage('"3"'),
    "yes": usage("true"),
    "nested": b"[" * 200_000,
    "surrogate": GOOD.replace(b"fine", b"\\ud800"),
    "no_utf8": GOOD.replace(b"fine", b"\xff\xfe"),
    "no_choice": GOOD.replace(b'"choices": [', b'"choices": [], "x": ['),
    "choices_null": b'{"choices": null, "usage": {}}',
    "choices_table": b'{"choices": {}, "usage": {}}',
    "text_number": GOOD.replace(b'"fine"', b"5"),
    "no_usage": b'{"choices": [{"text": "fine", "finish_reason": "stop"}]}',
    "events": b'data: {"choices": []}\n\ndata: [DONE]\n\n',
    "page": b"<html>busy</html>",
    "nothing": b"",
    "list": b"[]",
}
KINDS = {
    "utf-7": "application/json; charset=utf-7",
    "base64": "text/html; charset=base64",
    "junk": "\x80\xff; charset=\xfe",
}


class Handler(BaseHTTPRequestHandler):
    """Answers ``/BODY/TYPE`` with the body of that name under that type of content."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        _, body, kind = self.path.split("/")
        data = BROKEN.get(body, GOOD)
        self.send_response(200)
        self.send_header("Content-Type", KINDS.get(kind, "application/json"))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def asked(paths: list[str]) -> list[Sample]:
    """What becomes of requests to these paths, all at once."""
    server, samples = ThreadingHTTPServer(("127.0.0.1", 0), Handler), list[Sample]()
    item = Item(id="K", prompt="p", body={})
    url = f"http://127.0.0.1:{server.server_address[1]}"
    with listening(server):
        concurrent_requests.send(
            [concurrent_requests.Call(path, f"{url}/{path}", {"prompt": "p"}) for path in paths],
            concurrency=4,
            timeout=30,
            watch=lambda: "",
            on_reply=lambda reply: samples.append(evaluate._sample(reply.key, item, reply)),
        )
    return samples


def test_one_broken_answer_loses_nobody_elses(tmp_path: Path) -> None:
    paths = [path for name in BROKEN for path in (f"good-{name}/json", f"{name}/json")]
    samples = asked(paths)
    rundir = RunDir.create(tmp_path / "run")
    rundir.write_samples(samples)
    found = {sample.run: sample for sample in rundir.samples() or []}
    assert found.keys() == set(paths)
    for name in BROKEN:
        assert (found[f"good-{name}/json"].text, found[f"good-{name}/json"].error) == ("fine", "")
        assert found[f"{name}/json"].error.startswith("status 200 without"), name
        assert (found[f"{name}/json"].text, found[f"{name}/json"].prompt_tokens) == ("", 0)


@pytest.mark.parametrize("kind", KINDS)
def test_json_is_utf8_whatever_its_headers_say(kind: str) -> None:
    for sample in asked([f"good/{kind}", "good/json"]):
        assert (sample.text, sample.error) == ("fine", "")
