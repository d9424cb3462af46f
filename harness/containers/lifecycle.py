"""Containers: start, execute, remove. A container of ours carries our label, and no other is ever touched."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import docker.errors
import psutil
import requests
from docker.models.containers import Container
from docker.types import DeviceRequest, Mount, Ulimit

import docker
from harness.base.clock import SYSTEM_CLOCK, Clock, Deadline
from harness.base.errors import of_the_system
from harness.base.texts import cause
from harness.containers.passthrough import Passthrough
from harness.host import ownership
from harness.host.ownership import CONTAINER, Label

_POLL = 0.25
_KILLED = 128 + signal.SIGKILL
_SETTLE = 5.0  # what ends a container ends the programs in it first, and only then is it said to have ended
TIMEOUT = 60
_OVER = ("exited", "dead")
_SOCKET = "unix:///var/run/docker.sock"

_ABOUT_DEVICES = re.compile(r"device driver|\bCDI\b|nvidia|/dev/")  # and not "no space left on device"
_NO_LIMIT = -1
_SHARE_OF_MEMORY = 0.9


class ContainerFailed(Exception):
    """The container engine refused, or a container is not what it should be; the message is one line."""


@dataclass(frozen=True)
class Ours:
    """A container that carries our label.

    Attributes:
        id: Of the container.
        label: Of its run.
        runs: Whether anything in it may be running.
    """

    id: str
    label: Label
    runs: bool = True


@contextmanager
def connected(timeout: int = TIMEOUT, hint: str = "") -> Iterator[docker.DockerClient]:
    """A client of the engine that the environment names.

    Args:
        timeout: In seconds.
        hint: The next step, should the engine refuse a device.

    Raises:
        ContainerFailed: The engine does not answer, or refuses what is asked in the block.
    """
    client = None
    try:
        client = docker.from_env(timeout=timeout)
        yield client
    except (docker.errors.DockerException, requests.RequestException, ValueError) as error:
        message = _one_line(error)
        refused = hint and _ABOUT_DEVICES.search(message)
        raise ContainerFailed(f"{message}; {hint}" if refused else message) from error
    finally:
        if client is not None:
            client.close()


def _one_line(error: Exception) -> str:
    if (reason := of_the_system(error)) is not None:
        return f"{os.environ.get('DOCKER_HOST') or _SOCKET}: {reason.strerror}"
    explanation = error.explanation if isinstance(error, docker.errors.APIError) else None
    return cause(explanation or error)


def unavailable() -> str:
    """Why no container engine can be used; empty if one answers."""
    try:
        with connected(timeout=5) as client:
            client.ping()
    except ContainerFailed as error:
        return str(error)
    return ""


def start(
    image: str,
    *,
    name: str,
    label: Label,
    folder: Path,
    read_only: Sequence[Path],
    user: tuple[int, int],
    shm_bytes: int,
    devices: Passthrough,
    seccomp: bool = True,
    memlock: bool = True,
    home: Path | None = None,
    memory_bytes: int | None = None,
    pids: int = 32768,
) -> str:
    """Start an idle container that stages are executed in, and return its id.

    It has no network, no capabilities, a read-only root, these devices and no others, and exactly these mounts, each
    at the same path inside as outside, so that paths in the run directory mean the same on both sides.

    Args:
        image: Image to run.
        name: Name of the container.
        label: Of the run.
        folder: The run directory, writable.
        read_only: What it may read.
        user: User and group id inside.
        shm_bytes: Size of ``/dev/shm``.
        devices: What of the host's devices it gets.
        seccomp: Whether the engine's own filter of system calls applies.
        memlock: Whether the engine's own limit on locked memory applies.
        home: Writable home folder that outlives the container; None for one that does not.
        memory_bytes: What it may use; None for nine tenths of what the engine's machine has, so that a leak of an
            engine ends that engine and not the host.
        pids: Processes and threads that it may have.

    Raises:
        ContainerFailed: The engine refused, and nothing is left of the container.
    """
    mounts = [Mount(str(path), str(path), type="bind") for path in (folder, home) if path]
    mounts += [Mount(str(path), str(path), type="bind", read_only=True) for path in read_only]
    with connected(hint=devices.next_step) as client:
        container = client.containers.create(
            image,
            ["sleep", "infinity"],
            name=name,
            labels=label.under(CONTAINER),
            mounts=mounts,
            user=f"{user[0]}:{user[1]}",
            group_add=[str(group) for group in devices.groups],
            devices=[f"{node}:{node}:rw" for node in devices.nodes],
            device_requests=_requests(devices),
            environment={**ownership.marks(), **devices.env, **({"HOME": str(home)} if home else {})},
            network_mode="none",
            ipc_mode="private",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges", *([] if seccomp else ["seccomp=unconfined"])],
            ulimits=[] if memlock else [Ulimit(name="memlock", soft=_NO_LIMIT, hard=_NO_LIMIT)],
            read_only=True,
            tmpfs={"/tmp": "exec,mode=1777"},  # noqa: S108 # inside the container
            shm_size=shm_bytes,
            mem_limit=memory_bytes or _share_of(client.info()),
            pids_limit=pids,
            entrypoint=[],
            use_config_proxy=False,  # it may hold a password, and there is no network
        )
        try:
            container.start()
        except docker.errors.APIError:
            with suppress(docker.errors.APIError):
                container.remove(force=True, v=True)
            raise
        return str(container.id)


def _share_of(info: Mapping[str, Any]) -> int:
    """Memory for one container, in whole MiB: the engine may be another machine than this, as a virtual one."""
    total = int(info.get("MemTotal") or psutil.virtual_memory().total)
    return int(total * _SHARE_OF_MEMORY) >> 20 << 20


def _requests(devices: Passthrough) -> list[DeviceRequest]:
    found = [DeviceRequest(driver="cdi", device_ids=list(devices.cdi))] if devices.cdi else []
    # Left out, the capabilities of the driver would be the image's choice.
    capabilities = [["gpu", "compute", "utility"]]
    return found + ([DeviceRequest(device_ids=list(devices.gpus), capabilities=capabilities)] if devices.gpus else [])


def _find(client: docker.DockerClient, container: str) -> Container | None:
    try:
        return client.containers.get(container)
    except docker.errors.NotFound:
        return None


def execute(
    container: str,
    argv: Sequence[str],
    on_tick: Callable[[], None],
    clock: Clock = SYSTEM_CLOCK,
    env: Mapping[str, str] | None = None,
) -> int:
    """Run a program in a container to its end and return its exit status. ``on_tick`` is called while it runs.

    ``env`` is for the program alone: nobody who asks the engine about the container is told.

    Raises:
        ContainerFailed: The container ended or was removed meanwhile.
    """
    with connected() as client:
        handle = client.api.exec_create(container, list(argv), environment=dict(env or {}))["Id"]
        client.api.exec_start(handle, detach=True)
        while True:
            state = _exec_state(client, handle)
            on_tick()
            if not state["Running"]:
                break
            clock.sleep(_POLL)
        deadline = Deadline(_SETTLE if state["ExitCode"] == _KILLED else 0.0, clock)
        while (found := _find(client, container)) and found.status == "running" and not deadline.passed:
            clock.sleep(_POLL)
        if state["ExitCode"] is None or found is None or found.status != "running":
            raise ContainerFailed(f"container {container[:12]} ended while a stage ran in it ({_why(found)})")
        return int(state["ExitCode"])


def _exec_state(client: docker.DockerClient, handle: str) -> dict[str, Any]:
    try:
        return dict(client.api.exec_inspect(handle))
    except docker.errors.NotFound:  # its container is gone
        return {"Running": False, "ExitCode": None}


def _why(container: Container | None) -> str:
    if container is None:
        return "it was removed"
    state = container.attrs["State"]
    return "out of memory" if state.get("OOMKilled") else f"status {state.get('ExitCode')}"


def is_running(container: str) -> bool:
    """Whether the container exists and runs."""
    with connected() as client:
        found = _find(client, container)
        return found is not None and found.status == "running"


def remove(container: str, folder: str = "", clock: Clock = SYSTEM_CLOCK) -> None:
    """Kill and remove a container of ours; one that is gone already, or is just being removed, is fine.

    Args:
        container: Its id.
        folder: The run directory that it must be of; any if empty.
        clock: For waiting.

    Raises:
        ContainerFailed: It does not carry our label, or another run directory's, or the engine refused.
    """
    with connected() as client:
        deadline = Deadline(TIMEOUT, clock)
        while found := _find(client, container):
            label = Label.read(found.labels, CONTAINER)
            if label is None:
                raise ContainerFailed(f"container {container[:12]} is not ours (no label {CONTAINER.run_id})")
            if folder and label.folder != folder:
                raise ContainerFailed(f"container {container[:12]} is of the run in {label.folder}")
            try:
                found.remove(force=True, v=True)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as error:
                if error.status_code != HTTPStatus.CONFLICT or deadline.passed:
                    raise
                clock.sleep(_POLL)  # somebody else is removing it, and may fail to
            else:
                return


def ours() -> list[Ours]:
    """Every container, running or not, that carries our label; none where no engine answers."""
    if unavailable():
        return []
    with connected() as client:
        # Other runs end meanwhile.
        found = client.containers.list(all=True, filters={"label": CONTAINER.run_id}, ignore_removed=True)
        return [
            Ours(str(each.id), label, each.status not in _OVER)
            for each in found
            if (label := Label.read(each.labels, CONTAINER))
        ]
