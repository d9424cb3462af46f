"""Where servers will run, as an engine's module is told it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.base.domain import LOOPBACK


@dataclass(frozen=True)
class Place:
    """Where servers will run.

    Attributes:
        python: Interpreter of the environment that holds the engine.
        checkpoints: Directory of each checkpoint, by name.
        port: Returns the first of that many consecutive free ports, others on every call.
        devices: Sets apart that many accelerators, others on every call, and returns the environment that says so.
        command: The command that users of the engine type to start a server, as this build has it; empty where the
            build lacks it, and its server is run as a module.
        host: Address on which they listen.
        interface: The network interface that has it.
        share: Part of the memory of its accelerator that a server may use; 0: it has its accelerators to itself.
    """

    python: str
    checkpoints: Mapping[str, str]
    port: Callable[[int], int]
    devices: Callable[[int], Mapping[str, str]]
    command: tuple[str, ...] = ()
    host: str = LOOPBACK
    interface: str = "lo"
    share: float = 0.0
