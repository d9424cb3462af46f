"""What a unit test cannot do."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable

import pytest
import requests

REFUSED = "a unit test tried to start a process or to open a socket"


@pytest.fixture(scope="module")
def outside() -> str:
    """What comes of a fixture that would reach out."""
    with pytest.raises(AssertionError) as refused:
        socket.create_connection(("127.0.0.1", 9))
    return str(refused.value)


@pytest.mark.parametrize(
    "reach",
    [
        socket.socket,
        lambda: socket.getaddrinfo("localhost", 80),
        lambda: socket.create_connection(("127.0.0.1", 9)),
        lambda: requests.get("http://127.0.0.1:9", timeout=1),
        lambda: subprocess.run([sys.executable, "--version"], check=True),
    ],
    ids=["socket", "name", "connection", "request", "process"],
)
def test_a_unit_test_reaches_nothing(reach: Callable[[], object]) -> None:
    with pytest.raises(AssertionError, match=REFUSED):
        reach()


def test_nor_does_a_fixture_of_its_module(outside: str) -> None:
    assert outside == REFUSED
