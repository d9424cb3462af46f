"""Requests beyond the items of an evaluation: what is sent may be wrong on purpose, what comes back may be anything.

A protocol says what is exchanged and what must come back; a check compares the two. They are sent when the main run is
over and its counters are read, so nothing of it is in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"


@dataclass(frozen=True)
class Exchange:
    """One request, and what is known of its answer beforehand.

    Attributes:
        name: Unique in the protocol.
        body: JSON; the model's name is put in if it says none.
        expected: What the answer must hold (:mod:`harness.checks.answer_documents`); empty if a check knows better.
        path: Below the server's address.
        raw: Sent in place of ``body``, as it stands.
        leave_after: Pieces of a stream after which the connection is closed; 0: it is read to its end. Afterwards the
            engine must be at rest, and must not have computed the rest of the answer first.
        alone: Sent when all before it are over, and nothing with it.
    """

    name: str
    body: Mapping[str, Any] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    path: str = COMPLETIONS
    raw: str = ""
    leave_after: int = 0
    alone: bool = False


@dataclass(frozen=True)
class Exchanged:
    """What came back; one line of ``exchanges.jsonl``.

    Attributes:
        status: HTTP status, 0 when there was no response.
        error: Why there is no response; empty when there is one, whatever it says.
        document: The response's JSON, or its text where it is none; of a stream None.
        pieces: JSON of each piece of a stream.
        done: Whether the stream ended with ``[DONE]``.
        at_rest: What the engine's gauges said after a connection was closed half-way, by name, summed over servers.
        expected: As it was planned.
        seconds: Until the last byte, or until the connection was closed.
        went_on: Whether what was left half-way was still computed when several short requests had come and gone; None
            where nobody looked, or the engine's gauges do not tell.
    """

    name: str
    status: int
    error: str
    document: Any = None
    pieces: tuple[Any, ...] = ()
    done: bool = False
    at_rest: Mapping[str, float] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    went_on: bool | None = None
