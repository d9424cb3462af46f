"""Builds of the real engine beside one another: one that drafts worse is found, and nothing else is said of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.comparison.comparison_record import Comparison
from tests.helpers import REPOSITORY, environment

CASE = "mtp/known_answer_k1"


@pytest.mark.long
def test_a_build_whose_drafts_are_nonsense_now_and_then_is_worse(folder: Path, engine_python: Path) -> None:
    mutant = ["--engine-python", engine_python, "--mutant", "drafts_tenth_wrong", "--"]
    compare = ["compare", CASE, "--platform", "cpu", "--runs", folder / "runs", "--quantity", "acceptance_length"]
    builds = ["--engine", engine_python, "--engine", "{}", "--quantity", "accuracy"]
    argv = ["-m", "tests.power.mutant_build", *mutant, sys.executable, "-m", "harness", *compare, *builds]
    done = subprocess.run([sys.executable, *map(str, argv)], env=environment(), cwd=REPOSITORY, check=False)
    assert done.returncode == 1
    (found,) = Comparison.model_validate_json((folder / "runs" / "compare.json").read_bytes()).cases
    said = {each.quantity: each for each in found.findings}
    assert [said[name].said for name in ("acceptance_length", "accuracy")] == ["worse", "not worse"]
    loss = said["acceptance_length"].loss
    assert loss is not None
    assert 0.01 < loss < 0.1  # one step in ten loses its draft, and not every draft was right
