"""Whether another host can still be reached."""

from __future__ import annotations

import socket
from contextlib import closing
from dataclasses import dataclass, field

_LOST = "harness: the link is lost "
"""What the line begins with that says between whom, in the log of who lost it."""
_TIMEOUT = 1.0
_STRIKES = 2


@dataclass
class Link:
    """The way from this host to a port of another one.

    A connection that is refused is an answer too: it came all the way. One that was never answered was never there, so
    it cannot be lost; whoever waits for the port finds out.

    Attributes:
        host: Address of the other host.
        port: On it, whether anybody listens there or not.
        lost: A line that says why the way counts as lost, with both its ends; empty as long as it does not.
    """

    host: str
    port: int
    lost: str = ""
    _from: str = field(default="", init=False)
    _strikes: int = field(default=0, init=False)

    def look(self) -> bool:
        """Try once, for a second at most; whether the way is lost, which takes two failures in a row."""
        problem = self._try()
        self._strikes = self._strikes + 1 if problem and self._from else 0
        if self._strikes >= _STRIKES:
            self.lost = f"{_LOST}from {self._from} to {self.host}, port {self.port}: {problem}"
        return bool(self.lost)

    def _try(self) -> str:
        """What keeps a connection from being answered; empty if it was."""
        with closing(socket.socket()) as probe:
            probe.settimeout(_TIMEOUT)
            try:
                probe.connect((self.host, self.port))
            except ConnectionRefusedError:
                pass
            except OSError as error:
                return error.strerror or f"no answer within {_TIMEOUT:g} s"
            if not self._from:
                self._from = _own_address(self.host)
        return ""


def lost_in(log: str) -> str:
    """Between whom a link is lost, as a log says it; empty if none is."""
    found = [line for line in log.splitlines() if line.startswith(_LOST)]
    return found[-1].removeprefix(_LOST) if found else ""


def _own_address(host: str) -> str:
    """The address that this host has on the way to another; nothing is sent."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.connect((host, 9))
        return str(probe.getsockname()[0])
