"""What an engine module provides, and helpers that all of them share."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.ground.domain import Server
from harness.policy.cases.model import Case, FlagValue, Serve
from harness.policy.engines.capabilities import Rename
from harness.policy.metrics import Metric


@dataclass(frozen=True)
class Place:
    """Where servers will run.

    Attributes:
        python: Interpreter of the environment that holds the engine.
        checkpoints: Directory of each checkpoint, by name.
        port: Returns the first of that many consecutive free ports, others on every call.
        devices: Sets apart that many accelerators, others on every call, and returns the environment that says so.
    """

    python: str
    checkpoints: Mapping[str, str]
    port: Callable[[int], int]
    devices: Callable[[int], Mapping[str, str]]


@dataclass(frozen=True)
class EngineSpec:
    """An engine as data and one function.

    Attributes:
        name: As cases name it.
        distributions: Python distributions whose versions are recorded; of alternatives the installed one counts.
        servers: All servers of a case, in the order in which they are started, the router last.
        devices: Accelerators that one server takes.
        metrics: The counters it exports.
        rearranged: Pattern of the log line that says that experts are moved, or were.
        kept: Pattern of the line that follows where moving them was not worth it.
        block_size: Flag that says how many tokens a KV block has.
        no_prefix_cache: Flag and value that turn prefix caching off.
        echoes: Parts of error lines that only repeat that something above went wrong.
        prefixes: What the names of its own environment variables begin with.
        probe: Program that its interpreter runs to say what its server knows.
        renames: What older builds spell in another way.
    """

    name: str
    distributions: tuple[str, ...]
    servers: Callable[[Case, Place], list[Server]]
    devices: Callable[[Serve], int]
    metrics: tuple[Metric, ...]
    block_size: str
    no_prefix_cache: tuple[str, FlagValue]
    echoes: tuple[str, ...]
    prefixes: tuple[str, ...]
    probe: str
    renames: tuple[Rename, ...]
    rearranged: str
    kept: str

    def rearrangements(self, log: str) -> int:
        """How often a server's log says that experts were moved."""
        return len(re.findall(self.rearranged, log)) - len(re.findall(self.kept, log))


def flag_arguments(flags: Mapping[str, FlagValue]) -> list[str]:
    """Typed flag values as an argument list: the only place where a value becomes text."""
    arguments: list[str] = []
    for name, value in flags.items():
        flag = f"--{name}"
        match value:
            case True:
                arguments.append(flag)
            case False:
                arguments.append(f"--no-{name}")
            case dict():
                arguments += [flag, json.dumps(value, separators=(",", ":"), sort_keys=True)]
            case list():
                arguments += [flag, *map(str, value)]
            case _:
                arguments += [flag, str(value)]
    return arguments


def shell_line(server: Server) -> str:
    """The server as a line to paste into a shell, in a folder where its links are."""
    assignments = [f"{name}={value}" for name, value in sorted(server.env.items())]
    return shlex.join([*(["env", *assignments] if assignments else []), *server.argv])


def numbered(role: str, count: int) -> list[str]:
    """Server names of a role: the role itself if there is one server, else ``role-0``, ``role-1``, …"""
    return [role] if count == 1 else [f"{role}-{index}" for index in range(count)]
