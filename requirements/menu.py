"""The part of ./nox that installs Nox, hash-locked, into .nox/menu, and then becomes Nox.

Runs on any Python from 3.11 with its standard library. Signals that ask it to end are held back from the first line on:
they end the program that runs, or, at the very end, wait for the noxfile, which takes them up.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

HELD = [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT]
if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # below nohup a terminal may go away
    HELD.append(signal.SIGHUP)
signal.pthread_sigmask(signal.SIG_BLOCK, HELD)

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements" / "nox.txt"
MENU = ROOT / ".nox" / "menu"
INSTALLED = MENU / "installed.txt"
PIP = ["-m", "pip", "install", "-qq", "--disable-pip-version-check", "--require-hashes"]


def run(*argv: str | Path, quiet: bool = False, path: Path | None = None) -> int:
    """Run a program to its end and return its status. A signal ends it with all it started, and then this."""
    child = subprocess.Popen(
        argv,
        env={**os.environ, **({"PYTHONPATH": str(path)} if path else {})},
        stderr=subprocess.DEVNULL if quiet else None,
        process_group=0,
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD),  # noqa: PLW1509 # there is one thread
    )
    while child.poll() is None:
        if signal.sigtimedwait(HELD, 0.1):
            os.killpg(child.pid, signal.SIGKILL)  # what is half installed is made anew
            child.wait()
            sys.exit(130)
    return child.returncode


def required(status: int) -> None:
    """End with what a program ended with, which has said why."""
    if status:
        sys.exit(status)


def install() -> None:
    """Make the environment from nothing."""
    shutil.rmtree(MENU, ignore_errors=True)
    if run(sys.executable, "-m", "venv", MENU, quiet=True):
        # Debian and Ubuntu ship Python without venv: virtualenv, which the lock holds anyway, makes the environment.
        shutil.rmtree(MENU, ignore_errors=True)
        aside = MENU.with_suffix(".virtualenv")
        required(run(sys.executable, *PIP, "--target", aside, "--requirement", LOCK))
        required(run(sys.executable, "-m", "virtualenv", "--quiet", MENU, path=aside))
        shutil.rmtree(aside)
    required(run(MENU / "bin" / "python", *PIP, "--requirement", LOCK))
    shutil.copy(LOCK, INSTALLED)


if __name__ == "__main__":
    install()
    python = MENU / "bin" / "python"
    os.execv(python, [str(python), "-P", str(ROOT / "noxfile.py"), *sys.argv[1:]])  # noqa: S606
