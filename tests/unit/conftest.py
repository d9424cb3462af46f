"""Unit tests start no process and open no socket: a test that tries to does not test a unit."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest


@pytest.fixture(scope="package", autouse=True)
def nothing_outside() -> Iterator[None]:
    """Fixtures of tests and modules are held to it too."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("a unit test tried to start a process or to open a socket")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", refuse)
        patch.setattr(socket.socket, "__init__", refuse)  # the class stays: libraries derive their own from it
        patch.setattr(socket, "getaddrinfo", refuse)
        yield
