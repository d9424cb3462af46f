"""Overlays that change nothing: a value that is there already, a rule that no point reaches.

An overlay says what differs. One that does not is read by nobody, and whoever edits it believes that something changed.
A value is judged where it stands: it is dead if it changes nothing at any point of any case that it is laid over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.base.domain import Platform
from harness.cases.load import CaseFile, versions
from harness.cases.matrix import Matrix
from harness.cases.model import merge
from harness.cases.validation_errors import NOT_THE_CASE
from harness.cases.where import Where

Key = tuple[str, ...]
_MISSING = object()


class _Useful:
    """Values by where they stand, and whether one of the points they are laid over needs them."""

    def __init__(self) -> None:
        self._found: dict[Where, bool] = {}

    def lay(self, where: Where, over: Mapping[str, Any], below: Mapping[str, Any]) -> None:
        """Note which values of ``over`` differ from those in ``below``."""
        for key, value in leaves(over):
            name, there = where.below(*key), at(below, key)
            changes = not isinstance(there, Mapping) if value == {} else there != value
            self._found[name] = self._found.get(name, False) or changes

    def dead(self) -> Iterator[Where]:
        return (where for where, useful in self._found.items() if not useful)


def leaves(table: Mapping[str, Any], prefix: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every value that is no table, with its keys."""
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*prefix, key))
        else:
            yield (*prefix, key), value


def at(table: Mapping[str, Any], key: Key) -> Any:
    """The value at ``key``, or something that equals nothing."""
    found: Any = table
    for part in key:
        if not isinstance(found, Mapping) or part not in found:
            return _MISSING
        found = found[part]
    return found


def idle(case_files: Sequence[CaseFile]) -> Iterator[str]:
    """Every overlay that changes nothing, one line each, with file and key."""
    useful, reached = _Useful(), dict[Where, bool]()
    for case_file in case_files:
        for platform in case_file.platforms:
            _platform_tables(case_file, platform, useful)
            for each in versions(case_file):
                _points(each, platform, useful, reached)
    for where in useful.dead():
        yield f"{where}: changes nothing: the value is there already"
    for where, any_point in reached.items():
        if not any_point:
            yield f"{where}: matches no point that runs without it"


def _platform_tables(case_file: CaseFile, platform: Platform, useful: _Useful) -> None:
    below: dict[str, Any] = {}
    for where, layer in case_file.layers(platform):
        settings = {key: value for key, value in layer.items() if key not in NOT_THE_CASE}
        if where.key[-2:] == ("platform", platform):
            useful.lay(where, settings, below)
        below = merge(below, settings)


def _points(case_file: CaseFile, platform: Platform, useful: _Useful, reached: dict[Where, bool]) -> None:
    """What labels, ``[[when]]``, ``[[exclude]]`` and ``[roles]`` do at the points of one matrix."""
    matrix, version = case_file.every_rule(platform), case_file.version
    whens, excludes = (_rules(case_file, platform, key) for key in ("when", "exclude"))
    for where in (*whens, *excludes):
        reached.setdefault(where, False)
    for variant in matrix.variants():
        excluded = [
            where for where, rule in zip(excludes, matrix.exclude, strict=True) if rule.reaches(variant, version)
        ]
        if excluded:
            reached[excluded[0]] = True
            continue
        below = case_file.merged(platform)
        for axis, label in variant:
            over, key = matrix.matrix[axis][label], ("matrix", axis, label)
            useful.lay(_stands(case_file, platform, key), over, _others_apart(matrix, axis, label, below))
            below = merge(below, over)
        for where, rule in zip(whens, matrix.when, strict=True):
            if rule.reaches(variant, version):
                reached[where] = True
                useful.lay(where.below("set"), rule.set, below)
                below = merge(below, rule.set)
        for role, table in below.get("roles", {}).items():
            useful.lay(_stands(case_file, platform, ("roles", role)), table, below.get("serve", {}))
        for name in case_file.checkpoint_sets:
            tables = case_file.less_its_models(below)
            for where, table in case_file.set_layers(platform, name, variant):
                useful.lay(where, table, tables)
                tables = merge(tables, dict(table))


def _rules(case_file: CaseFile, platform: Platform, key: str) -> list[Where]:
    """Where each rule stands, in the order in which the matrix has them."""
    return [
        where.below(f"{key}[{index}]")
        for where, layer in case_file.layers(platform)
        for index in range(len(layer.get(key, [])))
    ]


def _stands(case_file: CaseFile, platform: Platform, key: Key) -> Where:
    """Where a table stands: of several layers that have it, in the most special one."""
    having = [where for where, layer in case_file.layers(platform) if at(layer, key) is not _MISSING]
    return (having[-1] if having else Where(str(case_file.path))).below(*key)


def _others_apart(matrix: Matrix, axis: str, label: str, below: Mapping[str, Any]) -> Mapping[str, Any]:
    """``below`` without what another label of the axis changes: a label may say what the others differ from."""
    apart: dict[str, Any] = dict(below)
    for other, table in matrix.matrix[axis].items():
        for key, value in leaves(table):
            if other != label and at(below, key) != value:
                apart = _without(apart, key)
    return apart


def _without(table: Mapping[str, Any], key: Key) -> dict[str, Any]:
    first, *rest = key
    found = dict(table)
    if rest and isinstance(found.get(first), Mapping):
        found[first] = _without(found[first], tuple(rest))
    elif not rest:
        found.pop(first, None)
    return found
