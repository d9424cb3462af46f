"""Asked for and in force: how an engine's module says where a server shows what is in force of a setting.

A case asks for settings by name: flags of the engine with what is inside their JSON, and environment variables. A sight
is one place where a server shows one of them. What no sight shows is unseen, and never taken for equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from harness.base.seen_settings import SeenSetting
from harness.base.settings import FlagValue
from harness.engines.python_repr import Member

Asked = Mapping[str, FlagValue]
"""Settings by name; none of them is a table."""

Agrees = Callable[[FlagValue, tuple[object, ...]], bool]
"""From what was asked for and everything that was seen to whether the one is the other."""

_SCALE = {"k": 10**3, "K": 2**10, "m": 10**6, "M": 2**20, "g": 10**9, "G": 2**30, "t": 10**12, "T": 2**40}
_SHORT = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kKmMgGtT])")
_LEFT_TO_THE_ENGINE = ("", "auto")


@dataclass(frozen=True)
class Told:
    """What a server wrote and said, as far as it is on record.

    Attributes:
        log: Its log.
        infos: Labels of its metrics that only have labels to say, by name: one table a series.
        samples: Names of every sample on its ``/metrics``.
        info: The document in which it says its configuration; None where it says none.
    """

    log: str = ""
    infos: Mapping[str, tuple[Mapping[str, str], ...]] = field(default_factory=dict)
    samples: frozenset[str] = frozenset()
    info: Any = None


def same(asked: FlagValue, seen: object) -> bool:
    """Whether a value is the one that was asked for, however each of them is spelt.

    ``true`` is ``True``, ``bfloat16`` is ``torch.bfloat16``, 1G is 1073741824, neither case nor the order of a list
    counts, and what is left to the engine (``auto``) is whatever it chose.
    """
    if isinstance(asked, str) and asked.lower() in _LEFT_TO_THE_ENGINE:
        return True
    if isinstance(asked, list):
        return isinstance(seen, list) and sorted(map(_plain, asked)) == sorted(map(_plain, seen))
    if isinstance(seen, Member) and _same_text(asked, seen.value):
        return True
    return _same_text(asked, seen)


def _same_text(asked: FlagValue, seen: object) -> bool:
    one, other = _plain(asked), _plain(seen)
    number, another = _number(one), _number(other)
    return one == other if number is None or another is None else number == another


def _plain(value: object) -> str:
    return str(value).removeprefix("torch.").strip().rstrip("/").lower() if not _is_short(value) else str(value)


def _is_short(value: object) -> bool:
    return isinstance(value, str) and _SHORT.fullmatch(value) is not None


def _number(text: str) -> float | None:
    if found := _SHORT.fullmatch(text):
        return float(found[1]) * _SCALE[found[2]]
    try:
        return float(text)
    except ValueError:
        return None


def every(asked: FlagValue, seen: tuple[object, ...]) -> bool:
    """All that was seen is what was asked for."""
    return all(same(asked, each) for each in seen)


def among(asked: FlagValue, seen: tuple[object, ...]) -> bool:
    """What was asked for is among what was seen: layers of another kind, or a drafter, may have something else."""
    return any(same(asked, each) for each in seen)


@dataclass(frozen=True)
class Sight:
    """One place where a server shows what is in force.

    Attributes:
        setting: Its name; ``*`` stands for anything.
        where: The place, in words for the documentation.
        read: From what a server told and the setting's name to every value that is there; empty if none is.
        agrees: Whether these values are what was asked for.
    """

    setting: str
    where: str
    read: Callable[[Told, str], Iterable[object]]
    agrees: Agrees = every

    def shows(self, name: str) -> bool:
        """Whether it is one of this setting."""
        return fnmatchcase(name, self.setting)


def logged(pattern: str, *, flags: int = 0) -> Callable[[Told, str], Iterator[object]]:
    """Reads what the first group of a pattern matches in the log, each value once."""
    compiled = re.compile(pattern, flags)
    return lambda told, _name: iter(dict.fromkeys(found[1] for found in compiled.finditer(told.log)))


def compare(server: str, asked: Asked, sights: Iterable[Sight], told: Told) -> Iterator[SeenSetting]:
    """Every setting that is asked of a server, next to what the server shows of it."""
    known = tuple(sights)
    for name, value in asked.items():
        found = [(sight, tuple(sight.read(told, name))) for sight in known if sight.shows(name)]
        found = [(sight, values) for sight, values in found if values]
        seen = tuple(dict.fromkeys(str(each) for _, values in found for each in values))
        equal = bool(found) and all(sight.agrees(value, values) for sight, values in found)
        yield SeenSetting(server, name, _text(value), seen, equal)


def _text(value: FlagValue) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def flattened(flags: Mapping[str, Any]) -> dict[str, FlagValue]:
    """Flags as settings: what is inside a table has a name of its own, and ``no-x`` is ``x`` set to false."""
    found: dict[str, FlagValue] = {}
    for name, value in flags.items():
        if value is True and name.startswith("no-"):
            found[name.removeprefix("no-")] = False
        else:
            found |= _inside(name, value)
    return found


def _inside(name: str, value: Any) -> dict[str, FlagValue]:
    tables = isinstance(value, list) and all(isinstance(each, dict) for each in value)
    if not isinstance(value, dict) and not tables:
        return {name: value}
    parts = enumerate(value) if isinstance(value, list) else value.items()
    found: dict[str, FlagValue] = {}
    for key, each in parts:
        found |= _inside(f"{name}.{key}", each)
    return found
