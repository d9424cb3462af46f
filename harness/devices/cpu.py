"""The platform whose device is the host: there is nothing to enumerate, to share out or to pass on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.base.domain import Device, Usage
from harness.devices.inventory import Inventory
from harness.devices.platform import Accelerator, Cdi, DriverSilent, Fit, Without
from harness.devices.visibility import Chosen

_GIB = 1 << 30


class Cpu(Accelerator):
    """Processors."""

    name = "cpu"
    title = "CPU"
    vendor = ""
    host = "any host"
    variables = ()
    read = ()
    absent = ""
    container_variable = ""
    cdi = Cdi()
    torch = ""
    has_nixl_wheel = True
    environment_bytes = 5 * _GIB  # vLLM takes 3.5 GB
    image_bytes = 8 * _GIB  # ours takes 3.3 GB

    def inventory(self) -> Inventory:
        return Inventory()

    def chosen(self, environment: Mapping[str, str], there: Inventory) -> Chosen:
        return Chosen(())

    def environment(self, names: Sequence[str], inherited: Mapping[str, str]) -> dict[str, str]:
        return {}

    def usage(self, device: Device) -> Usage | None:
        return None

    def driver(self) -> str:
        return ""

    def supported(self) -> str:
        raise DriverSilent

    def fit(self, supported: str, built: str) -> Fit:
        return Fit(True, "")

    def in_cdi(self, device: Device, specs: Mapping[str, tuple[str, ...]]) -> str:
        return ""

    def without_cdi(self, devices: Sequence[Device]) -> Without:
        return Without()
