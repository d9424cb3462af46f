"""How CI systems end a job, as their sources and pages say it: signals, grace and the search for what is left."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress

import psutil

End = Callable[[subprocess.Popen[str]], None]


def carriers(marks: Mapping[str, str]) -> list[psutil.Process]:
    """Living processes whose environment holds all of ``marks``."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and marks.items() <= process.environ().items():
                found.append(process)
    return found


def _ended(process: subprocess.Popen[str], seconds: float) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.poll() is not None


def github_step(step: subprocess.Popen[str]) -> None:
    """GitHub's runner: the step's process alone. ProcessInvoker: SIGINT, after 7.5 s SIGTERM, after 2.5 s SIGKILL."""
    step.send_signal(signal.SIGINT)
    if not _ended(step, 7.5):
        step.send_signal(signal.SIGTERM)
        if not _ended(step, 2.5):
            step.send_signal(signal.SIGKILL)


def github_job(tracking: str) -> None:
    """The end of a job on GitHub's runner: whatever carries the job's tracking id is killed."""
    for process in carriers({"RUNNER_TRACKING_ID": tracking}):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def gitlab(script: subprocess.Popen[str]) -> None:
    """GitLab's shell executor: SIGTERM to the process group; SIGKILL ten minutes later."""
    _group(script, signal.SIGTERM)
    if not _ended(script, 600):
        _group(script, signal.SIGKILL)
        script.wait()


def buildkite(command: subprocess.Popen[str]) -> None:
    """Buildkite's agent: SIGTERM to the command's process group; SIGKILL after 9 s."""
    _group(command, signal.SIGTERM)
    if not _ended(command, 9):
        _group(command, signal.SIGKILL)
        command.wait()


def jenkins(marks: Mapping[str, str]) -> None:
    """Jenkins's ProcessTree.killAll: SIGTERM to all that carry ``marks``, children first, 5 s for each tree."""
    for process in carriers(marks):
        with suppress(psutil.NoSuchProcess):
            tree = [*reversed(process.children(recursive=True)), process]
            for each in tree:
                with suppress(psutil.NoSuchProcess):
                    each.terminate()
            psutil.wait_procs(tree, timeout=5)


def _group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
