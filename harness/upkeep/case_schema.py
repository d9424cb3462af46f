"""JSON Schema of a case file."""

from __future__ import annotations

from typing import Any

from harness.base.domain import PLATFORMS
from harness.cases.matrix import Matrix
from harness.cases.model import Case


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


def _loosen(schema: Any) -> None:
    """Require nothing, since another layer may give it; one of several tables may then be any of them."""
    for value in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _loosen(value)
    if isinstance(schema, dict) and isinstance(schema.get("required"), list):
        del schema["required"]
    if isinstance(schema, dict) and isinstance(schema.get("oneOf"), list):
        schema["anyOf"] = schema.pop("oneOf")
        schema.pop("discriminator", None)
