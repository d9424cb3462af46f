"""Files from public addresses, refused unless their content is the expected one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import requests

from harness.ground.texts import cause
from harness.mechanism import files

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
