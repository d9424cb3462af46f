"""Greens that are on record: work that is identical in everything that decides its verdict is not done twice.

Only where the caller says so, and never as a pass: what is reused is reported as skipped, with the run that passed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import harness
import known_answer
from harness.base.domain import Outcome, Platform
from harness.base.errors import UsageError
from harness.devices import accelerators
from harness.host import files
from harness.reports.result import Result
from harness.run import documents
from harness.run.context import Context
from harness.run.rundir import Prepared


def fingerprint(prepared: Prepared) -> str:
    """SHA-256 over case, build of the engine, checkpoints, kind of device and this harness.

    Empty where one of them is not known for sure: on servers of somebody else's, and with devices of several kinds.
    """
    made = {name: each.sha256 or each.revision for name, each in sorted(prepared.checkpoints.items())}
    device = _device(prepared)
    if prepared.attached or not (prepared.build and device and all(made.values())):
        return ""
    models = (f"{name}={content}" for name, content in made.items())
    case = prepared.case.model_dump_json()
    return files.digest_text(prepared.platform, case, prepared.build, *models, device, _harness())


def green(wanted: str, folders: Sequence[Path]) -> Result | None:
    """A run that passed with this fingerprint, of all below ``folders``; None if there is none."""
    return _recorded(tuple(folders)).get(wanted) if wanted else None


def stands(context: Context, folders: Sequence[Path]) -> str:
    """Which verdict on record stands for this point, in words; empty if none does."""
    mark = fingerprint(context.prepared)
    passed = green(mark, folders)
    run_id = passed.provenance.get("run_id", "") if passed else ""
    context.rundir.save(context.prepared.model_copy(update={"fingerprint": mark, "reused": run_id}))
    if passed is None:
        return ""
    same = "case, build, checkpoints, kind of device and harness are the same"
    return f"reused: run {run_id} of {passed.started[:19]} passed, and {same}"


def require(folders: Sequence[Path]) -> None:
    """Raise unless there is something to look through.

    Raises:
        UsageError: One is no folder.
    """
    for each in folders:
        if not each.is_dir():
            raise UsageError(f"--reuse {each}: no folder there; name one with run directories, at any depth")


@cache
def _recorded(folders: tuple[Path, ...]) -> dict[str, Result]:
    """Runs that passed, by fingerprint, the latest of each. What cannot be read is none."""
    found: dict[str, Result] = {}
    for path in sorted(path for folder in folders for path in folder.glob("**/result.json")):
        try:
            result = documents.read(path, Result)
        except UsageError:
            continue
        if result is None or result.outcome is not Outcome.PASS or "fingerprint" not in result.provenance:
            continue
        known = found.get(result.provenance["fingerprint"])
        if known is None or known.started < result.started:
            found[result.provenance["fingerprint"]] = result
    return found


def _device(prepared: Prepared) -> str:
    """Kind of device and its driver, of a CPU the machine and its cores; empty if there are several kinds."""
    host = prepared.host
    kinds = _kinds(prepared.platform) or {f"{host.get('machine', '')}, {host.get('cpus', '')} cores"}
    return f"{kinds.pop()}, {host.get('driver', '')}" if len(kinds) == 1 else ""


def _kinds(platform: Platform) -> set[str]:
    return {f"{each.product} {each.architecture} {each.memory_bytes}" for each in accelerators.look(platform).devices}


@cache
def _harness() -> str:
    """What asks, scores and judges: every module of the harness, and of the models whose answers are known."""
    sha = hashlib.sha256()
    for package in (harness, known_answer):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            sha.update(
                f"{root.name}/{path.relative_to(root)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}".encode()
            )
    return sha.hexdigest()
