"""From TOML files to cases: defaults, then the case, each with its table for the platform laid over it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.base.domain import PLATFORMS, Platform
from harness.base.errors import UsageError
from harness.base.settings import cut
from harness.cases import engine_support
from harness.cases import layer as shape
from harness.cases.document import read
from harness.cases.matrix import Matrix, Variant, When, label
from harness.cases.model import Case, SuiteTable, merge
from harness.cases.serve_settings import Serve
from harness.cases.validation_errors import NOT_THE_CASE, first_of, key_of, usage_error
from harness.cases.where import Where
from harness.checks import CHECKS

DEFAULTS = "_defaults.toml"
SUITE = "_suite.toml"
_ASKED = ("evaluation", "controls", "comparisons")
_KNOWN_OF_THE_MODEL = tuple(name for name, check in CHECKS.items() if check.of_the_model)
"""Checks that a checkpoint set replaces: what is known of one model says nothing about another. Others stay."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_LONGEST_POINT = 200  # it is the name of a folder


@dataclass(frozen=True)
class Suite:
    """A folder of cases.

    Attributes:
        name: Of the folder.
        about: Its ``_suite.toml``.
        defaults: What all its cases have in common: a layer between the defaults file and the case.
    """

    name: str
    about: SuiteTable
    defaults: Mapping[str, Any]


@dataclass(frozen=True)
class CaseFile:
    """A parsed case file, not yet resolved for a platform.

    Attributes:
        suite: Its folder.
        name: Its file name without ending.
        path: As it is named in errors.
        content: The file.
        defaults: The defaults file.
        version: Of the engine, as a build or a pin says it; None where nobody knows it yet, and no rule that has a
            condition on it holds.
        measured: Whether its points are measured only, so that none of them needs a baseline.
    """

    suite: Suite
    name: str
    path: Path
    content: Mapping[str, Any]
    defaults: Mapping[str, Any]
    version: str | None = None
    measured: bool = False

    @property
    def id(self) -> str:
        return f"{self.suite.name}/{self.name}"

    @property
    def platforms(self) -> list[Platform]:
        return [platform for platform in PLATFORMS if platform in self.content.get("platforms", [])]

    def matrix(self, platform: Platform) -> Matrix:
        """The matrix of the case on ``platform``, with the rules that are for this version of the engine.

        Raises:
            UsageError: It is wrong: with file, key and the nearest valid name.
        """
        return self.every_rule(platform).on(self.version)

    def every_rule(self, platform: Platform) -> Matrix:
        """The same, with the rules of all versions."""
        layers = [layer for _, layer in self.layers(platform)]
        tables: dict[str, Any] = {"matrix": {}}
        for layer in layers:
            tables = merge(tables, {key: layer[key] for key in ("matrix",) if key in layer})
        for key in ("when", "exclude"):
            tables[key] = [rule for layer in layers for rule in layer.get(key, [])]
        try:
            matrix = Matrix.model_validate(tables)
        except ValidationError as error:
            raise self._usage_error(error, Matrix) from None
        if problem := matrix.problem():
            raise UsageError(f"{self.path}: {problem}")
        return matrix

    @property
    def checkpoint_sets(self) -> list[str]:
        """Names of the checkpoint sets that the case can run with instead of its own models."""
        return list(self.content.get("checkpoints", {}))

    def merged(self, platform: Platform, variant: Variant = (), checkpoints: str = "") -> dict[str, Any]:
        """The tables of the case as they are on ``platform``, with a checkpoint set if one is named; not validated."""
        result: dict[str, Any] = {}
        for _, layer in self.layers(platform):
            result = merge(result, {key: value for key, value in layer.items() if key not in NOT_THE_CASE})
        for overlay in self.matrix(platform).overlays(variant):
            result = merge(result, dict(overlay))
        if checkpoints:  # last of all: the flags are those of the case
            result = self.less_its_models(result)
            for _, table in self.set_layers(platform, checkpoints, variant):
                result = merge(result, dict(table))
        return result

    def less_its_models(self, tables: dict[str, Any]) -> dict[str, Any]:
        """``tables`` without what is asked and what is known of the models."""
        checks = {key: value for key, value in tables.get("checks", {}).items() if key not in _KNOWN_OF_THE_MODEL}
        return tables | {key: self.defaults.get(key, {}) for key in _ASKED} | {"checks": checks}

    def set_layers(self, platform: Platform, name: str, variant: Variant) -> Iterator[tuple[Where, Mapping[str, Any]]]:
        """Tables of a checkpoint set at a point, from the most general to the most special, each with where it stands.

        Raises:
            UsageError: A rule of the set is wrong: with file, key and the nearest valid name.
        """
        for where, layer in self.layers(platform):
            if name in layer.get("checkpoints", {}):
                stands, table = where.below("checkpoints", name), layer["checkpoints"][name]
                yield stands, {key: value for key, value in table.items() if key != "when"}
                for index, rule in enumerate(self._rules_of_a_set(platform, name, table)):
                    if rule.matches(variant) and rule.for_version(self.version):
                        yield stands.below(f"when[{index}]", "set"), rule.set

    def _rules_of_a_set(self, platform: Platform, name: str, table: Mapping[str, Any]) -> list[When]:
        axes = self.matrix(platform).matrix
        try:
            rules = Matrix.model_validate({"matrix": axes, "when": table.get("when", [])})
        except ValidationError as error:
            raise self._usage_error(error, Matrix, ("checkpoints", name)) from None
        if problem := rules.problem():
            raise UsageError(f"{self.path}: checkpoints.{name}.{problem}")
        return rules.when

    def resolve(self, platform: Platform, variant: Variant = (), checkpoints: str = "") -> Case:
        """The case as it runs on ``platform``.

        Raises:
            UsageError: Unknown key, wrong type, missing baseline: with file, key and the nearest valid name.
        """
        merged = self.merged(platform, variant, checkpoints) | ({"measure_only": True} if self.measured else {})
        self._validate_roles(merged)
        try:
            case = Case.model_validate(merged)
        except ValidationError as error:
            raise self._usage_error(error, checkpoints=checkpoints) from None
        if problem := engine_support.problem(case):
            raise UsageError(f"{self.path}: {problem}")
        return case

    def layers(self, platform: Platform) -> Iterator[tuple[Where, Mapping[str, Any]]]:
        """Tables from the most general to the most special one, each with where it stands."""
        suite = Where(f"{self.suite.name}/{SUITE}", ("defaults",))
        files = ((Where(DEFAULTS), self.defaults), (suite, self.suite.defaults), (Where(str(self.path)), self.content))
        for where, layer in files:
            yield where, layer
            yield where.below("platform", platform), layer.get("platform", {}).get(platform, {})

    def _validate_roles(self, merged: dict[str, Any]) -> None:
        serve, roles = merged.get("serve"), merged.get("roles")
        if not isinstance(serve, dict) or not isinstance(roles, dict):
            return  # the model says so
        for prefix, table in (("serve", {}), *((f"roles.{role}", roles[role]) for role in roles)):
            if not isinstance(table, dict):
                raise UsageError(f"{self.path}: {prefix}: must be a table")
            try:
                Serve.model_validate(merge(serve, table))
            except ValidationError as error:
                raise self._usage_error(error, Serve, tuple(prefix.split("."))) from None

    def _usage_error(
        self,
        error: ValidationError,
        model: type[BaseModel] = Case,
        prefix: tuple[str, ...] = (),
        checkpoints: str = "",
    ) -> UsageError:
        """Of the file that says it: the most special one that has the key; what is missing, the case may add."""
        first = first_of(error)
        key = (*prefix, *key_of(first["loc"]))
        folder = self.path.parent
        below = (
            (self.path, self.content, ()),
            (folder / SUITE, self.suite.defaults, ("defaults",)),
            (folder.parent / DEFAULTS, self.defaults, ()),
        )
        asked = below if key and first["type"] != "missing" else ()
        for value in (first["input"], shape.ANY):
            for path, layer, inside in asked:
                if shape.mentions(layer, key, checkpoints, value):
                    return usage_error(path, error, model, (*inside, *prefix))
        return usage_error(self.path, error, model, prefix)


def load(folder: Path, *, measured: bool = False) -> list[CaseFile]:
    """All case files below ``folder``, each checked for every platform it declares; without baselines if ``measured``.

    Raises:
        UsageError: No such folder, or a file in it is wrong.
    """
    found = [replace(each, measured=measured) for each in files(folder)]
    for case_file in found:
        for each, platform in ((each, platform) for platform in case_file.platforms for each in versions(case_file)):
            for variant in each.matrix(platform).variants():
                for checkpoints in ("", *each.checkpoint_sets):
                    _check_point(each, variant, checkpoints)
                    each.resolve(platform, variant, checkpoints)
    return found


def versions(case_file: CaseFile) -> list[CaseFile]:
    """The file for versions of the engine that stand for all: none, those that conditions name, and one beyond."""
    rules = [rule for platform in case_file.platforms for rule in case_file.every_rule(platform).rules]
    named = sorted({bound for rule in rules if rule.engine for bound in rule.engine.bounds})
    return [case_file, *(replace(case_file, version=version) for version in (named and ["0", *named, "9999"]))]


def files(folder: Path) -> Iterator[CaseFile]:
    """All case files below ``folder``: each is read, and has its shape, but nothing is known of what it says.

    Raises:
        UsageError: No such folder, or a file in it is wrong.
    """
    defaults_file = folder / DEFAULTS
    try:
        there = defaults_file.is_file()
        suites = (
            sorted(path for path in folder.iterdir() if path.is_dir() and any(path.glob("*.toml"))) if there else []
        )
    except (OSError, ValueError) as error:
        raise UsageError(f"--cases {cut(str(folder))}: cannot be read: {getattr(error, 'strerror', error)}") from None
    if not there:
        raise UsageError(f"{folder}: no case folder ({DEFAULTS} is not there); run from the repository or give --cases")
    defaults = read(defaults_file)
    shape.require(defaults_file, defaults)
    for suite_folder in suites:
        suite = read_suite(suite_folder)
        for path in sorted(suite_folder.glob("[!_]*.toml")):
            _check_name(path, path.stem)
            content = read(path)
            shape.require(path, content)
            case_file = CaseFile(suite, path.stem, path, content, defaults)
            _check_platforms(case_file)
            yield case_file


def read_suite(folder: Path) -> Suite:
    """A suite from its ``_suite.toml``; without one it has no title, no paths and no defaults."""
    path = folder / SUITE
    _check_name(folder, folder.name)
    content = read(path) if path.exists() else {}
    defaults = content.pop("defaults", {})
    shape.require(path, defaults, ("defaults",))
    try:
        return Suite(folder.name, SuiteTable.model_validate(content), defaults)
    except ValidationError as error:
        raise usage_error(path, error, SuiteTable) from None


def _check_name(path: Path, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{path}: {cut(repr(name))} must be lower-case letters, digits and underscores, at most 64")


def _check_point(case_file: CaseFile, variant: Variant, checkpoints: str) -> None:
    name = f"{case_file.id}{label(variant)}@{checkpoints}"
    if len(name) > _LONGEST_POINT:
        where = f"{case_file.path}: matrix"
        raise UsageError(f"{where}: {cut(name)}: has {len(name)} characters; shorten labels: {_LONGEST_POINT} at most")


def _check_platforms(case_file: CaseFile) -> None:
    declared = case_file.content.get("platforms")
    if not isinstance(declared, list) or not declared:
        raise UsageError(f'{case_file.path}: platforms: missing; list where the case runs, as in ["cpu"]')
    for key, names in (("platforms", declared), ("platform", case_file.content.get("platform", {}))):
        for name in names:
            if name not in PLATFORMS:
                raise UsageError(f"{case_file.path}: {key}: {cut(repr(name))} is none of {', '.join(PLATFORMS)}")
            if name not in declared:
                raise UsageError(
                    f"{case_file.path}: platform.{name}: the case does not run on {name}; add it to platforms"
                )
