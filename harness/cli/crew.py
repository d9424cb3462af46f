"""``--jobs``: how many points run at a time, and what the harness of one of them is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.base.errors import UsageError
from harness.base.settings import cut
from harness.cli.options import given_options

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from harness.base.domain import Platform
    from harness.plan.points import Planned
    from harness.run.places import Command
    from harness.run.prepare import Options
    from harness.run.side_by_side import Crew

AUTO = "auto"
_MOST = 1024


def at_a_time(given: str | None) -> int | None:
    """Points at a time; None: as many as there is room for.

    Raises:
        UsageError: It is neither a number of them nor ``auto``.
    """
    if given in (None, AUTO):
        return None
    if given.isascii() and given.isdecimal() and 1 <= int(given) <= _MOST:
        return int(given)
    raise UsageError(f"--jobs {cut(given)}: must be {AUTO}, or a number from 1 to {_MOST}")


def crew(
    given: str | None,
    chosen: Sequence[Planned],
    options: Options,
    *,
    devices: int | None,
    keep: bool,
    told: Sequence[str],
) -> Crew | None:
    """Who runs the points side by side; None where they run one after the other, in this process.

    Args:
        given: ``--jobs``, or None without it: side by side where there are several accelerators.
        chosen: The points.
        options: How they are run.
        devices: Accelerators that may be used.
        keep: Whether servers are left running.
        told: Options that the harness of every point has, too.

    Raises:
        UsageError: Several at a time make no sense here.
    """
    from harness.devices import accelerators
    from harness.run.places import Here
    from harness.run.side_by_side import Crew

    most = at_a_time(given)
    todo = [each for each in chosen if not each.skip]
    alone = "--keep: its servers would keep what the next points need" if keep else ""
    if options.attachment is not None:
        alone = "--url and --attach: points that share servers would measure one another"
    if alone and given not in (None, "1"):
        raise UsageError(f"--jobs {given}: not with {alone}; leave it out")
    if alone or most == 1 or len(todo) < 2:
        return None
    platform = todo[0].platform
    if given is None:
        there = len(accelerators.look(platform).devices)
        sharing = sum(1 for each in todo if each.share)
        if min(there, there if devices is None else devices) < (1 if sharing > 1 else 2):
            return None

    return Crew(lambda runs, note: Here(platform, command(platform, told), options, runs, devices, note), most)


def command(platform: Platform, told: Sequence[str]) -> Command:
    """What the harness of a point is told.

    Args:
        platform: Of all points.
        told: Options that all have.
    """
    return lambda each: ["point", each.point, "--platform", platform, *told]


def arguments(*groups: DataclassInstance, **single: object) -> list[str]:
    """The words of a command line that give the options of groups, and single ones, as far as they were given."""
    given: list[tuple[str, object]] = [pair for group in groups for pair in given_options(group)]
    given += [(f"--{name.replace('_', '-')}", value) for name, value in single.items() if value]
    return [word for name, value in given for word in _words(name, value)]


def _words(name: str, value: object) -> list[str]:
    if value is True:
        return [name]
    values = value if isinstance(value, list) else [value]
    return [word for each in values for word in (name, str(each))]
