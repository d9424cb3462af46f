"""Whether the engine of a case understands it, and can say what its checks ask for.

Engines stand above cases, so that they can be written in terms of cases. They are looked up here, not imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Protocol

from harness.base import plugins
from harness.base.evidence import Offer
from harness.cases.model import Case
from harness.checks import CHECKS


class UnderstandsCases(Protocol):
    """What loading asks of an engine."""

    name: str

    @property
    def offers(self) -> frozenset[Offer]:
        """What it says of a run, in the terms of checks."""

    def problem(self, case: Case) -> str:
        """What it does not understand of a case, as ``key: what``; empty if nothing is."""


def _engine(name: str, found: object) -> UnderstandsCases | None:
    fits = getattr(found, "name", None) == name and hasattr(found, "offers") and hasattr(found, "problem")
    return found if fits else None  # type: ignore[return-value] # what it has was just looked at


@cache
def _engines() -> Mapping[str, UnderstandsCases]:
    return plugins.found("harness.engines", _engine, "EngineSpec")


def problem(case: Case) -> str:
    """What the engine of a case does not understand of it or cannot say, as ``key: what``; empty if nothing is."""
    engine = _engines()[case.engine.name]
    if found := engine.problem(case):
        return found
    for name, settings in case.checks.configured().items():
        if (lacks := CHECKS[name].problem(settings, engine.offers)) is not None:
            key, what = lacks
            return f"checks.{name}{'.' if key else ''}{key}: {what}"
    return ""
