"""Configuration that an engine prints as Python prints it: ``model='x', config=Config(a=1, b=[<Mode.NONE: 0>])``.

Nothing is evaluated. What cannot be taken apart stays as the text that it is.
"""

from __future__ import annotations

import re
from typing import Any, Self

_DEEPEST = 40
_CLOSING = {"(": ")", "[": "]", "{": "}", "<": ">"}
_NAMED = re.compile(r"[A-Za-z_][\w.]*(?=\()")
_KEY = re.compile(r"\s*([A-Za-z_]\w*)=")
_MEMBER = re.compile(r"<\w+\.(\w+): (.*)>")
_PLAIN: dict[str, Any] = {"None": None, "True": True, "False": False}


class Member(str):
    """A member of an enumeration: its name, and the text of its value, as either may be asked for."""

    __slots__ = ("value",)
    value: str

    def __new__(cls, name: str, value: str) -> Self:
        made = super().__new__(cls, name)
        made.value = value.strip("'\"")
        return made


def fields(text: str) -> dict[str, Any]:
    """``key=value, key=value`` as a table: texts, numbers, True, False, None, lists and tables in it.

    ``Name(key=value)`` is a table, and an enumeration's member is a :class:`Member`. A part without a key is left out.
    """
    return _table(_parts(text, ","), 0)


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The same without tables in tables: ``speculative_config.method``."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _table(parts: list[str], depth: int) -> dict[str, Any]:
    pairs = [(found[1], part[found.end() :]) for part in parts if (found := _KEY.match(part))]
    return {key: _value(value, depth + 1) for key, value in pairs}


def _value(text: str, depth: int) -> Any:
    text = text.strip()
    if text in _PLAIN:
        return _PLAIN[text]
    if depth > _DEEPEST or not text:
        return text
    if found := _MEMBER.fullmatch(text):
        return Member(found[1], found[2])
    if text[0] in "'\"" and text[-1] == text[0] and len(text) > 1:
        return text[1:-1]
    named = _NAMED.match(text)
    return _bracketed(text, named.end() if named else 0, depth) if text[-1] in ")]}" else _number(text)


def _bracketed(text: str, opens: int, depth: int) -> Any:
    """A table, a list, or ``Name(key=value)``, whose bracket opens there."""
    bracket, inside = text[opens], text[opens + 1 : -1]
    if _CLOSING.get(bracket) != text[-1]:
        return text
    if opens:
        return _table(_parts(inside, ","), depth) or text
    if bracket == "{":
        pairs = [_parts(part, ":", most=1) for part in _parts(inside, ",")]
        return {str(_value(pair[0], depth + 1)): _value(pair[1], depth + 1) for pair in pairs if len(pair) == 2}
    return [_value(part, depth + 1) for part in _parts(inside, ",") if part.strip()]


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _parts(text: str, at: str, most: int = 0) -> list[str]:
    """``text`` cut where ``at`` is in no bracket and no quotes; ``most`` cuts, or all."""
    parts: list[str] = []
    open_: list[str] = []
    start, index, quote = 0, 0, ""
    while index < len(text):
        sign = text[index]
        if quote:
            if sign == "\\":
                index += 1
            elif sign == quote:
                quote = ""
        elif sign in "'\"":
            quote = sign
        elif sign in _CLOSING and not (sign == "<" and not text[index + 1 : index + 2].isalpha()):
            open_.append(_CLOSING[sign])
        elif open_ and sign == open_[-1]:
            open_.pop()
        elif sign == at and not open_:
            parts.append(text[start:index])
            start = index + 1
            if len(parts) == most:
                break
        index += 1
    return [*parts, text[start:]]
