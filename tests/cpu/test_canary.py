"""The canary on the real engine."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.cpu.conftest import DISAGG, SINGLE
from tests.helpers import harness, run


@pytest.mark.long  # on a scripted engine: tests/fake/test_canary.py
def test_nixl_hidden_from_the_real_engine(folder: Path, engine_python: Path) -> None:
    hidden = folder / "hide" / "nixl"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError('hidden')\n")
    shim = folder / "python"
    shim.write_text(
        f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(folder / "hide"))} exec {shlex.quote(str(engine_python))} "$@"\n'
    )
    shim.chmod(0o755)
    result = run(folder, DISAGG, "--engine-python", shim)
    assert result.code == 4
    assert result.problems["prepare"] == "canary: nixl UCX: ModuleNotFoundError: hidden"
    assert not (result.directory / "servers.json").exists()
    alone = harness("canary", SINGLE, "--engine-python", shim)
    assert alone.returncode == 0, alone.stdout + alone.stderr
