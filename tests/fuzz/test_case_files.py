"""Case files: whatever is in one, ``plan``, ``show`` and ``check`` say what is wrong with it in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import examples
from tests.fuzz.program import harness
from tests.helpers import BASELINES

CASE = "eagle3/known_answer"


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    shutil.copytree(BASELINES / "eagle3", folder / "eagle3")
    shutil.copy(BASELINES / "_defaults.toml", folder)
    return folder


@given(st.binary(max_size=64))
@examples(20)
def test_bytes_in_a_case_file_are_refused_in_one_line(cases: Path, content: bytes) -> None:
    (cases / f"{CASE}.toml").write_bytes(content)
    answer = harness(["plan", "--cases", str(cases)])
    assert answer.is_a_refusal(), answer
