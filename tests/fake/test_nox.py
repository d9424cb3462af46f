"""./nox and the noxfile: signals at every moment, and what is installed. The pip is a stand-in, Nox is the real one."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.clone import Clone, clone, nox_packages, wait_for_pip
from tests.fake.conftest import DISAGG, QUICK, SMALL
from tests.fake_engine.install import install
from tests.helpers import busy_ports, edited, left_in, wait_for

SOFT = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]
soft = pytest.mark.parametrize("number", SOFT, ids=lambda number: number.name)


@pytest.fixture(scope="module")
def menu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nox_packages(tmp_path_factory.mktemp("menu"))


@pytest.fixture
def made(tmp_path: Path, menu: Path) -> Clone:
    found = clone(tmp_path / "clone", menu)
    edited(found.folder / "baselines", DISAGG, SMALL[DISAGG] | QUICK)
    return found


def call(made: Clone, *arguments: str | Path, **env: str) -> subprocess.Popen[str]:
    """./nox, running."""
    return subprocess.Popen(
        ["./nox", *map(str, arguments)],
        cwd=made.folder,
        env={**os.environ, **made.environment, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )


def accept(made: Clone, engine: Path) -> list[str | Path]:
    return ["-s", "disagg_cpu", "--", "--runtime", "local", "--engine-python", engine, "--runs", made.folder / "runs"]


def interrupted(process: subprocess.Popen[str], number: signal.Signals, made: Clone) -> str:
    """Its output, once it has ended as it should."""
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert made.processes() == []
    return output


@soft
@pytest.mark.parametrize("deaf", [False, True], ids=["", "that ends well all the same"])
def test_a_signal_during_an_installation(made: Clone, tmp_path: Path, number: signal.Signals, *, deaf: bool) -> None:
    """As in the last moments of pip: it is done, and says so."""
    made.hold(deaf=deaf)
    process = call(made, *accept(made, install(tmp_path / "engine", {})))
    wait_for_pip(made)
    output = interrupted(process, number, made)
    assert len(made.calls()) == 1
    assert "-m harness" not in output
    assert not (made.folder / "runs").exists()
    assert (made.folder / ".nox" / "disagg_cpu" / "exit_code").read_text() == "130\n"


@pytest.mark.parametrize("number", SOFT[:2], ids=lambda number: number.name)
def test_a_signal_while_nox_itself_is_installed(tmp_path: Path, menu: Path, number: signal.Signals) -> None:
    made = clone(tmp_path / "clone", menu, with_menu=False)
    edited(made.folder / "baselines", DISAGG, SMALL[DISAGG] | QUICK)
    made.hold()
    process = call(made, "--list")
    wait_for_pip(made)
    interrupted(process, number, made)
    made.release()
    process = call(made, "--list")
    assert "disagg_cpu" in process.communicate(timeout=60)[0]
    assert process.returncode == 0


@soft
def test_a_signal_while_nox_is_imported(made: Clone, number: signal.Signals) -> None:
    process = call(made, "--list", PYTHONPROFILEIMPORTTIME="1")
    assert process.stdout is not None
    for line in process.stdout:
        if line.split("|")[-1].strip() == "nox.registry":
            break
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output


@soft
def test_a_signal_during_a_run(made: Clone, tmp_path: Path, number: signal.Signals) -> None:
    engine = install(tmp_path / "engine", {role: {"latency": 1.0} for role in ("prefill", "decode")})
    process = call(made, *accept(made, engine))
    wait_for(lambda: list(made.folder.glob("runs/*/ready.json")), 90)
    assert left_in(made.folder)
    interrupted(process, number, made)
    assert left_in(made.folder) == []
    assert busy_ports(made.folder) == []
    assert (made.folder / "runs" / "junit.xml").exists()


def test_many_signals_do_not_cut_the_clean_up_short(made: Clone, tmp_path: Path) -> None:
    slow = {"latency": 1.0, "ignore_sigterm": True}
    process = call(made, *accept(made, install(tmp_path / "engine", dict.fromkeys(("prefill", "decode"), slow))))
    wait_for(lambda: list(made.folder.glob("runs/*/ready.json")), 90)
    for number in SOFT * 2:
        process.send_signal(number)
    interrupted(process, signal.SIGTERM, made)
    assert left_in(made.folder) == []


def test_install_only_installs_and_runs_nothing(made: Clone) -> None:
    process = call(made, "--install-only", "-s", "disagg_cpu", "harness", "--", "--runs", made.folder / "runs")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    locked, editable = made.calls()[:2]
    assert "--require-hashes --requirement requirements/harness.txt" in locked
    assert "--editable ." in editable
    assert len(made.calls()) == 4
    assert not (made.folder / "runs").exists()


def test_the_exit_code_is_the_harness_own_and_left_behind(made: Clone) -> None:
    left = made.folder / ".nox" / "harness" / "exit_code"
    for arguments, code in ((["plan"], 0), (["plan", "--suite", "nothing"], 3), (["plan", "--nonsense"], 2)):
        process = call(made, "-s", "harness", "--", *arguments)
        process.communicate(timeout=60)
        assert (process.returncode, left.read_text()) == (code, f"{code}\n")


def test_a_set_up_that_breaks_is_no_failed_check(made: Clone) -> None:
    (made.pip / "__main__.py").write_text("raise SystemExit(1)")
    process = call(made, "-s", "harness", "--", "plan")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 4, output
