"""Packages of a base's distribution, locked by version and content for each release that a base may be of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """A release of a distribution.

    Attributes:
        name: ``ID-VERSION_ID`` of its ``/etc/os-release``.
        archive: Where its packages are published.
        suite: Its name there. The suite as released: what stands in it is replaced seldom (Debian) or never (Ubuntu).
    """

    name: str
    archive: str
    suite: str

    @property
    def index(self) -> str:
        """Address of its list of packages, compressed by xz."""
        return f"{self.archive}/dists/{self.suite}/main/binary-{ARCHITECTURE}/Packages.xz"


ARCHITECTURE = "amd64"
RELEASES = (
    Release("debian-12", "https://deb.debian.org/debian", "bookworm"),
    Release("debian-13", "https://deb.debian.org/debian", "trixie"),
    Release("ubuntu-22.04", "https://archive.ubuntu.com/ubuntu", "jammy"),
    Release("ubuntu-24.04", "https://archive.ubuntu.com/ubuntu", "noble"),
)


def names(lock: str) -> list[str]:
    """Names of the packages in a lock file."""
    return sorted({line.split()[2] for line in lock.splitlines() if line and not line.startswith("#")})


def locked(lock: str, indices: dict[str, str]) -> str:
    """A lock file anew: its comments, and a line for each release and each package it names.

    Args:
        lock: The file as it is.
        indices: List of packages (``Packages``) by name of the release.

    Raises:
        KeyError: A release has no package of a name; the argument says which.
    """
    lines = [line for line in lock.splitlines() if line.startswith("#")]
    for release, index in indices.items():
        found = {package["Package"]: package for package in _packages(index)}
        for name in names(lock):
            if name not in found:
                raise KeyError(f"{release} has no package {name}")
            package = found[name]
            lines.append(f"{release} {package['Architecture']} {name} {package['Version']} {package['SHA256']}")
    return "\n".join(lines) + "\n"


def _packages(index: str) -> Iterator[dict[str, str]]:
    for paragraph in index.split("\n\n"):
        fields = (line.partition(": ") for line in paragraph.splitlines() if not line.startswith(" "))
        package = {name: value for name, _, value in fields}
        if "Package" in package:
            yield package
