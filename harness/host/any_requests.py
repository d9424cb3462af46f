"""Requests whose answer may be anything: a refusal, a stream of pieces, one from which the caller walks away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
from pydantic_core import from_json

from harness.base.texts import cause
from harness.host.http_client import LATE, authorization, session

_MOST = 4 << 20
_DATA, _DONE = b"data:", b"[DONE]"


@dataclass(frozen=True)
class Letter:
    """One POST.

    Attributes:
        content: The body as it stands.
        leave_after: Pieces of a stream after which the connection is closed; 0 if it is read to its end.
    """

    url: str
    content: bytes
    leave_after: int = 0


@dataclass(frozen=True)
class Answered:
    """What came.

    Attributes:
        status: 0 when there was no response.
        error: Why there is none, or not the whole.
        document: JSON of the body, its text where it is none; None of a stream.
        pieces: JSON of each piece of a stream.
        done: Whether the stream ended with ``[DONE]``.
    """

    status: int
    error: str
    document: Any = None
    pieces: tuple[Any, ...] = ()
    done: bool = False
    seconds: float = 0.0


def send(letters: Sequence[Letter], *, concurrency: int, seconds: float) -> list[Answered]:
    """Send all, at most ``concurrency`` at once, each with a limit of ``seconds``; the answers in the same order."""

    async def everything() -> list[Answered]:
        places = asyncio.Semaphore(concurrency)
        async with session() as client:
            return list(await asyncio.gather(*(_one(client, places, letter, seconds) for letter in letters)))

    return asyncio.run(everything())


async def _one(client: aiohttp.ClientSession, places: asyncio.Semaphore, letter: Letter, seconds: float) -> Answered:
    async with places:
        began = time.monotonic()
        status, error, content = 0, "", bytearray()
        headers = {"Content-Type": "application/json", **authorization(letter.url)}
        try:
            async with asyncio.timeout(seconds):
                response = await client.post(letter.url, data=letter.content, headers=headers, allow_redirects=False)
                try:
                    status = response.status
                    streamed = response.content_type == "text/event-stream"
                    async for part in response.content.iter_any():
                        content += part
                        if len(content) > _MOST:
                            error = f"the answer is longer than {_MOST >> 20} MiB"
                            break
                        if letter.leave_after and content.count(_DATA) >= letter.leave_after:
                            break
                finally:
                    response.close()
        except TimeoutError:
            error = f"{LATE} {seconds:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as wrong:
            error = cause(f"{type(wrong).__name__}: {wrong}", 200)
        took = round(time.monotonic() - began, 4)
        if not status:
            return Answered(0, error, seconds=took)
        if not streamed:
            return Answered(status, error, document=_document(bytes(content)), seconds=took)
        events = [line[len(_DATA) :].strip() for line in bytes(content).split(b"\n") if line.startswith(_DATA)]
        pieces = tuple(_document(event) for event in events if event != _DONE)
        return Answered(status, error, pieces=pieces, done=events[-1:] == [_DONE], seconds=took)


def _document(content: bytes) -> Any:
    try:
        return from_json(content)
    except ValueError:
        return content.decode(errors="replace")
