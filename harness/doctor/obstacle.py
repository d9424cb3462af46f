"""Why a point cannot run on a machine: the form of the answer, and the one reason that many rules have in common."""

from __future__ import annotations

from dataclasses import dataclass

from harness.doctor.facts import Folder

GIB = 1 << 30
RUN_BYTES = GIB
"""Free space for run directories: logs, samples and counters take megabytes."""


@dataclass(frozen=True)
class Obstacle:
    """Why a point cannot run.

    Attributes:
        kind: Of what there is too little: points that fail for the same kind are told together.
        reason, next_step: One line each.
    """

    kind: str
    reason: str
    next_step: str


def space(folder: Folder | None, needed: int, what: str, next_step: str) -> Obstacle | None:
    """The obstacle that a folder is full or cannot be written; None if ``needed`` bytes are free, or nobody knows."""
    if folder is None or (not folder.problem and (folder.free_bytes is None or folder.free_bytes >= needed)):
        return None
    reason = folder.problem or f"{gib(folder.free_bytes or 0)} are free, {what} needs about {gib(needed)}"
    return Obstacle("disk", f"{folder.path}: {reason}", next_step)


def gib(amount: int) -> str:
    """Bytes for people."""
    return f"{amount / GIB:.3g} GiB"
