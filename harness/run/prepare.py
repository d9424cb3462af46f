"""``prepare``: make a run directory and everything that the case needs: checkpoints, engine, container."""

from __future__ import annotations

import os
import platform as platform_module
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from harness.ground.clock import utc_now
from harness.ground.domain import Stage
from harness.ground.errors import CannotJudge
from harness.mechanism import containers, devices, environments, hub, processes, signals
from harness.policy import plan
from harness.policy.cases.model import Model
from harness.policy.diagnosis import tail
from harness.policy.plan import Planned
from harness.policy.protocols import datasets
from harness.run import canary, checkpoints, engine, image, pins, runtimes
from harness.run.context import Context
from harness.run.data import fetch
from harness.run.rundir import Checkpoint, Owner, Prepared, RunDir, Runtime


@dataclass(frozen=True)
class Options:
    """How to run, as the command line says it.

    Attributes:
        runtime: Where.
        engine_python: An interpreter of the caller's that has the engine; None for the locked environment.
        environments: Folder of the locked engine environments.
        build: For the image.
    """

    runtime: runtimes.Choice = "auto"
    engine_python: Path | None = None
    environments: Path = Path(".nox")
    build: image.Build = field(default_factory=image.Build)


def require_engine(planned: Iterable[Planned], options: Options) -> None:
    """Say before anything is made that an engine is missing, which only the caller can name.

    Raises:
        UsageError: There is no locked environment of the engine on the platform, and no interpreter was given; or an
            image would be built on a base whose digest is unresolved.
    """
    if options.engine_python is not None:
        return
    in_container = options.runtime != "local" and not containers.unavailable()
    for each in planned:
        if not each.skip:
            if in_container:
                image.base_image(each.case.engine.name, each.platform, options.build)
            image.requirements(each.case.engine.name, each.platform)


def create(planned: Planned, path: Path) -> RunDir:
    """A run directory that holds the resolved case and nothing else yet."""
    rundir = RunDir.create(path)
    rundir.save(
        Prepared(
            run_id=uuid.uuid4().hex,
            suite=planned.suite,
            name=planned.name,
            platform=planned.platform,
            case=planned.case,
            created=utc_now().isoformat(),
            owner=Owner(pid=os.getpid(), created=processes.created(os.getpid())),
            host=_host() | devices.hardware(planned.platform),
        )
    )
    return rundir


def run(context: Context, options: Options) -> None:
    """The prepare stage: decide on the runtime and get everything ready.

    Raises:
        CannotJudge: A device, a checkpoint, the engine, the image or the container could not be had.
    """
    with context.progress.stage(Stage.PREPARE):
        kind, why = runtimes.choose("local" if options.engine_python and options.runtime == "auto" else options.runtime)
        context.progress.note(f"runtime {kind}: {why}")
        found = _devices(context)
        made = {}
        for model in context.case.models():
            context.progress.tick(f"model {model.name}")
            made[model.name] = _model(model)
        data = {dataset.file: str(fetch(dataset)) for dataset in datasets(context.case.evaluation)}
        context.rundir.save(context.prepared.model_copy(update={"checkpoints": made, "data": data}))
        runtime = _local(context, options, why) if kind == "local" else _docker(context, options, why)
        runtime = runtime.model_copy(update={"devices": found})
        context.rundir.save(context.prepared.model_copy(update={"runtime": runtime}))
        engine.ask(context)


def _devices(context: Context) -> list[str]:
    """As many accelerators as the case needs, the first that this machine shows; indices never wrap around."""
    prepared = context.prepared
    needed = plan.devices(prepared.case, prepared.platform)
    found = devices.visible(prepared.platform)
    if len(found) < needed:
        raise CannotJudge(f"needs {needed} {prepared.platform} devices, there are {len(found)}")
    wanted = prepared.case.device_memory_gib
    for name in found[:needed]:
        there = devices.memory_gib(prepared.platform, name) if wanted else None
        if there is not None and there < wanted:
            raise CannotJudge(f"device {name} has {there:.0f} GiB, the case needs {wanted}")
    return found[:needed]


def _model(model: Model) -> Checkpoint:
    if model.known_answer:
        folder, sha256 = checkpoints.cached(model.known_answer)
        return Checkpoint(path=str(folder), sha256=sha256)
    repo, revision = model.repo or "", model.revision or ""
    try:
        return Checkpoint(path=str(hub.snapshot(repo, revision)), revision=revision)
    except hub.Unavailable as error:
        raise CannotJudge(
            f"{repo} at {revision[:12]} is neither in the hub's cache nor can it be fetched",
            cause=f"{error}; where there is a network: hf download {repo} --revision {revision}",
        ) from error


def _local(context: Context, options: Options, why: str) -> Runtime:
    if options.engine_python:
        # Not resolved: a virtual environment's interpreter is a link that must be called by its own name.
        python = options.engine_python.absolute()
        runtime = Runtime(kind="local", why=why, engine_python=str(python), environment="given")
        canary.check(context, runtime)
        return runtime
    prepared = context.prepared
    name, root = prepared.case.engine.name, image.source_root()
    folder = (options.environments / f"engine-{name}-{prepared.platform}").absolute()
    try:
        python, lock = environments.ensure(
            folder,
            root / "docker" / "install-engine.sh",
            image.requirements(name, prepared.platform),
            lambda line: context.progress.tick(f"installing {name} into {folder.name} (first run only): {line[:60]}"),
        )
    except environments.InstallFailed as error:
        context.rundir.log("install").write_text(error.output)
        last = error.output.strip().splitlines()[-1:] or [f"status {error.status}"]
        raise CannotJudge(f"{name} could not be installed", cause=last[0], details=tail(error.output, 40)) from error
    runtime = Runtime(kind="local", why=why, engine_python=str(python), environment=lock)
    canary.check(context, runtime)
    return runtime


def _docker(context: Context, options: Options, why: str) -> Runtime:
    prepared = context.prepared
    engine_name, platform = prepared.case.engine.name, prepared.platform
    name, identity = image.ensure(engine_name, platform, options.build, lambda line: context.progress.tick(line[:140]))
    base = pins.content(image.base_image(engine_name, platform, options.build))
    folders = [made.whole for made in prepared.checkpoints.values()]
    folders += {Path(path).parent for path in prepared.data.values()}
    runtime = Runtime(kind="docker", why=why, engine_python=image.ENGINE_PYTHON, environment=identity, base=base)
    # In a container of its own: devices can only be given to one when it is started.
    with runtimes.container(context.rundir, name, folders) as container:
        canary.check(context, runtime.model_copy(update={"container": container}))
    with signals.deferred():
        container = runtimes.start_container(context.rundir, name, prepared.run_id, folders)
        runtime = runtime.model_copy(update={"container": container})
        context.rundir.save(context.prepared.model_copy(update={"runtime": runtime}))
    return runtime


def _host() -> dict[str, str]:
    return {
        "cpus": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory_gib": f"{psutil.virtual_memory().total / 2**30:.0f}",
        "machine": platform_module.machine(),
        "kernel": platform_module.release(),
    }
