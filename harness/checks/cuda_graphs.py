"""Were CUDA graphs captured? Answers are the same without, only later: nothing else would tell."""

from __future__ import annotations

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import Evidence
from harness.base.settings import Origin, Strict
from harness.checks import check
from harness.checks.check import Check


class CudaGraphsSettings(Strict):
    """``[checks.cuda_graphs]``: on every engine server, as its log says."""

    origin: Origin


def judge(_settings: CudaGraphsSettings, evidence: Evidence) -> list[CheckResult]:
    """One result, ``cuda_graphs``."""
    found = {server: told.get("cuda_graphs", 0) for server, told in evidence.measured.events.items()}
    if not found:
        return [check.unmeasured("cuda_graphs", "nothing to judge: no engine server has a log")]
    without = [server for server, captured in found.items() if not captured]
    return [
        CheckResult(
            name="cuda_graphs",
            outcome=Outcome.FAIL if without else Outcome.PASS,
            measured=len(found) - len(without),
            expected=len(found),
            low=len(found),
            n=len(found),
            unit="servers",
            direction="at-least",
            message=f"{', '.join(without)} captured no CUDA graphs, or the log says it in other words than known"
            if without
            else "",
        )
    ]


CHECK = Check(
    name="cuda_graphs",
    about="CUDA graphs captured by every engine server, where only its log says so.",
    settings=CudaGraphsSettings,
    judge=judge,
    reads=frozenset({"logs"}),
    problem=check.lacking("cuda_graphs", "the engine says it of its configuration: use checks.server_config"),
)
