"""What the harness has to know of the engine: how a server is started, and what its counters mean."""

from __future__ import annotations

from pathlib import Path

from harness.base.domain import Probe, Server
from harness.cases.model import Case, Role
from harness.cases.serve_settings import Serve
from harness.engines.engine import EngineSpec, Place, flag_arguments
from harness.engines.metrics import Metric


def _server(case: Case, place: Place, role: Role, name: str) -> Server:
    serve, port = case.serve_of(role), place.port(1)
    command = str(Path(place.python).parent / "sums-engine")
    return Server(
        name=name,
        role=role,
        argv=(command, *flag_arguments({"port": port, **serve.flags})),
        ports={"http": port},
        probes=(Probe("http", port, "/health", path="/health"),),
        env={**serve.env, **place.devices(_devices(serve))},
        has_metrics=True,
    )


def _devices(serve: Serve) -> int:
    return serve.tensor_parallel_size


ENGINE = EngineSpec(
    name="sums",
    distributions=("sums-engine",),
    server=_server,
    devices=_devices,
    metrics=(Metric("finished_requests", "sums:requests_total", by="reason"),),
    counts=frozenset({"finished_requests"}),
    moving=("sums:requests_total",),
)
