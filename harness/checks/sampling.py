"""Is what the engine samples distributed as the model and the request say? With speculation too, which must not show.

Every token of the main run is a draw whose probabilities are known (:mod:`known_answer.draws`). Of groups without
penalties the ranks of all tokens are independent draws from one distribution, whatever was said before, so their counts
are multinomial: each rank is tested by itself. Where penalties make probabilities depend on what was said, each draw is
turned into a number that is uniform if the probabilities are right (its distribution function, at a random place within
the step; Rosenblatt 1952, randomized as in Smith 1985), and counts of such numbers in equal bins are tested. Where the
drafter's acceptance is known, so is the distribution of the number of verifications (:mod:`known_answer.drafting`).

All tests are exact or too careful, and share one limit on false alarms, ``false_alarm``, in equal parts (Bonferroni).
What else is judged has no chance in it: greedy answers, equal texts under equal seeds, different ones otherwise, and
log-probabilities to ``TOLERANCE``.

Power, computed and then simulated: of 51,200 tokens whose draft has probability 0.816, at 1e-8, a sampler that accepts
2 % too much (0.832) is seen 99 times of 100. One that lets 2 % of what it rejects through shows where drafts are seldom
right: of 25,600 tokens whose draft has probability 0.086 it accepts 0.104, and is seen 99 times of 100. Each result
says what it can see (:func:`harness.statistics.exact_tests.least_shift`).
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import Field

from harness.base.domain import CheckResult, Outcome, Sample
from harness.base.evidence import Acceptance, Evidence
from harness.base.exchange import Exchanged
from harness.base.settings import Origin, Strict
from harness.checks import check
from harness.checks.answer_documents import TOLERANCE, differences, observed
from harness.checks.check import Check
from harness.statistics import exact_tests
from known_answer import chain, draws
from known_answer import vocabulary as v

_BINS = 16
_EARLY = 32
"""Draws of an answer in which tokens are said for the first time: what a penalty does to those shows there."""
_NAME = "sampling"


class SamplingSettings(Strict):
    """``[checks.sampling]``."""

    n: int = Field(ge=1, le=10**9, description="Tokens that are drawn: items times max_tokens of the evaluation.")
    false_alarm: float = Field(
        1e-6,
        ge=1e-12,
        le=1e-3,
        description="Most probability with which a sound engine fails the check, of all its tests.",
    )
    drafted_rank: int | None = Field(
        None,
        ge=0,
        lt=chain.RANKS,
        description="Rank of the token that the drafter always proposes: then the number of drafts is tested too.",
    )
    drafted: int = Field(0, ge=0, le=64, description="Tokens of a draft, with `drafted_rank`.")
    origin: Origin


@dataclass(frozen=True)
class Test:
    """One exact test.

    Attributes:
        what: Was counted.
        share: Of ``n`` that is expected.
        p: Its p-value.
    """

    what: str
    count: float
    n: int
    share: float
    p: float

    def words(self) -> str:
        """What was found, next to what was expected."""
        return f"{self.what}: {self.count:g} of {self.n}, {self.n * self.share:.1f} expected, p = {self.p:.2g}"


def judge(settings: SamplingSettings, evidence: Evidence) -> list[CheckResult]:
    """One result, ``sampling``: the smallest p-value of all tests, times their number, against ``false_alarm``."""
    groups: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in evidence.samples:
        if sample.run == "main" and not sample.error:
            groups[sample.item.rpartition(".")[0]].append(sample)
    drawn = sum(sample.completion_tokens or 0 for samples in groups.values() for sample in samples)
    if drawn != settings.n or groups.keys() - draws.GROUPS.keys():
        return [check.unmeasured(_NAME, f"{drawn} tokens of known groups were drawn, {settings.n} planned")]
    tests = [test for name, samples in groups.items() for test in _group(name, samples)]
    if settings.drafted_rank is not None:
        found = _drafts(settings, groups, evidence)
        if isinstance(found, str):
            return [check.unmeasured(_NAME, found)]
        tests.append(found)
    wrong = [*_texts(groups), *(line for each in evidence.exchanges for line in _exchange(each))]
    silent = [f"{each.name}: {each.error}" for each in evidence.exchanges if not each.status]
    limit = settings.false_alarm / len(tests)
    worst = sorted(tests, key=lambda test: test.p)
    false = [test.words() for test in worst if test.p < limit] + wrong
    outcome = Outcome.FAIL if false else Outcome.ERROR if silent else Outcome.PASS
    return [
        CheckResult(
            name=_NAME,
            outcome=outcome,
            measured=min(1.0, worst[0].p * len(tests)),
            expected=1.0,
            low=settings.false_alarm,
            n=drawn,
            unit="p-value",
            direction="at-least",
            message=check.first([*false, *silent]),
            details="\n".join([*_power(groups, limit), *(test.words() for test in worst[:10]), *wrong]),
        )
    ]


def _group(name: str, samples: Sequence[Sample]) -> Iterator[Test]:
    """Tests of the draws of a group. Of two requests that must be alike only the first is a draw."""
    group = draws.GROUPS[name]
    drawing = [each for each in samples if not (group.in_pairs and _index(each) % 2)]
    n = sum(sample.completion_tokens or 0 for sample in drawing)
    if group.settings.remembers:
        places = [list(_places(name, sample)) for sample in drawing]
        for when, part in (("early", slice(_EARLY)), ("late", slice(_EARLY, None))):
            bins = Counter(_bin(place) for each in places for place in each[part])
            for at in range(_BINS):
                what = f"{name}: {when} draws in part {at + 1} of {_BINS} of their distribution"
                yield _test(what, bins[at], sum(bins.values()), 1 / _BINS)
        yield _test(f"{name}: tokens that cannot follow", n - sum(map(len, places)), n, _STRANGE)
        return
    counts: Counter[int | None] = Counter()
    for sample in drawing:
        counts.update(rank for _, rank in chain.ranks(sample.text, _last(name, sample)))
    probabilities = draws.probabilities(group.settings)
    for rank in range(chain.RANKS):
        yield _test(f"{name}: tokens of rank {rank}", counts[rank], n, probabilities[rank])
    others = max(n - sum(counts[rank] for rank in range(chain.RANKS)), 0)
    yield _test(f"{name}: tokens that cannot follow", others, n, probabilities[-1])


_STRANGE = 1e-9
"""Share of tokens with logit 0, where the others may have lost as many as seven nats to penalties."""


def _test(what: str, count: int, n: int, share: float) -> Test:
    return Test(what, count, n, share, exact_tests.p_value(count, n, share) if count <= n else 0.0)


def _index(sample: Sample) -> int:
    return int(sample.item.rpartition(".")[2])


def _last(name: str, sample: Sample) -> int:
    return v.encode(draws.prompt(name, _index(sample)))[-1]


def _places(name: str, sample: Sample) -> Iterator[float]:
    """Where each draw fell in its distribution, likeliest first: uniform between 0 and 1 if that is right."""
    settings = draws.GROUPS[name].settings
    prompt = frozenset(v.encode(draws.prompt(name, _index(sample))))
    chance = random.Random(sample.item)
    counts: Counter[int] = Counter()
    for state, rank in chain.ranks(sample.text, _last(name, sample)):
        if rank is None:
            continue
        probabilities = draws.probabilities(settings, state, counts, prompt)
        yield sum(probabilities[:rank]) + chance.random() * probabilities[rank]
        counts[chain.token(state, rank)] += 1


def _bin(place: float) -> int:
    return min(int(place * _BINS), _BINS - 1)


def _drafts(settings: SamplingSettings, groups: dict[str, list[Sample]], evidence: Evidence) -> Test | str:
    """Test of the number of verifications, or why there is none."""
    from known_answer import drafting  # noqa: PLC0415 # needs numpy, which takes longer than all else here

    rank, found = settings.drafted_rank or 0, evidence.measured.acceptance
    if not isinstance(found, Acceptance):
        return "the engine does not say how often it verified drafts"
    parts: Counter[tuple[float, int]] = Counter()
    for name, samples in groups.items():
        if draws.GROUPS[name].settings.remembers:
            return f"{name}: how many of its drafts are accepted is not known beforehand"
        acceptance = draws.probabilities(draws.GROUPS[name].settings)[rank]
        parts.update((acceptance, sample.completion_tokens or 1) for sample in samples)
    distribution = drafting.together(parts, settings.drafted)
    mean = math.fsum(number * share for number, share in enumerate(distribution.tolist()))
    n = len(distribution)
    return Test("verifications of drafts", found.drafts, n, mean / n, drafting.p_value(found.drafts, distribution))


def _texts(groups: dict[str, list[Sample]]) -> Iterator[str]:
    """Texts that must be equal and are not, or must not be and are."""
    for name, samples in groups.items():
        group = draws.GROUPS[name]
        for sample in samples:
            if sample.expected_text is not None and sample.text != sample.expected_text:
                yield f"{sample.item}: is not the text of the likeliest tokens: {sample.text[:40]!r}"
        if any(sample.expected_text is not None for sample in samples):
            continue
        by_index = {_index(sample): sample for sample in samples}
        if group.in_pairs:
            for index in range(0, len(samples), 2):
                if by_index[index].text != by_index[index + 1].text:
                    yield f"{by_index[index].item}: another text than its twin's with the same seed"
        texts = Counter(sample.text for index, sample in by_index.items() if not (group.in_pairs and index % 2))
        # Of 64 draws or more: two texts are equal by chance with a probability below 1e-20.
        twice = [text for text, number in texts.items() if number > 1]
        if twice:
            yield f"{name}: {texts[twice[0]]} answers are the same draws: {twice[0][:40]!r}"


def _exchange(exchanged: Exchanged) -> Iterator[str]:
    """What is wrong with the answer of an exchange."""
    if not exchanged.status:
        return
    found = observed(exchanged)
    if exchanged.expected:
        wrong = next(differences(exchanged.expected, found), "")
    elif exchanged.name.startswith(draws.SAMPLED):
        wrong = next(_sampled(found), "")
    else:
        wrong = "nothing is known of its answer"
    if wrong:
        yield f"{exchanged.name}: {wrong}"


def _sampled(found: dict[str, object]) -> Iterator[str]:
    """What is wrong with the log-probabilities of a sampled answer: which they must be, its own tokens say."""
    yield from differences({"status": 200, "choices": [{"finish_reason": "length"}]}, found)
    choices = found.get("choices")
    logprobs = choices[0].get("logprobs") if isinstance(choices, list) and choices else None
    tokens = logprobs.get("tokens") if isinstance(logprobs, dict) else None
    if not isinstance(logprobs, dict) or not isinstance(tokens, list):
        yield "choices.0.logprobs: missing"
        return
    values, tops = logprobs.get("token_logprobs") or [], logprobs.get("top_logprobs") or []
    if not len(tokens) == len(values) == len(tops):
        yield f"choices.0.logprobs: {len(tokens)} tokens, {len(values)} values, {len(tops)} times the likeliest"
        return
    for at, (text, value, top) in enumerate(zip(tokens, values, tops, strict=True)):
        drawn = chain.drawn(v.encode(text)[0]) if text else None
        if drawn is None:
            continue  # what cannot follow is counted elsewhere
        state, rank = drawn
        wanted = draws.logprob(state, chain.token(state, rank))
        if not isinstance(value, int | float) or abs(value - wanted) > TOLERANCE:
            yield f"token_logprobs.{at} of {text!r}: {wanted:.6f} expected, got {value}"
        for other in range(3):
            likely = chain.token(state, other)
            yield from differences({chain.spelled([likely]): draws.logprob(state, likely)}, top, f"top_logprobs.{at}")


def _power(groups: dict[str, list[Sample]], limit: float) -> Iterator[str]:
    """What each group can see."""
    for name, samples in groups.items():
        n = sum(sample.completion_tokens or 0 for sample in samples)
        settings = draws.GROUPS[name].settings
        share = 1 / _BINS if settings.remembers else draws.probabilities(settings)[0]
        if 0 < share < 1:
            shift = exact_tests.least_shift(n, share, limit)
            yield f"{name}: {n} tokens; a share of {share:.4f} that is {shift:.4f} off is seen 95 times of 100"


CHECK = Check(
    name=_NAME,
    about="Distribution of sampled tokens, and log-probabilities, against those that are known.",
    settings=SamplingSettings,
    judge=judge,
    stands_for=frozenset({"accuracy", "acceptance_length"}),
)
