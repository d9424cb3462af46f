"""Packages of a base's distribution, locked by version and content for each release that a base may be of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """A release of a distribution.

    Attributes:
        name: ``ID-VERSION_ID`` of its ``/etc/os-release``.
        suite: Its name in an archive. The suite as released: what stands in it is replaced seldom (Debian) or never
            (Ubuntu).
    """

    name: str
    suite: str

    @property
    def distribution(self) -> str:
        return self.name.partition("-")[0]

    def index(self, archive: str) -> str:
        """Address of its list of packages below that of an archive, compressed by xz."""
        return f"{archive.rstrip('/')}/dists/{self.suite}/main/binary-{ARCHITECTURE}/Packages.xz"


ARCHITECTURE = "amd64"
RELEASES = (
    Release("debian-12", "bookworm"),
    Release("debian-13", "trixie"),
    Release("ubuntu-22.04", "jammy"),
    Release("ubuntu-24.04", "noble"),
)


def names(lock: str) -> list[str]:
    """Names of the packages in a lock file."""
    return sorted({line.split()[2] for line in lock.splitlines() if line and not line.startswith("#")})


def locked(lock: str, indices: dict[str, str]) -> str:
    """A lock file anew: its comments, the lines of releases that are not asked about, and a line for each other one.

    Args:
        lock: The file as it is.
        indices: List of packages (``Packages``) by name of each release that is asked about.

    Raises:
        KeyError: A release has no package of a name; the argument says which.
    """
    comments = [line for line in lock.splitlines() if line.startswith("#")]
    lines = [line for line in lock.splitlines() if line not in comments and line.split()[0] not in indices]
    for release, index in indices.items():
        found = {package["Package"]: package for package in _packages(index)}
        for name in names(lock):
            if name not in found:
                raise KeyError(f"{release} has no package {name}")
            package = found[name]
            lines.append(f"{release} {package['Architecture']} {name} {package['Version']} {package['SHA256']}")
    return "\n".join([*comments, *sorted(lines)]) + "\n"


def _packages(index: str) -> Iterator[dict[str, str]]:
    for paragraph in index.split("\n\n"):
        fields = (line.partition(": ") for line in paragraph.splitlines() if not line.startswith(" "))
        package = {name: value for name, _, value in fields}
        if "Package" in package:
            yield package
