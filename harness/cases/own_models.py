"""Folders of the user's in place of models of a case, as ``--model NAME=FOLDER`` says it."""

from __future__ import annotations

from typing import Any

from harness.cases.model import Case
from harness.cases.serve_settings import Model, Serve

Own = tuple[tuple[str, str], ...]
"""Name and absolute path, one pair a folder."""

VERIFIER, DRAFTER = "verifier", "drafter"


def names(case: Case) -> set[str]:
    """What models of a case can be called: what each does, and its repository or known-answer checkpoint."""
    found = {VERIFIER, *(model.name for model in case.models())}
    serving = [case.serve_of(role) for role in case.topology.roles]
    return found | ({DRAFTER} if any(serve.speculation and serve.speculation.model for serve in serving) else set())


def replaced(case: Case, own: Own) -> Case:
    """The case on these folders. A model's own name counts more than what it does."""
    if not own:
        return case
    folders = dict(own)
    serve = _serve(case.serve, folders)
    roles: dict[Any, dict[str, Any]] = {}
    for role, table in case.roles.items():
        there = _serve(case.serve_of(role), folders).model_dump(exclude_none=True)
        roles[role] = _role(table, there)
    return case.model_copy(update={"serve": serve, "roles": roles})


def _role(table: dict[str, Any], there: dict[str, Any]) -> dict[str, Any]:
    """What a role changes, with the models that it has now."""
    found = table | {key: there[key] for key in ("model",) if key in table}
    speculation = table.get("speculation")
    if isinstance(speculation, dict) and "model" in speculation:
        found["speculation"] = speculation | {"model": there["speculation"]["model"]}
    return found


def _serve(serve: Serve, folders: dict[str, str]) -> Serve:
    changed: dict[str, Any] = {"model": _model(serve.model, VERIFIER, folders)}
    if serve.speculation and serve.speculation.model:
        drafter = _model(serve.speculation.model, DRAFTER, folders)
        changed["speculation"] = serve.speculation.model_copy(update={"model": drafter})
    return serve.model_copy(update=changed)


def _model(model: Model, does: str, folders: dict[str, str]) -> Model:
    folder = folders.get(model.name) or folders.get(does)
    return Model.model_validate({"path": folder}) if folder else model
