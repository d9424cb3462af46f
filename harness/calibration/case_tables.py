"""Baselines into a case file, with the old ones in their history; comments and layout stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomlkit

from harness.base.domain import Platform
from harness.base.errors import UsageError
from harness.base.settings import listed
from harness.cases.document import editable
from harness.cases.load import CaseFile
from harness.host import files

_TOLERANCES = ("relative_tolerance", "absolute_tolerance")


def write(case_file: CaseFile, platform: Platform, tables: Mapping[str, Mapping[str, Any]], today: str) -> None:
    """Put the tables into the case file: those of its only platform into ``[checks]``, else into that of the platform.

    Args:
        case_file: Whose baselines they are.
        platform: Where they were measured.
        tables: By the check's name; ``reason`` goes into the history of what was there.
        today: As a date.

    Raises:
        UsageError: The file cannot be edited.
    """
    document = editable(case_file.path)
    before = case_file.merged(platform).get("checks", {})
    alone = case_file.platforms == [platform]
    checks = _below(document, *(() if alone else ("platform", platform)), "checks")
    for name, given in tables.items():
        old, new = before.get(name, {}), dict(given)
        reason = new.pop("reason")
        table = _below(checks, name)
        if not alone and "absolute_tolerance" in old:  # the general table has it, and a case has one of the two
            widest = max(listed(new["expected"]))
            new["absolute_tolerance"] = float(f"{new.pop('relative_tolerance') * abs(widest):.4g}")
        for key in _TOLERANCES:
            if key in table and key not in new:
                del table[key]
        for key, usual in (("status", "gating"), ("counts", "drafts")):
            new.setdefault(key, usual)
            if new[key] == usual and (alone or old.get(key, usual) == usual):
                del new[key]
                table.pop(key, None)
        if old:
            new["history"] = [*old.get("history", []), _past(old, today, reason)]
        for key, value in new.items():
            table[key] = _value(key, value)
    files.write(case_file.path, tomlkit.dumps(document))


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


def _below(table: Any, *path: str) -> Any:
    for key in path:
        if key not in table:
            table[key] = tomlkit.table(is_super_table=key in ("checks", "platform"))
        table = table[key]
        if not isinstance(table, Mapping):
            raise UsageError(f"{key}: is no table")
    return table
