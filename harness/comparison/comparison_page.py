"""What a comparison found, as a table, as JUnit and as a page."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from harness.base.domain import CheckResult, Outcome, Stage, StageRecord
from harness.base.errors import EXIT_FAILED, EXIT_PASSED, CannotJudge
from harness.comparison.comparison_record import CaseRecord, Comparison, Finding, Texts
from harness.host import files
from harness.reports import junit
from harness.reports.markdown import escape, table
from harness.reports.numbers import show
from harness.reports.result import Result, Timing, conclude

_OUTCOMES = {
    "worse": Outcome.FAIL,
    "not worse": Outcome.PASS,
    "undecided": Outcome.INCONCLUSIVE,
    "not compared": Outcome.SKIPPED,
}
PAGE = "compare.md"
HEADER = ("quantity", "verdict", "A", "B", "change", "interval", "over", "margin", "alpha", "sees")
_CODES = {"worse": EXIT_FAILED, "not worse": EXIT_PASSED}


def exit_code(found: Comparison) -> int:
    """0: nothing is worse; 1: something is; 4: a case could not be judged, or something is undecided and nothing worse.

    That no case was compared is for the caller to say.
    """
    said = [each.said for each in found.cases]
    if "could not be judged" in said:
        return CannotJudge.exit_code
    return EXIT_FAILED if "worse" in said else max(_CODES.get(each, CannotJudge.exit_code) for each in said)


def words(found: Finding) -> str:
    """What is said of a quantity, with its numbers, in one line."""
    if found.said == "not compared" or found.first is None or found.second is None:
        return f"{found.said}: {found.why}"
    least, most = found.losses
    ends = "" if least is None or most is None else f", {_loss(found, least)} to {_loss(found, most)}"
    between = "" if least == most else ends
    margin = _size(found, found.margin)
    said = {"not worse": f"not worse by more than {margin}"}.get(found.said, found.said)
    lost = "" if found.loss is None else f"{_loss(found, found.loss)}{between}"
    parts = [
        f"{said}: A {_value(found.first)}, B {_value(found.second)} {found.unit}",
        lost,
        f"margin {margin}" if found.said != "not worse" else "",
        f"a loss of {_size(found, found.detects)} would be seen" if found.detects else "",
        "with so few starts nobody knows its noise" if least is None else "",
        f"about {found.rounds} rounds would see the margin" if found.rounds else "",
    ]
    return "; ".join(filter(None, parts))


def _value(value: float) -> str:
    return f"{value:.4g}"


def _size(found: Finding, size: float) -> str:
    return f"{size:.2%}" if found.relative else f"{100 * size:.2f} points"


def _loss(found: Finding, loss: float) -> str:
    return f"{_size(found, abs(loss))} {'worse' if loss > 0 else 'better'}" if round(loss, 5) else "equal"


def as_check(found: Finding) -> CheckResult:
    """A finding as a line of a verdict: what was measured is B / A, or of shares B - A."""
    bound = (1.0 if found.relative else 0.0) + (-found.margin if found.higher else found.margin)
    compared = found.change is not None
    return CheckResult(
        found.quantity,
        _OUTCOMES[found.said],
        measured=found.change,
        expected=(1 if found.relative else 0) if compared else None,
        low=bound if compared and found.higher else None,
        high=bound if compared and not found.higher else None,
        n=found.n,
        unit=("B / A" if found.relative else "B - A") if compared else "",
        direction=("at-least" if found.higher else "at-most") if compared else "",
        interval=None if found.low is None or found.high is None else (found.low, found.high),
        interval_of=found.interval_of,
        false_alarm=found.alpha or None,
        message=words(found),
    )


def as_result(comparison: Comparison, case: CaseRecord) -> Result:
    """A case as a verdict, one check a quantity."""
    suite, _, name = case.case.partition("/")
    stages = [StageRecord(Stage.EVAL, Outcome.ERROR, case.seconds, case.broken)] if case.broken else []
    builds = {
        f"{letter}.{key}": value
        for letter, each in comparison.builds.items()
        for key, value in (("build", each.spelling), ("engine", each.engine))
        if value
    }
    told = {"rounds": str(comparison.rounds), "false_alarm": show(comparison.false_alarm), "device": case.device}
    if case.texts:
        told |= {f"texts.{key}": str(value) for key, value in case.texts.model_dump().items()}
    return conclude(
        suite=suite,
        name=name,
        platform=case.platform,
        started=comparison.started,
        stages=stages,
        checks=[as_check(each) for each in case.findings],
        provenance=builds | told | {f"host.{name}": value for name, value in comparison.host.items()},
        timing=Timing(total=case.seconds),
        interrupted=False,
    )


def write(folder: Path, found: Comparison) -> None:
    """Write JUnit, a suite a case and a testcase a quantity, and the page.

    Raises:
        OSError: They cannot be written.
    """
    results = [as_result(found, each) for each in found.cases]
    files.write_all({folder / "junit.xml": junit.render(results), folder / PAGE: page(found)})


def of_texts(found: Texts) -> str:
    """How many texts are others, in one line."""
    return (
        f"texts: {found.differ} of {found.compared} are others with B, and {found.within} differ between starts of one "
        "build; not judged"
    )


def page(found: Comparison) -> str:
    """Everything, as Markdown."""
    return "\n".join(_page(found)) + "\n"


def _page(found: Comparison) -> Iterator[str]:
    first, second = found.builds["A"], found.builds["B"]
    yield "# Two builds compared\n"
    rows = [(name, each.engine, each.spelling) for name, each in found.builds.items()]
    yield from table(("build", "engine", "what was run"), rows)
    host = ", ".join(f"{name} {value}" for name, value in found.host.items())
    yield (
        f"\nBegun {escape(found.started)}, by harness {escape(found.harness)}, on {escape(host)}. Builds were started "
        f"in turns, A B B A, {found.rounds} time{'s' if found.rounds > 1 else ''}. Equal builds are called worse in "
        f"anything of a case with a probability of {found.false_alarm:g} at most."
    )
    for case in found.cases:
        yield f"\n## {escape(case.case)} on {escape(case.platform)}: {case.said}\n"
        yield f"Run on {escape(case.device)}, {case.seconds:.0f} s." if case.device else "Never started."
        if case.broken:
            yield f"\nIt could not be judged: {escape(case.broken)}"
        if case.findings:
            yield ""
            yield from table(HEADER, map(row, case.findings))
        if case.texts:
            yield f"\n{of_texts(case.texts)}."
        if case.starts:
            yield "\n<details><summary>Starts</summary>\n"
            names = sorted({name for each in case.starts for name in each.speeds})
            head = ("start", "build", "accuracy", "acceptance length", *names)
            yield from table(head, [_start(each.model_dump(), names) for each in case.starts])
            yield "\n</details>"
    yield "\nTo see one of them again:\n"
    cases = " ".join(shlex.quote(each.case) for each in found.cases)
    flags = (shlex.join(["harness", "run", *each.flags]) for each in (first, second))
    yield "\n".join(f"    {line} {cases}" for line in flags)


def row(found: Finding) -> tuple[str, ...]:
    """A finding as a line of a table, under :data:`HEADER`."""
    if found.first is None or found.second is None or found.change is None:
        return (found.quantity, found.said, found.why, *[""] * 7)
    interval = "unknown" if found.low is None or found.high is None else f"{found.low:.4f} .. {found.high:.4f}"
    said = f"not worse by more than {_size(found, found.margin)}" if found.said == "not worse" else found.said
    return (
        found.quantity,
        said,
        _value(found.first),
        f"{_value(found.second)} {found.unit}",
        f"{found.change:.4f}" if found.relative else f"{found.change:+.4f}",
        interval,
        f"{found.n} {found.interval_of}".strip() if found.interval_of[:1].isalpha() else found.interval_of,
        _size(found, found.margin),
        f"{found.alpha:.2g}",
        "" if found.detects is None else f"a loss of {_size(found, found.detects)}" if found.detects else "any loss",
    )


def _start(start: dict[str, object], names: list[str]) -> tuple[str, ...]:
    speeds = start["speeds"]
    assert isinstance(speeds, dict)
    values = [start["accuracy"], start["acceptance_length"], *(speeds.get(name) for name in names)]
    build = f"{start['build']}{'' if start['round'] else ', warming up'}"
    return (str(start["folder"]), build, *("" if each is None else f"{each:.4g}" for each in values))
