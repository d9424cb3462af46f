"""What servers get of the caller's environment: handed to them alone, and taken out of their logs when they have ended.

A server writes its log itself, so what it says of its environment is there in clear while it runs. Reports quote the
log with secrets masked; the file is masked once nobody writes to it any more.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from harness.base import secrets
from harness.base.errors import CannotJudge
from harness.cases.model import Case
from harness.host import files, processes
from harness.host.identity import Identity
from harness.run.rundir import RunDir


def values(names: Iterable[str]) -> dict[str, str]:
    """Those of the variables that our environment has; from here on their values are known as secrets."""
    found = {name: os.environ[name] for name in names if name in os.environ}
    secrets.hide(found.values())
    return found


def require(case: Case) -> None:
    """Say before anything is made that a server would lack something.

    Raises:
        CannotJudge: A variable is not set.
    """
    there = values(case.pass_env)
    if lacking := [name for name in case.pass_env if name not in there]:
        raise CannotJudge(
            f"{', '.join(lacking)}: not set here", cause="serve.pass_env of the case names it; export it and run again"
        )


def remember(rundir: RunDir, running: Iterable[Identity]) -> None:
    """Know what was handed to these servers: from our environment, or, in another shell than theirs, from their own."""
    names = rundir.prepared().case.pass_env
    if names:
        values(names)
        for each in running:
            secrets.hide(processes.variables(each, names).values())


def conceal(rundir: RunDir) -> None:
    """Take every secret that is known here out of the logs of a run whose servers have ended."""
    known = secrets.known()
    for path in sorted(rundir.logs.glob("*.log")):
        _conceal(path, known)


def _conceal(path: Path, known: Iterable[str]) -> None:
    spelt = [each.encode(errors="surrogateescape") for value in known for each in secrets.spellings(value)]
    if path.is_symlink() or not files.holds_any(path, spelt):
        return
    text = path.read_bytes().decode(errors="surrogateescape")
    files.write(path, secrets.mask_values(text, known).encode(errors="surrogateescape"))
