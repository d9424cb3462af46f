"""What an engine module provides, and helpers that all of them share."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType

from harness.base.domain import Probe, Server
from harness.base.evidence import Acceptance, KvLedger, KvTransfers, Offer, Unmeasured, Verifications
from harness.base.settings import FlagValue
from harness.cases.model import Case, Role
from harness.cases.serve_settings import Serve
from harness.engines import case_keys, device_sharing
from harness.engines.capabilities import Rename
from harness.engines.case_keys import Keys
from harness.engines.device_sharing import Sharing
from harness.engines.inside import Inside
from harness.engines.metrics import Counters, Metric
from harness.engines.place import Place as Place  # noqa: PLC0414 # part of what engine modules are written in
from harness.engines.sights import Asked, Sight, flattened


@dataclass(frozen=True)
class Library:
    """A Python module that a setting needs, and that an engine does not always bring.

    Attributes:
        setting: Its name, as in :class:`~harness.engines.sights.Sight`.
        value: The value that needs it, in small letters; ``*`` stands for anything.
        module: Its name at the top.
        required: Whether the engine's own requirements bring it, so that it lacks only where somebody left it out.
    """

    setting: str
    value: str
    module: str
    required: bool = False


def _no_speculation(_counted: Counters) -> Unmeasured:
    return Unmeasured("the engine's module does not say how drafts are counted")


def _no_transfers(_counted: Counters, _deltas: Mapping[str, Counters]) -> Unmeasured:
    return Unmeasured("the engine's module does not say how transfers are counted")


def _asked(case: Case, role: Role) -> Asked:
    serve = case.serve_of(role)
    return {**flattened(serve.flags), **serve.env}


def _no_router(_place: Place, _behind: list[Server]) -> Server:
    raise NotImplementedError


@dataclass(frozen=True)
class EngineSpec:
    """An engine as data and a few functions. What has a default is only for engines that have it.

    Attributes:
        name: As cases name it.
        distributions: Python distributions whose versions are recorded; of alternatives the installed one counts. The
            engine's own begin with its name.
        server: One server of a role, by that name. Its command is its own. None of an engine that somebody else starts:
            its cases are attached to a server that runs already.
        devices: Accelerators that one server takes.
        router: What stands before the servers of a disaggregated topology.
        command: What its users type to start a server, as ``("vllm", "serve")``: a console script, and words for it.
        helps: Options that make this command list its options, the fullest list first.
        help_ends: Where, in what it prints then, the help of another command begins; empty if there is none.
        serves: Module that this command imports to serve, for the canary to import; empty: none.
        module: What its server is run as where a build lacks the command; empty if there is no such way.
        router_module: The same of its router.
        sources: Folder that holds its sources in its repository.
        paths: Folders and files of them that every suite of the engine is about: how a server is started and stopped,
            what it knows of its platform, how requests come in and are planned.
        speculation: Keys of ``[serve.speculation]`` by method.
        kv_connectors: Keys of ``[serve.kv_transfer]`` by connector.
        metrics: The counters it exports on ``/metrics``; without any, nobody asks its servers for them.
        counts: What these counters say, in the terms of checks.
        acceptance: From the counters of the servers that answer to how much was accepted.
        kv_transfer: From the counters of the servers that answer, and those of every server, to what moved.
        moving: Samples of ``/metrics`` that change as long as it works on requests.
        inside: What else it shows of its state.
        events: How often a server's log tells of something, by the name that checks have for it.
        block_flag: Flag with the tokens per block (page) of the KV cache: the unit in which it is transferred.
        no_prefix_cache: Flag and value that turn prefix caching off.
        echoes: Parts of error lines that only repeat that something above went wrong.
        prefixes: What the names of its own environment variables begin with.
        probe: Program that its interpreter runs to say what its server knows, faster and with more detail than its
            help; empty: nobody asks.
        renames: What older builds spell in another way.
        reset: Path that must answer a POST with 200 before the main run; empty if there is none.
        info: Path of a JSON document with the configuration that is in force; empty if there is none.
        version_path: Path of a JSON document with its ``version``; empty if there is none.
        plain: Whether it is only asked what OpenAI's own API has, and may leave out what that has: the finish reason,
            and how many tokens there were.
        asks: What a case asks of a server of a role, by the names of ``sights``.
        sights: Where a server shows what is in force of a setting.
        unseen: Settings of our cases that nothing shows, and why not; ``*`` stands for anything.
        libraries: What settings need besides the engine.
        sharing: How a server is content with a part of its accelerator's memory; None: it never is.
        no_multicast: Environment of servers on a host whose symmetric memory is not to use NVLink multicast, as far as
            the build knows it and the case does not say otherwise.
    """

    name: str
    distributions: tuple[str, ...]
    server: Callable[[Case, Place, Role, str], Server] | None
    devices: Callable[[Serve], int]
    router: Callable[[Place, list[Server]], Server] = _no_router
    command: tuple[str, ...] = ()
    helps: tuple[str, ...] = ("--help",)
    help_ends: str = ""
    serves: str = ""
    module: str = ""
    router_module: str = ""
    sources: str = ""
    paths: tuple[str, ...] = ()
    speculation: Mapping[str, Keys] = field(default_factory=dict)
    kv_connectors: Mapping[str, Keys] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()
    counts: frozenset[Offer] = frozenset()
    acceptance: Callable[[Counters], Acceptance | Verifications | Unmeasured] = _no_speculation
    kv_transfer: Callable[[Counters, Mapping[str, Counters]], KvLedger | KvTransfers | Unmeasured] = _no_transfers
    moving: tuple[str, ...] = ()
    inside: Inside = field(default_factory=Inside)
    events: Mapping[Offer, Callable[[str], int]] = field(default_factory=dict)
    block_flag: str = ""
    no_prefix_cache: tuple[str, FlagValue] = ("", False)
    echoes: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    probe: str = ""
    renames: tuple[Rename, ...] = ()
    reset: str = ""
    info: str = ""
    version_path: str = ""
    plain: bool = False
    asks: Callable[[Case, Role], Asked] = _asked
    sights: tuple[Sight, ...] = ()
    unseen: Mapping[str, str] = field(default_factory=dict)
    libraries: tuple[Library, ...] = ()
    sharing: Sharing | None = None
    no_multicast: Mapping[str, str] = field(default_factory=dict)

    @property
    def offers(self) -> frozenset[Offer]:
        """Everything that it says of a run, in the terms of checks."""
        configuration: frozenset[Offer] = frozenset({"configuration"} if self.info else ())
        return self.counts | self.events.keys() | configuration

    def servers(self, case: Case, place: Place, others: Mapping[Role, Place] = MappingProxyType({})) -> list[Server]:
        """All servers of a case, in the order in which they are started, the router last; none of somebody else's.

        Args:
            case: The case.
            place: Where they run.
            others: Where those of these roles run instead.
        """
        start = self.server
        if start is None:
            return []
        started = [
            start(case, others.get(role, place), role, name)
            for role, count in case.topology.roles.items()
            for name in numbered(role, count)
        ]
        return [*started, self.router(place, started)] if case.topology.kind == "disagg" else started

    def build(self, versions: Mapping[str, str]) -> str:
        """Name and version of the build as people know it, from the versions by distribution; empty if it is not there.

        Its own distribution goes by its name; what it runs on, its router too, is there without it.
        """
        return next((f"{name} {versions[name]}" for name in self.own if name in versions), "")

    def version(self, versions: Mapping[str, str]) -> str:
        """Its version, as the build says it; empty if it is not there."""
        return self.build(versions).rpartition(" ")[2]

    @property
    def own(self) -> list[str]:
        """Its own distributions, of which one is installed."""
        return [name for name in self.distributions if name.startswith(self.name) and not name.endswith("router")]

    def needed(self, case: Case, *, rare: bool = False) -> dict[str, str]:
        """Libraries that the settings of a case need: module by the setting with its value.

        Args:
            case: The case.
            rare: Only those that the engine does not bring itself.
        """
        asked = {(name, str(value)) for role in case.topology.roles for name, value in self.asks(case, role).items()}
        return {
            f"{name.rpartition('.')[2]} {value}": each.module
            for name, value in sorted(asked)
            for each in self.libraries
            if fnmatchcase(name, each.setting) and fnmatchcase(value.lower(), each.value)
            if not (rare and each.required)
        }

    def problem(self, case: Case) -> str:
        """What this engine does not understand of a case, as ``key: what``; empty if nothing is."""
        if self.plain and case.evaluation.as_chat and case.evaluation.endpoint != "chat":
            return 'evaluation.endpoint: must be "chat": OpenAI\'s own API makes a prompt of a chat nowhere else'
        if self.plain and case.evaluation.TEMPLATE:
            protocol = case.evaluation.protocol
            return f"evaluation.protocol: {protocol} tells the chat template what OpenAI's own API has no word for"
        tables = {"speculation": ("method", self.speculation), "kv_transfer": ("connector", self.kv_connectors)}
        return case_keys.problem(case, self.name, tables) or device_sharing.problem(case, self.name, self.sharing)


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


def router(place: Place, module: str, arguments: list[str], ports: Mapping[str, int], ready: str) -> Server:
    """What stands before the servers of a disaggregated topology, run as a module; ``ready`` is asked on port http."""
    argv = (place.python, "-m", module, *arguments)
    probe = Probe("http", ports["http"], ready, path=ready, host=place.host)
    return Server(name="router", role="router", argv=argv, ports=dict(ports), probes=(probe,), host=place.host)


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
