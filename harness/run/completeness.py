"""Is the record of a run whole? What is damaged or was never written cannot be judged, and is never a pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Literal

from harness import protocols
from harness.base.domain import Item, Outcome, Sample, Stage, StageRecord
from harness.base.errors import UsageError
from harness.base.exchange import Exchanged
from harness.base.resting import Footprint
from harness.cases.model import Case
from harness.engines import ENGINES, metrics
from harness.engines.engine import numbered
from harness.plan.request_bodies import UNSAID
from harness.run import documents, footprints, look_records, own_folders, reference_record
from harness.run.evidence_files import read_by_checks
from harness.run.footprints import Footprints
from harness.run.look_records import Looks
from harness.run.own_folders import ModelFolders
from harness.run.reference_record import Reference
from harness.run.rundir import Event, Occupancy, Prepared, Ready, RunDir, RunningServer, Servers

_NEEDED = (Stage.PREPARE, Stage.SERVE, Stage.HEALTH_WAIT, Stage.EVAL)
_OURS = (Stage.SERVE, Stage.STOP)
"""Stages that there are only where we start the servers."""


def gaps(rundir: RunDir) -> list[str]:
    """What is missing or damaged of a run whose stages all say that they passed, one line each, with its file.

    Of a run that broke something is always missing: there only the record of its stages must be readable.
    """
    found = list(_of_events(rundir))
    records = {record.stage: record for record in rundir.stages()}
    if any(record.outcome is Outcome.ERROR for record in records.values()):
        return found
    prepared = rundir.prepared()
    found += _of_stages(prepared, records)
    if Stage.EVAL in records:
        servers = rundir.read("servers", Servers) or Servers(servers=[])
        found += _of_servers(rundir, prepared.case, servers.servers)
        found += _of_whose(prepared, servers.servers)
        found += _of_readings(rundir, prepared.case, servers.servers)
        found += _of_exchanges(prepared.case, rundir.exchanges())
        samples, known = rundir.samples(), _known(prepared.case)
        seen = rundir.read(look_records.NAME, Looks)
        asked = len(seen.asked) if seen else prepared.case.evaluation.items
        found += reference_record.gaps(prepared, rundir.read(reference_record.NAME, Reference))
        found += look_records.gaps(
            prepared, seen, samples or [], lambda: _counted(rundir, prepared.case, servers.servers)
        )
        found += (
            ["samples.jsonl: missing"]
            if samples is None
            else [*_of_samples(prepared.case, samples, known, asked), *_of_answers(prepared, samples, known)]
        )
        found += _of_rest(rundir, prepared, servers.servers)
        found += own_folders.gaps(prepared, rundir.read(own_folders.NAME, ModelFolders))
        found += _of_stopping(rundir, prepared, servers, stopped=Stage.STOP in records)
    return found


def _of_events(rundir: RunDir) -> Iterator[str]:
    """Only the last line may be cut off: a full disk or a kill does that, and nothing was written after it."""
    name = rundir.events_file.name
    content = documents.content(rundir.events_file)
    if content is None:
        yield f"{name}: missing"
        return
    *lines, _ = content.split(b"\n")
    if not lines:
        yield f"{name}: empty"
    for number, line in enumerate(lines, 1):
        try:
            event = documents.parsed(line, Event, name)
        except UsageError:
            yield f"{name}: line {number} is no event"
            return
        if event.kind == "end" and event.outcome not in (Outcome.PASS, Outcome.ERROR):
            yield f"{name}: line {number}: {event.stage} ends without an outcome"
            return


def _of_stages(prepared: Prepared, records: dict[Stage, StageRecord]) -> Iterator[str]:
    """Stages that are not on record. Of a run that was handed to its run directory, stopping may be yet to come."""
    if prepared.attached:
        yield from (f"events.jsonl: {stage} of somebody else's servers" for stage in _OURS if stage in records)
    missing = [stage for stage in _NEEDED if stage not in records and not (prepared.attached and stage in _OURS)]
    if missing:
        advice = f"; run `harness {missing[0]}` first" if missing[0] in (Stage.HEALTH_WAIT, Stage.EVAL) else ""
        yield f"events.jsonl: no end of {', '.join(missing)}{advice}"
    if prepared.owner is not None and Stage.STOP not in records and not prepared.attached:
        yield "events.jsonl: no end of stop: nobody says that what was started is gone"


def _of_servers(rundir: RunDir, case: Case, servers: list[RunningServer]) -> Iterator[str]:
    """Servers that the case has and the record has not, and what did not answer before the evaluation."""
    engines = [name for role, count in case.topology.roles.items() for name in numbered(role, count)]
    expected = [*engines, *(["router"] if case.topology.kind == "disagg" else [])]
    found = [running.server.name for running in servers]
    if sorted(found) != sorted(expected):
        yield f"servers.json: has {', '.join(found) or 'no server'}, the case has {', '.join(expected)}"
    counting = engines if ENGINES[case.engine.name].metrics else []
    silent = [
        each.server.name
        for each in servers
        if (each.server.has_metrics or "metrics" in each.lacks) != (each.server.name in counting)
    ]
    if silent:
        yield f"servers.json: {', '.join(silent)}: has_metrics is not what the case has"
    ready = rundir.read("ready", Ready)
    if ready is None:
        yield "ready.json: missing"
        return
    asked = {f"{running.server.name}: {probe.what}" for running in servers for probe in running.server.probes}
    if unanswered := sorted(asked - ready.answered.keys()):
        yield f"ready.json: nothing of {', '.join(unanswered)}"
    if not ready.first_token:
        yield "ready.json: first_token: no token came back"


def _of_whose(prepared: Prepared, servers: list[RunningServer]) -> Iterator[str]:
    """Servers of somebody else's in a run of ours, or the other way round: of ours nothing may be missing."""
    for each in servers:
        if (each.process is None) != prepared.attached:
            yield f"servers.json: {each.server.name}: is {'not ' if prepared.attached else ''}somebody else's"
        elif each.lacks and not prepared.attached:
            yield f"servers.json: {each.server.name}: lacks: of a server of ours"
    if prepared.attached and not prepared.served_as:
        yield "case.json: served_as: missing: nobody says which model was asked"


def _of_readings(rundir: RunDir, case: Case, servers: list[RunningServer]) -> Iterator[str]:
    """Counters before and after, and what else the case's checks read of every engine server."""
    engine, reads = ENGINES[case.engine.name], read_by_checks(case)
    times: tuple[Literal["before", "after"], ...] = ("before", "after")
    for running in [each for each in servers if each.server.role != "router"]:
        server, name = running.server, running.server.name
        for path in [rundir.metrics_file(when, name) for when in times if server.has_metrics]:
            where = path.relative_to(rundir.path)
            text = documents.text(path)
            if text is None:
                yield f"{where}: missing"
                continue
            try:
                empty = not metrics.series(text, engine.metrics)
            except ValueError:
                yield f"{where}: is no metrics text"
            else:
                if empty and "after" in path.name:
                    yield f"{where}: has none of the engine's counters"
        if "configuration" in reads and "configuration" not in running.lacks and not rundir.info_file(name).is_file():
            yield f"{rundir.info_file(name).relative_to(rundir.path)}: missing"
        if "logs" in reads and running.process and not rundir.log(name).is_file():
            yield f"{rundir.log(name).relative_to(rundir.path)}: missing"


def _of_rest(rundir: RunDir, prepared: Prepared, servers: list[RunningServer]) -> Iterator[str]:
    """What servers held at rest and as the main run went on. Earlier versions did not look."""
    name = f"{footprints.NAME}.json"
    document = rundir.read(footprints.NAME, Footprints)
    if prepared.layout < 2:  # since when it is recorded
        if document is not None:
            yield f"case.json: layout: is {prepared.layout}, though there is a {name}"
        return
    engines = [each for each in servers if each.server.role != "router"]
    for path in [rundir.metrics_file("rest", each.server.name) for each in engines if each.server.has_metrics]:
        if not path.is_file():
            yield f"{path.relative_to(rundir.path)}: missing"
    ours = {each.server.name for each in engines if each.is_seen}
    if document is None:
        yield f"{name}: missing"
    elif {*document.servers} != ours or {*document.logs} != ours:
        has, wanted = ", ".join(document.servers) or "no server", ", ".join(sorted(ours)) or "none"
        yield f"{name}: has {has}, the run has {wanted}"
    else:
        for server, found in document.servers.items():
            if wrong := _of_footprints(found, document.logs[server], rundir.log_text(server).count("\n")):
                yield f"{name}: {server}: {wrong}"


def _of_footprints(found: Sequence[Footprint], began: int, log: int) -> str:
    """What is wrong with the readings of one server, whose log had so many lines and now has so many."""
    done, planned = [each.done for each in found], {each.planned for each in found}
    if len(found) < 2 or len(planned) != 1 or done[0] or done != sorted(done) or {done[-1]} != planned:
        return "does not go from the first request to the last"
    if any(not each.threads or each.memory_bytes > each.resident_bytes for each in found):
        return "holds what no process can hold"
    return f"its log had {began} lines, and now has {log}" if began > log else ""


def _counted(rundir: RunDir, case: Case, servers: list[RunningServer]) -> dict[str, metrics.Counters]:
    """What the counters of each server said after the main run, of those whose metrics can be read."""
    found: dict[str, metrics.Counters] = {}
    for name in [each.server.name for each in servers if each.server.has_metrics]:
        with suppress(ValueError):  # a gap of the readings, which says so
            text = documents.text(rundir.metrics_file("after", name)) or ""
            found[name] = metrics.read(text, ENGINES[case.engine.name].metrics)
    return found


def _of_samples(case: Case, samples: list[Sample], known: Mapping[str, Item], asked: int) -> Iterator[str]:
    """Items that are there more than once, too few, too many, or of another evaluation."""
    planned = _runs(case, asked)
    ahead = Counter(item.primed_run for item in known.values() if item.prime)
    found = Counter((sample.run, sample.item) for sample in samples)
    main = {item for run, item in found if run == "main"}
    for (run, item), number in found.items():
        if run not in planned and run not in ahead:
            yield f"samples.jsonl: {item}: {run!r} is no run of the case"
        elif item not in (known or main):
            yield f"samples.jsonl: {item} of {run} was never asked"
        elif number > 1:
            yield f"samples.jsonl: {item} is there {number} times in {run}"
    for run, number in (planned | ahead).items():
        there = sum(one == run for one, _ in found)
        if there != number:
            yield f"samples.jsonl: {there} items of {run}, {number} planned"


def _of_answers(prepared: Prepared, samples: list[Sample], known: Mapping[str, Item]) -> Iterator[str]:
    """What is known of the right answer and of its end where that is another one, and what no answer can have."""
    case, runs = prepared.case, _runs(prepared.case, prepared.case.evaluation.items)
    asked = [each for each in samples if each.run in runs]
    if wrong := [each for each in asked if each.item in known and not _fits(each, known)]:
        yield f"samples.jsonl: {wrong[0].item} of {wrong[0].run}: the right answer is another one"
    answers = [each for each in asked if not each.error and not ENGINES[case.engine.name].plain]
    if unsaid := [each for each in answers if _unsaid(each)]:
        yield f"samples.jsonl: {unsaid[0].item} of {unsaid[0].run}: an answer without its end or its tokens"
    if thought := [each for each in asked if each.reasoning and case.evaluation.endpoint == "completions"]:
        yield f"samples.jsonl: {thought[0].item} of {thought[0].run}: a completion with reasoning"
    if prepared.layout >= 2 and (ends := [each for each in asked if not _ends(each, known, case)]):
        yield f"samples.jsonl: {ends[0].item} of {ends[0].run}: the right end of the answer is another one"


def _unsaid(sample: Sample) -> bool:
    """Whether it lacks what every engine but somebody else's says of an answer."""
    return sample.finish_reason == UNSAID or None in (sample.prompt_tokens, sample.completion_tokens)


def _known(case: Case) -> dict[str, Item]:
    """Items by id. Which rows of a data file are asked, only the file says; of all others everything is known here."""
    return {} if protocols.datasets(case.evaluation) else {each.id: each for each in protocols.items(case.evaluation)}


def _runs(case: Case, asked: int) -> dict[str, int]:
    """Items of each run but of what goes ahead of items; of the main run no more may have been asked."""
    return dict.fromkeys(("main", *case.controls, *case.comparisons), asked)


def _of_exchanges(case: Case, exchanged: list[Exchanged] | None) -> Iterator[str]:
    """Exchanges that are there more than once, too few, too many, or of another evaluation."""
    planned = {each.name: each for each in case.evaluation.exchanges()}
    found = Counter(each.name for each in exchanged or [])
    for name in [*planned, *(found - Counter(planned.keys()))]:
        if name not in planned:
            yield f"exchanges.jsonl: {name} was never planned"
        elif found[name] != 1:
            yield f"exchanges.jsonl: {name} is there {found[name]} times"
    for each in exchanged or []:
        if each.name in planned and each.expected != planned[each.name].expected:
            yield f"exchanges.jsonl: {each.name}: the right answer is another one"


def _fits(sample: Sample, known: Mapping[str, Item]) -> bool:
    item = known[sample.item]
    said = (sample.expected, sample.expected_text, sample.expected_prompt_tokens)
    return said == (item.expected, item.expected_text, item.prompt_tokens)


def _ends(sample: Sample, known: Mapping[str, Item], case: Case) -> bool:
    """Whether what is known of the end of the answer is there; of a question from a data file, whether anything."""
    said = sample.expected_completion_tokens, sample.expected_finish_reason
    if item := known.get(sample.item):
        return said == (item.completion_tokens, item.finish_reason)
    return said[0] is not None or case.evaluation.ANSWERS is None or sample.expected_text is None


def _of_stopping(rundir: RunDir, prepared: Prepared, servers: Servers, *, stopped: bool) -> Iterator[str]:
    """What says that everything is gone, once it was stopped. Of what somebody else runs nobody says so."""
    if prepared.attached:
        return
    if stopped and servers.stopped is None:
        yield "servers.json: stopped: missing, though stop ended"
    if not stopped and servers.stopped is not None:
        yield "events.jsonl: no end of stop, though servers.json has how it went"
    if prepared.runtime is None:
        yield "case.json: runtime: missing, though servers were started"
    elif prepared.runtime.devices:
        occupancy = rundir.read("devices", Occupancy)
        if occupancy is None or {device.uuid for device in prepared.runtime.devices} - occupancy.before.keys():
            yield "devices.json: does not say how the devices were before"
        elif stopped and occupancy.after is None:
            yield "devices.json: after: missing, though stop ended"
