"""What a verdict is about: versions, models, host and runtime of the run, by name."""

from __future__ import annotations

from contextlib import suppress

from harness import __version__
from harness.base.errors import UsageError
from harness.engines.capabilities import FLAGS, Capabilities
from harness.run.rundir import Prepared, RunDir


def of_run(rundir: RunDir) -> dict[str, str]:
    """Of the run in this directory."""
    return _of(rundir.prepared()) | _flags(rundir)


def _of(prepared: Prepared) -> dict[str, str]:
    found = {"harness": __version__, "engine": prepared.case.engine.name, "run_id": prepared.run_id}
    found |= {f"version.{name}": version for name, version in prepared.versions.items()}
    found |= {f"checkpoint.{name}.sha256": made.sha256 for name, made in prepared.checkpoints.items() if made.sha256}
    found |= {f"model.{name}.revision": made.revision for name, made in prepared.checkpoints.items() if made.revision}
    found |= {f"model.{name}.unpinned": made.unpinned for name, made in prepared.checkpoints.items() if made.unpinned}
    if unpinned := _unpinned(prepared):
        found["unpinned"] = unpinned
    if not prepared.attached:  # of whose host nothing is known
        found |= {f"host.{name}": value for name, value in prepared.host.items()}
    found |= {name: value for name in ("fingerprint", "reference", "reused") if (value := getattr(prepared, name))}
    if prepared.runtime:
        found |= {"runtime": prepared.runtime.kind, "runtime.environment": prepared.runtime.environment}
        found |= {"runtime.base": prepared.runtime.base} if prepared.runtime.base else {}
        found |= {"runtime.base.unpinned": prepared.runtime.base_unpinned} if prepared.runtime.base_unpinned else {}
        found |= {"runtime.passthrough": prepared.runtime.passthrough} if prepared.runtime.passthrough else {}
    return found | ({"served_as": prepared.served_as} if prepared.served_as else {})


def _flags(rundir: RunDir) -> dict[str, str]:
    with suppress(UsageError):  # the check of that name says so
        if known := rundir.read("capabilities", Capabilities):
            return {FLAGS: known.provenance}
    return {}


def _unpinned(prepared: Prepared) -> str:
    """What this verdict is about that the project has not pinned, in one line: another machine may have another."""
    found = [
        f"model {name} at {made.revision or f'SHA-256 {made.sha256}'}"
        for name, made in prepared.checkpoints.items()
        if made.unpinned
    ]
    runtime = prepared.runtime
    return ", ".join([*found, *([f"base image {runtime.base}"] if runtime and runtime.base_unpinned else [])])
