"""Checks: rules over a measurement with a baseline.

One module a check: a ``Config`` (its table in the case file) and ``judge``, which returns one result or more. A new
check is a new module, a field of :class:`Checks` and an entry in :func:`judge_all`; the schema, the judging and the
reports follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field

from harness.base.domain import CheckResult, Outcome
from harness.base.settings import Strict
from harness.checks import acceptance, validity
from harness.checks import accuracy as accuracy_check
from harness.checks import cuda_graphs as cuda_graphs_check
from harness.checks import kv_transfer as kv_transfer_check
from harness.checks import parity as parity_check
from harness.checks import rearrangements as rearrangements_check
from harness.checks import server_config as server_config_check
from harness.checks.evidence import NO_ANSWERS, Agreement, Measurement, Unmeasured


class Checks(Strict):
    """The ``[checks]`` table. ``validity`` and ``teardown`` need no baseline and always run."""

    accuracy: accuracy_check.Config | None = Field(None, description="Share of right answers.")
    acceptance_length: acceptance.LengthConfig | None = Field(None, description="1 + accepted / drafts.")
    acceptance_per_position: acceptance.PositionsConfig | None = Field(
        None, description="Share of drafts accepted at each position."
    )
    draft_counts: acceptance.CountsConfig | None = Field(
        None, description="The speculation counters themselves, where they are known to the unit."
    )
    kv_transfer: kv_transfer_check.Config | None = Field(
        None, description="The ledger of prompt tokens on the decode side."
    )
    rearrangements: rearrangements_check.Config | None = Field(
        None, description="Expert load balancing: how often experts were moved."
    )
    cuda_graphs: cuda_graphs_check.Config | None = Field(
        None, description="CUDA graphs captured by every engine server, where only its log says so."
    )
    parity: parity_check.Config | None = Field(None, description="Texts equal to those known beforehand.")
    server_config: server_config_check.Config | None = Field(
        None, description="Values of the configuration that the servers say is in force."
    )


def unjudged(
    checks: Checks,
    controls: Mapping[str, accuracy_check.Config],
    comparisons: Mapping[str, parity_check.ComparisonConfig],
    reason: str,
) -> list[CheckResult]:
    """The same results, in the same order, of a run on whose remains nothing is judged: all skipped, with why.

    A report without them would look as if nobody had asked.
    """
    missing = Unmeasured(reason)
    empty = Measurement(
        answers=dict.fromkeys(("main", *controls, *comparisons), NO_ANSWERS),
        acceptance=missing,
        kv=missing,
        finished=missing,
        agreement=dict.fromkeys(comparisons, Agreement(0, 0)),
    )
    results = judge_all(checks, controls, comparisons, empty)
    return [CheckResult(each.name, Outcome.SKIPPED, message=f"not judged: {reason}") for each in results]


def judge_all(
    checks: Checks,
    controls: Mapping[str, accuracy_check.Config],
    comparisons: Mapping[str, parity_check.ComparisonConfig],
    measured: Measurement,
) -> list[CheckResult]:
    """All results of a case, in the order in which they are reported."""
    configured: list[tuple[Any, Callable[[Any, Measurement], list[CheckResult]]]] = [
        (checks.accuracy, accuracy_check.judge),
        (checks.parity, parity_check.judge),
        (checks.acceptance_length, acceptance.judge_length),
        (checks.acceptance_per_position, acceptance.judge_positions),
        (checks.draft_counts, acceptance.judge_counts),
        (checks.kv_transfer, kv_transfer_check.judge),
        (checks.rearrangements, rearrangements_check.judge),
        (checks.server_config, server_config_check.judge),
        (checks.cuda_graphs, cuda_graphs_check.judge),
    ]
    results = validity.judge(measured)
    for config, judge in configured:
        if config is not None:
            results += judge(config, measured)
    for name, control in controls.items():
        results += accuracy_check.judge(control, measured, run=name)
    results += [parity_check.judge_comparison(name, config, measured) for name, config in comparisons.items()]
    return results
