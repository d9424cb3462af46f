"""What an engine must emit and count when it serves a known-answer target with a known-answer drafter.

An engine step verifies ``k`` drafted tokens, accepts the leading right ones (``a`` of them) and emits ``a + 1``
tokens. The counters take ``a`` in full in the last step too, although tokens beyond the limit are cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from known_answer import vocabulary as v
from known_answer.table import CYCLE, SEGMENTS, TABLE, Table

FirstDraft = Callable[[int, int, bool], bool]
"""(previous token, newest token, the table's verdict) -> is the first draft of the step right?"""


@dataclass(frozen=True)
class Request:
    """One greedy request.

    Attributes:
        last: Last token of the prompt; the answer depends on nothing else but the key.
        max_tokens: Limit on emitted tokens.
        key: Key in the prompt, if any.
        ignore_eos: Go on past the end-of-sequence token.
    """

    last: int
    max_tokens: int
    key: int | None = None
    ignore_eos: bool = False


@dataclass(frozen=True)
class Counts:
    """Speculative-decoding counters: steps that verified drafts, drafted tokens accepted, and accepted by position.

    Attributes:
        missing: Tokens by which drafts were shorter than the configured length.
    """

    drafts: int
    accepted_per_position: tuple[int, ...]
    missing: int = 0

    @property
    def accepted(self) -> int:
        return sum(self.accepted_per_position)

    @property
    def draft_tokens(self) -> int:
        return self.drafts * len(self.accepted_per_position) - self.missing

    @property
    def acceptance_length(self) -> float:
        """Tokens per verification step: 1 + accepted / drafts."""
        return 1 + self.accepted / self.drafts

    @property
    def acceptance_per_position(self) -> tuple[float, ...]:
        """Share of drafts whose token at each position was accepted."""
        return tuple(accepted / self.drafts for accepted in self.accepted_per_position)

    def __add__(self, other: Counts) -> Counts:
        positions = zip(self.accepted_per_position, other.accepted_per_position, strict=True)
        summed = tuple(a + b for a, b in positions)
        return Counts(self.drafts + other.drafts, summed, self.missing + other.missing)


def simulate(
    request: Request,
    k: int,
    *,
    disaggregated: bool = False,
    first_draft: FirstDraft | None = None,
    table: Table = TABLE,
) -> tuple[list[int], Counts]:
    """Tokens and counters of one request.

    Args:
        request: What is asked.
        k: Drafted tokens per step; 0 means no drafter.
        disaggregated: The engine receives the prompt's KV cache and computes only its last token. vLLM pads that
            step with ``k`` placeholder drafts (``pad_spec_decode``): one more draft, nothing accepted.
        first_draft: Verdict on the first draft of a step, for a drafter that also reads the target's hidden state.
        table: Whose answers.

    Returns:
        The emitted token ids, cut at the limit and after the end-of-sequence token, and the counts.

    """
    emitted = [table.following(request.last, request.key)]
    drafts, accepted = int(disaggregated and k > 0), [0] * k
    previous = request.last

    def finished() -> bool:
        return len(emitted) >= request.max_tokens or (v.EOS in emitted and not request.ignore_eos)

    while not finished():
        newest = token = emitted[-1]
        step = []
        for position in range(k):
            following = table.following(token, request.key)
            right = table.drafted(token, request.key) == following
            if position == 0 and first_draft is not None:
                right = first_draft(previous, newest, right)
            if not right:
                break
            accepted[position] += 1
            token = following
            step.append(token)
        drafts += int(k > 0)
        step.append(table.following(token, request.key))
        emitted += step
        previous = emitted[-2]

    emitted = emitted[: request.max_tokens]
    if v.EOS in emitted and not request.ignore_eos:
        emitted = emitted[: emitted.index(v.EOS) + 1]
    return emitted, Counts(drafts, tuple(accepted))


def total(
    requests: Iterable[Request],
    k: int,
    *,
    disaggregated: bool = False,
    first_draft: FirstDraft | None = None,
    table: Table = TABLE,
) -> Counts:
    """Counters after all ``requests``; greedy requests do not influence each other, so order does not matter."""
    counts = Counts(0, (0,) * k)
    for request in requests:
        counts += simulate(request, k, disaggregated=disaggregated, first_draft=first_draft, table=table)[1]
    return counts


def looked_up(tokens: Sequence[int], k: int, shortest: int, longest: int, *, latest: bool = False) -> list[int]:
    """What prompt lookup drafts: up to ``k`` tokens that followed an earlier occurrence of the newest n-gram.

    The longest n-gram of ``shortest`` to ``longest`` tokens that occurred before counts; of several occurrences the
    earliest (vLLM, ``v1/spec_decode/ngram_proposer.py``), or the latest (``v1/worker/gpu/spec_decode/ngram`` at 0.33).
    """
    for size in range(min(longest, len(tokens) - 1), shortest - 1, -1):
        newest = tokens[-size:]
        starts = range(len(tokens) - size)
        for start in reversed(starts) if latest else starts:
            if tokens[start : start + size] == newest:
                return list(tokens[start + size : start + size + k])
    return []


def simulate_lookup(
    request: Request,
    prompt: Sequence[int],
    k: int,
    shortest: int,
    longest: int,
    *,
    table: Table = TABLE,
    every_step: bool = False,
) -> Counts:
    """Counters of one request under n-gram speculation (prompt lookup); the tokens are those of :func:`simulate`.

    Args:
        request: What is asked.
        prompt: Its token ids.
        k: Most tokens drafted in a step.
        shortest: Length of the shortest n-gram that is looked up.
        longest: Length of the longest one.
        table: Whose answers.
        every_step: Each step drafts ``k`` tokens, after the latest occurrence: where too few or none followed one, the
            newest token again (vLLM's second model runner, as above).
    """
    answer = simulate(request, 0, table=table)[0]
    emitted, counts = 1, Counts(0, (0,) * k)
    while emitted < len(answer):
        draft = looked_up([*prompt, *answer[:emitted]], k, shortest, longest, latest=every_step)
        if every_step:
            draft += answer[emitted - 1 : emitted] * (k - len(draft))
        step, said = verify(request, answer[emitted - 1], draft, k, table=table)
        counts, emitted = counts + step, emitted + len(said)
    return counts


def verify(
    request: Request, newest: int, draft: Sequence[int], k: int, *, table: Table = TABLE
) -> tuple[Counts, list[int]]:
    """One step after the token ``newest``: its counters, none without a draft, and the tokens that it emits.

    These are the drafted ones up to the first wrong one, and one more; also past the request's limit.
    """
    said: list[int] = []
    for drafted in [*draft, None]:
        newest = table.following(newest, request.key)
        said.append(newest)
        if drafted != newest:
            break
    right = len(said) - 1
    accepted = tuple(int(position < right) for position in range(k))
    return Counts(1, accepted, k - len(draft)) if draft else Counts(0, (0,) * k), said


def reads_hidden_state(previous: int, newest: int, table_says: bool) -> bool:
    """First-draft verdict of the ``eagle3_aux`` drafter: always right inside the cycle."""
    return table_says or (previous in CYCLE and newest in CYCLE)


def closed_form_acceptance_length(k: int) -> float:
    """Acceptance length on the endless cycle.

    A segment of ``s`` tokens ends in the only token after which the drafter errs, so it takes ceil(s / (k + 1))
    steps: AL(k) = Σ s / Σ ceil(s / (k + 1)).
    """
    return sum(SEGMENTS) / sum(-(-length // (k + 1)) for length in SEGMENTS)
