"""``looks.json``: the main run in parts, and what the counters said after each, where a case decides early."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise

from harness.base.domain import Item, Sample
from harness.base.evidence import Acceptance, Look, Measurement, Unmeasured, Verifications
from harness.cases.model import Case
from harness.checks import early_verdicts, noise
from harness.engines import ENGINES, metrics
from harness.run.documents import Document, Prepared
from harness.run.readings import Readings
from harness.run.scoring import count

NAME = "looks"


class Part(Document):
    """Items that were asked between two looks, in order, and the counters of each server when all were answered."""

    items: list[str]
    counters: dict[str, dict[str, float]]


class Looks(Document):
    """``looks.json``."""

    parts: list[Part]

    @property
    def asked(self) -> list[str]:
        """Items of the main run, in order."""
        return [item for each in self.parts for item in each.items]


class Looking:
    """Asks the main run of a case part by part. One without looks has a single part, and nothing is kept of it."""

    def __init__(self, readings: Readings, case: Case, alarm_share: float) -> None:
        self._readings, self._case, self._alarm_share = readings, case, alarm_share
        self._before = readings.counters() if case.evaluation.looks else {}
        self._parts: list[Part] = []

    def parts(self, items: Mapping[str, Item]) -> Iterator[dict[str, Item]]:
        """The items of each part."""
        names, looks = list(items), self._case.evaluation.looks
        for first, last in pairwise([0, *looks, len(names)]):
            yield {name: items[name] for name in names[first:last]}

    def over(self, part: Mapping[str, Item], samples: Sequence[Sample]) -> bool:
        """Look, all of ``part`` having been answered: whether no more need be asked.

        Raises:
            CannotJudge: A server cannot be read.
        """
        if not self._case.evaluation.looks:
            return False
        self._readings.settle("after")
        counters = {name: dict(each) for name, each in self._readings.counters().items()}
        self._parts.append(Part(items=list(part), counters=counters))
        document = Looks(parts=self._parts)
        self._readings.context.rundir.write(NAME, Looks, document)
        seen = looks_at(self._case, document, samples, self._before)
        return _is_over(self._case, seen, self._alarm_share)


def _is_over(case: Case, seen: Sequence[Look], alarm_share: float) -> bool:
    configured = noise.sharing(case.checks.configured(), alarm_share)
    return early_verdicts.is_over(configured, seen, measure_only=case.measure_only)


def looks_at(
    case: Case, looks: Looks, samples: Sequence[Sample], before: Mapping[str, metrics.Counters]
) -> tuple[Look, ...]:
    """What there was to see at each look.

    Args:
        case: That was asked.
        looks: Its parts.
        samples: Of the main run, others may be among them.
        before: Counters of each server before the main run.
    """
    main = {each.item: each for each in samples if each.run == "main"}
    found = []
    ends = accumulate(len(each.items) for each in looks.parts)
    for asked, part in zip(ends, looks.parts, strict=True):
        there = [main[name] for name in looks.asked[:asked] if name in main]
        answers = count(case.evaluation, there, asked)
        found.append(Look(asked, answers.scored, answers.correct, _acceptance(case, before, part)))
    return tuple(found)


def _acceptance(
    case: Case, before: Mapping[str, metrics.Counters], part: Part
) -> Acceptance | Verifications | Unmeasured | None:
    """What was drafted up to this look, by the one server that a case with looks has."""
    if not case.serve_of("server").speculation:
        return None
    if before.keys() != part.counters.keys():
        return Unmeasured("looks.json has the counters of other servers")
    deltas = [metrics.delta(before[name], part.counters[name]) for name in before]
    return ENGINES[case.engine.name].acceptance(metrics.add(deltas))


def gaps(
    prepared: Prepared, looks: Looks | None, samples: Sequence[Sample], after: Callable[[], Mapping[str, object]]
) -> Iterator[str]:
    """What is wrong with the looks of a run, in words.

    Args:
        prepared: The run.
        looks: Its looks, if there are any.
        samples: Its answers.
        after: Reads the counters of each server after the main run.
    """
    case, name = prepared.case, f"{NAME}.json"
    wanted = [*case.evaluation.looks, case.evaluation.items] if case.evaluation.looks else []
    if looks is None or not looks.parts:
        if wanted:
            yield f"{name}: missing"
        return
    ends = list(accumulate(len(each.items) for each in looks.parts))
    if ends != wanted[: len(ends)]:
        yield f"{name}: looks after {ends} items, the case after {wanted}"
    elif len(set(looks.asked)) != len(looks.asked):
        yield f"{name}: an item is there twice"
    elif {each.item for each in samples if each.run == "main"} != set(looks.asked):
        yield f"{name}: other items than were answered"
    elif any(_falls(*pair) for pair in pairwise(each.counters for each in looks.parts)):
        yield f"{name}: a counter goes down"
    elif looks.parts[-1].counters != after():
        yield f"{name}: the counters of the last look are not those after the main run"


def _falls(earlier: Mapping[str, Mapping[str, float]], later: Mapping[str, Mapping[str, float]]) -> bool:
    return any(
        value > later.get(server, {}).get(name, 0.0)
        for server, counters in earlier.items()
        for name, value in counters.items()
    )


def misjudged(prepared: Prepared, measured: Measurement) -> str:
    """Why a run cannot have ended where it did: it goes on until it is decided, and no longer; empty if it can."""
    case, looks = prepared.case, measured.looks
    if not looks:
        return ""
    over = [_is_over(case, looks[: index + 1], prepared.alarm_share) for index in range(len(looks))]
    if any(over[:-1]):
        return f"{NAME}.json: it was decided after {looks[over.index(True)].asked} items, and more were asked"
    if not over[-1] and looks[-1].asked < case.evaluation.items:
        return f"{NAME}.json: nothing was decided after {looks[-1].asked} items, and no more were asked"
    return ""
