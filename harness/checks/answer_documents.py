"""What an answer of OpenAI's API says, streamed or not, in one form; and where that is not what was expected.

``observed`` gives:

- ``status``: of HTTP; ``refused``: whether the body is JSON with a message in ``error``, as refusals are;
- ``choices``: in order of their index, each with ``text``, ``finish_reason``, ``stop_reason``, ``role`` of a chat, and
  ``logprobs`` and ``prompt_logprobs`` where there are any. Of a stream, ``text`` is all pieces put together;
- ``usage``; ``done``: whether a stream ended with ``[DONE]``; ``ends``: how many of its pieces had a finish reason;
- ``texts``: how many different texts there are;
- ``busy``: which of the engine's gauges were not 0 after the connection was closed;
- ``went_on``: whether what was left half-way was seen to be computed on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.base.exchange import Exchanged
from harness.base.settings import cut
from known_answer import vocabulary as v

TOLERANCE = 1e-4
"""Of a log-probability. Logits are exact; exp, sum and log of 512 float32 are wrong by some units in the last place,
1e-6 each at 10."""
_SHOWN = 70


def observed(exchanged: Exchanged) -> dict[str, Any]:
    """What came back, in the form above. What is not as the API has it is left out, and so is missed."""
    found: dict[str, Any] = {"status": exchanged.status}
    busy = [f"{name} {value:g}" for name, value in exchanged.at_rest.items() if value]
    found["busy"] = ", ".join(busy) if exchanged.at_rest else "the engine does not say"
    found["went_on"] = bool(exchanged.went_on)
    body = exchanged.document
    if exchanged.status != 200:
        error = body.get("error", body) if isinstance(body, Mapping) else None
        message = error.get("message") if isinstance(error, Mapping) else error
        return found | {"refused": isinstance(message, str) and bool(message)}
    if exchanged.pieces or exchanged.done:
        found |= _streamed(exchanged.pieces) | {"done": exchanged.done}
    elif isinstance(body, Mapping):
        found |= {"choices": [_choice(each) for each in _by_index(body.get("choices"))], "usage": body.get("usage")}
    texts = [each.get("text") for each in found.get("choices", [])]
    return found | {"texts": len(set(map(str, texts)))}


def _by_index(choices: Any) -> list[Mapping[str, Any]]:
    """Choices as the API has them, in order; an index that is there twice, or is none, leaves a hole in the order."""
    given = [each for each in choices or [] if isinstance(each, Mapping)] if isinstance(choices, Sequence) else []
    found = {each.get("index"): each for each in given}
    return [found.get(index, {}) for index in range(len(given))]


def _choice(choice: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        name: choice[name] for name in ("finish_reason", "stop_reason", "logprobs", "prompt_logprobs") if name in choice
    }
    if "matched_stop" in choice:  # SGLang's word, and there the end of the sequence is one of those
        found["stop_reason"] = None if choice["matched_stop"] == v.EOS else choice["matched_stop"]
    said = choice.get("message", choice.get("delta"))
    if isinstance(said, Mapping):
        return found | {"text": said.get("content"), "role": said.get("role")}
    return found | {"text": choice.get("text")}


def _streamed(pieces: Sequence[Any]) -> dict[str, Any]:
    choices: dict[int, dict[str, Any]] = {}
    usage, ends = None, 0
    for piece in pieces:
        if not isinstance(piece, Mapping):
            return {"broken": str(piece)[:_SHOWN]}
        usage = piece.get("usage") or usage
        for each in piece.get("choices") or []:
            one, known = _choice(each), choices.setdefault(each.get("index"), {"text": "", "finish_reason": None})
            known["text"] += one["text"] or ""
            known["role"] = known.get("role") or one.get("role")
            for name in ("finish_reason", "stop_reason"):
                known[name] = one.get(name) if one.get(name) is not None else known.get(name)
            ends += one.get("finish_reason") is not None
            _append(known, one.get("logprobs"))
    return {"choices": [choices.get(index, {}) for index in range(len(choices))], "usage": usage, "ends": ends}


def _append(known: dict[str, Any], logprobs: Any) -> None:
    """Logprobs of a piece behind those of the pieces before it."""
    if isinstance(logprobs, Mapping):
        whole = known.setdefault("logprobs", {})
        for name, values in logprobs.items():
            whole[name] = [*whole.get(name, []), *(values or [])]


def differences(expected: Any, found: Any, at: str = "") -> Iterator[str]:
    """Where ``found`` lacks what is expected or says something else: a line each, with both.

    A table must hold at least the keys expected, a list exactly as many elements; a float may differ by ``TOLERANCE``,
    and nothing is the same as null.
    """
    if isinstance(expected, Mapping):
        table = found if isinstance(found, Mapping) else {}
        for key, value in expected.items():
            yield from differences(value, table.get(key), f"{at}.{key}" if at else str(key))
    elif isinstance(expected, list | tuple):
        if not isinstance(found, Sequence) or isinstance(found, str) or len(found) != len(expected):
            size = len(found) if isinstance(found, Sequence) and not isinstance(found, str) else "no list"
            yield f"{at}: {len(expected)} expected, got {size}"
            return
        for index, (value, other) in enumerate(zip(expected, found, strict=True)):
            yield from differences(value, other, f"{at}.{index}")
    elif not _same(expected, found):
        yield f"{at}: {cut(repr(expected), _SHOWN)} expected, got {cut(repr(found), _SHOWN)}"


def _same(expected: Any, found: Any) -> bool:
    if isinstance(expected, float) and isinstance(found, int | float):
        return math.isclose(expected, found, rel_tol=0.0, abs_tol=TOLERANCE)
    return bool(expected == found) and isinstance(expected, bool) == isinstance(found, bool)
