"""Servers that outlived the harness that leased their devices: with it went the lease, and they still compute."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.containers import lifecycle
from harness.host import ownership
from harness.run.reap import Fate, reap_one


def of_run(folder: Path) -> str:
    """What is still there of the run in this run directory; empty if nothing is.

    They need not have touched a device of theirs yet to be about to.
    """
    there = any(label.folder == str(folder) for label in ownership.labels().values())
    if not there and not any(each.label.folder == str(folder) for each in lifecycle.ours()):
        return ""
    return (
        f"servers of the run in {folder} are still there: `harness reap --runs {folder}` removes them if it was "
        f"killed, `harness stop {folder}` if they were kept"
    )


def removed(folder: Path, note: Callable[[str], None]) -> str:
    """The same, once what a killed harness left of that run is gone. What lives, or was kept, stays.

    Args:
        folder: The run directory.
        note: Called with what was removed.
    """
    if not of_run(folder):
        return ""
    for each in reap_one(folder):
        if each.fate is Fate.REMOVED:
            note(f"left by a run that was killed, removed: {each.what}")
    return of_run(folder)
