"""Options and helpers that all tests share."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Collection, Iterator
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import settings

from harness.base.domain import PLATFORMS
from harness.base.errors import CannotJudge
from harness.datasets.pinned_files import GSM8K_TEST, GSM8K_TRAIN, MT_BENCH
from harness.devices import leases
from harness.host.data_files import cache_folder, texts
from tests import fuzz

_ANSWERS = ("canary", "capabilities")
"""Folders of the cache that hold the answers of engines, and only the latest of them."""

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    """Nox passes on what it is told with SIGTERM, and what tests have started is to be ended."""
    fuzz.EXAMPLES = config.getoption("--examples")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        # Below nohup: what is ignored stays so in programs that are started, and what is handled does not.
        signal.signal(signal.SIGHUP, lambda *_: None)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, lambda *_: None)  # it also follows a Ctrl-C, which must not cut the end short
    signal.signal(signal.SIGINT, signal.default_int_handler)
    raise KeyboardInterrupt


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--base-image", default=None, help="Base image for the tests that build an image; default: the pinned one."
    )
    parser.addoption("--build-network", default="default", help="Network of the steps of image builds, for docker.")
    parser.addoption(
        "--engine-python", default=None, help="Interpreter with an engine for tests/gpu; they are skipped without."
    )
    parser.addoption("--kills", default=12, type=int, help="Kills of the storm on scripted engines.")
    parser.addoption("--kills-of-engines", default=0, type=int, help="Kills of the storm on vLLM, here and in Docker.")
    parser.addoption("--workers", default=2, type=int, help="Kills of the storm at a time.")
    parser.addoption("--storm-seed", default=0, type=int, help="What is killed how, and when.")
    parser.addoption("--record", default=None, help="File that the storm's tables are appended to.")
    parser.addoption("--platform", default="cuda", choices=PLATFORMS, help="Platform of that engine.")
    parser.addoption(
        "--examples", type=int, default=None, help="Examples of each test in tests/fuzz; a few if not given."
    )


@pytest.fixture(scope="session", autouse=True)
def own_leases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leases of the tests alone: what else runs on this host has nothing to do with their devices."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(leases.FOLDER, str(tmp_path_factory.mktemp("leases")))
        yield


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder of the tests alone, so that their scripted engines drive out no answer of a real one.

    Answers of real engines are copied into it, which spares tests/cpu asking again; all else that is cached there, and
    what other programs cache, is the user's: it is checked by content, or theirs.
    """
    there = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    here = tmp_path_factory.mktemp("cache")
    ours = here / cache_folder("").name
    ours.mkdir()
    _link(there, here, but=[ours.name])
    _link(there / ours.name, ours, but=_ANSWERS)
    for name in _ANSWERS:
        if (there / ours.name / name).is_dir():
            shutil.copytree(there / ours.name / name, ours / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(here))
        yield


def _link(source: Path, target: Path, but: Collection[str]) -> None:
    for path in source.iterdir() if source.is_dir() else ():
        if path.name not in but:
            (target / path.name).symlink_to(path)


@pytest.fixture(scope="session")
def real_data(own_cache: None) -> dict[str, str]:
    """Text of the public data files by name, from where users have them; a test that cannot have them is skipped."""
    try:
        return texts([GSM8K_TRAIN, GSM8K_TEST, MT_BENCH])
    except CannotJudge as error:
        pytest.skip(str(error))
