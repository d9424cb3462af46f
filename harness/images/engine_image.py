"""The image of an engine and platform: what it is made from, its identity, its build."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from harness import __version__
from harness.base.domain import Platform
from harness.base.errors import CannotJudge, UsageError
from harness.base.texts import shortened
from harness.containers import image_store, lifecycle
from harness.datasets.pinned_files import DATASETS
from harness.devices import accelerators
from harness.host import data_files, files
from harness.images import base_images, build_context, docker_build, source_tree
from harness.images.build_context import From, Ingredients, Tick
from harness.logs.build_output import build_cause
from harness.logs.root_cause import tail

ENGINE_PYTHON = "/opt/engine/bin/python"
HARNESS = "/opt/harness/bin/harness"
USER = (2000, 2000)
"""User and group of the image, for callers that are root."""

_REPOSITORY = "inference-harness"
_CAUSE = 400


@dataclass(frozen=True)
class Build:
    """How an image is to be built.

    Attributes:
        base_image: Instead of the pinned one; None for that.
        engine_from: Whether the base holds the engine, or the locked one is installed; None for what is usual.
        engine_wheel: The user's own build of the engine, put on top.
        ca_bundle: Certificates that steps of the build trust; None for those that Python trusts here.
        network: Network of the build steps, as ``docker build --network`` takes it.
        rebuild: Build without cache, even if the image is there.
        allow_unpinned: Build on the tag of a base image that the project has not pinned, as it is today.
        registry: ``HOST[/PREFIX]`` that stands for the registry of a pinned image.
        may_ask: Whether a registry may be asked for the digest of what nobody has pinned.
    """

    base_image: str | None = None
    engine_from: From | None = None
    engine_wheel: Path | None = None
    ca_bundle: Path | None = None
    network: str = "default"
    rebuild: bool = False
    allow_unpinned: bool = False
    registry: str | None = None
    may_ask: bool = True


@dataclass(frozen=True)
class Recipe:
    """What an image is made from.

    Attributes:
        engine: Its name, which is its package's.
        platform: Of the image.
        base: Reference of the base image.
        parts: Everything else but the harness.
    """

    engine: str
    platform: Platform
    base: str
    parts: Ingredients


def source_root() -> Path:
    """The source tree that the harness runs from; raises UsageError if it was installed without one."""
    return source_tree.root()


def requirements(engine: str, platform: Platform) -> Path:
    """Locked requirements of an engine on a platform.

    Raises:
        UsageError: There are none.
    """
    folder = source_tree.root() / "docker" / "requirements" / f"{engine}-{platform}"
    if not folder.is_dir():
        raise UsageError(
            f"no {engine} for {platform} comes with the harness; name yours with --engine-python, "
            "or an image that holds it with --runtime docker --base-image"
        )
    return folder


def recipe(engine: str, platform: Platform, build: Build) -> Recipe:
    """What the image is to be made from.

    Raises:
        UsageError: No base is known or no engine locked for it, or the wheel is none of the engine.
        CannotJudge: A data file has another content than it must.
    """
    base, usual = base_of(engine, platform, build)
    engine_from = build.engine_from or usual
    locked = source_tree.root() / "docker" / "requirements"
    packages = None
    if engine_from == "wheels":
        folder = requirements(engine, platform)
        locks = [path for path in (folder / "engine.txt", folder / "torch.txt") if path.is_file()]
        packages = folder / "packages.txt" if (folder / "packages.txt").is_file() else None
    else:
        nixl = [locked / "nixl.txt"] if accelerators.of(platform).has_nixl_wheel else []
        locks = [locked / f"{engine}-router.txt", *nixl]
    wheel = _wheel(build.engine_wheel, engine) if build.engine_wheel else None
    there = tuple(data_files.fetch(each) for each in DATASETS if not data_files.missing([each]))
    return Recipe(engine, platform, base, Ingredients(engine_from, tuple(locks), packages, wheel, there))


def base_of(engine: str, platform: Platform, build: Build) -> tuple[str, From]:
    """The base image and how the engine usually gets in: there are wheels for the CPU, and images for all else."""
    if build.base_image:
        return build.base_image, "base" if accelerators.of(platform).has_devices else "wheels"
    pinned = pinned_base(engine, platform, build)
    return pinned.reference, "base" if pinned.holds_engine else "wheels"


def pinned_base(engine: str, platform: Platform, build: Build) -> base_images.Base:
    """The project's base image, which a caller may replace."""
    how = {"allow_unpinned": build.allow_unpinned, "may_ask": build.may_ask}
    return base_images.base(engine, platform, mirror=build.registry, **how)


def _wheel(path: Path, engine: str) -> Path:
    if not path.is_file() or path.suffix != ".whl":
        raise UsageError(f"--engine-wheel {path}: no wheel there (a file that ends in .whl)")
    if not path.name.lower().startswith(engine):
        raise UsageError(f"--engine-wheel {path}: not a wheel of {engine}; name the engine with --engine")
    return path


def ensure(engine: str, platform: Platform, build: Build, on_tick: Tick) -> tuple[str, str]:
    """Name and id of the image, built if it is not there.

    Raises:
        UsageError: It cannot be said what to build.
        CannotJudge: It could not be built.
    """
    wanted = recipe(engine, platform, build)
    base_id = base_images.identity(wanted.base, on_tick)
    try:
        with _context(wanted) as context:
            identity = _identity(wanted, context, base_id)
            tag = _tag(wanted, identity)
            found = None if build.rebuild else image_store.image_id(tag)
            if found is None:
                make(wanted, context, identity, tag, build, on_tick)
                found = image_store.image_id(tag)
    except lifecycle.ContainerFailed as error:
        raise CannotJudge("the container engine does not answer", cause=str(error)) from error
    if found is None:
        raise CannotJudge(f"the image {tag} was built and is not there")
    return tag, found


def name(engine: str, platform: Platform, build: Build, base_id: str) -> str:
    """What the image is called: that says everything it is made from, so that one of that name is current.

    Args:
        engine: Its name.
        platform: Of the image.
        build: How it would be built.
        base_id: What its base is, from :func:`harness.images.base_images.identity`.

    Raises:
        UsageError: It cannot be said what to build.
        CannotJudge: A data file has another content than it must.
    """
    wanted = recipe(engine, platform, build)
    with _context(wanted) as context:
        return _tag(wanted, _identity(wanted, context, base_id))


def lacks_base(engine: str, platform: Platform, build: Build, on_tick: Tick) -> str:
    """Why an image cannot be built although the container engine answers: its base is not to be had. Empty if it is.

    Asked only where nobody named a base and the base does not hold the engine: elsewhere the engine on this machine
    would be another one than in the image. The base is pulled if it is to be had and needed.

    Raises:
        UsageError: It cannot be said what to build.
        CannotJudge: A data file has another content than it must.
    """
    if build.base_image or build.engine_wheel or build.engine_from == "base":
        return ""
    base, usual = base_of(engine, platform, replace(build, may_ask=False))
    if usual == "base":
        return ""
    try:
        base, _ = base_of(engine, platform, build)
    except CannotJudge as error:
        return f"its base image is not to be had: {error}"
    try:
        if image_store.image_id(base) is None and image_store.image_id(name(engine, platform, build, base)) is None:
            image_store.pull(base, on_tick)
    except lifecycle.ContainerFailed as error:
        return f"its base image is not to be had: {error}"
    return ""


def _tag(wanted: Recipe, identity: str) -> str:
    return f"{repository(wanted.engine, wanted.platform)}:{identity[:12]}"


def repository(engine: str, platform: Platform) -> str:
    """What all images of an engine on a platform are called, less their tags."""
    return f"{_REPOSITORY}/{engine}-{platform}"


def build_as(wanted: Recipe, tag: str, build: Build, on_tick: Tick) -> None:
    """Build an image under a name of the caller's.

    Raises:
        CannotJudge: It could not be built.
    """
    base_id = base_images.identity(wanted.base, on_tick)
    with _context(wanted) as context:
        make(wanted, context, _identity(wanted, context, base_id), tag, build, on_tick)


@contextmanager
def _context(wanted: Recipe) -> Iterator[Path]:
    """The build context, in a folder that holds nothing else."""
    with tempfile.TemporaryDirectory(prefix="inference-harness-") as folder:
        context = Path(folder) / "context"
        build_context.make(context, wanted.parts)
        yield context


def _identity(wanted: Recipe, context: Path, base_id: str) -> str:
    """SHA-256 of everything that goes into the image: an image of that name is current."""
    return files.digest_text(files.digest(context), base_id, wanted.engine, wanted.platform, wanted.parts.engine_from)


def make(wanted: Recipe, context: Path, identity: str, tag: str, build: Build, on_tick: Tick) -> None:
    """Build an image from its context.

    Raises:
        CannotJudge: It could not be built.
    """
    bundle = build.ca_bundle or docker_build.ca_bundle()
    revision = source_tree.revision()
    target = docker_build.Target(
        context,
        tag,
        arguments={
            "BASE_IMAGE": wanted.base,
            "ENGINE": wanted.engine,
            "ENGINE_FROM": wanted.parts.engine_from,
            "SOURCE_DATE_EPOCH": str(revision.date),
        },
        labels=_labels(wanted, identity, revision),
        secrets={"ca": bundle} if bundle and bundle.is_file() else {},
        network=build.network,
        no_cache=build.rebuild,
    )
    try:
        client = docker_build.builder()
        on_tick(f"building {tag} with {client.how}")
        build_context.fetch(context, on_tick)
        docker_build.build(client, target, context.parent, on_tick)
    except docker_build.BuildFailed as error:
        raise CannotJudge(str(error), cause=_cause(error.output), details=tail(error.output, 40)) from error


def _labels(wanted: Recipe, identity: str, revision: source_tree.Revision) -> dict[str, str]:
    name, _, digest = wanted.base.partition("@")
    labels = {
        "org.opencontainers.image.title": f"{_REPOSITORY} {wanted.engine} {wanted.platform}",
        "org.opencontainers.image.source": revision.origin,
        "org.opencontainers.image.revision": revision.name,
        "org.opencontainers.image.version": __version__,
        "org.opencontainers.image.created": datetime.fromtimestamp(revision.date, UTC).isoformat(),
        "org.opencontainers.image.base.name": name,
        "org.opencontainers.image.base.digest": digest or image_store.image_id(wanted.base) or "",
        "org.inference-harness.lock": files.digest(*wanted.parts.locks),
        "org.inference-harness.identity": identity,
    }
    return {name: value for name, value in labels.items() if value}


def _cause(output: str) -> str:
    """What the step that failed said itself; else the builder's last error."""
    if found := build_cause(output):
        return shortened(found, _CAUSE)
    last = [line for line in output.splitlines() if "error" in line.lower()] or output.splitlines()[-1:]
    return shortened(last[-1], _CAUSE) if last else ""
