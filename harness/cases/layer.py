"""The shape of a layer of a case: which of its keys are tables, and what their names may be.

Asked of each file before layers are laid over one another, so that what is laid over one another are tables, and what
is wrong is said of the file that it stands in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from harness.base.domain import Platform
from harness.base.errors import UsageError
from harness.base.settings import Name
from harness.cases.document import shown
from harness.cases.model import Case
from harness.cases.validation_errors import models_in, usage_error

Layer = Mapping[str, Any]
ANY: Any = object()
_BY_NAME = ("roles", "controls", "comparisons", "checks")
"""Tables of tables."""


class _Open(BaseModel):
    """Keys that are not named here are for the case to judge."""

    model_config = ConfigDict(extra="allow", strict=True)


_tables: dict[str, Any] = {
    name: (dict[str, dict[str, Any]] if name in _BY_NAME else dict[str, Any], {})
    for name, field in Case.model_fields.items()
    if models_in(field.annotation) or get_origin(field.annotation) is dict
}
_Overlay = create_model("_Overlay", __base__=_Open, **_tables)


class _Rule(_Open):
    set: _Overlay = Field(default_factory=_Overlay)


class _Set(_Overlay):
    when: list[_Rule] = Field([])


class _PlatformTable(_Overlay):
    matrix: dict[Name, dict[Name, _Overlay]] = Field({})
    when: list[_Rule] = Field([])
    exclude: list[dict[str, Any]] = Field([])
    checkpoints: dict[Name, _Set] = Field({})


class _Layer(_PlatformTable):
    platform: dict[Platform, _PlatformTable] = Field({})


def require(path: Path, layer: Any, prefix: tuple[str, ...] = ()) -> None:
    """Raise if a file does not have the shape of a layer.

    Args:
        path: Of the file, for the error.
        layer: Its content, or the part of it that is a layer.
        prefix: Key of that part.

    Raises:
        UsageError: With file and key.
    """
    try:
        _Layer.model_validate(layer)
    except ValidationError as error:
        raise usage_error(path, error, _Layer, prefix) from None
    for platform, table in layer.get("platform", {}).items():
        if "platform" in table:
            key = shown((*prefix, "platform", platform, "platform"))
            raise UsageError(f"{path}: {key}: a table for a platform has none of its own; move it up")


def mentions(layer: Layer, key: tuple[str, ...], checkpoints: str = "", value: Any = ANY) -> bool:
    """Whether a file says something of a key of a case, wherever in its layers; of checkpoint sets one counts.

    Args:
        layer: The file.
        key: Of the case.
        checkpoints: Name of the set.
        value: What it must say; anything by default.
    """
    return any(_has(table, key, value) for table in _tables_of(layer, checkpoints))


def _tables_of(layer: Layer, checkpoints: str) -> Iterator[Layer]:
    for table in (layer, *layer.get("platform", {}).values()):
        yield table
        for labels in table.get("matrix", {}).values():
            yield from labels.values()
        rules = list(table.get("when", []))
        one = table.get("checkpoints", {}).get(checkpoints, {})
        yield one
        rules += one.get("when", [])
        yield from (rule["set"] for rule in rules if "set" in rule)


def _has(table: Any, key: tuple[str, ...], value: Any) -> bool:
    for part in key:
        if isinstance(table, list):
            return True  # it says the list, and what is wrong in it
        if not isinstance(table, Mapping) or part not in table:
            return False
        table = table[part]
    return value is ANY or bool(table == value)
