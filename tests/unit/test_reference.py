"""A run next to a stored one: which items and groups are pairs, and what they say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.base.domain import CheckResult, Outcome, Sample
from harness.base.evidence import Acceptance
from harness.base.paired import Paired, PairedItem
from harness.cases.load import load
from harness.checks import against_reference as check
from harness.run.reference_record import Answer, Drafted, Reference, drafted, paired
from tests.helpers import BASELINES
from tests.unit.test_checks import measured

EVALUATION = next(case for case in load(BASELINES) if case.id == "published/gsm8k_worked").resolve("cpu").evaluation
NOTHING = Paired("runs/x (vllm 1, 2026-11-28)", (), 0, (), (), drafts=False)


def judged(paired_: Paired, share: float = 1.0) -> dict[str, CheckResult]:
    return {each.name: each for each in check.judge(replace(measured(), paired=paired_, alarm_share=share))}


def items(both: int, lost: int, gained: int) -> tuple[PairedItem, ...]:
    pairs = [(True, True)] * both + [(True, False)] * lost + [(False, True)] * gained
    return tuple(PairedItem(f"G{at}", *pair, same_text=pair == (True, True)) for at, pair in enumerate(pairs))


@pytest.mark.parametrize(
    ("lost", "gained", "outcome"),
    [(6, 0, Outcome.PASS), (7, 0, Outcome.FAIL), (9, 5, Outcome.PASS), (0, 30, Outcome.PASS)],
)
def test_items_that_were_right_in_one_run_only_decide(lost: int, gained: int, outcome: Outcome) -> None:
    result = judged(replace(NOTHING, items=items(60, lost, gained)))["reference[accuracy]"]
    n = 60 + lost + gained
    assert (result.outcome, result.n, result.measured) == (outcome, n, (gained - lost) / n)
    assert f"{lost} items lost and {gained} gained against runs/x" in result.message
    assert f"60 of {n} texts are equal" in result.message


def test_a_share_of_the_rate_takes_more_to_be_red() -> None:
    seven = replace(NOTHING, items=items(60, 7, 0))
    result = judged(seven, share=0.1)["reference[accuracy]"]
    assert (result.outcome, result.false_alarm) == (Outcome.PASS, check.FALSE_ALARM * 0.1)


THEN = tuple((300.0 + 7 * (at % 3), 100.0) for at in range(10))


def test_acceptance_is_compared_over_the_same_groups() -> None:
    for factor, outcome in ((1.0, Outcome.PASS), (0.97, Outcome.FAIL), (1.05, Outcome.PASS)):
        now = tuple((tokens * factor + (at % 2), of) for at, (tokens, of) in enumerate(THEN))
        result = judged(replace(NOTHING, groups_then=THEN, groups_now=now, drafts=True))["reference[acceptance_length]"]
        assert result.outcome is outcome
        assert result.interval_of == "10 groups of requests, paired"
        assert result.detects is not None
        assert result.detects < 0.02 * 3.06  # though groups differ by 2 % among themselves


def test_what_cannot_be_compared_says_so_and_is_no_pass() -> None:
    few = judged(replace(NOTHING, groups_then=THEN[:7], groups_now=THEN[:7], drafts=True))
    assert few["reference[acceptance_length]"].outcome is Outcome.SKIPPED
    none = judged(replace(NOTHING, groups_then=THEN, groups_now=((0.0, 0.0),) * 10, drafts=True))
    assert none["reference[acceptance_length]"].outcome is Outcome.FAIL
    assert judged(NOTHING)["reference"].outcome is Outcome.SKIPPED
    assert check.judge(measured()) == []


def test_groups_are_pairs_where_both_runs_were_read_after_as_many_requests() -> None:
    def group(drafts: int, accepted: int) -> Acceptance:
        return Acceptance(drafts, 3 * drafts, accepted, (accepted, 0, 0))

    then = measured(acceptance_groups=(group(10, 5), group(20, 10), group(30, 9)), group_ends=(2, 4, 6)).measured
    now = measured(acceptance_groups=(group(31, 16), group(29, 8)), group_ends=(4, 6)).measured
    stored = Reference(
        run="r", run_id="i", build="b", created="2026-11-28T00:00:00", prompts="0" * 64,
        answers={"G0": Answer(text="#### 7", right=True), "G1": Answer(text="8", right=False)}, drafted=drafted(then),
    )  # fmt: skip
    assert stored.drafted[1] == Drafted(done=4, tokens=45.0, drafts=30)
    sample = Sample("main", "G0", 200, "", "8", 8, 4, 0.0, 1.0, "length", expected="7")
    found = paired(stored, EVALUATION, [sample, replace(sample, run="direct", item="G1")], now)
    assert found.items == (PairedItem("G0", True, False, same_text=False),)
    assert found.alone == 1
    assert list(found.groups_then) == [(45.0, 30), (39.0, 30)]
    assert list(found.groups_now) == [(47.0, 31), (37.0, 29)]
    assert drafted(replace(now, group_ends=())) == []  # read by a version that did not say when
