"""The image of an engine and platform: its build context, its identity, its build."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.ground.errors import CannotJudge, UsageError
from harness.mechanism import containers, files, images, processes
from harness.policy.diagnosis import tail
from harness.run import pins

ENGINE_PYTHON = "/opt/engine/bin/python"
HARNESS = "/opt/harness/bin/harness"
USER = (2000, 2000)
"""User and group of the image, for callers that are root."""

_DOCKERFILE = Path("docker/Dockerfile")
_SOURCES = (
    "docker/Dockerfile",
    "docker/install-engine.sh",
    "requirements/harness.txt",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
_PYTHON_IN_IMAGE = "3.11"

Tick = Callable[[str], None]


@dataclass(frozen=True)
class Build:
    """How an image is to be built.

    Attributes:
        base_image: Instead of the pinned one; None for that.
        ca_bundle: Certificates that steps of the build trust; None for those that Python trusts here.
        network: Network of the build steps, as ``docker build --network`` takes it.
        rebuild: Build without cache, even if the image is there.
        allow_unpinned: Build on a pinned image's tag where its digest is unresolved.
        registry: ``HOST[/PREFIX]`` that stands for the registry of a pinned image.
    """

    base_image: str | None = None
    ca_bundle: Path | None = None
    network: str = "default"
    rebuild: bool = False
    allow_unpinned: bool = False
    registry: str | None = None


def source_root() -> Path:
    """The source tree that the harness runs from.

    Raises:
        UsageError: It was installed without one.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / _DOCKERFILE).is_file():
        raise UsageError(f"{root}: no source tree here, and an image is built from one; run from a checkout")
    return root


def requirements(engine: str, platform: str) -> Path:
    """Locked requirements of an engine on a platform.

    Raises:
        UsageError: There are none.
    """
    folder = source_root() / "docker" / "requirements" / f"{engine}-{platform}"
    if not folder.is_dir():
        raise UsageError(f"no {engine} for {platform} comes with the harness; name yours with --engine-python")
    return folder


def base_image(engine: str, platform: str, build: Build) -> str:
    """What the image is built on: the caller's choice, else the pinned one.

    Raises:
        UsageError: No image is pinned, or its digest is unresolved.
    """
    if build.base_image:
        return build.base_image
    return pins.base(engine, platform, allow_unpinned=build.allow_unpinned, mirror=build.registry).reference


def ensure(engine: str, platform: str, build: Build, on_tick: Tick) -> tuple[str, str]:
    """Name and id of the image, built if it is not there.

    Raises:
        CannotJudge: It could not be built.
    """
    root = source_root()
    base = base_image(engine, platform, build)
    lock = requirements(engine, platform)
    try:
        tag = name(engine, platform, pins.identity(base, on_tick))
        found = None if build.rebuild else containers.image_id(tag)
        if found is None:
            _build(root, lock, tag, base, build, on_tick)
            found = containers.image_id(tag)
    except containers.ContainerFailed as error:
        raise CannotJudge("the container engine does not answer", cause=str(error)) from error
    if found is None:
        raise CannotJudge(f"the image {tag} was built and is not there")
    return tag, found


def name(engine: str, platform: str, base_id: str) -> str:
    """What the image is called: that says everything it is made from, so that one of that name is current.

    Args:
        engine: Its name.
        platform: Of the image.
        base_id: What its base is, from :func:`harness.run.pins.identity`.

    Raises:
        UsageError: It cannot be built.
    """
    root = source_root()
    sources = files.digest(*(root / each for each in _SOURCES), requirements(engine, platform))
    identity = files.digest_text(sources, files.digest(*_python_files(root)), base_id)
    return f"inference-harness/{engine}-{platform}:{identity[:12]}"


def _build(root: Path, lock: Path, tag: str, base: str, build: Build, on_tick: Tick) -> None:
    bundle = build.ca_bundle or images.ca_bundle()
    try:
        client = images.builder()
        on_tick(f"building {tag} with {client.how}")
        with _context(root, lock, on_tick) as context:
            images.build(
                client,
                context,
                dockerfile=str(_DOCKERFILE),
                tag=tag,
                arguments={"BASE_IMAGE": base},
                labels={"org.opencontainers.image.base.name": base},
                secrets={"ca": bundle} if bundle and bundle.is_file() else {},
                extra=["--network", build.network, *(["--no-cache"] if build.rebuild else [])],
                on_tick=on_tick,
            )
    except images.BuildFailed as error:
        last = [line for line in error.output.splitlines() if "ERROR" in line or "error" in line]
        hint = f"{last[-1].strip()}; give a base image that is here with --base-image, or run with --runtime local"
        raise CannotJudge(str(error), cause=hint if last else "", details=tail(error.output, 40)) from error


def _python_files(root: Path) -> list[Path]:
    return sorted((root / "harness").rglob("*.py"))


@contextmanager
def _context(root: Path, lock: Path, on_tick: Tick) -> Iterator[Path]:
    """A build context of exactly what the image is made from."""
    with tempfile.TemporaryDirectory(prefix="inference-harness-") as folder:
        context = Path(folder)
        for name in _SOURCES:
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, context / name)
        shutil.copytree(lock, context / "docker" / "requirements")
        for source in _python_files(root):
            target = context / source.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        wheels = context / "wheels"
        wheels.mkdir()
        _fetch_torch(lock / "torch.txt", wheels, on_tick)
        yield context


def _fetch_torch(locked: Path, wheels: Path, on_tick: Tick) -> None:
    """Carry torch into the build if what pip is configured for here has it; else the build finds it itself."""
    on_tick("looking for torch where pip is configured to look")
    options = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--python-version", _PYTHON_IN_IMAGE]
    options += ["--platform", "manylinux_2_28_x86_64", "--dest", str(wheels), "--requirement", str(locked)]
    processes.run([processes.own_interpreter(), "-m", "pip", "download", *options], on_tick=on_tick)
