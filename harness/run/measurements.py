"""From the files of a run to its measurement, now or later, here or on another machine."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import TypeAdapter

from harness.ground.measurement import Measurement
from harness.policy import metrics
from harness.policy.engines import ENGINES
from harness.policy.measure import measure
from harness.run.rundir import RunDir, Servers

_NAME = "measurements"


def take(rundir: RunDir) -> Measurement | None:
    """Measure and write ``measurements.json``; None if the evaluation left nothing to measure."""
    measurement = recompute(rundir)
    if measurement is not None:
        rundir.write(_NAME, Measurement, measurement)
    return measurement


def recompute(rundir: RunDir) -> Measurement | None:
    """Measure; None if the evaluation left nothing to measure."""
    prepared, servers = rundir.prepared(), rundir.read("servers", Servers)
    samples = rundir.samples()
    if samples is None or servers is None:
        return None
    roles = {running.server.name: running.server.role for running in servers.servers if running.server.has_metrics}
    engine = ENGINES[prepared.case.engine.name]

    def read(when: Literal["before", "after"]) -> dict[str, str]:
        paths = {name: rundir.metrics_file(when, name) for name in roles}
        return {name: path.read_text() for name, path in paths.items() if path.exists()}

    before, after = read("before"), read("after")
    if before.keys() != roles.keys() or after.keys() != roles.keys():
        return None  # interrupted before the counters were read: the stage's own error says so
    series = {name: [metrics.series(each[name], engine.metrics) for each in (before, after)] for name in roles}
    infos = {name: rundir.info_file(name) for name in roles}
    info = {name: json.loads(path.read_text()) for name, path in infos.items() if path.exists()}
    checks = prepared.case.checks
    logs = {name: rundir.log_text(name) for name in roles} if checks.rearrangements or checks.cuda_graphs else {}
    moved = sum(map(engine.rearrangements, logs.values())) if checks.rearrangements and logs else None
    graphs = {name: engine.captured in log for name, log in logs.items()} if checks.cuda_graphs else None
    return measure(
        prepared.case,
        samples,
        {name: metrics.read(text, engine.metrics) for name, text in before.items()},
        {name: metrics.read(text, engine.metrics) for name, text in after.items()},
        roles,
        info,
        moved,
        graphs,
        {name: seen for name, readings in series.items() if (seen := metrics.restarted(*readings))},
    )


def disagreement(rundir: RunDir, again: Measurement) -> str:
    """Where ``measurements.json`` is not what the files of the run give ``again``, in words; empty if it is.

    Where it is not there it is written: nothing is lost with it. What another version of the harness measured cannot
    be compared, and what is judged is what the other files give.
    """
    path = rundir.path / f"{_NAME}.json"
    if not path.exists():
        rundir.write(_NAME, Measurement, again)
        return ""
    try:
        recorded = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        recorded = None
    if not isinstance(recorded, dict):
        return f"{path.name}: is no measurement"
    computed = json.loads(TypeAdapter(Measurement).dump_json(again))
    if recorded.get("schema_version") != computed["schema_version"]:
        return ""
    # Logs grow on: an engine that idles may move experts again.
    keys = (recorded.keys() | computed.keys()) - {"rearrangements"}
    other = sorted(key for key in keys if recorded.get(key) != computed.get(key))
    return f"{path.name}: {', '.join(other)}: not what the other files of the run give" if other else ""
