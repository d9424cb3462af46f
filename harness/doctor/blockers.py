"""Why a point of a case cannot run on a machine: one rule for each thing that it needs."""

from __future__ import annotations

from typing import Literal

from harness.base.device_architectures import suits
from harness.cases.model import Case
from harness.devices import accelerators
from harness.doctor import missing_models, setting_libraries
from harness.doctor.facts import Accelerators, DataFile, Facts, Source
from harness.doctor.obstacle import GIB, RUN_BYTES, Obstacle, gib, space
from harness.engines import ENGINES
from harness.plan.data_needs import datasets
from harness.plan.points import NO_SET, Planned

Way = Literal["docker", "local"]

_SERVER_BYTES = 2 * GIB
"""Memory of the host that a server takes at least, with PyTorch loaded and a tiny model; 1 GiB of KV cache on top
where the host is the device, as `baselines/_defaults.toml` sets it."""

_LOCKED_FOR = ("Linux", "x86_64")
"""What the requirements below docker/requirements are resolved for."""


def of(each: Planned, facts: Facts, way: Way) -> Obstacle | None:
    """The first thing that keeps a point from running; what money buys first, what a command mends last."""
    case = each.case
    if each.skip.startswith(NO_SET):
        return Obstacle("checkpoints", each.skip, "leave out --checkpoints")
    return (
        _devices(each, facts)
        or _memory(each, facts)
        or (_container(each, facts) if way == "docker" else _environment(each, facts))
        or (_library(each, facts) if way == "local" else None)
        or missing_models.obstacle(case, facts)
        or _data(case, facts)
        or _writable(facts)
    )


def _devices(each: Planned, facts: Facts) -> Obstacle | None:
    needed, platform = each.least_devices, each.platform
    if not needed:
        return None
    found = facts.accelerators.get(platform, Accelerators())
    if not found.devices:
        here = f"; on this machine: {facts.command(twin, 'cpu')}" if (twin := _twin(each.case)) else ""
        next_step = found.next_step or f"a host with {accelerators.of(platform).host}"
        return Obstacle("devices", f"no {platform} device: {found.problem}", f"{next_step}{here}")
    if len(found.devices) < needed:
        there = f"needs {needed} {platform} devices, there are {len(found.devices)}"
        there = ": ".join(filter(None, (there, "; ".join(found.said))))
        return Obstacle("devices", there, f"a host with {needed} {platform} devices")
    return _suitable(each, found, needed)


def _suitable(each: Planned, found: Accelerators, needed: int) -> Obstacle | None:
    """Whether enough of the devices will do: whole ones where a server needs several, large enough, and free."""
    largest = max(ENGINES[each.case.engine.name].devices(each.case.serve_of(role)) for role in each.case.topology.roles)
    usable = [device for device in found.devices if largest == 1 or not device.whole]
    if len(usable) < needed:
        return Obstacle(
            "slices",
            f"a server needs {largest} devices at once, and a process sees only one MIG slice",
            f"turn MIG off, or a host with {needed} whole devices",
        )
    wanted = each.case.device_memory_gib
    large = [device for device in usable if not 0 < device.memory_bytes < wanted * GIB]
    if len(large) < needed:
        most = max(device.memory_bytes for device in usable) / GIB
        return Obstacle(
            "device memory",
            f"needs {needed} devices with {wanted} GiB, {len(large)} have that; the largest has {most:.0f}",
            "a host with larger devices",
        )
    kinds = each.case.device_architectures
    suited = [device for device in large if suits(device.architecture, kinds)]
    if len(suited) < needed:
        there = sorted({device.architecture for device in large if device not in suited})
        return Obstacle(
            "device architecture",
            f"needs {needed} devices that are {' or '.join(kinds)}, {len(suited)} are; others are {', '.join(there)}",
            f"a host with {' or '.join(kinds)}",
        )
    taken = [found.taken[device.name] for device in suited if device.name in found.taken]
    unknown = [found.unknown[device.name] for device in suited if device.name in found.unknown]
    free = len(suited) - len(taken) - len(unknown)
    if free >= needed:
        return None
    enough = free + len(unknown) >= needed
    return Obstacle(
        "devices that may be in use" if enough else "devices in use",
        f"needs {needed} devices, {free} of {len(suited)} are free: {(unknown if enough else taken)[0]}",
        "--assume-free, if you know that nobody uses them" if enough else "wait until they are free",
    )


def _twin(case: Case) -> str:
    """The suite with a case that shows the same on a CPU."""
    return "" if not case.cpu_twin or case.cpu_twin.startswith("none") else case.cpu_twin.split("/")[0]


def _memory(each: Planned, facts: Facts) -> Obstacle | None:
    servers = sum(each.case.topology.roles.values())
    needed = servers * (_SERVER_BYTES + (0 if accelerators.of(each.platform).has_devices else GIB))
    if facts.available_bytes >= needed:
        return None
    return Obstacle(
        "memory",
        f"{servers} servers need {gib(needed)} of memory, {gib(facts.available_bytes)} are available",
        "end other programs, or use a host with more",
    )


def _container(each: Planned, facts: Facts) -> Obstacle | None:
    """What keeps the engine from running in a container."""
    engine = facts.container
    if engine.problem:
        return Obstacle("engine", "no container engine answers", "start Docker or Podman")
    if problem := engine.refused.get(each.platform):
        return Obstacle("passthrough", problem.reason, problem.next_step)
    source = source_of(each, facts)
    return None if source.image else _image(each, source, facts)


def _image(each: Planned, source: Source, facts: Facts) -> Obstacle | None:
    """What keeps the image from being built."""
    if source.base_problem.reason:
        return Obstacle("engine", source.base_problem.reason, source.base_problem.next_step)
    if not source.base_holds_engine and not source.locked:
        return _no_engine(each)
    if not source.base_holds_engine and facts.processor != _LOCKED_FOR[1]:
        return _other_machine(each, facts)
    if facts.container.builder_problem:
        return Obstacle("builder", f"no image yet, and {facts.container.builder_problem}", "install docker-buildx")
    reach = facts.network.get(source.registry)
    if not source.base_here and (reach is None or reach.problem):
        why = f"{reach.host}: {reach.problem}" if reach else "no registry was asked"
        return Obstacle(
            "base image",
            f"no image yet, and its base {source.base.partition('@')[0]} is not here; {why}",
            "docker load it from elsewhere, or name one that is here with --base-image",
        )
    return _packages("an image", facts) or space(
        facts.folders.images,
        accelerators.of(each.platform).image_bytes,
        "an image",
        "docker system df shows what takes it",
    )


def _environment(each: Planned, facts: Facts) -> Obstacle | None:
    """What keeps the engine from running on the machine itself."""
    source = source_of(each, facts)
    if source.given_problem:
        return Obstacle("engine", source.given_problem, "name the interpreter of an environment with the engine")
    if not source.given and not source.environment:
        if not source.locked:
            return _no_engine(each)
        if (facts.system, facts.processor) != _LOCKED_FOR:
            return _other_machine(each, facts)
        missing = _packages(each.case.engine.name, facts) or space(
            facts.folders.environments,
            accelerators.of(each.platform).environment_bytes,
            "an engine",
            "name another folder with --environments",
        )
        if missing:
            return missing
    many = sum(each.case.topology.roles.values()) > 1 or each.devices > 1
    needed = int(each.case.container.shm_gib * GIB)  # what the case has in a container, it needs here too
    if many and (facts.shm_bytes or 0) < needed:
        return Obstacle(
            "shared memory",
            f"needs {gib(needed)} of /dev/shm, {gib(facts.shm_bytes or 0)} are free",
            "mount -o remount,size=2g /dev/shm; inside a container: --shm-size 2g",
        )
    return None


def _no_engine(each: Planned) -> Obstacle:
    return Obstacle(
        "engine",
        f"no {each.case.engine.name} for {each.platform} comes with the harness",
        "name yours with --engine-python, or with --base-image an image that holds it",
    )


def _other_machine(each: Planned, facts: Facts) -> Obstacle:
    return Obstacle(
        "machine",
        f"{each.case.engine.name} is locked for {' '.join(_LOCKED_FOR)}, this is {facts.system} {facts.processor}",
        "name yours with --engine-python, or use another host",
    )


def _packages(what: str, facts: Facts) -> Obstacle | None:
    reach = facts.network.get("packages")
    if reach and not reach.problem:
        return None
    why = f"the package index {reach.host}: {reach.problem}" if reach else "nobody was asked"
    return Obstacle(
        "packages",
        f"{what} is not installed yet; {why}",
        "connect it once, or name your engine with --engine-python",
    )


def _library(each: Planned, facts: Facts) -> Obstacle | None:
    what = setting_libraries.missing(each.case, source_of(each, facts))
    return Obstacle("library", what, "install it there, or --base-image with an image that has it") if what else None


def _data(case: Case, facts: Facts) -> Obstacle | None:
    reach = facts.network.get("data")
    for dataset in datasets(case):
        file = facts.data.get(dataset.file, DataFile())
        if not file.problem or (file.fetched and reach and not reach.problem):
            continue
        why = f"; {reach.host}: {reach.problem}" if reach and file.fetched else ""
        return Obstacle("data", f"{file.problem}{why}", f"put {dataset.file} into a folder that HARNESS_DATA_DIR names")
    return None


def _writable(facts: Facts) -> Obstacle | None:
    folders = facts.folders
    for folder, what, option in (
        (folders.runs, "run directories", "--runs"),
        (folders.cache, "the cache", "XDG_CACHE_HOME"),
    ):
        if found := space(folder, RUN_BYTES, what, f"name another folder by {option}"):
            return found
    return None


def source_of(each: Planned, facts: Facts) -> Source:
    return facts.engines.get(_key(each), Source())


def _key(each: Planned) -> str:
    return f"{each.case.engine.name}-{each.platform}"
