"""JSON Schemas of case files, and of the two kinds of files whose layers lie below them."""

from __future__ import annotations

from typing import Any

from harness.base.domain import PLATFORMS
from harness.cases.matrix import Matrix
from harness.cases.model import Case, SuiteTable


def of_a_file() -> dict[str, Any]:
    """Of a whole case as one file could hold it: of a resolved case, with what a file has on top."""
    schema, matrix = Case.model_json_schema(), Matrix.model_json_schema()
    schema["$defs"] |= matrix["$defs"]
    layered = {"additionalProperties": {"$ref": "#/$defs/Layer"}, "propertyNames": {"enum": list(PLATFORMS)}}
    schema["properties"] |= matrix["properties"]
    schema["properties"]["checkpoints"] = {
        "type": "object",
        "description": "Checkpoint sets by name: `--checkpoints NAME` lays one over the case. It replaces what is "
        "asked and what is known of the model, and keeps the flags.",
        "additionalProperties": {"$ref": "#/$defs/Layer"},
    }
    schema["$defs"]["Layer"] = {
        "type": "object",
        "properties": dict(schema["properties"]),
        "additionalProperties": False,
    }
    schema["properties"]["platform"] = {
        "type": "object",
        "description": "What differs on one platform.",
        **layered,
    }
    return schema


def of_a_layer() -> dict[str, Any]:
    """Of a case file as it is: of :func:`of_a_file`, less what other layers may give."""
    schema = of_a_file()
    _loosen(schema)
    return {**schema, "required": ["title", "platforms"]}


def of_a_suite() -> dict[str, Any]:
    """Of a ``_suite.toml``."""
    layer, suite = of_the_defaults(), SuiteTable.model_json_schema()
    suite["properties"]["defaults"] = {
        "description": "A layer below every case of the suite.",
        "$ref": "#/$defs/Layer",
    }
    return {**suite, "$defs": layer["$defs"] | suite.get("$defs", {})}


def of_the_defaults() -> dict[str, Any]:
    """Of the ``_defaults.toml``: of a layer that lies below cases."""
    schema = of_a_layer()
    del schema["required"]
    # What lies below a case has tables of platforms and checkpoint sets of its own.
    for key in ("platform", "checkpoints"):
        schema["$defs"]["Layer"]["properties"][key] = schema["properties"][key]
    return schema


def _loosen(schema: Any) -> None:
    """Require nothing, since another layer may give it; one of several tables may then be any of them."""
    for value in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _loosen(value)
    if isinstance(schema, dict) and isinstance(schema.get("required"), list):
        del schema["required"]
    if isinstance(schema, dict) and isinstance(schema.get("oneOf"), list):
        schema["anyOf"] = schema.pop("oneOf")
        schema.pop("discriminator", None)


BY_FILE = {
    "case": ("A case file", of_a_layer),
    "suite": ("_suite.toml", of_a_suite),
    "defaults": ("_defaults.toml", of_the_defaults),
}
"""Title and schema by what stands before ``.schema.json``."""
