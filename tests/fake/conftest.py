"""Fixtures for the tests on the scripted engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from harness.host import machine
from tests import forked, helpers
from tests.fake_engine.install import install
from tests.helpers import Run, busy_ports, edited, left_in, run

SINGLE = "eagle3/known_answer"
DISAGG = "disagg/known_answer_eagle3"
ONE_POINT = "mtp/known_answer_k1"
"""A case on one server without a matrix."""
SGLANG = "sglang_eagle3/known_answer"
SMALL: dict[str, dict[str, Any]] = {
    SINGLE: {"evaluation/items": 8},
    ONE_POINT: {"evaluation/items": 8},
    SGLANG: {"evaluation/items": 8, "platforms": ["cpu"]},
    DISAGG: {
        "evaluation/items": 8,
        "controls/prefill_alone/n": 8,
        "controls/decode_alone/n": 8,
    },
}
QUICK = {"timeouts/start": 20.0, "timeouts/request": 10.0, "timeouts/stop": 5.0}

Prepared = tuple[Path, list[str | Path]]
"""A folder and the arguments of a run in it."""


class Judge(Protocol):
    def __call__(self, case: str, faults: dict[str, dict[str, Any]], changes: dict[str, Any] | None = None) -> Run: ...


@pytest.fixture(autouse=True)
def forked_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that run to their end are forked from a process that has imported the harness."""
    monkeypatch.setattr(helpers, "in_a_fork", forked.perform)


@pytest.fixture(scope="session", autouse=True)
def silent_fabric() -> Iterator[None]:
    """Scripted hosts say of multicast what a test says, whatever this one does."""
    with pytest.MonkeyPatch.context() as patch:
        for name in machine.no_multicast():
            patch.delenv(name)
        yield


def run_on_script(
    folder: Path, case: str, changes: dict[str, Any], faults: dict[str, dict[str, Any]] | None = None
) -> Run:
    """Run a case with some keys changed on the scripted engine; all of it lies below ``folder``."""
    cases = edited(folder / "cases", case, changes)
    return run(folder, "--cases", cases, "--engine-python", install(folder / "engine", faults or {}))


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[Judge]:
    """Run a small version of a case on an engine with faults; nothing may be left, whatever the fault."""

    def run_with(case: str, faults: dict[str, dict[str, Any]], changes: dict[str, Any] | None = None) -> Run:
        return run_on_script(tmp_path, case, SMALL[case] | QUICK | (changes or {}), faults)

    yield run_with
    assert left_in(tmp_path) == []
    assert busy_ports(tmp_path) == []


@pytest.fixture
def prepared(tmp_path: Path) -> Iterator[Prepared]:
    """A folder and the arguments that run a slow, healthy, disaggregated case in it."""
    yield from _prepared(tmp_path, {"latency": 0.2, "start_after": 0.5}, QUICK)


@pytest.fixture
def lasting(tmp_path: Path) -> Iterator[Prepared]:
    """As :func:`prepared`, and it takes so long that a busy machine does anything else meanwhile."""
    yield from _prepared(tmp_path, {"latency": 8.0}, {"timeouts/start": 300.0, "timeouts/request": 100.0})


def _prepared(tmp_path: Path, slow: dict[str, Any], timeouts: dict[str, Any]) -> Iterator[Prepared]:
    cases = edited(tmp_path / "cases", DISAGG, SMALL[DISAGG] | timeouts)
    python = install(tmp_path / "engine", dict.fromkeys(("prefill", "decode"), slow))
    yield tmp_path, ["--cases", cases, "--engine-python", python]
    assert left_in(tmp_path) == []
    assert busy_ports(tmp_path) == []
