"""Everything that starts something, killed half-way: nothing is left, and what was finished is written."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.fake.conftest import DISAGG, ONE_POINT, QUICK, SINGLE, SMALL, Prepared
from tests.fake_engine.install import install
from tests.helpers import (
    REPOSITORY,
    begin,
    command,
    edited,
    end,
    environment,
    harness,
    left_in,
    patched,
    recorded,
    validated,
    wait_for,
)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT], ids=lambda number: number.name
)
@pytest.mark.parametrize("seed", range(3))
def test_a_signal_at_a_random_moment(prepared: Prepared, number: signal.Signals, seed: int) -> None:
    folder, arguments = prepared
    process = begin(folder, *arguments)
    wait_for(lambda: list((folder / "runs").glob("*/events.jsonl")))
    time.sleep(random.Random(seed).uniform(0.0, 3.0))
    run = end(process, number, folder)
    assert run.code == 130, run.output
    assert left_in(folder) == []
    document = validated(run.directory / "junit.xml")
    assert f"interrupted by {number.name}" in [error.get("message") for error in document.iter("error")]
    assert run.result.exit_code == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_killed_while_the_engine_is_asked_for_its_flags(tmp_path: Path, number: signal.Signals) -> None:
    cases = edited(tmp_path / "cases", DISAGG, SMALL[DISAGG] | QUICK)
    python = install(tmp_path / "engine", {"build": {"asked_for": 60.0}})
    process = begin(tmp_path, "--cases", cases, "--engine-python", python)
    wait_for(lambda: recorded(tmp_path, "asking vllm for its flags") and left_in(tmp_path))
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    if number is signal.SIGKILL:
        assert "removed: " in harness("reap", "--runs", tmp_path / "runs").stdout
    else:
        assert process.returncode == 130, output
    assert left_in(tmp_path) == []


@pytest.fixture
def two_cases(tmp_path: Path) -> list[str | Path]:
    """The arguments that run two cases, one after the other, on a slow engine."""
    for case in (SINGLE, ONE_POINT):
        cases = edited(tmp_path / "cases", case, SMALL[case] | QUICK)
    return ["--cases", cases, "--engine-python", install(tmp_path / "engine", {"server": {"latency": 0.3}})]


def not_run(path: Path) -> dict[str, str]:
    """Reason of every point that a JUnit file reports as skipped, by the name of its suite."""
    return {
        suite.get("name"): skip.get("message")
        for suite in validated(path).iter("testsuite")
        for skip in suite.iter("skipped")
    }


def test_a_point_that_an_interrupt_kept_from_beginning_is_reported(tmp_path: Path, two_cases: list[str | Path]) -> None:
    process = begin(tmp_path, *two_cases)
    wait_for(lambda: list(tmp_path.glob("runs/*/ready.json")))
    run = end(process, signal.SIGTERM, tmp_path)
    assert run.code == 130, run.output
    (begun,) = [path.parent.name for path in tmp_path.glob("runs/*/case.json")]
    (other,) = {"eagle3.known_answer", "mtp.known_answer_k1"} - {begun}
    suite, name = other.split(".")
    assert not_run(tmp_path / "runs" / "junit.xml")[f"{suite}.cpu.{name}"] == "interrupted before it began"
    assert f"skipped {suite}/{name}: interrupted before it began" in run.output
    summary = harness("summary", tmp_path / "runs").stdout
    assert "interrupted before it began" in summary
    assert left_in(tmp_path) == []


_SIGNALLED_BEFORE_THE_SECOND = """
import os, signal
from harness.run import prepare, supervise
create, made = prepare.create, []
def signal_first(*arguments, **named):
    if made:
        os.kill(os.getpid(), signal.SIGTERM)
    made.append(create(*arguments, **named))
    return made[-1]
prepare.create = signal_first
from harness.__main__ import main
main()
"""


def test_a_signal_between_two_points_loses_neither(tmp_path: Path, two_cases: list[str | Path]) -> None:
    done = patched(_SIGNALLED_BEFORE_THE_SECOND, "run", "--runs", tmp_path / "runs", *two_cases)
    assert done.returncode == 130, done.stderr
    document = tmp_path / "runs" / "junit.xml"
    assert list(not_run(document).values()) == ["interrupted before it began"]
    assert len(list(validated(document).iter("testsuite"))) == 2


_SIGNALLED_WITH_THE_VERDICT = """
import os, signal
from harness.run.console import Console
Console.result = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
from harness.__main__ import main
main()
"""


def test_a_verdict_is_reported_though_the_signal_came_with_it(tmp_path: Path, two_cases: list[str | Path]) -> None:
    done = patched(_SIGNALLED_WITH_THE_VERDICT, "run", "--runs", tmp_path / "runs", *two_cases)
    assert done.returncode == 130, done.stderr
    first, second = validated(tmp_path / "runs" / "junit.xml").iter("testsuite")
    assert (first.get("errors"), first.get("skipped")) == ("0", "0")
    assert len(list(first)) > 3
    assert second.get("skipped") == "1"


def test_samples_that_came_back_survive_an_interrupt(prepared: Prepared) -> None:
    folder, arguments = prepared
    process = begin(folder, *arguments)

    wait_for(lambda: list((folder / "runs").glob("*/metrics/before-decode.prom")))
    time.sleep(1.0)
    run = end(process, signal.SIGINT, folder)
    samples = (run.directory / "samples.jsonl").read_text().splitlines()
    assert 4 <= len(samples) < 24
    assert all(json.loads(line)["error"] == "" for line in samples)


def test_two_signals_do_not_cut_the_clean_up_short(prepared: Prepared) -> None:
    folder, arguments = prepared
    process = begin(folder, *arguments)
    wait_for(lambda: left_in(folder))
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    assert end(process, signal.SIGTERM, folder).code == 130


_SIGNALLED_AFTER_THE_FIRST_SERVER = """
import os, signal, sys
number = getattr(signal, sys.argv.pop())
from harness.host import processes
start = processes.start
def start_and_signal(*arguments, **options):
    started = start(*arguments, **options)
    os.kill(os.getpid(), number)
    return started
processes.start = start_and_signal
from harness.__main__ import main
main()
"""


@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 130), ("SIGKILL", -9)])
def test_serve_killed_between_starting_a_server_and_recording_it(prepared: Prepared, number: str, code: int) -> None:
    folder, arguments = prepared
    argv: list[str | Path] = ["serve", DISAGG, "--run-dir", folder / "stages", *arguments, number]
    done = patched(_SIGNALLED_AFTER_THE_FIRST_SERVER, *argv)
    assert done.returncode == code, done.stderr
    if code < 0:
        assert len(left_in(folder)) == 1
        assert harness("reap", "--runs", folder).returncode == 0
    assert left_in(folder) == []


def test_stop_from_another_shell_ends_a_running_evaluation(tmp_path: Path) -> None:
    cases = edited(tmp_path / "cases", DISAGG, SMALL[DISAGG] | QUICK)
    python = install(tmp_path / "engine", {"decode": {"latency": 8.0}})
    rundir = tmp_path / "run"
    arguments: list[str | Path] = ["--cases", cases, "--engine-python", python]
    assert harness("serve", DISAGG, "--run-dir", rundir, *arguments).returncode == 0
    assert harness("health-wait", rundir).returncode == 0
    evaluation = subprocess.Popen(command("eval", rundir), env=environment(), stderr=subprocess.PIPE)
    wait_for((rundir / "metrics" / "before-decode.prom").exists)
    assert harness("stop", rundir).returncode == 0
    evaluation.communicate(timeout=30)
    assert evaluation.returncode == 130
    assert left_in(tmp_path) == []


def test_kept_servers_stay_until_they_are_stopped(prepared: Prepared) -> None:
    folder, arguments = prepared
    process = begin(folder, *arguments, "--keep")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert len(left_in(folder)) >= 3
    rundir = next((folder / "runs").glob("*/case.json")).parent
    said = [line for line in harness("reap", "--runs", folder / "runs").stdout.splitlines() if str(folder) in line]
    assert len(said) == 1
    assert said[0].startswith("kept: ")
    assert said[0].endswith(f" of {rundir}; `harness stop {rundir}` ends it")
    assert f"harness stop {rundir}" in output
    assert harness("stop", rundir).returncode == 0


def test_a_program_started_meanwhile_ends_with_the_harness(tmp_path: Path) -> None:
    """Installing an engine is a program that runs for a minute: an interrupt must end it too."""
    code = (
        "import sys; from harness.host import processes, signals\n"
        "with signals.handled():\n"
        "    processes.run(['sh', '-c', 'sleep 300 & echo $$; wait'], on_tick=lambda line: print(line, flush=True))\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    members = [child, *wait_for(child.children)]
    parent.send_signal(signal.SIGINT)
    parent.communicate(timeout=10)
    _, alive = psutil.wait_procs(members, timeout=5)
    assert alive == []


def test_a_signal_that_hits_a_destructor_is_not_lost() -> None:
    program = (
        "import os, signal, time\n"
        "from harness.base.errors import Interrupted\n"
        "from harness.host import signals\n"
        "class Fragile:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        sum(range(1000))\n"
        "try:\n"
        "    with signals.handled():\n"
        "        Fragile()\n"
        "        time.sleep(20)\n"
        "        print('went on')\n"
        "except Interrupted as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert (done.stdout, done.stderr) == ("interrupted by SIGTERM\n", "")


_TOGETHER = """
import sys, time
from pathlib import Path
from harness.base.errors import UsageError
from harness.run.folders import claimed
from harness.run.rundir import RunDir
below, given = Path(sys.argv[1]), [Path(each) for each in sys.argv[2:]]
print("here", flush=True)
sys.stdin.read()
try:
    with claimed(given[0] if given else None, below) as folder:
        RunDir.create(folder / "case")
        print(folder, flush=True)
        time.sleep(1.0)
except UsageError as error:
    print("refused", error)
"""


@pytest.mark.parametrize("given", [False, True], ids=["default", "the same folder"])
def test_runs_that_start_at_once_never_share_a_folder(tmp_path: Path, given: bool) -> None:
    argv = [sys.executable, "-c", _TOGETHER, str(tmp_path / "runs"), *([str(tmp_path / "one")] if given else [])]
    pipe = subprocess.PIPE
    several = [subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, cwd=REPOSITORY) for _ in range(12)]
    for each in several:
        assert each.stdout is not None
        assert each.stdout.readline() == "here\n"
    for each in several:
        assert each.stdin is not None
        each.stdin.close()
        each.stdin = None
    said = [each.communicate(timeout=60)[0] for each in several]
    folders = [line for line in said if not line.startswith("refused")]
    assert len(folders) == len(set(folders)) == (1 if given else 12)
    assert all("must name a new or empty folder" in line for line in said if line.startswith("refused"))
