"""What can only pass, what nobody uses any more, and that `run` refuses what `check` does."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UsageError
from harness.cases.load import load
from harness.plan.points import everything
from harness.plan.soundness import floors, of_point
from harness.run.selection import matching, select
from harness.upkeep.rules import problems
from harness.upkeep.unused import Tree, around, leftovers, unused_pins
from tests.helpers import BASELINES, edited
from tests.unit.test_plan import DISAGG, MATRIX, NO_FLASHINFER, SINGLE, WORKFLOWS, excluded


def test_a_control_that_scores_exactly_nothing_is_none_that_passes_with_anything() -> None:
    case = next(each.case for each in everything(load(BASELINES)) if each.id == DISAGG)
    assert {(control.expected, control.direction) for control in case.controls.values()} == {(0.0, "two-sided")}
    assert list(floors(case)) == []


def test_a_protocol_with_choices_has_a_floor_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"checks/accuracy/expected": 0.4, "checks/accuracy/absolute_tolerance": 0.15}
    (planned,) = everything(load(edited(tmp_path, SINGLE, changes)))
    assert of_point(planned) == []
    monkeypatch.setattr(type(planned.case.evaluation), "GUESSED", 0.25)
    (found,) = of_point(planned)
    assert "checks.accuracy: passes with what guessing scores, 0.25" in found


def test_run_refuses_what_check_refuses_of_the_cases_that_run_and_of_no_others(tmp_path: Path) -> None:
    folder = edited(
        tmp_path, SINGLE, {"checks/accuracy/absolute_tolerance": 0.8, "checks/parity/absolute_tolerance": 1.0}
    )
    wanted: dict[str, Any] = {"wanted": [], "platform": "cpu"}
    found = [each for one in everything(load(folder)) for each in of_point(one)]
    assert len(found) == 2
    assert set(found) <= set(problems(everything(load(folder)), WORKFLOWS, None))
    with pytest.raises(UsageError) as refused:
        select(folder, **wanted)
    assert str(refused.value) == f"{found[0]} (and 1 more); `harness check` says what else"
    assert len(matching(folder, **wanted)) == 1, "planned and shown all the same"
    edited(tmp_path / "other", DISAGG, {})
    shutil.copytree(tmp_path / "other" / "disagg", folder / "disagg")
    assert [each.id for each in select(folder, **wanted | {"wanted": [DISAGG]})] == [DISAGG]


@pytest.mark.parametrize(
    ("since", "today", "words"),
    [
        (date(2020, 1, 1), date(2026, 11, 27), "exclude[0].since: 2020-01-01 is 2522 days ago; look again"),
        (date(2025, 11, 26), date(2026, 11, 27), "exclude[0].since: 2025-11-26 is 366 days ago; look again"),
        (date(2025, 11, 27), date(2026, 11, 27), ""),
        (date(2026, 11, 28), date(2026, 11, 27), "exclude[0].since: 2026-11-28 is yet to come"),
    ],
)
def test_an_exclusion_is_looked_at_again(tmp_path: Path, since: date, today: date, words: str) -> None:
    planned = everything(load(edited(tmp_path, SINGLE, MATRIX | excluded(NO_FLASHINFER | {"since": str(since)}))))
    found = [each for each in problems(planned, WORKFLOWS, None, today=today) if "since" in each]
    assert [words in each for each in found] == ([True] if words else [])


def test_what_nobody_uses_is_found(tmp_path: Path) -> None:
    planned = everything(load(edited(tmp_path, SINGLE, {})))
    around = Tree(
        suites=["draft_model", "left_over"],
        scripts=["scripts/serve", "scripts/gone", "docker/step.sh", "docker/gone.sh"],
        texts={
            "README.md": "scripts/serve; scripts/gone-too; ascripts/gone",
            "docker/Dockerfile": "RUN /opt/step.sh && /opt/not-gone.sh",
            "docker/gone.sh": "# docker/gone.sh",
        },
    )
    assert list(leftovers(planned, around)) == [
        "suite left_over: has no case; add one to left_over/ or remove the folder",
        "docker/gone.sh: nothing calls it and no page names it; remove it",
        "scripts/gone: nothing calls it and no page names it; remove it",
    ]
    pinned = {("vllm", "cpu"), ("sglang", "rocm")}
    assert list(unused_pins(planned, pinned)) == [
        "docker/pins.toml: sglang.rocm: no case runs there; remove it or add one"
    ]
    found = problems(planned, WORKFLOWS, None, pinned, around)
    assert {each.split(":")[0] for each in found} == {
        "suite left_over",
        "docker/gone.sh",
        "scripts/gone",
        "docker/pins.toml",
    }


def test_what_lies_around_the_cases_of_this_tree_is_all_in_use() -> None:
    found = around(BASELINES)
    assert found is not None
    assert {"scripts/serve", "docker/compile.sh"} <= set(found.scripts)
    assert list(leftovers(everything(load(BASELINES)), found)) == []
    assert around(BASELINES / "eagle3") is None, "cases of somebody else's"
