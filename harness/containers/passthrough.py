"""How a container gets exactly the accelerators of a run: by name, never all of them, and nothing privileged."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from harness.base.domain import Device, Platform
from harness.containers import cdi
from harness.devices import accelerators
from harness.host import machine

_INFINIBAND = Path("/dev/infiniband")
_OTHERS_MAY = stat.S_IROTH | stat.S_IWOTH


class Impossible(Exception):
    """The devices cannot be passed through here: why, and what to do, in one line."""

    def __init__(self, reason: str, next_step: str = "") -> None:
        super().__init__(f"{reason}; {next_step}" if next_step else reason)
        self.reason, self.next_step = reason, next_step


@dataclass(frozen=True)
class Engine:
    """A container engine, as far as devices go.

    Attributes:
        name: What it is.
        version: As it says.
        cdi: Folders of the CDI specs it reads; empty for an engine without CDI.
    """

    name: Literal["Docker", "Podman"]
    version: str
    cdi: tuple[Path, ...] = ()


def _hides() -> dict[str, str]:
    """No devices but those that are named.

    An engine whose default runtime is a vendor's hands out what its variable names, and base images of CUDA name all.
    """
    names = [each.container_variable for each in accelerators.ACCELERATORS.values()]
    return {name: "void" for name in names if name}


@dataclass(frozen=True)
class Passthrough:
    """What of the host's devices a container is given.

    Attributes:
        how: The way, in words; empty where there is nothing to pass.
        why: Why it is not CDI; empty if it is.
        cdi: Full names of CDI devices.
        gpus: Ids for a device request of NVIDIA's.
        nodes: Device nodes, each at the same path inside.
        groups: Ids of the groups that may open them.
        env: What an image's own variables must not say differently, and how the host's fabric is to be used.
        next_step: What to do when the engine refuses the devices.
    """

    how: str = ""
    why: str = ""
    cdi: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()
    env: Mapping[str, str] = field(default_factory=_hides)
    next_step: str = ""


def plan(platform: Platform, devices: Sequence[Device], engine: Engine, *, infiniband: bool = False) -> Passthrough:
    """The way to pass ``devices`` through: CDI where the engine has it and a spec has them all, else the older one.

    Args:
        platform: Of the case.
        devices: Accelerators of the run; empty on a platform without.
        engine: Which is to do it.
        infiniband: Whether the case asks for the host's InfiniBand devices.

    Raises:
        Impossible: There is no way here.
    """
    found = _accelerators(platform, devices, engine) if devices else Passthrough()
    found = replace(found, env={**found.env, **machine.no_multicast()})
    if not infiniband:
        return found
    nodes = [str(path) for path in sorted(_INFINIBAND.glob("*")) if path.is_char_device()]
    words = f"InfiniBand: {', '.join(nodes)}" if nodes else f"InfiniBand: asked for, nothing in {_INFINIBAND}"
    return replace(
        found,
        how=f"{found.how}; {words}" if found.how else words,
        nodes=(*found.nodes, *nodes),
        groups=tuple(sorted({*found.groups, *_groups(nodes)})),
    )


def names_inside(devices: Sequence[Device]) -> list[str]:
    """What the devices are called in a container that has these and no others.

    Indices, because that is what every engine can parse. But CUDA shows a process no more than one slice, the first
    one that it may see, so of several slices an index finds only one: they keep their ids.
    """
    slices = len(devices) > 1
    return [each.uuid if slices and each.whole else str(index) for index, each in enumerate(devices)]


def _accelerators(platform: Platform, devices: Sequence[Device], engine: Engine) -> Passthrough:
    accelerator = accelerators.of(platform)
    specs = cdi.devices(engine.cdi) if engine.cdi else {}
    named = [accelerator.in_cdi(device, specs) for device in devices]
    by_cdi = [name for name in named if name]
    next_step = f"{accelerator.cdi.next_step}, or run with --runtime local"
    if len(by_cdi) == len(devices):
        return Passthrough(
            how=f"CDI: {', '.join(by_cdi)}",
            cdi=tuple(by_cdi),
            groups=_groups(node for name in by_cdi for node in specs[name]),
            next_step=next_step,
        )
    missing = ", ".join(device.uuid for device, name in zip(devices, named, strict=True) if not name)
    why = f"{engine.name} {engine.version} has no CDI"
    if engine.cdi:
        why = f"no CDI spec in {', '.join(map(str, engine.cdi))} has {missing}"
    found = accelerator.without_cdi(devices)
    if found.problem:
        raise Impossible(found.problem)
    if found.gpus and engine.name == "Podman":
        # It takes a device request and starts the container without the device.
        raise Impossible(f"Podman passes {accelerator.vendor} devices through by CDI alone, and {why}", next_step)
    ways = {"device request": found.gpus, "device nodes": found.nodes}
    how = "; ".join(f"{way}: {', '.join(names)}" for way, names in ways.items() if names)
    return Passthrough(
        how=f"{how}; {why}",
        why=why,
        gpus=found.gpus,
        nodes=found.nodes,
        groups=_groups(found.nodes),
        env=_hides() | dict(found.env),
        next_step=", ".join(filter(None, (found.next_step, next_step))),
    )


def _groups(nodes: Iterable[str]) -> tuple[int, ...]:
    """Groups that a process without privileges needs to open the nodes; root's is never given.

    A node that is not there has none: it is of a CDI spec, and the engine says itself what is wrong with that.
    """
    found = set()
    for node in nodes:
        with suppress(OSError):
            status = Path(node).stat()
            if status.st_gid and status.st_mode & _OTHERS_MAY != _OTHERS_MAY:
                found.add(status.st_gid)
    return tuple(sorted(found))
