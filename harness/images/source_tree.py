"""The source tree that the harness runs from, and its revision."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from harness.base.errors import UsageError
from harness.host import processes

_DATE = "SOURCE_DATE_EPOCH"
"""Environment variable of reproducible builds: seconds since 1970 that a build dates itself with."""

FIRST_DATE = 315532800
"""1 January 1980, the first day that a zip file knows: for a tree that has no revision."""


@dataclass(frozen=True)
class Revision:
    """Of the source tree.

    Attributes:
        name: Commit, with ``-dirty`` if files differ from it; ``unknown`` outside a repository.
        date: Of the commit, in seconds since 1970, or what SOURCE_DATE_EPOCH says.
        origin: Where the repository was cloned from, without credentials; empty if that is not known.
    """

    name: str
    date: int
    origin: str = ""


def root() -> Path:
    """The source tree.

    Raises:
        UsageError: The harness was installed without one.
    """
    found = Path(__file__).resolve().parents[2]
    if not (found / "docker" / "Dockerfile").is_file():
        raise UsageError(f"{found}: no source tree here, and an image is built from one; run from a checkout")
    return found


def revision() -> Revision:
    """Revision of the source tree.

    Raises:
        UsageError: SOURCE_DATE_EPOCH is no number.
    """
    name, _, date = _git("log", "-1", "--format=%H %ct").partition(" ")
    if name and _git("status", "--porcelain"):
        name += "-dirty"
    given = os.environ.get(_DATE) or date or str(FIRST_DATE)
    if not given.isdecimal():
        raise UsageError(f"{_DATE}={given}: must be a number of seconds since 1970")
    return Revision(name or "unknown", int(given), without_credentials(_git("remote", "get-url", "origin")))


def without_credentials(address: str) -> str:
    """An address of a repository, less the user and the token that it may hold."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _git(*arguments: str) -> str:
    """What git says of the source tree; nothing if it fails or is not there."""
    try:
        status, output = processes.run(["git", "-C", str(root()), *arguments])
    except FileNotFoundError:
        return ""
    return output.strip() if status == 0 else ""
