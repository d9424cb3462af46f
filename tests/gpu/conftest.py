"""The engine under test, and that it leaves nothing behind: no process, no port, no memory of a device."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.base.domain import Platform
from harness.devices import accelerators
from harness.run.occupancy import IDLE_BYTES
from tests.helpers import busy_ports, left_in, wait_for

_WHICH = "import importlib.util as u; print(next((n for n in ('vllm', 'sglang') if u.find_spec(n)), ''))"


@dataclass(frozen=True)
class EngineHere:
    """The engine that was named on the command line."""

    name: str
    python: Path
    platform: Platform

    @property
    def arguments(self) -> tuple[str, ...]:
        """Options of ``harness run``."""
        return ("--runtime", "local", "--platform", self.platform, "--engine-python", str(self.python))

    def memory(self) -> list[int]:
        """Bytes in use on each device of this machine, in their order; none where the platform has no devices."""
        if self.platform == "cpu":
            return []
        usages = [accelerators.usage(self.platform, device) for device in accelerators.visible(self.platform)]
        return [(usage.memory_bytes if usage else 0) or 0 for usage in usages]


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> EngineHere:
    """The engine; without ``--engine-python`` nothing runs."""
    python = request.config.getoption("--engine-python")
    if python is None:
        pytest.skip("no engine is named: --engine-python PATH, and --platform unless it is cuda")
    name = subprocess.run([python, "-c", _WHICH], capture_output=True, text=True, check=True).stdout.strip()
    return EngineHere(name, Path(python), request.config.getoption("--platform"))


@pytest.fixture
def folder(tmp_path: Path, engine: EngineHere) -> Iterator[Path]:
    """A folder for runs, of which nothing may be left."""
    before = engine.memory()
    yield tmp_path
    assert left_in(tmp_path) == []
    assert busy_ports(tmp_path) == []

    def memory_is_back() -> bool:
        return all(now - then < IDLE_BYTES for then, now in zip(before, engine.memory(), strict=True))

    wait_for(memory_is_back)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests the time that engines with cold caches need."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(1200))
