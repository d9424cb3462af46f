"""What was observed in a run: engines count it, checks look at it. Frozen, without behaviour beyond arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.base.answers import NO_ANSWERS, Agreement, Answers, Difference, Miss, OtherEnd, Primed
from harness.base.domain import Sample
from harness.base.exchange import Exchanged
from harness.base.paired import Paired
from harness.base.resting import Resting
from harness.base.seen_settings import SeenSetting

__all__ = [
    "NO_ANSWERS",
    "Acceptance",
    "Agreement",
    "Answers",
    "Difference",
    "Evidence",
    "Failures",
    "KvLedger",
    "KvTransfers",
    "Look",
    "Measurement",
    "Miss",
    "Offer",
    "OtherEnd",
    "Preempted",
    "Prefilled",
    "Primed",
    "Source",
    "Tokens",
    "Unmeasured",
    "Verifications",
]


@dataclass(frozen=True)
class Unmeasured:
    """A measurement that the case needs and that could not be taken.

    Attributes:
        absent: Whether the server says no such thing, rather than something that cannot be right.
        counters: Those that it does not export.
    """

    reason: str
    absent: bool = field(default=False, compare=False)
    counters: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Acceptance:
    """Speculative-decoding counters, as deltas over the evaluation, summed over engines and ranks.

    Attributes:
        accepted_per_position: Empty where nothing counts by position.
    """

    drafts: int
    draft_tokens: int
    accepted: int
    accepted_per_position: tuple[int, ...]

    @property
    def length(self) -> float:
        """Acceptance length: 1 + accepted / drafts."""
        return 1 + self.accepted / self.drafts

    @property
    def per_position(self) -> tuple[float, ...]:
        """Share of drafts whose token at each position was accepted."""
        return tuple(accepted / self.drafts for accepted in self.accepted_per_position)


@dataclass(frozen=True)
class Verifications:
    """Speculative decoding by an engine that counts verifications and tokens, but not what was accepted where.

    Attributes:
        drafts: Verifications, each of one set of drafts, as deltas over the evaluation, summed over engines and ranks.
        emitted: Tokens of the answers that came from them: accepted ones and one more each, less those cut off where
            an answer ended.
    """

    drafts: int
    emitted: int

    @property
    def length(self) -> float:
        """Acceptance length: tokens per verification."""
        return self.emitted / self.drafts


Failures = Mapping[str, int]
"""What went wrong with transfers, by ``SERVER: COUNTER``, of every engine server: either side may be the one that sees
it. Empty if nothing did. One fault may be in more than one of an engine's counters."""


@dataclass(frozen=True)
class KvLedger:
    """Where the decode side's prompt tokens came from, as deltas summed over decode servers, engines and ranks.

    Attributes:
        external: Prompt tokens that arrived over the KV connector.
        local_compute: Prompt tokens the decode side computed itself.
        local_cache_hit: Prompt tokens found in its own prefix cache.
        transfers: Completed transfers.
        bytes: Bytes moved.
        failures: See :data:`Failures`.
    """

    external: int
    local_compute: int
    local_cache_hit: int
    transfers: int
    bytes: int
    failures: Failures


@dataclass(frozen=True)
class KvTransfers:
    """Transfers of an engine that does not count prompt tokens by source, as deltas summed over servers and ranks.

    Attributes:
        transfers: Requests whose KV cache was sent.
        bytes: Bytes sent.
        failures: See :data:`Failures`.
    """

    transfers: int
    bytes: int
    failures: Failures


@dataclass(frozen=True)
class Tokens:
    """What the servers that answer counted during the main run, priming included; None of what they do not count."""

    prompt: int | None = None
    generated: int | None = None


@dataclass(frozen=True)
class Prefilled:
    """What the prefill side says it did during the main run, summed over servers, engines and ranks.

    Attributes:
        finished: Requests that came to their end there.
        prompt_tokens: Tokens of their prompts.
        generated: Tokens that it answered with: one each, which nobody reads.
        asked: Requests that went there first, and what went ahead of them.
        asked_tokens: Tokens of their prompts, as the servers that answered counted them.
    """

    finished: int
    prompt_tokens: int
    generated: int
    asked: int
    asked_tokens: int


@dataclass(frozen=True)
class Preempted:
    """Requests that an engine server put back during the main run to make room in its KV cache.

    Attributes:
        room: How often everything that was in flight at once would have fitted in; None where nobody can say.
    """

    requests: int
    room: float | None


Source = Literal["logs", "configuration"]
"""What else of a run a check may read, besides its measurement."""

Offer = Literal[
    "drafts",
    "accepted_per_position",
    "placeholder_drafts",
    "prompt_tokens_by_source",
    "transfers",
    "finished_requests",
    "prefilled_requests",
    "corrupted_requests",
    "configuration",
    "cuda_graphs",
    "rearrangements",
]
"""What an engine can say of a run:

- ``drafts``: how often it drafted and how many tokens came of it; ``accepted_per_position``: which were accepted too;
- ``placeholder_drafts``: it pads the first step of a request whose prompt arrived over a connector with drafts;
- ``prompt_tokens_by_source``, ``transfers``: where prompt tokens came from, and what moved;
- ``finished_requests``, ``corrupted_requests``: how many requests came to their end, or had NaN in their logits;
- ``prefilled_requests``: the prefill side counts each request that it made the KV cache of, and its prompt's tokens;
- ``configuration``: which configuration is in force, as a document;
- ``cuda_graphs``, ``rearrangements``: events that its log tells.
"""


@dataclass(frozen=True)
class Look:
    """What the main run had come to when it was looked whether the verdict is clear.

    Attributes:
        asked: Items by then, from the first one on.
        scored, correct: Answers with a known right answer, and those that are right.
    """

    asked: int
    scored: int
    correct: int
    acceptance: Acceptance | Verifications | Unmeasured | None


@dataclass(frozen=True)
class Measurement:
    """What was counted in a run, as it is kept.

    Attributes:
        answers: Of the main run, of each control and of each comparison.
        acceptance: None without speculation.
        kv: None without a KV connector.
        finished: Requests of the main run that the engine itself says it finished; None of an engine that counts none.
        given_up: Requests that an engine server says it aborted, or that broke, by server; only those with any.
        restarted: Servers that are not those of the first reading of their counters, and how that is seen.
        events: Of each engine server, how often its log tells what the engine's module reads there, by name; empty
            where no check of the case reads logs.
        agreement: Of each comparison.
        primed: What the same servers were asked besides the main run.
        counters: Of each engine server, what its counters grew by during the main run, by their names in the harness.
        tokens: Of the main run, as the engine itself counted them.
        prefilled: None where requests do not go through a prefill side that counts them.
        preempted: By server; only those with any.
        contradictions: Of each engine server, what its counters say of each other that cannot be; only those with any.
        findings: Of each engine server, how often its log says since the evaluation began that something is broken, in
            the words of the engine's module; only those with any.
        resting: Of each engine server, what it held when nothing was asked of it, and as the main run went on; None
            if nobody looked.
        acceptance_groups: The same as ``acceptance`` of one group of requests after the other, as they came back; empty
            where nobody read the counters between them.
        group_ends: Requests that had come back at the end of each of those groups, where somebody says.
        looks: At the main run as it went on, the last one at all of it; empty where the case has none.
        missing: What servers that somebody else runs do not say, and why: the checks that need it are not measured.
            Of servers of ours nothing may be missing.
        schema_version: Two measurements of one run are compared only where it is the same.
    """

    answers: Mapping[str, Answers]
    acceptance: Acceptance | Verifications | Unmeasured | None
    kv: KvLedger | KvTransfers | Unmeasured | None
    finished: int | Unmeasured | None
    given_up: Mapping[str, int] = field(default_factory=dict)
    restarted: Mapping[str, str] = field(default_factory=dict)
    events: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    agreement: Mapping[str, Agreement] = field(default_factory=dict)
    primed: Primed = field(default_factory=Primed)
    counters: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    tokens: Tokens = Tokens()
    prefilled: Prefilled | None = None
    preempted: Mapping[str, Preempted] = field(default_factory=dict)
    contradictions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    findings: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    resting: Mapping[str, Resting] | Unmeasured | None = None
    acceptance_groups: tuple[Acceptance | Verifications, ...] = ()
    group_ends: tuple[int, ...] = ()
    looks: tuple[Look, ...] = ()
    missing: Mapping[Offer | Source, str] = field(default_factory=dict)
    schema_version: int = 7


@dataclass(frozen=True)
class Evidence:
    """Everything that a check may look at.

    Attributes:
        measured: What was counted.
        samples: Every request of the run, in order of run and item.
        configuration: Of each engine server, the document in which it says what is in force, if the engine has one.
        logs: Of each engine server, what it wrote; empty where no check of the case reads logs.
        settings: Everything that the case asks of each engine server, next to what the server shows of it; None where
            nobody looked.
        exchanges: What came back for each exchange of the protocol.
        paired: The run next to the one that it is compared with, if there is one.
        alarm_share: What of the false-alarm rates that baselines state their checks may use, many of which share one.
    """

    measured: Measurement
    samples: tuple[Sample, ...] = ()
    configuration: Mapping[str, Any] = field(default_factory=dict)
    logs: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[SeenSetting, ...] | None = None
    exchanges: tuple[Exchanged, ...] = ()
    paired: Paired | None = None
    alarm_share: float = 1.0
