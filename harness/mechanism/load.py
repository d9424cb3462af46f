"""Concurrent requests with a deadline each, watched while they run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from harness.ground.clock import SYSTEM_CLOCK, Clock
from harness.mechanism import signals

_WATCH_EVERY = 0.5


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
        started: Seconds since the load began.
        seconds: Time in flight.
    """

    key: str
    status: int
    body: Any
    error: str
    started: float
    seconds: float


class Aborted(Exception):
    """The watch found a reason to stop."""


def send(
    calls: Sequence[Call],
    *,
    concurrency: int,
    timeout: float,
    watch: Callable[[], str],
    on_reply: Callable[[Reply], None],
    on_tick: Callable[[], None] = lambda: None,
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
        clock: For timing.

    Raises:
        Aborted: ``watch`` said so.
        Interrupted: A signal arrived.
    """
    asyncio.run(_send(calls, concurrency, aiohttp.ClientTimeout(total=timeout), watch, on_reply, on_tick, clock))


async def _send(
    calls: Sequence[Call],
    concurrency: int,
    limit: aiohttp.ClientTimeout,
    watch: Callable[[], str],
    on_reply: Callable[[Reply], None],
    on_tick: Callable[[], None],
    clock: Clock,
) -> None:
    began = clock.monotonic()
    places = asyncio.Semaphore(concurrency)

    async def one(session: aiohttp.ClientSession, call: Call) -> None:
        async with places:
            started = clock.monotonic()
            status, body, error = await _post(session, call, limit)
            on_reply(Reply(call.key, status, body, error, started - began, clock.monotonic() - started))

    async def everything() -> None:
        # The default connector allows 100 connections: a silent cap on concurrency.
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(one(session, call))

    async def guard(work: asyncio.Task[None]) -> str:
        while not work.done():
            reason = await asyncio.to_thread(watch)
            if reason:
                work.cancel()
                return reason
            on_tick()
            await asyncio.wait([work], timeout=_WATCH_EVERY)
        return ""

    loop = asyncio.get_running_loop()
    work = asyncio.create_task(everything())

    def cancel() -> None:
        loop.call_soon_threadsafe(work.cancel)

    with signals.redirected(cancel):
        watcher = asyncio.create_task(guard(work))
        await asyncio.wait([work])
        reason = await watcher
    if reason:
        raise Aborted(reason)
    work.result()


async def _post(session: aiohttp.ClientSession, call: Call, limit: aiohttp.ClientTimeout) -> tuple[int, Any, str]:
    try:
        async with session.post(call.url, json=dict(call.body), timeout=limit) as response:
            text = await response.text(errors="replace")
            if response.status != 200:
                return response.status, None, f"status {response.status}: {' '.join(text.split())[:300]}"
            try:
                return response.status, await response.json(content_type=None), ""
            except ValueError:
                return response.status, None, f"status 200 without JSON: {text[:100]!r}"
    except TimeoutError:
        return 0, None, f"no answer within {limit.total:g} s"
    except aiohttp.ClientError as error:
        return 0, None, f"{type(error).__name__}: {error}"
