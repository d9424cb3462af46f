"""What a run was run on, as the passports of baselines say it, and whether a baseline is of such a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from harness import protocols
from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import Evidence
from harness.base.settings import Expectation
from harness.checks.check import unmeasured
from harness.checks.measuring import measured_only, unjudged_too
from harness.devices import device_shares
from harness.run.rundir import Prepared


def prompts(prepared: Prepared) -> str:
    """SHA-256 of everything that a run asked, in order.

    Raises:
        OSError: A data file is not there any more.
    """
    data = {name: Path(path).read_text(encoding="utf-8") for name, path in prepared.data.items()}
    asked = [asdict(item) for item in protocols.items(prepared.case.evaluation, data)]
    content = {"items": asked, "max_tokens": prepared.case.evaluation.max_tokens}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def build(prepared: Prepared) -> str:
    """Engine and version, as the build says it."""
    engine = prepared.case.engine.name
    versions = {name: each for name, each in prepared.versions.items() if name.startswith(engine)}
    return next((f"{name} {versions[name]}" for name in sorted(versions, key=len)), engine)


def device(prepared: Prepared) -> str:
    """Kind of device, of a CPU the machine and its cores."""
    devices = device_shares.distinct(prepared.runtime.devices) if prepared.runtime else []
    if products := sorted({each.product or each.architecture for each in devices} - {""}):
        return f"{len(devices)} x {', '.join(products)}"
    return f"{prepared.platform}, {prepared.host.get('machine', 'unknown')}, {prepared.host.get('cpus', '?')} cores"


def as_judged(results: Iterable[CheckResult], evidence: Evidence, prepared: Prepared) -> list[CheckResult]:
    """What becomes of the results of all checks: of a run that is only measured, observations; else verdicts."""
    if prepared.case.measure_only:
        return measured_only(results, evidence)
    return unjudged_too(compared(results, prepared), evidence, prepared.case.without_baseline)


def compared(results: Iterable[CheckResult], prepared: Prepared) -> list[CheckResult]:
    """The results, where a baseline that was measured is of what was run: else an error, or of another device a remark.

    On fixed prompts a baseline says nothing of other prompts, whose values differ by more than its bound.
    """
    case = prepared.case
    configured = case.checks.configured() | {f"parity[{name}]": each for name, each in case.comparisons.items()}
    measured = {
        name: each.passport for name, each in configured.items() if isinstance(each, Expectation) and each.passport
    }
    found, here, asked = list(results), device(prepared), _prompts(prepared) if measured else None
    for name, passport in measured.items():
        wrong = "the baseline is of other prompts; harness calibrate measures it anew"
        told = f"the baseline was measured on {passport.device}, this run on {here}"
        for index, each in enumerate(found):
            if name not in (each.name, each.name.partition("[")[0]) or each.outcome is Outcome.ERROR:
                continue
            if asked is not None and asked != passport.prompts:
                found[index] = unmeasured(each.name, wrong)
            elif here != passport.device and each.outcome is not Outcome.FAIL:
                found[index] = replace(each, message="; ".join(filter(None, [each.message, told])))
            elif here != passport.device:
                found[index] = replace(each, details="\n".join(filter(None, [told, each.details])))
    return found


def _prompts(prepared: Prepared) -> str | None:
    """None of a run that does not say, where a data file is not at hand: it can be judged again elsewhere."""
    try:
        return prepared.prompts or prompts(prepared)
    except (OSError, UnicodeDecodeError):
        return None
