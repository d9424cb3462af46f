"""The part of the command line that keeps cases, workflows and documentation right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.base.errors import EXIT_FAILED, EXIT_PASSED, CannotJudge, NothingSelected, UsageError
from harness.base.texts import say
from harness.cli import reference
from harness.cli.assembling import expanded
from harness.cli.options import CASES, CaseArguments, Cases, CheckOnly, Platform
from harness.cli.what_runs import OnlyOptions

if TYPE_CHECKING:
    from harness.upkeep.rules import Checkout

_SOURCES = {".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hip", ".hpp", ".py", ".rs"}


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (check, drift, generate, pin, unpinned, upstream):
        app.command()(expanded(command))


def check(
    workflows: Annotated[Path, typer.Option(help="Folder of the CI workflows.")] = Path(".github/workflows"),
    engine_checkout: Annotated[
        Path | None,
        typer.Option(
            help="Checkout of the engine, against which source paths, environment variables and the steps of its CI "
            "are checked."
        ),
    ] = None,
    cases: Cases = CASES,
) -> int:
    """Prove that no case has fallen out of CI, no baseline can only pass and no key is read by nobody."""
    from harness.base.clock import utc_now
    from harness.cases.load import load
    from harness.images import base_images
    from harness.plan.points import everything
    from harness.power.mutant_records import RECORDS, latest
    from harness.upkeep import power_rules
    from harness.upkeep.rules import problems
    from harness.upkeep.unused import around

    if engine_checkout is not None and not engine_checkout.is_dir():
        raise UsageError(f"--engine-checkout {engine_checkout}: no such folder")
    checkout = _checkout(engine_checkout) if engine_checkout else None
    texts = {str(path): _text(path) for path in sorted(workflows.glob("*.y*ml")) if path.is_file()}
    planned = everything(load(cases))
    pinned = base_images.load() if base_images.FILE.is_file() else None
    tree = around(cases)
    found = problems(planned, texts, checkout, pinned, tree, utc_now().date())
    if tree is not None:
        found += power_rules.problems(planned, latest(cases.parent / RECORDS))
    for problem in found:
        say(problem)
    say(f"{len(planned)} points of {len({each.case_file.id for each in planned})} cases, {len(found)} problems")
    return EXIT_FAILED if found else EXIT_PASSED


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def _checkout(root: Path) -> Checkout:
    from harness.upkeep.rules import Checkout
    from harness.upkeep.upstream_steps import steps

    words: set[str] = set()
    for path in root.rglob("*"):
        if path.suffix in _SOURCES and path.is_file():
            words.update(re.findall(r"[A-Z][A-Z0-9]*_[A-Z0-9_]+", _text(path)))
    return Checkout([path.relative_to(root).as_posix() for path in root.rglob("*")], words, steps(root))


def drift(
    only: OnlyOptions,
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC",
            help="vllm==0.33.0, vllm (the newest), 'vllm>=0.30' (every release since), a wheel, a checkout, the "
            "interpreter of an environment that holds the engine, or image:NAME.",
        ),
    ],
    wanted: CaseArguments = None,
    platform: Platform = None,
    form: Annotated[Literal["text", "markdown", "json"], typer.Option("--format", help="Of the report.")] = "text",
    since: Annotated[
        str | None,
        typer.Option(help="Version that news are counted from; that of the pinned image if not given; none: no news."),
    ] = None,
    cases: Cases = CASES,
) -> int:
    """Say what cases ask of an engine that a build lacks, gives up or never reads; installs and runs nothing of it."""
    from harness.devices.accelerators import on_paper
    from harness.drift import findings
    from harness.run.selection import matching
    from harness.upkeep.drift_report import reports

    planned = matching(cases, wanted=wanted or [], narrowed=only.narrowing(), platform=platform)
    found = reports(spec, planned, on_paper, "" if since == "none" else since)
    render = {"text": findings.as_text, "markdown": findings.as_markdown, "json": findings.as_json}
    say(render[form](found))
    return EXIT_FAILED if any(report.findings for report in found) else EXIT_PASSED


def upstream(
    only: OnlyOptions,
    checkout: Annotated[
        Path, typer.Argument(metavar="CHECKOUT", help="Checkout or unpacked source distribution of vLLM or SGLang.")
    ],
    wanted: CaseArguments = None,
    form: Annotated[Literal["text", "markdown", "json"], typer.Option("--format", help="Of the report.")] = "text",
    same: Annotated[bool, typer.Option("--same", help="List what is the same too; JSON always does.")] = False,
    told: Annotated[str, typer.Option("--commit", metavar="TEXT", help="What was read, where it does not say.")] = "",
    cases: Cases = CASES,
) -> int:
    """Say which figures, points and steps of an engine's own tests differ from the cases, are new, or are gone."""
    from harness.run.selection import matching
    from harness.upkeep.upstream_report import reports
    from harness.upstream import comparison_report

    planned = matching(cases, wanted=wanted or [], narrowed=only.narrowing(), platform=None)
    found = reports(checkout, planned, told)
    if form == "json":
        say(comparison_report.as_json(found))
    else:
        say((comparison_report.as_text if form == "text" else comparison_report.as_markdown)(found, same=same))
    return EXIT_FAILED if any(each.drifted for each in found) else EXIT_PASSED


def generate(
    context: typer.Context,
    *,
    check: CheckOnly = False,
    cases: Cases = CASES,
) -> int:
    """Write everything that is generated: expected values, JSON Schemas, tables and pages of the documentation."""
    from harness.upkeep.generate import outdated, unchecked

    stale = outdated(cases, write=not check, command_line=reference.page(context))
    for line in unchecked(cases):
        say(f"left alone: {line}")
    for path in stale:
        say(f"{'not current' if check else 'written'}: {path}")
    if stale and check:
        say("run: nox -s generate")
    return EXIT_FAILED if stale and check else EXIT_PASSED


def pin(cases: Cases = CASES) -> int:
    """Look up the commits of models that are still unresolved and write them into the case files."""
    from harness.upkeep.model_commits import pin as pin_all

    found = list(pin_all(cases))
    for each in found:
        say(f"{each.repo}: {each.commit or each.problem}")
    if not found:
        say("every model is pinned")
    return EXIT_PASSED if all(each.commit for each in found) else CannotJudge.exit_code


def unpinned(
    forget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Repository, or image with its tag: take it anew next time. May be repeated."
        ),
    ] = None,
) -> int:
    """List what this machine took at first use, of models and base images that nobody has pinned."""
    from harness.host import first_use

    taken = list(first_use.everything())
    for name in forget or []:
        found = [each for each in taken if each.name == name]
        if not found:
            raise NothingSelected(f"--forget {name}: nothing of that name was taken here; without it, all are listed")
        for each in found:
            first_use.forget(each)
            say(f"forgotten: {each.kind} {each.name}: {each.value}")
    if not forget:
        for each in taken:
            say(f"{each.text}; to take it anew: harness unpinned --forget {each.name}")
        if not taken:
            say("nothing was taken here yet that nobody has pinned")
    return EXIT_PASSED
