"""Rules for builds beside one another, against the same computed by libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap, ttest_ind

from harness.statistics import interleaved_starts
from harness.statistics.interleaved_starts import Change, Flips


def test_one_round_is_students_test() -> None:
    values = [3.0, 3.2, 3.3, 3.1]
    order = interleaved_starts.interleaved(1)
    difference, error, freedom = interleaved_starts.by_starts(values, order)
    there = ttest_ind([3.2, 3.3], [3.0, 3.1])
    assert float(difference) == pytest.approx(0.2)
    assert freedom == 2
    assert float(difference / error) == pytest.approx(there.statistic)
    change = Change(float(difference), float(error), freedom)
    low, high = there.confidence_interval(0.95)
    assert (change.value - change.beyond(0.025), change.value + change.beyond(0.025)) == pytest.approx((low, high))


def test_what_a_whole_round_has_in_common_is_no_noise() -> None:
    order = interleaved_starts.interleaved(3)
    noise = np.array([1, 0, 2, 1, 0, 1, 1, 2, 2, 0, 1, 0]) / 100
    shift = np.repeat([0.0, 5.0, -7.0], 4)
    plain, moved = (interleaved_starts.by_starts(noise + each, order) for each in (0.0, shift))
    assert [float(each) for each in plain] == pytest.approx([float(each) for each in moved])
    assert plain[2] == 8


def test_equal_values_have_no_noise_and_one_start_each_says_nothing_of_it() -> None:
    _, error, _ = interleaved_starts.by_starts([0.1, 0.3, 0.3, 0.1], interleaved_starts.interleaved(1))
    assert float(error) == 0.0
    _, error, freedom = interleaved_starts.by_starts([0.1, 0.3], [(0, False), (0, True)])
    assert (float(error), freedom) == (math.inf, 0)
    with pytest.raises(ValueError, match="both builds"):
        interleaved_starts.by_starts([0.1, 0.3], [(0, False), (0, False)])


def test_groups_of_the_same_requests_are_compared_in_pairs() -> None:
    draw = np.random.default_rng(5)
    drafts = draw.integers(50, 150, 40).astype(float)
    first = drafts * draw.normal(2.6, 0.5, 40)
    second = first * 0.97 + drafts * draw.normal(0, 0.05, 40)
    value, error, _ = (each.item() for each in interleaved_starts.by_groups((first, drafts), (second, drafts)))
    again = bootstrap(
        (first, second, drafts), lambda a, b, _x, axis=-1: np.log(b.sum(axis) / a.sum(axis)), paired=True, rng=draw
    )
    assert value == pytest.approx(math.log(second.sum() / first.sum()))
    assert error == pytest.approx(float(again.standard_error), rel=0.1)
    alone = interleaved_starts.by_groups((first, drafts), (draw.permutation(second), drafts))[1].item()
    assert error < alone / 5  # what requests have in common is most of it


@pytest.mark.parametrize(("lost", "won"), [(7, 1), (3, 3), (1, 6), (1, 0), (0, 0)])
def test_flips_are_judged_by_the_exact_test(lost: int, won: int) -> None:
    exact = binomtest(lost, lost + won, 0.5, alternative="greater").pvalue if lost > won else 1.0
    assert Flips(lost, won, 80).p_value == pytest.approx(exact)


def test_no_flip_is_no_proof_that_none_would_be_lost() -> None:
    change = Flips(0, 0, 80).change
    assert change.value == 0
    assert change.beyond(0.05) == pytest.approx(1.645 / 82, rel=1e-3)


def test_errors_that_are_independent_add_up() -> None:
    both = interleaved_starts.together(0.1, (3.0, 5), (4.0, 7))
    assert both.error == 5.0
    assert both.freedom == pytest.approx(625 / (81 / 5 + 256 / 7))
    assert interleaved_starts.together(0.1, (0.0, 5)).beyond(0.01) == 0.0
    assert interleaved_starts.together(0.1, (math.inf, 1), (1.0, 5)).beyond(0.01) == math.inf


def test_verdicts_and_rounds() -> None:
    ends = ((-0.01, 0.01), (0.001, 0.01), (0.001, 0.03), (-0.01, 0.03))
    assert [interleaved_starts.verdict(*each, 0.02) for each in ends] == [
        "not worse", "not worse", "worse", "undecided",
    ]  # fmt: skip
    rounds = interleaved_starts.rounds_for(0.03, 0.01, 0.05)
    seen = [Change(0, 0.01 / math.sqrt(each), 3 * each - 1).detects(0.05) for each in (rounds - 1, rounds)]
    assert seen[0] > 0.03 >= seen[1]
    assert interleaved_starts.rounds_for(0.001, 1.0, 0.05) == 0
