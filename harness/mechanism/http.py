"""Control calls to servers on this machine: small, synchronous, each with a limit on its time and on its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import aiohttp

from harness.ground.domain import Probe
from harness.mechanism.exchange import Answer, NoAnswer, NotListening, exchange, session

_MOST = 16 << 20
"""Bytes of an answer: `/metrics` of an engine with 64 ranks has a few MiB."""
_MOST_OF_A_PROBE = 64 << 10
"""Bytes of an answer to a probe, which only its status is wanted of."""


def ask(probes: Sequence[Probe], timeout: float) -> list[str]:
    """Ask readiness questions, all at once. Returns what is wrong with each, empty if nothing is.

    Args:
        probes: What is asked.
        timeout: Seconds until the last byte of an answer: for all together, since none waits for another.
    """
    return look(probes, [], timeout)[0]


def look(probes: Sequence[Probe], urls: Sequence[str], timeout: float) -> tuple[list[str], list[str | None]]:
    """Ask probes and pages, all at once.

    Args:
        probes: As in :func:`ask`.
        urls: Pages to read.
        timeout: Seconds for all together.

    Returns:
        What is wrong with each probe; and each page, None of one that did not answer 200 in time.
    """

    async def everything() -> tuple[list[str], list[str | None]]:
        async with session() as client:
            problems = asyncio.gather(*(_ask(client, probe, timeout) for probe in probes))
            pages = asyncio.gather(*(_page(client, url, timeout) for url in urls))
            return await problems, await pages

    return asyncio.run(everything())


async def _page(client: aiohttp.ClientSession, url: str, seconds: float) -> str | None:
    try:
        answer = await exchange(client, "GET", url, seconds=seconds, most=_MOST)
    except NoAnswer:
        return None
    return answer.text if answer.status == 200 else None


async def _ask(client: aiohttp.ClientSession, probe: Probe, seconds: float) -> str:
    if probe.kind == "zmtp":
        return await _zmtp(probe, seconds)
    url = f"http://127.0.0.1:{probe.port}{probe.path}"
    try:
        answer = await exchange(client, "GET", url, seconds=seconds, most=_MOST_OF_A_PROBE)
    except NotListening:
        return f"{probe.what} is not up"
    except NoAnswer as error:
        return f"{probe.what}: {error}"
    return "" if answer.status == 200 else f"{probe.what} answers {answer.status}"


async def _zmtp(probe: Probe, seconds: float) -> str:
    """A ZeroMQ peer sends its greeting, which begins with 0xFF, as soon as it accepts (ZMTP 3.1, section 3.1)."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", probe.port)
            try:
                greeting = await reader.read(1)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return f"{probe.what} is not up"
    return "" if greeting == b"\xff" else f"{probe.what} does not speak ZeroMQ"


def text(url: str, timeout: float) -> str:
    """Body of a GET that must answer 200 within ``timeout`` seconds.

    Raises:
        NoAnswer: It did not.
    """
    answer = asyncio.run(_single("GET", url, None, timeout))
    if answer.status != 200:
        raise NoAnswer(f"status {answer.status}: {answer.words}")
    return answer.text


def post(url: str, body: Mapping[str, Any], timeout: float) -> tuple[int, Any]:
    """Status and decoded JSON of a POST; the text where the body is no JSON.

    Raises:
        NoAnswer: No response within ``timeout`` seconds.
    """
    answer = asyncio.run(_single("POST", url, body, timeout))
    try:
        return answer.status, answer.document()
    except ValueError:
        return answer.status, answer.text


async def _single(method: Literal["GET", "POST"], url: str, body: Mapping[str, Any] | None, seconds: float) -> Answer:
    async with session() as client:
        return await exchange(client, method, url, seconds=seconds, most=_MOST, body=body)
