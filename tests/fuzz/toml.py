"""TOML files that are nearly right: real ones with a few things changed, and what people and editors do to text."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

Key = tuple[str | int, ...]

TEXTS = (
    "", " ", "x", "unresolved", "../../../../x", "/etc/passwd", "..", ".", "-", "--flag", "a=b", "a,b", "a b", "a\nb",
    "a\0b", "\x1b[31mred", "\u202eabc", "é", "\U0001f600", "a" * 300, "a" * 30_000, "none: " + "x" * 20, "true", "1",
    "nan", "[x]", "{key}", "%s", "$HOME", "`id`", "eagle3/known_answer", "cpu", "cuda", "server", "decode", "none",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 3, 17, 10**6, 10**12, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**40, 0.0, -0.0, 0.5, -1.5, 1e-308,
    1e308, float("inf"), float("-inf"), float("nan"), True, False,
)  # fmt: skip
DATES = (date(2026, 1, 2), time(3, 4), datetime(2026, 1, 2, 3, 4))  # noqa: DTZ001 # TOML has local ones
NAMES = (
    *TEXTS, "platform", "platforms", "checkpoints", "matrix", "when", "exclude", "set", "match", "serve", "flags",
    "env", "checks", "roles", "defaults", "model", "controls", "comparisons", "evaluation", "engine", "tiny", "title",
    "paths", "expected", "reason", "since", "known_answer", "repo", "revision", "speculation", "kv_transfer",
)  # fmt: skip


def values() -> st.SearchStrategy[Any]:
    """Values of every type of TOML, the odd ones more often."""
    plain = st.sampled_from([*TEXTS, *NUMBERS, *DATES]) | st.text(max_size=8) | st.integers() | st.floats()
    return st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
        max_leaves=6,
    ) | st.builds(nested, st.sampled_from([5, 40, 150]), lists=st.booleans())


def nested(depth: int, *, lists: bool) -> Any:
    """Lists or tables in one another."""
    found: Any = 1
    for _ in range(depth):
        found = [found] if lists else {"a": found}
    return found


@st.composite
def changed(draw: st.DrawFn, original: dict[str, Any]) -> dict[str, Any]:
    """A document with one to three places changed: another value, no value, another name, one more key."""
    document = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(document))
        if not places:
            break
        *path, last = draw(st.sampled_from(places))
        table: Any = document
        for part in path:
            table = table[part]
        match draw(st.sampled_from(["value", "gone", "name", "more", "moved"])):
            case "value":
                table[last] = draw(values())
            case "gone":
                del table[last]
            case "name" if isinstance(table, dict):
                table[draw(st.sampled_from(NAMES) | st.text(max_size=5))] = table.pop(last)
            case "moved":
                document[draw(st.sampled_from(NAMES))] = table[last]
            case _ if isinstance(table, dict):
                table[draw(st.sampled_from(NAMES))] = draw(values())
            case _:
                table.append(draw(values()))
    return document


def _places(value: Any, where: Key = ()) -> Iterator[Key]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield (*where, key)
        yield from _places(each, (*where, key))


def written(document: dict[str, Any]) -> bytes:
    """A document as TOML, each of its values in one line."""
    return "".join(f"{_text(key)} = {_value(value)}\n" for key, value in document.items()).encode(
        errors="surrogatepass"
    )


def _value(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return _text(value)
        case dict():
            return "{" + ", ".join(f"{_text(key)} = {_value(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_value, value)) + "]"
        case date() | time():
            return value.isoformat()
        case _:
            return str(value)


def _text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in escaped) + '"'


@st.composite
def damaged(draw: st.DrawFn, original: bytes) -> bytes:
    """A text as an editor, a merge or a disk leaves it."""
    lines = original.splitlines(keepends=True)
    first, second = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    at = draw(st.integers(0, len(original)))
    match draw(st.sampled_from(["twice", "swapped", "cut", "bytes", "gone", "mark", "crlf", "utf-16"])):
        case "twice":
            lines.insert(first, lines[second])
        case "swapped":
            lines[first], lines[second] = lines[second], lines[first]
        case "gone":
            del lines[first]
        case "cut":
            return original[:at]
        case "bytes":
            return original[:at] + draw(st.binary(max_size=4)) + original[at + draw(st.integers(0, 4)) :]
        case "mark":
            return b"\xef\xbb\xbf" + original
        case "crlf":
            return original.replace(b"\n", b"\r\n")
        case _:
            return original.decode().encode("utf-16")
    return b"".join(lines)


def parsed(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())
