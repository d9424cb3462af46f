"""Packages of a base's distribution, locked by version and content for each release that a base may be of.

Lock files of distribution packages, looked up anew.
"""

from __future__ import annotations

import lzma
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import requests

from harness.base import texts
from harness.base.errors import CannotJudge
from harness.host import files, processes


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


_TIMEOUT = 120.0


def lock(root: Path, archives: Mapping[str, str]) -> list[Path]:
    """Resolve the ``packages.txt`` below ``root`` anew, and return those that changed.

    Args:
        root: Where the lock files are.
        archives: Address of the archive of packages by distribution; the lines of others stay as they are.

    Raises:
        CannotJudge: A release's list of packages is not to be had, or lacks one.
    """
    indices = {
        release.name: _index(release.index(archives[release.distribution]))
        for release in RELEASES
        if release.distribution in archives
    }
    changed = []
    for path in sorted(root.glob("*/packages.txt")):
        try:
            found = locked(path.read_text(), indices)
        except KeyError as error:
            raise CannotJudge(str(path), cause=str(error.args[0])) from error
        if found != path.read_text():
            files.write(path, found)
            changed.append(path)
    return changed


def here() -> dict[str, str]:
    """The archive that this machine's own packages come from, by its distribution; nothing where there is no apt."""
    try:
        distribution = platform.freedesktop_os_release()["ID"]
        command = ["apt-get", "indextargets", "--format", "$(SITE)", "Identifier: Packages"]
        status, output = processes.run(command)
    except OSError:
        return {}
    sites = output.split()
    return {distribution: sites[0]} if status == 0 and sites else {}


def _index(address: str) -> str:
    try:
        response = requests.get(address, timeout=_TIMEOUT)
        response.raise_for_status()
        return lzma.decompress(response.content).decode()
    except (requests.RequestException, lzma.LZMAError) as error:
        raise CannotJudge(f"{address} is not to be had", cause=texts.cause(error)) from error
