"""Judging a measured baseline at several looks, and what a case must say to be looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.base.domain import CheckResult, Outcome
from harness.base.errors import UsageError
from harness.base.evidence import Acceptance, Look
from harness.base.settings import EarlyLook, Passport
from harness.calibration.proposal import Asked, Values, passport, problems, proposed
from harness.cases.load import load
from harness.checks import acceptance, accuracy, early_verdicts, noise
from harness.checks.check import least_loss
from harness.plan.detectable import Together
from harness.reports.result import exit_code, judged, skipped
from tests.helpers import edited
from tests.unit.test_checks import accuracy_config, answers, length, measured, only
from tests.unit.test_uncertainty import MODEL, PASSPORT

UNKNOWN = {"main": answers(compared=0, equal=0)}


def with_looks(**changes: Any) -> Passport:
    """A passport of equal runs that did not differ, at one look before the last one."""
    early = EarlyLook(items=200, n=200, expected=0.6, noise=0.0)
    return PASSPORT.model_copy(update={"noise": 0.0, "margin": 0.05, "looks": [early], **changes})


def looked(first: int, *correct: int) -> CheckResult:
    """The accuracy of so many items, and of 400 if both looks were needed."""
    ends = (first, 400)[: len(correct)]
    seen = tuple(Look(asked, asked, right, None) for asked, right in zip(ends, correct, strict=True))
    early = EarlyLook(items=first, n=first, expected=0.6, noise=0.0)
    settings = accuracy_config(
        absolute_tolerance=None, expected=0.6, n=400, relative_tolerance=0.01, passport=with_looks(looks=[early])
    )
    last = seen[-1]
    main = {"main": answers(compared=0, equal=0, planned=last.asked, scored=last.asked, correct=last.correct)}
    return only(accuracy.judge(settings, measured(answers=main, looks=seen)))


@pytest.mark.parametrize(
    ("seen", "outcome", "look"),
    [
        ((200, 120), Outcome.PASS, 1),
        ((200, 60), Outcome.FAIL, 1),
        ((100, 60, 240), Outcome.PASS, 2),  # a hundred right as ever exclude no loss of 5 % yet
        ((100, 60, 230), Outcome.FAIL, 2),
    ],
)
def test_a_verdict_says_at_which_look_it_fell(seen: tuple[int, ...], outcome: Outcome, look: int) -> None:
    result = looked(*seen)
    assert (result.outcome, result.look, result.looks) == (outcome, look, 2), result
    assert result.margin == pytest.approx(0.03)
    assert result.power == 0.95


def test_a_look_that_failed_is_not_made_good_by_the_next_one() -> None:
    result = looked(200, 60, 240)
    assert (result.outcome, result.look) == (Outcome.FAIL, 1)
    assert result.message == "after 200 items it was 0.3, and the bound there is below 0.5925"


def test_what_can_neither_be_excused_nor_be_blamed_is_inconclusive() -> None:
    settings = accuracy_config(
        absolute_tolerance=None, expected=0.6, n=30, relative_tolerance=0.05,
        passport=with_looks(looks=[EarlyLook(items=10, n=10, expected=0.6, noise=0.0)]),
    )  # fmt: skip
    seen = (Look(10, 10, 6, None), Look(30, 30, 18, None))
    main = {"main": answers(compared=0, equal=0, planned=30, scored=30, correct=18)}
    result = only(accuracy.judge(settings, measured(answers=main, looks=seen)))
    assert result.outcome is Outcome.INCONCLUSIVE
    assert "undecided after all 30 items" in result.message
    assert "no value would do yet" in result.message
    green = CheckResult("validity", Outcome.PASS)
    assert judged([], [green, result], interrupted=False) is Outcome.INCONCLUSIVE
    assert judged([], [result, CheckResult("x", Outcome.FAIL)], interrupted=False) is Outcome.FAIL


def test_inconclusive_is_an_exit_code_of_its_own_unless_it_is_allowed() -> None:
    result = skipped(suite="s", name="n", platform="cpu", started="2026-11-28T00:00:00", reason="none").model_copy(
        update={"outcome": Outcome.INCONCLUSIVE, "exit_code": 4}
    )
    assert exit_code([result]) == 4
    assert exit_code([result], allow_inconclusive=True) == 0


def drafted(items: int, drafts: int, accepted: int) -> Look:
    positions = (accepted // 2, accepted // 3, accepted - accepted // 2 - accepted // 3)
    return Look(items, 0, 0, Acceptance(drafts, 3 * drafts, accepted, positions))


def test_acceptance_is_judged_by_drafts_and_positions_only_raise_alarms() -> None:
    early = EarlyLook(items=8, n=1000, expected=3.0, noise=0.0)
    settings = length(expected=3.0, n=2000, passport=with_looks(looks=[early]))
    shares = acceptance.AcceptancePerPositionSettings.model_validate({
        "expected": [1.0, 0.6, 0.4], "direction": "at-least", "relative_tolerance": 0.01, "n": 2000, "origin": "x" * 10,
        "passport": with_looks(
            noise=[0.0] * 3, low=[0.0] * 3, high=[1.0] * 3,
            looks=[EarlyLook(items=8, n=1000, expected=[1.0, 0.66, 0.34], noise=[0.0] * 3)],
        ),
    })  # fmt: skip
    configured = {"acceptance_length": settings}
    assert early_verdicts.is_over(configured, [drafted(8, 1000, 2000)])
    assert not early_verdicts.is_over(configured, [Look(8, 0, 0, Acceptance(0, 0, 0, ()))])
    assert not early_verdicts.is_over(configured, [drafted(8, 1000, 2000)], measure_only=True)
    both = configured | {"acceptance_per_position": shares}
    assert early_verdicts.is_over(both, [drafted(8, 1000, 2000)])
    lower = drafted(8, 1000, 1990)
    assert early_verdicts.is_over({"acceptance_per_position": shares}, [lower])  # an alarm
    borrowed = accuracy_config(expected=0.6, n=16)
    assert not early_verdicts.is_over(configured | {"accuracy": borrowed}, [drafted(8, 1000, 2000)])


def test_a_bound_that_shares_its_rate_is_wider_and_what_it_lets_through_is_not_green() -> None:
    """3.0 is measured: further below what is expected than the bound, and than what excludes a loss of the margin."""
    noisy = PASSPORT.model_copy(update={"noise": 0.02, "margin": 0.05})
    settings = length(expected=3.13, relative_tolerance=0.037, passport=noisy)
    evidence = measured(answers=UNKNOWN)
    for share, outcome in ((1.0, Outcome.FAIL), (0.001, Outcome.INCONCLUSIVE)):
        (wider,) = noise.sharing({"acceptance_length": settings}, share).values()
        result = only(acceptance.judge_length(wider, evidence))
        assert result.outcome is outcome
        assert result.false_alarm == pytest.approx(0.001 * share)
    assert "raise --family-wise" in result.message
    nearer = settings.model_copy(update={"expected": 3.05})
    assert only(acceptance.judge_length(nearer, evidence)).outcome is Outcome.PASS


def test_a_plan_says_what_the_looks_exclude() -> None:
    early = EarlyLook(items=4, n=500, expected=3.0, noise=0.0)
    settings = length(expected=3.0, n=2000, relative_tolerance=0.006, passport=with_looks(looks=[early]))
    assert least_loss(3.0, 2000, settings, None) == pytest.approx(0.15)
    alone = least_loss(3.0, 2000, length(expected=3.0, relative_tolerance=0.006, passport=PASSPORT), None)
    assert alone is not None
    assert alone < 0.03


def test_of_fewer_drafts_the_closest_bound_is_wider() -> None:
    """What another order of adding changes in a few texts weighs more the fewer there are."""
    early = EarlyLook(items=4, n=500, expected=3.0, noise=0.0)
    settings = length(expected=3.0, n=2000, passport=with_looks(looks=[early]))
    for accepted, over in ((158, False), (157, True)):  # 2.975 is open, and 2.9625 fails: 3.0 -+ 0.03
        look = drafted(4, 80, accepted)
        assert early_verdicts.is_over({"acceptance_length": settings}, [look]) is over
    assert noise.least_width(3.0, 1, of_items=False, part=0.25) == pytest.approx(0.03)


def test_all_checks_together_keep_one_rate() -> None:
    assert Together(20, 0.2, 0.05).share == pytest.approx(0.25)
    assert Together(2, 0.02, 0.05).share == 1.0
    assert Together(0, 0.0, 0.05).words == ""
    assert "0.05 of all such runs at most, which leaves each 0.25 of its own rate" in Together(20, 0.2, 0.05).words


def values(n: int, *early: tuple[int, int]) -> Values:
    """Equal runs with an accuracy of 0.6."""
    runs = ((0.6,),) * 5
    return Values("accuracy", runs, n, early=tuple((items, Values("accuracy", runs, of)) for items, of in early))


def test_a_calibration_with_looks_says_where_it_could_never_pass() -> None:
    asked = Asked(0.01, margin=0.05)
    enough = proposed(values(400, (200, 200)), asked)
    assert "status" not in enough
    few = proposed(values(100, (50, 50)), asked)
    assert few["status"] == "provisional"
    assert few["why"] == "100 observations cannot exclude a loss of 5.0%: it takes 122 at least; raise evaluation.items"
    where = {key: getattr(PASSPORT, key) for key in (
        "engine", "device", "protocol", "prompts", "concurrency", "date", "expires", "run",
    )}  # fmt: skip
    table = passport(values(400, (200, 200)), asked, where)
    assert table["looks"] == [{"items": 200, "n": 200, "expected": 0.6, "noise": 0.0}]
    for margin, told in ((0.05, ()), (0.2, ("a loss of 10% passes",))):
        there = Passport.model_validate(table | {"margin": margin})
        settings = accuracy_config(**{**enough, "absolute_tolerance": None, "passport": there})
        assert [line.partition(";")[0] for line in problems("accuracy", settings, [0.6])] == list(told)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"evaluation/looks": [4, 4]}, "looks: must be numbers of items that rise and end below items, which is 8"),
        ({"evaluation/looks": [4, 8]}, "looks: must be numbers of items that rise and end below items"),
        ({"evaluation/looks": [0]}, "greater than or equal to 1"),
    ],
)
def test_looks_that_are_none_are_one_line(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load(edited(tmp_path, "draft_model/known_answer", MODEL | changes, generate=False))


def test_what_is_known_beforehand_is_not_looked_at(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"evaluation.looks: every answer is known beforehand; leave it out"):
        load(edited(tmp_path, "draft_model/known_answer", {"evaluation/looks": [4]}, generate=False))
