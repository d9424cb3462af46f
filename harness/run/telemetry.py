"""``telemetry.jsonl``: what the devices and the servers of a run did while it asked, read at a low rate.

Nothing here is ever the reason why a run breaks or waits: a driver that does not answer leaves a gap.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count

import psutil
from pydantic import TypeAdapter

from harness.base.activity import Incident, Reading, incidents, summarised
from harness.base.domain import CheckResult, Outcome, StageRecord
from harness.base.errors import Fault, UsageError
from harness.checks.check import unmeasured
from harness.devices import accelerators, device_shares
from harness.host import ownership
from harness.host.identity import Identity
from harness.run import documents
from harness.run.context import Context
from harness.run.rundir import RunDir

NAME = "telemetry.jsonl"
CHECK = "device_incidents"
_EVERY = 2.0
_SELDOM = 5
"""Of so many readings one looks for processes: on a host that has thousands it takes a tenth of a second of a core."""
_LAST_WORD = 2.0
"""Seconds that a reading which goes on may take to come to its end."""
_READING = TypeAdapter(Reading)


@contextmanager
def recorded(context: Context) -> Iterator[None]:
    """Read in the background as long as the block lasts; of servers that somebody else runs nothing."""
    if context.prepared.attached:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_record, args=(context, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_LAST_WORD)


def _record(context: Context, over: threading.Event) -> None:
    with suppress(Exception):  # whatever a driver or a disk does, the run goes on
        runtime, platform = context.runtime, context.prepared.platform
        servers = _Servers(str(context.rundir.path), context.clock.monotonic)
        with accelerators.of(platform).sampler(device_shares.distinct(runtime.devices)) as devices:
            began, is_last = context.clock.monotonic(), False
            for number in count():
                found = [*devices(), *(servers.read() if is_last or number % _SELDOM == 0 else ())]
                seconds = round(context.clock.monotonic() - began, 2)
                _write(context.rundir, [replace(each, seconds=seconds) for each in found])
                if is_last:
                    return
                is_last = over.wait(_EVERY)  # the last reading has what happened until the end


def _write(rundir: RunDir, readings: Sequence[Reading]) -> None:
    with (rundir.path / NAME).open("ab") as file:
        file.write(b"".join(_READING.dump_json(each, exclude_defaults=True) + b"\n" for each in readings))


class _Servers:
    """All processes that carry the label of a run, as far as this machine shows them.

    Args:
        folder: The run directory.
        now: Seconds on a monotonic clock.
    """

    def __init__(self, folder: str, now: Callable[[], float]) -> None:
        self._folder, self._now = folder, now
        self._before: dict[Identity, float] = {}
        self._at = now()

    def read(self) -> list[Reading]:
        """One reading, once there are any."""
        used, memory = dict[Identity, float](), 0
        for each, label in ownership.labels().items():
            if label.folder == self._folder:
                with suppress(psutil.Error):
                    process = psutil.Process(each.pid)
                    times = process.cpu_times()
                    used[each] = times.user + times.system
                    memory += process.memory_info().rss
        spent = sum(seconds - self._before.get(each, 0.0) for each, seconds in used.items())
        passed, now = self._now() - self._at, self._now()
        self._before, self._at = used, now
        if not used:
            return []
        busy = round(max(spent, 0.0) / passed, 2) if passed > 0 else None
        return [Reading("servers", busy=busy, memory_bytes=memory)]


def readings(rundir: RunDir) -> list[Reading]:
    """All of a run; a line that cannot be read is left out."""
    found = []
    with suppress(UsageError):
        for line in (documents.content(rundir.path / NAME) or b"").split(b"\n"):
            with suppress(UsageError):
                found.append(documents.parsed(line, Reading, NAME))
    return found


def provenance(seen: Sequence[Reading]) -> dict[str, str]:
    """A line for each source, for the verdict."""
    return {f"telemetry.{source}": line for source, line in summarised(seen).items()}


def judged(seen: Sequence[Reading]) -> list[CheckResult]:
    """An error if a driver reported anything of a device: what such a device computed is not to be trusted."""
    reported = incidents(seen)
    return [replace(unmeasured(CHECK, _words(reported)), fault=_fault(reported))] if reported else []


def blamed(stages: Sequence[StageRecord], seen: Sequence[Reading]) -> list[StageRecord]:
    """The stages, where one that broke says what the driver reported of a device meanwhile, and whose fault that is."""
    reported = incidents(seen)
    return [
        replace(each, message=f"{each.message}; {_words(reported)}", fault=_fault(reported) or each.fault)
        if reported and each.outcome is Outcome.ERROR and not each.interrupted
        else each
        for each in stages
    ]


def _words(reported: Sequence[tuple[str, Incident]]) -> str:
    return "; ".join(f"{source}: {each.text}" for source, each in reported)


def _fault(reported: Sequence[tuple[str, Incident]]) -> Fault:
    return next((each.fault for _, each in reported if each.fault), "")
