"""``prepare``: make a run directory and everything that the case needs: checkpoints, engine, container."""

from __future__ import annotations

import os
import platform as platform_module
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from harness.base.clock import utc_now
from harness.base.domain import Stage
from harness.base.errors import CannotJudge, UsageError
from harness.cases.serve_settings import Model
from harness.containers import lifecycle
from harness.devices import accelerators
from harness.engines.diagnosis import tail
from harness.host import environments, hub, signals
from harness.host.data_files import fetch
from harness.host.ownership import Owner
from harness.images import base_images, engine_image
from harness.plan import points
from harness.plan.points import Planned
from harness.protocols import datasets
from harness.run import ask_engine, attached, canary, checkpoint_files, occupancy, runtimes, server_environment
from harness.run.attachment import Attachment
from harness.run.context import Context
from harness.run.rundir import Checkpoint, Prepared, RunDir, Runtime


@dataclass(frozen=True)
class Options:
    """How to run, as the command line says it.

    Attributes:
        runtime: Where.
        engine_python: An interpreter of the caller's that has the engine; None for the locked environment.
        environments: Folder of the locked engine environments.
        build: For the image.
        wait_for_devices: Seconds to wait until enough devices are free.
        assume_free: Take also devices of which nobody can tell whether they are free.
        attachment: Servers that run already, instead of all that; None: start some.
    """

    runtime: runtimes.Choice = "auto"
    engine_python: Path | None = None
    environments: Path = Path(".nox")
    build: engine_image.Build = field(default_factory=engine_image.Build)
    wait_for_devices: float = 0.0
    assume_free: bool = False
    attachment: Attachment | None = None


def require_engine(planned: Iterable[Planned], options: Options) -> None:
    """Say before anything is made that an engine is missing, which only the caller can name.

    Raises:
        UsageError: Nothing says where the engine comes from: no image of it can be built, or, on this machine, none is
            locked and no interpreter was given; or an image would be built on a base whose digest is unresolved.
    """
    if options.attachment is not None:
        options.attachment.require(each for each in planned if not each.skip)
        return
    if options.engine_python is not None:
        return
    in_image = options.runtime == "docker" or (options.runtime == "auto" and not lifecycle.unavailable())
    if options.build.engine_wheel and not in_image:
        raise UsageError("--engine-wheel goes into an image: install it yourself here and name it with --engine-python")
    for name, platform in {(each.case.engine.name, each.platform) for each in planned if not each.skip}:
        if in_image:
            engine_image.recipe(name, platform, options.build)
        else:
            engine_image.requirements(name, platform)


def create(planned: Planned, path: Path, *, attached_to: bool = False) -> RunDir:
    """A run directory that holds the resolved case and nothing else yet.

    Of servers that somebody else runs (``attached_to``), this machine's accelerators say nothing.
    """
    rundir = RunDir.create(path)
    rundir.save(
        Prepared(
            run_id=uuid.uuid4().hex,
            folder=str(rundir.path),
            suite=planned.suite,
            name=planned.name,
            platform=planned.platform,
            case=planned.case,
            created=utc_now().isoformat(),
            owner=Owner.me(),
            host=_host() | ({} if attached_to else accelerators.hardware(planned.platform)),
        )
    )
    return rundir


def run(context: Context, options: Options) -> None:
    """The prepare stage: decide on the runtime and get everything ready.

    Raises:
        CannotJudge: A device, a checkpoint, the engine, the image or the container could not be had.
    """
    with context.progress.stage(Stage.PREPARE):
        if options.attachment is not None:
            context.rundir.save(context.prepared.model_copy(update={"data": _data(context)}))
            attached.record(context, options.attachment)
            return
        kind, why = _place(context, options)
        context.progress.note(f"runtime {kind}: {why}")
        server_environment.require(context.case)
        if points.devices(context.case, context.prepared.platform):
            occupancy.visible(context)  # said before anything is made
        made = {}
        for model in context.case.models():
            context.progress.tick(f"model {model.name}")
            made[model.name] = _model(model)
        context.rundir.save(context.prepared.model_copy(update={"checkpoints": made, "data": _data(context)}))
        runtime = (_local if kind == "local" else _docker)(context, options, why)
        context.rundir.save(context.prepared.model_copy(update={"runtime": runtime}))
        ask_engine.ask(context)


def _data(context: Context) -> dict[str, str]:
    return {dataset.file: str(fetch(dataset)) for dataset in datasets(context.case.evaluation)}


def _place(context: Context, options: Options) -> tuple[Literal["local", "docker"], str]:
    """Where the engine runs, and why there."""
    if options.engine_python and options.runtime == "auto":
        return runtimes.choose("local")
    kind, why = runtimes.choose(options.runtime)
    if kind == "docker" and options.runtime == "auto":
        name, platform = context.case.engine.name, context.prepared.platform
        if lack := engine_image.lacks_base(
            name, platform, options.build, lambda line: context.progress.tick(line[:140])
        ):
            return "local", f"a container engine answers, but there is no image yet and {lack}"
    return kind, why


def _model(model: Model) -> Checkpoint:
    if model.known_answer:
        folder, sha256 = checkpoint_files.cached(model.known_answer)
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
    # Not resolved: a virtual environment's interpreter is a link that must be called by its own name.
    given = options.engine_python.absolute() if options.engine_python else None
    python, lock = (given, "given") if given else _environment(context, options)
    runtime = Runtime(kind="local", why=why, engine_python=str(python), environment=lock)
    canary.check(context, runtime)
    found = occupancy.lease(context, options.wait_for_devices, assume_free=options.assume_free)
    return runtime.model_copy(update={"devices": found})


def _environment(context: Context, options: Options) -> tuple[Path, str]:
    """Interpreter of the locked environment, installed if it is not there, and the SHA-256 of its lock."""
    prepared = context.prepared
    name, root = prepared.case.engine.name, engine_image.source_root()
    folder = (options.environments / f"engine-{name}-{prepared.platform}").absolute()
    try:
        return environments.ensure(
            folder,
            root / "docker" / "install-engine.sh",
            engine_image.requirements(name, prepared.platform),
            lambda line: context.progress.tick(f"installing {name} into {folder.name} (first run only): {line[:60]}"),
        )
    except environments.InstallFailed as error:
        context.rundir.log("install").write_text(error.output)
        last = error.output.strip().splitlines()[-1:] or [f"status {error.status}"]
        raise CannotJudge(f"{name} could not be installed", cause=last[0], details=tail(error.output, 40)) from error


def _docker(context: Context, options: Options, why: str) -> Runtime:
    prepared = context.prepared
    engine_name, platform = prepared.case.engine.name, prepared.platform
    name, identity = engine_image.ensure(
        engine_name, platform, options.build, lambda line: context.progress.tick(line[:140])
    )
    base = base_images.content(engine_image.base_of(engine_name, platform, options.build)[0])
    folders = [made.whole for made in prepared.checkpoints.values()]
    folders += {Path(path).parent for path in prepared.data.values()}
    runtime = Runtime(kind="docker", why=why, engine_python=engine_image.ENGINE_PYTHON, environment=identity, base=base)
    # In a container of its own: devices can only be given to one when it is started.
    with runtimes.container(context.rundir, name, folders) as container:
        canary.check(context, runtime.model_copy(update={"container": container}))
    found = occupancy.lease(context, options.wait_for_devices, assume_free=options.assume_free)
    given = runtimes.plan_devices(prepared.case, platform, found)
    if given.how:
        context.progress.note(f"devices by {given.how}")
    for what, reason in prepared.case.container.reasons.items():
        context.progress.note(f"container: {what}: {reason}")
    with signals.deferred():
        container = runtimes.start_container(context.rundir, name, folders, given)
        runtime = runtime.model_copy(update={"devices": found, "passthrough": given.how, "container": container})
        context.rundir.save(context.prepared.model_copy(update={"runtime": runtime}))
    return runtime


def _host() -> dict[str, str]:
    return {
        "cpus": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory_gib": f"{psutil.virtual_memory().total / 2**30:.0f}",
        "machine": platform_module.machine(),
        "kernel": platform_module.release(),
    }
