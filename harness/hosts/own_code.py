"""The harness as it runs here, as a folder that another host can run it from."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

_PACKAGES = ("harness", "known_answer", "engine_mutants")
_NAME = "inference-harness"


def root() -> Path:
    """Where the packages are."""
    return Path(__file__).resolve().parents[2]


def lacking() -> Iterator[str]:
    """What the harness depends on and is not here, or not in that version."""
    for line in distribution(_NAME).requires or ():
        wanted = Requirement(line)
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            there = distribution(wanted.name).version
        except PackageNotFoundError:
            yield str(wanted)
        else:
            if not wanted.specifier.contains(there, prereleases=True):
                yield f"{wanted}, and there is {there}"


def copied(into: Path) -> None:
    """Copy packages and the metadata in which entry points are found into a folder; what builds images, if it is here.

    Raises:
        OSError: The system refused a file.
    """
    for name in _PACKAGES:
        shutil.copytree(root() / name, into / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    if (root() / "docker" / "Dockerfile").is_file():
        shutil.copytree(root() / "docker", into / "docker")
    found = distribution(_NAME)
    place = into / f"{_NAME.replace('-', '_')}-{found.version}.dist-info"
    place.mkdir()
    for name in ("METADATA", "entry_points.txt"):
        (place / name).write_text(found.read_text(name) or "")
