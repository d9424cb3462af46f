"""Sweeps and bounds of shell scripts: arrays of settings, defaults of variables, arguments that a CI step gives."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from harness.upstream.figures import (
    Figure,
    Found,
    Place,
    Point,
    Setting,
    Unread,
    is_repository,
    kind_of_bound,
    measured_kind,
)

_SETTINGS = re.compile(r"[A-Z][A-Z0-9_]*=\S+(\s+[A-Z][A-Z0-9_]*=\S+)*")
_QUOTED = re.compile(r"\"([^\"]*)\"|'([^']*)'")
_OPENED = re.compile(r"^\s*(?:local\s+(?:-\w+\s+)*)?(\w+)\+?=\(\s*(.*)$")
_SINGLE = re.compile(r"^\s*(\w+)=([\"'])([^\"']*)\2\s*(#.*)?$")
_DEFAULT = re.compile(r"^\s*(?:export\s+)?([A-Z]\w*)=[\"']?\$\{(?:\1|(\d+)):?-([^}]*)\}[\"']?")
_RUN = re.compile(r"[\w./-]+\.sh")
_TEST = re.compile(r"[\w./-]*/(test_\w+\.py)")
_BOUND = re.compile(r"THRES|MIN_|EXPECTED|FLOOR")
_ITEMS = re.compile(r"NUM_Q|NUM_PROMPTS|NUM_EXAMPLES|LIMIT")
_CONNECTOR = re.compile(r"kv_connector[\\\"':\s]+([A-Z]\w+)")
_OPTIONS = {"--spec-method": "SD_METHOD", "--spec-tokens": "NUM_SPEC_TOKENS", "--tensor-parallel-size": "TP"}
"""Options in ``VLLM_SERVE_EXTRA_ARGS`` that say the same as a variable."""


def read(path: str, text: str, other: Callable[[str], str | None]) -> Found:
    """The points of the sweeps in a script.

    Args:
        path: Of the script.
        text: Its content.
        other: Another file of the checkout, by the end of its path.
    """
    found = Found()
    defaults: dict[str, str] = {}
    for name in dict.fromkeys(_RUN.findall(text)):
        if not path.endswith(name) and (script := other(name)):
            for key, value in _defaults(script).items():
                defaults.setdefault(key, value)
    for line, name, value in _texts(text):
        if _SETTINGS.fullmatch(value):
            variables = dict(each.split("=", 1) for each in value.split())
            found.points.append(Point(Place(path, line, name), _with_options(variables), defaults))
        elif "=" in value and _SETTINGS.match(value) and " " in value:
            found.unread.append(Unread(Place(path, line, name), f"{value[:60]!r} is not settings alone"))
    return found


def _with_options(variables: dict[str, str]) -> dict[str, str]:
    words = variables.get("VLLM_SERVE_EXTRA_ARGS", "").split(",")
    told = {_OPTIONS[word]: value for word, value in pairwise(words) if word in _OPTIONS}
    return {**told, **variables}


def _texts(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, name and text of each quoted element of an array, and of each variable that holds several settings."""
    inside = ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#"):
            continue
        if not inside and (single := _SINGLE.match(line)):
            if single[3].count("=") > 1:
                yield number, single[1], single[3]
            continue
        rest = line
        if not inside and (opened := _OPENED.match(line)):
            inside, rest = opened[1], opened[2]
        if inside:
            for quoted in _QUOTED.finditer(rest):
                yield number, inside, quoted[1] or quoted[2] or ""
            if _QUOTED.sub("", rest).partition("#")[0].rstrip().endswith(")"):
                inside = ""


def _defaults(text: str) -> dict[str, str]:
    """What variables are when nobody sets them; ``MODEL`` if there is only one in an array of models."""
    found = {match[1]: match[3].strip("\"'") for line in text.splitlines() if (match := _DEFAULT.match(line))}
    models = [value for _, name, value in _texts(text) if "MODEL" in name and is_repository(value)]
    models += [each for each in re.findall(r"^\s*MODEL=[\"']([^\"']+)", text, re.MULTILINE) if is_repository(each)]
    if models:
        found.setdefault("MODEL", models[0])
    if connector := _CONNECTOR.search(text):
        found.setdefault("KV_CONNECTOR", connector[1])
    return found


def bounds(path: str, text: str, calls: Sequence[tuple[Place, Sequence[str]]]) -> Found:
    """The bounds that a script takes as arguments: by each of its callers, else its defaults.

    Args:
        path: Of the script.
        text: Its content.
        calls: Where a CI step runs it, and with which arguments.
    """
    found = Found()
    given = _arguments(text)
    if not any(_BOUND.search(name) for name, _ in given.values()):
        return found
    model = _defaults(text).get("MODEL", "")
    for place, arguments in calls or [(Place(path, 1, "its defaults: no step runs it"), ())]:
        values = dict(given.values())
        values.update({given[index][0]: value for index, value in enumerate(arguments, 1) if index in given})
        items = next((int(value) for name, value in values.items() if _ITEMS.search(name) and value.isdecimal()), None)
        for name, value in values.items():
            if _BOUND.search(name):
                setting = Setting(target=model, items=items, dataset="gsm8k" if "gsm8k" in text else "")
                where = Place(place.path, place.line, place.symbol or name)
                found.add(_bound(where, _kind(name, text), value, setting, path))
    return found


def _kind(name: str, text: str) -> str:
    """What a variable bounds: as its name says, else the lines that compare with it."""
    used = [line.replace(name, "") for line in text.splitlines() if re.search(rf"\$\{{?{name}\b", line)]
    return kind_of_bound(name) or next(filter(None, map(measured_kind, used)), "")


def _bound(place: Place, kind: str, value: str, setting: Setting, path: str) -> Found:
    try:
        number = float(value)
    except ValueError:
        return Found(unread=[Unread(place, f"the bound {value!r} is computed")])
    if not kind:
        return Found(unread=[Unread(place, f"what is compared with {value} is not clear")])
    return Found(figures=[Figure(place, kind, (number,), setting, source=path)])


def _arguments(text: str) -> Mapping[int, tuple[str, str]]:
    """Name and default of each positional argument."""
    return {
        int(match[2]): (match[1], match[3])
        for line in text.splitlines()
        if (match := _DEFAULT.match(line)) and match[2]
    }


def tests(path: str, text: str) -> list[str]:
    """Test files that a script runs and that lie beside it, which is what it judges by."""
    return [f"{path.rpartition('/')[0]}/{name}" for name in dict.fromkeys(_TEST.findall(text))]


def calls(command: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Scripts that a line of a CI step runs, each with its arguments."""
    try:
        words = shlex.split(command, comments=True)
    except ValueError:
        words = command.split()
    for index, word in enumerate(words):
        if word.endswith(".sh"):
            rest = words[index + 1 :]
            end = next((at for at, each in enumerate(rest) if each in {"&&", "||", ";", "|"}), len(rest))
            yield word, tuple(rest[:end])
