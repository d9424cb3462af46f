"""``[serve]`` and ``[roles.ROLE]``: model, parallel sizes, speculation, KV connector, flags, environment."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.base.settings import Flag, FlagValue, Like, Name, Strict, Variable
from harness.published.models import MODELS as PUBLISHED
from known_answer.names import NAMES

UNRESOLVED = "unresolved"
_FOLDER = r"~?/[^\x00-\x1f\x7f]{1,1000}"
_REPOSITORY = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}"


class Model(Strict):
    """A model: a known-answer checkpoint, made on the spot, a published one that a package carries, a repository of the
    model hub at a commit, a folder, or whatever a server serves that somebody else runs.
    """

    known_answer: str | None = Field(
        None, description="Name of a known-answer checkpoint: see `harness checkpoints list`."
    )
    published: str | None = Field(
        None,
        description="Name of a published model that a package on the index carries: see `harness checkpoints list`.",
    )
    repo: Annotated[str, Like(_REPOSITORY, "organisation/name")] | None = Field(
        None, description="Repository on the model hub."
    )
    revision: (
        Annotated[str, Like(rf"[0-9a-f]{{40}}|{UNRESOLVED}", f"a commit of 40 digits, or {UNRESOLVED}")] | None
    ) = Field(
        None,
        description="Commit of the repository. `unresolved`: nobody has pinned it; the commit is "
        "taken at the first run, written down on that machine, and the result says so.",
    )
    path: Annotated[str, Like(_FOLDER, "an absolute path, or one below ~/")] | None = Field(
        None, description="Folder of a model of your own, as absolute path or below `~/`."
    )

    served: Literal[True] | None = Field(
        None,
        description="Whatever a server that runs already serves; the case can only be attached to one.",
    )

    @property
    def name(self) -> str:
        """What the model is called in a run."""
        return self.known_answer or self.published or self.repo or self.path or ("served" if self.served else "")

    @property
    def download(self) -> str:
        """How a repository is fetched, as a shell line to go on with."""
        return f"hf download {self.repo}" + ("" if self.revision == UNRESOLVED else f" --revision {self.revision}")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if [self.known_answer, self.published, self.repo, self.path, self.served].count(None) != 4:
            raise ValueError(
                "give one of known_answer, published, repo with its revision, path, and served of a server that runs"
            )
        if self.published is not None and self.published not in PUBLISHED:
            raise ValueError(f"no published model {self.published!r}; there are {', '.join(PUBLISHED)}")
        if self.known_answer is not None and self.known_answer not in NAMES:
            raise ValueError(f"no known-answer checkpoint {self.known_answer!r}; there are {', '.join(NAMES)}")
        if (self.repo is None) != (self.revision is None):
            raise ValueError("revision: a repo needs the commit it is pinned to, and nothing else has one")
        return self


class Speculation(Strict):
    """``[serve.speculation]``. Which keys a method needs, its engine says: see ``EngineSpec.speculation``."""

    method: Name = Field(
        description="vLLM: eagle3, dflash, dspark, draft_model, mtp, ngram, ngram_gpu or suffix. SGLang: eagle3 or mtp."
    )
    model: Model | None = Field(None, description="The drafter, where it is no part of the verifier.")
    num_speculative_tokens: int | None = Field(None, ge=1, le=1024, description="vLLM: drafted tokens per step (k).")
    draft_sample_method: Literal["greedy", "probabilistic"] | None = Field(
        None, description="vLLM: whether the drafter takes its likeliest token, or samples as the verifier does."
    )
    num_steps: int | None = Field(None, ge=1, le=1024, description="SGLang: steps of the drafter per verification.")
    topk: int | None = Field(None, ge=1, le=1024, description="SGLang: branches per drafter step; 1 drafts a chain.")
    num_draft_tokens: int | None = Field(
        None,
        ge=2,
        le=1024,
        description="SGLang: tokens per verification: the nodes of the tree, the newest token included.",
    )
    prompt_lookup_min: int | None = Field(
        None, ge=1, le=1024, description="Shortest n-gram that is looked up; ngram and ngram_gpu."
    )
    prompt_lookup_max: int | None = Field(
        None, ge=1, le=1024, description="Longest n-gram that is looked up; ngram and ngram_gpu."
    )
    suffix_decoding_max_tree_depth: int | None = Field(
        None, ge=2, le=1024, description="Longest run of tokens that suffix decoding keeps, drafted ones included."
    )
    suffix_decoding_max_spec_factor: float | None = Field(
        None, gt=0, le=64, description="Tokens that suffix decoding drafts for each token of the run it found."
    )
    suffix_decoding_max_cached_requests: int | None = Field(
        None, ge=0, description="Requests whose answers suffix decoding keeps for later ones; 0 keeps none."
    )

    @property
    def drafted(self) -> int:
        """Tokens drafted per step; without branches, the most that can be accepted."""
        return self.num_speculative_tokens or (self.num_draft_tokens or 1) - 1


class KvTransfer(Strict):
    """``[serve.kv_transfer]``. Which keys a connector needs, its engine says: see ``EngineSpec.kv_connectors``."""

    connector: Name = Field(
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
