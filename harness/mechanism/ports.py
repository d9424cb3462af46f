"""TCP ports on 127.0.0.1, chosen by the operating system."""

from __future__ import annotations

import socket


def free(count: int) -> list[int]:
    """``count`` different free TCP ports on 127.0.0.1, chosen by the operating system."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def is_free(port: int) -> bool:
    """Whether a server could bind the port on 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection in TIME_WAIT blocks nobody
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
