"""What the driver of a platform shows: what stands at each index, and why something of it cannot be used."""

from __future__ import annotations

from dataclasses import dataclass

from harness.base.domain import Device


@dataclass(frozen=True)
class Slot:
    """What stands at one index.

    Attributes:
        devices: Itself, or the slices that it is divided into; empty if nothing of it can be used.
        uuid: Empty where the driver does not say.
        problem: Why it, or a part of it, cannot be used, in one line; empty if nothing is wrong.
    """

    devices: tuple[Device, ...] = ()
    uuid: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Inventory:
    """All of a platform, in the order of the indices.

    Attributes:
        problem: Why the driver does not say what there is; empty if it does.
        next_step: What to do about that.
        is_broken: Whether there is a driver that should say and does not, not merely none.
    """

    slots: tuple[Slot, ...] = ()
    problem: str = ""
    next_step: str = ""
    is_broken: bool = False

    @property
    def devices(self) -> list[Device]:
        """Everything that can be used."""
        return [device for each in self.slots for device in each.devices]

    @property
    def problems(self) -> list[str]:
        """What of it cannot be used, one line each."""
        return [each.problem for each in self.slots if each.problem]
