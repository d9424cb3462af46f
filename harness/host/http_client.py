"""One HTTP exchange with a server that may do anything: the one way in which the harness asks a server that it started.

Whatever the server does (drip, never end, redirect, compress, send headers without end, accept and say nothing), the
exchange ends in time, takes a bounded amount of memory, and says in one line why there is no answer.

Control calls to servers on this machine: small, synchronous, each with a limit on its time and on its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp
from pydantic_core import from_json

from harness.base.domain import Probe
from harness.base.texts import cause

LATE = "no answer within"
"""With what a reason begins where the time was over."""
_SHOWN_OF_A_REFUSAL = 64 * 1024
"""Bytes that are read of an answer whose status is not 200: it is only quoted."""
_AT_LEAST = 0.05
"""Seconds that an exchange has if the time is over already: a limit of 0 would be none."""
_UNLIMITED = aiohttp.ClientTimeout(total=None)  # one limit for everything is set around the exchange


class NoAnswer(Exception):
    """There is no usable answer; why is one line."""


class NotListening(NoAnswer):
    """Nobody accepts a connection on that port."""


class Untrusted(NoAnswer):
    """TLS failed: the certificate, or what was agreed on."""


class Late(NoAnswer):
    """The answer had not come to its end in time."""


@dataclass(frozen=True)
class Answer:
    """Status and the whole body, or its beginning where the status is not 200."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        """The body as text, whatever bytes it is made of."""
        return self.body.decode(errors="replace")

    @property
    def words(self) -> str:
        """What the body says, as one line."""
        return cause(self.text[:20_000], 300)

    def document(self) -> Any:
        """The body's JSON, in UTF-8 whatever its headers say.

        Raises:
            ValueError: It is none, holds what is no character, or is nested deeper than can be read.
        """
        return from_json(self.body)


def session() -> aiohttp.ClientSession:
    """What exchanges share. The environment may name a proxy; servers on 127.0.0.1 are never behind it.

    The default connector allows 100 connections: a silent cap on concurrency.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=_UNLIMITED,
        auto_decompress=False,
        trust_env=False,
        # An answer that unpacks to more than it weighs is not asked for, and not unpacked.
        headers={"Accept-Encoding": "identity"},
    )


_keys: dict[str, str] = {}
"""API key by base URL."""


def authorize(base: str, key: str) -> None:
    """Send this key with every request below a base URL from here on, and to nobody else."""
    _keys[base] = key


def authorization(url: str) -> dict[str, str]:
    """Header with the key of the server that a URL is below; empty without one."""
    key = next((key for base, key in _keys.items() if url.startswith(f"{base}/")), "")
    return {"Authorization": f"Bearer {key}"} if key else {}


async def exchange(
    client: aiohttp.ClientSession,
    method: Literal["GET", "POST"],
    url: str,
    *,
    seconds: float,
    most: int,
    body: Mapping[str, Any] | None = None,
) -> Answer:
    """Ask once. Redirections are not followed: they are answers with their status.

    Args:
        client: From :func:`session`.
        method: Of the request.
        url: Where to.
        seconds: From connecting to the last byte of the answer.
        most: Bytes of an answer with status 200.
        body: JSON of the request.

    Raises:
        NotListening: No connection.
        Untrusted: No connection that can be trusted.
        Late: The last byte had not come in time.
        NoAnswer: It is too long, compressed, broken off or no HTTP.
    """
    try:
        async with asyncio.timeout(max(seconds, _AT_LEAST)):
            response = await client.request(method, url, json=body, allow_redirects=False, headers=authorization(url))
            try:
                return await _read(response, most)
            finally:
                response.close()  # keeps the connection if the answer was read to its end
    except TimeoutError:
        raise Late(f"{LATE} {round(seconds, 1):g} s") from None
    except aiohttp.ClientSSLError as error:
        raise Untrusted(_line(error)) from None
    except aiohttp.ClientConnectorError as error:
        raise NotListening(_line(error)) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise NoAnswer(_line(error)) from None


async def _read(response: aiohttp.ClientResponse, most: int) -> Answer:
    packed = response.headers.get("Content-Encoding", "identity")
    if response.status == 200 and packed.lower() not in ("", "identity"):
        raise NoAnswer(f"the answer is compressed ({packed[:20]}), which was not asked for")
    limit = most if response.status == 200 else _SHOWN_OF_A_REFUSAL
    read = bytearray()
    async for piece in response.content.iter_any():
        read += piece
        if len(read) > limit:
            if response.status != 200:
                break
            raise NoAnswer(f"the answer is longer than {_size(most)}")
    return Answer(response.status, bytes(read[:limit]))


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"


def _line(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientResponseError):  # the whole text has its address, and several lines
        return _plain(f"no HTTP: {cause(error.message.partition(chr(10))[0], 100)}")
    return _plain(cause(f"{type(error).__name__}: {error}", 200))


def _plain(text: str) -> str:
    """As it can be written: bytes of a header may be in it that are no character."""
    return text.encode(errors="backslashreplace").decode()


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
    try:
        answer = await exchange(client, "GET", probe.url, seconds=seconds, most=_MOST_OF_A_PROBE)
    except NotListening:
        return f"{probe.what} is not up"
    except NoAnswer as error:
        return f"{probe.what}: {error}"
    return "" if answer.status == 200 else f"{probe.what} answers {answer.status}"


async def _zmtp(probe: Probe, seconds: float) -> str:
    """A ZeroMQ peer sends its greeting, which begins with 0xFF, as soon as it accepts (ZMTP 3.1, section 3.1)."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(probe.host, probe.port)
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
    answer = get(url, timeout)
    if answer.status != 200:
        raise NoAnswer(f"status {answer.status}: {answer.words}")
    return answer.text


def get(url: str, timeout: float) -> Answer:
    """What a GET answers, whatever its status.

    Raises:
        NoAnswer: No response within ``timeout`` seconds.
    """
    return asyncio.run(_single("GET", url, None, timeout))


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
