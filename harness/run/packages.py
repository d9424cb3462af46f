"""Lock files of distribution packages, looked up anew."""

from __future__ import annotations

import lzma
from pathlib import Path

import requests

from harness.ground.errors import CannotJudge
from harness.mechanism import files
from harness.policy import debian

_TIMEOUT = 120.0


def lock(root: Path) -> list[Path]:
    """Resolve every ``packages.txt`` below ``root`` anew and return those that changed.

    Raises:
        CannotJudge: A release's list of packages is not to be had, or lacks one.
    """
    indices = {release.name: _index(release) for release in debian.RELEASES}
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


def _index(release: debian.Release) -> str:
    try:
        response = requests.get(release.index, timeout=_TIMEOUT)
        response.raise_for_status()
        return lzma.decompress(response.content).decode()
    except (requests.RequestException, lzma.LZMAError) as error:
        raise CannotJudge(f"{release.index} is not to be had", cause=" ".join(str(error).split())[:200]) from error
