"""A point that runs in a harness of its own: how it is started, what it is at, and its verdict, however it ended."""

from __future__ import annotations

import signal
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.base.domain import Stage
from harness.base.errors import EXIT_FAILED, CannotJudge, Interrupted, UsageError
from harness.cases.model import Case
from harness.engines.diagnosis import tail
from harness.host.processes import Child
from harness.plan import limits
from harness.plan.points import Planned
from harness.reports.result import Result
from harness.run.console import Console
from harness.run.context import Context
from harness.run.progress import Progress
from harness.run.rundir import Event, RunDir, directly_below, make_folder
from harness.run.supervise import broken, finish, judged

LOG = "harness.log"
"""What the harness of a point said, in its run directory."""

_ENDING = 60.0
"""Seconds for what a harness does beyond stopping its servers: judging, and writing that down."""
_VERDICTS = (EXIT_FAILED, UsageError.exit_code, CannotJudge.exit_code, Interrupted.exit_code)
_LINES = 40


def ending(case: Case) -> float:
    """Seconds after which the harness of a point has ended, once it was asked to."""
    return limits.stage(case, Stage.STOP) + _ENDING


class Running(Protocol):
    """The harness of a point: a child of this process, or one on another host."""

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""

    def kill(self) -> None:
        """End it at once, and wait until it has."""

    def close(self) -> None:
        """Have here what it wrote, once it has ended."""


@dataclass(frozen=True)
class PointProcess:
    """One point, its run directory, and the harness that runs it."""

    each: Planned
    path: Path
    child: Running

    @classmethod
    def start(
        cls, each: Planned, runs: Path, arguments: Sequence[str], env: Mapping[str, str], cores: Collection[int]
    ) -> PointProcess:
        """Start the harness of a point.

        Args:
            each: The point.
            runs: Folder of the run directories.
            arguments: The harness's, that run the point; its run directory is added.
            env: Says which devices are its own.
            cores: The only processors that it and its servers run on; all if empty.

        Raises:
            UsageError: The run directory cannot be made.
            OSError: The system refused a process or a file.
        """
        path = directly_below(runs, each.folder)
        make_folder(path)
        told = [*arguments, "--run-dir", str(path)]
        return cls(each, path, Child.start(told, env=env, log=path / LOG, cores=cores))

    @property
    def ended(self) -> bool:
        return self.child.status is not None

    @property
    def is_ready(self) -> bool:
        """Whether it has had made what every point of its engine needs: image, environment, the engine's flags.

        Before it fetches models: those are its own, and may take an hour.
        """
        return (self.path / "capabilities.json").exists()

    @property
    def latest(self) -> Event | None:
        """What it is at."""
        return RunDir(self.path).latest()

    @property
    def ending(self) -> float:
        """As of :func:`ending`."""
        return ending(self.each.case)

    def verdict(self, console: Console) -> Result:
        """Its verdict, now that it has ended. One that died in the middle is an error, and what it started is stopped.

        Raises:
            Interrupted: It was asked to end before there was anything to judge.
            NodeLost: It ran on another host, and that is gone.
        """
        status = self.child.status
        assert status is not None, "it still runs"
        self.child.close()
        if found := judged(self.path):
            # The code says more than the verdict: wrong input, or a signal that came behind it.
            return found.model_copy(update={"exit_code": status}) if status in _VERDICTS else found
        if status == Interrupted.exit_code:
            raise Interrupted(signal.SIGTERM.name)
        error = self._died(status)
        try:
            return self._stopped(error, console)
        except Exception:  # noqa: BLE001 # its run directory may be what broke
            return broken(self.each, self.path, error)

    def _died(self, status: int) -> CannotJudge:
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
        log = self.path / LOG
        said = log.read_text(errors="replace").strip() if log.is_file() else ""
        by_whom = "the system does that where memory runs out" if status == -signal.SIGKILL else ""
        cause = by_whom or next(reversed(said.splitlines()), "") or f"{LOG} is empty"
        return CannotJudge(
            f"the harness of this point {how}",
            cause=cause,
            details=tail(said, _LINES),
            fault="host" if status < 0 else "",
        )

    def _stopped(self, error: CannotJudge, console: Console) -> Result:
        """Stop what is left of it, and judge what there is.

        Raises:
            HarnessError: There is no run directory, or it cannot be read.
        """
        rundir = RunDir.existing(self.path)
        context = Context(rundir, Progress(rundir, lambda _: None))
        begun = [record.stage for record in rundir.stages() if record.stage is not Stage.STOP]
        stage = begun[-1] if begun else Stage.PREPARE
        context.progress.broke_off(stage, error)
        return finish(context, console, stage, {stage: error}, lambda _: {}, keep=False)
