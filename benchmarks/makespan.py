"""How long whole matrices take on hosts of 8 accelerators, with the scheduler of `harness run --jobs`.

    python benchmarks/makespan.py [TIMES] > docs/evidence/makespan.md

Nothing is started: the scheduler decides, and a point takes what it is expected to, or what `harness learn RUNS --to
TIMES` has written down.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from harness.fleet import needs
from harness.fleet.jobs import Host, Job
from harness.fleet.learned import Learned
from harness.fleet.simulation import lower_bound, simulate
from harness.images.pinned_versions import version
from harness.run import learned_times
from harness.run.selection import matching

DEVICES = 8
ROOM = 139 << 30
"""Bytes of an accelerator that points may share: of an H200."""
CORES = 16
"""Processors of a host for each of its accelerators."""
HOSTS = (1, 2, 4)
HEAD = """\
# Whole matrices on hosts of 8 accelerators

Simulated with the scheduler of `harness run --jobs auto`: `python benchmarks/makespan.py`, which also says what the
matrices are. A point takes what its case expects. The bound is the largest of three: all device-seconds over all
devices; the longest point; what needs more than half of a host, over the hosts. No schedule is shorter. The last column
is what `--jobs 1` takes if the points are shared out evenly. Off: each point takes half to twice of what is expected,
and the scheduler does not know.

| matrix | points | hosts | bound (min) | makespan (min) | over bound | off: over bound | one by one (min) |
| --- | --- | --- | --- | --- | --- | --- | --- |"""


TINY = """
## Points that share an accelerator

Those of the matrix `cuda` that say what memory their servers are content with, on one host with 16 processors for each
accelerator: each server beside others, or with an accelerator to itself. A point that is alone on a host with too few
accelerators does not run there.

| accelerators | points | shared (min) | run alone | alone (min) |
| --- | --- | --- | --- | --- |"""


def recorded(times: Learned) -> list[Job]:
    """Every point that a session for CUDA runs."""
    found = matching(Path("baselines"), wanted=[], suite=None, platform="cuda", versions=version)
    running = times.applied(each for each in found if not each.skip and each.on_menu)
    return [needs.job(each, share=each.share) for each in running]


def synthetic(name: str, points: int, widths: list[int], seconds: list[float]) -> list[Job]:
    """Points of random shapes, the same each time."""
    chosen = random.Random(name)
    return [
        Job(f"{name} {number}", chosen.choice(seconds) * chosen.uniform(0.5, 1.5), width, width, width * 8 << 30)
        for number in range(points)
        for width in [chosen.choice(widths)]
    ]


def matrices(times: Learned) -> Iterator[tuple[str, list[Job]]]:
    """Names and points."""
    yield "cuda", recorded(times)
    yield "many small", synthetic("many small", 400, [1], [60, 90, 120])
    yield "mixed", synthetic("mixed", 200, [1, 1, 1, 1, 2, 2, 2, 4, 4, 8], [60, 120, 300, 900, 1800])
    yield "odd widths", synthetic("odd widths", 200, [1, 2, 3, 5, 6, 7], [60, 120, 300, 900])
    yield "few and long", synthetic("few and long", 40, [1, 2, 4, 8], [900, 1800, 3600])


def off(job: Job) -> float:
    """Seconds that a point takes if nobody knew: 0.5 to 2 times what is expected, the same each time."""
    share = int(hashlib.sha256(job.name.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    return job.seconds * 2 ** (2 * share - 1)


def over(jobs: list[Job], hosts: list[Host], takes: Callable[[Job], float]) -> tuple[float, float, float]:
    """Bound and makespan in seconds, and one over the other."""
    real = [replace(job, seconds=takes(job)) for job in jobs]
    bound, makespan = lower_bound(real, hosts), simulate(jobs, hosts, takes).makespan
    return bound, makespan, makespan / bound


def host(name: str, devices: int) -> Host:
    """A host with so many accelerators."""
    names = tuple(map(str, range(devices)))
    return Host(name, names, devices * CORES, 1 << 40, dict.fromkeys(names, ROOM))


def tiny(times: Learned) -> None:
    """Print what sharing saves."""
    shared = [job for job in recorded(times) if job.share]
    alone = [replace(job, share=0, cores=job.devices) for job in shared]
    print(TINY)
    for devices in (1, 2, 4, 8):
        hosts = [host("host", devices)]
        together, apart = simulate(shared, hosts), simulate(alone, hosts)
        found = [f"{len(each.ran)} | {each.makespan / 60:.0f}" for each in (together, apart)]
        print(f"| {devices} | {' | '.join(found)} |")


def main() -> None:
    """Print a row a matrix and number of hosts."""
    times = learned_times.existing(Path(sys.argv[1])) if len(sys.argv) > 1 else Learned()
    print(HEAD)
    for name, jobs in matrices(times):
        for count in HOSTS:
            hosts = [host(f"host {n}", DEVICES) for n in range(count)]
            bound, makespan, ratio = over(jobs, hosts, lambda job: job.seconds)
            alone = sum(job.seconds for job in jobs) / count
            print(
                f"| {name} | {len(jobs)} | {count} | {bound / 60:.0f} | {makespan / 60:.0f} | {ratio:.3f} | "
                f"{over(jobs, hosts, off)[2]:.3f} | {alone / 60:.0f} |"
            )
    tiny(times)


if __name__ == "__main__":
    main()
