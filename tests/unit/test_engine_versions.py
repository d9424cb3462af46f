"""Points that are for some versions of an engine only."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from harness.base.errors import UsageError
from harness.cases.engine_versions import NEWER, EngineCondition, taken, words
from harness.cases.load import load
from harness.cases.overlays import idle
from harness.images import base_images, pinned_versions
from harness.plan.points import Planned, everything
from tests.helpers import BASELINES, edited

CASE = "eagle3/known_answer"
MATRIX: dict[str, Any] = {"matrix": {"size": {"small": {}, "large": {"serve": {"flags": {"max-model-len": 2048}}}}}}
REASON = "an old build has no large ones"


def rule(version: str, **more: Any) -> dict[str, Any]:
    return {"engine": {"version": version}, "reason": REASON, **more}


def excluded(version: str, **match: str) -> dict[str, Any]:
    found = rule(version, since=date(2026, 11, 27))
    return MATRIX | {"exclude": [found | ({"match": match} if match else {})]}


def points(folder: Path, changes: dict[str, Any], version: str | None, *, decided: bool = True) -> list[Planned]:
    cases = load(edited(folder, CASE, changes, generate=False))
    return everything(cases, "", lambda _engine, _platform: version, decided=decided)


@pytest.mark.parametrize(
    ("said", "counts_as"),
    [
        ("0.33.0", "0.33.0"),
        ("0.33.0+cu130", "0.33.0"),
        ("0.33.0.post1", "0.33.0.post1"),
        ("0.34.0.dev12+gabc", "0.34.0"),
        ("0.34.0rc1", "0.34.0"),
        ("0.34.1rc2.dev191+g0123.d20261127", "0.34.1"),
        ("0.1.dev10990+gabc", "9999"),
        ("0.0.0.dev0", "9999"),
        ("0.0.1", "0.0.1"),
        ("dev", "9999"),
        ("", "9999"),
    ],
)
def test_a_version_stands_for_a_release(said: str, counts_as: str) -> None:
    assert taken(said) == Version(counts_as)
    assert bool(words(said)) == (taken(said) == NEWER or Version(said).is_prerelease)


@pytest.mark.parametrize(
    ("condition", "holds", "does_not"),
    [
        (">=0.29", ["0.29.0", "0.29.0.dev1", "0.30", "dev"], ["0.28.1", "0.28.1.dev3"]),
        (">=0.26,<0.29", ["0.26.0", "0.28.9+cpu"], ["0.25.9", "0.29.0", "0.29.0rc1", ""]),
        ("==0.30.*", ["0.30.0", "0.30.2.post1"], ["0.31.0"]),
        ("!=0.31.0", ["0.30.0"], ["0.31.0", "0.31.0+cu130"]),
    ],
)
def test_conditions_are_version_specifiers(condition: str, holds: list[str], does_not: list[str]) -> None:
    given = EngineCondition(version=condition)
    assert [each for each in (*holds, *does_not) if given.holds(taken(each))] == holds


@pytest.mark.parametrize("wrong", ["0.29", "newer", "", ">=", "===0.29", ">=0.29;<0.3"])
def test_what_is_no_specifier_is_named_with_its_key(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(UsageError, match=r"known_answer\.toml: exclude\.0\.engine\.version: must be version spec"):
        points(tmp_path, excluded(wrong, size="large"), None)


def test_a_rule_must_say_when_it_holds(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"says neither match nor engine\.version"):
        points(tmp_path, MATRIX | {"exclude": [{"reason": REASON, "since": date(2026, 11, 27)}]}, None)


def test_a_point_that_is_not_there_says_on_which_version_and_why(tmp_path: Path) -> None:
    changes = excluded("<0.29", size="large")
    small, large = points(tmp_path / "old", changes, "0.28.1")
    assert small.skip == ""
    assert large.skip == f"not on vllm 0.28.1: {REASON} (since 2026-11-27)"
    assert [each.skip for each in points(tmp_path / "new", changes, "0.29.0.dev3+gabc")] == ["", ""]
    assert [each.skip for each in points(tmp_path / "unknown", changes, None)] == ["", ""]
    undecided = points(tmp_path / "later", changes, "0.28.1", decided=False)
    assert [each.skip for each in undecided] == ["", ""], "the build that is there decides"
    assert undecided[1].on("0.28.0.dev1").skip.startswith("not on vllm 0.28.0.dev1, which counts as 0.28.0: an old")
    assert undecided[1].on("0.29.0").skip == ""


def test_a_whole_case_may_be_for_some_versions(tmp_path: Path) -> None:
    changes = {"exclude": [rule("<0.29", since=date(2026, 11, 27))]}
    (only,) = points(tmp_path, changes, "0.28.1")
    assert "not on vllm 0.28.1" in only.skip


def test_what_is_asked_may_be_on_an_axis_of_a_case_for_some_versions(tmp_path: Path) -> None:
    asked = {"protocol": "known_answer_qa", "items": 100, "first_key": 0, "max_tokens": 128}
    axis = {"matrix": {"asked": {"here": {"evaluation": asked}, "there": {"evaluation": asked | {"concurrency": 2}}}}}
    rules = [rule("<0.29", since=date(2026, 11, 27), match={"asked": "there"})]
    changes = axis | {"evaluation": None, "exclude": rules}
    here, there = (each for each in points(tmp_path, changes, "0.26.0") if each.platform == "cpu")
    assert (here.skip, there.case.evaluation.concurrency) == ("", 2)
    assert REASON in there.skip


def test_a_build_decides_what_a_point_sets(tmp_path: Path) -> None:
    changes = {"when": [rule(">=0.33", set={"serve": {"flags": {"max-model-len": 512}}})]}
    (point,) = points(tmp_path, changes, "0.32.0")
    assert point.conditional
    assert point.case.serve.flags["max-model-len"] == 1024
    assert point.on("0.33.0+cpu").case.serve.flags["max-model-len"] == 512
    assert point.on("").case.serve.flags["max-model-len"] == 512, "no version: of the newest sources"


def test_what_is_wrong_on_some_version_only_is_found_when_cases_are_read(tmp_path: Path) -> None:
    changes = {"when": [rule(">=0.33", set={"serve": {"flagz": {"max-model-len": 512}}})]}
    with pytest.raises(UsageError, match="flagz"):
        points(tmp_path, changes, None)


def test_a_rule_that_is_needed_on_some_version_is_not_idle(tmp_path: Path) -> None:
    def said(name: str, **settings: Any) -> list[str]:
        changes = MATRIX | {"when": [rule(">=0.33", set={"serve": {"flags": settings}})]}
        return list(idle(load(edited(tmp_path / name, CASE, changes, generate=False))))

    assert said("needed", **{"max-model-len": 512}) == []
    (dead,) = said("dead", dtype="bfloat16")
    assert "when[0].set.serve.flags.dtype: changes nothing" in dead


@pytest.mark.parametrize(
    ("version", "there", "gone"),
    [("0.26.0", "cross_layers", "blocks_outermost"), ("0.28.0", "cross_layers", "blocks_outermost")]
    + [(version, "blocks_outermost", "cross_layers") for version in ("0.29.0", "0.30.0", "0.32.0", "0.33.0")],
)
def test_block_layouts_of_the_transfer_suite_exist_where_they_mean_something(
    version: str, there: str, gone: str
) -> None:
    disagg = [each for each in load(BASELINES) if each.id.startswith("disagg/accuracy_")]
    variants: dict[str, set[bool]] = {}
    for each in everything(disagg, "", lambda _engine, _platform: version):
        if each.platform == "cuda" and "variant" in dict(each.variant):
            variants.setdefault(dict(each.variant)["variant"], set()).add(not each.skip)
    assert variants[there] == {True}
    assert variants[gone] == {False}


def test_the_version_of_pins_and_locks() -> None:
    assert pinned_versions.version("vllm", "cpu") == "0.32.0"
    assert pinned_versions.version("vllm", "cuda") == "0.30.0"
    assert pinned_versions.version("sglang", "rocm") == "0.5.17"


def test_away_from_a_checkout_nothing_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_images, "FILE", tmp_path / "pins.toml")
    assert pinned_versions.version("vllm", "cuda") is None
    assert pinned_versions.version("sglang", "cpu") is None
