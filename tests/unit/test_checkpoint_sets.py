"""Checkpoint sets: a case with its flags and its matrix, on models whose answers are known."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UsageError
from harness.cases.load import load
from harness.cases.overlays import idle
from harness.plan.expected_values import expected_values
from harness.plan.points import Planned, everything
from harness.run.selection import matching
from tests.helpers import BASELINES, edited

POINTS = [each for each in everything(load(BASELINES), "tiny") if each.checkpoints and not each.skip]


@pytest.mark.parametrize("planned", POINTS, ids=lambda each: f"{each.id}-{each.platform}")
def test_what_is_known_of_a_set_is_computed(planned: Planned) -> None:
    values = expected_values(planned.case_file, planned.platform, planned.variant, checkpoints=planned.checkpoints)
    checks = planned.case.checks.model_dump(exclude_none=True)
    assert {"accuracy", "parity"} <= checks.keys()
    for name in {"accuracy", "parity", "acceptance_length", "draft_counts"} & checks.keys():
        given = {key: checks[name][key] for key in values[name]}
        assert given == values[name], name
    assert all(model.known_answer for model in planned.case.models())


def test_the_flags_are_those_of_the_case() -> None:
    case_file = next(each for each in load(BASELINES) if each.id == "disagg/accuracy_qwen3_0_6b")
    for variant in case_file.matrix("cuda").variants():
        case, tiny = (case_file.resolve("cuda", variant, checkpoints) for checkpoints in ("", "tiny"))
        for role in ("prefill", "decode"):
            both = [each.serve_of(role).model_dump(exclude={"model"}) for each in (case, tiny)]
            assert both[0] == both[1]
        assert tiny.checks.kv_transfer == case.checks.kv_transfer


def test_checks_of_the_machinery_stay() -> None:
    case_file = next(each for each in load(BASELINES) if each.id == "eplb/qwen3_30b_dp4_async")
    assert case_file.resolve("cuda", (), "tiny").checks.rearrangements is not None


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({}, True),
        ({"checkpoints/tiny/serve/speculation/model/known_answer": "eagle3"}, False),
        ({"serve/speculation/num_draft_tokens": 8}, False),
    ],
    ids=["as it is", "no second choice", "too small"],
)
def test_what_a_tree_accepts_is_known_if_it_holds_it(tmp_path: Path, changes: dict[str, Any], known: bool) -> None:
    (case_file,) = load(edited(tmp_path, "sglang_pd/accuracy_eagle3", changes, platform="cuda"))
    assert ("acceptance_length" in expected_values(case_file, "cuda", checkpoints="tiny")) == known


def test_a_set_is_seen_in_every_name() -> None:
    (point,) = matching(BASELINES, wanted=["eplb/qwen3_30b_dp4_async"], platform="cuda", checkpoints="tiny")
    assert point.id == "eplb/qwen3_30b_dp4_async@tiny"
    assert point.folder == "eplb.qwen3_30b_dp4_async@tiny"
    by_id = matching(BASELINES, wanted=[point.id], platform="cuda", checkpoints="tiny")
    assert [each.id for each in by_id] == [point.id]


def test_a_case_without_the_set_does_not_run() -> None:
    (found,) = matching(BASELINES, wanted=["mtp/known_answer_k1"], platform="cpu", checkpoints="tiny")
    assert (found.skip, found.id) == ("", "mtp/known_answer_k1")  # its own models are tiny, and no others
    from_the_hub = [
        each
        for each in everything(load(BASELINES), "tiny")
        if not each.checkpoints and not each.skip and any(model.repo for model in each.case.models())
    ]
    assert from_the_hub == []


def test_a_case_of_the_hub_without_the_set_is_left_out(tmp_path: Path) -> None:
    model = {"repo": "some/model", "revision": "0123456789abcdef0123456789abcdef01234567"}
    folder = edited(tmp_path / "one", "mtp/known_answer_k1", {"serve/model": model}, generate=False)
    (case_file,) = load(folder)
    assert [each.skip for each in everything([case_file], "tiny")] == ["has no checkpoint set tiny"]


def test_an_unknown_set_is_named() -> None:
    with pytest.raises(UsageError, match="--checkpoints big: no case has that set; there are: tiny"):
        matching(BASELINES, wanted=[], platform=None, checkpoints="big")


def test_a_set_may_know_more_at_some_points() -> None:
    case_file = next(each for each in load(BASELINES) if each.id == "gemma4_mtp/e4b")
    expected = {}
    for variant in case_file.matrix("cuda").variants():
        length = case_file.resolve("cuda", variant, "tiny").checks.acceptance_length
        assert length is not None
        expected[variant] = (length.expected, length.n)
    assert expected == {(("topk", "1"),): (4.2, 1000), (("topk", "3"),): (5.25, 800)}


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"match": {"topk": "4"}}, "checkpoints.tiny.when[0].match.topk: no label '4' on this axis"),
        ({"match": {"tpk": "3"}}, "checkpoints.tiny.when[0].match.tpk: no such axis; did you mean 'topk'?"),
        ({"matches": {"topk": "3"}}, "checkpoints.tiny.when.0.matches: unknown key; did you mean 'match'?"),
    ],
)
def test_a_rule_of_a_set_is_checked(tmp_path: Path, rule: dict[str, object], said: str) -> None:
    rules = [{"match": {"topk": "3"}, "reason": "a reason to be here", "set": {"expected_seconds": 1}, **rule}]
    with pytest.raises(UsageError, match=re.escape(said)):
        load(edited(tmp_path, "gemma4_mtp/e4b", {"checkpoints/tiny/when": rules}))


def test_a_set_that_changes_nothing_is_found(tmp_path: Path) -> None:
    changes = {"checkpoints/tiny/serve/model/known_answer": "qwen3", "checkpoints/tiny/serve/tensor_parallel_size": 1}
    found = list(idle(load(edited(tmp_path, "eagle3/known_answer", changes))))
    assert [line.partition(": ")[2] for line in found if "tensor" in line] == [
        "checkpoints.tiny.serve.tensor_parallel_size: changes nothing: the value is there already"
    ]
