"""Sources out of a wheel on an index: in parts, whole, and from one that breaks off."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event

import pytest

from harness.host import package_index
from harness.host.package_index import Unavailable
from tests.helpers import command, environment, listening

NAME = "vllm-9.1-cp38-abi3-manylinux_2_28_x86_64.whl"


def wheel() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as whole:
        whole.writestr("vllm/_C.so", os.urandom(24 << 20))
        whole.writestr("vllm/__init__.py", "version = 9\n")
        whole.writestr("vllm-9.1.dist-info/METADATA", "Name: vllm\nVersion: 9.1\n")
    return packed.getvalue()


class Index(ThreadingHTTPServer):
    """One wheel; ``sent``: bytes of it that were given away."""

    daemon_threads = True
    content = wheel()
    sent = 0
    ranges = True
    page = "json"
    cut = 0
    hold: Event | None = None


class Handler(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        if self.path.endswith(".whl"):
            return self._wheel()
        digest = hashlib.sha256(self.server.content).hexdigest()
        if self.path != "/simple/vllm/":
            return self._answer(404, b"")
        if self.server.page == "json":
            listed = {"files": [{"url": f"/files/{NAME}", "hashes": {"sha256": digest}, "yanked": False}]}
            return self._answer(200, json.dumps(listed).encode(), "application/vnd.pypi.simple.v1+json")
        return self._answer(200, f'<a href="/files/{NAME}#sha256={digest}">x</a><a href="x.txt">y</a>'.encode())

    def _wheel(self) -> None:
        content, asked = self.server.content, self.headers.get("Range")
        if not self.server.ranges or not asked:
            self.server.sent += len(content)
            return self._answer(200, content)
        first, last = (int(each) for each in asked.removeprefix("bytes=").split("-"))
        part = content[first : last + 1]
        self.server.sent += len(part)
        if self.server.hold and len(part) > 1:
            self.server.hold.wait(60)
        whole = {"Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(content)}"}
        return self._answer(206, part[: len(part) - self.server.cut] if len(part) > 1 else part, headers=whole)

    def _answer(self, status: int, body: bytes, kind: str = "text/html", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    server = Index(("127.0.0.1", 0), Handler)
    with listening(server):
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)  # with it pip reads no file at all
        yield server


def wanted(path: str) -> bool:
    return path.endswith(".py")


@pytest.mark.parametrize("page", ["json", "html"])
def test_only_what_is_wanted_is_downloaded_and_once(index: Index, page: str, tmp_path: Path) -> None:
    index.page = page
    (found,) = package_index.wheels("vllm")
    assert (found.name, str(found.version), found.yanked) == ("vllm", "9.1", False)
    for _ in range(2):
        with package_index.extract(found, wanted, tmp_path) as packed:
            assert packed.namelist() == ["vllm/__init__.py"]
            assert packed.read("vllm/__init__.py") == b"version = 9\n"
    assert index.sent < len(index.content) / 3
    assert [each.name for each in tmp_path.iterdir()] == [f"{found.sha256}.zip"]


def test_a_server_that_gives_no_parts_is_asked_for_all(index: Index, tmp_path: Path) -> None:
    index.ranges = False
    (found,) = package_index.wheels("vllm")
    with package_index.extract(found, wanted, tmp_path) as packed:
        assert packed.namelist() == ["vllm/__init__.py"]


def test_what_breaks_off_is_no_answer_and_nothing_is_kept(index: Index, tmp_path: Path) -> None:
    (found,) = package_index.wheels("vllm")
    index.cut = 7
    with pytest.raises(Unavailable, match="another part"):
        package_index.extract(found, wanted, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("page", ["json", "html"])
def test_a_whole_wheel_is_had_if_its_content_is_the_expected_one(index: Index, page: str, tmp_path: Path) -> None:
    index.page = page
    digest = hashlib.sha256(index.content).hexdigest()
    assert package_index.download("vllm", NAME, digest, tmp_path / NAME).read_bytes() == index.content
    with pytest.raises(Unavailable, match=f"SHA-256 is {digest}, expected {'0' * 64}"):
        package_index.download("vllm", NAME, "0" * 64, tmp_path / "other")
    with pytest.raises(Unavailable, match=r"the package index has no vllm-9\.2"):
        package_index.download("vllm", NAME.replace("9.1", "9.2"), digest, tmp_path / "other")
    assert [each.name for each in tmp_path.iterdir()] == [NAME]


def test_an_unknown_distribution_has_no_wheels_and_no_index_is_said(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert package_index.wheels("nothing-of-the-sort") == []
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    with pytest.raises(Unavailable, match="gives no list of vllm"):
        package_index.wheels("vllm")


def test_indexes_beside_the_first_one_count_too_and_one_may_be_a_folder(
    index: Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = tmp_path / "my index"
    (here / "vllm").mkdir(parents=True)
    other = NAME.replace("9.1", "9.2")
    (here / "vllm" / other).write_bytes(index.content)
    (here / "vllm" / "index.html").write_text(f'<a href="{other}">new</a><a href="{NAME}">of the first one</a>')
    first = os.environ["PIP_INDEX_URL"]
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{first}  {here.as_uri()}")
    old, new = package_index.wheels("vllm")
    assert (str(old.version), old.url.startswith("http://127.0.0.1")) == ("9.1", True)
    with package_index.extract(new, wanted, tmp_path / "cache") as packed:
        assert (str(new.version), packed.namelist()) == ("9.2", ["vllm/__init__.py"])
    digest = hashlib.sha256(index.content).hexdigest()
    assert package_index.download("vllm", other, digest, tmp_path / other).read_bytes() == index.content
    assert package_index.wheels("nothing-of-the-sort") == []
    (here / "vllm" / other).unlink()
    with pytest.raises(Unavailable, match=f"{re.escape(other)} cannot be downloaded from the package index: No such"):
        package_index.download("vllm", other, digest, tmp_path / "gone")
    with pytest.raises(Unavailable, match=f"{re.escape(other)} cannot be read: No such file"):
        package_index.extract(new, wanted, tmp_path / "cache")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://127.0.0.1:1/simple")
    with pytest.raises(Unavailable, match="gives no list of vllm"):
        package_index.wheels("vllm")


def test_the_report_ended_half_way_keeps_nothing(index: Index, tmp_path: Path) -> None:
    index.hold = Event()
    given = {
        "XDG_CACHE_HOME": str(tmp_path),
        **{name: os.environ[name] for name in ("PIP_INDEX_URL", "PIP_CONFIG_FILE")},
    }
    running = subprocess.Popen(command("drift", "vllm==9.1"), env=environment(given), stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while index.sent < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert index.sent > 1
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 130
    finally:
        index.hold.set()
        running.kill()
        running.wait()
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []
