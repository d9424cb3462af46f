"""TCP ports of an address of this host for servers that bind them later.

Not those that the operating system hands out for port 0: until the server binds its own, seconds later, any outgoing
connection and any other program that asks for port 0 may be given the same one. It hands out its ephemeral range and
nothing else, so ports outside of it stay free unless somebody names them.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

from harness.base.domain import LOOPBACK

_LOWEST = 10_000  # below are the well-known ones, and what services use by default
_HIGHEST = 65_535
_LINUX_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_IANA_RANGE = (49_152, _HIGHEST)


def ephemeral() -> tuple[int, int]:
    """Lowest and highest port that the operating system hands out by itself."""
    try:
        low, high = _LINUX_RANGE.read_text().split()
    except (OSError, ValueError):
        return _IANA_RANGE
    return int(low), int(high)


class Ports:
    """Hands out ports, none twice.

    Args:
        address: Of this host, where they are to be free.
    """

    def __init__(self, address: str = LOOPBACK) -> None:
        self._address = address
        low, high = ephemeral()
        outside = [*range(_LOWEST, low), *range(high + 1, _HIGHEST + 1)]
        self._candidates: list[int] = outside or list(range(_LOWEST, _HIGHEST + 1))
        self._given: set[int] = set()

    def take(self, width: int = 1) -> int:
        """The first of ``width`` consecutive ports that are free.

        Raises:
            OSError: There are none.
        """
        # At random: two harnesses that start at the same moment must not try the same ones.
        for first in random.sample(self._candidates, len(self._candidates)):
            block = range(first, first + width)
            if self._given.isdisjoint(block) and all(is_free(port, self._address) for port in block):
                self._given.update(block)
                return first
        raise OSError(f"no {width} free TCP ports in a row on {self._address}")


def is_free(port: int, address: str = LOOPBACK) -> bool:
    """Whether a server could bind the port now."""
    if port > _HIGHEST:
        return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection in TIME_WAIT blocks nobody
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
