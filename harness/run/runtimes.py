"""Where stages run: on this machine, or in a container of ours. The stages are the same."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol

from harness.base.clock import Deadline
from harness.base.domain import Device, Outcome, Platform, Stage
from harness.base.errors import CannotJudge
from harness.cases.model import Case
from harness.containers import client, lifecycle, passthrough
from harness.containers.passthrough import Passthrough
from harness.devices import accelerators
from harness.host import files, signals
from harness.host.data_files import cache_folder
from harness.host.stopping import Stopped
from harness.images import engine_image
from harness.plan import limits
from harness.run import occupancy, own_folders, server_environment, stages
from harness.run.console import Console
from harness.run.context import Context
from harness.run.rundir import Event, RunDir, Runtime, Servers

_OUTSIDE = 30.0
"""Seconds for starting a stage in a container, beyond its own limit."""
_LOOKED_AFTER = (Stage.EVAL, Stage.STOP)
"""Stages after which models of the user's must be what they were."""
Choice = Literal["auto", "local", "docker"]


def missing(wanted: Choice) -> CannotJudge | None:
    """What is asked for and is not there, for no point of a run."""
    reason = lifecycle.unavailable() if wanted == "docker" else ""
    if not reason:
        return None
    cause = f"{reason}; start one, or run with --runtime local"
    return CannotJudge("no container engine answers", cause=cause, fault="host")


def choose(wanted: Choice) -> tuple[Literal["local", "docker"], str]:
    """The runtime and the reason for it.

    Raises:
        CannotJudge: Docker is asked for, and no engine answers.
    """
    if wanted == "local":
        return "local", "asked for"
    if wanted == "docker":
        if error := missing(wanted):
            raise error
        return "docker", "asked for"
    reason = lifecycle.unavailable()
    return ("local", f"no container engine answers ({reason})") if reason else ("docker", "a container engine answers")


class Place(Protocol):
    """What can perform a stage."""

    def perform(self, stage: Stage, context: Context) -> None:
        """Run one stage.

        Raises:
            CannotJudge: The stage broke; how is in ``events.jsonl``.
        """
        ...


class Local:
    """This machine."""

    def perform(self, stage: Stage, context: Context) -> None:
        stages.perform(stage, context)
        if stage in _LOOKED_AFTER:
            own_folders.after(context)
        if stage is Stage.STOP:
            occupancy.after(context)


class Docker:
    """The container that the prepare stage started. Stopping removes it."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def perform(self, stage: Stage, context: Context) -> None:
        container = context.runtime.container
        try:
            if stage is not Stage.STOP or lifecycle.is_running(container):
                self._execute(stage, context, container)
            if stage in _LOOKED_AFTER:
                own_folders.after(context)
        except lifecycle.ContainerFailed as error:
            broken = CannotJudge(str(error))
            context.progress.broke_off(stage, broken)
            raise broken from error
        finally:
            if stage is Stage.STOP:
                self._remove(context, container)

    def _remove(self, context: Context, container: str) -> None:
        try:
            remove_container(context.rundir.path, container)
        except CannotJudge:
            with context.progress.stage(Stage.STOP):  # so that it is on record, and with it in the verdict
                raise
        server_environment.conceal(context.rundir)  # its stop may not have come to that
        occupancy.after(context)

    def _execute(self, stage: Stage, context: Context, container: str) -> None:
        rundir = context.rundir
        shown = before = sum(1 for _ in rundir.events())
        log = rundir.log(f"harness-{stage}")
        log.unlink(missing_ok=True)  # an earlier attempt's, should there be one
        command = f'exec {engine_image.HARNESS} stage {stage} "$0" >"$1" 2>&1'
        limit = Deadline(limits.stage(context.case, stage) + _OUTSIDE, context.clock)

        def relay() -> None:
            nonlocal shown
            events = list(rundir.events())
            for event in events[shown:]:
                self._console.show(event)
            shown = len(events)

        def on_tick() -> None:
            relay()
            if limit.passed:  # the harness in there has the same limits: it was paused, or its end is not told
                raise lifecycle.ContainerFailed(f"{stage} did not end within {limit.seconds:g} s in its container")

        given = server_environment.values(context.case.pass_env)
        status = lifecycle.execute(container, ["sh", "-c", command, str(rundir.path), str(log)], on_tick, env=given)
        relay()
        if status == 0:
            return
        if said := _ended(list(rundir.events())[before:], stage):
            raise CannotJudge(said)
        # It was killed, perhaps before its first word, or even before it was more than a shell.
        output = f"; its output: {log}" if log.is_file() else ""
        broken = CannotJudge(f"{stage} ended with status {status} and said nothing{output}")
        context.progress.broke_off(stage, broken)
        raise broken


class Attached:
    """Where somebody else runs the servers: asking happens here, and nothing is started, stopped or signalled."""

    def perform(self, stage: Stage, context: Context) -> None:
        if stage in (Stage.HEALTH_WAIT, Stage.EVAL):
            stages.perform(stage, context)
        elif stage is Stage.STOP and (document := context.rundir.read("servers", Servers)) is not None:
            context.rundir.write("servers", Servers, document.model_copy(update={"stopped": Stopped()}))


def _ended(events: list[Event], stage: Stage) -> str:
    """How the stage says it ended, empty if it says nothing."""
    ends = [event for event in events if event.stage is stage and event.kind == "end"]
    return ends[-1].text if ends and ends[-1].outcome is not Outcome.PASS else ""


def of(runtime: Runtime, console: Console) -> Place:
    """The place that ``runtime`` describes."""
    if runtime.kind == "attached":
        return Attached()
    return Docker(console) if runtime.kind == "docker" else Local()


def plan_devices(case: Case, platform: Platform, devices: list[Device]) -> Passthrough:
    """How the container of a case gets the devices of its run.

    Raises:
        CannotJudge: It cannot, here.
    """
    try:
        return passthrough.plan(platform, devices, client.engine(), infiniband=case.container.infiniband)
    except (passthrough.Impossible, lifecycle.ContainerFailed) as error:
        raise CannotJudge("the container cannot be given its devices", cause=str(error)) from error


def start_container(rundir: RunDir, image_name: str, read_only: list[Path], devices: Passthrough) -> str:
    """Start the container of a run and return its id.

    It runs as the caller, so that files are the caller's, or, if that is root, as the image's own user, to whom the
    run directory is lent until the container is removed.

    Raises:
        CannotJudge: The engine refused.
    """
    user = (os.getuid(), os.getgid()) if os.getuid() else engine_image.USER
    files.hand_over(rundir.path, user)
    prepared = rundir.prepared()
    home = _home(image_name, user) if accelerators.of(prepared.platform).has_devices else None
    extras = prepared.case.container
    try:
        return lifecycle.start(
            image_name,
            name=f"inference-harness-{prepared.run_id[:12]}",
            label=prepared.label(rundir.path),
            folder=rundir.path,
            read_only=read_only,
            user=user,
            shm_bytes=int(extras.shm_gib * 2**30),
            devices=devices,
            seccomp=not extras.seccomp_unconfined,
            memlock=not extras.memlock_unlimited,
            home=home,
            memory_bytes=int(extras.memory_gib * 2**30) if extras.memory_gib else None,
            pids=extras.pids,
        )
    except lifecycle.ContainerFailed as error:
        files.hand_over(rundir.path, (os.getuid(), os.getgid()))
        raise CannotJudge("the container could not be started", cause=str(error)) from error


def _home(image_name: str, user: tuple[int, int]) -> Path:
    """Where engines of an image keep the kernels they compile: the next run of the image finds them."""
    folder = cache_folder("compiled") / re.sub(r"[^\w.-]+", "_", image_name)
    folder.mkdir(parents=True, exist_ok=True)
    files.hand_over(folder, user)
    return folder.absolute()


@contextmanager
def container(rundir: RunDir, image_name: str, read_only: list[Path]) -> Iterator[str]:
    """A container as a case's, without devices, that is removed after the block, also by an interrupt.

    Raises:
        CannotJudge: The engine refused.
    """
    started = ""
    try:
        with signals.deferred():
            started = start_container(rundir, image_name, read_only, Passthrough())
        yield started
    finally:
        if started:
            with signals.deferred():
                remove_container(rundir.path, started)


def remove_container(folder: Path, container: str) -> None:
    """Remove the container and take the run directory back.

    Raises:
        CannotJudge: The engine refused to remove it.
    """
    try:
        lifecycle.remove(container, str(folder))
    except lifecycle.ContainerFailed as error:
        raise CannotJudge(f"container {container[:12]} could not be removed", cause=str(error)) from error
    finally:
        files.hand_over(folder, (os.getuid(), os.getgid()))
