"""Lock files of distribution packages, looked up anew."""

from __future__ import annotations

import lzma
import platform
from collections.abc import Mapping
from pathlib import Path

import requests

from harness.ground import texts
from harness.ground.errors import CannotJudge
from harness.mechanism import files, processes
from harness.policy import debian

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
        for release in debian.RELEASES
        if release.distribution in archives
    }
    changed = []
    for path in sorted(root.glob("*/packages.txt")):
        try:
            found = debian.locked(path.read_text(), indices)
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
