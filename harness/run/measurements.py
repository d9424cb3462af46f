"""From the files of a run to its measurement, now or later, here or on another machine."""

from __future__ import annotations

import json
from typing import Literal

from harness.ground.measurement import Measurement
from harness.policy import metrics
from harness.policy.engines import ENGINES
from harness.policy.measure import measure
from harness.run.rundir import RunDir, Servers


def take(rundir: RunDir) -> Measurement | None:
    """Measure and write ``measurements.json``; None if the evaluation left nothing to measure."""
    prepared, servers = rundir.prepared(), rundir.read("servers", Servers)
    samples = rundir.samples()
    if samples is None or servers is None:
        return None
    roles = {running.server.name: running.server.role for running in servers.servers if running.server.has_metrics}
    engine = ENGINES[prepared.case.engine.name]

    def read(when: Literal["before", "after"]) -> dict[str, metrics.Counters]:
        paths = {name: rundir.metrics_file(when, name) for name in roles}
        return {name: metrics.read(path.read_text(), engine.metrics) for name, path in paths.items() if path.exists()}

    before, after = read("before"), read("after")
    if before.keys() != roles.keys() or after.keys() != roles.keys():
        return None  # interrupted before the counters were read: the stage's own error says so
    infos = {name: rundir.info_file(name) for name in roles}
    info = {name: json.loads(path.read_text()) for name, path in infos.items() if path.exists()}
    checks = prepared.case.checks
    logs = {name: rundir.log_text(name) for name in roles} if checks.rearrangements or checks.cuda_graphs else {}
    moved = sum(map(engine.rearrangements, logs.values())) if checks.rearrangements else None
    graphs = {name: engine.captured in log for name, log in logs.items()} if checks.cuda_graphs else None
    measurement = measure(prepared.case, samples, before, after, roles, info, moved, graphs)
    rundir.write("measurements", Measurement, measurement)
    return measurement
