"""What pydantic found wrong with a table, in one line: file, key, and the nearest valid name or the next step."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from harness import protocols
from harness.base import secrets
from harness.base.errors import UsageError
from harness.base.settings import cut
from harness.cases.document import shown
from harness.cases.matrix import Matrix
from harness.cases.model import Case

NOT_THE_CASE = ("platform", "checkpoints", *Matrix.model_fields)
"""Keys of a case file that are not the case itself."""

_LONGEST = 600
_WORDS = {
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "list_type": "must be a list",
}
"""Where pydantic's own words are Python's and not TOML's."""


def usage_error(path: Path, error: ValidationError, model: type[BaseModel], prefix: tuple[str, ...] = ()) -> UsageError:
    """One line for a table that does not validate: file, key, and the nearest valid name or the next step."""
    first = first_of(error)
    location = [str(part) for part in first["loc"]]
    key = shown((*prefix, *key_of(location)))
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(location[-1], _names_beside(model, location), n=1, cutoff=0.5)
        advice = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(_names_beside(model, location))}"
        return UsageError(f"{path}: {key}: unknown key; {advice}")
    if first["type"] == "missing":
        return UsageError(f"{path}: {key}: missing; add it")
    message = _WORDS.get(first["type"], cut(first["msg"].removeprefix("Value error, "), _LONGEST))
    # What stands there may be a secret of another type than the key has.
    hidden = first["type"] == "value_error" or any(map(secrets.is_name, location))
    given = "" if hidden else f" (it is {cut(repr(first['input']))})"
    return UsageError(f"{path}: {key + ': ' if key else ''}{message}{given}")


def first_of(error: ValidationError) -> Mapping[str, Any]:
    """The first error is enough: the next run shows the next one.

    An unknown key goes first, because a misspelt key is often a missing one too.
    """
    return dict(min(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden"))


def key_of(location: Sequence[str | int]) -> tuple[str, ...]:
    """The key of an error, without what pydantic adds: the protocol id after ``evaluation``, and what is a key."""
    return tuple(str(part) for part in location if part not in protocols.IDS and part != "[key]")


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Every model class that occurs in a type annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]


def _names_beside(model: type[BaseModel], location: list[str]) -> list[str]:
    """Field names valid where the last part of ``location`` stands."""
    models = [model]
    for part in location[:-1]:
        fields = [candidate.model_fields[part] for candidate in models if part in candidate.model_fields]
        if fields:
            models = [found for field in fields for found in models_in(field.annotation)]
    own = NOT_THE_CASE if model is Case and len(location) == 1 else ()
    return sorted({*own, *(name for candidate in models for name in candidate.model_fields)})
