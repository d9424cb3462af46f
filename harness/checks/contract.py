"""Does the engine keep the API's contract? Every entry of the protocol's ledger holds, or says what came instead."""

from __future__ import annotations

from pydantic import Field

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import Evidence
from harness.base.exchange import Exchanged
from harness.base.settings import Origin, Strict
from harness.checks import check
from harness.checks.answer_documents import differences, observed
from harness.checks.check import Check


class ContractSettings(Strict):
    """``[checks.contract]``."""

    entries: int = Field(ge=1, le=10_000, description="Entries of the ledger that must hold: all that are exchanged.")
    origin: Origin


def judge(settings: ContractSettings, evidence: Evidence) -> list[CheckResult]:
    """One result, ``contract``. An entry without an answer is an error and no wrong one; nothing hides a wrong one."""
    ledger = [each for each in evidence.exchanges if each.expected]
    if len(ledger) != settings.entries:
        return [check.unmeasured("contract", f"{len(ledger)} of {settings.entries} entries were exchanged")]
    silent = [f"{each.name}: {each.error}" for each in ledger if not each.status]
    gauges = "finished_requests" not in evidence.measured.missing  # somebody else's server may have none
    wrong = {each.name: first for each in ledger if each.status and (first := _first(each, gauges=gauges))}
    held = len(ledger) - len(silent) - len(wrong)
    lines = [*(f"{name}: {what}" for name, what in wrong.items()), *(f"no answer: {each}" for each in silent)]
    outcome = Outcome.FAIL if wrong else Outcome.ERROR if silent else Outcome.PASS
    return [
        CheckResult(
            name="contract",
            outcome=outcome,
            measured={"held": held, "broken": len(wrong), "unanswered": len(silent)},
            expected={"held": settings.entries, "broken": 0, "unanswered": 0},
            low={"held": settings.entries},
            high={"broken": 0, "unanswered": 0},
            n=settings.entries,
            unit="entries",
            direction="equal",
            message=check.first(lines),
            details="\n".join(_line(each, wrong) for each in ledger),
        )
    ]


def _first(exchanged: Exchanged, *, gauges: bool) -> str:
    """The first difference of an entry, or why its answer is not whole; empty if it holds.

    Args:
        exchanged: The entry.
        gauges: Whether the servers say what they are busy with.
    """
    expected = {key: value for key, value in exchanged.expected.items() if gauges or key != "busy"}
    found = next(differences(expected, observed(exchanged)), "")
    return found or exchanged.error


def _line(exchanged: Exchanged, wrong: dict[str, str]) -> str:
    verdict = wrong.get(exchanged.name, "" if exchanged.status else f"no answer: {exchanged.error}")
    return f"{exchanged.name}: {verdict or 'holds'}"


CHECK = Check(
    name="contract",
    about="Entries of the API's contract, each with an answer that is known beforehand.",
    settings=ContractSettings,
    judge=judge,
    stands_for=frozenset({"accuracy"}),
)
