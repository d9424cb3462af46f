"""What every measured ratio says besides its value, and what becomes of a baseline that is none yet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.base.domain import CheckResult, Outcome, Sample
from harness.base.errors import UsageError
from harness.base.evidence import Acceptance, Verifications
from harness.base.settings import Passport
from harness.cases.load import load
from harness.checks import acceptance, accuracy
from harness.checks.measuring import unjudged_too
from harness.plan.detectable import Sight, of_case
from harness.plan.detectable import table as power_table
from harness.plan.points import everything
from harness.reports.numbers import shown
from harness.reports.result import judged
from tests.helpers import BASELINES, edited
from tests.unit.test_checks import accuracy_config, answers, length, measured, only

PASSPORT = Passport(
    runs=9, noise=0.002, low=2.999, high=3.001, false_alarm=0.001, engine="vllm 0.32.0", device="cpu", protocol="x1",
    prompts="0" * 64, concurrency=4, date="2026-11-28", expires="2027-05-28", run="a-run",
)  # fmt: skip
UNKNOWN = {"main": answers(compared=0, equal=0)}  # nobody knows the texts of a published model


def test_accuracy_has_the_interval_of_its_items_and_says_what_it_sees() -> None:
    result = only(accuracy.judge(accuracy_config(absolute_tolerance=0.1), measured(answers=UNKNOWN)))
    assert result.interval == pytest.approx((0.3127, 0.8318), abs=1e-3)  # Wilson, 6 of 10
    assert result.detects == pytest.approx(0.1 + 1.645 * (0.6 * 0.4 / 10) ** 0.5, abs=1e-3)
    assert shown(result)["interval_of"] == "items"
    assert shown(result)["detects"] == "-0.355 (59.1%)"


def test_of_answers_known_beforehand_one_wrong_item_is_seen() -> None:
    assert only(accuracy.judge(accuracy_config(), measured())).detects == pytest.approx(0.1)


def groups(*tokens: int) -> tuple[Acceptance, ...]:
    return tuple(Acceptance(10, 30, each, ()) for each in tokens)


def test_acceptance_is_clustered_by_groups_of_requests_where_they_were_read() -> None:
    few = only(acceptance.judge_length(length(), measured(answers=UNKNOWN)))
    assert few.interval_of == "drafts, taken as independent"
    evidence = measured(answers=UNKNOWN, acceptance_groups=groups(10, 30, 10, 30, 10, 30, 10, 30, 20, 20))
    result = only(acceptance.judge_length(length(), evidence))
    assert result.interval_of == "10 groups of requests"
    assert few.interval
    assert result.interval
    assert result.interval[1] - result.interval[0] > 3 * (few.interval[1] - few.interval[0])
    assert sum(result.interval) / 2 == pytest.approx(3.0)


def test_positions_are_clustered_too() -> None:
    settings = acceptance.AcceptancePerPositionSettings.model_validate(
        {"expected": [0.9, 0.7, 0.4], "direction": "at-least", "relative_tolerance": 0.05, "n": 100, "origin": "x" * 10}
    )
    each = tuple(Acceptance(10, 30, 0, (9 + (-1) ** index, 7, 4)) for index in range(10))
    first, second, _ = acceptance.judge_positions(settings, measured(answers=UNKNOWN, acceptance_groups=each))
    assert first.interval_of == second.interval_of == "10 groups of requests"
    assert second.interval == pytest.approx((0.7, 0.7))


def test_an_engine_that_counts_no_positions_has_an_interval_all_the_same() -> None:
    result = only(acceptance.judge_length(length(), measured(answers=UNKNOWN, acceptance=Verifications(100, 300))))
    assert result.interval
    assert result.interval[0] < 3.0 < result.interval[1]


def test_a_measured_baseline_says_its_noise_and_not_that_of_other_items() -> None:
    result = only(acceptance.judge_length(length(relative_tolerance=0.01, passport=PASSPORT), measured()))
    assert result.false_alarm == 0.001
    assert result.detects == pytest.approx(0.03 + 1.8595 * 0.002 * (1 + 1 / 9) ** 0.5, abs=1e-4)


def test_a_provisional_baseline_is_shown_and_never_judged() -> None:
    result = only(acceptance.judge_length(length(expected=99.0, status="provisional"), measured()))
    assert (result.outcome, result.expected, result.measured) == (Outcome.MEASURED, 99.0, 3.0)
    assert (result.low, result.high, result.detects) == (None, None, None)
    assert result.message.startswith("provisional: ")
    green = CheckResult("validity", Outcome.PASS)
    assert judged([], [green, result], interrupted=False) is Outcome.MEASURED
    failed = CheckResult("accuracy", Outcome.FAIL)
    assert judged([], [green, result, failed], interrupted=False) is Outcome.FAIL


def test_somebody_elses_figure_is_judged_by_their_rule_and_says_whose_it_is() -> None:
    for expected, outcome in ((3.1, Outcome.PASS), (3.3, Outcome.FAIL)):
        result = only(acceptance.judge_length(length(expected=expected, status="borrowed"), measured()))
        assert (result.outcome, result.status, result.false_alarm) == (outcome, "borrowed", None)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"n": 105}, ""),
        ({"n": 500}, "the baseline is of 500 drafts, this run of 100"),
        ({"n": 10, "counts": "items"}, ""),
        ({"n": 3, "counts": "items"}, "the baseline is of 3 items, this run of 10"),
    ],
)
def test_another_number_of_observations_than_declared_is_told(changes: dict[str, Any], told: str) -> None:
    assert only(acceptance.judge_length(length(**changes), measured())).message == told
    red = only(acceptance.judge_length(length(expected=4.0, **changes), measured()))
    assert (red.message, red.details) == ("", told)


MODEL = {
    "serve/model": {"repo": "somebody/something", "revision": "0" * 40},
    "serve/speculation": {
        "method": "ngram",
        "num_speculative_tokens": 3,
        "prompt_lookup_min": 1,
        "prompt_lookup_max": 2,
    },
    "evaluation": {"protocol": "mt_bench_first_turn", "items": 8, "max_tokens": 16},
    "checks": {},
    "controls": {},
}


def test_a_published_model_without_a_baseline_loads_and_is_not_green(tmp_path: Path) -> None:
    (found,) = load(edited(tmp_path, "draft_model/known_answer", MODEL, generate=False))
    assert found.resolve("cpu").without_baseline == ("acceptance_length",)
    sample = Sample("main", "K00", 200, "", "text", 8, 4, 0.0, 1.0, "length")
    evidence = replace(measured(), samples=(sample,))
    results = unjudged_too([CheckResult("validity", Outcome.PASS)], evidence, ("acceptance_length",))
    (seen,) = (each for each in results if each.name == "acceptance_length")
    assert (seen.outcome, seen.measured) == (Outcome.MEASURED, 3.0)
    assert "harness calibrate" in seen.message
    assert judged([], results, interrupted=False) is Outcome.MEASURED


def test_a_case_with_all_its_baselines_gets_nothing_more() -> None:
    results = [CheckResult("validity", Outcome.PASS)]
    assert unjudged_too(results, measured(), ()) == results


def test_n_of_items_must_be_theirs(tmp_path: Path) -> None:
    fields = length(n=80, counts="items", status="borrowed").model_dump(exclude_none=True)
    wrong = MODEL | {"checks": {"acceptance_length": {**fields, "history": []}}}
    with pytest.raises(UsageError, match=r"checks.acceptance_length: n is 80, the evaluation asks 8 items"):
        load(edited(tmp_path, "draft_model/known_answer", wrong, generate=False))


def seen(folder: Path, **changes: Any) -> list[Sight]:
    table = length(n=200).model_dump(exclude_none=True) | changes
    wrong = MODEL | {"checks": {"acceptance_length": {**table, "history": []}}}
    (case_file,) = load(edited(folder, "draft_model/known_answer", wrong, generate=False))
    return list(of_case(case_file.resolve("cpu")))


def test_before_a_run_a_plan_says_what_each_check_will_see(tmp_path: Path) -> None:
    (drafts,) = seen(tmp_path / "drafts")
    assert (drafts.check, drafts.status, drafts.n, drafts.known) == ("acceptance_length", "gating", 200, False)
    assert drafts.loss is not None
    assert 0.05 < drafts.loss < 0.15
    (items,) = seen(tmp_path / "items", n=8, counts="items", status="borrowed")
    assert items.n == 8 * 16 // 3  # as many drafts as there can be
    assert [each.loss for each in seen(tmp_path / "floor", status="floor")] == [None]


def test_more_observations_are_named_for_what_is_harder_to_see(tmp_path: Path) -> None:
    (short,) = seen(tmp_path / "short", expected=1.2)
    (long,) = seen(tmp_path / "long", expected=3.5)
    assert short.needed is not None
    assert long.needed is not None
    assert short.needed > long.needed


def test_the_table_of_powers_has_one_line_for_points_alike() -> None:
    planned = [each for each in everything(load(BASELINES)) if each.case_file.id == "eagle3/qwen3_8b"]
    text = power_table(planned, 0.05)
    assert text.count("acceptance_length") == 1
    assert "points)" in text
    assert "no check states how often an equal run is red" in text
