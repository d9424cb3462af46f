"""Upstream's own tests against the cases, from the files of a checkout to the report."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.base.errors import NothingSelected, UsageError
from harness.cases.model import SuiteTable
from harness.engines import ENGINES
from harness.plan.points import Planned
from harness.upkeep import upstream_steps
from harness.upstream import compare_figures, compare_runs, comparison_report, ours, reading, shell
from harness.upstream.comparison_report import Line, Report
from harness.upstream.ours import Held
from harness.upstream.steps import Step

_MOST_BYTES = 4 << 20
"""Of one file: tests are smaller, and what is larger is data."""
_SKIPPED = {".git", ".venv", "node_modules", "__pycache__"}


def reports(root: Path, planned: Sequence[Planned], told: str = "") -> list[Report]:
    """A report for each engine whose repository this is: one, as a rule.

    Args:
        root: Of the checkout.
        planned: Points of the cases that count.
        told: What was read, in words; empty: what the checkout itself says.

    Raises:
        UsageError: It is no checkout of an engine that has cases, or one of its lists is no YAML.
        NothingSelected: None of the cases is for this engine.
    """
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder; name a checkout of vLLM or SGLang")
    files = _files(root)
    held = [
        name for name, spec in ENGINES.items() if spec.sources and any(each.startswith(spec.sources) for each in files)
    ]
    if not held:
        folders = ", ".join(f"{spec.sources} ({name})" for name, spec in ENGINES.items() if spec.sources)
        raise UsageError(f"{root}: no checkout of an engine: there is none of {folders}")
    found = [
        _report(root, files, name, points, told)
        for name in held
        if (points := [each for each in planned if each.case.engine.name == name])
    ]
    if not found:
        raise NothingSelected(f"none of these cases is for {', '.join(held)}; harness plan lists them")
    return found


def _report(root: Path, files: list[str], engine: str, points: Sequence[Planned], told: str) -> Report:
    suites = {each.suite: each.case_file.suite.about for each in points}
    figures = [_with_judges(root, files, each) for each in ours.figures(points)]
    tests = list(dict.fromkeys(path for about in suites.values() for path in about.upstream_tests))
    named = [path for path in files if any(each.names(path) for each in figures)]
    steps = upstream_steps.steps(root, switched_off=True)
    wanted = list(dict.fromkeys([*reading.selected(files, tests), *named]))
    commands = {step.place: step.commands for step in steps if not step.switched_off}
    read = reading.read(wanted, lambda path: _text(root / path), commands, files)

    lines, met = compare_figures.figures(read.found.figures, figures)
    lines += compare_figures.gone(figures, read.found.figures, met, files)
    lines += compare_figures.disabled(read.found.registered, figures)
    lines += compare_runs.points(read.found.points, ours.topologies(points), figures)
    patterns = {name: about.upstream_steps for name, about in suites.items()}
    lines += compare_runs.steps(steps, patterns, tests)
    lines += [
        Line("not read", "figure", each.place.symbol or each.place.path, each.why, str(each.place))
        for each in read.found.unread
    ]
    made = Report(engine, told or _version(root), len(read.files), list(dict.fromkeys(lines)))
    made.notes += _notes(steps, suites, read.found.points != [])
    comparison_report.sort(made)
    return made


def _with_judges(root: Path, files: Sequence[str], held: Held) -> Held:
    scripts = [path for path in files if path.endswith(".sh") and held.names(path)]
    judges = [test for path in scripts for test in shell.tests(path, _text(root / path) or "")]
    return replace(held, judges=tuple(dict.fromkeys(judges)))


def _notes(steps: Sequence[Step], suites: Mapping[str, SuiteTable], swept: bool) -> list[str]:
    notes = []
    if not steps:
        notes.append("the checkout has no lists of steps that can be read, so no step was compared")
    without = [name for name, about in suites.items() if not about.upstream_tests]
    if without:
        notes.append(f"suites that name no upstream_tests, so nothing new is looked for: {', '.join(without)}")
    if swept:
        notes.append(f"of sweeps these settings are not compared: {', '.join(compare_runs.SIZES)}")
    return notes


def _files(root: Path) -> list[str]:
    """All files of the checkout, relative to its root, but for what is no part of a repository."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - _SKIPPED)
        found += [(Path(folder) / name).relative_to(root).as_posix() for name in sorted(names)]
    return found


def _text(path: Path) -> str | None:
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _version(root: Path) -> str:
    """What a source distribution or a checkout says of itself: version, or commit of its HEAD."""
    text = _text(root / "PKG-INFO") or ""
    if known := re.search(r"^Version: (\S+)", text, re.MULTILINE):
        return f"version {known[1]}"
    head = (_text(root / ".git" / "HEAD") or "").strip()
    commit = _text(root / ".git" / head.removeprefix("ref: ")) if head.startswith("ref: ") else head
    return f"commit {commit.strip()[:12]}" if commit and commit.strip() else "of no known version"
