"""Options and helpers that all tests share."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
from collections.abc import Collection, Generator, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import FrameType

import psutil
import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling
from xdist.workermanage import WorkerController

from harness.base.domain import PLATFORMS
from harness.datasets.pinned_files import GSM8K_TEST, GSM8K_TRAIN, MT_BENCH
from harness.devices import leases
from harness.host import data_files
from tests import fuzz, machine_wide
from tests.helpers import living_in

_ANSWERS = ("canary", "capabilities")
"""Folders of the cache that hold the answers of engines, and only the latest of them."""

_TESTS = Path(__file__).parent
_ALONE = (
    "cpu/test_disagg.py",
    "cpu/test_published.py",
    "gpu/",
    "hosts/test_spread.py",
    "hosts/test_two_hosts.py",
    "storm/",
)
"""Tests that keep a whole machine busy: two engines that exchange caches, two hosts, accelerators, and storms."""

_PATIENCE = 60.0
"""Seconds for what tests have started to end, after a signal."""

_workers: list[WorkerController] = []
_interrupted = False

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    """Nox passes on what it is told with SIGTERM, and what tests have started is to be ended."""
    fuzz.EXAMPLES = config.getoption("--examples")
    # A test starts a program a dozen times: it is compiled once.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        # Below nohup: what is ignored stays so in programs that are started, and what is handled does not.
        signal.signal(signal.SIGHUP, lambda *_: None)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    global _interrupted  # noqa: PLW0603 # a handler of signals has nobody to tell
    _interrupted = True
    signal.signal(signal.SIGTERM, lambda *_: None)  # it also follows a Ctrl-C, which must not cut the end short
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A worker tells all that its tests have started, and waits: they kill at once what is still there.
    told = psutil.Process().children(recursive=not _workers)
    for process in told:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    if not _workers:
        psutil.wait_procs(told, _PATIENCE)
    raise KeyboardInterrupt


def pytest_testnodeready(node: WorkerController) -> None:
    _workers.append(node)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """Let interrupted workers end what their tests have started, for which pytest-xdist gives them a few seconds."""
    for worker in _workers if _interrupted else ():
        with suppress(worker.channel.TimeoutError, worker.channel.RemoteError, EOFError):  # it may be gone already
            worker.channel.waitclose(2 * _PATIENCE)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let what runs alone come last, and first what takes longest: others fill the time beside it."""
    if not config.getoption("--long"):
        left_out = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
    for item in items:
        if _folder(item.path) == "unit" and item.get_closest_marker("slow") is None:
            item.add_marker(pytest.mark.quick)
    items.sort(key=lambda item: (_alone(item.path), not _machine_wide(item.nodeid), _folder(item.path) != "cpu"))


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two more than cores: most tests wait half of their time for a server or a program."""
    return (psutil.cpu_count() or 1) + 2


class Scheduling(LoadScopeScheduling):
    """Of what must not run side by side, one worker runs all; and of a module that prepares something for its tests.

    Not ``--dist loadgroup``: pytest-xdist 3.8 tells the groups by a suffix that pytest 9.2 drops without a word.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = _TESTS.parent / nodeid.partition("::")[0]
        if _alone(path) or _machine_wide(nodeid):
            return "alone" if _alone(path) else "machine_wide"
        return str(path) if _prepares(path) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return Scheduling(config, log)


def _folder(path: Path) -> str:
    return path.relative_to(_TESTS).parts[0]


def _alone(path: Path) -> bool:
    return path.relative_to(_TESTS).as_posix().startswith(_ALONE)


@cache
def _prepares(path: Path) -> bool:
    """Whether a module has fixtures for all of its tests, which each worker would make once more."""
    return 'scope="module"' in path.read_text(encoding="utf-8")


def _machine_wide(nodeid: str) -> bool:
    path, _, names = nodeid.partition("::")
    return machine_wide.test_is(_TESTS.parent / path, re.split(r"::|\[", names)[0])


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around the timeout of a test, so that waiting counts for nothing
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let a test have the machine alone, if it needs that, or share it with the other workers."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    lock = os.open(_TESTS, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX if _alone(item.path) else fcntl.LOCK_SH)
        return (yield)
    finally:
        os.close(lock)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--base-image", default=None, help="Base image for the tests that build an image; default: the pinned one."
    )
    parser.addoption("--build-network", default="default", help="Network of the steps of image builds, for docker.")
    parser.addoption(
        "--engine-python", default=None, help="Interpreter with an engine for tests/gpu; they are skipped without."
    )
    parser.addoption(
        "--long",
        action="store_true",
        help="Also starts of real engines for which another test of the same kind stands.",
    )
    parser.addoption("--kills", default=12, type=int, help="Kills of the storm on scripted engines.")
    parser.addoption("--kills-of-engines", default=0, type=int, help="Kills of the storm on vLLM, here and in Docker.")
    parser.addoption("--workers", default=2, type=int, help="Kills of the storm at a time.")
    parser.addoption("--storm-seed", default=0, type=int, help="What is killed how, and when.")
    parser.addoption("--points", default=0, type=int, help="Points of three real harnesses that share four devices.")
    parser.addoption("--record", default=None, help="File that the storm's tables are appended to.")
    parser.addoption("--platform", default="cuda", choices=PLATFORMS, help="Platform of that engine.")
    parser.addoption(
        "--examples", type=int, default=None, help="Examples of each test in tests/fuzz; a few if not given."
    )


@pytest.fixture(scope="session", autouse=True)
def nothing_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After a signal no server of a test lives on whose harness is gone, or was to leave it running."""
    yield
    for process in living_in(tmp_path_factory.getbasetemp()) if _interrupted else ():
        with suppress(psutil.NoSuchProcess):
            process.kill()


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
    ours = here / data_files.cache_folder("").name
    ours.mkdir()
    _link(there, here, but=[ours.name])
    _link(there / ours.name, ours, but=(*_ANSWERS, "learned"))
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
    """Text of the public data files by name, from where users have them; a test for which none is there is skipped."""
    needed = [GSM8K_TRAIN, GSM8K_TEST, MT_BENCH]
    if missing := data_files.missing(needed):
        pytest.skip(f"no {missing[0]} at hand; a folder that holds it can be named by {data_files.DATA_FOLDER}")
    return data_files.texts(needed)
