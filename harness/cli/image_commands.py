"""The part of the command line that builds images."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.base.errors import EXIT_FAILED, EXIT_PASSED, UsageError
from harness.base.texts import say
from harness.cli.pin_commands import AllowUnpinnedOption, RegistryOption

if TYPE_CHECKING:
    from harness.images.build_context import From
    from harness.images.engine_image import Build


class EngineFromChoice(StrEnum):
    BASE = "base"
    WHEELS = "wheels"


EngineOption = Annotated[str, typer.Option(help="Engine: vllm or sglang.")]
ImagePlatformOption = Annotated[str, typer.Option("--platform", help="Platform: cpu, cuda or rocm.")]
BaseImageOption = Annotated[
    str | None, typer.Option(help="Base image instead of the pinned one: any that holds the engine, or Python 3.11.")
]
EngineFromOption = Annotated[
    EngineFromChoice | None,
    typer.Option(help="base: the base image holds the engine; wheels: install the locked one. For cpu wheels."),
]
EngineWheelOption = Annotated[Path | None, typer.Option(help="Wheel of your own build of the engine, put on top.")]
CaBundleOption = Annotated[
    Path | None, typer.Option(help="CA bundle for image builds; the one Python trusts by default.")
]
NetworkOption = Annotated[str, typer.Option("--build-network", help="Network of image build steps.")]

_FROM: dict[EngineFromChoice, From] = {EngineFromChoice.BASE: "base", EngineFromChoice.WHEELS: "wheels"}
_MOST_LINES = 100


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(build)
    app.command("rebuild-check")(rebuild_check)
    app.command("lock-packages", hidden=True)(lock_packages)


def options_of_build(
    base_image: str | None,
    engine_from: EngineFromChoice | None,
    engine_wheel: Path | None,
    allow_unpinned: bool,
    registry: str | None,
    ca_bundle: Path | None,
    network: str,
    rebuild: bool = False,
) -> Build:
    """What the options say about a build."""
    from harness.images.base_images import mirror
    from harness.images.engine_image import Build

    how, place = _FROM[engine_from] if engine_from else None, mirror(registry) if registry else None
    return Build(
        base_image=base_image,
        engine_from=how,
        engine_wheel=engine_wheel,
        ca_bundle=ca_bundle,
        network=network,
        rebuild=rebuild,
        allow_unpinned=allow_unpinned,
        registry=place,
    )


def build(
    engine: EngineOption = "vllm",
    platform: ImagePlatformOption = "cpu",
    base_image: BaseImageOption = None,
    engine_from: EngineFromOption = None,
    engine_wheel: EngineWheelOption = None,
    allow_unpinned: AllowUnpinnedOption = False,
    registry: RegistryOption = None,
    ca_bundle: CaBundleOption = None,
    build_network: NetworkOption = "default",
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build anew, without cache.")] = False,
) -> None:
    """Build the image of an engine; nothing happens if it is there already."""
    from harness.datasets.pinned_files import DATASETS
    from harness.devices import accelerators
    from harness.host import data_files, signals
    from harness.images import engine_image
    from harness.run.console import Ticker

    options = options_of_build(
        base_image, engine_from, engine_wheel, allow_unpinned, registry, ca_bundle, build_network, rebuild
    )
    with signals.handled():
        name, identity = engine_image.ensure(engine, accelerators.named(platform), options, Ticker().tick)
    if left_out := data_files.missing(DATASETS):
        say(f"left out, not at hand ({data_files.DATA_FOLDER} names a folder that holds them): {', '.join(left_out)}")
    say(f"{name} {identity}")


def rebuild_check(
    engine: EngineOption = "vllm",
    platform: ImagePlatformOption = "cpu",
    base_image: BaseImageOption = None,
    engine_from: EngineFromOption = None,
    engine_wheel: EngineWheelOption = None,
    allow_unpinned: AllowUnpinnedOption = False,
    registry: RegistryOption = None,
    ca_bundle: CaBundleOption = None,
    build_network: NetworkOption = "default",
) -> None:
    """Build an image twice without cache and compare the two layer by layer; neither is kept."""
    from harness.devices import accelerators
    from harness.host import signals
    from harness.images import rebuild
    from harness.run.console import Ticker

    options = options_of_build(
        base_image, engine_from, engine_wheel, allow_unpinned, registry, ca_bundle, build_network
    )
    with signals.handled():
        found = rebuild.check(engine, accelerators.named(platform), options, Ticker().tick)
    for line in found[:_MOST_LINES]:
        say(line)
    if len(found) > _MOST_LINES:
        say(f"and {len(found) - _MOST_LINES} more")
    say(f"{len(found)} differences" if found else "identical: every layer and the configuration")
    sys.exit(EXIT_FAILED if found else EXIT_PASSED)


def lock_packages(
    archive: Annotated[
        list[str] | None,
        typer.Option(metavar="DISTRIBUTION=URL", help="Archive of packages, as in ubuntu=URL; may be repeated."),
    ] = None,
) -> None:
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
