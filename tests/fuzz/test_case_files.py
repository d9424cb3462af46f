"""Case files, suites, defaults and pins: whatever is in one, what is wrong with it is said in one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import examples, toml
from tests.fuzz.program import Answer, harness
from tests.helpers import BASELINES, REPOSITORY

CASES = (
    "eagle3/known_answer", "eagle3/qwen3_8b", "disagg/known_answer_eagle3", "disagg/known_answer_layouts",
    "disagg/multi_connector", "eplb/qwen3_30b_sync", "gemma4_mtp/e4b", "ngram/known_answer", "sglang_pd/different_tp",
    "spec_disagg/mtp_qwen3_5",
)  # fmt: skip
COMMANDS: dict[tuple[str, ...], set[int]] = {
    ("plan",): {0, 2, 3},
    ("plan", "--format", "json"): {0, 2, 3},
    ("plan", "--format", "github", "--devices", "1"): {0, 2, 3},
    ("plan", "--checkpoints", "tiny"): {0, 2, 3},
    ("check",): {0, 1, 2},
    ("generate", "--check"): {0, 1, 2},
}
"""Commands that read case files and start nothing, and what they may end with."""


def judged(answer: Answer, allowed: set[int]) -> None:
    assert answer.code in allowed, answer
    assert answer.code in (0, 1) or answer.is_a_refusal(), answer


@pytest.fixture(scope="module")
def one_case(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a folder of cases that holds one of ours."""
    folder = tmp_path_factory.mktemp("cases")

    def make(case: str) -> Path:
        shutil.rmtree(folder)
        (folder / case).parent.mkdir(parents=True)
        for name in ("_defaults.toml", f"{case.partition('/')[0]}/_suite.toml", f"{case}.toml"):
            shutil.copy(BASELINES / name, folder / name)
        return folder

    return make


@given(st.data())
@examples(120)
def test_a_file_with_something_changed(one_case: Callable[[str], Path], data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(CASES))
    cases = one_case(case)
    which = data.draw(
        st.sampled_from([f"{case}.toml", f"{case}.toml", f"{Path(case).parent}/_suite.toml", "_defaults.toml"])
    )
    (cases / which).write_bytes(toml.written(data.draw(toml.changed(toml.parsed(cases / which)))))
    command, allowed = data.draw(st.sampled_from(sorted(COMMANDS.items())))
    judged(harness([*command, "--cases", str(cases)]), allowed)


@given(st.data())
@examples(40)
def test_a_file_that_was_damaged(one_case: Callable[[str], Path], data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(CASES))
    cases = one_case(case)
    which = data.draw(st.sampled_from([f"{case}.toml", f"{Path(case).parent}/_suite.toml", "_defaults.toml"]))
    (cases / which).write_bytes(data.draw(toml.damaged((cases / which).read_bytes())))
    command, allowed = data.draw(st.sampled_from(sorted(COMMANDS.items())))
    judged(harness([*command, "--cases", str(cases)]), allowed)


@given(st.binary(max_size=64))
@examples(20)
def test_bytes(one_case: Callable[[str], Path], content: bytes) -> None:
    cases = one_case(CASES[0])
    (cases / f"{CASES[0]}.toml").write_bytes(content)
    answer = harness(["plan", "--cases", str(cases)])
    assert answer.is_a_refusal(), answer


@given(st.data())
@examples(20)
def test_pins_with_something_changed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("pins") / "pins.toml"
    original: dict[str, Any] = toml.parsed(REPOSITORY / "docker" / "pins.toml")
    # No address of the registry it may name: nobody is asked where something is wrong already.
    path.write_bytes(toml.written(data.draw(toml.changed(original)) | {"nothing": 1}))
    answer = harness(["pins", "--check", "--pins", str(path)])
    assert answer.is_a_refusal(), answer
