"""Tests on the real engine: vLLM on CPU, NIXL, vllm-router; Docker where an engine answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import busy_ports, left_in

DISAGG = "disagg/known_answer_eagle3"
SINGLE = "eagle3/known_answer"
LOCAL = ("--runtime", "local")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for runs, of which nothing may be left."""
    yield tmp_path
    assert left_in(tmp_path) == []
    assert busy_ports(tmp_path) == []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests the time that real engines need: the first one installs vLLM."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(900))
