"""What every stage gets: the run directory, the case in it, and somewhere to report to."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

from harness.base.clock import SYSTEM_CLOCK, Clock
from harness.base.errors import CannotJudge, UsageError
from harness.cases.model import Case
from harness.engines import ENGINES
from harness.engines.engine import EngineSpec
from harness.host import concurrent_requests, link, processes
from harness.host.ownership import Label
from harness.logs.root_cause import root_cause, tail
from harness.run import api_key, server_environment
from harness.run.progress import Progress
from harness.run.rundir import Prepared, Ready, RunDir, RunningServer, Runtime, Servers


@dataclass(frozen=True)
class Context:
    """One case of one run."""

    rundir: RunDir
    progress: Progress
    clock: Clock = SYSTEM_CLOCK
    held: ExitStack = field(default_factory=ExitStack)
    """What is this process's until the case ends, or the process: the leases of its devices."""

    @property
    def prepared(self) -> Prepared:
        return self.rundir.prepared()

    @property
    def case(self) -> Case:
        return self.prepared.case

    @property
    def engine(self) -> EngineSpec:
        return ENGINES[self.case.engine.name]

    @property
    def runtime(self) -> Runtime:
        """Where the engine runs.

        Raises:
            UsageError: The prepare stage has not decided yet.
        """
        runtime = self.prepared.runtime
        if runtime is None:
            raise UsageError(f"{self.rundir.path}: nothing is prepared; start again with `harness serve`")
        return runtime

    @property
    def label(self) -> Label:
        """What every process of the run carries."""
        return self.prepared.label(self.rundir.path)

    def servers(self) -> list[RunningServer]:
        """The servers that were started, or that the run is attached to, with the key that those want.

        Raises:
            UsageError: There are none, or the key is not to be had any more.
        """
        document = self.rundir.read("servers", Servers)
        if document is None or not document.servers:
            raise UsageError(f"{self.rundir.path}: no server was started; run `harness serve` first")
        server_environment.remember(self.rundir, (each.process for each in document.servers if each.process))
        if self.prepared.attached:
            api_key.use(self.runtime.api_key, [each.server.at for each in document.servers])
        return document.servers

    def require_open_files(self) -> None:
        """Let this process, and the servers that it starts, have as many files open as requests in flight need.

        Raises:
            CannotJudge: The system does not let it have so many.
        """
        concurrency = self.case.evaluation.concurrency
        allowed, needed = concurrent_requests.allow(concurrency)
        if allowed < needed:
            raise CannotJudge(
                f"evaluation.concurrency = {concurrency} needs {needed} open files; a process may have {allowed}",
                cause=f"raise the hard limit (ulimit -Hn {needed}), or lower evaluation.concurrency",
            )

    def check_alive(self, servers: list[RunningServer]) -> None:
        """Raise if one of ``servers`` has ended.

        Raises:
            CannotJudge: With the server's own last error.
        """
        for running in servers:
            status = processes.exit_status(running.process) if running.process else None
            if status is not None:
                raise self.blame(running.server.name, status)

    def blame(self, server: str, what: str, note: str = "") -> CannotJudge:
        """The error for a server that did ``what``, with the workers that are gone and the root cause from its log.

        ``note`` is said after the cause.
        """
        if self.prepared.attached:
            return CannotJudge(f"{server} {what}", cause="its log is not here: somebody else runs it")
        log = self.rundir.log_text(server)
        if self.case.topology.spread and (between := link.lost_in(log)):
            return CannotJudge(
                f"{server} cannot be reached any more", cause=f"the link is lost {between}", fault="network"
            )
        try:
            ready = self.rundir.read("ready", Ready)
        except UsageError:
            ready = None  # it would only say who else is gone
        workers = ready.workers.get(server, []) if ready else []
        gone = [f"{each.name} ({each.pid})" for each in workers if not each.lives]
        what += f", {', '.join(gone)} gone" if gone else ""
        where = f"{self.rundir.log(server)}, last lines:\n{tail(log)}"
        cause = root_cause(log, self.engine.echoes) or "no error in its log"
        return CannotJudge(f"{server} {what}", cause="; ".join(filter(None, [cause, note])), details=where)
