"""The part of the command line that carries everything to hosts without a network."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from harness.base.errors import EXIT_PASSED, CannotJudge
from harness.base.texts import say
from harness.cli.assembling import expanded, help_without_command
from harness.cli.options import CASES, CaseArguments, Cases, Checkpoints
from harness.cli.what_runs import OnlyOptions

BundleArgument = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="Folder of a bundle: plain files, or the parts of an archive.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    bundle = typer.Typer(
        callback=help_without_command,
        invoke_without_command=True,
        help="Everything a host without a network needs, in one folder.",
    )
    for command in (make, verify, load):
        bundle.command()(expanded(command))
    app.add_typer(bundle, name="bundle")


def make(
    only: OnlyOptions,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder for the bundle.")],
    wanted: CaseArguments = None,
    platform: Annotated[str, typer.Option(help="The other side's: cpu, cuda or rocm.")] = ...,  # type: ignore[assignment] # required
    python: Annotated[
        str, typer.Option(help="The other side's Python, as in 3.12.", show_default="that of this harness")
    ] = (f"{sys.version_info[0]}.{sys.version_info[1]}"),
    wheels: Annotated[Path | None, typer.Option(help="Folder with wheels of the engine.")] = None,
    locked_engine: Annotated[
        bool,
        typer.Option("--locked-engine", help="The engine as it is locked here; --wheels is looked through too."),
    ] = False,
    image: Annotated[list[str] | None, typer.Option(help="Container image; may be repeated.")] = None,
    part_size: Annotated[
        str | None, typer.Option(help="Write an archive in parts of this size, as in 48MiB, instead of plain files.")
    ] = None,
    checkpoints: Checkpoints = "",
    cases: Cases = CASES,
) -> int:
    """Write a bundle: cases, data, models, wheels of the harness, and wheels or images of the engine."""
    from harness.bundle import contents
    from harness.host import signals
    from harness.run.console import Ticker
    from harness.run.selection import matching

    parts = contents.size(part_size) if part_size else None
    planned = matching(
        cases, wanted=wanted or [], narrowed=only.narrowing(), platform=platform, checkpoints=checkpoints
    )
    order = contents.Order(cases, planned, python, wheels, locked_engine, image or [], checkpoints)
    try:
        with signals.handled():
            manifest = contents.make(order, out, parts, Ticker().tick)
    except OSError as error:
        raise CannotJudge(f"{out}: the bundle could not be written", cause=str(error)) from error
    for name, reason in manifest.left_out.items():
        say(f"left out: {name}: {reason}")
    say(manifest.summary)
    return EXIT_PASSED


def verify(bundle: BundleArgument) -> int:
    """Say everything that is wrong with a bundle, one line each."""
    from harness.bundle import loader
    from harness.host import signals

    with signals.handled():
        say(loader.verify(bundle, _say).summary)
    return EXIT_PASSED


def load(
    bundle: BundleArgument,
    into: Annotated[Path, typer.Option(help="New folder for everything, or one that holds an earlier load.")],
    no_images: Annotated[bool, typer.Option("--no-images", help="Leave container images where they are.")] = False,
    engine_packages_of: Annotated[
        str,
        typer.Option(
            metavar="PYTHON", help="Interpreter whose packages the engine sees too: a PyTorch that is there already."
        ),
    ] = "",
) -> int:
    """Verify a bundle and put everything in place; without a harness: python3 bundle.pyz load --into FOLDER."""
    from harness.bundle.loader import Request
    from harness.bundle.loader import load as load_all
    from harness.host import processes, signals

    def run(argv: Sequence[str], env: Mapping[str, str]) -> tuple[int, str]:
        return processes.run(argv, env=env)

    try:
        with signals.handled():
            load_all(Request(bundle, into, not no_images, engine_packages_of, run, _say))
    except OSError as error:
        raise CannotJudge(f"{into}: the bundle could not be loaded", cause=str(error)) from error
    return EXIT_PASSED


def _say(line: str) -> None:
    say(line)
