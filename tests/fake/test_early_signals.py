"""Signals before the harness has begun to do anything, and while it does something that starts no server."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY, environment

SOFT = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]
CALLS = {
    "module": ["-m", "harness"],
    "script": [str(Path(sys.executable).with_name("harness"))],
}
MOMENTS = ["traceback", "typer", "harness.cli.main", "harness.cases.model"]
"""Modules that are imported one after the other, the first right after the handlers are there."""


@pytest.mark.parametrize("number", SOFT, ids=lambda number: number.name)
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("call", CALLS)
def test_a_signal_while_the_harness_is_imported(number: signal.Signals, moment: str, call: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", *CALLS[call], "check"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.split("|")[-1].strip() == moment:
            break
    process.send_signal(number)
    output, said = process.communicate(timeout=60)
    assert process.returncode == 130, said[-2000:]
    assert "Traceback" not in said
    assert "problems" not in output


IN_A_DESTRUCTOR = """
import os, signal, sys
from harness.cases import load
class Fragile:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        sum(range(1000))
def all_lost(folder):
    Fragile()
    return []
load.load = all_lost
from harness.__main__ import main
main()
"""


def test_a_signal_that_got_lost_outranks_the_exit_code() -> None:
    """Python drops what is raised in a destructor; the command may come to its end before it is raised once more."""
    argv = [sys.executable, "-c", IN_A_DESTRUCTOR, "check", "--workflows", "nowhere"]
    done = subprocess.run(argv, env=environment(), capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert (done.returncode, done.stderr) == (130, "")


IN_A_LIBRARY = """
import os, signal
from harness.upkeep import rules
from harness.__main__ import main

def asked(*_, **__):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt as interrupt:
        raise ValueError("an error of its own") from interrupt

rules.problems = asked
main()
"""


def test_a_signal_of_which_a_library_made_an_error_is_none_of_ours() -> None:
    argv = [sys.executable, "-c", IN_A_LIBRARY, "check"]
    done = subprocess.run(argv, env=environment(), capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert (done.returncode, done.stderr) == (130, "")
