"""The published model on the real engine: every case holds, and a drafter that is another one is seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cpu.conftest import LOCAL, assert_every_point_passes, published_cases
from tests.helpers import edited, run

pytestmark = pytest.mark.long  # the same servers as for known answers, with a model that takes minutes


@pytest.mark.parametrize("case", published_cases())
def test_what_was_measured_is_measured_again(folder: Path, case: str) -> None:
    assert_every_point_passes(folder, case, 1)


@pytest.mark.parametrize(
    ("case", "changes", "red"),
    [
        (
            "published/mt_bench_draft_model",
            {"serve/speculation/model/published": "smollm2-135m-instruct"},
            "acceptance_length",
        ),
        ("published/gsm8k_worked", {"serve/model/published": "smollm2-135m-instruct-first-20-layers"}, "accuracy"),
    ],
    ids=["another drafter", "a third of the layers missing"],
)
def test_another_model_is_red(folder: Path, case: str, changes: dict[str, Any], red: str) -> None:
    result = run(folder, "--cases", edited(folder / "cases", case, changes, generate=False), *LOCAL)
    assert result.code == 1, result.output
    assert red in result.problems
