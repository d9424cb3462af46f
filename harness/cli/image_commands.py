"""The part of the command line that builds images, and pins what they are built on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from harness.base.domain import Outcome
from harness.base.errors import EXIT_FAILED, EXIT_PASSED, CannotJudge, UsageError
from harness.base.texts import say
from harness.cli.assembling import expanded
from harness.cli.options import BuildOptions, CheckOnly, EngineName, EnginePlatform, Registry

_MOST_LINES = 100


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(expanded(build))
    app.command("rebuild-check")(expanded(rebuild_check))
    app.command()(pins)
    app.command("lock-packages", hidden=True)(lock_packages)


def build(
    engine: EngineName = "vllm",
    platform: EnginePlatform = "cpu",
    *,
    how: BuildOptions,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build anew, without cache.")] = False,
) -> int:
    """Build the image of an engine; nothing happens if it is there already."""
    from harness.datasets.pinned_files import DATASETS
    from harness.devices import accelerators
    from harness.host import data_files, signals
    from harness.images import engine_image
    from harness.run.console import Ticker

    with signals.handled():
        how_built = replace(how.build(), rebuild=rebuild)
        name, identity = engine_image.ensure(engine, accelerators.named(platform), how_built, Ticker().tick)
    if left_out := data_files.missing(DATASETS):
        say(f"left out, not at hand ({data_files.DATA_FOLDER} names a folder that holds them): {', '.join(left_out)}")
    say(f"{name} {identity}")
    return EXIT_PASSED


def rebuild_check(
    engine: EngineName = "vllm",
    platform: EnginePlatform = "cpu",
    *,
    how: BuildOptions,
) -> int:
    """Build an image twice without cache and compare the two layer by layer; neither is kept."""
    from harness.devices import accelerators
    from harness.host import signals
    from harness.images import rebuild
    from harness.run.console import Ticker

    with signals.handled():
        found = rebuild.check(engine, accelerators.named(platform), how.build(), Ticker().tick)
    for line in found[:_MOST_LINES]:
        say(line)
    if len(found) > _MOST_LINES:
        say(f"and {len(found) - _MOST_LINES} more")
    say(f"{len(found)} differences" if found else "identical: every layer and the configuration")
    return EXIT_FAILED if found else EXIT_PASSED


def pins(
    *,
    check: CheckOnly = False,
    registry: Registry = None,
    pins_file: Annotated[
        Path | None, typer.Option("--pins", help="File of the pins; docker/pins.toml of the harness by default.")
    ] = None,
) -> int:
    """Look up what the tags of the base images stand for, and write their digests down."""
    from harness.host import signals
    from harness.images.base_images import FILE, mirror
    from harness.images.pin_refresh import refresh

    outcomes = set()
    with signals.handled():
        for name, looked in refresh(pins_file or FILE, mirror(registry) if registry else None, write=not check):
            say(f"{name}: {looked.text}")
            outcomes.add(looked.outcome)
    if Outcome.ERROR in outcomes:
        raise CannotJudge("not every registry answered; for a mirror: --registry HOST[/PREFIX]")
    return EXIT_FAILED if Outcome.FAIL in outcomes else EXIT_PASSED


def lock_packages(
    archive: Annotated[
        list[str] | None,
        typer.Option(metavar="DISTRIBUTION=URL", help="Archive of packages, as in ubuntu=URL; may be repeated."),
    ] = None,
) -> int:
    """Look up the versions of distribution packages anew: part of `nox -s locks`, for the distribution it runs on."""
    from harness.images import distribution_packages, source_tree

    archives = distribution_packages.here()
    for given in archive or []:
        name, separator, url = given.partition("=")
        if not separator or name not in {each.distribution for each in distribution_packages.RELEASES}:
            raise UsageError(f"--archive {given}: must be like ubuntu=URL or debian=URL")
        archives[name] = url
    for path in distribution_packages.lock(source_tree.root() / "docker" / "requirements", archives):
        say(f"written: {path}")
    for release in distribution_packages.RELEASES:
        if release.distribution not in archives:
            say(f"left alone: {release.name}: --archive {release.distribution}=URL names its archive of packages")
    return EXIT_PASSED
