"""Doors for others: engines, protocols and checks are found through Python entry points, those of this house too.

A package that is installed beside the harness adds one by an entry point of the group, in its ``pyproject.toml``:

    [project.entry-points."harness.checks"]
    time_to_first_token = "my_package.ttft:CHECK"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from harness.base.errors import UsageError

T = TypeVar("T")
_OURS = "inference-harness"


def found(group: str, fits: Callable[[str, object], T | None], what: str) -> Mapping[str, T]:
    """Everything behind the entry points of a group, by name: what this house brings first, then by name.

    Args:
        group: ``harness.engines``, ``harness.protocols`` or ``harness.checks``.
        fits: From the name and what was loaded to that, if it is what the group is for and has this name; else None.
        what: What that is, in words.

    Raises:
        UsageError: Something cannot be loaded, is something else, or has the name of another one; or there is nothing,
            because the harness itself is not installed.
    """
    result: dict[str, T] = {}
    for point in _points(group):
        where = f"entry point {point.name!r} of {group}, from {_from(point)}"
        if point.name in result:
            raise UsageError(f"{where}: there is another {point.name!r}; uninstall one of the two packages")
        try:
            loaded = fits(point.name, point.load())
        except Exception as error:  # whatever somebody else's module does while it is imported
            raise UsageError(f"{where}: {point.value} cannot be loaded: {type(error).__name__}: {error}") from error
        if loaded is None:
            raise UsageError(f"{where}: {point.value} is no {what} of this name; see docs/extending.md")
        result[point.name] = loaded
    if not result:
        raise UsageError(f"no entry point of {group} is installed; install the harness with pip, or use ./nox")
    return result


def names(group: str) -> tuple[str, ...]:
    """The names of a group's entry points, in the order of :func:`found`; nothing is loaded."""
    return tuple(dict.fromkeys(point.name for point in _points(group)))


def _points(group: str) -> list[EntryPoint]:
    return sorted(set(entry_points(group=group)), key=lambda each: (_from(each) != _OURS, each.name))


def _from(point: EntryPoint) -> str:
    """The distribution that brings an entry point."""
    return point.dist.name if point.dist else "an unknown package"
