"""``prepare``: make a run directory and everything that the case needs: checkpoints, engine, container."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from harness.base.clock import utc_now
from harness.base.domain import Stage
from harness.base.errors import CannotJudge, UsageError
from harness.containers import lifecycle
from harness.devices import accelerators, device_shares
from harness.host import environments, machine, signals
from harness.host.ownership import Owner
from harness.images import base_images, engine_image
from harness.logs.root_cause import tail
from harness.plan import points
from harness.plan.points import Planned
from harness.run import (
    abandoned,
    ask_flags,
    attached,
    canary,
    canary_imports,
    data_sources,
    model_sources,
    occupancy,
    own_folders,
    reuse,
    runtimes,
    server_environment,
    spread,
)
from harness.run.attachment import Attachment
from harness.run.context import Context
from harness.run.rundir import Prepared, RunDir, Runtime


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
        reuse: Folders of runs whose greens stand for identical work.
        reference: A stored run of the point, or a folder of such, with which it is compared.
        cluster: Address of a Ray cluster, whose hosts take the servers of a case that is spread over hosts.
        host_facts: What whoever placed the point says of its host, by name.
        alarm_share: What of the false-alarm rates that baselines state each check may use.
    """

    runtime: runtimes.Choice = "auto"
    engine_python: Path | None = None
    environments: Path = Path(".nox")
    build: engine_image.Build = field(default_factory=engine_image.Build)
    wait_for_devices: float = 0.0
    assume_free: bool = False
    attachment: Attachment | None = None
    reuse: tuple[Path, ...] = ()
    cluster: str = ""
    alarm_share: float = 1.0
    reference: Path | None = None
    host_facts: tuple[tuple[str, str], ...] = ()


def require_engine(planned: Iterable[Planned], options: Options) -> None:
    """Say before anything is made what is wrong with the options, or with the pins, about where engines come from.

    Raises:
        UsageError: There is no image to build on, a wheel has nowhere to go, or this machine was asked for, where no
            engine is locked and no interpreter was given.
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
            engine_image.recipe(name, platform, replace(options.build, may_ask=False))
        elif options.runtime == "local":
            engine_image.requirements(name, platform)  # where nobody chose, it is no fault of the caller's


_USUAL = Options()


def create(planned: Planned, path: Path, options: Options = _USUAL) -> RunDir:
    """A run directory that holds the resolved case and nothing else yet.

    Of servers that somebody else runs, this machine's accelerators say nothing.
    """
    attached_to = options.attachment is not None
    rundir = RunDir.create(path)
    rundir.save(
        Prepared(
            layout=2,
            run_id=uuid.uuid4().hex,
            folder=str(rundir.path),
            suite=planned.suite,
            name=planned.name,
            platform=planned.platform,
            case=planned.case,
            created=utc_now().isoformat(),
            owner=Owner.me(),
            alarm_share=options.alarm_share,
            host=machine.facts()
            | ({} if attached_to else accelerators.hardware(planned.platform))
            | dict(options.host_facts),
        )
    )
    return rundir


def run(context: Context, options: Options, planned: Planned | None = None) -> str:
    """The prepare stage: decide on the runtime and get everything ready.

    Args:
        context: Of the run.
        options: How to run.
        planned: The point, where its case may depend on the version of the build that is really there.

    Returns:
        Why the point does not exist on this build, where nothing is to be run; else nothing.

    Raises:
        CannotJudge: A device, a checkpoint, the engine, the image or the container could not be had.
    """
    with context.progress.stage(Stage.PREPARE):
        if options.attachment is not None:
            data_sources.have(context, options.reference)
            attached.record(context, options.attachment)
            return ""
        spread.require(context.case, options.cluster, options.runtime)
        kind, why = _place(context, options)
        context.progress.note(f"runtime {kind}: {why}")
        server_environment.require(context.case)
        if points.devices(context.case, context.prepared.platform):
            occupancy.visible(context)  # said before anything is made
        if context.case.topology.spread:
            spread.choose(context, options.cluster)
        runtime, image = (_local if kind == "local" else _docker)(context, options, why)
        # Before models are fetched: a build may lack what the case is about.
        with _reachable(context, runtime, image, []):
            ask_flags.ask(context, canary_imports.beside)
        if planned is not None and planned.conditional and (reason := _settled(context, planned)):
            return reason
        made, bare = {}, model_sources.without_tokenizer(context.case)
        for model in context.case.models():
            context.progress.tick(f"model {model.name}")
            made[model.name] = model_sources.have(
                model, context.progress.note, anew=options.build.allow_unpinned, tokenizer=model.name not in bare
            )
        context.rundir.save(context.prepared.model_copy(update={"checkpoints": made}))
        data = data_sources.have(context, options.reference)
        own_folders.before(context)
        if reused := reuse.stands(context, options.reuse):
            return reused
        folders = model_sources.mounted(made.values())
        folders += sorted({Path(path).parent for path in data.values()} - set(folders))
        # In a container of its own: devices can only be given to one when it is started.
        with _reachable(context, runtime, image, folders):
            canary.check(context)
        wait = options.wait_for_devices
        left = partial(abandoned.removed, note=context.progress.note) if wait else abandoned.of_run
        found = occupancy.lease(context, wait, left, assume_free=options.assume_free)
        runtime = runtime.model_copy(update={"devices": found})
        if image:
            _start_container(context, runtime, image, folders)
        else:
            context.rundir.save(context.prepared.model_copy(update={"runtime": runtime}))
    return ""


def _place(context: Context, options: Options) -> tuple[Literal["local", "docker"], str]:
    """Where the engine runs, and why there."""
    if context.case.topology.spread:
        return "local", "servers on several hosts are in no container"
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


def _settled(context: Context, planned: Planned) -> str:
    """Make the case what it is on the version that is there; returns why it does not exist there, if so."""
    version = context.engine.version(context.prepared.versions)
    here = planned.on(version)
    context.progress.note(f"the case is as it is on {here.engine_version.rstrip(',')}")
    if not here.skip:
        context.rundir.save(context.prepared.model_copy(update={"case": here.case}))
        server_environment.require(context.case)
    return here.skip


@contextmanager
def _reachable(context: Context, runtime: Runtime, image: str, folders: list[Path]) -> Iterator[None]:
    """In this block the engine can be asked: here, or in a container of ``image`` that sees ``folders``."""
    with runtimes.container(context.rundir, image, folders) if image else nullcontext("") as container:
        reachable = runtime.model_copy(update={"container": container})
        context.rundir.save(context.prepared.model_copy(update={"runtime": reachable}))
        yield


def _local(context: Context, options: Options, why: str) -> tuple[Runtime, str]:
    """The engine on this machine, installed if need be, and no image."""
    # Not resolved: a virtual environment's interpreter is a link that must be called by its own name.
    given = options.engine_python.absolute() if options.engine_python else None
    python, lock = (given, "given") if given else _environment(context, options, why)
    return Runtime(kind="local", why=why, engine_python=str(python), environment=lock), ""


def _environment(context: Context, options: Options, why: str) -> tuple[Path, str]:
    """Interpreter of the locked environment, installed if it is not there, and the SHA-256 of its lock."""
    prepared = context.prepared
    name, root = prepared.case.engine.name, engine_image.source_root()
    folder = (options.environments / f"engine-{name}-{prepared.platform}").absolute()
    try:
        locked = engine_image.requirements(name, prepared.platform)
    except UsageError as error:  # nobody chose this machine
        raise CannotJudge(f"runtime local, because {why}", cause=str(error), fault="host") from error
    try:
        return environments.ensure(
            folder,
            root / "docker" / "install-engine.sh",
            locked,
            lambda line: context.progress.tick(f"installing {name} into {folder.name} (first run only): {line[:60]}"),
        )
    except environments.InstallFailed as error:
        context.rundir.log("install").write_text(error.output)
        last = error.output.strip().splitlines()[-1:] or [f"status {error.status}"]
        raise CannotJudge(f"{name} could not be installed", cause=last[0], details=tail(error.output, 40)) from error


def _docker(context: Context, options: Options, why: str) -> tuple[Runtime, str]:
    """The engine in an image, and the image's name, built if need be."""
    engine_name, platform = context.case.engine.name, context.prepared.platform
    unpinned = ""
    if not options.build.base_image:
        unpinned = engine_image.pinned_base(engine_name, platform, options.build).unpinned
    if unpinned:
        context.progress.note(f"unpinned: {unpinned}")
    name, identity = engine_image.ensure(
        engine_name, platform, options.build, lambda line: context.progress.tick(line[:140])
    )
    base = base_images.content(engine_image.base_of(engine_name, platform, options.build)[0])
    runtime = Runtime(
        kind="docker",
        why=why,
        engine_python=engine_image.ENGINE_PYTHON,
        environment=identity,
        base=base,
        base_unpinned=unpinned,
    )
    return runtime, name


def _start_container(context: Context, runtime: Runtime, image: str, folders: list[Path]) -> None:
    """Start the container of the case, with its devices."""
    case = context.case
    given = runtimes.plan_devices(case, context.prepared.platform, device_shares.distinct(runtime.devices))
    if given.how:
        context.progress.note(f"devices by {given.how}")
    for what, reason in case.container.reasons.items():
        context.progress.note(f"container: {what}: {reason}")
    with signals.deferred():
        container = runtimes.start_container(context.rundir, image, folders, given)
        started = runtime.model_copy(update={"passthrough": given.how, "container": container})
        context.rundir.save(context.prepared.model_copy(update={"runtime": started}))
