"""Images: built with the docker client and BuildKit, which the Docker SDK cannot drive."""

from __future__ import annotations

import json
import os
import shutil
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.host import files, processes

_LAST_CLIENT_WITH_BUILDKIT = 22
"""From version 23 on the docker client leaves BuildKit to the buildx plugin."""

BAKE_FILE = "docker-bake.json"
_TARGET = "image"


class BuildFailed(Exception):
    """The image could not be built: why, what the build wrote, and what to do where that is known."""

    def __init__(self, reason: str, output: str = "", next_step: str = "") -> None:
        super().__init__(f"{reason}; {next_step}" if next_step else reason)
        self.reason = reason
        self.output = output


@dataclass(frozen=True)
class Builder:
    """A docker client that can drive BuildKit.

    Attributes:
        client: Path of the client.
        bake: It has buildx, and builds what a bake file says; else it drives BuildKit natively.
        allow: Its bake wants to be told which entitlements a build may have.
        how: For people.
    """

    client: str
    bake: bool
    how: str
    allow: bool = False


@dataclass(frozen=True)
class Target:
    """What is to be built.

    Attributes:
        context: Folder that is sent to the engine, with the Dockerfile in it.
        tag: Name of the image.
        arguments: Build arguments.
        labels: Labels of the image.
        secrets: Files that steps may read and no layer keeps.
        network: Of the steps, as ``docker build --network`` takes it.
        no_cache: Run every step anew.
    """

    context: Path
    tag: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    network: str = "default"
    no_cache: bool = False


def builder(search_path: str | None = None) -> Builder:
    """The first docker client on the search path that can drive BuildKit: by buildx bake, or natively.

    Raises:
        BuildFailed: None can.
    """
    seen = []
    for folder in (search_path or os.environ.get("PATH", os.defpath)).split(os.pathsep):
        client = shutil.which("docker", path=folder)
        if client is None or os.path.realpath(client) in seen:
            continue
        seen.append(os.path.realpath(client))
        # Not its help: a client without the plugin prints its own instead, and calls that a success.
        if processes.run([client, "buildx", "version"])[0] == 0:
            allow = "--allow" in processes.run([client, "buildx", "bake", "--help"])[1]
            return Builder(client, True, f"{client} buildx bake", allow)
        status, version = processes.run([client, "version", "--format", "{{.Client.Version}}"])
        major = version.strip().splitlines()[-1].split(".")[0] if status == 0 and version.strip() else ""
        if major.isdigit() and int(major) <= _LAST_CLIENT_WITH_BUILDKIT:
            return Builder(client, False, f"{client} build with its own BuildKit")
    raise BuildFailed(
        f"no docker client here drives BuildKit (tried: {', '.join(seen) or 'none'})", next_step="install docker-buildx"
    )


def ca_bundle() -> Path | None:
    """The CA bundle that Python trusts here, which an intercepting proxy needs inside a build too."""
    found = ssl.get_default_verify_paths().cafile
    return Path(found) if found else None


def bake_file(target: Target) -> str:
    """``target`` as a file for ``docker buildx bake``, JSON."""
    described = {
        "context": str(target.context),
        "dockerfile": "Dockerfile",
        "tags": [target.tag],
        "args": dict(target.arguments),
        "labels": dict(target.labels),
        "secret": [f"id={name},src={path}" for name, path in target.secrets.items()],
        "network": target.network,
        "no-cache": target.no_cache,
        "output": ["type=docker"],
    }
    # Bake expands templates in strings.
    text = json.dumps({"target": {_TARGET: described}}, indent=2)
    return text.replace("${", "$${").replace("%{", "%%{") + "\n"


def command(client: Builder, target: Target) -> list[str]:
    """The command that builds ``target``; with bake it reads :data:`BAKE_FILE` in the folder it runs in."""
    if client.bake:
        allowed = [f"fs.read={path}" for path in (target.context, *target.secrets.values())]
        allowed += ["network.host"] if target.network == "host" else []
        options = [part for each in allowed for part in ("--allow", each)] if client.allow else []
        return [client.client, "buildx", "bake", "--progress", "plain", "--file", BAKE_FILE, *options, _TARGET]
    argv = [client.client, "build", "--progress", "plain", "--file", str(target.context / "Dockerfile")]
    argv += ["--tag", target.tag, "--network", target.network]
    argv += [part for name, value in target.arguments.items() for part in ("--build-arg", f"{name}={value}")]
    argv += [part for name, value in target.labels.items() for part in ("--label", f"{name}={value}")]
    argv += [part for name, path in target.secrets.items() for part in ("--secret", f"id={name},src={path}")]
    return [*argv, *(["--no-cache"] if target.no_cache else []), str(target.context)]


def build(client: Builder, target: Target, folder: Path, on_tick: Callable[[str], None]) -> None:
    """Build an image.

    Args:
        client: From :func:`builder`.
        target: What to build.
        folder: Where the client runs, and a bake file is put.
        on_tick: Called at least once a second with the last line of output.

    Raises:
        BuildFailed: With all output.
    """
    if client.bake:
        files.write(folder / BAKE_FILE, bake_file(target))
    env = os.environ | ({} if client.bake else {"DOCKER_BUILDKIT": "1"})
    status, output = processes.run(command(client, target), env=env, folder=folder, on_tick=on_tick)
    if status != 0:
        raise BuildFailed(f"docker build ended with status {status}", output)
