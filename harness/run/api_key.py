"""The key that somebody else's server wants: where it is is on record, what it is nowhere."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from harness.base import secrets
from harness.base.errors import UsageError
from harness.host import http_client

_MOST = 16 << 10


def read(where: str) -> str:
    """The key at ``env:NAME`` or ``file:PATH``; from here on it is known as a secret.

    Raises:
        UsageError: It is not there, or no text that a header can hold.
    """
    kind, _, name = where.partition(":")
    if kind == "env":
        option, found = f"--api-key-env {name}", os.environ.get(name, "")
        if not found:
            raise UsageError(f"{option}: not set here; export it, or give --api-key-file")
    else:
        option = f"--api-key-file {name}"
        try:
            with Path(name).open("rb") as file:
                found = file.read(_MOST).decode()
        except (OSError, ValueError) as error:
            raise UsageError(f"{option}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    key = found.strip()
    secrets.hide([key])
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(f"{option}: holds no key: one line of printable ASCII without spaces")
    return key


def use(where: str, servers: Iterable[str]) -> None:
    """Send the key with what these servers, by their base URLs, are asked.

    Raises:
        UsageError: As :func:`read`.
    """
    if where:
        key = read(where)
        for base in servers:
            http_client.authorize(base, key)
