"""``footprints.json``: what the processes of each server held as the main run went on, and where its log stood."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from harness.base.resting import Footprint
from harness.devices import accelerators, device_shares
from harness.host import holdings
from harness.host.ownership import Ours
from harness.plan import points
from harness.run.context import Context
from harness.run.documents import Document
from harness.run.rundir import RunningServer

NAME = "footprints"
_PARTS = 4


class Footprints(Document):
    """``footprints.json``, by server; somebody else's are not in it, nor those on other hosts."""

    servers: dict[str, tuple[Footprint, ...]]
    logs: dict[str, int]
    """Lines of each log when the main run began: secrets are taken out of logs later, and lines stay."""


class Watched:
    """The servers of ours, looked at before the main run, after each quarter of its requests, and when it is over."""

    def __init__(self, context: Context, servers: Sequence[RunningServer]) -> None:
        self._context = context
        self._servers = [each for each in servers if each.is_seen and each.server.role != "router"]
        self._found: dict[str, list[Footprint]] = {each.server.name: [] for each in self._servers}
        self._looked = -1
        self._logs = {name: context.rundir.log_text(name).count("\n") for name in self._found}

    def look(self, done: int, planned: int) -> None:
        """Look, if another quarter of the requests has come back since; the last one counts once all is quiet."""
        part = done * _PARTS // planned
        if self._looked < part < _PARTS:
            self._looked = part
            self._look(done, planned)

    def finish(self, asked: int) -> None:
        """Look once more and write everything down; so many requests there were after all."""
        self._look(asked, asked)
        found = {name: tuple(replace(one, planned=asked) for one in each) for name, each in self._found.items()}
        self._context.rundir.write(NAME, Footprints, Footprints(servers=found, logs=self._logs))

    def _look(self, done: int, planned: int) -> None:
        for each in self._servers:
            assert each.process is not None
            processes = Ours([each.process], self._context.label).look().grouped
            there = holdings.of(processes)
            self._found[each.server.name].append(
                Footprint(
                    done=done,
                    planned=planned,
                    memory_bytes=there.memory_bytes,
                    resident_bytes=there.resident_bytes,
                    threads=there.threads,
                    descriptors=there.descriptors,
                    device_bytes=self._device_bytes({process.pid for process in processes}),
                )
            )

    def _device_bytes(self, pids: Collection[int]) -> int | None:
        """Memory in use on the devices of the run, which are leased to it alone; where it shares them, by these."""
        runtime, platform = self._context.prepared.runtime, self._context.prepared.platform
        devices = device_shares.distinct(runtime.devices) if runtime else []
        usages = [accelerators.usage(platform, each) for each in devices]
        if points.share_bytes(self._context.case, platform):
            held = [each.memory_bytes for usage in usages if usage for each in usage.tenants or () if each.pid in pids]
            return sum(held) or None  # drivers do not say everywhere, and in a container they count pids otherwise
        known = [usage.memory_bytes for usage in usages if usage and usage.memory_bytes is not None]
        return sum(known) if known and len(known) == len(usages) else None
