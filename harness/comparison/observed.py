"""What one start of a build showed, read from its run directory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from harness.base.domain import Sample
from harness.base.errors import CannotJudge
from harness.base.evidence import Acceptance, Verifications
from harness.engines import ENGINES, metrics
from harness.run import documents, measured_on
from harness.run.evidence_files import take
from harness.run.rundir import Ready, RunDir, Servers
from harness.run.scoring import right

Counted = Acceptance | Verifications


@dataclass(frozen=True)
class Observed:
    """Values of one start.

    Attributes:
        known: Everything is known beforehand of its models: equal starts cannot differ in what they answer.
        texts: By item.
        right: Of each item that is scored, whether it was answered right.
        accepted: None without speculation.
        groups: The same of one group of requests after the other.
        speeds: By the name of the quantity.
        asked: What was asked, as a digest.
        devices: Where, as their ids.
        engine: Which build, as it says itself.
    """

    known: bool
    texts: Mapping[str, str] = field(default_factory=dict)
    right: Mapping[str, bool] = field(default_factory=dict)
    accepted: Counted | None = None
    groups: tuple[Counted, ...] = ()
    speeds: Mapping[str, float] = field(default_factory=dict)
    asked: str = ""
    devices: tuple[str, ...] = ()
    engine: str = ""


def observed(rundir: RunDir) -> Observed:
    """What a run that is over showed.

    Raises:
        CannotJudge: It has no whole evaluation.
        UsageError: A document is damaged.
    """
    prepared, evidence = rundir.prepared(), take(rundir)
    if evidence is None:
        raise CannotJudge(f"{rundir.path}: no evaluation there")
    main = [each for each in evidence.samples if each.run == "main"]
    counted = evidence.measured.acceptance
    return Observed(
        known=prepared.case.is_known,
        texts={each.item: each.text for each in main if not each.error},
        right=right(prepared.case.evaluation, main),
        accepted=counted if isinstance(counted, Acceptance | Verifications) and counted.drafts else None,
        groups=evidence.measured.acceptance_groups,
        speeds=dict(_speeds(rundir, main)),
        asked=measured_on.prompts(prepared),
        devices=tuple(sorted(each.uuid for each in prepared.runtime.devices)) if prepared.runtime else (),
        engine=ENGINES[prepared.case.engine.name].build(prepared.versions),
    )


def _speeds(rundir: RunDir, main: list[Sample]) -> Iterator[tuple[str, float]]:
    """Each speed that can be read and is above 0, since they are compared as ratios."""
    ready = rundir.read("ready", Ready)
    if ready is not None and ready.seconds > 0:
        yield "start_up", ready.seconds
    tokens = sum(each.completion_tokens or 0 for each in main)
    began, ended = min(each.started for each in main), max(each.started + each.seconds for each in main)
    if tokens and ended > began:
        yield "throughput", tokens / (ended - began)
    times = _latencies(rundir)
    for name, total, number in (
        ("time_to_first_token", "first_token_seconds", "first_tokens"),
        ("time_between_tokens", "between_tokens_seconds", "between_tokens"),
    ):
        if times.get(number, 0) > 0 and times.get(total, 0) > 0:
            yield name, times[total] / times[number]


def _latencies(rundir: RunDir) -> metrics.Counters:
    """What the servers that answer timed during the main run."""
    case, servers = rundir.prepared().case, rundir.read("servers", Servers)
    role = "decode" if case.topology.kind == "disagg" else "server"
    wanted = ENGINES[case.engine.name].inside.latencies
    found = []
    for running in servers.servers if servers else ():
        if running.server.role == role and running.server.has_metrics and wanted:
            name = running.server.name
            before, after = (
                metrics.read(documents.text(rundir.metrics_file(when, name)) or "", wanted)
                for when in ("before", "after")
            )
            found.append(metrics.delta(before, after))
    return metrics.add(found)
