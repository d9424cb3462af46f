"""A disk that becomes full at any moment: a run whose files could not all be written is no pass anywhere."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.base.domain import Outcome
from harness.reports.result import Result
from tests.fake.conftest import QUICK, SINGLE, SMALL
from tests.fake_engine.install import install
from tests.helpers import Run, edited, harness, left_in, run, validated


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Where a small file system can be mounted; it is gone afterwards."""
    folder = tmp_path / "disk"
    folder.mkdir()
    yield folder
    subprocess.run(["umount", folder], capture_output=True, check=False)


def mount(folder: Path, kib: int) -> None:
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")


def passes_in(found: Run) -> list[str]:
    """Whatever says of the run that it passed."""
    results = {path.name: Result.model_validate_json(path.read_bytes()) for path in found.runs.glob("*/result.json")}
    said = [name for name, result in results.items() if result.outcome is Outcome.PASS]
    said += [
        str(path) for path in found.runs.glob("**/junit.xml") if not list(validated(path).iter("error", "failure"))
    ]
    if " pass" in harness("summary", found.runs).stdout.partition("\n")[0]:
        said.append("summary")
    return said


@pytest.mark.parametrize("kib", [40, 52, 56, 60, 64, 96])
def test_a_run_that_could_not_be_written_passes_nowhere(tmp_path: Path, disk: Path, kib: int) -> None:
    cases = edited(tmp_path / "cases", SINGLE, SMALL[SINGLE] | QUICK)
    python = install(tmp_path / "engine", {})
    mount(disk, kib)
    found = run(disk, "--cases", cases, "--engine-python", python)
    assert left_in(tmp_path) == []
    assert "Traceback" not in found.output
    assert "internal error" not in found.output
    assert found.code in (0, 4), found.output
    if found.code:
        assert passes_in(found) == [], found.output
    else:
        assert len(passes_in(found)) == 4
    assert [path for path in found.runs.rglob(".*") if path.is_file()] == []
