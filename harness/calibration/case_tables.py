"""Baselines into a case file, with the old ones in their history; comments and layout stay."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import tomlkit

from harness.base.domain import Platform
from harness.base.errors import UsageError
from harness.base.settings import listed
from harness.cases.document import editable
from harness.cases.load import CaseFile
from harness.cases.matrix import Variant
from harness.host import files

Key = tuple[str, ...]
"""Of a baseline in a case: ``("checks", "accuracy")``, ``("comparisons", "direct")``."""

_TOLERANCES = ("relative_tolerance", "absolute_tolerance")
_TABLES = ("checks", "comparisons", "platform", "matrix", "set")
"""Tables that hold only tables."""
_OF_A_POINT = "each point has values of its own"


def write(
    case_file: CaseFile, platform: Platform, tables: Mapping[Key, Mapping[str, Any]], today: str, variant: Variant = ()
) -> None:
    """Put the tables into the case file, where they hold for what they were measured on and for nothing else.

    Those of the only platform go into the case itself, others into the table of the platform. Those of a point of a
    matrix go to its label, where the matrix has one axis, else into a ``[[when]]`` of their own.

    Args:
        case_file: Whose baselines they are.
        platform: Where they were measured.
        tables: By key; ``reason`` goes into the history of what was there.
        today: As a date.
        variant: The point of the matrix.

    Raises:
        UsageError: The file cannot be edited, or something in it stands above them.
    """
    before = case_file.merged(platform, variant)
    alone = case_file.platforms == [platform]
    for place in _places(variant, alone=alone, platform=platform):
        document = editable(case_file.path)
        try:
            table = place(document)
            for key, given in tables.items():
                _fill(_below(table, *key), _at(before, key), given, today, own=alone and not variant)
            text = tomlkit.dumps(document)
        except (tomlkit.exceptions.TOMLKitError, TypeError, ValueError):
            continue  # a label in one line has no room for tables
        if _holds(case_file, text, platform, variant, tables):
            files.write(case_file.path, text)
            return
    raise UsageError(f"{case_file.path}: {'.'.join(next(iter(tables)))}: something else stands above what was measured")


def _places(variant: Variant, *, alone: bool, platform: Platform) -> Iterator[Callable[[Any], Any]]:
    """Where tables of a point may stand, the plainest first."""
    above = () if alone else ("platform", platform)
    if not variant:
        yield lambda document: _below(document, *above)
        return
    if len(variant) == 1:
        yield lambda document: _below(document, *above, "matrix", *variant[0])
    yield lambda document: _below(_rule(_below(document, *above), variant), "set")


def _rule(table: Any, variant: Variant) -> Any:
    """The ``[[when]]`` of a point, made where there is none."""
    rules = table.setdefault("when", tomlkit.aot())
    for rule in rules:
        of_it = rule.get("match") == dict(variant) and "engine" not in rule
        if of_it and rule["set"].keys() <= {"checks", "comparisons"}:
            return rule
    match = tomlkit.inline_table()
    match.update(dict(variant))
    rules.append(tomlkit.table().append("match", match).append("reason", _OF_A_POINT))
    return rules[-1]


def _holds(
    case_file: CaseFile, text: str, platform: Platform, variant: Variant, tables: Mapping[Key, Mapping[str, Any]]
) -> bool:
    """Whether a case that says this expects what was measured."""
    try:
        written = replace(case_file, content=tomllib.loads(text)).merged(platform, variant)
    except tomllib.TOMLDecodeError:
        return False
    usual = {"status": "gating", "counts": "drafts"}
    return all(
        _at(written, key).get(name, usual.get(name)) == given.get(name, usual.get(name))
        for key, given in tables.items()
        for name in ("expected", "passport", "n", *usual)
    )


def _fill(table: Any, old: Mapping[str, Any], given: Mapping[str, Any], today: str, *, own: bool) -> None:
    """Put a baseline into its table.

    Args:
        table: Its place.
        old: What holds there now, from wherever it is.
        given: What was measured.
        today: As a date.
        own: Whether nothing but this table says what holds.
    """
    new = dict(given)
    reason = new.pop("reason")
    if not own and "absolute_tolerance" in old:  # the general table has it, and a case has one of the two
        widest = max(listed(new["expected"]))
        new["absolute_tolerance"] = float(f"{new.pop('relative_tolerance') * abs(widest):.4g}")
    for key in _TOLERANCES:
        if key in table and key not in new:
            del table[key]
    for key, usual in (("status", "gating"), ("counts", "drafts")):
        new.setdefault(key, usual)
        said_below = key in table or old.get(key, usual) != usual  # by a table that this one is laid over
        if new[key] == usual and (own or not said_below):
            del new[key]
            table.pop(key, None)
    if old.get("expected") is not None:
        new["history"] = [*old.get("history", []), _past(old, today, reason)]
    for key, value in new.items():
        table[key] = _value(key, value)


def _past(old: Mapping[str, Any], today: str, reason: str) -> dict[str, Any]:
    kept = {key: old[key] for key in ("expected", "origin", *_TOLERANCES) if key in old}
    return kept | {"until": today, "reason": reason}


def _value(key: str, value: Any) -> Any:
    """As tomlkit writes it: a passport as a table, a history with a line an entry."""
    if key == "history":
        array = tomlkit.array()
        array.multiline(True)
        for each in value:
            entry = tomlkit.inline_table()
            entry.update(each)
            array.append(entry)
        return array
    return tomlkit.item(value)


def _at(tables: Mapping[str, Any], key: Key) -> Mapping[str, Any]:
    found: Any = tables
    for part in key:
        found = found.get(part, {})
    return found if isinstance(found, Mapping) else {}


def _below(table: Any, *path: str) -> Any:
    for key in path:
        if key not in table:
            table[key] = tomlkit.table(is_super_table=key in _TABLES)
        table = table[key]
        if not isinstance(table, Mapping):
            raise UsageError(f"{key}: is no table")
    return table
