"""Options and helpers that all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from harness.ground.errors import CannotJudge
from harness.mechanism import leases
from harness.policy.cases.model import PLATFORMS
from harness.policy.datasets import GSM8K_TEST, GSM8K_TRAIN, MT_BENCH
from harness.run.data import texts
from tests import fuzz

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--base-image", default=None, help="Base image for the tests that build an image; default: the pinned one."
    )
    parser.addoption("--build-network", default="default", help="Network of the steps of image builds, for docker.")
    parser.addoption(
        "--engine-python", default=None, help="Interpreter with an engine for tests/gpu; they are skipped without."
    )
    parser.addoption("--platform", default="cuda", choices=PLATFORMS, help="Platform of that engine.")
    parser.addoption(
        "--examples", type=int, default=None, help="Examples of each test in tests/fuzz; a few if not given."
    )


def pytest_configure(config: pytest.Config) -> None:
    fuzz.EXAMPLES = config.getoption("--examples")


@pytest.fixture(scope="session", autouse=True)
def own_leases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leases of the tests alone: what else runs on this host has nothing to do with their devices."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(leases.FOLDER, str(tmp_path_factory.mktemp("leases")))
        yield


@pytest.fixture(scope="session")
def real_data() -> dict[str, str]:
    """Text of the public data files by name, from where users have them; a test that cannot have them is skipped."""
    try:
        return texts([GSM8K_TRAIN, GSM8K_TEST, MT_BENCH])
    except CannotJudge as error:
        pytest.skip(str(error))
