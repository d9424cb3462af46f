"""Asking a registry for a digest, at a scripted one: tokens, logins, refusals, silence."""

from __future__ import annotations

import base64
import hashlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from harness.images import registry
from tests.helpers import command, environment, listening, wait_for

BODY = b'{"schemaVersion": 2}'
OF_BODY = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
INDEX, SINGLE = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
PASSWORD = "correct-horse"
PIN = """[vllm.cpu]
image = "{place}/engines/base"
tag = "v1"
digest = "unresolved"
engine = "in base"
source = "written by a test"
read = 2026-01-02
"""


class Scripted(ThreadingHTTPServer):
    """A registry whose behaviour a test sets.

    Attributes:
        challenge: Scheme it asks unauthenticated clients for; empty for none.
        realm: Where it sends clients for a token; to itself if empty.
        login: ``name:password`` it wants for a token, or with ``Basic``; empty for anonymous tokens.
        status: What it answers to a manifest.
        header: The digest in its answer; None for the one of what was asked for, empty for no header.
        token: What its token service answers.
        silent: Never answer.
        asked: Method and path of every request.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.challenge, self.realm, self.login = "", "", ""
        self.status = 200
        self.header: str | None = None
        self.token: dict[str, Any] = {"token": "let-me-in"}
        self.silent = False
        self.asked: list[str] = []

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    server: Scripted

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        script = self.server
        script.asked.append(f"{self.command} {self.path}")
        if script.silent:
            time.sleep(60)
        given = self.headers.get("Authorization", "")
        basic = f"Basic {base64.b64encode(script.login.encode()).decode()}"
        if self.path.startswith("/token"):
            asked = parse_qs(urlsplit(self.path).query)
            right = asked == {"service": ["reg.test"], "scope": ["repository:engines/base:pull"]}
            welcome = right and given == (basic if script.login else "")
            self._send(200 if welcome else 401, json.dumps(script.token).encode(), {})
            return
        wanted = {"": "", "Bearer": "Bearer let-me-in", "Basic": basic}[script.challenge]
        if given != wanted:
            realm = script.realm or f"http://{script.place}/token"
            parameters = f'realm="{realm}",service="reg.test",scope="repository:engines/base:pull"'
            self._send(401, b"", {"WWW-Authenticate": f"{script.challenge} {parameters}"})
            return
        knows_indexes = "image.index.v1+json" in self.headers.get("Accept", "")
        digest = script.header if script.header is not None else (INDEX if knows_indexes else SINGLE)
        self._send(script.status, BODY if with_body else b"", {"Docker-Content-Digest": digest} if digest else {})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker-config"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # must not stand between us and this machine
    server = Scripted()
    server.daemon_threads = True
    with listening(server):
        yield server


def logged_in(folder: Path, script: Scripted) -> None:
    """What ``docker login`` leaves behind."""
    script.login = f"somebody:{PASSWORD}"
    (folder / "docker-config").mkdir()
    auth = base64.b64encode(script.login.encode()).decode()
    (folder / "docker-config" / "config.json").write_text(json.dumps({"auths": {script.place: {"auth": auth}}}))


def ask(script: Scripted) -> str | None:
    return registry.digest(script.place, "engines/base", "v1")


def test_the_digest_is_that_of_the_index(script: Scripted) -> None:
    assert ask(script) == INDEX
    assert script.asked == ["HEAD /v2/engines/base/manifests/v1"]


def test_an_anonymous_token_is_fetched_where_the_registry_says(script: Scripted) -> None:
    script.challenge = "Bearer"
    assert ask(script) == INDEX
    assert [line.split("?")[0] for line in script.asked] == [
        "HEAD /v2/engines/base/manifests/v1",
        "GET /token",
        "HEAD /v2/engines/base/manifests/v1",
    ]
    script.token = {"access_token": "let-me-in", "expires_in": 300}
    assert ask(script) == INDEX, "the name that OAuth gives it"


@pytest.mark.parametrize("challenge", ["Bearer", "Basic"])
def test_what_docker_login_keeps_is_used(tmp_path: Path, script: Scripted, challenge: str) -> None:
    script.challenge, script.login = challenge, f"somebody:{PASSWORD}"
    with pytest.raises(registry.NoAnswer, match=r"docker login"):
        ask(script)
    logged_in(tmp_path, script)
    assert ask(script) == INDEX


def test_a_password_is_not_sent_to_another_machine_without_tls(tmp_path: Path, script: Scripted) -> None:
    script.challenge, script.realm = "Bearer", "http://tokens.invalid/token"
    logged_in(tmp_path, script)
    with pytest.raises(registry.NoAnswer, match="a password is not sent without TLS"):
        ask(script)


def test_a_registry_without_the_header_is_asked_for_the_manifest_itself(script: Scripted) -> None:
    script.challenge, script.header = "Bearer", ""
    assert ask(script) == OF_BODY
    assert script.asked[-1] == "GET /v2/engines/base/manifests/v1"


def test_what_is_not_there_is_no_error(script: Scripted) -> None:
    script.status = 404
    assert ask(script) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": 429}, "answers 429: too many requests; wait, or `docker login"),
        ({"status": 403}, "answers 403: not there, or only after `docker login"),
        ({"status": 503}, "503 Server Error"),
        ({"header": "sha256:12"}, "answers with the digest 'sha256:12', which is none"),
        ({"challenge": "Bearer", "token": {"token": None}}, "answers without a token"),
        ({"challenge": "Bearer", "token": {"token": "another"}}, "answers 401: not there, or only after"),
    ],
)
def test_every_other_answer_is_one_line(script: Scripted, changes: dict[str, Any], words: str) -> None:
    for name, value in changes.items():
        setattr(script, name, value)
    with pytest.raises(registry.NoAnswer) as raised:
        ask(script)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_interrupt_while_a_registry_is_silent_changes_nothing(tmp_path: Path, script: Scripted) -> None:
    script.silent = True
    path = tmp_path / "pins.toml"
    path.write_text(PIN.format(place=script.place))
    process = subprocess.Popen(
        command("pins", "--pins", path), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wait_for(lambda: script.asked)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, output) == (130, "")
    assert path.read_text() == PIN.format(place=script.place)
    assert [each.name for each in tmp_path.iterdir()] == ["pins.toml"]
