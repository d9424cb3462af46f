"""What an engine module provides, and helpers that all of them share."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harness.base.domain import Server
from harness.base.settings import FlagValue
from harness.cases.model import Case, Role, Serve
from harness.engines.capabilities import Rename
from harness.engines.metrics import Metric


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
class Keys:
    """What a table of a case file may say, besides the key that chooses between its forms."""

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True)
class EngineSpec:
    """An engine as data and one function.

    Attributes:
        name: As cases name it.
        sources: Folder that holds its sources in its repository.
        module: What its server is run as.
        router_module: What its router is run as.
        distributions: Python distributions whose versions are recorded; of alternatives the installed one counts.
        server: One server of a role, by that name.
        router: What stands before the servers of a disaggregated topology.
        devices: Accelerators that one server takes.
        speculation: Keys of ``[serve.speculation]`` by method.
        kv_transfer: Keys of ``[serve.kv_transfer]`` by connector.
        metrics: The counters it exports.
        moving: Samples of ``/metrics`` that change as long as it works on requests.
        rearranged: Pattern of the log line that says that experts are moved, or were.
        kept: Pattern of the line that follows where moving them was not worth it.
        captured: What its log says once CUDA graphs were captured; empty if ``info`` says it.
        no_prefix_cache: Flag and value that turn prefix caching off.
        echoes: Parts of error lines that only repeat that something above went wrong.
        block_flag: Flag with the tokens per block (page) of the KV cache: the unit in which it is transferred.
        prefixes: What the names of its own environment variables begin with.
        probe: Program that its interpreter runs to say what its server knows.
        renames: What older builds spell in another way.
        reset: Path that must answer a POST with 200 before the main run; empty if there is none.
        info: Path of a JSON document with the configuration that is in force; empty if there is none.
        no_multicast: Environment of servers on a host whose symmetric memory is not to use NVLink multicast, as far as
            the build knows it and the case does not say otherwise.
    """

    name: str
    sources: str
    module: str
    router_module: str
    distributions: tuple[str, ...]
    server: Callable[[Case, Place, Role, str], Server]
    router: Callable[[Place, list[Server]], Server]
    devices: Callable[[Serve], int]
    speculation: Mapping[str, Keys]
    kv_transfer: Mapping[str, Keys]
    metrics: tuple[Metric, ...]
    moving: tuple[str, ...]
    block_flag: str
    no_prefix_cache: tuple[str, FlagValue]
    echoes: tuple[str, ...]
    prefixes: tuple[str, ...]
    probe: str
    renames: tuple[Rename, ...]
    rearranged: str
    kept: str = ""
    captured: str = ""
    reset: str = ""
    info: str = ""
    no_multicast: Mapping[str, str] = field(default_factory=dict)

    def servers(self, case: Case, place: Place) -> list[Server]:
        """All servers of a case, in the order in which they are started, the router last."""
        started = [
            self.server(case, place, role, name)
            for role, count in case.topology.roles.items()
            for name in numbered(role, count)
        ]
        return [*started, self.router(place, started)] if case.topology.kind == "disagg" else started

    def rearrangements(self, log: str) -> int:
        """How often a server's log says that experts were moved."""
        return len(re.findall(self.rearranged, log)) - (len(re.findall(self.kept, log)) if self.kept else 0)

    def build(self, versions: Mapping[str, str]) -> str:
        """Name and version of the build, as people know it, from the versions by distribution; empty without any."""
        return next((f"{name} {versions[name]}" for name in self.distributions if name in versions), "")

    def counts(self, metric: str) -> bool:
        """Whether it exports a counter under this name of ours."""
        return any(each.name == metric for each in self.metrics)

    def problem(self, case: Case) -> str:
        """What this engine does not understand of a case, as ``key: what``; empty if nothing is."""
        for role in case.topology.roles:
            serve = case.serve_of(role)
            for table, chosen_by, forms in (
                ("speculation", "method", self.speculation),
                ("kv_transfer", "connector", self.kv_transfer),
            ):
                given = getattr(serve, table)
                if given is None:
                    continue
                keys = given.model_dump(exclude_defaults=True)
                if found := _wrong_key(keys, keys.pop(chosen_by), forms, self.name):
                    return f"{_where(case, role, table)}.{found.format(key=chosen_by)}"
        return self._problem_of_checks(case)

    def _problem_of_checks(self, case: Case) -> str:
        if case.checks.server_config and not self.info:
            return f"checks.server_config: {self.name} does not say what configuration is in force"
        if case.checks.cuda_graphs and not self.captured:
            return f"checks.cuda_graphs: {self.name} says it of its configuration: use checks.server_config"
        ledger, by_source = case.checks.kv_transfer, self.counts("prompt_tokens")
        if ledger and not by_source and (ledger.local_tokens_per_request is not None or ledger.exact):
            return f"checks.kv_transfer: {self.name} does not count prompt tokens by source; leave out what bounds them"
        if ledger and by_source and ledger.local_tokens_per_request is None and not ledger.exact:
            return f"checks.kv_transfer.local_tokens_per_request: {self.name} counts prompt tokens by source; add it"
        return ""


def _wrong_key(keys: Mapping[str, object], form: str, forms: Mapping[str, Keys], engine: str) -> str:
    """The first key that is missing or too much, with ``{key}`` for the name of the key that chooses the form."""
    if form not in forms:
        return f"{{key}}: {engine} has no {form!r}; it has {', '.join(forms)}"
    known = (*forms[form].needed, *forms[form].optional)
    for name in keys:
        if name not in known:
            return f"{name}: {form} on {engine} does not know it; known: {', '.join(known) or 'none'}"
    for name in forms[form].needed:
        if name not in keys:
            return f"{name}: {form} on {engine} needs it; add it to the case file"
    return ""


def _where(case: Case, role: Role, table: str) -> str:
    return f"roles.{role}.{table}" if table in case.roles.get(role, {}) else f"serve.{table}"


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
    """The server as a line to paste into a shell, in a folder where its links are.

    What it gets of the caller's environment is a reference, set by the shell itself: an argument of `env` could be read
    by everybody on the host.
    """
    assignments = [f"{name}={value}" for name, value in sorted(server.env.items())]
    passed = [f'{name}="${name}"' for name in server.pass_env]
    return " ".join([*passed, shlex.join([*(["env", *assignments] if assignments else []), *server.argv])])


def numbered(role: str, count: int) -> list[str]:
    """Server names of a role: the role itself if there is one server, else ``role-0``, ``role-1``, …"""
    return [role] if count == 1 else [f"{role}-{index}" for index in range(count)]
