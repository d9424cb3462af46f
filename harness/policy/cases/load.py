"""From TOML files to cases: defaults, then the case, each with its table for the platform laid over it."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from harness.ground.errors import UsageError
from harness.policy import protocols
from harness.policy.cases.matrix import Matrix, Variant, When
from harness.policy.cases.model import PLATFORMS, Case, Platform, Serve, SuiteTable, merge
from harness.policy.engines import ENGINES

DEFAULTS = "_defaults.toml"
SUITE = "_suite.toml"
NOT_THE_CASE = ("platform", "checkpoints", *Matrix.model_fields)
_ASKED = ("evaluation", "controls", "comparisons")
_KNOWN_OF_THE_MODEL = ("accuracy", "parity", "acceptance_length", "acceptance_per_position", "draft_counts")
"""Checks that a checkpoint set replaces: what is known of one model says nothing about another. Others stay."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")


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
    """

    suite: Suite
    name: str
    path: Path
    content: Mapping[str, Any]
    defaults: Mapping[str, Any]

    @property
    def id(self) -> str:
        return f"{self.suite.name}/{self.name}"

    @property
    def platforms(self) -> list[Platform]:
        return [platform for platform in PLATFORMS if platform in self.content.get("platforms", [])]

    def matrix(self, platform: Platform) -> Matrix:
        """The matrix of the case on ``platform``.

        Raises:
            UsageError: It is wrong: with file, key and the nearest valid name.
        """
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

    def set_layers(self, platform: Platform, name: str, variant: Variant) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Tables of a checkpoint set at a point, from the most general to the most special, each with where it stands.

        Raises:
            UsageError: A rule of the set is wrong: with file, key and the nearest valid name.
        """
        for where, layer in self.layers(platform):
            if name in layer.get("checkpoints", {}):
                inside = "." if ": " in where else ": defaults." if where.endswith(SUITE) else ": "
                stands, table = f"{where}{inside}checkpoints.{name}", layer["checkpoints"][name]
                yield stands, {key: value for key, value in table.items() if key != "when"}
                for index, rule in enumerate(self._rules_of_a_set(platform, name, table)):
                    if rule.matches(variant):
                        yield f"{stands}.when[{index}].set", rule.set

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
        merged = self.merged(platform, variant, checkpoints)
        self._validate_roles(merged)
        try:
            case = Case.model_validate(merged)
        except ValidationError as error:
            raise self._usage_error(error) from None
        if problem := ENGINES[case.engine.name].problem(case):
            raise UsageError(f"{self.path}: {problem}")
        return case

    def layers(self, platform: Platform) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Tables from the most general to the most special one, each with where it stands."""
        files = ((DEFAULTS, self.defaults), (f"{self.suite.name}/{SUITE}", self.suite.defaults))
        for where, layer in (*files, (str(self.path), self.content)):
            yield where, layer
            inside = "defaults.platform" if where.endswith(SUITE) else "platform"
            yield f"{where}: {inside}.{platform}", layer.get("platform", {}).get(platform, {})

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
        self, error: ValidationError, model: type[BaseModel] = Case, prefix: tuple[str, ...] = ()
    ) -> UsageError:
        return usage_error(self.path, error, model, prefix)


def usage_error(path: Path, error: ValidationError, model: type[BaseModel], prefix: tuple[str, ...] = ()) -> UsageError:
    """One line for a table that does not validate: file, key, and the nearest valid name or the next step."""
    # The first error is enough: the next run shows the next one. An unknown key goes first, because a misspelt key
    # is often a missing one too.
    first = min(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"]]
    key = ".".join([*prefix, *_without_tags(location)])
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(location[-1], _names_beside(model, location), n=1, cutoff=0.5)
        advice = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(_names_beside(model, location))}"
        return UsageError(f"{path}: {key}: unknown key; {advice}")
    if first["type"] == "missing":
        return UsageError(f"{path}: {key}: missing; add it")
    message = first["msg"].removeprefix("Value error, ")
    given = "" if first["type"] == "value_error" else f" (it is {first['input']!r})"
    return UsageError(f"{path}: {key + ': ' if key else ''}{message}{given}")


def _without_tags(location: list[str]) -> list[str]:
    """``location`` without the protocol id that pydantic inserts after ``evaluation``."""
    return [part for part in location if part not in protocols.IDS]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Every model class that occurs in a type annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _names_beside(model: type[BaseModel], location: list[str]) -> list[str]:
    """Field names valid where the last part of ``location`` stands."""
    models = [model]
    for part in location[:-1]:
        fields = [candidate.model_fields[part] for candidate in models if part in candidate.model_fields]
        if fields:
            models = [found for field in fields for found in _models_in(field.annotation)]
    own = NOT_THE_CASE if model is Case and len(location) == 1 else ()
    return sorted({*own, *(name for candidate in models for name in candidate.model_fields)})


def read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None


def load(folder: Path) -> list[CaseFile]:
    """All case files below ``folder``, each checked for every platform it declares.

    Raises:
        UsageError: No such folder, or a file in it is wrong.
    """
    if not (folder / DEFAULTS).is_file():
        raise UsageError(f"{folder}: no case folder ({DEFAULTS} is not there); run from the repository or give --cases")
    defaults = read(folder / DEFAULTS)
    found = []
    for suite_folder in sorted(path for path in folder.iterdir() if path.is_dir() and any(path.glob("*.toml"))):
        suite = read_suite(suite_folder)
        for path in sorted(suite_folder.glob("[!_]*.toml")):
            _check_name(path, path.stem)
            case_file = CaseFile(suite, path.stem, path, read(path), defaults)
            _check_platforms(case_file)
            for platform in case_file.platforms:
                for variant in case_file.matrix(platform).variants():
                    for checkpoints in ("", *case_file.checkpoint_sets):
                        case_file.resolve(platform, variant, checkpoints)
            found.append(case_file)
    return found


def read_suite(folder: Path) -> Suite:
    """A suite from its ``_suite.toml``; without one it has no title, no paths and no defaults."""
    path = folder / SUITE
    _check_name(folder, folder.name)
    content = read(path) if path.exists() else {}
    defaults = content.pop("defaults", {})
    try:
        return Suite(folder.name, SuiteTable.model_validate(content), defaults)
    except ValidationError as error:
        raise usage_error(path, error, SuiteTable) from None


def _check_name(path: Path, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{path}: {name!r} must be lower-case letters, digits and underscores")


def _check_platforms(case_file: CaseFile) -> None:
    declared = case_file.content.get("platforms")
    if not isinstance(declared, list) or not declared:
        raise UsageError(f'{case_file.path}: platforms: missing; list where the case runs, as in ["cpu"]')
    for key, names in (("platforms", declared), ("platform", case_file.content.get("platform", {}))):
        for name in names:
            if name not in PLATFORMS:
                raise UsageError(f"{case_file.path}: {key}: {name!r} is none of {', '.join(PLATFORMS)}")
            if name not in declared:
                raise UsageError(
                    f"{case_file.path}: platform.{name}: the case does not run on {name}; add it to platforms"
                )
