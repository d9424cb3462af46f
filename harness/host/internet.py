"""Files from public addresses, refused unless their content is the expected one.

Whether servers on the network answer: one small request each.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import urlsplit

import requests

from harness.base.texts import cause
from harness.host import files

_TIMEOUT = 60.0
_PAGE = (b"<!doctype html", b"<html")


class Refused(Exception):
    """The file cannot be had, or is another one; the message is one line."""


def verified(path: Path, sha256: str) -> Path:
    """``path``, if its content is the expected one.

    Raises:
        Refused: It is not, or it cannot be read.
    """
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from error
    if found != sha256:
        raise Refused(f"{path}: SHA-256 is {found}, expected {sha256}; remove the file or put the right one there")
    return path


def fetch(url: str, target: Path, sha256: str) -> Path:
    """Download to ``target`` unless it is there; either way its content is checked.

    Raises:
        Refused: No answer, or another content. Nothing is written then.
    """
    if target.exists():
        return verified(target, sha256)
    try:
        response = requests.get(url, timeout=_TIMEOUT)
        response.raise_for_status()
    except (requests.RequestException, ValueError) as error:  # the latter from an address of a proxy
        raise Refused(f"{url}: {cause(error)}") from error
    found = hashlib.sha256(response.content).hexdigest()
    if found != sha256 and response.content.lstrip()[:20].lower().startswith(_PAGE):
        raise Refused(f"{url}: the answer is a page and not the file, as of a proxy; see HTTPS_PROXY")
    if found != sha256:
        raise Refused(f"{url}: SHA-256 is {found}, expected {sha256}; its project may have changed it")
    target.parent.mkdir(parents=True, exist_ok=True)
    files.write(target, response.content)
    return target


_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (requests.exceptions.ProxyError, "the proxy does not let it through"),
    (requests.exceptions.SSLError, "its certificate is not trusted (REQUESTS_CA_BUNDLE names another CA bundle)"),
    (requests.Timeout, "no answer in time"),
    (requests.ConnectionError, "no connection"),
)
"""What went wrong, the more special before the more general."""


def host(url: str) -> str:
    """Name and port of a server, without what else stands in its address: that may be a password."""
    try:
        parts = urlsplit(url)
        return (parts.hostname or "") + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return "an address that cannot be read"


def problem(url: str, timeout: float, token: str = "", *, login: bool = False) -> str:
    """Why a server cannot be used; empty if it answers.

    Nothing in the answer comes from the server or from ``url``, so no secret gets into it.

    Args:
        url: What is asked for; its content is not read.
        timeout: Seconds to connect, and to answer.
        token: Sent as a bearer token; it goes nowhere else, not even after a redirection.
        login: Whether it is usual here to be asked to log in first.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with requests.get(url, timeout=timeout, stream=True, allow_redirects=False, headers=headers) as response:
            status = response.status_code
    except (requests.RequestException, ValueError) as error:
        return _words(error)
    if status in (401, 403) and not login:
        return f"it answers {status}: " + ("the token is refused" if token else "it wants a login")
    return f"it answers {status}" if status >= 404 else ""


def _words(error: Exception) -> str:
    if "NameResolution" in str(error):
        return "its name is not known"
    return next((words for kind, words in _WORDS if isinstance(error, kind)), "not an address that can be asked")
