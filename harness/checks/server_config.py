"""Is the configuration in force the one that was meant? Asked of every engine server, after the evaluation."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from harness.base.domain import CheckResult, Outcome, Value
from harness.base.evidence import Evidence
from harness.base.settings import Origin, Strict
from harness.checks import check
from harness.checks.check import Check

_ABSENT = object()


class ServerConfigSettings(Strict):
    """``[checks.server_config]``: values by dotted path into the engine's own document, list indices as numbers."""

    equal: dict[str, Value] = Field({}, description="What must be so on every engine server.")
    not_equal: dict[str, Value] = Field({}, description="What must be there and be something else.")
    origin: Origin

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.equal and not self.not_equal:
            raise ValueError("give equal or not_equal: a check that asks nothing proves nothing")
        if both := self.equal.keys() & self.not_equal.keys():
            raise ValueError(f"{min(both)!r} is in equal and in not_equal")
        return self


def chosen(settings: ServerConfigSettings, document: Any) -> dict[str, Any]:
    """The values that the check asks for, by path; a path that is not in the document is not in the result."""
    found = {path: _at(document, path) for path in (*settings.equal, *settings.not_equal)}
    # NaN is unlike everything, itself included: of a server that says it nothing is known.
    return {path: value for path, value in found.items() if value is not _ABSENT and not _is_nan(value)}


def _at(document: Any, path: str) -> Any:
    for part in path.split("."):
        match document:
            case dict() if part in document:
                document = document[part]
            case list() if re.fullmatch(r"[0-9]{1,9}", part) and int(part) < len(document):
                document = document[int(part)]
            case _:
                return _ABSENT
    return document


def judge(settings: ServerConfigSettings, evidence: Evidence) -> list[CheckResult]:
    """One result a path, ``server_config[PATH]``; an error where a server does not say the value."""
    said = {server: chosen(settings, document) for server, document in evidence.configuration.items()}
    results = [_judge(path, value, said, equal=True) for path, value in settings.equal.items()]
    return results + [_judge(path, value, said, equal=False) for path, value in settings.not_equal.items()]


def _judge(path: str, value: Value, said: Mapping[str, Mapping[str, Any]], *, equal: bool) -> CheckResult:
    name = f"server_config[{path}]"
    silent = [server for server, found in said.items() if path not in found]
    if silent or not said:
        return check.unmeasured(name, f"{', '.join(silent) or 'no server'} does not say {path}")
    wrong = [server for server, found in said.items() if _same(found[path], value) != equal]
    told = ", ".join(f"{path} of {server} is {said[server][path]}" for server in wrong)
    return CheckResult(
        name=name,
        outcome=Outcome.FAIL if wrong else Outcome.PASS,
        measured={server: _plain(found[path]) for server, found in said.items()},
        expected=value,
        n=len(said),
        direction="equal" if equal else "not-equal",
        message=f"{told}, expected {'' if equal else 'not '}{value}" if wrong else "",
    )


def _plain(value: Any) -> Value:
    """What a server says, as a report can hold it: lists and tables as text."""
    return value if isinstance(value, bool | int | float | str) else str(value)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _same(said: Any, value: Value) -> bool:
    """Equal, and of one kind: to Python, ``True`` is 1."""
    return isinstance(said, bool) == isinstance(value, bool) and bool(said == value)


CHECK = Check(
    name="server_config",
    about="Values of the configuration that the servers say is in force.",
    settings=ServerConfigSettings,
    judge=judge,
    reads=frozenset({"configuration"}),
    problem=check.lacking("configuration", "the engine does not say what configuration is in force"),
)
