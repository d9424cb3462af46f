"""What is claimed of the rules, tried on numbers whose truth is known: a slice here, at length with ``--long``."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, bootstrap

from harness.statistics import decisions, looks, pairs, proportions, ratios, repeated_runs, sequential
from harness.statistics.estimate import normal_quantile
from harness.statistics.looks import Loss
from harness.statistics.sequential import Errors
from tests.statistics.claim import Claim
from tests.statistics.simulation import CLAIMS, TRIES

SLICE = 4_000
NAMES = [f"{each.name}, {each.rate:g}" for each in CLAIMS]


@pytest.mark.parametrize("claim", CLAIMS, ids=NAMES)
def test_a_slice_agrees_with_what_is_claimed(claim: Claim) -> None:
    assert not claim.wrong(claim.tried(np.random.default_rng(1), SLICE), SLICE)


@pytest.mark.long
@pytest.mark.parametrize("claim", CLAIMS, ids=NAMES)
def test_it_agrees_at_length(claim: Claim) -> None:
    assert not claim.wrong(claim.tried(np.random.default_rng(2), TRIES), TRIES)


@pytest.mark.parametrize(
    ("claim", "happened"),
    [
        (Claim("x", "at-most", 0.01, lambda _draw, _tries: 0), 90),
        (Claim("x", "at-least", 0.95, lambda _draw, _tries: 0), 3600),
        (Claim("x", "about", 0.95, lambda _draw, _tries: 0), 3900),
    ],
)
def test_a_claim_that_does_not_hold_is_seen(claim: Claim, happened: int) -> None:
    assert "claimed" in claim.wrong(happened, SLICE)


def test_a_bound_that_forgets_its_own_noise_would_be_seen() -> None:
    """The same bound with the normal quantile instead of Student's: right for known noise, and false for five runs."""
    draw = np.random.default_rng(3)
    values, following = draw.standard_normal((SLICE, 5)), draw.standard_normal(SLICE)
    width = -normal_quantile(0.01) * values.std(-1, ddof=1)
    alarms = int((values.mean(-1) - following > width).sum())
    assert Claim("x", "at-most", 0.01, lambda _draw, _tries: 0).wrong(alarms, SLICE)


def test_drafts_taken_as_independent_cover_too_seldom_where_requests_differ() -> None:
    """Why acceptance is clustered: of requests with an acceptance of their own, half of such intervals miss."""
    from tests.statistics.simulation import TRUE_LENGTH, requests

    tokens, drafts = requests(np.random.default_rng(4), 1000, 80)
    lengths, totals = tokens.sum(-1) / drafts.sum(-1), drafts.sum(-1)
    spread = math.sqrt(3 * 0.55 * 0.45)
    found = [ratios.of_drafts(float(v), spread, int(n)) for v, n in zip(lengths, totals, strict=True)]
    assert sum(each.low <= TRUE_LENGTH <= each.high for each in found) < 700


@pytest.mark.parametrize(("count", "n"), [(0, 5), (5, 5), (1, 1), (60, 80), (1, 1319)])
def test_intervals_of_shares_are_those_of_scipy(count: int, n: int) -> None:
    for ours, method in ((proportions.wilson, "wilson"), (proportions.exact, "exact")):
        there = binomtest(count, n).proportion_ci(0.95, method)
        found = ours(count, n)
        assert (found.low, found.high) == pytest.approx((there.low, there.high), abs=1e-9)


def test_no_share_is_refused() -> None:
    for count, n in ((1, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="is no share"):
            proportions.wilson(count, n)


def test_the_linearised_error_is_the_bootstraps() -> None:
    draw = np.random.default_rng(5)
    drafts = draw.integers(20, 140, 200).astype(float)
    tokens = drafts * draw.normal(2.6, 0.4, 200)
    found = ratios.clustered(list(tokens), list(drafts))
    assert found is not None
    assert found.groups == 200
    again = bootstrap((tokens, drafts), lambda y, x, axis=-1: y.sum(axis) / x.sum(axis), paired=True, rng=draw)
    assert found.error == pytest.approx(float(again.standard_error), rel=0.05)
    assert found.value == tokens.sum() / drafts.sum()


def test_one_group_says_nothing_and_empty_ones_do_not_count() -> None:
    assert ratios.clustered([3.0], [2.0]) is None
    assert ratios.clustered([3.0, 0.0], [2.0, 0.0]) is None
    found = ratios.clustered([3.0, 0.0, 5.0], [2.0, 0.0, 2.0])
    assert found is not None
    assert found.groups == 2


def test_the_spread_of_a_draft_from_its_positions() -> None:
    draw = np.random.default_rng(6)
    accepted = np.minimum(draw.geometric(0.4, 200_000) - 1, 3)  # each token with probability 0.6, three at most
    shares = [float((accepted > position).mean()) for position in range(3)]
    assert ratios.spread_of_a_draft(shares) == pytest.approx(float(accepted.std()), rel=1e-9)
    length = 1 + 0.6 + 0.36 + 0.216
    assert ratios.spread_at_length(length, 3) == pytest.approx(ratios.spread_of_a_draft([0.6, 0.36, 0.216]), rel=1e-6)
    assert ratios.spread_at_length(1.0, 3) == ratios.spread_at_length(4.0, 3) == 0.0


def test_parts_of_the_variance_are_found_again() -> None:
    draw = np.random.default_rng(7)
    within, between = [], []
    for _ in range(2000):
        starts = 2 + 0.02 * draw.standard_normal((6, 1)) + 0.01 * draw.standard_normal((6, 4))
        found = repeated_runs.split(starts.tolist())
        assert found.within is not None
        assert found.between is not None
        within.append(found.within**2)
        between.append(found.between**2)
    assert np.mean(within) == pytest.approx(0.01**2, rel=0.03)
    assert np.mean(between) == pytest.approx(0.02**2, rel=0.06)


def test_what_cannot_be_split_is_not() -> None:
    assert repeated_runs.split([[2.0, 2.2]]).between is None
    assert repeated_runs.split([[2.0], [2.2]]).within is None
    alone = repeated_runs.split([[2.0], [2.2]]).between
    assert alone == pytest.approx(math.sqrt(0.02))
    with pytest.raises(ValueError, match="one run"):
        repeated_runs.mean_of([2.0])


def test_a_sequence_stops_as_soon_as_it_is_decided() -> None:
    errors = Errors(0.01, 0.05)
    wrong = sequential.steps_of_shares([False] * 400, 0.75, 0.05)
    verdict = sequential.decided(wrong, errors, 400)
    assert verdict.decision == "fail"
    assert verdict.after == math.ceil(math.log(100) / math.log(0.3 / 0.25))
    right = sequential.decided(sequential.steps_of_shares([True] * 400, 0.75, 0.05), errors, 400)
    assert right.decision == "pass"
    assert right.after < 60
    short = sequential.decided(wrong, errors, 5)
    assert (short.decision, short.after) == ("inconclusive", 5)
    assert sequential.decided([], errors, 5) == sequential.Verdict("inconclusive", 0, 0.0)
    with pytest.raises(ValueError, match="strictly between"):
        sequential.steps_of_shares([True], 1.0, 0.05)


def test_many_sequences_are_decided_as_one_is() -> None:
    errors, draw = Errors(0.01, 0.05), np.random.default_rng(8)
    steps = sequential.steps_of_shares(draw.random((200, 300)) < 0.72, 0.75, 0.05)
    decisions_, after = sequential.decided_all(steps, errors)
    words = {1: "fail", -1: "pass", 0: "inconclusive"}
    for row, decision, when in zip(steps, decisions_, after, strict=True):
        one = sequential.decided(row, errors, len(row))
        assert (one.decision, one.after) == (words[int(decision)], int(when))


def test_all_checks_together_alarm_as_one_is_stated_to() -> None:
    each = decisions.share_each(0.01, 5)
    assert 1 - (1 - each) ** 5 == pytest.approx(0.01)


def test_a_look_decides_on_either_side_and_not_in_between() -> None:
    equal, loss, errors = looks.Equal(0.9, 0.0, 5, least=0.01), Loss(0.1, 1.0), Errors(0.01, 0.05)
    found = looks.limits(equal, loss, 100, errors, 2, two_sided=False)
    # 100 items that are lost with 10 % lose 4 or fewer in 2.4 % of all runs: half of the false passes, for two looks.
    assert (found.fail_below, found.pass_from, found.fail_above) == pytest.approx((0.86, 0.86, None))
    few = looks.limits(equal, loss, 30, errors, 2, two_sided=True)
    assert (few.fail_below, few.pass_from, few.fail_above) == pytest.approx((0.89, math.inf, 0.91))
    said = [few.decision(value) for value in (0.88, 0.9, 0.92)]
    assert said == ["fail", "inconclusive", "fail"]


def test_with_nothing_lost_it_takes_as_many_as_the_rule_of_three_says() -> None:
    equal, loss, errors = looks.Equal(0.9, 0.0, 5), Loss(0.02, 1.0), Errors(0.01, 0.05)
    needed = looks.observations_to_pass(loss, errors, 1)
    assert needed == pytest.approx(3 / 0.02, rel=0.02)
    for n, decision in ((needed, "pass"), (needed - 1, "inconclusive")):
        assert looks.limits(equal, loss, n, errors, 1, two_sided=False).decision(0.9) == decision


def test_a_look_that_fails_outweighs_one_that_passes() -> None:
    assert looks.decided(["inconclusive", "pass", "fail"]) == "fail"
    assert looks.decided(["pass", "inconclusive"]) == "pass"
    assert looks.decided(["inconclusive", "inconclusive"]) == "inconclusive"


@given(
    n=st.integers(1, 3000), share=st.floats(0.001, 0.5), miss=st.sampled_from([0.05, 0.0125]), most=st.floats(0.5, 8)
)
def test_what_a_loss_shows_at_least_is_the_binomials(n: int, share: float, miss: float, most: float) -> None:
    shown = looks.shown_at_least(Loss(share * most, most), n, miss)
    if shown is None:
        assert binom.cdf(0, n, share) > miss
    else:
        count = round(shown * n / most)
        assert binom.cdf(count, n, share) <= miss * (1 + 1e-6) + 1e-12
        assert binom.cdf(count + 1, n, share) > miss * (1 - 1e-6)


def test_a_hard_beginning_fails_a_good_engine_by_walds_rule_and_not_by_looks() -> None:
    """Why there are two rules: of fixed questions the order is fixed too."""
    right = [False] * 30 + [True] * 70
    wald = sequential.decided(sequential.steps_of_shares(right, 0.7, 0.1), Errors(0.01, 0.05), 100)
    assert wald.decision == "fail"
    first = looks.limits(looks.Equal(0.0, 0.0, 5), Loss(0.1, 1.0), 30, Errors(0.01, 0.05), 2, two_sided=False)
    assert first.decision(0.0) != "fail"


@pytest.mark.parametrize(("lost", "gained"), [(7, 0), (6, 0), (12, 3), (3, 3), (1, 4)])
def test_the_test_on_pairs_is_the_exact_binomials(lost: int, gained: int) -> None:
    there = binomtest(lost, lost + gained, 0.5, alternative="greater").pvalue if lost > gained else 1.0
    assert pairs.p_of_loss(lost, gained) == pytest.approx(there)


def test_pairs_see_half_of_what_two_samples_see() -> None:
    """80 items of which 75 % are right and hardly any flips, as equal builds do on fixed questions."""
    error = math.sqrt(2 * 0.75 * 0.25 / 80)
    alone = decisions.detectable(-normal_quantile(0.01) * error, error)
    assert pairs.least_loss(0, 0.01) / 80 <= alone / 2
    assert (pairs.most_lost(0, 0.01), pairs.most_lost(0, 0.05)) == (6, 4)


def test_groups_that_are_equal_leave_no_noise_and_hide_nothing() -> None:
    then = [(30.0 + each, 10.0) for each in range(10)]
    same = pairs.difference_of_ratios(then, then)
    assert (same.value, same.error, same.groups) == (0.0, 0.0, 10)
    less = pairs.difference_of_ratios(then, [(tokens * 0.98, drafts) for tokens, drafts in then])
    assert less.value == pytest.approx(-0.02 * 3.45)
    assert less.ends[1] < 0
    for wrong in ([], then[:1], [(1.0, 0.0), (1.0, 0.0)]):
        with pytest.raises(ValueError, match=r"no pairs|nothing was counted"):
            pairs.difference_of_ratios(wrong, wrong)
