"""The build context of an image: a folder for each step of the Dockerfile, with exactly what the step needs."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.base.errors import CannotJudge
from harness.host import processes
from harness.images import source_tree
from harness.logs.root_cause import tail

From = Literal["base", "wheels"]

_STEPS = {
    "packages": ("step.sh", "install-packages.sh"),
    "engine": ("step.sh", "make-engine.sh", "add-wheel.sh", "compile.sh"),
    "harness": ("step.sh", "make-harness.sh", "find-python.sh", "compile.sh"),
    "source": ("step.sh", "add-source.sh", "compile.sh", "entrypoint.sh"),
}
_ENGINE_FROM: dict[From, tuple[str, ...]] = {
    "base": ("adopt-engine.sh", "lacking.py"),
    "wheels": ("find-python.sh", "install-engine.sh"),
}
_TREE = ("pyproject.toml", "README.md", "LICENSE")

_NO_PACKAGES = "# nothing\n"

Tick = Callable[[str], None]


@dataclass(frozen=True)
class Ingredients:
    """What an image is made from beside the base and the harness.

    Attributes:
        engine_from: Whether the base holds the engine, or the locked one is installed.
        locks: Requirement files of the engine, or of what is added to a base that holds it.
        packages: Lock of distribution packages, if the engine links to some.
        wheel: The user's own build of the engine.
        data: Evaluation data, already checked.
    """

    engine_from: From
    locks: tuple[Path, ...]
    packages: Path | None = None
    wheel: Path | None = None
    data: tuple[Path, ...] = ()


def make(folder: Path, parts: Ingredients) -> None:
    """Fill ``folder`` with all but what has to be fetched: what an image's identity is computed from."""
    root = source_tree.root()
    docker = root / "docker"
    _copy(docker / "Dockerfile", folder)
    for step, names in _STEPS.items():
        for name in names:
            _copy(docker / name, folder / step)
        if step != "packages":
            (folder / step / "wheels").mkdir()
    for name in _ENGINE_FROM[parts.engine_from]:
        _copy(docker / name, folder / "engine")
    if parts.packages:
        _copy(parts.packages, folder / "packages")
    else:
        (folder / "packages" / "packages.txt").write_text(_NO_PACKAGES)
    (folder / "engine" / "requirements").mkdir()
    for lock in parts.locks:
        _copy(lock, folder / "engine" / "requirements")
    (folder / "engine" / "own").mkdir()
    if parts.wheel:
        _copy(parts.wheel, folder / "engine" / "own")
    _copy(root / "requirements" / "harness.txt", folder / "harness")
    for name in _TREE:
        _copy(root / name, folder / "source" / "tree")
    beside = [path for name in ("known_answer", "engine_mutants") for path in (root / name).glob("*.py")]
    for path in sorted([*(root / "harness").rglob("*.py"), *beside]):
        _copy(path, (folder / "source" / "tree" / path.relative_to(root)).parent)
    _copy_data(folder / "source" / "data", parts.data)
    _write_archive(folder / "root.tar")


def fetch(folder: Path, on_tick: Tick) -> None:
    """Add what steps install from: the locked pip, and torch if it is locked apart and this host has it.

    Raises:
        CannotJudge: There is no pip to be had.
    """
    tools = folder / "engine" / "wheels"
    status, output = _download(source_tree.root() / "docker" / "requirements" / "pip.txt", tools, on_tick)
    if status != 0:
        raise CannotJudge("pip could not be fetched for the image", cause=tail(output, 1), details=tail(output, 40))
    for step in ("harness", "source"):
        for wheel in tools.glob("pip-*.whl"):
            _copy(wheel, folder / step / "wheels")
    torch = folder / "engine" / "requirements" / "torch.txt"
    if torch.is_file():
        # Carried into the build if what pip is configured for here has it; else the build finds it itself.
        on_tick("looking for torch where pip is configured to look")
        _download(torch, tools, on_tick, "--python-version", "3.11", "--platform", "manylinux_2_28_x86_64")


def _download(lock: Path, target: Path, on_tick: Tick, *options: str) -> tuple[int, str]:
    argv = [processes.own_interpreter(), "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]
    argv += ["--require-hashes", "--only-binary", ":all:", "--dest", str(target), "--requirement", str(lock), *options]
    return processes.run(argv, on_tick=on_tick)


def _copy(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, folder / path.name)


def _write_archive(path: Path) -> None:
    """An archive of the files that are mounted over in every container."""
    with tarfile.open(path, "w") as archive:
        for name in ("etc", "etc/hosts", "etc/resolv.conf"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = (tarfile.DIRTYPE, 0o755) if name == "etc" else (tarfile.REGTYPE, 0o644)
            entry.mtime = source_tree.FIRST_DATE
            archive.addfile(entry)


def _copy_data(folder: Path, paths: Iterable[Path]) -> None:
    folder.mkdir()
    sums = []
    for path in sorted(paths):
        _copy(path, folder)
        sums.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    (folder / "SHA256SUMS").write_text("".join(sums))
