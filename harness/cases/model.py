"""A case, resolved for one platform. Field descriptions are the reference: the JSON Schema is made from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from harness.base.settings import Flag, FlagValue, Like, Name, Seconds, Strict, Variable
from harness.cases.container_settings import Container
from harness.checks import Checks, accuracy, parity
from harness.protocols import Evaluation
from harness.protocols.protocol import Destination
from known_answer.names import NAMES

Platform = Literal["cpu", "cuda", "rocm"]
PLATFORMS: tuple[Platform, ...] = ("cpu", "cuda", "rocm")
Role = Literal["server", "prefill", "decode"]
UNRESOLVED = "unresolved"
_REPOSITORY = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_SOURCES = frozenset({"known_answer", "repo"})
"""Keys of a model that say where it is from. Two of them merged would be no model."""
_TWIN = r"|[a-z0-9_]+/[a-z0-9_]+|none: .{10,}"


class SuiteTable(Strict):
    """``_suite.toml`` of a suite's folder; its ``[defaults]`` are a layer below every case of the suite."""

    title: str = Field("", description="What the suite shows, in one line: what `nox -l` says.")
    paths: list[str] = Field(
        [], description="Folders and files of the engine's sources whose change should run the suite."
    )


class Engine(Strict):
    """``[engine]``."""

    name: Literal["vllm", "sglang"] = Field(description="The engine under test.")


class Topology(Strict):
    """``[topology]``."""

    kind: Literal["single", "disagg"] = Field(description="One server, or prefill and decode behind a router.")
    prefill: int = Field(ge=1, le=64, description="Prefill servers, where the kind is disagg.")
    decode: int = Field(ge=1, le=64, description="Decode servers, where the kind is disagg.")

    @property
    def roles(self) -> dict[Role, int]:
        """Roles and the number of servers of each."""
        return {"server": 1} if self.kind == "single" else {"prefill": self.prefill, "decode": self.decode}


class Model(Strict):
    """A model: a known-answer checkpoint, made on the spot, or a repository of the model hub at a pinned commit."""

    known_answer: str | None = Field(
        None, description="Name of a known-answer checkpoint: see `harness checkpoints list`."
    )
    repo: Annotated[str, Like(_REPOSITORY, "organisation/name")] | None = Field(
        None, description="Repository on the model hub."
    )
    revision: (
        Annotated[str, Like(rf"[0-9a-f]{{40}}|{UNRESOLVED}", f"a commit of 40 digits, or {UNRESOLVED}")] | None
    ) = Field(
        None,
        description="Commit of the repository. `unresolved`: not looked up yet, and until then the case cannot run.",
    )

    @property
    def name(self) -> str:
        """What the model is called in a run."""
        return self.known_answer or self.repo or ""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.known_answer is None) == (self.repo is None):
            raise ValueError("give either known_answer or repo with its revision")
        if self.known_answer is not None and self.known_answer not in NAMES:
            raise ValueError(f"no known-answer checkpoint {self.known_answer!r}; there are {', '.join(NAMES)}")
        if (self.repo is None) != (self.revision is None):
            raise ValueError("revision: a repo needs the commit it is pinned to, and nothing else has one")
        return self


class Speculation(Strict):
    """``[serve.speculation]``. Which keys a method needs, its engine says: see ``EngineSpec.speculation``."""

    method: Literal["eagle3", "draft_model", "mtp", "ngram"] = Field(description="Speculative-decoding method.")
    model: Model | None = Field(None, description="The drafter, where it is no part of the verifier.")
    num_speculative_tokens: int | None = Field(None, ge=1, le=1024, description="vLLM: drafted tokens per step (k).")
    num_steps: int | None = Field(None, ge=1, le=1024, description="SGLang: steps of the drafter per verification.")
    topk: int | None = Field(None, ge=1, le=1024, description="SGLang: branches per drafter step; 1 drafts a chain.")
    num_draft_tokens: int | None = Field(
        None,
        ge=2,
        le=1024,
        description="SGLang: tokens per verification: the nodes of the tree, the newest token included.",
    )
    prompt_lookup_min: int | None = Field(
        None, ge=1, le=1024, description="Shortest n-gram that is looked up; ngram only."
    )
    prompt_lookup_max: int | None = Field(
        None, ge=1, le=1024, description="Longest n-gram that is looked up; ngram only."
    )

    @property
    def drafted(self) -> int:
        """Tokens drafted per step; without branches, the most that can be accepted."""
        return self.num_speculative_tokens or (self.num_draft_tokens or 1) - 1


class KvTransfer(Strict):
    """``[serve.kv_transfer]``. Which keys a connector needs, its engine says: see ``EngineSpec.kv_transfer``."""

    connector: Literal["none", "NixlConnector", "MultiConnector", "mooncake", "nixl"] = Field(
        description="vLLM: NixlConnector, or a MultiConnector, which joins those of `connectors` (it loads from the "
        "first that has something, and saves to all), or none, which starts the role without. SGLang: mooncake or nixl."
    )
    connectors: list[Name] = Field(
        [], description="Connectors of the MultiConnector, in order, by the engine's own names; NixlConnector is one."
    )
    extra: dict[Name, dict[Flag, FlagValue]] = Field(
        {}, description="Settings of a connector by its name, as the engine calls them: `kv_connector_extra_config`."
    )
    buffer_device: Literal["cpu", "cuda"] | None = Field(None, description="Where the connector keeps its buffers.")
    load_failure_policy: Literal["fail", "recompute"] | None = Field(
        None, description="What a failed load does. `recompute` hides it: only `fail` proves a transfer."
    )

    @property
    def parts(self) -> list[str]:
        """The connectors that do the work, by name; empty for none."""
        return {"none": [], "MultiConnector": self.connectors}.get(self.connector, [self.connector])

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.connector == "MultiConnector" and "NixlConnector" not in self.connectors:
            raise ValueError("connectors: a MultiConnector needs NixlConnector among them, which moves the KV cache")
        unknown = set(self.extra) - set(self.parts)
        if self.connector != "none" and unknown:
            raise ValueError(f"extra: {min(unknown)!r} is none of the connectors: {', '.join(self.parts)}")
        return self


class Serve(Strict):
    """``[serve]``, and with the same keys ``[roles.ROLE]``, which wins for that role."""

    model: Model
    served_as: Name = Field(
        description="Name the engine is given for the model; the same for all roles, whatever their checkpoint.",
    )
    tensor_parallel_size: int = Field(ge=1, le=1024, description="Tensor parallel size of a server.")
    data_parallel_size: int = Field(ge=1, le=1024, description="Data parallel size of a server.")
    speculation: Speculation | None = Field(None, description="Speculative decoding; left out: none.")
    kv_transfer: KvTransfer | None = Field(None, description="KV connector; left out: none.")
    flags: dict[Flag, FlagValue] = Field(
        description="Flags of the engine by their own names. true: the bare flag; false: its --no- form; a list: "
        "repeated values; a table: JSON."
    )
    env: dict[Variable, str] = Field(description="Environment variables of the server; for a secret see pass_env.")
    pass_env: list[Variable] = Field(
        [],
        description="Variables of the caller's that the server gets too: handed to it alone, and written nowhere.",
    )

    @model_validator(mode="after")
    def _given_once(self) -> Self:
        if twice := set(self.env) & set(self.pass_env):
            raise ValueError(f"pass_env: {min(twice)!r} has a value in env; leave it out of one of them")
        return self


class Timeouts(Strict):
    """``[timeouts]``, in seconds."""

    start: Seconds = Field(description="From the start of the servers until a first token came back end to end.")
    request: Seconds = Field(description="For one request, queueing in the engine included.")
    evaluation: Seconds = Field(
        3600.0, description="For all requests and all readings of counters together, however slowly they go on."
    )
    stop: Seconds = Field(description="From SIGTERM until SIGKILL.")


class Control(accuracy.Config):
    """``[controls.NAME]``: the same questions sent elsewhere, where they must score something else."""

    send_to: Destination = Field(description="Where this control's requests go.")


class Comparison(parity.ComparisonConfig):
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
    cpu_twin: Annotated[str, Like(_TWIN, "eagle3/known_answer, or `none: ` and why in 10 characters or more")] = Field(
        "",
        description="Of a case that does not run on a CPU: the one that does and shows the same kind, or `none: ` and "
        "why a CPU cannot show it.",
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
        unknown = set(self.roles) - set(self.topology.roles)
        if unknown:
            raise ValueError(f"roles: {min(unknown)!r} is no role of a {self.topology.kind} topology")
        final = self.serve_of("decode" if self.topology.kind == "disagg" else "server")
        checks = self.checks
        if checks.accuracy is None and checks.acceptance_length is None and not self.comparisons:
            raise ValueError("checks: a case without a baseline proves nothing; add [checks.accuracy] with its origin")
        if final.speculation and checks.acceptance_length is None:
            raise ValueError("checks: speculation is configured; add [checks.acceptance_length] with its origin")
        if self.topology.kind == "disagg" and checks.kv_transfer is None:
            raise ValueError("checks: prefill and decode are apart; add [checks.kv_transfer] with its origin")
        positions = checks.acceptance_per_position
        if positions and final.speculation and len(positions.expected) != final.speculation.drafted:
            raise ValueError("checks.acceptance_per_position: expected needs one share per speculative token")
        for name, baseline in (("checks.accuracy", checks.accuracy), ("checks.parity", checks.parity)):
            if baseline and baseline.n != self.evaluation.items:
                raise ValueError(f"{name}: n is {baseline.n}, the evaluation asks {self.evaluation.items} items")
        if self.topology.kind == "single" and self.evaluation.send_to != "entry":
            raise ValueError("evaluation.send_to: a single topology has only its entry")
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
