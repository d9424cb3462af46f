"""A flag that an engine takes and does not heed is named, and so is what nobody can see."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from harness.base.domain import CheckResult, Outcome
from tests.fake.conftest import DISAGG, ONE_POINT, SGLANG, Judge
from tests.helpers import harness


def in_force(result: Any) -> CheckResult:
    (found,) = [each for each in result.checks if each.name == "in_force"]
    return found  # type: ignore[no-any-return]


def test_what_is_asked_for_is_in_force(judge: Judge) -> None:
    run = judge(ONE_POINT, {})
    assert run.code == 0, run.output
    found = in_force(run.result)
    assert found.outcome is Outcome.PASS
    assert isinstance(found.measured, dict)
    assert found.measured["different"] == 0
    assert found.measured["unseen"] > 0
    assert f"in_force: {found.message}" in run.output
    assert found.message.startswith(f"{found.measured['unseen']} of the settings")
    assert "OMP_NUM_THREADS" in found.message
    document = (run.directory / "junit.xml").read_text()
    assert f'name="in_force.measured.unseen" value="{found.measured["unseen"]}"' in document
    assert f'name="in_force.message" value="{found.message}"' in document


def test_a_flag_that_is_taken_and_ignored_is_named(judge: Judge, tmp_path: Path) -> None:
    run = judge(ONE_POINT, {"server": {"ignores": ["block-size", "enforce-eager"]}})
    assert run.code == 1, run.output
    assert run.problems["in_force"] == (
        "server: block-size is 16, and 32 was asked for; server: enforce-eager is False, and True was asked for"
    )
    # The same from the files alone.
    copy = tmp_path / "copy"
    shutil.copytree(run.directory, copy, symlinks=True)
    assert harness("assert", copy).returncode == 1
    again = json.loads((copy / "rejudged.json").read_text())["checks"]
    assert next(each for each in again if each["name"] == "in_force")["message"] == run.problems["in_force"]


def test_one_side_that_ignores_a_flag_is_named(judge: Judge) -> None:
    run = judge(DISAGG, {"decode": {"ignores": ["enable-prefix-caching"]}})
    assert run.code == 1, run.output
    assert run.problems == {"in_force": "decode: enable-prefix-caching is True, and False was asked for"}


def test_where_the_wording_moved_nothing_is_verified_and_nothing_fails(judge: Judge) -> None:
    run = judge(ONE_POINT, {"server": {"silent": True}})
    assert run.code == 0, run.output
    assert run.problems["in_force"].startswith("not verified: nothing of what the servers wrote and said shows")
    assert run.result.outcome is Outcome.PASS
    assert "not verified" in run.output


def test_sglang_says_something_else_than_was_asked_for(judge: Judge) -> None:
    run = judge(SGLANG, {"server": {"info": {"page_size": 128}}})
    assert run.code == 1, run.output
    assert "server: page-size is 128" in run.problems["in_force"]


def test_points_that_came_out_the_same_are_named(judge: Judge) -> None:
    small = {"serve": {"flags": {"block-size": 16}}}
    large = {"serve": {"flags": {"block-size": 64}}}
    run = judge(ONE_POINT, {"server": {"ignores": ["block-size"]}}, {"matrix/block": {"small": small, "large": large}})
    assert run.code == 1, run.output
    assert (
        "mtp/known_answer_k1[block=small] and mtp/known_answer_k1[block=large] ask for different block-size, "
        "and nothing that was seen differs"
    ) in run.output


def test_points_that_nobody_can_tell_apart_are_named(judge: Judge) -> None:
    one = {"serve": {"env": {"OMP_NUM_THREADS": "1"}}}
    two = {"serve": {"env": {"OMP_NUM_THREADS": "2"}}}
    run = judge(ONE_POINT, {}, {"matrix/threads": {"one": one, "two": two}})
    assert run.code == 0, run.output
    assert "ask for different OMP_NUM_THREADS, and nothing that was seen differs (no server shows it)" in run.output


def test_points_that_differ_in_force_are_not_named(judge: Judge) -> None:
    small = {"serve": {"flags": {"block-size": 16}}}
    large = {"serve": {"flags": {"block-size": 64}}}
    run = judge(ONE_POINT, {}, {"matrix/block": {"small": small, "large": large}})
    assert run.code == 0, run.output
    assert "ask for different" not in run.output


def test_a_point_that_asks_for_what_the_other_has_anyway_is_named(judge: Judge) -> None:
    caching = {"serve": {"flags": {"enable-prefix-caching": True}}}
    axis = {"default": {"serve": {"flags": {"block-size": 32}}}, "on": caching}
    run = judge(ONE_POINT, {}, {"matrix/caching": axis})
    assert run.code == 0, run.output
    assert "ask for different enable-prefix-caching, and nothing that was seen differs\n" in run.output
