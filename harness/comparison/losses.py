"""From what the starts of two builds showed to what is said of each quantity."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from harness.base.evidence import Acceptance
from harness.comparison.comparison_record import Finding, Said, Texts
from harness.comparison.observed import Counted, Observed
from harness.comparison.quantities import Quantity
from harness.statistics import interleaved_starts
from harness.statistics.decisions import share_each
from harness.statistics.interleaved_starts import NORMAL, Change, Flips
from harness.statistics.proportions import deviation
from harness.statistics.ratios import LEAST_GROUPS, spread_at_length, spread_of_a_draft

_USUAL_NOISE = 0.003
"""What equal starts differ by in acceptance on fixed prompts, as a share, where there are too few to say: the most that
was seen on four backends (docs/statistics.md)."""


@dataclass(frozen=True)
class Shown:
    """One start that counts.

    Attributes:
        round: Number of its round.
        second: Whether it is of the second build.
        observed: What it showed.
    """

    round: int
    second: bool
    observed: Observed


@dataclass(frozen=True)
class _Measured:
    """One value of both builds, before anything is said of it."""

    name: str
    quantity: Quantity
    values: tuple[float, float]
    change: Change
    n: int
    of: str
    p_value: float | None = None
    deviation: float = 0.0


def findings(starts: Sequence[Shown], quantities: Mapping[str, Quantity], false_alarm: float) -> list[Finding]:
    """What is said of each quantity that has a value in every start; of the others why nothing is.

    Args:
        starts: Of both builds, in the order in which they were run.
        quantities: By name.
        false_alarm: How often equal builds are called worse in any of them, at most. Each gets the same part (Sidak).
    """
    measured, left_out = list[_Measured](), list[Finding]()
    for each in quantities.values():
        found = list(_measured(each, starts))
        measured += found
        if not found:
            left_out.append(_unmeasured(each, starts))
    alpha = share_each(false_alarm, len(measured))
    return [*(_said(each, alpha) for each in measured), *left_out]


def _said(found: _Measured, alpha: float) -> Finding:
    quantity, change = found.quantity, found.change
    reach = change.beyond(alpha)
    known = not math.isinf(reach)
    back = math.exp if quantity.relative else float
    low, high = (back(change.value - reach), back(change.value + reach)) if known else (None, None)
    finding = Finding(
        quantity=found.name,
        said="undecided",
        unit=quantity.unit,
        higher=quantity.higher,
        relative=quantity.relative,
        first=found.values[0],
        second=found.values[1],
        change=back(change.value),
        low=low,
        high=high,
        interval_of=found.of,
        n=found.n,
        margin=quantity.margin,
        alpha=alpha,
        detects=_detects(quantity, change.detects(alpha)) if known else None,
    )
    least, most = finding.losses
    if least is None or most is None:
        return finding
    if found.p_value is not None:
        least = alpha - found.p_value  # of items an exact test says whether anything was lost
    said = interleaved_starts.verdict(least, most, quantity.margin)
    rounds = 0
    if said == "undecided" and found.deviation:
        rounds = interleaved_starts.rounds_for(math.log1p(quantity.margin), found.deviation, alpha)
    return finding.model_copy(update={"said": said, "rounds": rounds})


def _detects(quantity: Quantity, least: float) -> float:
    if not quantity.relative:
        return least
    return -math.expm1(-least) if quantity.higher else math.expm1(least)


def _measured(quantity: Quantity, starts: Sequence[Shown]) -> Iterator[_Measured]:
    if quantity.name == "accuracy":
        yield from _accuracy(quantity, starts)
    elif quantity.name.startswith("acceptance"):
        yield from _acceptance(quantity, starts)
    elif all(quantity.name in each.observed.speeds for each in starts):
        yield _speed(quantity, starts)


def _speed(quantity: Quantity, starts: Sequence[Shown]) -> _Measured:
    values = [each.observed.speeds[quantity.name] for each in starts]
    difference, error, freedom = interleaved_starts.by_starts([math.log(each) for each in values], _order(starts))
    noise = float(error) * math.sqrt(len(starts) / 4)  # of one round A B B A the error is that of one start
    change = Change(float(difference), float(error), freedom)
    means = (_mean(values, starts, second=False), _mean(values, starts, second=True))
    return _Measured(
        quantity.name, quantity, means, change, len(starts), "starts", deviation=noise if math.isfinite(noise) else 0.0
    )


def _accuracy(quantity: Quantity, starts: Sequence[Shown]) -> Iterator[_Measured]:
    """Items that one build has right more often than the other are flips."""
    items = set.intersection(*(set(each.observed.right) for each in starts))
    if not items:
        return
    shares = [
        {item: fmean(each.observed.right[item] for each in starts if each.second is second) for item in items}
        for second in (False, True)
    ]
    lost = sum(shares[1][item] < shares[0][item] for item in items)
    won = sum(shares[1][item] > shares[0][item] for item in items)
    flips = Flips(lost, won, len(items))
    values = (fmean(shares[0].values()), fmean(shares[1].values()))
    if texts(starts).differ == 0 or all(each.observed.known for each in starts):
        # Nothing here is drawn: other texts there are none, or each of them is known to be wrong.
        exact = Change(values[1] - values[0], 0.0, NORMAL)
        yield _Measured(quantity.name, quantity, values, exact, len(items), "items, as they are")
        return
    yield _Measured(quantity.name, quantity, values, flips.change, len(items), "items", p_value=flips.p_value)


def _acceptance(quantity: Quantity, starts: Sequence[Shown]) -> Iterator[_Measured]:
    counted = [each.observed.accepted for each in starts]
    if any(each is None for each in counted):
        return
    whole = [each for each in counted if each is not None]
    if quantity.name == "acceptance_length":
        yield _ratio(quantity, quantity.name, starts, None)
        return
    if not all(isinstance(each, Acceptance) and each.accepted_per_position for each in whole):
        return
    positions = min(len(each.accepted_per_position) for each in whole if isinstance(each, Acceptance))
    for position in range(positions):
        if any(_tokens(each, position) > 0 for each, start in zip(whole, starts, strict=True) if not start.second):
            yield _ratio(quantity, f"{quantity.name}[{position}]", starts, position)


def _ratio(quantity: Quantity, name: str, starts: Sequence[Shown], position: int | None) -> _Measured:
    """Tokens by drafts: noise from group to group of requests, and from start to start."""
    counted = [each.observed.accepted for each in starts if each.observed.accepted is not None]
    values = [_tokens(each, position) / each.drafts for each in counted]
    means = _mean(values, starts, second=False), _mean(values, starts, second=True)
    if min(values) <= 0:  # of nothing there is no logarithm
        ratio = means[1] / means[0]
        change = Change(math.log(ratio), math.inf, 1) if ratio else Change(-math.inf, 0.0, NORMAL)
        return _Measured(name, quantity, means, change, len(values), "starts")
    difference, error, freedom = interleaved_starts.by_starts([math.log(each) for each in values], _order(starts))
    if all(each.observed.known for each in starts):
        of_starts = float(error) if freedom else 0.0
        change = interleaved_starts.together(float(difference), (of_starts, freedom))
        of = "starts" if change.error else "starts, as they are"
        return _Measured(name, quantity, means, change, len(starts), of)
    of_starts, free = float(error), float(freedom)
    if not freedom:
        per_build = [sum(each.second is second for each in starts) for second in (False, True)]
        of_starts, free = _USUAL_NOISE * math.sqrt(sum(1 / each for each in per_build)), NORMAL
    grouped = _by_groups(starts, position)
    if grouped is not None:
        value, of_groups, groups = grouped
        change = interleaved_starts.together(value, (of_groups[0], of_groups[1]), (of_starts, free))
        return _Measured(name, quantity, means, change, groups, f"{groups} groups of requests, and starts")
    one = _by_drafts(counted, position, starts)
    change = interleaved_starts.together(float(difference), (one, NORMAL), (of_starts, free))
    drafts = min(each.drafts for each in counted)
    return _Measured(name, quantity, means, change, drafts, "drafts, taken as independent, and starts")


def _by_groups(starts: Sequence[Shown], position: int | None) -> tuple[float, tuple[float, float], int] | None:
    """Logarithm of the ratio with its error over groups of the same requests; None where they were not read."""
    groups = {len(each.observed.groups) for each in starts}
    number = next(iter(groups))
    if len(groups) > 1 or number < LEAST_GROUPS:
        return None
    sums = [
        (
            [sum(_tokens(start.observed.groups[at], position) for start in starts if start.second is second)
             for at in range(number)],
            [sum(start.observed.groups[at].drafts for start in starts if start.second is second)
             for at in range(number)],
        )
        for second in (False, True)
    ]  # fmt: skip
    value, error, freedom = (float(each.item()) for each in interleaved_starts.by_groups(*sums))
    return (value, (error, freedom), number) if math.isfinite(value) and math.isfinite(error) else None


def _by_drafts(counted: Sequence[Counted], position: int | None, starts: Sequence[Shown]) -> float:
    """The same over drafts of one start of each build: another start asks the same again, and is no new witness."""
    squares = 0.0
    for second in (False, True):
        one = next(each for each, start in zip(counted, starts, strict=True) if start.second is second)
        share = _tokens(one, position) / one.drafts
        if position is not None:
            spread = deviation(share)
        elif isinstance(one, Acceptance) and one.accepted_per_position:
            spread = spread_of_a_draft(one.per_position)
        else:
            spread = spread_at_length(share, None)
        squares += (spread / share) ** 2 / one.drafts
    return math.sqrt(squares)


def _tokens(counted: Counted, position: int | None) -> float:
    """What is divided by the drafts: tokens of all of them, or those that were accepted at a position."""
    if position is None:
        return counted.length * counted.drafts
    there = counted.accepted_per_position if isinstance(counted, Acceptance) else ()
    return float(there[position]) if position < len(there) else 0.0


def texts(starts: Sequence[Shown]) -> Texts:
    """How many items have other texts with the second build than with the first."""
    items = set.intersection(*(set(each.observed.texts) for each in starts))
    said = [
        {item: {each.observed.texts[item] for each in starts if each.second is second} for item in items}
        for second in (False, True)
    ]
    differ = sum(said[0][item] != said[1][item] for item in items)
    within = sum(max(len(said[0][item]), len(said[1][item])) > 1 for item in items)
    return Texts(compared=len(items), differ=differ, within=within)


def _order(starts: Sequence[Shown]) -> list[tuple[int, bool]]:
    return [(each.round, each.second) for each in starts]


def _mean(values: Sequence[float], starts: Sequence[Shown], *, second: bool) -> float:
    return fmean(value for value, each in zip(values, starts, strict=True) if each.second is second)


def _unmeasured(quantity: Quantity, starts: Sequence[Shown]) -> Finding:
    """Of what not every start has a value of. What only the first build has, the second one has lost."""
    has = [_has(quantity, each.observed) for each in starts]
    first, second = (
        [each for each, start in zip(has, starts, strict=True) if start.second is of] for of in (False, True)
    )
    finding = Finding(quantity=quantity.name, said="not compared", unit=quantity.unit, margin=quantity.margin)
    if all(first) and not any(second):
        lost: Said = "worse" if quantity.of_answers else "undecided"
        return finding.model_copy(update={"said": lost, "why": "A has it and B has not"})
    if any(has):
        return finding.model_copy(update={"said": "undecided", "why": "only some of the starts have it"})
    return finding.model_copy(update={"why": "neither build says it, or the case asks nothing of the kind"})


def _has(quantity: Quantity, observed: Observed) -> bool:
    if quantity.name == "accuracy":
        return bool(observed.right)
    if quantity.name == "acceptance_per_position":
        accepted = observed.accepted
        return isinstance(accepted, Acceptance) and any(accepted.accepted_per_position)
    return observed.accepted is not None if quantity.name == "acceptance_length" else quantity.name in observed.speeds
