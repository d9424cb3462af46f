"""A bundle made for real, loaded without a network and with another home, and a case run from there."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.cpu.conftest import SINGLE
from tests.helpers import REPOSITORY, harness

TOKEN = "hf_plantedPlantedPlantedPlantedPlan"  # shaped like one
ISOLATED = ["unshare", "--map-root-user", "--net", "--"]


def holds(path: Path, needle: bytes) -> bool:
    """Whether a file, or anything packed in it, holds some bytes."""
    if path.suffix not in {".whl", ".pyz"}:
        return needle in path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return any(needle in archive.read(name) for name in archive.namelist())


def test_a_case_runs_from_a_bundle(folder: Path, engine_python: Path) -> None:
    made, into, home = folder / "bundle", folder / "into", folder / "home"
    home.mkdir()
    planted = {"HF_TOKEN": TOKEN, "GITHUB_TOKEN": TOKEN}
    # Of the second one, points exist on some versions of the engine only.
    done = harness("bundle", "make", made, SINGLE, "sampling/known_answer", "--platform", "cpu", env=planted)
    assert done.returncode == 0, done.stderr
    files = [path for path in made.rglob("*") if path.is_file()]
    assert len(files) > 50
    for needle in (TOKEN, str(REPOSITORY), str(folder)):
        assert [path for path in files if holds(path, needle.encode())] == []

    bare = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(home)}
    isolated = ISOLATED if subprocess.run([*ISOLATED, "true"], check=False, capture_output=True).returncode == 0 else []
    load = [os.path.realpath(sys.executable), "-I", "-S", str(made / "bundle.pyz"), "load", "--into", str(into)]
    loaded = subprocess.run([*isolated, *load], env=bare, capture_output=True, text=True, check=False)
    assert loaded.returncode == 0, loaded.stderr
    run = 'harness run "$1" --platform cpu --runtime local --engine-python "$2" --runs "$3"'
    script = f". ./env.sh && harness plan --platform cpu && exec {run}"
    shell = ["sh", "-c", script, "sh", SINGLE, str(engine_python), str(folder / "runs")]
    ran = subprocess.run(shell, cwd=into, env=bare, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"pass {SINGLE}" in ran.stdout
