"""From the files of a run to its evidence, now or later, here or on another machine.

The evaluation measures and keeps the numbers, so that a person can read them. A judgement measures again, from the same
files: they are what it judges, and where the numbers that were kept are others, something was damaged in between.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import TypeAdapter
from pydantic_core import from_json

from harness.base.domain import Server
from harness.base.errors import UsageError
from harness.base.evidence import Evidence, Measurement, Offer, Source, Unmeasured
from harness.base.resting import Gauge, Held, Resting
from harness.cases.model import Case, Role
from harness.checks import CHECKS
from harness.engines import ENGINES, metrics, sights
from harness.engines.engine import EngineSpec
from harness.engines.inside import Infos
from harness.run import documents, look_records, reference_record
from harness.run import footprints as footprints_file
from harness.run import groups as groups_file
from harness.run.footprints import Footprints
from harness.run.groups import Groups
from harness.run.look_records import Looks, looks_at
from harness.run.measure import Shown, measure
from harness.run.reference_record import Reference
from harness.run.rundir import Prepared, RunDir, Servers, When

_ADAPTER = TypeAdapter(Measurement)


def measurements_file(rundir: RunDir) -> Path:
    """Where the measurement is kept."""
    return rundir.path / "measurements.json"


def rendered(measurement: Measurement) -> bytes:
    """A measurement as it is kept."""
    return _ADAPTER.dump_json(measurement, indent=2) + b"\n"


def read_by_checks(case: Case) -> set[Source]:
    """What the checks of a case read besides the measurement."""
    return {source for name in case.checks.configured() for source in CHECKS[name].reads}


def take(rundir: RunDir, reference: Reference | None = None) -> Evidence | None:
    """Measure; None if the evaluation left nothing to measure.

    Args:
        rundir: Of the run.
        reference: What it is compared with; that of the run if None.

    Raises:
        UsageError: A file of the evaluation is damaged.
    """
    prepared, servers = rundir.prepared(), rundir.read("servers", Servers)
    case = prepared.case
    samples = rundir.samples()
    if samples is None or servers is None:
        return None
    engine, reads = ENGINES[case.engine.name], read_by_checks(case)
    started = [running.server for running in servers.servers if running.server.role != "router"]
    roles = {server.name: server.role for server in started if server.has_metrics}
    before = _readings(rundir, engine, roles, "before")
    after = _readings(rundir, engine, roles, "after")
    rest = _readings(rundir, engine, roles, "rest")
    if before.keys() != roles.keys() or after.keys() != roles.keys():
        return None  # interrupted before the counters were read: the stage's own error says so
    ours, footprints = not prepared.attached, rundir.read(footprints_file.NAME, Footprints)
    groups, looks = rundir.read(groups_file.NAME, Groups), rundir.read(look_records.NAME, Looks)
    compared = reference or rundir.read(reference_record.NAME, Reference)
    shown = {server.name: _told(rundir, server, info=bool(engine.info)) for server in started}
    logs = {name: told.log for name, told in shown.items()} if "logs" in reads and ours else {}
    began = {name: reading.counters for name, reading in before.items()}
    measured = measure(
        case,
        samples,
        began,
        {name: reading.counters for name, reading in after.items()},
        roles,
        {name: {event: count(log) for event, count in engine.events.items()} for name, log in logs.items()},
        {name: seen for name in roles if (seen := metrics.restarted(before[name].series, after[name].series))},
        {counter: words for reading in after.values() for counter, words in reading.absent.items()},
        {each.server.name: each.lacks["metrics"] for each in servers.servers if "metrics" in each.lacks},
        None if ours else _not_said(engine, servers),
        Shown(
            contradictions={name: _contradictions(engine, before[name], after[name]) for name in roles},
            findings=_findings(engine, {name: told.log for name, told in shown.items()}, footprints) if ours else {},
            capacity={name: engine.inside.capacity(after[name].infos) for name in roles},
            between=tuple(groups.readings) if groups else (),
            group_ends=(*groups.done, sum(each.run == "main" for each in samples)) if groups else (),
            looks=looks_at(case, looks, samples, began) if looks else (),
            resting=_resting(prepared, [server.name for server in started], before, after, rest, footprints),
        ),
    )
    said = {name: told.info for name, told in shown.items()} if engine.info else {}
    settings = [
        setting
        for server in started
        for setting in sights.compare(server.name, engine.asks(case, _role(server)), engine.sights, shown[server.name])
    ]
    return Evidence(
        measured=measured,
        samples=tuple(samples),
        configuration=said,
        logs=logs,
        settings=tuple(settings),
        exchanges=tuple(rundir.exchanges() or ()),
        paired=reference_record.paired(compared, case.evaluation, samples, measured) if compared else None,
        alarm_share=prepared.alarm_share,
    )


def told(rundir: RunDir) -> dict[str, sights.Told]:
    """What each engine server wrote and said; nothing of a run that started none.

    Raises:
        UsageError: A file of the evaluation is damaged.
    """
    servers, info = rundir.read("servers", Servers), bool(ENGINES[rundir.prepared().case.engine.name].info)
    started = [running.server for running in servers.servers if running.server.role != "router"] if servers else []
    return {server.name: _told(rundir, server, info=info) for server in started}


def _role(server: Server) -> Role:
    if server.role not in get_args(Role):
        raise UsageError(f"servers.json: {server.name}: role: {server.role!r} is none; {documents.NEXT}")
    return cast(Role, server.role)


def _told(rundir: RunDir, server: Server, *, info: bool) -> sights.Told:
    """What a server wrote and said. Its metrics are those that were read once the main run was over."""
    path = rundir.metrics_file("after", server.name)
    text = documents.text(path) if server.has_metrics else None
    try:
        infos = metrics.infos(text or "")
    except ValueError as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())[:200]}; {documents.NEXT}") from None
    said = _info(rundir.info_file(server.name)) if info else None
    return sights.Told(rundir.log_text(server.name), infos, frozenset(infos), said)


def _not_said(engine: EngineSpec, servers: Servers) -> dict[Offer | Source, str]:
    """What somebody else's servers do not say of themselves: they have no log here, and perhaps no configuration."""
    found: dict[Offer | Source, str] = dict.fromkeys(("logs", *engine.events), "its log is not here")
    for each in servers.servers:
        if "configuration" in each.lacks:
            found["configuration"] = f"{each.server.name}: {each.lacks['configuration']}"
    return found


@dataclass(frozen=True)
class Reading:
    """What a metrics text says.

    Attributes:
        series: Each series on its own.
        absent: Counters that it lacks, and what they are called there.
        ranks: The counters of each rank by itself, by our names.
        gauges: What the server holds, by the metric's name and the series; the memory of its first process too.
        infos: What metrics say that have only labels.
    """

    series: metrics.Counters
    absent: Mapping[str, str]
    ranks: Mapping[str, metrics.Counters]
    gauges: Mapping[tuple[str, str], float]
    infos: Infos

    @property
    def counters(self) -> metrics.Counters:
        """By our names, summed over ranks."""
        return metrics.add(self.ranks.values())


def _readings(rundir: RunDir, engine: EngineSpec, roles: dict[str, str], when: When) -> dict[str, Reading]:
    """Of each server whose metrics are there."""
    found: dict[str, Reading] = {}
    for path, name in ((rundir.metrics_file(when, name), name) for name in roles):
        text = documents.text(path)
        if text is None:
            continue
        if not text.endswith("\n"):
            raise UsageError(f"{path}: empty, or its last line was cut off; {documents.NEXT}")
        try:
            reading = Reading(
                metrics.series(text, engine.metrics),
                metrics.absent(text, engine.metrics),
                metrics.by_rank(text, engine.metrics, engine.inside.rank),
                metrics.gauges(text, (*engine.inside.gauges, metrics.RESIDENT)),
                metrics.infos(text),
            )
        except ValueError as error:
            raise UsageError(f"{path}: {' '.join(str(error).split())[:200]}; {documents.NEXT}") from None
        found[name] = reading
    return found


def _contradictions(engine: EngineSpec, before: Reading, after: Reading) -> tuple[str, ...]:
    """What the counters of each rank say of each other that cannot be."""
    found = []
    for rank, counted in after.ranks.items():
        of = f"{engine.inside.rank} {rank}: " if len(after.ranks) > 1 else ""
        delta = metrics.delta(before.ranks.get(rank, {}), counted)
        found += [of + what for what in engine.inside.contradictions(delta)]
    return tuple(found)


def _findings(engine: EngineSpec, logs: Mapping[str, str], footprints: Footprints | None) -> dict[str, dict[str, int]]:
    """What logs say is broken, since the main run began: until then a first token may have needed another try."""
    began = footprints.logs if footprints else {}
    since = {name: "\n".join(log.split("\n")[began.get(name, 0) :]) for name, log in logs.items()}
    return {name: engine.inside.found(log) for name, log in since.items()}


def _resting(
    prepared: Prepared,
    names: Iterable[str],
    before: Mapping[str, Reading],
    after: Mapping[str, Reading],
    rest: Mapping[str, Reading],
    footprints: Footprints | None,
) -> dict[str, Resting] | Unmeasured:
    """What each server held when nothing was asked of it, and as the main run went on."""
    if prepared.layout < 2:  # since when it is recorded
        return Unmeasured("recorded by an earlier version of the harness, which did not look", absent=True)
    there = footprints.servers if footprints else {}
    engine, in_memory = ENGINES[prepared.case.engine.name], prepared.platform == "cpu"
    return {
        name: Resting(
            _gauges(*(when[name].gauges if name in when else {} for when in (before, after, rest))),
            tuple(each.sample for each in engine.inside.gauges if each.name not in _held(after, name)),
            there.get(name, ()),
            engine.inside.cache_bytes(after[name].infos) if in_memory and name in after else 0,
        )
        for name in names
        if name in after or name in there
    }


def _held(readings: Mapping[str, Reading], name: str) -> set[str]:
    """Names of the gauges that a server has; of one that nobody read, all that there are."""
    return {gauge for gauge, _ in readings[name].gauges} if name in readings else set(get_args(Held))


def _gauges(*when: Mapping[tuple[str, str], float]) -> tuple[Gauge, ...]:
    keys = dict.fromkeys(key for each in when for key in each)
    return tuple(Gauge(cast(Held, held), name, *(each.get((held, name)) for each in when)) for held, name in keys)


def _info(path: Path) -> Any:
    """What a server said of its configuration; nothing where the engine says no such thing."""
    found = documents.content(path)
    try:
        return {} if found is None else from_json(found)
    except ValueError as error:
        raise UsageError(f"{path}: no JSON: {error}; {documents.NEXT}") from None


def disagreement(rundir: RunDir, again: Measurement) -> str:
    """Where ``measurements.json`` is not what the files of the run give ``again``, in words; empty if it is.

    Where it is not there nothing is lost with it. What another version of the harness measured cannot be compared, and
    what is judged is what the other files give.
    """
    path = measurements_file(rundir)
    try:
        found = documents.content(path)
        if found is None:
            return ""
        recorded = from_json(found)
    except (ValueError, UsageError):
        recorded = None
    if not isinstance(recorded, dict):
        return f"{path.name}: is no measurement"
    computed = json.loads(rendered(again))
    if recorded.get("schema_version") != computed["schema_version"]:
        return ""
    for measured in (recorded, computed):
        measured.pop("findings", None)
        # Logs grow on: an engine that idles may move experts again.
        for told in measured["events"].values() if isinstance(measured.get("events"), dict) else ():
            if isinstance(told, dict):
                told.pop("rearrangements", None)
    keys = recorded.keys() | computed.keys()
    other = sorted(key for key in keys if recorded.get(key) != computed.get(key))
    return f"{path.name}: {', '.join(other)}: not what the other files of the run give" if other else ""
