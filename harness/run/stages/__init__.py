"""The stages: each reads and writes the run directory, so that they also work one by one."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress

from harness.base.clock import Deadline
from harness.base.domain import Stage
from harness.base.errors import UsageError
from harness.host import files, identity
from harness.host.ownership import Owner
from harness.run.context import Context
from harness.run.rundir import RunDir
from harness.run.stages import evaluate, health_wait, serve, stop

STAGES: dict[Stage, Callable[[Context], None]] = {
    Stage.SERVE: serve.run,
    Stage.HEALTH_WAIT: health_wait.run,
    Stage.EVAL: evaluate.run,
    Stage.STOP: stop.run,
}
"""What runs where the engine is; preparing and judging happen where the harness is."""

_YIELD_WAIT = 10.0


def perform(stage: Stage, context: Context) -> None:
    """Run one stage, on this machine.

    Raises:
        CannotJudge: The stage broke; its end is in ``events.jsonl``.
    """
    current = context.rundir.path / "stage.json"
    try:
        with context.progress.stage(stage):
            if stage is Stage.STOP:  # which writes nothing before it has stopped: the disk may be full
                _interrupt_other(context.rundir)
            else:
                files.write(current, Owner.me().text)
            STAGES[stage](context)
    finally:
        with suppress(OSError):  # a folder in its place, or a disk that nobody can write to
            current.unlink(missing_ok=True)


def _interrupt_other(rundir: RunDir) -> None:
    """End a stage that another process is still running here, so that it writes what it has."""
    other = None
    with suppress(UsageError):  # nobody that could be told from others
        other = rundir.read("stage", Owner)
    if other is None or other.same(Owner.me()):
        return
    deadline = Deadline(_YIELD_WAIT)
    if other.lives:
        identity.send([other], signal.SIGTERM)
    while other.lives and not deadline.passed:
        deadline.clock.sleep(0.1)
