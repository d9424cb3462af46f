"""Engines that can be tested here: the container engine, environments, images and what those are built on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from harness.base import programs
from harness.base.clock import Deadline
from harness.base.domain import Platform
from harness.base.errors import CannotJudge, UsageError
from harness.containers import client, image_store, lifecycle, passthrough
from harness.doctor.facts import Accelerators, ContainerEngine, Problem, Source
from harness.engines import ENGINES
from harness.host import environments, files, processes
from harness.host.background import Later
from harness.images import base_images, docker_build, engine_image
from harness.plan.points import Planned
from harness.run import ask_engine, ask_flags
from harness.run.prepare import Options
from harness.run.probes import imports

ONE_ANSWER = 3
"""Seconds that a server has to connect, and to answer."""

_MOST = 1 << 16  # bytes of an answer
REGISTRY = "registry "
_HOOK = "nvidia-container-runtime-hook"


def about() -> client.About | str:
    try:
        return client.about(ONE_ANSWER)
    except lifecycle.ContainerFailed as error:
        return str(error)


def container(about: client.About | str, accelerators: Mapping[Platform, Accelerators]) -> ContainerEngine:
    if isinstance(about, str):
        return ContainerEngine(problem=about)
    builder, builder_problem = "", ""
    try:
        builder = docker_build.builder().how
    except docker_build.BuildFailed as error:
        builder_problem = error.reason
    nvidia = "its runtime nvidia" if "nvidia" in about.runtimes else _HOOK if shutil.which(_HOOK) else ""
    refused = {
        platform: _refused(platform, found, about, nvidia) for platform, found in accelerators.items() if found.devices
    }
    return ContainerEngine(
        version=f"{about.engine.name} {about.engine.version}",
        builder=builder,
        builder_problem=builder_problem,
        cdi=tuple(map(str, about.engine.cdi)),
        nvidia=nvidia,
        refused={platform: problem for platform, problem in refused.items() if problem.reason},
        runtimes=about.runtimes,
        cgroup=about.cgroup,
        rootless=about.rootless,
        root=about.root,
    )


def _refused(platform: Platform, found: Accelerators, about: client.About, nvidia: str) -> Problem:
    """Why a container cannot be given the devices, if it cannot."""
    try:
        way = passthrough.plan(platform, found.devices, about.engine)
    except passthrough.Impossible as error:
        return Problem(error.reason, error.next_step)
    if way.gpus and not nvidia:
        # A device request is all that is left, and only NVIDIA's toolkit answers it.
        return Problem(f"{way.why}, and nvidia-container-toolkit is not there", way.next_step)
    return Problem()


def sources(
    planned: Sequence[Planned], options: Options, container: ContainerEngine, deadline: Deadline
) -> dict[str, Source]:
    pairs = sorted({(each.case.engine.name, each.platform) for each in planned})
    found: dict[tuple[str, Platform], Source] = {pair: _source(*pair, options) for pair in pairs}
    found = _with_libraries(found, planned, deadline)
    if not container.problem:
        found |= _in_engine({pair: one for pair, one in found.items() if one.base}, options.build, deadline)
    return {f"{engine}-{platform}": source for (engine, platform), source in found.items()}


def _with_libraries(
    found: dict[tuple[str, Platform], Source], planned: Iterable[Planned], deadline: Deadline
) -> dict[tuple[str, Platform], Source]:
    """The same, with the libraries that an interpreter does not find, where there is one and a case needs any."""
    needed: dict[tuple[str, Platform], set[str]] = {}
    for each in planned:
        modules = ENGINES[each.case.engine.name].needed(each.case).values()
        needed.setdefault((each.case.engine.name, each.platform), set()).update(modules)
    for pair, source in found.items():
        python = source.given or source.environment
        if python and not source.given_problem and needed[pair]:
            found[pair] = replace(source, absent=_absent(python, sorted(needed[pair]), deadline))
    return found


def _absent(python: str, modules: list[str], deadline: Deadline) -> tuple[str, ...] | None:
    """Those of some libraries that an interpreter does not find; None if it does not say."""

    def on_tick(_line: str) -> None:
        if deadline.passed:
            raise TimeoutError

    question = json.dumps({"modules": [], "transports": [], "libraries": modules, "torch": []})
    try:
        status, output = processes.run([python, "-c", programs.text(imports), question], on_tick=on_tick, most=_MOST)
        return tuple(map(str, json.loads(output.splitlines()[-1])["absent"])) if status == 0 else None
    except (OSError, ValueError, LookupError, TypeError, processes.WroteTooMuch):
        return None


def _in_engine(
    found: dict[tuple[str, Platform], Source], build: engine_image.Build, deadline: Deadline
) -> dict[tuple[str, Platform], Source]:
    """The same, with what the container engine has: the base, and the image as it would be built now."""
    bases = {pair: Later(partial(_image_id, source.base)) for pair, source in found.items()}
    names: dict[tuple[str, Platform], str] = {}
    for pair, source in found.items():
        here = bases[pair].within(deadline, None)
        found[pair] = replace(source, base_here=here is not None)
        base_id = source.base if "@" in source.base else here
        if base_id and (source.locked or source.base_holds_engine):
            with suppress(UsageError, CannotJudge, OSError):  # then there is no such image
                names[pair] = engine_image.name(*pair, replace(build, may_ask=False), base_id)
    images_here = {pair: Later(partial(_image_id, name)) for pair, name in names.items()}
    for pair, later in images_here.items():
        if later.within(deadline, None):
            found[pair] = replace(found[pair], image=names[pair])
    return found


def _image_id(reference: str) -> str | None:
    try:
        return image_store.image_id(reference)
    except lifecycle.ContainerFailed:
        return None


def _source(engine: str, platform: Platform, options: Options) -> Source:
    given = options.engine_python
    if given is not None:
        usable = given.is_file() and shutil.which(given) is not None
        flags = _flags(engine, str(given.absolute())) if usable else ""
        return Source(given=str(given), given_problem="" if usable else f"{given}: no interpreter there", flags=flags)
    try:
        lock = engine_image.requirements(engine, platform)
    except UsageError:
        lock = None
    environment = ""
    if lock is not None:
        folder = options.environments / f"engine-{engine}-{platform}"
        script = engine_image.source_root() / "docker" / "install-engine.sh"
        if environments.installed(folder, files.digest(script, lock)):
            environment = str(folder / "bin" / "python")
    base_image, holds, problem = base(engine, platform, options.build)
    return Source(
        environment=environment,
        flags=_flags(engine, environment) if environment else "",
        locked=lock is not None,
        base=base_image,
        base_problem=problem,
        base_holds_engine=holds,
        registry=registry_of(base_image),
    )


def _flags(engine: str, python: str) -> str:
    """What was not verified when a run, or the canary, last asked this interpreter's engine."""
    spec = ENGINES[engine]
    try:
        known = ask_flags.kept(spec, ask_engine.environment(spec, python, ask_engine.here(ONE_ANSWER)), python)
    except CannotJudge:
        return ""  # it says nothing, or has no engine: a run says so, and doctor waits for nobody
    return known.not_verified if known else ""


def base(engine: str, platform: Platform, build: engine_image.Build) -> tuple[str, bool, Problem]:
    """Reference of the base image, whether the engine comes from it, and why there is none."""
    try:
        reference, usual = engine_image.base_of(engine, platform, replace(build, may_ask=False))
    except UsageError as error:
        return "", False, Problem(error.message.removeprefix(f"{base_images.FILE}: "), error.next_step)
    return reference, (build.engine_from or usual) == "base", Problem()


def registry_of(reference: str) -> str:
    """Key of a registry among the servers that are asked; an image without one is not pulled from anywhere known."""
    first, slash, _ = reference.partition("/")
    return f"{REGISTRY}{first}" if slash and ("." in first or ":" in first or first == "localhost") else ""
