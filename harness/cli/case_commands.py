"""The part of the command line that is about case files and starts nothing."""

from __future__ import annotations

import os
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.base.errors import EXIT_FAILED, EXIT_PASSED, CannotJudge, NothingSelected, UsageError
from harness.base.texts import say

if TYPE_CHECKING:
    from harness.upkeep.rules import Checkout

CASES = Path("baselines")
_SOURCES = {".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hip", ".hpp", ".py", ".rs"}
CasesOption = Annotated[Path, typer.Option("--cases", help="Folder of the case files.")]
CheckpointsOption = Annotated[
    str, typer.Option(help="Run with the checkpoint set of this name instead of the cases' own models: tiny.")
]
PlatformOption = Annotated[str | None, typer.Option(help="cpu, cuda or rocm; what this machine is, if not given.")]


def require_program(option: str, path: Path) -> None:
    """Raise if an option names something that cannot be run.

    Raises:
        UsageError: It is not there, no file, or nobody may run it.
    """
    try:
        fine = path.is_file() and os.access(path, os.X_OK)
    except OSError:
        fine = False
    if not fine:
        raise UsageError(f"{option} {path}: no program there; name the interpreter itself, as in ~/vllm/bin/python")


class FormatChoice(StrEnum):
    TABLE = "table"
    JSON = "json"
    GITHUB = "github"


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    checkpoints = typer.Typer(no_args_is_help=True, help="Known-answer checkpoints.")
    checkpoints.command("make")(checkpoints_make)
    checkpoints.command("list")(checkpoints_list)
    for command in (plan, show, check, generate, pin):
        app.command()(command)
    app.add_typer(checkpoints, name="checkpoints")


def plan(
    case: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CASE]...", help="Case ids, patterns ('eagle3/*') or case files; all if none."),
    ] = None,
    suite: Annotated[str | None, typer.Option(help="Only cases of this suite.")] = None,
    platform: Annotated[str | None, typer.Option(help="cpu, cuda or rocm; all if not given.")] = None,
    devices: Annotated[int | None, typer.Option(min=0, help="Accelerators of the host; as many as needed.")] = None,
    shard: Annotated[str | None, typer.Option(metavar="I/N", help="Part I of N of about the same duration.")] = None,
    changed_files: Annotated[
        Path | None, typer.Option(help="File with one changed path of the engine's repository a line; - reads stdin.")
    ] = None,
    form: Annotated[FormatChoice, typer.Option("--format", help="github: a matrix for GitHub Actions.")] = (
        FormatChoice.TABLE
    ),
    checkpoints: CheckpointsOption = "",
    cases: CasesOption = CASES,
) -> None:
    """Say what would run, and of everything else why not; starts nothing."""
    from harness.devices.accelerators import on_paper
    from harness.plan import points as planning
    from harness.plan.listing import render
    from harness.run.selection import matching

    planned = matching(cases, wanted=case or [], suite=suite, platform=platform, checkpoints=checkpoints)
    if devices is not None:
        planned = planning.within(planned, devices)
    if changed_files is not None:
        planned = planning.touched(planned, _lines(changed_files))
    if shard is not None:
        planned = planning.shard(planned, *_shard(shard))
    say(render(planned, form.value, on_paper))
    if all(each.skip for each in planned) and form is not FormatChoice.TABLE:
        raise NothingSelected("nothing of this runs here; harness plan --format table says why")


def show(
    case: Annotated[str, typer.Argument(help="Case id, with or without the point of its matrix.")],
    platform: Annotated[str | None, typer.Option(help="cpu, cuda or rocm; all if not given.")] = None,
    checkpoints: CheckpointsOption = "",
    cases: CasesOption = CASES,
) -> None:
    """Print a case as shell lines, with every check and its origin; needs no engine, no device and no network."""
    from harness.devices.accelerators import on_paper
    from harness.plan.show import show as shown
    from harness.run.selection import matching

    found = matching(cases, wanted=[case], suite=None, platform=platform, checkpoints=checkpoints)
    say("\n".join(shown(each, on_paper(each.platform)) for each in found), end="")


def check(
    workflows: Annotated[Path, typer.Option(help="Folder of the CI workflows.")] = Path(".github/workflows"),
    engine_checkout: Annotated[
        Path | None,
        typer.Option(help="Checkout of the engine, against which source paths and environment variables are checked."),
    ] = None,
    cases: CasesOption = CASES,
) -> None:
    """Prove that no case has fallen out of CI, no baseline can only pass and no key is read by nobody."""
    from harness.base.clock import utc_now
    from harness.cases.load import load
    from harness.images import base_images
    from harness.plan.points import everything
    from harness.upkeep.rules import problems
    from harness.upkeep.unused import around

    if engine_checkout is not None and not engine_checkout.is_dir():
        raise UsageError(f"--engine-checkout {engine_checkout}: no such folder")
    checkout = _checkout(engine_checkout) if engine_checkout else None
    texts = {str(path): _text(path) for path in sorted(workflows.glob("*.y*ml")) if path.is_file()}
    planned = everything(load(cases))
    pinned = base_images.load() if base_images.FILE.is_file() else None
    found = problems(planned, texts, checkout, pinned, around(cases), utc_now().date())
    for problem in found:
        say(problem)
    say(f"{len(planned)} points of {len({each.case_file.id for each in planned})} cases, {len(found)} problems")
    sys.exit(EXIT_FAILED if found else EXIT_PASSED)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def _checkout(root: Path) -> Checkout:
    from harness.upkeep.rules import Checkout

    words: set[str] = set()
    for path in root.rglob("*"):
        if path.suffix in _SOURCES and path.is_file():
            words.update(re.findall(r"[A-Z][A-Z0-9]*_[A-Z0-9_]+", _text(path)))
    return Checkout([path.relative_to(root).as_posix() for path in root.rglob("*")], words)


def generate(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail if something is not current.")] = False,
    cases: CasesOption = CASES,
) -> None:
    """Write everything that is generated: expected values of known-answer cases, JSON Schema, tables in the README."""
    from harness.upkeep.generate import outdated, unchecked

    stale = outdated(cases, write=not check)
    for line in unchecked(cases):
        say(f"left alone: {line}")
    for path in stale:
        say(f"{'not current' if check else 'written'}: {path}")
    if stale and check:
        say("run: nox -s generate")
    sys.exit(EXIT_FAILED if stale and check else EXIT_PASSED)


def pin(cases: CasesOption = CASES) -> None:
    """Look up the commits of models that are still unresolved and write them into the case files."""
    from harness.upkeep.model_commits import pin as pin_all

    found = list(pin_all(cases))
    for each in found:
        say(f"{each.repo}: {each.commit or each.problem}")
    if not found:
        say("every model is pinned")
    sys.exit(EXIT_PASSED if all(each.commit for each in found) else CannotJudge.exit_code)


def checkpoints_make(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; made if missing.")]) -> None:
    """Write all known-answer checkpoints: the same bytes every time. Those made from data need it at hand."""
    from harness.run.checkpoint_files import make

    digests, left_out = make(folder)
    for name, digest in digests.items():
        say(f"{digest}  {folder / name}")
    for name, reason in left_out.items():
        say(f"left out: {name}: {reason}", file=sys.stderr)


def checkpoints_list() -> None:
    """Say what each known-answer checkpoint is."""
    from known_answer.checkpoints import CHECKPOINTS

    for name, checkpoint in CHECKPOINTS.items():
        say(f"{name:<20} {checkpoint.purpose}")


def _lines(path: Path) -> list[str]:
    try:
        if str(path) == "-":
            text = sys.stdin.read() if sys.stdin else ""
        elif path.is_fifo() and not str(path).startswith(("/dev/fd/", "/proc/")):
            raise UsageError(f"--changed-files {path}: a pipe, to which nobody may write; give a file, or - for stdin")
        else:
            text = path.read_text(encoding="utf-8", errors="replace")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UsageError(f"--changed-files {path}: cannot be read: {reason}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    if not (found and 1 <= int(found[1]) <= int(found[2])):
        raise UsageError(f"--shard {text}: must be like 2/4, from 1/4 to 4/4")
    return int(found[1]), int(found[2])
