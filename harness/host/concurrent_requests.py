"""Concurrent requests with a deadline each, watched while they run.

How many files this process may have open: a connection is one.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from harness.base.clock import SYSTEM_CLOCK, Clock
from harness.base.texts import cause
from harness.host import signals
from harness.host.http_client import Late, NoAnswer, exchange, session

_WATCH_EVERY = 0.5
_MOST = 4 << 20
"""Bytes of an answer: 32,000 tokens with every character escaped have less than 1 MiB."""


@dataclass(frozen=True)
class Call:
    """One POST.

    Attributes:
        key: Names it in the result.
        url: Where to.
        body: JSON body.
    """

    key: str
    url: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
        status: HTTP status; 0 when there was no response.
        body: Decoded JSON of the response; None when there was none.
        error: Why there is no usable response; empty when there is one.
        late: Whether it had not come in time.
        started: Seconds since the load began.
        seconds: Time in flight.
    """

    key: str
    status: int
    body: Any
    error: str
    late: bool
    started: float
    seconds: float


class Aborted(Exception):
    """The watch found a reason to stop."""


@dataclass
class _Load:
    """What the tasks of one load share."""

    timeout: float
    watch: Callable[[], str]
    on_reply: Callable[[Reply], None]
    on_tick: Callable[[], None]
    stalled: Callable[[], bool]
    clock: Clock
    began: float
    places: asyncio.Semaphore
    moving: asyncio.Event = field(default_factory=asyncio.Event)

    async def everything(self, calls: Sequence[Call]) -> None:
        self.moving.set()
        async with session() as client, asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(self.one(client, call))

    async def one(self, client: aiohttp.ClientSession, call: Call) -> None:
        async with self.places:
            await self.moving.wait()
            started = self.clock.monotonic()
            status, body, error, late = await _post(client, call, self.timeout)
            now = self.clock.monotonic()
            self.on_reply(Reply(call.key, status, body, error, late, started - self.began, now - started))
            if late and self.stalled():
                self.moving.clear()  # who does not answer this one will not answer the next: the watch decides

    async def guard(self, work: asyncio.Task[None]) -> str:
        while not work.done():
            reason = await asyncio.to_thread(self.watch)
            if reason:
                work.cancel()
                return reason
            if not self.stalled():
                self.moving.set()
            self.on_tick()
            await asyncio.wait([work], timeout=_WATCH_EVERY)
        return ""


def send(
    calls: Sequence[Call],
    *,
    concurrency: int,
    timeout: float,
    watch: Callable[[], str],
    on_reply: Callable[[Reply], None],
    on_tick: Callable[[], None] = lambda: None,
    stalled: Callable[[], bool] = lambda: False,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Send all ``calls`` with at most ``concurrency`` in flight; ``on_reply`` gets each reply as it comes.

    Replies that came before a signal or an abort are thus never lost.

    Args:
        calls: What to send, in order.
        concurrency: Requests in flight at once.
        timeout: Seconds for one request, from sending to the last byte.
        watch: Asked twice a second; returns why to stop at once, empty to go on. It runs in a thread.
        on_reply: Called for each reply as it comes.
        on_tick: Called about twice a second.
        stalled: Whether it looks as if nothing moved any more: then no place of a request that was late is used again
            until something moves, or ``watch`` ends it all.
        clock: For timing.

    Raises:
        Aborted: ``watch`` said so.
        Interrupted: A signal arrived.
    """
    places = asyncio.Semaphore(concurrency)
    load = _Load(timeout, watch, on_reply, on_tick, stalled, clock, clock.monotonic(), places)
    asyncio.run(_send(load, calls))


async def _send(load: _Load, calls: Sequence[Call]) -> None:
    loop = asyncio.get_running_loop()
    work = asyncio.create_task(load.everything(calls))

    def cancel() -> None:
        loop.call_soon_threadsafe(work.cancel)

    with signals.redirected(cancel):
        watcher = asyncio.create_task(load.guard(work))
        await asyncio.wait([work])
        reason = await watcher
    if reason:
        raise Aborted(reason)
    work.result()


async def _post(client: aiohttp.ClientSession, call: Call, seconds: float) -> tuple[int, Any, str, bool]:
    """Status, document, why there is none, and whether that was the time."""
    try:
        answer = await exchange(client, "POST", call.url, seconds=seconds, most=_MOST, body=call.body)
    except NoAnswer as error:
        return 0, None, str(error), isinstance(error, Late)
    except Exception as error:  # noqa: BLE001 # whatever comes from there ends this request, and nobody else's
        return 0, None, f"{type(error).__name__}: {error}", False
    if answer.status != 200:
        return answer.status, None, f"status {answer.status}: {answer.words}", False
    try:
        return answer.status, answer.document(), "", False
    except ValueError:
        return answer.status, None, f"status 200 without JSON: {cause(answer.text, 100)!r}", False


_SPARE = 32  # logs, the event loop, the files of the run directory

_OPEN = Path("/proc/self/fd")


def allow(connections: int) -> tuple[int, int]:
    """Raise the soft limit to the hard one, for this process and those that it starts from now on.

    Returns:
        How many files may be open, and how many are needed for so many connections beside what is open already.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    there = sum(1 for _ in _OPEN.iterdir()) if _OPEN.is_dir() else _SPARE
    return (hard if hard != resource.RLIM_INFINITY else 1 << 30), connections + there + _SPARE
