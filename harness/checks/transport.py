"""Over what did KV caches travel? Over TCP they arrive too, only later: neither bytes nor answers would tell.

UCX says it, if ``UCX_PROTO_INFO=y`` is in ``[serve.env]``: once two sides are connected and it has chosen how to move
memory of a kind between them, it writes a table of what it does with messages of which size (seen with UCX 1.23 of
nixl 1.5.1; `src/ucp/proto/proto_debug.c` of UCX). Read here are those of reading or writing remote memory of another
process, and of these what goes for the largest messages, as blocks of a KV cache are. UCX writes to standard output,
whose buffer is lost with a process that is killed, as vLLM's engine process is; ``UCX_LOG_FILE=stderr`` has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import Evidence
from harness.base.settings import Origin, Strict
from harness.checks import check
from harness.checks.check import Check

_NAME = "transport"
_SAYS = "UCX_PROTO_INFO=y and UCX_LOG_FILE=stderr"
Operation = Literal["read", "write"]
_LINE = re.compile(r"\[(\d+\.\d+)\] \[([^\]]+)\]\s+\|(.*)\|\s*$", re.MULTILINE)
_PEER = re.compile(r"\b(self|intra-node|inter-node) cfg#\d+")
_MOVES = re.compile(r"remote memory (read|write) by ucp_(?:get|put)")
_LARGEST = re.compile(r"\d+\.\.inf")
_WAY = re.compile(r"\b[a-z][a-z0-9_]*/[^\s|]*")


class TransportSettings(Strict):
    """``[checks.transport]``."""

    over: list[Annotated[str, StringConstraints(min_length=1)]] = Field(
        min_length=1,
        description="Transports, by UCX's names or patterns of them, over which KV caches may travel between servers: "
        "`cuda_ipc`, `rc_*`, `cma`. Any other one is wrong.",
    )
    operation: Operation = Field(
        "read", description="Whether whoever needs a KV cache reads it from the other side, or is written to."
    )
    origin: Origin


@dataclass(frozen=True)
class Chosen:
    """What UCX does with the largest messages between two processes.

    Attributes:
        operation: Whether it reads or writes memory of the other process.
        between: As UCX says it: ``intra-node`` or ``inter-node``, and the kinds of memory.
        how: ``zero-copy``, or ``software emulation`` where the transport can do no such thing.
        ways: Transports with their devices, as ``tcp/eth0``; several where it uses several at once.
    """

    operation: Operation
    between: str
    how: str
    ways: tuple[str, ...]

    @property
    def transports(self) -> tuple[str, ...]:
        """Names, without their devices."""
        return tuple(dict.fromkeys(each.partition("/")[0] for each in self.ways))

    def words(self) -> str:
        """In a few."""
        return f"{', '.join(self.ways) or 'nothing known'} ({self.how}, {self.between})"


def chosen(log: str) -> Iterator[Chosen]:
    """What a log says, table by table, but for what a process does with its own memory.

    Threads write at once; lines of one table have one time and one thread.
    """
    tables: dict[tuple[str, str], list[str]] = {}
    for at, thread, text in _LINE.findall(log):
        tables.setdefault((at, thread), []).append(text)
    for lines in tables.values():
        yield from _read(lines)


def _read(lines: Sequence[str]) -> Iterator[Chosen]:
    """Tables that one thread wrote at one moment: a peer, an operation, and a row for each range of sizes."""
    peer, moves, operation = "", "", ""
    for line in lines:
        cells = [each.strip() for each in line.split("|")]
        if found := _PEER.search(line):
            peer, moves, operation = found[1], "", ""
        elif len(cells) == 1:
            found = _MOVES.search(line)
            operation, moves = (found[1], cells[0].partition(" into ")[2]) if found else ("", "")
            moves = moves or cells[0].partition(" from ")[2]
        elif operation and peer not in ("", "self") and len(cells) == 3 and _LARGEST.search(cells[0]):
            kind: Operation = "read" if operation == "read" else "write"
            yield Chosen(kind, f"{peer}, {moves}", cells[1], tuple(dict.fromkeys(_WAY.findall(cells[2]))))


def judge(settings: TransportSettings, evidence: Evidence) -> list[CheckResult]:
    """One result, ``transport``: how many of the tables of all servers have transports that are allowed."""
    found = [
        (server, each)
        for server, log in evidence.logs.items()
        for each in chosen(log)
        if each.operation == settings.operation
    ]
    if not found:
        how = "read" if settings.operation == "read" else "written"
        why = f"no server's log says how memory of another one is {how}; set {_SAYS} in serve.env"
        return [check.unmeasured(_NAME, why)]
    wrong = [f"{server}: {each.words()}" for server, each in found if not _allowed(each, settings.over)]
    return [
        CheckResult(
            name=_NAME,
            outcome=Outcome.FAIL if wrong else Outcome.PASS,
            measured=len(found) - len(wrong),
            expected=len(found),
            low=len(found),
            n=len(found),
            unit="choices",
            direction="at-least",
            message=f"{check.first(wrong)}; allowed are {', '.join(settings.over)}" if wrong else "",
            details="\n".join(f"{server}: {each.words()}" for server, each in found),
        )
    ]


def _allowed(each: Chosen, over: Sequence[str]) -> bool:
    return bool(each.transports) and all(any(fnmatchcase(name, one) for one in over) for name in each.transports)


CHECK = Check(
    name=_NAME,
    about="Transports over which UCX moved KV caches between servers.",
    settings=TransportSettings,
    judge=judge,
    reads=frozenset({"logs"}),
    problem=check.lacking("transfers", "the engine moves no KV caches over NIXL"),
)
