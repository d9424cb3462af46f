"""What a platform is: everything in which one vendor's accelerators differ from another's, behind one interface.

A platform is one module with one subclass of :class:`Accelerator`, and one entry of the table in
:mod:`harness.devices.accelerators`. Nothing here touches a device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from harness.base.activity import Reading
from harness.base.domain import Device, Platform, Usage
from harness.devices.inventory import Inventory
from harness.devices.visibility import Chosen

Sampler = Callable[[], Sequence[Reading]]
"""Reads every device once."""


class DriverSilent(Exception):
    """The driver does not say what it supports; the message is why and what to do, in one line, or empty."""


@dataclass(frozen=True)
class Cdi:
    """What the Container Device Interface calls the devices.

    Attributes:
        kind: Vendor and class of the devices in a spec.
        next_step: How a spec is written.
    """

    kind: str = ""
    next_step: str = ""


@dataclass(frozen=True)
class Without:
    """How a container is given devices that no CDI spec has.

    Attributes:
        nodes: Device nodes.
        gpus: Ids for a device request, which Podman takes and does not fulfil.
        env: What the container's environment must say.
        next_step: What to do when the engine refuses them.
        problem: Why there is no way, in one line; empty if there is one.
    """

    nodes: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    next_step: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Fit:
    """Whether a build of torch runs on a driver, and what both are, in one line."""

    ok: bool
    text: str


class Accelerator(ABC):
    """A platform.

    Attributes:
        name: As case files call it.
        title: As people write it.
        vendor: Who makes the devices; empty where the host is the device.
        host: What a host must have.
        variables: Environment variables that a server may be given its devices with, the preferred one first; empty
            where there are none to give.
        read: Environment variables that leave a process some of the devices, in the order in which they do.
        absent: That the driver shows none, in words.
        container_variable: By which a container engine whose default runtime is the vendor's hands out devices; empty
            where there is none.
        cdi: Of its devices.
        torch: Attribute of ``torch.version`` that a build for it has.
        has_nixl_wheel: Whether the NIXL on the package index is built for it.
        environment_bytes: Free space for installing an engine.
        image_bytes: Free space for an image and what its build keeps.
    """

    name: Platform
    title: str
    vendor: str
    host: str
    variables: tuple[str, ...]
    read: tuple[str, ...]
    absent: str
    container_variable: str
    cdi: Cdi
    torch: str
    has_nixl_wheel: bool
    environment_bytes: int
    image_bytes: int

    @property
    def has_devices(self) -> bool:
        """Whether there are devices apart from the host."""
        return bool(self.variables)

    @abstractmethod
    def inventory(self) -> Inventory:
        """What the driver shows."""

    @abstractmethod
    def chosen(self, environment: Mapping[str, str], there: Inventory) -> Chosen:
        """What the environment leaves of ``there``; where the driver does not say, what the environment names."""

    @abstractmethod
    def environment(self, names: Sequence[str], inherited: Mapping[str, str]) -> dict[str, str]:
        """Variables that make ``names`` the only devices of a process, whatever it inherits."""

    @abstractmethod
    def usage(self, device: Device) -> Usage | None:
        """What a device is used for now; None where nobody can be asked."""

    def sampler(self, devices: Sequence[Device]) -> AbstractContextManager[Sampler]:  # noqa: ARG002 # of others
        """What reads these devices as often as it is called in the block: nothing, where a platform has no more to say.

        It is called in a thread of its own, and may hang there, and raise whatever the driver's library raises.
        """
        return nullcontext(list)

    @abstractmethod
    def driver(self) -> str:
        """Version of the driver; empty where nobody says."""

    @abstractmethod
    def supported(self) -> str:
        """What the driver supports, in the terms of :meth:`fit`.

        Raises:
            DriverSilent: There is no driver, or it does not answer.
        """

    @abstractmethod
    def fit(self, supported: str, built: str) -> Fit:
        """Whether torch runs on the driver.

        Args:
            supported: As the driver says.
            built: Version that torch is built for; empty if it is built for another platform.
        """

    @abstractmethod
    def in_cdi(self, device: Device, specs: Mapping[str, tuple[str, ...]]) -> str:
        """Full name of the CDI device that is this device and nothing else; empty if there is none.

        Args:
            device: The device.
            specs: Device nodes of each CDI device by its full name.
        """

    @abstractmethod
    def without_cdi(self, devices: Sequence[Device]) -> Without:
        """How a container is given devices that no CDI spec has."""

    def variable(self, inherited: Mapping[str, str]) -> str:
        """The variable that a server is given its devices with: the first that is set, else the preferred one."""
        return next((name for name in self.variables if name in inherited), self.variables[0])
