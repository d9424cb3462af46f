"""TCP ports on 127.0.0.1 for servers that bind them later.

Not those that the operating system hands out for port 0: until the server binds its own, seconds later, any outgoing
connection and any other program that asks for port 0 may be given the same one. It hands out its ephemeral range and
nothing else, so ports outside of it stay free unless somebody names them.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

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


def free(count: int) -> list[int]:
    """``count`` different free TCP ports on 127.0.0.1, outside the ephemeral range as far as there are any."""
    low, high = ephemeral()
    outside = [*range(_LOWEST, low), *range(high + 1, _HIGHEST + 1)]
    # At random: two harnesses that start at the same moment must not try the same ones.
    candidates = random.sample(outside, len(outside)) + [0] * count
    found: list[int] = []
    held: list[socket.socket] = []  # until all are found, so that none is found twice
    try:
        for port in candidates:
            if len(found) == count:
                break
            probe = socket.socket()
            held.append(probe)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(int(probe.getsockname()[1]))
    finally:
        for probe in held:
            probe.close()
    return found


def is_free(port: int) -> bool:
    """Whether a server could bind the port on 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection in TIME_WAIT blocks nobody
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
