"""Tables of a case file with one key that chooses between their forms, and what else each form may say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.cases.model import Case, Role


@dataclass(frozen=True)
class Keys:
    """What a table of a case file may say, besides the key that chooses between its forms."""

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()


def problem(case: Case, engine: str, tables: Mapping[str, tuple[str, Mapping[str, Keys]]]) -> str:
    """The first key of ``[serve.TABLE]`` that an engine does not understand, as ``key: what``; empty if there is none.

    Args:
        case: The case.
        engine: Name of the engine.
        tables: By table, the key that chooses the form, and the forms.
    """
    for role in case.topology.roles:
        for table, (chosen_by, forms) in tables.items():
            given = getattr(case.serve_of(role), table)
            if given is None:
                continue
            keys = given.model_dump(exclude_defaults=True)
            if found := _wrong(keys, keys.pop(chosen_by), forms, engine):
                return f"{_where(case, role, table)}.{found.format(key=chosen_by)}"
    return ""


def _wrong(keys: Mapping[str, object], form: str, forms: Mapping[str, Keys], engine: str) -> str:
    """The first key that is missing or too much, with ``{key}`` for the name of the key that chooses the form."""
    if form not in forms:
        return f"{{key}}: {engine} has no {form!r}; it has {', '.join(forms)}"
    known = (*forms[form].needed, *forms[form].optional)
    for name in keys:
        if name not in known:
            return f"{name}: {form} on {engine} does not know it; known: {', '.join(known) or 'none'}"
    for name in forms[form].needed:
        if name not in keys:
            return f"{name}: {form} on {engine} needs it; add it to the case file"
    return ""


def _where(case: Case, role: Role, table: str) -> str:
    return f"roles.{role}.{table}" if table in case.roles.get(role, {}) else f"serve.{table}"
