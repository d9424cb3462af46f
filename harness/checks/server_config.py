"""Is the configuration in force the one that was meant? Asked of every engine server, after the evaluation."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from harness.base.domain import CheckResult, Outcome
from harness.base.settings import Origin, Strict
from harness.checks import compare
from harness.checks.evidence import Measurement

Value = bool | int | float | str
_ABSENT = object()


class Config(Strict):
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


def chosen(config: Config, document: Any) -> dict[str, Any]:
    """The values that the check asks for, by path; a path that is not in the document is not in the result."""
    found = {path: _at(document, path) for path in (*config.equal, *config.not_equal)}
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


def judge(config: Config, measured: Measurement) -> list[CheckResult]:
    """One result a path, ``server_config[PATH]``; an error where a server does not say the value."""
    results = [_judge(path, value, measured.config, equal=True) for path, value in config.equal.items()]
    return results + [_judge(path, value, measured.config, equal=False) for path, value in config.not_equal.items()]


def _judge(path: str, value: Value, config: Mapping[str, Mapping[str, Any]], *, equal: bool) -> CheckResult:
    name = f"server_config[{path}]"
    silent = [server for server, said in config.items() if path not in said]
    if silent or not config:
        return compare.unmeasured(name, f"{', '.join(silent) or 'no server'} does not say {path}")
    wrong = [server for server, said in config.items() if _same(said[path], value) != equal]
    bound = f"{'' if equal else 'not '}{value}"
    told = ", ".join(f"{path} of {server} is {config[server][path]}" for server in wrong)
    return CheckResult(
        name=name,
        outcome=Outcome.FAIL if wrong else Outcome.PASS,
        measured=", ".join(dict.fromkeys(str(said[path]) for said in config.values())),
        expected=bound,
        bound="on every engine server",
        n=len(config),
        message=f"{told}, expected {bound}" if wrong else "",
    )


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _same(said: Any, value: Value) -> bool:
    """Equal, and of one kind: to Python, ``True`` is 1."""
    return isinstance(said, bool) == isinstance(value, bool) and bool(said == value)
