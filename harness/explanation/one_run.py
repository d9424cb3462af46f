"""What a run directory shows about a red point: the place in a log, what is sound, wrong answers, and commands."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from harness import protocols
from harness.base.domain import Item, Outcome, Sample
from harness.base.errors import UsageError
from harness.engines import ENGINES
from harness.explanation.red_rows import RedPoint
from harness.logs.log_lines import lines
from harness.logs.root_cause import find
from harness.reports.result import Result
from harness.run import attempts, documents
from harness.run.canary_checks import Finding
from harness.run.rundir import RunDir, Servers

_BEFORE, _AFTER = 5, 4
_WRONG = 3


@dataclass(frozen=True)
class Place:
    """Where a cause stands.

    Attributes:
        log: The file.
        line: From 1.
        source: The process that says it, where the line names it.
        text: What the line says, without prefixes.
        context: Number and text of the lines around it, without prefixes.
    """

    log: Path
    line: int
    source: str
    text: str
    context: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Wrong:
    """An answer that is not the expected one."""

    item: str
    prompt: str
    expected: str
    got: str


def places(rundir: RunDir, point: RedPoint) -> list[Place]:
    """Where logs of servers tell an error, that which the verdict quotes first."""
    with suppress(UsageError):
        echoes = ENGINES[rundir.prepared().case.engine.name].echoes
        quoted = " ".join(" ".join(row.text for row in point.rows).split())
        found = [place for log in sorted(rundir.logs.glob("*.log")) if (place := _place(rundir, log, echoes))]
        return sorted(found, key=lambda place: place.text[:60] not in quoted)
    return []


def _place(rundir: RunDir, log: Path, echoes: tuple[str, ...]) -> Place | None:
    text = rundir.log_text(log.stem)
    cause = find(text, echoes)
    if cause is None:
        return None
    first = max(0, cause.line - 1 - _BEFORE)
    around = lines("\n".join(text.split("\n")[first : cause.line + _AFTER]), first + 1)
    source = around[cause.line - 1 - first].source
    return Place(log, cause.line, source, cause.text, tuple((each.number, each.text) for each in around))


def sound(rundir: RunDir, result: Result | None, found: Iterable[Place]) -> Iterator[str]:
    """What was looked at and found in order, a line each; ``found`` is what :func:`places` says of the logs."""
    stages = [each for each in (result.stages if result else ()) if each.outcome is Outcome.PASS]
    if stages:
        yield "stages: " + ", ".join(f"{each.stage} ({each.seconds:.0f} s)" for each in stages)
    with suppress(UsageError):
        canary = documents.read(rundir.path / "canary.json", list[Finding]) or []
        if canary and all(each.ok for each in canary):
            yield f"canary: all {len(canary)} things that the run needs are in place"
    passed = [each.name for each in (result.checks if result else ()) if each.outcome is Outcome.PASS]
    if passed:
        yield "checks: " + ", ".join(passed)
    with suppress(UsageError):
        rundir.prepared()  # without which no log was searched
        servers = rundir.read("servers", Servers)
        names = [each.server.name for each in servers.servers] if servers else []
        loud = {each.log for each in found}
        quiet = [name for name in names if rundir.log(name) not in loud and _says_anything(rundir.log(name))]
        if quiet:
            yield "logs without an error: " + ", ".join(quiet)


def _says_anything(log: Path) -> bool:
    return log.is_file() and log.stat().st_size > 0


def wrong_answers(rundir: RunDir) -> list[Wrong]:
    """The first answers of the main run that are not what was expected, with their prompts where those are at hand."""
    try:
        prepared, samples = rundir.prepared(), rundir.samples() or []
    except UsageError:
        return []
    evaluation = prepared.case.evaluation
    wrong = [
        each
        for each in samples
        if each.run == "main" and each.status == 200 and _is_wrong(each, protocols.answer(evaluation, each.text))
    ][:_WRONG]
    if not wrong:
        return []
    items: dict[str, Item] = {}
    with suppress(OSError, UsageError, LookupError, ValueError):
        data = {name: Path(path).read_text(encoding="utf-8") for name, path in prepared.data.items()}
        items = {item.id: item for item in protocols.items(evaluation, data)}
    return [_shown(each, items.get(each.item)) for each in wrong]


def _is_wrong(sample: Sample, answer: str | None) -> bool:
    if sample.expected is not None and answer != sample.expected:
        return True
    return sample.expected_text is not None and sample.text != sample.expected_text


def _shown(sample: Sample, item: Item | None) -> Wrong:
    prompt = "not at hand here" if item is None else str(item.prompt)
    expected = sample.expected if sample.expected_text is None else sample.expected_text
    return Wrong(sample.item, prompt, expected or "", sample.text)


def again(point: RedPoint, folder: Path | None) -> str:
    """The command that runs the point again, with the options that it had where they are on record."""
    said = ["harness", "run", point.case_id, "--platform", point.platform]
    root = attempts.root_of(folder) if folder else None
    given = {}
    if root is not None:
        with suppress(UsageError):
            given = attempts.asked(root)
    for name, value in given.items():
        if name in ("wanted", "case", "suite", "platform"):
            continue
        option = f"--{name.replace('_', '-')}"
        for each in value if isinstance(value, list) else [value]:
            said += [option] if each is True else [option, str(each)] if each is not False else []
    return shlex.join(said)


def by_hand(rundir: RunDir) -> list[tuple[str, str]]:
    """Each server with the line that starts it in a shell, as the run wrote it."""
    with suppress(UsageError):
        said = [each for each in (documents.text(rundir.path / "commands.sh") or "").split("\n") if each]
        pairs = [(name, line) for name, line in pairwise(said) if name[:2] == "# " and line[:1] != "#"]
        return [(name[2:], line) for name, line in pairs]
    return []
