"""A case, resolved for one platform. Field descriptions are the reference: the JSON Schema is made from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from harness.base import plugins
from harness.base.device_architectures import WANTED
from harness.base.domain import Platform
from harness.base.settings import Like, Name, Seconds, Strict
from harness.cases.container_settings import Container
from harness.cases.serve_settings import Model, Serve
from harness.checks import CHECKS, Checks
from harness.checks.accuracy import AccuracySettings
from harness.checks.parity import ComparisonSettings
from harness.protocols import Evaluation
from harness.protocols.protocol import Destination

Role = Literal["server", "prefill", "decode"]
if TYPE_CHECKING:
    EngineName = str
else:
    EngineName = Literal[plugins.names("harness.engines")]
_SOURCES = frozenset({"known_answer", "published", "repo", "path", "served"})
"""Keys of a model that say where it is from. Two of them merged would be no model."""
_TWIN = r"|[a-z0-9_]+/[a-z0-9_]+|none: .{10,}"


class SuiteTable(Strict):
    """``_suite.toml`` of a suite's folder; its ``[defaults]`` are a layer below every case of the suite."""

    title: str = Field("", description="What the suite shows, in one line: what `nox -l` says.")
    menu: bool = Field(
        True,
        description="Whether sessions run the suite. false: none could, because its cases are attached to servers that "
        "run already, or judge nothing; `harness check` proves that.",
    )
    paths: list[str] = Field(
        [],
        description="Folders and files of the engine's sources whose change should run the suite, besides those that "
        "every suite of the engine is about.",
    )
    upstream_steps: list[str] = Field(
        [],
        description="Steps of the engine's own CI that the suite stands for, by key or label, with `*` and `?`: every "
        "source that they are about is to be in `paths`.",
    )
    upstream_tests: list[str] = Field(
        [],
        description="Files, and folders with a slash at the end, of the engine's own tests whose figures the suite "
        "keeps up with; with `*` and `?`. What is new there, `harness upstream` says.",
    )


class Engine(Strict):
    """``[engine]``."""

    name: EngineName = Field(description="The engine under test.")


class Topology(Strict):
    """``[topology]``."""

    kind: Literal["single", "disagg"] = Field(description="One server, or prefill and decode behind a router.")
    prefill: int = Field(ge=1, le=64, description="Prefill servers, where the kind is disagg.")
    decode: int = Field(ge=1, le=64, description="Decode servers, where the kind is disagg.")
    spread: Literal["", "hosts"] = Field(
        "",
        description="hosts: prefill servers on one host, decode servers on another, so that KV caches cross a network; "
        "the router is where the harness is. Empty: all on one host.",
    )

    @property
    def roles(self) -> dict[Role, int]:
        """Roles and the number of servers of each."""
        return {"server": 1} if self.kind == "single" else {"prefill": self.prefill, "decode": self.decode}


class Timeouts(Strict):
    """``[timeouts]``, in seconds."""

    start: Seconds = Field(description="From the start of the servers until a first token came back end to end.")
    request: Seconds = Field(description="For one request, queueing in the engine included.")
    evaluation: Seconds = Field(
        3600.0, description="For all requests and all readings of counters together, however slowly they go on."
    )
    stop: Seconds = Field(description="From SIGTERM until SIGKILL.")


class Control(AccuracySettings):
    """``[controls.NAME]``: the same questions sent elsewhere, where they must score something else."""

    send_to: Destination = Field(description="Where this control's requests go.")


class Comparison(ComparisonSettings):
    """``[comparisons.NAME]``: the same questions sent elsewhere, where the texts must be those of the main run.

    Sent past the router, one server does prefill and decode itself: that is the stand-alone answer.
    """

    send_to: Destination = Field(
        description="Where this comparison's requests go. `decode` compares with a stand-alone answer only if nothing "
        "there still holds the KV cache that the main run transferred: prefix caching off and no connector that "
        "stores. `prefill` computed every block it may find in its cache itself, so it may go there with both."
    )


class Case(Strict):
    """A whole case file."""

    title: str = Field(min_length=10, description="What the case shows, in one line.")
    platforms: list[Platform] = Field(min_length=1, description="Where the case runs.")
    expected_seconds: int = Field(
        ge=1,
        le=7 * 24 * 3600,
        description="From start to verdict with everything installed: for planning, never judged.",
    )
    device_memory_gib: int = Field(
        0, ge=0, le=65536, description="Memory that each accelerator must have, in GiB; 0: whatever there is."
    )
    device_share_gib: int = Field(
        0,
        ge=0,
        le=65536,
        description="Memory of its accelerator that a server is content with, in GiB, weights, KV cache and the rest "
        "together: servers of one accelerator share one with others then, also with those of their own case. 0: a "
        "server has its accelerators to itself.",
    )
    device_architectures: list[Annotated[str, Like(WANTED, "9.0, >=10.0 or gfx942")]] = Field(
        [],
        description="What each accelerator must be, any of these: a compute capability, one from which on all will do "
        "(`>=8.9`), or AMD's name. Empty: whatever there is.",
    )
    cpu_twin: Annotated[str, Like(_TWIN, "eagle3/known_answer, or `none: ` and why in 10 characters or more")] = Field(
        "",
        description="Of a case that does not run on a CPU: the one that does and shows the same kind, or `none: ` and "
        "why a CPU cannot show it.",
    )
    measure_only: bool = Field(
        False,
        description="The case has no baseline: everything is recorded, nothing is judged, and it runs only with "
        "`harness run --measure-only`, which says the same of any case.",
    )
    engine: Engine
    topology: Topology
    serve: Serve
    roles: dict[Role, dict[str, Any]] = Field(description="What differs from [serve] for one role.")
    container: Container = Field(Container(), description="What the container has, where the case runs in one.")
    timeouts: Timeouts
    evaluation: Evaluation = Field(description="What is asked; its keys depend on the protocol.")
    controls: dict[Name, Control] = Field(description="Negative controls: the same questions, another way.")
    comparisons: dict[Name, Comparison] = Field(
        description="The same questions, another way, where the same texts must come back."
    )
    checks: Checks

    def serve_of(self, role: Role) -> Serve:
        """``[serve]`` with what ``[roles.ROLE]`` changes."""
        return Serve.model_validate(merge(self.serve.model_dump(exclude_none=True), self.roles.get(role, {})))

    @property
    def pass_env(self) -> list[str]:
        """Names of the caller's variables that some server gets, each once."""
        return list(dict.fromkeys(name for role in self.topology.roles for name in self.serve_of(role).pass_env))

    def models(self) -> list[Model]:
        """Every model the case loads, each once."""
        found: dict[str, Model] = {}
        for role in self.topology.roles:
            serve = self.serve_of(role)
            drafter = serve.speculation.model if serve.speculation else None
            for model in (serve.model, drafter):
                if model:
                    found[model.name] = model
        return list(found.values())

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.topology.spread and self.topology.kind == "single":
            raise ValueError("topology.spread: a single topology has one server; needs topology.kind = 'disagg'")
        unknown = set(self.roles) - set(self.topology.roles)
        if unknown:
            raise ValueError(f"roles: {min(unknown)!r} is no role of a {self.topology.kind} topology")
        final = self.serve_of("decode" if self.topology.kind == "disagg" else "server")
        checks = self.checks
        positions = checks.acceptance_per_position
        if positions and final.speculation and len(positions.expected) != final.speculation.drafted:
            raise ValueError("checks.acceptance_per_position: expected needs one share per speculative token")
        by_name = {name: getattr(checks, name) for name in ("accuracy", "parity")}
        for name in ("acceptance_length", "acceptance_per_position"):
            baseline = getattr(checks, name)
            by_name[name] = baseline if baseline and baseline.counts == "items" else None
        for name, baseline in ((f"checks.{name}", baseline) for name, baseline in by_name.items()):
            if baseline and baseline.n != self.evaluation.items:
                raise ValueError(f"{name}: n is {baseline.n}, the evaluation asks {self.evaluation.items} items")
        if self.topology.kind == "single" and self.evaluation.send_to != "entry":
            raise ValueError("evaluation.send_to: a single topology has only its entry")
        return self

    @model_validator(mode="after")
    def _decidable(self) -> Self:
        """Looks are for answers that nobody knows, to one question after the other, of one server."""
        if not self.evaluation.looks:
            return self
        if self.is_known:
            raise ValueError("evaluation.looks: every answer is known beforehand; leave it out")
        for key, there in (("topology.kind: disagg", self.topology.kind == "disagg"), ("controls", self.controls)):
            if there:
                raise ValueError(f"evaluation.looks: not with {key}, which needs all items; leave it out")
        return self

    @property
    def is_known(self) -> bool:
        """Whether all its models are ours, of which everything is computed beforehand."""
        return all(model.known_answer for model in self.models())

    @property
    def without_baseline(self) -> tuple[str, ...]:
        """Checks that the case needs and has no table of: what they would judge is measured, and nothing is green."""
        final = self.serve_of("decode" if self.topology.kind == "disagg" else "server")
        if final.speculation and "acceptance_length" not in self._judged_by:
            return ("acceptance_length",)
        return () if self._compares else ("accuracy",)

    @property
    def _judged_by(self) -> set[str]:
        """Checks that the case has, and those that they stand for."""
        return {each for name in self.checks.configured() for each in (name, *CHECKS[name].stands_for)}

    @property
    def _compares(self) -> bool:
        return bool(self._judged_by & {"accuracy", "acceptance_length"} or self.comparisons)

    @model_validator(mode="after")
    def _judged(self) -> Self:
        if self.measure_only:
            return self
        # Of a published model nobody knows the numbers before it has run; of ours they are computed.
        if self.without_baseline and self.is_known:
            if self._compares:
                raise ValueError("checks: speculation is configured; add [checks.acceptance_length] with its origin")
            raise ValueError(
                "checks: a case without a baseline proves nothing; add [checks.accuracy] with its origin, or measure "
                "it only (measure_only, --measure-only)"
            )
        if self.topology.kind == "disagg" and self.checks.kv_transfer is None:
            raise ValueError("checks: prefill and decode are apart; add [checks.kv_transfer] with its origin")
        return self

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        for name, comparison in self.comparisons.items():
            where, items = f"comparisons.{name}", self.evaluation.items
            if comparison.n != items:
                raise ValueError(f"{where}: n is {comparison.n}, the evaluation asks {items} items")
            if comparison.send_to == self.evaluation.send_to:
                raise ValueError(f"{where}.send_to: the main run goes there too; name another destination")
            if self.topology.kind == "single":
                raise ValueError(f"{where}: a single topology has only its entry, nothing to compare with")
        runs = ["main", "prime_prefill", "prime_decode", *self.controls, *self.comparisons]
        twice = [name for name in runs if runs.count(name) > 1]
        if twice:
            raise ValueError(f"comparisons: {twice[0]!r} is the name of another run, or of a control; choose another")
        return self


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the tables of ``over`` laid over it; anything that is no table replaces, and so does a model."""
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict) and _SOURCES.isdisjoint(value)
        result[key] = merge(result[key], value) if both else value
    return result
