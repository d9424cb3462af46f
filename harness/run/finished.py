"""Finished runs, which are read-only: what a run found is never overwritten, neither by a stage nor by a judge."""

from __future__ import annotations

from harness.base.domain import Outcome, Stage
from harness.base.errors import UsageError
from harness.reports.result import Result
from harness.run.rundir import RunDir, Servers


def verdict(rundir: RunDir) -> Result | None:
    """The verdict of a run that is over: what was started is gone, and it was judged. None before.

    Raises:
        UsageError: A document is damaged.
    """
    result = rundir.read("result", Result)
    if result is None:
        return None
    prepared = rundir.prepared()
    if prepared.attached:  # nothing was started, so nothing can be left
        servers = rundir.read("servers", Servers)
        return result if prepared.owner is not None or servers is None or servers.stopped else None
    teardown = [check.outcome for check in result.checks if check.name == "teardown"]
    # A supervised run is judged once, at its end, whether or not anything was started; one by hand also before.
    over = set(teardown) == {Outcome.PASS} if teardown else prepared.owner is not None
    return result if over else None


def require_open(rundir: RunDir, stage: Stage) -> None:
    """Refuse a stage that would write over what the run has found.

    Raises:
        UsageError: It would, or there is no server to work with.
    """
    servers = rundir.read("servers", Servers)
    if stage is Stage.SERVE:
        why = "" if servers is None else "its servers were started"
    elif servers is None or not servers.servers:
        raise UsageError(f"{rundir.path}: no server was started; run `harness serve` first")
    elif servers.stopped is not None:
        why = "it was ended" if rundir.prepared().attached else "its servers were stopped"
    else:
        evaluated = [each for each in rundir.stages() if each.stage is Stage.EVAL and each.outcome is Outcome.PASS]
        why = "it was evaluated" if evaluated else ""
    if why:
        raise UsageError(
            f"{rundir.path}: {why}, and what a run found is not overwritten; `harness serve` makes another run"
        )
