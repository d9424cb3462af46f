"""Images: built with the docker client and BuildKit, which the Docker SDK cannot drive."""

from __future__ import annotations

import os
import shutil
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.mechanism import processes

_LAST_CLIENT_WITH_BUILDKIT = 22
"""From version 23 on the docker client leaves BuildKit to the buildx plugin."""


class BuildFailed(Exception):
    """The image could not be built; ``output`` is what the build wrote."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


@dataclass(frozen=True)
class Builder:
    """A docker client that can drive BuildKit.

    Attributes:
        argv: Command up to the options of a build.
        env: Variables it needs.
        how: For people.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    how: str


def builder(search_path: str | None = None) -> Builder:
    """The first docker client on the search path that can drive BuildKit: by buildx, or natively.

    Raises:
        BuildFailed: None can.
    """
    seen = []
    for folder in (search_path or os.environ.get("PATH", os.defpath)).split(os.pathsep):
        client = shutil.which("docker", path=folder)
        if client is None or os.path.realpath(client) in seen:
            continue
        seen.append(os.path.realpath(client))
        if processes.run([client, "buildx", "version"])[0] == 0:
            return Builder((client, "buildx", "build", "--load"), {}, f"{client} with buildx")
        status, version = processes.run([client, "version", "--format", "{{.Client.Version}}"])
        major = version.strip().splitlines()[-1].split(".")[0] if status == 0 and version.strip() else ""
        if major.isdigit() and int(major) <= _LAST_CLIENT_WITH_BUILDKIT:
            return Builder((client, "build"), {"DOCKER_BUILDKIT": "1"}, f"{client} with its own BuildKit")
    raise BuildFailed(
        f"no docker client here drives BuildKit (tried: {', '.join(seen) or 'none'}); install docker-buildx"
    )


def ca_bundle() -> Path | None:
    """The CA bundle that Python trusts here, which an intercepting proxy needs inside a build too."""
    found = ssl.get_default_verify_paths().cafile
    return Path(found) if found else None


def build(
    client: Builder,
    context: Path,
    *,
    dockerfile: str,
    tag: str,
    arguments: Mapping[str, str],
    labels: Mapping[str, str],
    secrets: Mapping[str, Path],
    extra: Sequence[str],
    on_tick: Callable[[str], None],
) -> None:
    """Build an image.

    Args:
        client: From :func:`builder`.
        context: Folder that is sent to the engine.
        dockerfile: Path in it.
        tag: Name of the image.
        arguments: Build arguments.
        labels: Labels of the image.
        secrets: Files that steps may read and no layer keeps.
        extra: Further options of the client.
        on_tick: Called at least once a second with the last line of output.

    Raises:
        BuildFailed: With all output.
    """
    argv = [*client.argv, "--progress", "plain", "--file", str(context / dockerfile), "--tag", tag]
    argv += [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    argv += [part for name, value in labels.items() for part in ("--label", f"{name}={value}")]
    argv += [part for name, path in secrets.items() for part in ("--secret", f"id={name},src={path}")]
    status, output = processes.run([*argv, *extra, str(context)], env=os.environ | dict(client.env), on_tick=on_tick)
    if status != 0:
        raise BuildFailed(f"docker build ended with status {status}", output)
