"""What was observed in a run: engines count it, checks look at it. Frozen, without behaviour beyond arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.base.domain import Sample
from harness.base.seen_settings import SeenSetting


@dataclass(frozen=True)
class Miss:
    """A wrong answer.

    Attributes:
        expected: The right one.
        read: What the protocol read; None if there was nothing to read.
        text: The end of what the answer was read from.
    """

    item: str
    expected: str
    read: str | None
    text: str


@dataclass(frozen=True)
class Difference:
    """One item that says something else than it should.

    Attributes:
        at, main: Characters that are equal before the texts part; what the main run says from there on, cut short.
        other, means: The same of the comparison or of the known text; what went wrong, if a known-answer model says.
    """

    item: str
    at: int
    main: str
    other: str
    means: str = ""


@dataclass(frozen=True)
class Answers:
    """Samples of one run, counted.

    Attributes:
        planned: Items the case asks for.
        answered: Responses with status 200.
        failed: Requests without a usable response, or that the engine gave up: errors, never wrong answers.
        empty: Answers without a single token.
        scored: Answers with a known right answer.
        correct: Scored answers that are right.
        invalid: Scored answers from which the protocol could read no answer; they are wrong too.
        compared: Answers whose whole text is known beforehand.
        equal: Compared answers whose text is exactly that.
        prompt_tokens: Sum over the answers, as the server counted them.
        completion_tokens: The same of the answers themselves.
        uncounted: Answers of which the server does not say how many tokens they have.
        unended: Answers of which it does not say why they ended.
        reasoned: Answers with reasoning that was kept apart.
        unexpected_prompt_tokens: Answers whose prompt has another number of tokens than was sent.
        missed: The first of the wrong answers; of those first whose text is not even the one known beforehand.
        differing: The first of the compared answers with another text.
    """

    planned: int
    answered: int
    failed: int
    empty: int
    scored: int
    correct: int
    invalid: int
    compared: int
    equal: int
    prompt_tokens: int
    unexpected_prompt_tokens: int
    missed: tuple[Miss, ...] = ()
    differing: tuple[Difference, ...] = ()
    completion_tokens: int = 0
    uncounted: int = 0
    unended: int = 0
    reasoned: int = 0

    @property
    def accuracy(self) -> float:
        """Share of scored answers that are right."""
        return self.correct / self.scored


NO_ANSWERS = Answers(
    planned=0, answered=0, failed=0, empty=0, scored=0, correct=0, invalid=0, compared=0, equal=0, prompt_tokens=0,
    unexpected_prompt_tokens=0,
)  # fmt: skip
"""Of a run that was not measured."""


@dataclass(frozen=True)
class Primed:
    """Requests that went ahead of items to the servers whose counters are read."""

    planned: int = 0
    answered: int = 0
    prompt_tokens: int = 0


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
class Agreement:
    """Texts of a comparison next to those of the main run.

    Attributes:
        compared: Items that both runs answered.
        equal: Those with the same text, to the character.
        differing: The first of the others by id.
    """

    compared: int
    equal: int
    differing: tuple[Difference, ...] = ()


Source = Literal["logs", "configuration"]
"""What else of a run a check may read, besides its measurement."""

Offer = Literal[
    "drafts",
    "accepted_per_position",
    "placeholder_drafts",
    "prompt_tokens_by_source",
    "transfers",
    "finished_requests",
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
- ``configuration``: which configuration is in force, as a document;
- ``cuda_graphs``, ``rearrangements``: events that its log tells.
"""


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
    primed: Primed = Primed()
    counters: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    missing: Mapping[Offer | Source, str] = field(default_factory=dict)
    schema_version: int = 4


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
    """

    measured: Measurement
    samples: tuple[Sample, ...] = ()
    configuration: Mapping[str, Any] = field(default_factory=dict)
    logs: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[SeenSetting, ...] | None = None
