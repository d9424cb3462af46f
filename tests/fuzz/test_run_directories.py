"""Run directories: whatever became of one, every command that takes it answers, and no damage makes it pass."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.finished import DISAGG, SINGLE, finished, no_engine
from tests.fuzz import damage, examples
from tests.fuzz.program import harness

EXTRA = ["stage.json", "devices.json", "ready.json", "looks.json", "reference.json"]
COMMANDS = ("assert", "explain", "summary", "stop", "eval", "health-wait", "reap", "warnings")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Run directories by their verdict."""
    folder = tmp_path_factory.mktemp("runs")
    with no_engine():
        yield {
            "pass": finished(folder / "pass", SINGLE).path,
            "fail": finished(folder / "fail", DISAGG, {"decode": {"no_transfer": True}}).path,
            "error": finished(folder / "error", SINGLE, {"server": {"fail_at_request": 2}}).path,
        }


@given(st.data())
@examples(40)
def test_damage_is_one_line_and_never_a_pass(runs: dict[str, Path], data: st.DataObject) -> None:
    verdict = data.draw(st.sampled_from(sorted(runs)))
    folder = runs[verdict].parent / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    rundir = folder / "run"
    shutil.copytree(runs[verdict], rundir)
    if data.draw(st.booleans()):
        (rundir / "result.json").unlink()
    files = sorted(path for path in rundir.rglob("*") if path.is_file())
    for path in data.draw(st.lists(st.sampled_from(files), min_size=1, max_size=3, unique=True)):
        damage.of_file(path, data.draw)
    for extra in data.draw(st.lists(st.sampled_from(EXTRA), unique=True)):
        if not (rundir / extra).exists() and not (rundir / extra).is_symlink():
            (rundir / extra).write_bytes(data.draw(damage.JUNK))
    command = data.draw(st.sampled_from(COMMANDS))
    where = {"summary": [str(folder)], "warnings": [str(folder)], "reap": ["--runs", str(folder)]}.get(
        command, [str(rundir)]
    )
    answer = harness([command, *where])
    assert "Traceback" not in answer.stderr, answer
    assert "internal error" not in answer.stderr, answer
    if command == "summary":
        assert answer.code in (0, 2, 3), answer
        assert all(line.startswith("harness: ") for line in answer.stderr.splitlines()), answer
        assert verdict == "pass" or not answer.stdout.startswith("### 1 pass"), answer
    elif answer.code in (2, 3):
        assert answer.is_a_refusal(), answer
    if command == "assert" and verdict != "pass":
        assert answer.code != 0, answer
