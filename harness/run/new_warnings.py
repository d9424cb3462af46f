"""What servers of a run warn of that is new: it is said beside a green verdict, and never changes one."""

from __future__ import annotations

from collections import Counter

from harness.base.texts import shortened
from harness.logs import log_warnings
from harness.reports.result import NEW_WARNINGS
from harness.run.rundir import RunDir, Servers

_SHOWN = 3
_LONGEST = 120


def of_run(rundir: RunDir, *, everything: bool = False) -> Counter[str]:
    """Warnings in the logs of a run's servers and how often each is said: those that are new, or ``everything``.

    Raises:
        UsageError: A document is damaged.
    """
    servers, engine = rundir.read("servers", Servers), rundir.prepared().case.engine.name
    found: Counter[str] = Counter()
    for running in servers.servers if servers else ():
        log = rundir.log_text(running.server.name)
        found += log_warnings.warnings(log) if everything else log_warnings.new(log, engine)
    return found


def provenance(rundir: RunDir) -> dict[str, str]:
    """What a green verdict says of them; empty if there are none.

    Raises:
        UsageError: A document is damaged.
    """
    found = of_run(rundir)
    if not found:
        return {}
    first = "; ".join(shortened(text, _LONGEST) for text, _ in found.most_common(_SHOWN))
    more = " …" if len(found) > _SHOWN else ""
    return {NEW_WARNINGS: f"{len(found)}: {first}{more}"}
