"""The container engine that answers: what it is, and what it can do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.containers import cdi
from harness.containers.lifecycle import TIMEOUT, connected
from harness.containers.passthrough import Engine

_PODMAN_WITH_CDI = (5, 4)
"""Before it, Podman's Docker-compatible API passes over every device request in silence."""


@dataclass(frozen=True)
class About:
    """A container engine, in its own words.

    Attributes:
        engine: Name, version, CDI.
        runtimes: That it knows by name.
        cgroup: Version of control groups.
        rootless: Whether it runs without root.
        root: Folder of its images.
    """

    engine: Engine
    runtimes: tuple[str, ...]
    cgroup: str
    rootless: bool
    root: str


def about(timeout: int = TIMEOUT) -> About:
    """What the container engine that answers says of itself.

    Args:
        timeout: Seconds for each of three questions.

    Raises:
        ContainerFailed: None answers.
    """
    with connected(timeout=timeout) as client:
        client.ping()
        info, version = client.info(), client.version()
    return About(
        engine=_engine(info, version),
        runtimes=tuple(sorted(info.get("Runtimes") or {})),
        cgroup=str(info.get("CgroupVersion", "")),
        rootless=any("rootless" in each for each in info.get("SecurityOptions") or []),
        root=str(info.get("DockerRootDir", "")),
    )


def engine() -> Engine:
    """The container engine that answers, and whether it has CDI.

    Raises:
        ContainerFailed: None answers.
    """
    return about().engine


def _engine(info: Mapping[str, Any], version: Mapping[str, Any]) -> Engine:
    folders = tuple(Path(folder) for folder in info.get("CDISpecDirs") or [])
    if not any(part.get("Name") == "Podman Engine" for part in version.get("Components") or []):
        return Engine("Docker", version["Version"], folders)
    major, minor = (int(number) for number in re.findall(r"\d+", version["Version"])[:2])
    if (major, minor) < _PODMAN_WITH_CDI:
        return Engine("Podman", version["Version"])
    return Engine("Podman", version["Version"], folders or cdi.FOLDERS)
