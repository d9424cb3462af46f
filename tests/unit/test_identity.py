"""Processes as the kernel shows them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.host import identity


def test_a_process_that_ends_while_it_is_looked_at_has_no_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def gone(self: Path, pattern: str) -> Iterator[Path]:
        raise FileNotFoundError(2, "No such file or directory", str(self / pattern))

    (tmp_path / "7").mkdir()
    monkeypatch.setattr(identity, "_PROC", tmp_path)
    monkeypatch.setattr(Path, "glob", gone)
    assert identity._environment(7) == b""
    monkeypatch.undo()
    assert identity._environment(os.getpid())
