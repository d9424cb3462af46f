"""Were CUDA graphs captured? Answers are the same without, only later: nothing else would tell."""

from __future__ import annotations

from harness.base.domain import CheckResult, Outcome
from harness.base.settings import Origin, Strict
from harness.checks import compare
from harness.checks.evidence import Measurement


class Config(Strict):
    """``[checks.cuda_graphs]``: on every engine server, as its log says."""

    origin: Origin


def judge(config: Config, measured: Measurement) -> list[CheckResult]:  # noqa: ARG001 # nothing is bounded
    """One result, ``cuda_graphs``."""
    name, found = "cuda_graphs", measured.graphs
    if found is None:
        return [compare.unmeasured(name, "nobody looked into the logs")]
    if not found:
        return [compare.unmeasured(name, "nothing to judge: no engine server has a log")]
    without = [server for server, captured in found.items() if not captured]
    return [
        CheckResult(
            name=name,
            outcome=Outcome.FAIL if without else Outcome.PASS,
            measured=f"{len(found) - len(without)} of {len(found)} servers",
            expected=f"{len(found)} of {len(found)} servers",
            bound="captured",
            n=len(found),
            message=f"{', '.join(without)} captured no CUDA graphs" if without else "",
        )
    ]
