"""Gathering what `harness doctor` judges: everything at the same time, nothing for long, nothing written."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from harness.ground.clock import Deadline
from harness.ground.domain import VISIBLE_DEVICES
from harness.ground.errors import CannotJudge, UsageError
from harness.mechanism import containers, devices, environments, files, host, hub, images, reach, registry, store
from harness.mechanism.later import Later
from harness.policy.cases.model import UNRESOLVED, Model
from harness.policy.datasets import Dataset
from harness.policy.known_answer.checkpoints import CHECKPOINTS
from harness.policy.machine import (
    Accelerators,
    ContainerEngine,
    DataFile,
    Facts,
    Folder,
    Folders,
    Reach,
    Source,
)
from harness.policy.plan import Planned
from harness.policy.protocols import datasets
from harness.run import data, image, pins, source
from harness.run.prepare import Options

_ALL_TOGETHER = 5.0
"""Seconds after which whoever has not answered counts as silent."""

_ONE_ANSWER = 3
"""Seconds that a server has to connect, and to answer."""

_HOOK = "nvidia-container-runtime-hook"
_REGISTRY = "registry "


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
    wanted_data = _datasets(planned)
    engine = Later(_about)
    accelerators = {name: Later(partial(_accelerators, name)) for name in platforms if name in VISIBLE_DEVICES}
    network = {} if looking.offline else _network(planned, looking, wanted_data)
    # The client that builds may ask the engine, which may not answer: only after it did.
    about = engine.within(deadline, f"no answer within {_ALL_TOGETHER:g} s")
    container = _container(about)
    memory, available = host.memory()
    system, kernel, processor = host.system()
    return Facts(
        python=host.python(),
        system=system,
        kernel=kernel,
        processor=processor,
        cpus=host.cpus(),
        memory_bytes=memory,
        available_bytes=available,
        shm_bytes=host.shared_memory(),
        cdi=host.cdi(),
        folders=_folders(looking, container),
        token=bool(hub.question()[1]),
        models={
            f"{model.repo}@{model.revision}": hub.cached(model.repo, model.revision or "") is not None
            for model in _models(planned)
            if model.repo and model.revision != UNRESOLVED
        },
        data={each.file: DataFile(data.problem(each), data.is_fetched(each)) for each in wanted_data},
        engines=_sources(planned, looking, container, deadline),
        container=container,
        accelerators={
            name: found.within(deadline, Accelerators(problem=f"the driver did not answer within {_ALL_TOGETHER:g} s"))
            for name, found in accelerators.items()
        },
        network={
            name: Reach(where, found.within(deadline, f"no answer within {_ALL_TOGETHER:g} s"))
            for name, (where, found) in network.items()
        },
    )


def _models(planned: Iterable[Planned]) -> list[Model]:
    found = {f"{model.name}@{model.revision}": model for each in planned for model in each.case.models()}
    return [found[name] for name in sorted(found)]


def _datasets(planned: Iterable[Planned]) -> list[Dataset]:
    """What the cases ask from, and what their known-answer checkpoints are made from."""
    found: dict[str, Dataset] = {}
    for each in planned:
        made = [CHECKPOINTS[model.known_answer].datasets for model in each.case.models() if model.known_answer]
        for dataset in (*datasets(each.case.evaluation), *(one for group in made for one in group)):
            found[dataset.file] = dataset
    return list(found.values())


def _accelerators(platform: str) -> Accelerators:
    try:
        found = tuple(devices.visible(platform))
    except devices.NoSuchDevice as error:
        return Accelerators((), devices.driver(platform), str(error))
    problem = {"cuda": "NVIDIA's driver does not answer", "rocm": "the amdgpu driver shows none"}[platform]
    return Accelerators(found, devices.driver(platform), "" if found else problem)


def _about() -> containers.About | str:
    try:
        return containers.about(_ONE_ANSWER)
    except containers.ContainerFailed as error:
        return str(error)


def _container(about: containers.About | str) -> ContainerEngine:
    if isinstance(about, str):
        return ContainerEngine(problem=about)
    builder, builder_problem = "", ""
    try:
        builder = images.builder().how
    except images.BuildFailed as error:
        builder_problem = str(error).partition(";")[0]
    nvidia = "its runtime nvidia" if "nvidia" in about.runtimes else f"{_HOOK}" if shutil.which(_HOOK) else ""
    return ContainerEngine(
        version=about.version,
        builder=builder,
        builder_problem=builder_problem,
        cdi=about.cdi,
        nvidia=nvidia,
        runtimes=about.runtimes,
        cgroup=about.cgroup,
        rootless=about.rootless,
        root=about.root,
    )


def _folders(looking: Looking, container: ContainerEngine) -> Folders:
    def folder(path: Path) -> Folder:
        return Folder(str(path), *host.folder(path))

    return Folders(
        runs=folder(looking.runs),
        cache=folder(data.cache_folder("")),
        environments=folder(looking.options.environments),
        hub=folder(hub.cache_folder()),
        images=Folder(container.root, host.free(container.root)) if container.root else None,
    )


def _sources(
    planned: Iterable[Planned], looking: Looking, container: ContainerEngine, deadline: Deadline
) -> dict[str, Source]:
    pairs = sorted({(each.case.engine.name, each.platform) for each in planned})
    found: dict[tuple[str, str], Source] = {pair: _source(*pair, looking) for pair in pairs}
    if not container.problem:
        found |= _in_engine({pair: one for pair, one in found.items() if one.base}, looking.options.build, deadline)
    return {f"{engine}-{platform}": source for (engine, platform), source in found.items()}


def _in_engine(
    found: dict[tuple[str, str], Source], build: image.Build, deadline: Deadline
) -> dict[tuple[str, str], Source]:
    """The same, with what the container engine has: the base, and the image as it would be built now."""
    bases = {pair: Later(partial(_image_id, one.base)) for pair, one in found.items()}
    names: dict[tuple[str, str], str] = {}
    for pair, one in found.items():
        here = bases[pair].within(deadline, None)
        found[pair] = replace(one, base_here=here is not None)
        base_id = one.base if "@" in one.base else here
        if base_id and (one.locked or one.base_holds_engine):
            with suppress(UsageError, CannotJudge, OSError):  # then there is no such image
                names[pair] = image.name(*pair, build, base_id)
    images_here = {pair: Later(partial(_image_id, name)) for pair, name in names.items()}
    for pair, later in images_here.items():
        if later.within(deadline, None):
            found[pair] = replace(found[pair], image=names[pair])
    return found


def _image_id(reference: str) -> str | None:
    try:
        return store.image_id(reference)
    except containers.ContainerFailed:
        return None


def _source(engine: str, platform: str, looking: Looking) -> Source:
    options = looking.options
    given = options.engine_python
    if given is not None:
        usable = given.is_file() and shutil.which(given) is not None
        return Source(given=str(given), given_problem="" if usable else f"{given}: no interpreter there")
    try:
        lock = image.requirements(engine, platform)
    except UsageError:
        lock = None
    environment = ""
    if lock is not None:
        folder = options.environments / f"engine-{engine}-{platform}"
        script = source.root() / "docker" / "install-engine.sh"
        if environments.installed(folder, files.digest(script, lock)):
            environment = str(folder / "bin" / "python")
    base, holds, problem = _base(engine, platform, options.build)
    return Source(
        environment=environment,
        locked=lock is not None,
        base=base,
        base_problem=problem,
        base_holds_engine=holds,
        registry=_registry_of(base),
    )


def _base(engine: str, platform: str, build: image.Build) -> tuple[str, bool, str]:
    """Reference of the base image, whether it holds the engine, and why there is none."""
    if build.base_image:
        return build.base_image, platform != "cpu", ""
    try:
        found = pins.base(engine, platform, allow_unpinned=build.allow_unpinned, mirror=build.registry)
    except UsageError as error:
        return "", False, str(error).removeprefix(f"{pins.FILE}: ")
    return found.reference, found.holds_engine, ""


def _registry_of(reference: str) -> str:
    """Key of a registry among the servers that are asked; an image without one is not pulled from anywhere known."""
    first, slash, _ = reference.partition("/")
    return f"{_REGISTRY}{first}" if slash and ("." in first or ":" in first or first == "localhost") else ""


def _network(
    planned: Iterable[Planned], looking: Looking, wanted: Iterable[Dataset]
) -> dict[str, tuple[str, Later[str]]]:
    """Everybody who is needed, being asked, by what for."""
    found: dict[str, tuple[str, Later[str]]] = {}

    def ask(name: str, url: str, token: str = "", *, login: bool = False) -> None:
        question = Later(lambda: reach.problem(url, _ONE_ANSWER, token, login=login))
        found[name] = (reach.host(url), question)

    if any(model.repo for each in planned for model in each.case.models()):
        if hub.is_offline():
            found["hub"] = ("hub", Later(lambda: "HF_HUB_OFFLINE is set"))
        else:
            ask("hub", *hub.question())
    if index := host.package_index():
        ask("packages", f"{index.rstrip('/')}/pip/")
    for dataset in list(wanted)[:1]:
        ask("data", dataset.url)
    build = looking.options.build
    for engine, platform in {(each.case.engine.name, each.platform) for each in planned}:
        name = _registry_of(_base(engine, platform, build)[0])
        if name:
            ask(name, registry.address(name.removeprefix(_REGISTRY)), login=True)
    return found
