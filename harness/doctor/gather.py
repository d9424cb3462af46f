"""Gathering what `harness doctor` judges: everything at the same time, nothing for long, nothing written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.base.clock import Deadline
from harness.base.domain import Platform
from harness.cases.serve_settings import Model
from harness.containers import cdi
from harness.datasets.pinned_files import Dataset
from harness.devices import accelerators as devices
from harness.doctor import gather_engines as engines
from harness.doctor.facts import Accelerators, ContainerEngine, DataFile, Facts, Folder, Folders, Reach, facts_of
from harness.host import data_files, hub, internet, machine
from harness.host.background import Later
from harness.images import registry
from harness.plan.data_needs import datasets
from harness.plan.points import Planned
from harness.run import model_sources, occupancy
from harness.run.prepare import Options

_ALL_TOGETHER = 5.0
"""Seconds after which whoever has not answered counts as silent."""


@dataclass(frozen=True)
class Looking:
    """Where to look.

    Attributes:
        options: As ``harness run`` takes them.
        runs: Folder of the run directories.
        offline: Ask nobody on the network.
    """

    options: Options
    runs: Path
    offline: bool = False


def gather(planned: Sequence[Planned], looking: Looking) -> Facts:
    """What there is on this machine for ``planned``.

    Raises:
        UsageError: The pins are wrong.
    """
    deadline = Deadline(_ALL_TOGETHER)
    platforms = sorted({each.platform for each in planned})
    wanted_data = list({each.file: each for one in planned for each in datasets(one.case)}.values())
    engine = Later(engines.about)
    assume_free = looking.options.assume_free
    accelerators = {
        name: Later(partial(_accelerators, name, assume_free=assume_free))
        for name in platforms
        if devices.of(name).has_devices
    }
    network = {} if looking.offline else _network(planned, looking, wanted_data)
    # The client that builds may ask the engine, which may not answer: only after it did.
    about = engine.within(deadline, f"no answer within {_ALL_TOGETHER:g} s")
    there = {
        name: found.within(deadline, Accelerators(problem=f"the driver did not answer within {_ALL_TOGETHER:g} s"))
        for name, found in accelerators.items()
    }
    container = engines.container(about, there)
    memory, available = machine.memory()
    system, kernel, processor = machine.system()
    return Facts(
        python=machine.python(),
        system=system,
        kernel=kernel,
        processor=processor,
        cpus=machine.cpus(),
        memory_bytes=memory,
        available_bytes=available,
        shm_bytes=machine.shared_memory(),
        cdi=dict(Counter(name.partition("=")[0] for name in cdi.devices(cdi.FOLDERS))),
        folders=_folders(looking, container),
        token=bool(hub.question()[1]),
        models={facts_of(model): model_sources.is_here(model) for model in _models(planned) if not model.known_answer},
        data={each.file: DataFile(data_files.problem(each), data_files.is_fetched(each)) for each in wanted_data},
        engines=engines.sources(planned, looking.options, container, deadline),
        noxfile=Path("noxfile.py").is_file(),
        container=container,
        accelerators=there,
        network={
            name: Reach(where, found.within(deadline, f"no answer within {_ALL_TOGETHER:g} s"))
            for name, (where, found) in network.items()
        },
    )


def _models(planned: Iterable[Planned]) -> list[Model]:
    found = {f"{model.name}@{model.revision}": model for each in planned for model in each.case.models()}
    return [found[name] for name in sorted(found)]


def _accelerators(platform: Platform, *, assume_free: bool) -> Accelerators:
    seen = devices.look(platform)
    used = {device.name: occupancy.foreign(platform, device) for device in seen.devices}
    return Accelerators(
        devices=seen.devices,
        driver=devices.of(platform).driver(),
        problem=seen.problem,
        next_step=seen.next_step,
        said=seen.said if seen.devices else (),
        taken={name: each.user for name, each in used.items() if each.user},
        unknown={name: each.unknown for name, each in used.items() if each.unknown and not assume_free},
    )


def _folders(looking: Looking, container: ContainerEngine) -> Folders:
    def folder(path: Path) -> Folder:
        return Folder(str(path), *machine.folder(path))

    return Folders(
        runs=folder(looking.runs),
        cache=folder(data_files.cache_folder("")),
        environments=folder(looking.options.environments),
        hub=folder(hub.cache_folder()),
        images=Folder(container.root, machine.free(container.root)) if container.root else None,
    )


def _network(
    planned: Iterable[Planned], looking: Looking, wanted: Iterable[Dataset]
) -> dict[str, tuple[str, Later[str]]]:
    """Everybody who is needed, being asked, by what for."""
    found: dict[str, tuple[str, Later[str]]] = {}

    def ask(name: str, url: str, token: str = "", *, login: bool = False) -> None:
        question = Later(lambda: internet.problem(url, engines.ONE_ANSWER, token, login=login))
        found[name] = (internet.host(url), question)

    if any(model.repo for each in planned for model in each.case.models()):
        if hub.is_offline():
            found["hub"] = ("hub", Later(lambda: "HF_HUB_OFFLINE is set"))
        else:
            ask("hub", *hub.question())
    if index := machine.package_index():
        ask("packages", f"{index.rstrip('/')}/pip/")
    for dataset in list(wanted)[:1]:
        ask("data", dataset.url)
    build = looking.options.build
    for engine, platform in {(each.case.engine.name, each.platform) for each in planned}:
        name = engines.registry_of(engines.base(engine, platform, build)[0])
        if name:
            ask(name, registry.address(name.removeprefix(engines.REGISTRY)), login=True)
    return found
