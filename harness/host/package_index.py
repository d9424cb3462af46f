"""A package index: which wheels it has of a distribution, a whole one, and files out of one without the rest of it."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import requests
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from harness.base.texts import cause
from harness.host import files, machine

_TIMEOUT = 60.0
_JSON = "application/vnd.pypi.simple.v1+json"
_BLOCK = 1 << 21  # bytes a request: a wheel's sources lie side by side, and its libraries between them
_MOST = 32 << 20  # bytes of one file in a wheel, unpacked


class Unavailable(Exception):
    """The index does not answer, or not with what it should; the message is one line."""


@dataclass(frozen=True)
class Wheel:
    """A wheel on the index. ``sha256``: as the index says; empty if it does not."""

    name: str
    version: Version
    url: str
    sha256: str
    yanked: bool

    @property
    def file(self) -> str:
        return unquote(urlsplit(self.url).path.rpartition("/")[2])


def wheels(distribution: str) -> list[Wheel]:
    """Every wheel that the indexes which pip is configured with have of a distribution; none if none knows it.

    Raises:
        Unavailable: There is no index, or one of them gives no list.
    """
    indexes = machine.package_indexes()
    if not indexes:
        raise Unavailable("pip is configured with no package index")
    found: dict[str, Wheel] = {}
    for index in indexes:
        for each in _listed(f"{index.rstrip('/')}/{canonicalize_name(distribution)}/", distribution):
            if wheel := _wheel(*each):
                found.setdefault(wheel.file, wheel)
    return list(found.values())


def _listed(url: str, distribution: str) -> list[tuple[str, str, bool]]:
    """What one index lists: address, SHA-256, and whether it was taken back."""
    try:
        if folder := _folder(url):
            page = folder / "index.html"
            return _of_html(page.read_text(encoding="utf-8"), url) if page.is_file() else []
        answer = requests.get(url, timeout=_TIMEOUT, headers={"Accept": f"{_JSON}, text/html;q=0.5"})
        if answer.status_code == 404:
            return []
        answer.raise_for_status()
        if "json" in answer.headers.get("Content-Type", ""):
            return _of_json(answer)
        return _of_html(answer.text, answer.url)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:  # of requests too
        raise Unavailable(f"the package index gives no list of {distribution}: {_why(error)}") from error


def _folder(url: str) -> Path | None:
    """Where an index on this machine lies, or a file of it."""
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _why(error: Exception) -> str:
    """In words; an address may hold a password."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"it answers {error.response.status_code}"
    return cause(error)


def _of_json(answer: requests.Response) -> list[tuple[str, str, bool]]:
    return [
        (urljoin(answer.url, each["url"]), each.get("hashes", {}).get("sha256", ""), bool(each.get("yanked")))
        for each in answer.json()["files"]
    ]


class _Links(HTMLParser):
    """Links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a" and given.get("href"):
            self.found.append((str(given["href"]), "data-yanked" in given))


def _of_html(text: str, at: str) -> list[tuple[str, str, bool]]:
    links = _Links()
    links.feed(text)
    found = []
    for link, yanked in links.found:
        url, fragment = urldefrag(urljoin(at, link))
        digest = re.fullmatch(r"sha256=([0-9a-f]{64})", fragment)
        found.append((url, digest[1] if digest else "", yanked))
    return found


def _wheel(url: str, sha256: str, yanked: bool) -> Wheel | None:
    try:
        name, version, _, _ = parse_wheel_filename(unquote(urlsplit(url).path.rpartition("/")[2]))
    except InvalidWheelFilename:
        return None
    return Wheel(name, version, url, sha256 if re.fullmatch(r"[0-9a-f]{64}", sha256) else "", yanked)


def download(distribution: str, file: str, sha256: str, target: Path) -> Path:
    """One wheel, whole and with the expected content, written to ``target``.

    Raises:
        Unavailable: The index does not have it, it cannot be had, or it has another content; nothing is written then.
    """
    found = next((each for each in wheels(distribution) if each.file == file), None)
    if found is None:
        raise Unavailable(f"the package index has no {file}")
    try:
        content = _whole(found.url)
    except (requests.RequestException, ValueError) as error:
        raise Unavailable(f"{file} cannot be downloaded from the package index: {_why(error)}") from error
    got = hashlib.sha256(content).hexdigest()
    if got != sha256:
        raise Unavailable(f"{file} of the package index: SHA-256 is {got}, expected {sha256}")
    files.write(target, content)
    return target


def _file(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise ValueError(error.strerror) from error


def _whole(url: str) -> bytes:
    if path := _folder(url):
        with _file(path) as source:
            return source.read()
    answer = requests.get(url, timeout=_TIMEOUT)
    answer.raise_for_status()
    return answer.content


def extract(wheel: Wheel, wanted: Callable[[str], bool], cache: Path) -> zipfile.ZipFile:
    """Those files of a wheel, kept below ``cache`` by its digest.

    Where the server gives parts of a file, only what lies around them is downloaded. The digest of the wheel is then
    the name under which they are kept, and is not checked: what was read is to be looked at, and never run.

    Raises:
        Unavailable: The wheel cannot be had, or is none.
    """
    kept = cache / f"{wheel.sha256}.zip" if wheel.sha256 else None
    try:
        if kept is None or not kept.is_file():
            packed = io.BytesIO()
            with (
                _opened(wheel.url) as source,
                zipfile.ZipFile(source) as whole,
                zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as few,
            ):
                for each in sorted(whole.infolist(), key=lambda one: one.header_offset):
                    if wanted(each.filename) and each.file_size <= _MOST:
                        few.writestr(each.filename, whole.read(each))
            if kept is None:
                return zipfile.ZipFile(packed)
            kept.parent.mkdir(parents=True, exist_ok=True)
            files.write(kept, packed.getvalue())
        return zipfile.ZipFile(kept)
    except (requests.RequestException, zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        raise Unavailable(f"{wheel.file} cannot be read: {_why(error)}") from error


def _opened(url: str) -> io.BufferedReader | io.BytesIO:
    """A file on a server, to be read in parts; where it gives none, all of it. One on this machine as it is."""
    if path := _folder(url):
        return _file(path)
    with requests.get(url, timeout=_TIMEOUT, headers={"Range": "bytes=0-0"}, stream=True) as first:
        first.raise_for_status()
        size = re.fullmatch(r"bytes 0-0/(\d+)", first.headers.get("Content-Range", ""))
        if first.status_code != 206 or not size:
            return io.BytesIO(first.content)
    return io.BufferedReader(_Ranges(url, int(size[1])), _BLOCK)


class _Ranges(io.RawIOBase):
    """A file on a server that gives parts of it."""

    def __init__(self, url: str, size: int) -> None:
        super().__init__()
        self._url, self._size, self._at = url, size, 0
        self._session = requests.Session()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        asked = {"Range": f"bytes={self._at}-{end - 1}"}
        answer = self._session.get(self._url, timeout=_TIMEOUT, headers=asked)
        answer.raise_for_status()
        if answer.status_code != 206 or len(answer.content) != end - self._at:
            raise ValueError("the server gave another part of the file than was asked for")
        buffer[: end - self._at] = answer.content
        self._at = end
        return len(answer.content)
