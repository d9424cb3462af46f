"""``--ray``: points on the hosts of a cluster, what is sent there, and what the harness of one of them is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from harness.base.errors import HarnessError, UsageError
from harness.cli.crew import at_a_time, command
from harness.cli.options import BuildOptions, RunOptions, own_models
from harness.cli.what_runs import CaseOptions

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from harness.plan.points import Planned
    from harness.run.prepare import Options
    from harness.run.side_by_side import Crew

    Group = TypeVar("Group", bound=DataclassInstance)

_CASES, _REFERENCE = "baselines", "reference"
"""Folders on every host; the first is where the harness of a point looks without being told."""


def crew_on_ray(
    address: str,
    jobs: str | None,
    chosen: Sequence[Planned],
    options: Options,
    where: RunOptions,
    how: BuildOptions,
    which: CaseOptions,
    *,
    devices: int | None,
    keep: bool,
    told: Callable[..., list[str]],
) -> Crew | None:
    """Who runs the points on the hosts of a Ray cluster; None where each has its servers on several of them.

    Args:
        address: Of the cluster.
        jobs: ``--jobs``, or None without it.
        chosen: The points.
        options: How they are run.
        where: The same, as the command line says it.
        how: The same.
        which: The same, of the points.
        devices: Accelerators that may be used at a time.
        keep: Whether servers are left running.
        told: Makes the words of a command line of options that are different there.

    Raises:
        UsageError: An option makes no sense there, or Ray is not installed.
        CannotJudge: The cluster cannot be joined.
    """
    from harness.hosts.agent import pack
    from harness.hosts.ray_cluster import connect
    from harness.run.on_cluster import OnCluster, Sent
    from harness.run.side_by_side import Crew

    if keep:
        raise UsageError("--keep: not with --ray: nobody could stop the servers there; leave it out")
    if options.attachment is not None:
        raise UsageError("--url and --attach: not with --ray: their servers run already; leave it out")
    if options.reuse:
        raise UsageError("--reuse: not with --ray: earlier runs are not sent there; leave it out")
    if any(each.case.topology.spread for each in chosen if not each.skip):
        return None
    most = at_a_time(jobs)
    todo = [each for each in chosen if not each.skip]
    platform = todo[0].platform
    words = told(
        replace(_absolute(where), environments=where.environments.absolute()),
        _absolute(how),
        replace(which, cases=Path(_CASES), model=[f"{name}={path}" for name, path in own_models(which.model)] or None),
        reference=_REFERENCE if options.reference else None,
    )
    folders = {_CASES: pack(which.cases)}
    if options.reference:
        folders[_REFERENCE] = pack(options.reference)
    sent = Sent(folders, _data(todo))
    cluster = connect(address)
    told_there = command(platform, words)
    return Crew(lambda runs, note: OnCluster(cluster, platform, told_there, sent, runs, devices, note), most)


def _absolute(group: Group) -> Group:
    """The same paths from anywhere: there they mean what they mean here."""
    found = {each.name: value for each in fields(group) if isinstance(value := getattr(group, each.name), Path)}
    return replace(group, **{name: path.absolute() for name, path in found.items()})


def _data(points: Iterable[Planned]) -> dict[str, bytes]:
    """Data files of the points, if all are to be had here; else each host gets its own."""
    from harness.host.data_files import fetch
    from harness.plan.data_needs import datasets

    needed = dict.fromkeys(found for each in points for found in datasets(each.case))
    try:
        return {dataset.file: fetch(dataset).read_bytes() for dataset in needed}
    except HarnessError:
        return {}
