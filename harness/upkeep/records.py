"""Recorded runs: which points were seen on which hardware, and what each verdict cost.

A record is a folder with the ``result.json`` and the ``junit.xml`` of a run, below a folder for those that were run
together; that one may have a ``host.json`` with provenance that these results lack. The tables are made from these
files alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base.domain import PLATFORMS, Outcome
from harness.base.errors import UsageError
from harness.cases.load import CaseFile
from harness.devices import accelerators
from harness.engines import ENGINES
from harness.plan.points import Planned, everything
from harness.reports.numbers import message, show
from harness.reports.result import Result
from harness.run import documents
from harness.upkeep.tables import table

RECORDS = "records"
"""Folder of the records, beside the page that has the tables."""
_MEASURED = ("accuracy", "acceptance_length", "draft_counts", "kv_transfer", "rearrangements", "server_config")


@dataclass(frozen=True)
class Record:
    """One recorded run.

    Attributes:
        batch: Name of the folder of those that were run together.
        result: As it was judged then.
        host: Provenance of all in the folder, where the result has none.
    """

    batch: str
    result: Result
    host: Mapping[str, str]

    @property
    def point(self) -> str:
        """The id whatever the checkpoints."""
        return self.result.case_id.partition("@")[0]

    @property
    def hardware(self) -> str:
        """What its host has, without how many."""
        provenance = {**self.host, **self.result.provenance}
        return provenance.get("host.devices", "").partition(" x ")[2] or "CPU"

    @property
    def engine(self) -> str:
        """The engine and its version, if it was asked."""
        engine = ENGINES.get(self.result.provenance.get("engine", ""))
        versions = {name.removeprefix("version."): value for name, value in self.result.provenance.items()}
        return (engine.build(versions) if engine else "") or "unknown"


def read(folder: Path) -> list[Record]:
    """Every record below ``folder``, the oldest first.

    Raises:
        UsageError: A result that cannot be read, or one without its JUnit file.
    """
    found = []
    for path in sorted(folder.glob("*/*/result.json")):
        result = documents.read(path, Result, "copy it from a run directory again")
        if result is None:
            continue  # removed meanwhile
        if not path.with_name("junit.xml").is_file():
            raise UsageError(f"{path.with_name('junit.xml')}: missing; copy it from the same run directory")
        host = documents.read(path.parent.parent / "host.json", dict[str, str])
        found.append(Record(path.parent.parent.name, result, host or {}))
    return sorted(found, key=lambda record: record.result.started)


def _points(case_files: Sequence[CaseFile]) -> list[Planned]:
    """Every point that runs with the models of its case, or with a checkpoint set."""
    sets = ["", *sorted({name for each in case_files for name in each.checkpoint_sets})]
    running = {
        (each.point, each.platform): each for name in sets for each in everything(case_files, name) if not each.skip
    }
    return list(running.values())


def systems(case_files: Sequence[CaseFile], records: Iterable[Record]) -> str:
    """One row a suite: how many of its points passed on each platform when they were last run, and on what."""
    latest = {(record.point, record.result.platform): record for record in records}
    rows = [["suite", "what it shows", *(accelerators.of(platform).title for platform in PLATFORMS)]]
    points = _points(case_files)
    for suite in sorted({each.suite for each in points}):
        cells = []
        for platform in PLATFORMS:
            ids = [each.point for each in points if each.suite == suite and each.platform == platform]
            cells.append(_cell(ids, [latest[point, platform] for point in ids if (point, platform) in latest]))
        title = next(each.case_file.suite.about.title for each in points if each.suite == suite)
        rows.append([f"`{suite}`", title, *cells])
    return table(rows)


def _cell(points: Sequence[str], run: Sequence[Record]) -> str:
    if not points:
        return "no case"
    passed = [record for record in run if record.result.outcome is Outcome.PASS]
    if not passed:
        return f"built only: {_number(len(points))}" + (f", {len(run)} run and red" if run else "")
    where = " and ".join(sorted({f"{record.hardware} ({record.engine})" for record in passed}))
    red = len(run) - len(passed)
    return f"verified: {len(passed)} of {len(points)} on {where}" + (f"; {red} red" if red else "")


def _number(points: int) -> str:
    return f"{points} point" + ("s" if points > 1 else "")


def runs(case_files: Sequence[CaseFile], records: Sequence[Record]) -> str:
    """One row a record: verdict, where, seconds, and what was measured; then what a verdict cost in device seconds."""
    devices: dict[tuple[str, str], int] = {(each.point, each.platform): each.devices for each in _points(case_files)}
    rows = [
        ["case", "verdict", "hardware", "engine", "round", "start-up", "in flight", "total", "device s", "measured"]
    ]
    spent, verdicts = 0.0, 0
    for record in records:
        result, number = record.result, devices.get((record.point, record.result.platform), 0)
        spent += number * result.timing.total
        verdicts += number > 0 and result.outcome in (Outcome.PASS, Outcome.FAIL)
        seconds = (result.timing.start_up, result.timing.in_flight, result.timing.total)
        rows.append(
            [
                f"`{result.case_id}`",
                result.outcome.value if result.outcome is Outcome.PASS else f"**{result.outcome.value}**",
                f"{number} x {record.hardware}" if number else record.hardware,
                record.engine,
                f"[{record.batch}]({RECORDS}/{record.batch})",
                *(f"{each:.0f}" for each in seconds),
                f"{number * result.timing.total:.0f}" if number else "",
                _measured(result),
            ]
        )
    each = f", {spent / verdicts:.0f} a verdict" if verdicts else ""
    return f"{table(rows)}\n\nDevice seconds of all runs: {spent:.0f}{each}."


def _measured(result: Result) -> str:
    """Of a red result what was red; else what its main checks measured."""
    wrong = (Outcome.FAIL, Outcome.ERROR)
    red = [check for check in result.checks if check.outcome in wrong]
    stopped = [f"{record.stage.value}: {record.message}" for record in result.stages if record.outcome in wrong]
    if red or stopped:
        text = "; ".join([*stopped, *(f"{check.name}: {show(check.measured) or message(check)}" for check in red)])
    else:
        shown = [check for check in result.checks if check.name in _MEASURED]
        text = "; ".join(f"{check.name} {show(check.measured)}" for check in shown)
    return text.replace("|", "\\|").replace("\n", " ")
