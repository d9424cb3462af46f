"""What engines' modules can see of what our cases ask for: no less than before."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from harness.cases.load import load
from harness.engines import ENGINES
from harness.plan.points import everything
from harness.upkeep import seen_on_paper
from tests.helpers import BASELINES, edited

MOST = {"sglang": 8, "vllm": 37}
"""Settings of our cases that nothing shows. Only ever less, but for what no engine can show: variables of libraries,
which write nothing (``NUMBA_NUM_THREADS``, three of UCX), a chat template, which the answers of ``api`` are judged by,
two settings of suffix decoding, whose counters are known to the unit, and how a drafter samples."""


@pytest.fixture(scope="module")
def asked() -> dict[str, set[str]]:
    return seen_on_paper.asked(everything(load(BASELINES)))


def test_what_nobody_sees_only_becomes_less(asked: dict[str, set[str]]) -> None:
    assert {name: len(seen_on_paper.unseen(ENGINES[name], settings)) for name, settings in asked.items()} == MOST


def test_what_nobody_sees_has_a_reason_and_no_reason_is_left_over(asked: dict[str, set[str]]) -> None:
    for name, settings in asked.items():
        hidden = seen_on_paper.unseen(ENGINES[name], settings)
        assert [each for each in hidden if not seen_on_paper.reason(ENGINES[name], each)] == []
        used = {pattern for pattern in ENGINES[name].unseen for each in hidden if fnmatchcase(each, pattern)}
        assert used == ENGINES[name].unseen.keys()


def axes(folder: Path, one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    labels = {"one": {"serve": one}, "other": {"serve": other}}
    cases = edited(folder, "mtp/known_answer_k1", {"matrix/axis": labels}, generate=False)
    return list(seen_on_paper.blind_axes(everything(load(cases))))


def test_an_axis_that_nobody_can_tell_apart_is_named(tmp_path: Path) -> None:
    (found,) = axes(tmp_path, {"env": {"VLLM_NEW": "1"}}, {"env": {"VLLM_NEW": "2"}})
    assert "matrix.axis: one and other cannot be told apart in force on cpu: no server of vllm shows VLLM_NEW" in found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"env": {"VLLM_NEW": "1"}, "flags": {"block-size": 16}}, {"env": {"VLLM_NEW": "2"}}),
        ({"env": {"OMP_NUM_THREADS": "2"}}, {"env": {"OMP_NUM_THREADS": "3"}}),  # on record, with the reason
        ({"flags": {"enable-prefix-caching": True}}, {"flags": {"enable-prefix-caching": False}}),
        ({"flags": {"attention-backend": "CPU_ATTN"}}, {}),
    ],
)
def test_an_axis_that_shows_is_none(tmp_path: Path, one: dict[str, Any], other: dict[str, Any]) -> None:
    assert axes(tmp_path, one, other) == []


def test_an_engine_that_shows_nothing_has_no_axis_to_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "vllm", replace(ENGINES["vllm"], sights=()))
    assert axes(tmp_path, {"env": {"VLLM_NEW": "1"}}, {"env": {"VLLM_NEW": "2"}}) == []
