"""Tests on the real engine: vLLM on CPU, NIXL, vllm-router; Docker where an engine answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.containers import lifecycle
from tests.helpers import busy_ports, harness, left_in

DISAGG = "disagg/known_answer_eagle3"
SINGLE = "eagle3/known_answer"
LOCAL = ("--runtime", "local")
WITH_DOCKER = {"DOCKER_HOST": os.environ.get("DOCKER_HOST", "")}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for runs, of which nothing may be left."""
    yield tmp_path
    assert left_in(tmp_path) == []
    assert busy_ports(tmp_path) == []


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
