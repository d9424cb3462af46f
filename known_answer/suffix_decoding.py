"""What suffix decoding drafts, and what an engine counts that drafts with it (Arctic Inference 0.3, ``cache.py`` and
``suffix_tree.cc``; in vLLM ``v1/spec_decode/suffix_decoding.py``).

What was said lies in trees: a request's own prompt and answer in one, the answers of all requests in another one. The
end of what was said is looked for in both, and the tokens that followed most often are drafted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from known_answer.simulate import Counts, Request, simulate, verify
from known_answer.table import TABLE, Table

# What vLLM takes where nothing is said (``vllm/config/speculative.py``).
DEPTH, FACTOR, KEPT = 24, 1.0, 10_000
LEAST_PROBABILITY = 0.1
"""Of what follows, estimated from how often it did."""


class Said:
    """What was said, by each run of up to ``depth`` tokens in it."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self._times: Counter[tuple[int, ...]] = Counter()
        self._followers: defaultdict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        self._texts: defaultdict[int, list[int]] = defaultdict(list)

    def say(self, text: int, tokens: Sequence[int]) -> None:
        """Go on with a text, by its number."""
        said = self._texts[text]
        for token in tokens:
            said.append(token)
            for size in range(1, min(self.depth, len(said)) + 1):
                run = tuple(said[-size:])
                self._times[run] += 1
                if size > 1:
                    self._followers[run[:-1]][token] += 1

    def draft(self, context: Sequence[int], most: int, factor: float) -> tuple[list[int], float]:
        """The tokens drafted after ``context``, and their score: the sum of their probabilities.

        Args:
            context: The last tokens; a part at its end that is shorter than all of it is looked for.
            most: Tokens that may be drafted.
            factor: Tokens that may be drafted for each token of the part that is found.
        """
        best: tuple[list[int], float] = ([], 0.0)
        for size in range(1, len(context)):
            run = tuple(context[-size:])
            if run not in self._times:
                break
            found = self._path(run, min(most, int(size * factor + 1e-6)))
            if found[1] >= best[1]:
                best = found
        return best

    def _path(self, run: tuple[int, ...], most: int) -> tuple[list[int], float]:
        drafted: list[int] = []
        probability, score = np.float32(1), np.float32(0)  # as precise as theirs, on which equal scores depend
        while len(drafted) < most and (followers := self._followers.get(run)):
            token, times = followers.most_common(1)[0]
            probability *= np.float32(times) / np.float32(self._times[run])
            if probability < LEAST_PROBABILITY:
                break
            drafted.append(token)
            score += probability
            run = (*run, token)
        return drafted, float(score)


def total(
    requests: Sequence[Request],
    prompts: Sequence[Sequence[int]],
    k: int,
    *,
    depth: int,
    factor: float,
    shared: bool,
    table: Table = TABLE,
) -> Counts:
    """Counters after all ``requests``, which are asked one after the other if answers are ``shared``.

    Args:
        requests: What is asked.
        prompts: Their token ids.
        k: Most tokens drafted in a step.
        depth: Longest run of tokens that is kept, drafted ones included.
        factor: Tokens drafted for each token found.
        shared: Whether all answers are kept for later requests.
        table: Whose answers.
    """
    everybody = Said(depth)
    counts = Counts(0, (0,) * k)
    for number, (request, prompt) in enumerate(zip(requests, prompts, strict=True)):
        own = Said(depth)
        own.say(0, prompt)
        counts += _request(request, prompt, k, factor, own, everybody if shared else None, number, table)
    return counts


def _request(
    request: Request,
    prompt: Sequence[int],
    k: int,
    factor: float,
    own: Said,
    everybody: Said | None,
    number: int,
    table: Table,
) -> Counts:
    answer = simulate(request, 0, table=table)[0]
    counts, emitted, newly = Counts(0, (0,) * k), 1, answer[:1]
    while emitted < len(answer):
        own.say(0, newly)
        context = [*prompt, *answer[:emitted]][-own.depth :]
        draft, score = own.draft(context, k, factor)
        if everybody:
            everybody.say(number, newly)
            other = everybody.draft(context, k, factor)
            draft = draft if score >= other[1] else other[0]
        step, newly = verify(request, answer[emitted - 1], draft, k, table=table)
        counts, emitted = counts + step, emitted + len(newly)
    if everybody:
        everybody.say(number, newly)  # what goes beyond the limit, too
    return counts
