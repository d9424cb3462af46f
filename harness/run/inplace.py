"""Whether the servers on record can be those of this run directory, seen from here."""

from __future__ import annotations

from harness.base.domain import Stage
from harness.base.errors import UsageError
from harness.host.identity import here
from harness.run.rundir import RunDir, Servers


def check(rundir: RunDir, stage: Stage) -> None:
    """Refuse a stage by hand on servers that are not this run directory's, or cannot be told from others here.

    Raises:
        UsageError: It is a copy, or its servers ran under another boot, in another namespace, or were started by a
            version of the harness that did not record enough.
    """
    prepared = rundir.prepared()
    if prepared.folder and prepared.folder != str(rundir.path):
        raise UsageError(
            f"{rundir.path}: a copy of {prepared.folder}, or moved from there, and no servers are its own; where it "
            f"was made: `harness {stage} {prepared.folder}`; should that folder be gone: `harness reap`"
        )
    if prepared.runtime and prepared.runtime.container:
        return  # whose servers are looked for inside
    try:
        document = rundir.read("servers", Servers)
    except UsageError:
        if stage is Stage.STOP:
            return  # which does what it can
        raise
    if document is None or document.stopped is not None:
        return
    for each in document.servers:
        if each.process is None:
            continue  # somebody else's, which is only asked
        if why := _unprovable(each.process.ticks, each.process.boot, each.process.namespace):
            raise UsageError(f"{rundir.path}: {each.server.name} (pid {each.process.pid}) {why}")


def _unprovable(ticks: int, boot: str, namespace: str) -> str:
    """Why nobody can say from here which process that was; empty if it can be said."""
    now = here()
    if not ticks:
        return (
            "was started by a version of the harness that did not record when, so nothing is touched; end it with "
            "that version, or by hand"
        )
    if boot != now.boot:
        return (
            "was started on another machine, or before this one was started last, so nothing is touched; there, "
            "`harness stop` ends it; `harness assert` judges what was written"
        )
    if namespace != now.namespace:
        return "was started in another PID namespace, so nothing is touched; `harness stop` there ends it"
    return ""
