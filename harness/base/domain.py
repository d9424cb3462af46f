"""The vocabulary as types: frozen, serialisable, without behaviour beyond arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, get_args

from harness.base.errors import Fault
from harness.base.questions import Item as Item  # noqa: PLC0414 # part of the vocabulary
from harness.base.questions import Prime as Prime  # noqa: PLC0414 # the same

Platform = Literal["cpu", "cuda", "rocm"]
"""What a case runs on; what each of them is, ``harness.devices`` knows."""

PLATFORMS: tuple[Platform, ...] = get_args(Platform)

LOOPBACK = "127.0.0.1"
"""Where servers on this host listen."""


class Outcome(StrEnum):
    """How a check, a stage or a case ended."""

    PASS = "pass"  # noqa: S105 # no password
    FAIL = "fail"
    """Judged, and false."""
    ERROR = "error"
    """Could not be judged."""
    SKIPPED = "skipped"
    """Deliberately not run, with a reason."""
    MEASURED = "measured"
    """Observed and recorded; nothing was compared."""
    INCONCLUSIVE = "inconclusive"
    """Everything was asked that may be, and what came back decides neither way."""


class Stage(StrEnum):
    """The steps of one case, in order."""

    PREPARE = "prepare"
    SERVE = "serve"
    HEALTH_WAIT = "health-wait"
    EVAL = "eval"
    ASSERT = "assert"
    STOP = "stop"


@dataclass(frozen=True)
class Device:
    """One accelerator, or the slice of one that counts as a device.

    Attributes:
        name: As a visible-devices variable names it on this host: an index, or a UUID where the environment gave one.
        uuid: Unique on the host, and the same for every process on it: ``GPU-…``, ``MIG-…``; of AMD, the PCI address.
        product: As the driver calls it; empty where nobody says.
        memory_bytes: Total; 0 where nobody says.
        nodes: Device nodes of its own, which a container needs: of AMD, its render node.
        whole: UUID of the accelerator that a slice is cut from; empty for a whole one.
        aliases: Other ids that a visible-devices variable may name it by: of a slice ``MIG-GPU-…/1/0``, the form of
            older drivers; of AMD ``GPU-`` and its unique id in hexadecimal digits.
        architecture: Compute capability (``9.0``), or of AMD the name (``gfx942``); empty where nobody says.
    """

    name: str
    uuid: str
    product: str = ""
    memory_bytes: int = 0
    nodes: tuple[str, ...] = ()
    whole: str = ""
    aliases: tuple[str, ...] = ()
    architecture: str = ""


@dataclass(frozen=True)
class Tenant:
    """A process with memory of a device.

    Attributes:
        pid: On the host; 0 of one that has no number here, because it is in another process namespace.
        memory_bytes: Of the device; 0 where the driver does not say.
    """

    pid: int
    memory_bytes: int = 0


@dataclass(frozen=True)
class Usage:
    """What a device is used for at one moment, as far as anybody says.

    Attributes:
        memory_bytes, tenants: In use, and by which processes; None where nobody says.
        unknown: Why something is not known, in the words of whoever was asked; empty if everything is.
    """

    memory_bytes: int | None
    tenants: tuple[Tenant, ...] | None = ()
    unknown: str = ""


@dataclass(frozen=True)
class Probe:
    """One question asked of a starting server on every tick.

    Attributes:
        kind: ``http``: GET answers 200. ``zmtp``: a ZeroMQ socket on the port sends its greeting.
        path: Path of the GET; empty for ``zmtp``.
        port: TCP port of ``host``.
        what: Whose answer that is, for people: ``/health``, ``KV side channel``.
        at: Base URL of a server that somebody else runs; empty for ours.
        host: Address on which a server of ours listens.
    """

    kind: Literal["http", "zmtp"]
    port: int
    what: str
    path: str = ""
    at: str = ""
    host: str = LOOPBACK

    @property
    def url(self) -> str:
        return f"{self.at or f'http://{self.host}:{self.port}'}{self.path}"


@dataclass(frozen=True)
class Server:
    """One process to start: an engine server or a router.

    Attributes:
        name: Unique in the case; names its log and its metrics.
        role: ``server``, ``prefill``, ``decode`` or ``router``.
        argv: Program and arguments.
        env: What its environment has on top of the harness's allow-list.
        pass_env: Names of the caller's variables that it gets too; their values are not on record.
        links: Names in its working directory and the directories that they point to.
        ports: Every port it was given, by use.
        probes: What must answer before it counts as up.
        has_metrics: Whether ``/metrics`` on its HTTP port holds engine counters.
        at: Base URL of a server that somebody else runs, with neither command nor port of ours; empty for ours.
        host: Address on which a server of ours listens: on this host the loopback, on another one that host's.
    """

    name: str
    role: str
    argv: tuple[str, ...]
    ports: Mapping[str, int]
    probes: tuple[Probe, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    pass_env: tuple[str, ...] = ()
    has_metrics: bool = False
    at: str = ""
    host: str = LOOPBACK

    @property
    def url(self) -> str:
        return self.at or f"http://{self.host}:{self.ports['http']}"

    @property
    def is_elsewhere(self) -> bool:
        """Whether it runs on another host, so that nothing of its processes can be seen from here."""
        return bool(self.at) or self.host != LOOPBACK


@dataclass(frozen=True)
class Sample:
    """What came back for one item; one line of ``samples.jsonl``.

    Attributes:
        run: ``main``, the name of a control or a comparison, or ``prime_ROLE`` for what went ahead of an item.
        status: HTTP status, 0 when there was no response.
        error: Why there is no usable response; empty when there is one.
        started: Seconds since the evaluation began.
        seconds: Time the request was in flight.
        prompt_tokens, completion_tokens: As the server counted them; None where it says no such thing.
        finish_reason: Why the engine ended the answer, as it says; empty without a response.
        reasoning: What the model thought before it answered, where the server or the text keeps it apart.
    """

    run: str
    item: str
    status: int
    error: str
    text: str
    prompt_tokens: int | None
    completion_tokens: int | None
    started: float
    seconds: float
    finish_reason: str = ""
    expected: str | None = None
    expected_text: str | None = None
    expected_prompt_tokens: int | None = None
    reasoning: str = ""
    expected_completion_tokens: int | None = None
    expected_finish_reason: str | None = None


Number = int | float  # a count stays whole where it is written down
Value = bool | Number | str
Direction = Literal["two-sided", "at-least", "at-most", "equal", "not-equal"]


@dataclass(frozen=True)
class CheckResult:
    """One line of the verdict; one testcase of the JUnit file.

    Attributes:
        name: Unique in the case.
        measured: What was observed: a number, or numbers by name; of a configuration also a text or a switch; or None.
        expected: The same of what was expected.
        low, high: The least and the most that passes, by name where ``measured`` is; None without such a bound.
        n: Number of observations behind ``measured``; 0 where counting makes no sense.
        unit, direction: Of the numbers (``share``, ``tokens per draft``); which side of ``expected`` is judged, if any.
        message: One line; why, unless the numbers say it. Of a pass what it does not speak of.
        details: More lines: the root cause, the items that flipped.
        interval: The 95 % interval of ``measured``, over what ``interval_of`` names: ``items``, ``groups of requests``.
        detects: The least loss that the bound sees 95 times of 100, in the unit of ``measured``.
        false_alarm, status: How often an equal run is red, where the baseline says so; what it is if it is none that
            gates by a measurement.
        fault: As of :class:`StageRecord`.
        margin, power: The loss that must not pass, in the unit of ``measured``, and how often it does not.
        look, looks: After which of how many looks at the answers it was decided, where there are several.
    """

    name: str
    outcome: Outcome
    measured: Value | Mapping[str, Value] | None = None
    expected: Value | Mapping[str, Value] | None = None
    low: Number | Mapping[str, Number] | None = None
    high: Number | Mapping[str, Number] | None = None
    n: int = 0
    unit: str = ""
    direction: Direction | Literal[""] = ""
    message: str = ""
    details: str = ""
    interval: tuple[float, float] | None = None
    interval_of: str = ""
    detects: float | None = None
    false_alarm: float | None = None
    status: str = ""
    fault: Fault = ""
    margin: float | None = None
    power: float | None = None
    look: int = 0
    looks: int = 0


@dataclass(frozen=True)
class StageRecord:
    """How one stage of a run ended.

    Attributes:
        seconds: That it took.
        message, details: Why, unless it passed: one line, and more.
        interrupted: A signal ended it.
        fault: Whose it is that it broke, where that is known.
    """

    stage: Stage
    outcome: Outcome
    seconds: float
    message: str = ""
    details: str = ""
    interrupted: bool = False
    fault: Fault = ""
