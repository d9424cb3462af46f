"""Tests on the real engine: vLLM on CPU, NIXL, vllm-router; Docker where an engine answers."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

import docker
from harness import protocols
from harness.base.domain import Outcome
from harness.base.evidence import Measurement
from harness.cases.load import load
from harness.containers import lifecycle
from harness.host import environments
from harness.host.ownership import CONTAINER
from harness.images import engine_image
from harness.plan.points import everything
from harness.reports.result import Result
from harness.run.rundir import RunDir
from known_answer.checkpoints import CHECKPOINTS
from known_answer.simulate import Counts, total
from tests.helpers import BASELINES, REPOSITORY, Run, busy_ports, harness, left_in, run

SIGNALS = [
    pytest.param(signal.SIGINT, id="SIGINT"),
    pytest.param(signal.SIGTERM, id="SIGTERM", marks=pytest.mark.long),
]
DISAGG = "disagg/known_answer_eagle3"
SINGLE = "eagle3/known_answer"
LOCAL = ("--runtime", "local")
WITH_DOCKER = {"DOCKER_HOST": os.environ.get("DOCKER_HOST", "")}


_POINTS = [each for each in everything(load(BASELINES)) if each.platform == "cpu" and not each.skip]


def cases_for(topology: str) -> list[str]:
    """The cases that run on CPU with this topology; once for each of their points.

    Without those of published models: ``test_published.py`` has them.
    """
    found = [each for each in _POINTS if not any(model.published for model in each.case.models())]
    return sorted(each.case_file.id for each in found if each.case.topology.kind == topology)


def published_cases() -> list[str]:
    """The cases of published models that run on CPU, none of which has a matrix."""
    return sorted(each.case_file.id for each in _POINTS if any(model.published for model in each.case.models()))


def with_long(cases: Collection[str], like_another: Collection[str]) -> list[Any]:
    """Cases in order; of those that are like another one only with ``--long``."""
    return [pytest.param(each, marks=pytest.mark.long if each in like_another else ()) for each in sorted(cases)]


def measurement(result: Run) -> Measurement:
    found = RunDir(result.directory).read("measurements", Measurement)
    assert found is not None
    return found


def simulated(result: Run, *, disaggregated: bool) -> Counts:
    case = RunDir(result.directory).prepared().case
    speculation = case.serve.speculation
    assert speculation is not None
    requests = protocols.requests(case.evaluation)
    drafter = speculation.model.known_answer if speculation.model else None
    first = CHECKPOINTS[drafter].first_draft if drafter else None
    return total(requests, speculation.drafted, disaggregated=disaggregated, first_draft=first)


def assert_counters_equal(result: Run, *, disaggregated: bool) -> None:
    counted: Any = measurement(result).acceptance
    expected = simulated(result, disaggregated=disaggregated)
    assert counted.drafts == expected.drafts
    assert counted.draft_tokens == expected.draft_tokens
    assert counted.accepted == expected.accepted
    assert counted.accepted_per_position == expected.accepted_per_position


def assert_every_point_passes(folder: Path, case: str, points: int) -> None:
    result = run(folder, case, *LOCAL)
    assert result.code == 0, result.output
    verdicts = [Result.model_validate_json(path.read_bytes()) for path in result.runs.glob("*/result.json")]
    assert len(verdicts) == points
    judged = [verdict for verdict in verdicts if verdict.outcome is not Outcome.SKIPPED]  # not on this version
    assert judged
    assert all(check.outcome is Outcome.PASS for verdict in judged for check in verdict.checks)


def ours_in(folder: Path) -> list[Any]:
    """Containers of runs below ``folder``."""
    client = docker.from_env()
    try:
        found = client.containers.list(all=True, filters={"label": CONTAINER.run_id}, ignore_removed=True)
        return [each for each in found if each.labels[CONTAINER.folder].startswith(str(folder))]
    finally:
        client.close()


def foreign_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.lstat().st_uid != os.getuid()]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for runs, of which nothing may be left."""
    yield tmp_path
    assert left_in(tmp_path) == []
    assert busy_ports(tmp_path) == []


@pytest.fixture(scope="session")
def engine_python() -> Path:
    """The interpreter of vLLM on CPU, which is installed first if it is missing: by one worker, however many ask."""
    return environments.ensure(
        REPOSITORY / ".nox" / "engine-vllm-cpu",
        REPOSITORY / "docker" / "install-engine.sh",
        engine_image.requirements("vllm", "cpu"),
        lambda _: None,
    )[0]


@pytest.fixture(scope="session")
def base_options(request: pytest.FixtureRequest) -> list[str]:
    """Options that say how images are built here: the base first, if one is given."""
    reason = lifecycle.unavailable()
    if reason:
        pytest.skip(f"no container engine answers: {reason}")
    base = request.config.getoption("--base-image")
    network = str(request.config.getoption("--build-network"))
    return [*(["--base-image", str(base)] if base else []), "--build-network", network]


@pytest.fixture(scope="session")
def image_options(base_options: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The same, once the image of vLLM on CPU is built: as on a new machine, where no evaluation data is at hand.

    Tests that find data here build it once more with them, which is its last step alone.
    """
    nothing = {"HARNESS_DATA_DIR": "", "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
    done = harness("build", *base_options, env=WITH_DOCKER | nothing)
    if done.returncode and "--base-image" not in base_options:
        pytest.skip(f"the default base image cannot be had here; give one with --base-image: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left out, not at hand" in done.stdout
    return base_options


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests the time that real engines need: the first one installs vLLM."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(900))
