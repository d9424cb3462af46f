"""What the cases ask of an engine, taken from the servers that its module makes of them: no list beside."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from harness.base.domain import Platform, Server
from harness.cases.model import Case
from harness.engines.engine import EngineSpec
from harness.plan.points import Planned
from harness.plan.show import servers

Kind = Literal["module", "option", "variable", "key", "metric", "setting", "path", "log line"]
Program = Literal["engine", "router"]
_SHORTEST = 8  # letters of a pattern that say enough to be looked for
_METACHARACTERS = re.compile(r"\(\?[=!<][^)]*\)+|\\[a-zA-Z]|[\\\[\](){}.*+?^$|]")


@dataclass(frozen=True, order=True)
class Asked:
    """One thing that a server must know.

    Attributes:
        program: Of whom it is asked.
        kind: What it is.
        name: As it is given or read: ``--dtype``, ``VLLM_X``, ``method``, ``vllm:x_total``.
        value: That it is given; empty for a switch, and for what is only read.
        owner: Of a key: the option that it is a key of, with what lies between; else empty.
        connector: Of a key: whose own settings it is among, if any.
    """

    program: Program
    kind: Kind
    name: str
    value: str = ""
    owner: str = ""
    connector: str = ""

    def named(self, *, with_value: bool = False) -> str:
        """As people write it."""
        value = self.value if with_value else ""
        match self.kind:
            case "module":
                return f"python -m {self.name}"
            case "key":
                of = f" of {self.connector}" if self.connector and self.name != "kv_connector" else ""
                return f"{self.owner}.{self.name}{of}" + (f" = {value}" if value else "")
            case "variable":
                return f"{self.name}={value}" if value else self.name
            case "option":
                return f"{self.name} {value}".rstrip()
        return f"{self.kind} {self.name}"


Uses = dict[Asked, set[tuple[str, Platform]]]
"""What is asked, and by which cases on which platforms; by none: by the engine's module itself, of every server."""


def running(planned: Iterable[Planned], engine: str) -> list[Planned]:
    """The points of an engine that their cases do not exclude. That a model is not pinned yet changes no flag."""
    return [
        each
        for each in planned
        if each.case.engine.name == engine and not each.case_file.matrix(each.platform).excluded(each.variant)
    ]


def started(each: Planned, variable: Callable[[Platform], str]) -> list[Server]:
    """The servers of a point, as its engine's module makes them.

    Args:
        each: The point.
        variable: The visible-devices variable of a platform; empty for a platform without devices.
    """
    return servers(each.case, variable(each.platform))


def of_server(server: Server) -> Iterator[Asked]:
    """What one server is asked by its command line, its environment and its probes."""
    program: Program = "router" if server.role == "router" else "engine"
    argv = list(server.argv)
    if "-m" in argv[:2]:
        yield Asked(program, "module", argv[argv.index("-m") + 1])
    option = ""
    for position, part in enumerate(argv):
        if part.startswith("--"):
            option = part
            following = argv[position + 1 : position + 2]
            if not following or following[0].startswith("--"):
                yield Asked(program, "option", option)
        elif option:
            table = _table(part)
            yield Asked(program, "option", option, "" if table is not None else part)
            if table is not None:
                yield from _keys(program, option, table)
    for name in (*server.env, *server.pass_env):
        yield Asked(program, "variable", name, server.env.get(name, ""))
    for probe in server.probes:
        if probe.path:
            yield Asked(program, "path", probe.path)


def _table(text: str) -> dict[str, Any] | None:
    if text.startswith("{"):
        with suppress(ValueError):
            found = json.loads(text)
            return found if isinstance(found, dict) else None
    return None


def _keys(program: Program, owner: str, table: Mapping[str, Any], connector: str = "") -> Iterator[Asked]:
    """Every key of a table. What a connector has for itself, a table named ``…extra_config``, is that connector's."""
    chosen = str(table.get("kv_connector", connector))
    for name, value in table.items():
        plain = isinstance(value, str | int | float) and not isinstance(value, bool)
        yield Asked(program, "key", name, str(value) if plain else "", owner, chosen)
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict):
                nested = "kv_connector" in inner
                yield from _keys(program, owner.partition(".")[0] if nested else f"{owner}.{name}", inner, chosen)


def of_case(case: Case, engine: EngineSpec) -> Iterator[Asked]:
    """What a case reads of the configuration that servers say is in force."""
    check = getattr(case.checks, "server_config", None)
    for path in (*check.equal, *check.not_equal) if check and engine.info else ():
        yield Asked("engine", "setting", path)


def of_engine(engine: EngineSpec) -> Iterator[Asked]:
    """What an engine's module reads of every server."""
    for sample in dict.fromkeys([*(each.sample for each in (*engine.metrics, *engine.inside.gauges)), *engine.moving]):
        yield Asked("engine", "metric", sample)
    for path in filter(None, (engine.reset, engine.info)):
        yield Asked("engine", "path", path.partition("?")[0])
    for line in dict.fromkeys(line for read in engine.events.values() for line in log_lines(read)):
        yield Asked("engine", "log line", line)
    for line in engine.echoes:
        yield Asked("engine", "log line", line)


def log_lines(read: Callable[[str], int]) -> list[str]:
    """The texts and patterns that a function looks for in a log: the constants of its code."""
    code = getattr(read, "__code__", None)
    found = [each for each in getattr(code, "co_consts", ()) if isinstance(each, str) and each != read.__doc__]
    return [each for each in found if len(each) >= _SHORTEST]


def literal_part(pattern: str) -> str:
    """The longest run of a pattern that stands for itself."""
    return max((each.strip() for each in _METACHARACTERS.split(pattern)), key=len, default="")


def everything(planned: Iterable[Planned], engine: EngineSpec, shown: Callable[[Planned], Iterable[Server]]) -> Uses:
    """All that an engine is asked.

    Args:
        planned: Points of this engine.
        engine: Its module's data.
        shown: The servers of a point, as the build spells them.
    """
    found: Uses = {asked: set() for asked in of_engine(engine)}
    for each in planned:
        use = (each.case_file.id, each.platform)
        for asked in (*(one for server in shown(each) for one in of_server(server)), *of_case(each.case, engine)):
            found.setdefault(asked, set()).add(use)
    return found
