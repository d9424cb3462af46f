"""What killed harnesses may have left: run directories, half-written files, labelled processes and containers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from harness.base.errors import UsageError
from harness.containers import lifecycle
from harness.containers.lifecycle import Ours
from harness.host import files, ownership
from harness.host.identity import Identity, describe
from harness.host.ownership import Label, Owner
from harness.host.processes import Started
from harness.run.rundir import RunDir, Servers


class _Runtime(BaseModel):
    kind: Literal["local", "docker", "attached"]


class Claim(BaseModel):
    """What counts here of ``case.json``. The rest may be of another version."""

    run_id: str
    owner: Owner | None
    folder: str = ""
    runtime: _Runtime | None = None

    @property
    def in_container(self) -> bool:
        """Whether its stages run in a container."""
        return self.runtime is not None and self.runtime.kind == "docker"


@dataclass(frozen=True)
class Left:
    """What there is of one run directory, the directory itself perhaps not.

    Attributes:
        folder: The run directory.
        below: Whether it was found below the folder that was asked for, and not by a label alone.
        claim: Whose it is; None if the directory is gone, is a copy, or cannot be read.
        unreadable: Why ``case.json`` cannot be read; empty if it can, or is not there.
        containers: That carry its label.
        processes: That carry its label.
    """

    folder: Path
    below: bool
    claim: Claim | None
    unreadable: str
    containers: list[Ours]
    processes: dict[Identity, Label]

    @property
    def labels(self) -> set[Label]:
        """Everything of it that lives, says these."""
        return {each.label for each in self.containers} | set(self.processes.values())

    @property
    def owners(self) -> list[Owner]:
        """Who will stop it: on record, or, where there is no record, in the labels."""
        named = [self.claim.owner] if self.claim else [Owner.parse(label.owner) for label in self.labels]
        return [owner for owner in named if owner]

    @property
    def run_ids(self) -> set[str]:
        """Of what is there."""
        return {label.run_id for label in self.labels} | ({self.claim.run_id} if self.claim else set())

    @property
    def kept(self) -> bool:
        """Whether its servers were kept on purpose: its directory stands for it, and nobody else."""
        return self.claim is not None and self.claim.owner is None

    @property
    def named(self) -> str:
        """What lives of it, in words."""
        if self.containers:
            return f"container {', '.join(each.id[:12] for each in self.containers)}"
        return ", ".join(sorted(map(describe, self.processes)))

    def servers(self) -> list[Started]:
        """On record.

        Raises:
            UsageError: ``servers.json`` cannot be read.
        """
        document = RunDir(self.folder).read("servers", Servers)
        # Once they were stopped they are history. Pids in a container's record count in that container.
        found = document.servers if document and not document.stopped else []
        return [each.process for each in found if each.process]


@dataclass
class Search:
    """What lies below a folder.

    Attributes:
        folders: Run directories.
        parts: Files that somebody was writing.
        unreadable: Folders that cannot be looked into, each with the reason.
    """

    folders: list[Path] = field(default_factory=list)
    parts: list[Path] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def search(root: Path) -> Search:
    """Look through everything below ``root`` but what servers wrote themselves; links are not followed."""
    found = Search()
    waiting = [os.path.realpath(root)]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            found.unreadable.append(f"{folder}: {error.strerror}")
            continue
        names = {entry.name for entry in listed}
        if RunDir.CASE in names:
            found.folders.append(Path(folder))
        found.parts += [Path(entry.path) for entry in listed if files.writer(entry.name)]
        theirs = "cwd" if RunDir.CASE in names else ""
        waiting += [each.path for each in listed if each.is_dir(follow_symlinks=False) and each.name != theirs]
    return found


def containers_of_ours() -> tuple[list[Ours], str]:
    """Containers that carry our label, and why there may be more; empty if there are no more."""
    if reason := lifecycle.unavailable():
        return [], reason
    try:
        return lifecycle.ours(), ""
    except lifecycle.ContainerFailed as error:
        return [], str(error)


def everything(below: list[Path], held: list[Ours]) -> Iterator[Left]:
    """What is left in the run directories ``below``, and of all that labels on this machine name: ``held`` too."""
    living = ownership.labels()
    named = {Path(label.folder) for label in (*(each.label for each in held), *living.values())}
    claims = {folder: _claim(folder) for folder in (*below, *named)}
    for folder in sorted(claims):
        claim, unreadable = claims[folder]
        mine = [each for each in held if Path(each.label.folder) == folder]
        processes = {each: label for each, label in living.items() if Path(label.folder) == folder}
        if claim and claim.folder not in ("", str(folder)):
            claim = None  # a copy: what it says is the original's
        elif claim is None and not unreadable:
            # It may have been moved, with servers that were kept.
            run_ids = {each.label.run_id for each in mine} | {label.run_id for label in processes.values()}
            moved = (each for each, _ in claims.values() if each and each.folder == str(folder))
            claim = next((each for each in moved if each.run_id in run_ids), None)
        yield Left(folder, folder in below, claim, unreadable, mine, processes)


def _claim(folder: Path) -> tuple[Claim | None, str]:
    try:
        return RunDir(folder).read("case", Claim), ""
    except UsageError as error:
        return None, str(error)
    except Exception as error:  # noqa: BLE001 # whatever is in it, it is one of many
        return None, f"{folder / RunDir.CASE}: {type(error).__name__}"
